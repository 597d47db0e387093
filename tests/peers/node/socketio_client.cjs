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
};

scenarios[name]().then(
  () => process.exit(0),
  (error) => {
    console.error(error);
    process.exit(1);
  },
);
