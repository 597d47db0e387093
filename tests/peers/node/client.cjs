// A peer of the servers under test: `node client.cjs SCENARIO URL`. Exits with 0 if
// the replies are correct.
'use strict';
const assert = require('node:assert/strict');
const fs = require('node:fs');
const { once } = require('node:events');
const WebSocket = require('ws');

const BIG = 5 << 20;
const [, , name, url] = process.argv;

// Messages, pongs and pings are kept when received, so that none is missed between two awaits.
class Client {
  constructor(socket) {
    this.socket = socket;
    this.kept = { message: [], ping: [], pong: [], close: [] };
    this.waiting = { message: [], ping: [], pong: [], close: [] };
    socket.on('message', (data, isBinary) => this.keep('message', { data, isBinary }));
    socket.on('ping', (data) => this.keep('ping', data));
    socket.on('pong', (data) => this.keep('pong', data));
    socket.on('close', (code, reason) => this.keep('close', { code, reason: reason.toString() }));
  }

  static async open(protocols, options) {
    const socket = new WebSocket(url, protocols, options);
    const client = new Client(socket);
    await once(socket, 'open');
    return client;
  }

  keep(kind, value) {
    const waiter = this.waiting[kind].shift();
    if (waiter) waiter(value);
    else this.kept[kind].push(value);
  }

  next(kind) {
    if (this.kept[kind].length > 0) return Promise.resolve(this.kept[kind].shift());
    return new Promise((resolve) => this.waiting[kind].push(resolve));
  }

  async expect(expected) {
    const { data, isBinary } = await this.next('message');
    assert.equal(isBinary, Buffer.isBuffer(expected));
    assert.ok(Buffer.from(expected).equals(data), `${expected.length} sent, ${data.length} came back, or another content`);
  }

  async close(code, reason) {
    this.socket.close(code, reason);
    return this.next('close');
  }
}

async function echoes(...messages) {
  const client = await Client.open();
  for (const message of messages) {
    client.socket.send(message);
    await client.expect(message);
  }
  assert.deepEqual(await client.close(1000, 'done'), { code: 1000, reason: 'done' });
}

const scenarios = {
  text: () => echoes('hello', 'grüße, 世界 🦀', 'a line\nand another\0'),
  binary: () => echoes(Buffer.from([0, 255, 128, 10]), Buffer.from(Array.from({ length: 256 }, (_, byte) => byte))),
  empty: () => echoes('', Buffer.alloc(0)),
  // 126 and 65,536 are the first lengths of a longer form in the frame header.
  lengths: () => echoes(...[1, 125, 126, 127, 65535, 65536, 65537].flatMap((n) => [Buffer.alloc(n, 7), 'x'.repeat(n)])),
  big_text: () => echoes('aé世🦀'.repeat(BIG / 10).slice(0, BIG / 2), 'a'.repeat(BIG)),
  big_binary: () => echoes(Buffer.from(Uint32Array.from({ length: BIG / 4 }, (_, i) => i * 2654435761).buffer)),

  async fragments() {
    const client = await Client.open();
    for (const make of [(text) => text, (text) => Buffer.from(text)]) {
      const parts = ['one, ', '', 'zw', 'ö', 'lf'];
      parts.forEach((part, i) => client.socket.send(make(part), { fin: i === parts.length - 1 }));
      await client.expect(make(parts.join('')));
    }
    await client.close(1000);
  },

  async ping_between_fragments() {
    const client = await Client.open();
    client.socket.send('before ', { fin: false });
    client.socket.ping('between');
    assert.equal((await client.next('pong')).toString(), 'between');
    client.socket.send('after', { fin: true });
    await client.expect('before after');
    await client.close(1000);
  },

  async pings() {
    const client = await Client.open();
    for (const payload of ['', 'a', 'p'.repeat(125)]) {
      client.socket.ping(payload);
      assert.equal((await client.next('pong')).toString(), payload);
    }
    await client.close(1000);
  },

  async close_codes() {
    for (const [code, reason] of [[1000, ''], [1001, 'going'], [3000, 'r'.repeat(123)], [4999, 'grüße']]) {
      const client = await Client.open();
      assert.deepEqual(await client.close(code, reason), { code, reason });
    }
  },

  async close_without_a_code() {
    const client = await Client.open();
    assert.deepEqual(await client.close(), { code: 1005, reason: '' });
  },

  async in_flight() {
    const client = await Client.open();
    for (let i = 0; i < 2000; i++) client.socket.send(`message ${i}`);
    for (let i = 0; i < 2000; i++) await client.expect(`message ${i}`);
    await client.close(1000);
  },

  async subprotocol_offered() {
    const socket = new WebSocket(url, ['chat.v1', 'chat.v2']);
    const headers = once(socket, 'upgrade');
    // `ws` fails a connection whose subprotocols were ignored; only the handshake is tested here.
    socket.on('error', () => {});
    const [response] = await headers;
    assert.equal(response.statusCode, 101);
    assert.equal(response.headers['sec-websocket-protocol'], undefined);
    socket.terminate();
  },

  async compression_offered() {
    const client = await Client.open([], { perMessageDeflate: true });
    assert.equal(client.socket.extensions, '');
    client.socket.send('a'.repeat(10000));
    await client.expect('a'.repeat(10000));
    await client.close(1000);
  },

  // Sends the messages listed in standard input, in parts, each after the echo of the one before.
  async listed() {
    const { perMessageDeflate, messages } = JSON.parse(fs.readFileSync(0));
    const client = await Client.open([], { perMessageDeflate, maxPayload: 0 });
    for (const { binary, parts } of messages) {
      const data = parts.map((part) => (binary ? Buffer.from(part, 'base64') : part));
      data.forEach((part, i) => client.socket.send(part, { fin: i === parts.length - 1 }));
      await client.expect(binary ? Buffer.concat(data) : data.join(''));
    }
    assert.deepEqual(await client.close(1000, 'done'), { code: 1000, reason: 'done' });
  },

  async bomb() {
    const client = await Client.open();
    client.socket.send(Buffer.alloc(65 << 20));
    assert.equal((await client.next('close')).code, 1009);
  },

  async two_connections() {
    const [first, second] = [await Client.open(), await Client.open()];
    for (const client of [second, first, second]) {
      client.socket.send('either');
      await client.expect('either');
    }
    await first.close(1000);
    second.socket.send('still here');
    await second.expect('still here');
    await second.close(1000);
  },

  async keep_alive_ping() {
    const client = await Client.open();
    await client.next('ping');
    await client.next('ping');
    await client.close(1000);
  },

  async too_big() {
    const client = await Client.open();
    client.socket.send('x'.repeat(1000));
    await client.expect('x'.repeat(1000));
    client.socket.send('x'.repeat(1001));
    assert.equal((await client.next('close')).code, 1009);
  },

  async going_away() {
    const client = await Client.open();
    client.socket.send('ready');
    await client.expect('ready');
    console.log('ready');
    assert.equal((await client.next('close')).code, 1001);
  },
};

scenarios[name]().catch((error) => {
  console.error(error);
  process.exit(1);
});
