import assert from "node:assert/strict";
import { test } from "node:test";
import { Connection } from "./connection.js";
import { Outbox } from "./outbox.js";
import { Timeline } from "./timeline.js";

// A socket of socket.io-client, as far as the connection uses it.
class FakeSocket {
  connected = false;
  active = false;
  recovered = false;
  sent = [];
  #handlers = new Map();
  #run = 0;

  constructor(options) {
    this.options = options;
  }

  on(event, handler) {
    this.#handlers.set(event, handler);
  }

  connect() {
    this.active = true;
  }

  timeout() {
    return this;
  }

  emitWithAck(event, data) {
    return new Promise((resolve, reject) => this.sent.push({ event, data, resolve, reject }));
  }

  receive(event, data) {
    this.#handlers.get(event)?.(data);
  }

  open({ recovered = false } = {}) {
    Object.assign(this, { connected: true, active: true, recovered, id: `s${++this.#run}` });
    this.options.auth((auth) => (this.auth = auth));
    this.receive("connect");
  }

  lose(reason = "transport close") {
    this.connected = false;
    delete this.id;
    this.receive("disconnect", reason);
    for (const { reject } of this.sent.splice(0)) reject(new Error("socket has been disconnected"));
  }

  // The server disconnects the socket, which does not connect again by itself.
  end(event, data) {
    this.receive(event, data);
    this.active = false;
    this.lose("io server disconnect");
  }

  disconnect() {
    this.active = false;
    this.lose("io client disconnect");
  }
}

const settled = () => new Promise((resolve) => setImmediate(resolve));
const you = { id: "ann", name: "Ann", role: "student" };
const message = (id, client_id, from = you) => ({ id, client_id, from, text: `${id}`, at: id });
const joined = (more = {}) => ({ token: "personal", you, participants: [], epoch: "x", messages: [], complete: true, ...more });

function page() {
  const shown = [];
  const states = [];
  const token = {
    current: "link",
    isPersonal: false,
    claims: { role: "student" },
    enter(personal) {
      this.current = personal;
      this.isPersonal = true;
    },
  };
  const outbox = new Outbox();
  let socket;
  const connection = new Connection({
    io: (options) => (socket = new FakeSocket(options)),
    token,
    outbox,
    timeline: new Timeline(),
    timers: { setTimeout: (act) => setImmediate(act) },
    on: {
      state: (state, details = {}) => states.push([state, details.code ?? details.reason].filter(Boolean).join(" ")),
      joined() {},
      items: (items) => shown.push(...items.map(({ message, gap }) => gap ?? message.id)),
      participants() {},
      typing() {},
      refused() {},
      outbox() {},
    },
  });
  connection.start("Ann");
  return { connection, socket, outbox, shown, states, token };
}

async function opened(answer = joined()) {
  const made = page();
  made.socket.open();
  await made.socket.sent.shift().resolve(answer);
  await settled();
  return made;
}

test("it joins with the name, and then as the person", async () => {
  const { socket, states } = page();
  socket.open();
  assert.deepEqual(socket.auth, { token: "link" });
  const [join] = socket.sent.splice(0);
  assert.deepEqual([join.event, join.data], ["student:join", { name: "Ann" }]);
  join.resolve(joined({ messages: [message(7, "c")] }));
  await settled();
  socket.lose();
  socket.open();
  assert.deepEqual(socket.auth, { token: "personal" });
  assert.deepEqual(socket.sent[0].data, { after: 7, epoch: "x" });
  assert.deepEqual(states, ["connecting", "open", "reconnecting the connection is lost"]);
});

test("messages that arrive before the answer to a join follow those of the answer", async () => {
  const { socket, shown } = page();
  socket.open();
  socket.receive("chat:message", message(3, "c3"));
  assert.deepEqual(shown, []);
  socket.sent[0].resolve(joined({ messages: [message(1, "c1"), message(3, "c3")] }));
  await settled();
  assert.deepEqual(shown, [1, 3]);
});

test("a socket that is recovered does not join", async () => {
  const { socket, states, shown } = await opened();
  socket.lose();
  socket.open({ recovered: true });
  assert.deepEqual([socket.sent, states.at(-1)], [[], "open"]);
  socket.receive("chat:message", message(4, "c4"));
  assert.deepEqual(shown, [4]);
});

test("a socket that was recovered before it had joined joins", async () => {
  const { socket } = page();
  socket.open();
  socket.lose();
  await settled();
  socket.open({ recovered: true });
  assert.equal(socket.sent[0].event, "student:join");
});

test("messages are sent one after the other, and again with the same id", async () => {
  const { socket, connection, outbox } = await opened();
  outbox.add({ clientId: "c1", text: "one" });
  outbox.add({ clientId: "c2", text: "two" });
  connection.flush();
  assert.deepEqual(socket.sent.map(({ data }) => data.client_id), ["c1"]);
  socket.lose();
  await settled();
  assert.deepEqual(outbox.entries.map(({ state }) => state), ["waiting", "waiting"]);
  socket.open({ recovered: true });
  await settled();
  for (const id of ["c1", "c2"]) {
    const [sent] = socket.sent.splice(0);
    assert.equal(sent.data.client_id, id);
    sent.resolve({ id: 1, at: 1 });
    await settled();
  }
  assert.deepEqual(outbox.entries, []);
});

test("what has arrived is not sent again", async () => {
  const { socket, connection, outbox } = await opened();
  outbox.add({ clientId: "c1", text: "one" });
  connection.flush();
  socket.receive("chat:message", message(1, "c1"));
  socket.lose();
  socket.open({ recovered: true });
  await settled();
  assert.deepEqual([outbox.entries, socket.sent], [[], []]);
});

test("a refused message fails, one that came too fast waits", async () => {
  const { socket, connection, outbox } = await opened();
  outbox.add({ clientId: "c1", text: "one" });
  connection.flush();
  socket.sent.shift().resolve({ error: { message: "too fast", data: { code: "rate", wait: 50 } } });
  await settled();
  await settled();
  socket.sent.shift().resolve({ error: { message: "too long", data: { code: "data" } } });
  await settled();
  assert.deepEqual(outbox.entries.map(({ state, error }) => [state, error]), [["failed", "too long"]]);
  assert.deepEqual(socket.sent, []);
});

test("the server ends the class with a reason", async () => {
  const { socket, states } = await opened();
  socket.end("student:removed", { reason: "removed" });
  assert.equal(states.at(-1), "closed student:removed");
});

test("a name that is taken ends the attempt", async () => {
  const { socket, states } = page();
  socket.open();
  socket.sent.shift().resolve({ error: { message: "taken", data: { code: "name" } } });
  await settled();
  assert.equal(states.at(-1), "closed name");
});

test("a refused token ends it, and what cannot be recovered connects anew", () => {
  const { socket, states } = page();
  const refuse = (code) => {
    socket.active = false;
    socket.receive("connect_error", Object.assign(new Error("no"), { data: { code } }));
  };
  refuse("retry");
  assert.equal(socket.active, true);
  refuse("expired");
  assert.equal(states.at(-1), "closed expired");
  socket.active = true;
  socket.receive("connect_error", new Error("xhr poll error"));
  assert.equal(states.at(-1), "reconnecting the server cannot be reached");
});
