// A client of Socket.IO for the server under test: `node socketio_client.cjs SCENARIO URL TRANSPORTS`. TRANSPORTS
// are those of the client, separated by commas. Exits with 0 if the server does what is right.
'use strict';
const assert = require('node:assert/strict');
const { once } = require('node:events');
const { io } = require('socket.io-client');

const [, , name, url, transports] = process.argv;
const options = { transports: transports.split(','), forceNew: true, reconnection: false, timeout: 20000 };

async function open(namespace = '', more = {}) {
  const socket = io(url + namespace, { ...options, ...more });
  await new Promise((resolve, reject) => {
    socket.once('connect', resolve);
    socket.once('connect_error', reject);
  });
  return socket;
}

const arrives = (socket, event) => new Promise((resolve) => socket.once(event, (...data) => resolve(data)));

// Waits for the upgrade, if there is one.
async function upgraded(socket) {
  const { engine } = socket.io;
  if (options.transports.length > 1 && engine.transport.name !== 'websocket') {
    await once(engine, 'upgrade');
    assert.equal(engine.transport.name, 'websocket');
  }
}

const bytes = (length) => Buffer.from(Uint8Array.from({ length }, (_, i) => i * 7));

const scenarios = {
  async events() {
    const socket = await open();
    for (const data of [[], [1], ['grüße, 世界 🦀', null, { a: [true, { b: 'c' }] }], ['x'.repeat(100000)]]) {
      const back = arrives(socket, 'message-back');
      socket.emit('message', ...data);
      assert.deepEqual(await back, data);
      assert.deepEqual(await socket.timeout(20000).emitWithAck('message-with-ack', ...data), data[0]);
    }
    await upgraded(socket);
    socket.disconnect();
  },

  async auth() {
    const socket = io(url, { ...options, auth: { token: '123' } });
    assert.deepEqual(await arrives(socket, 'auth'), [{ token: '123' }]);
    assert.equal(socket.id.length, 20);
    socket.disconnect();
    const refused = io(url + '/none', options);
    const [error] = await arrives(refused, 'connect_error');
    assert.equal(error.message, 'Invalid namespace');
    refused.io.engine.close();
  },

  async binary() {
    const socket = await open();
    for (const data of [bytes(4), bytes(0), bytes(70000), { name: 'a', parts: [bytes(3), { deep: bytes(5) }] }]) {
      const back = arrives(socket, 'message-back');
      socket.emit('message', 'first', data, bytes(2));
      assert.deepEqual(await back, ['first', data, bytes(2)]);
      assert.deepEqual(await socket.timeout(20000).emitWithAck('message-with-ack', data), data);
    }
    socket.disconnect();
  },

  // Each event comes back once and in order, whenever the transport changes.
  async order() {
    const socket = await open();
    const received = [];
    const done = new Promise((resolve) => {
      socket.on('message-back', (number, data) => {
        if (number % 3 === 0) assert.deepEqual(data, bytes(number));
        received.push(number);
        if (received.length === 1000) resolve();
      });
    });
    for (let number = 0; number < 1000; number += 1) {
      socket.emit('message', number, number % 3 === 0 ? bytes(number) : 'text');
      if (number % 50 === 0) await new Promise((resolve) => setTimeout(resolve, 1));
    }
    await done;
    assert.deepEqual(received, Array.from({ length: 1000 }, (_, number) => number));
    await upgraded(socket);
    socket.disconnect();
  },

  async namespaces() {
    const main = await open();
    const custom = main.io.socket('/custom', {}).connect();
    await arrives(custom, 'auth');
    assert.notEqual(custom.id, main.id);
    const back = arrives(custom, 'message-back');
    custom.emit('message', 'custom');
    assert.deepEqual(await back, ['custom']);
    custom.disconnect();
    assert.equal(await main.timeout(20000).emitWithAck('message-with-ack', 'main'), 'main');
    custom.connect();
    await arrives(custom, 'auth');
    custom.disconnect();
    main.disconnect();
  },

  // The server pings in short intervals; a client that answers stays connected.
  async heartbeat() {
    const socket = await open();
    await upgraded(socket);
    let pings = 0;
    await new Promise((resolve, reject) => {
      socket.on('disconnect', reject);
      socket.io.on('ping', () => {
        pings += 1;
        if (pings === 4) resolve();
      });
    });
    assert.equal(await socket.timeout(20000).emitWithAck('message-with-ack', 1), 1);
    socket.off('disconnect');
    socket.disconnect();
  },

  // A client that was cut off connects again by itself.
  async again() {
    const socket = await open('', { reconnection: true, reconnectionDelay: 10 });
    const first = socket.id;
    const lost = arrives(socket, 'disconnect');
    const connected = arrives(socket, 'connect');
    socket.io.engine.close();
    await lost;
    await connected;
    assert.notEqual(socket.id, first);
    assert.equal(await socket.timeout(20000).emitWithAck('message-with-ack', 1), 1);
    socket.disconnect();
  },

  // Each event reaches the members of its room once, but not the one that sends it.
  async rooms() {
    const [a, b, c] = [await open('/rooms'), await open('/rooms'), await open('/rooms')];
    assert.deepEqual(await a.timeout(20000).emitWithAck('join', 'r'), ['r']);
    await b.timeout(20000).emitWithAck('join', 'r', 's');
    const log = { a: [], b: [], c: [] };
    Object.entries({ a, b, c }).forEach(([key, socket]) => socket.onAny((event, data) => log[key].push([event, data])));
    const first = arrives(b, 'said');
    a.emit('say', 'r', 'said', 1);
    await first;
    a.emit('say', c.id, 'private', { to: 'c' });
    a.emit('say', 's', 'said', 'grüße 🦀');
    assert.equal(await b.timeout(20000).emitWithAck('leave', 'r'), true);
    a.emit('say', 'r', 'said', 3);
    const ends = [a, b, c].map((socket) => arrives(socket, 'end'));
    a.emit('say-to-all', 'end', null);
    await Promise.all(ends);
    assert.deepEqual(log.a, [['end', null]]);
    assert.deepEqual(log.b, [['said', 1], ['said', 'grüße 🦀'], ['end', null]]);
    assert.deepEqual(log.c, [['private', { to: 'c' }], ['end', null]]);
    await upgraded(b);
    [a, b, c].forEach((socket) => socket.disconnect());
  },

  // Many senders: the messages of a binary event are not divided by others.
  async binary_rooms() {
    const sockets = [];
    for (let number = 0; number < 4; number += 1) {
      const socket = await open('/rooms');
      await socket.timeout(20000).emitWithAck('join', 'r');
      sockets.push(socket);
    }
    const done = sockets.map((socket, own) => new Promise((resolve) => {
      const next = [0, 0, 0, 0];
      socket.on('data', ({ from, number, data }) => {
        assert.notEqual(from, own);
        assert.equal(number, next[from]);
        next[from] += 1;
        assert.deepEqual(data, [bytes(number), 'text', bytes(3)]);
        if (next.every((count, sender) => sender === own || count === 50)) resolve();
      });
    }));
    for (let number = 0; number < 50; number += 1) {
      sockets.forEach((socket, from) => {
        socket.emit('say', 'r', 'data', { from, number, data: [bytes(number), 'text', bytes(3)] });
      });
      await new Promise((resolve) => setTimeout(resolve, 1));
    }
    await Promise.all(done);
    sockets.forEach((socket) => socket.disconnect());
  },

  // The acknowledgements of a room arrive together.
  async gathering() {
    const [a, b, c] = [await open('/rooms'), await open('/rooms'), await open('/rooms')];
    for (const [socket, answer] of [[b, 'b'], [c, bytes(5)]]) {
      await socket.timeout(20000).emitWithAck('join', 'jury');
      socket.on('question', (data, acknowledge) => {
        assert.deepEqual(data, bytes(2));
        acknowledge(answer);
      });
    }
    const answers = await a.timeout(20000).emitWithAck('ask', 'jury', 'question', bytes(2));
    assert.equal(answers.length, 2);
    assert.ok(answers.includes('b'));
    assert.deepEqual(answers.find((answer) => answer !== 'b'), bytes(5));
    [a, b, c].forEach((socket) => socket.disconnect());
  },

  // A client that was cut off has its id, its rooms, and what it has missed.
  async recovered() {
    const lost = await open('/rooms', { reconnection: true, reconnectionDelay: 1000, reconnectionDelayMax: 1000 });
    assert.equal(lost.recovered, false);
    const { id } = lost;
    await lost.timeout(20000).emitWithAck('join', 'r');
    const other = await open('/rooms');
    const seen = arrives(lost, 'seen');
    other.emit('say', 'r', 'seen', 0);
    assert.equal((await seen)[0], 0);
    await upgraded(lost);
    const gone = arrives(lost, 'disconnect');
    const received = [];
    lost.on('missed', (data) => received.push(data));
    lost.io.engine.close();
    await gone;
    for (const data of [1, bytes(4), { a: [bytes(2)] }]) other.emit('say', 'r', 'missed', data);
    other.emit('say', 'another room', 'missed', 'not for it');
    other.emit('say', id, 'missed', 'private');
    await other.timeout(20000).emitWithAck('join', 'r');
    await arrives(lost, 'connect');
    assert.equal(lost.recovered, true);
    assert.equal(lost.id, id);
    const last = arrives(lost, 'missed-last');
    other.emit('say', id, 'missed-last', null);
    await last;
    assert.deepEqual(received, [1, bytes(4), { a: [bytes(2)] }, 'private']);
    // It is in its room, for itself and for others.
    const back = arrives(other, 'from-lost');
    lost.emit('say', 'r', 'from-lost', 'here');
    assert.equal((await back)[0], 'here');
    lost.disconnect();
    other.disconnect();
  },

  // A client that connects anew is not recovered; one that leaves does not come back.
  async own_id() {
    const socket = await open('/rooms');
    const first = socket.id;
    const seen = arrives(socket, 'seen');
    socket.emit('say-to-all', 'seen', 0);
    await seen;
    socket.disconnect();
    const connected = arrives(socket, 'connect');
    socket.connect();
    await connected;
    assert.equal(socket.recovered, false);
    assert.notEqual(socket.id, first);
    socket.disconnect();
  },

  async too_late() {
    const lost = await open('/rooms', { reconnection: true, reconnectionDelay: 200 });
    const { id } = lost;
    const seen = arrives(lost, 'seen');
    lost.emit('say-to-all', 'seen', 0);
    await seen;
    const gone = arrives(lost, 'disconnect');
    const connected = arrives(lost, 'connect');
    lost.io.engine.close();
    await gone;
    await connected;
    assert.equal(lost.recovered, false);
    assert.notEqual(lost.id, id);
    lost.disconnect();
  },
};

scenarios[name]().then(
  () => process.exit(0),
  (error) => {
    console.error(error);
    process.exit(1);
  },
);
