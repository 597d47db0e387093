// Clients of the classroom on Socket.IO: `node classroom_socketio.cjs SCENARIO URL TRANSPORTS TEACHER STUDENT ADMIN`.
// The last three are tokens. TRANSPORTS are those of the client, separated by commas. Exits with 0 if the server does
// what is right.
'use strict';
const assert = require('node:assert/strict');
const { once } = require('node:events');
const { io } = require('socket.io-client');

const [, , name, url, transports, teacher, student, admin] = process.argv;
const TIMEOUT = 20000;

function socket(token, namespace = '', more = {}) {
  return io(url + namespace, { transports: transports.split(','), forceNew: true, auth: { token }, ...more });
}

const arrives = (from, event) => new Promise((resolve) => from.once(event, resolve));

async function connected(from) {
  await new Promise((resolve, reject) => {
    from.once('connect', resolve);
    from.once('connect_error', reject);
  });
  return from;
}

async function refusal(from) {
  const error = await arrives(from, 'connect_error');
  assert.equal(from.active, false);
  return error;
}

const call = (from, event, data) => from.timeout(TIMEOUT).emitWithAck(event, data);

// Joins the class. The answer is that of the acknowledgement.
async function join(token, role, person) {
  const joining = await connected(socket(token));
  const welcome = arrives(joining, `${role}:joined`);
  const answer = await call(joining, `${role}:join`, { name: person });
  assert.deepEqual((await welcome).you, answer.you);
  // Connects again as the same person.
  joining.auth = { token: answer.token };
  return { socket: joining, ...answer };
}

const two = () => Promise.all([join(teacher, 'teacher', 'Tess'), join(student, 'student', 'Ann')]);

const scenarios = {
  async talk() {
    const [tess, ann] = await two();
    const received = [tess, ann].map((each) => arrives(each.socket, 'chat:message'));
    const sent = await call(ann.socket, 'chat:message', { client_id: 'a1', text: 'Grüße <img src=x>' });
    for (const message of await Promise.all(received)) {
      assert.deepEqual([message.id, message.at, message.text], [sent.id, sent.at, 'Grüße <img src=x>']);
      assert.deepEqual(message.from, ann.you);
    }
    assert.deepEqual(await call(ann.socket, 'chat:message', { client_id: 'a1', text: 'again' }), sent);
    const secret = arrives(tess.socket, 'chat:private');
    await call(ann.socket, 'chat:private', { client_id: 'a2', to: tess.you.id, text: 'secret' });
    assert.equal((await secret).text, 'secret');
    const typing = arrives(tess.socket, 'chat:typing');
    ann.socket.volatile.emit('chat:typing');
    assert.equal((await typing).name, 'Ann');
    // If there is an upgrade, it loses nothing.
    const { engine } = ann.socket.io;
    const last = transports.split(',').pop();
    if (engine.transport.name !== last) await once(engine, 'upgrade');
    assert.equal(engine.transport.name, last);
    const after = arrives(ann.socket, 'chat:message');
    await call(tess.socket, 'chat:message', { client_id: 't1', text: 'after' });
    assert.equal((await after).text, 'after');
  },

  async errors() {
    const [, ann] = await two();
    const told = arrives(ann.socket, 'chat:error');
    const { error } = await call(ann.socket, 'chat:message', { client_id: 'a1' });
    assert.equal(error.data.field, 'text');
    assert.deepEqual(await told, error.data);
    const other = await connected(socket(student));
    assert.equal((await call(other, 'student:join', { name: 'ann' })).error.data.code, 'name');
    assert.equal((await call(other, 'teacher:join', { name: 'Bob' })).error.data.code, 'role');
  },

  async removed() {
    const [tess, ann] = await two();
    const [removed, left] = [arrives(ann.socket, 'student:removed'), arrives(ann.socket, 'disconnect')];
    assert.equal((await call(ann.socket, 'teacher:remove-student', { id: tess.you.id })).error.data.code, 'role');
    await call(tess.socket, 'teacher:remove-student', { id: ann.you.id });
    assert.match((await removed).reason, /removed/);
    assert.equal(await left, 'io server disconnect');
    ann.socket.connect();
    assert.equal((await refusal(ann.socket)).data.code, 'removed');
  },

  // The connection is lost, and the client is recovered: with its seat, and each message once and in order.
  async recovered() {
    const [tess, ann] = await two();
    const texts = [];
    ann.socket.on('chat:message', ({ text }) => texts.push(text));
    await call(tess.socket, 'chat:message', { client_id: 't1', text: 'before' });
    const gone = new Promise((resolve) => {
      tess.socket.on('participants:update', ({ participants }) => participants.length === 1 && resolve());
    });
    const { id } = ann.socket;
    // Not before the manager would: it waits for the others to notice.
    ann.socket.io.reconnectionDelay(1000);
    ann.socket.io.engine.close();
    await gone;
    const say = (each) => call(tess.socket, 'chat:message', { client_id: `t-${each}`, text: `missed ${each}` });
    const missed = [1, 2, 3].map(say);
    await Promise.all([arrives(ann.socket, 'connect'), ...missed]);
    assert.deepEqual([ann.socket.recovered, ann.socket.id], [true, id]);
    await call(ann.socket, 'chat:message', { client_id: 'a1', text: 'after' });
    assert.deepEqual(texts, ['before', 'missed 1', 'missed 2', 'missed 3', 'after']);
  },

  async administration() {
    for (const token of [undefined, '', teacher]) {
      const error = await refusal(socket(token, '/admin'));
      assert.equal(error.data.code, 'token');
    }
    const [tess, ann] = await two();
    // Both namespaces over one connection.
    const watching = await connected(tess.socket.io.socket('/admin', { auth: { token: admin } }));
    const { rooms, sockets } = await call(watching, 'admin:rooms');
    assert.deepEqual([rooms.map((room) => room.name), rooms[0].participants, sockets], [['class'], 2, 2]);
    const left = arrives(ann.socket, 'disconnect');
    await call(watching, 'admin:disconnect', { room: 'class', id: ann.socket.id });
    assert.equal(await left, 'io server disconnect');
    const closed = arrives(tess.socket, 'room:closed');
    await call(watching, 'admin:close-room', { room: 'class' });
    assert.match((await closed).reason, /closed/);
  },

  async tokens() {
    const forged = `${student.slice(0, student.lastIndexOf('.'))}.${teacher.split('.')[2]}`;
    for (const token of [undefined, 'a.b.c', forged, admin]) {
      assert.equal((await refusal(socket(token))).data.code, 'token');
    }
  },
};

scenarios[name]().then(
  () => process.exit(0),
  (error) => {
    console.error(error);
    process.exit(1);
  },
);
