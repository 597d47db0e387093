import assert from "node:assert/strict";
import test from "node:test";
import { Refused } from "./door.js";
import { Session } from "./session.js";

// Lets promises that are settled run.
const settle = async () => {
  for (let turn = 0; turn < 10; turn++) await Promise.resolve();
};

class FakeSocket {
  static all = [];
  readyState = 0;
  sent = [];
  closedWith = null;
  constructor(url, protocols) {
    Object.assign(this, { url, protocols });
    FakeSocket.all.push(this);
  }
  send(text) {
    this.sent.push(JSON.parse(text));
  }
  close(code) {
    this.closedWith = code;
  }
  open() {
    this.readyState = 1;
    this.onopen();
  }
  say(message) {
    this.onmessage({ data: JSON.stringify(message) });
  }
  lose(code = 1006, reason = "") {
    this.readyState = 3;
    this.onclose({ code, reason });
  }
}

// A session whose clock the test advances, and whose random share is 1.
function session(t, tokens = () => Promise.resolve("t")) {
  t.mock.timers.enable({ apis: ["setTimeout", "setInterval"] });
  FakeSocket.all = [];
  const states = [];
  const joined = [];
  const events = [];
  const made = new Session({
    url: "ws://a/ws",
    protocol: "classroom.v1",
    token: tokens,
    join: (wire) => wire.call("student:join", {}),
    onState: (state, { reason, waits, code }) => states.push([state, reason ?? waits ?? code].filter((each) => each !== undefined)),
    onJoined: (answer) => joined.push(answer),
    onEvent: (event, data) => events.push([event, data]),
    random: () => 1,
    WebSocket: FakeSocket,
  });
  const tick = async (time) => {
    t.mock.timers.tick(time);
    await settle();
  };
  const join = async (socket) => {
    socket.open();
    socket.say({ ack: socket.sent.at(-1).id, ok: true, data: { me: 1 } });
    await settle();
  };
  const names = () => states.map(([state]) => state);
  return { made, states, names, joined, events, tick, join, socket: () => FakeSocket.all.at(-1) };
}

test("the token is among the subprotocols and the page joins", async (t) => {
  const { made, names, joined, join, socket } = session(t);
  await made.start();
  assert.deepEqual([socket().url, socket().protocols], ["ws://a/ws", ["classroom.v1", "bearer.t"]]);
  assert.equal(made.wire, null);
  await join(socket());
  assert.deepEqual([names(), joined], [["connecting", "open"], [{ me: 1 }]]);
  assert.notEqual(made.wire, null);
});

test("a lost connection is opened again with a fresh token, later each time", async (t) => {
  let count = 0;
  const { made, names, tick, join, socket } = session(t, () => Promise.resolve(`t${count++}`));
  await made.start();
  await join(socket());
  socket().lose();
  assert.equal(made.wire, null);
  for (const [attempt, waits] of [[1, 500], [2, 1000], [3, 2000]]) {
    await tick(waits - 1);
    assert.equal(FakeSocket.all.length, attempt, "not before");
    await tick(1);
    assert.equal(FakeSocket.all.length, attempt + 1);
    assert.equal(socket().protocols[1], `bearer.t${attempt}`);
    socket().lose();
  }
  assert.deepEqual(names().slice(0, 3), ["connecting", "open", "reconnecting"]);
});

test("after ten seconds the attempts are counted anew", async (t) => {
  const { made, tick, join, socket } = session(t);
  await made.start();
  for (let round = 0; round < 3; round++) {
    await join(socket());
    await tick(10_000);
    socket().lose();
    await tick(500);
    assert.equal(FakeSocket.all.length, round + 2);
  }
});

test("an answer that refuses the token is final and shown", async (t) => {
  const { made, states, tick } = session(t, () => Promise.reject(new Refused(403, "removed", "a teacher has removed you", 0)));
  await made.start();
  await tick(100_000);
  assert.deepEqual([states.at(-1), FakeSocket.all.length], [["closed", "a teacher has removed you"], 0]);
});

test("a server that is not available is asked again, not before it wants", async (t) => {
  let asked = 0;
  const { made, states, tick } = session(t, () => {
    asked++;
    return Promise.reject(new Refused(503, "unavailable", "not now", 5000));
  });
  await made.start();
  assert.deepEqual(states.at(-1), ["reconnecting", "not now"]);
  await tick(5499);
  assert.equal(asked, 1);
  await tick(1);
  assert.equal(asked, 2);
});

test("without a network the page goes on trying, and at once when it is back", async (t) => {
  let asked = 0;
  const { made, states, tick } = session(t, () => {
    asked++;
    return Promise.reject(new TypeError("fetch failed"));
  });
  await made.start();
  assert.deepEqual(states.at(-1), ["reconnecting", "the server cannot be reached"]);
  made.hurry();
  await settle();
  assert.equal(asked, 2);
  await tick(1000);
  assert.equal(asked, 3);
});

test("close codes that are final end the attempts", async (t) => {
  for (const [code, text] of [[4001, /removed you/], [4002, /closed the room/], [4003, /this name/], [4004, /administrator/]]) {
    const { made, states, tick, join, socket } = session(t);
    await made.start();
    await join(socket());
    socket().lose(code);
    assert.equal(states.at(-1)[0], "closed");
    assert.match(states.at(-1)[1], text);
    await tick(100_000);
    assert.equal(FakeSocket.all.length, 1);
    t.mock.timers.reset();
  }
});

test("a restart of the server is waited for", async (t) => {
  const { made, tick, join, socket } = session(t);
  await made.start();
  await join(socket());
  socket().lose(1012, "the server stops");
  await tick(1499);
  assert.equal(FakeSocket.all.length, 1);
  await tick(1);
  assert.equal(FakeSocket.all.length, 2);
});

test("a connection that does not open is given up", async (t) => {
  const { made, states, tick, socket } = session(t);
  await made.start();
  const first = socket();
  await tick(15_000);
  assert.deepEqual([states.at(-1)[0], first.closedWith], ["reconnecting", 4000]);
  await tick(500);
  assert.equal(FakeSocket.all.length, 2);
});

test("a dead connection is noticed by a ping without an answer", async (t) => {
  const { made, names, tick, join, socket } = session(t);
  await made.start();
  await join(socket());
  const first = socket();
  await tick(20_000);
  assert.equal(first.sent.at(-1).event, "ping");
  first.say({ ack: first.sent.at(-1).id, ok: true });
  await tick(20_000);
  assert.equal(names().at(-1), "open");
  await tick(10_000);
  assert.deepEqual([names().at(-1), first.closedWith], ["reconnecting", 4000]);
});

test("a connection that was given up changes nothing any more", async (t) => {
  const { made, states, events, tick, join, socket } = session(t);
  await made.start();
  await join(socket());
  const first = socket();
  made.reset("a test");
  await tick(500);
  await join(socket());
  const count = states.length;
  first.say({ event: "chat:message", data: {} });
  first.lose(4001);
  assert.deepEqual([states.length, events, names(states)], [count, [], "open"]);
  function names(all) {
    return all.at(-1)[0];
  }
});

test("a refused join ends with the Close that follows, or with another attempt", async (t) => {
  const { made, states, tick, socket } = session(t);
  await made.start();
  socket().open();
  socket().say({ ack: 1, ok: false, error: "the name is taken" });
  await settle();
  socket().lose(4003);
  assert.equal(states.at(-1)[0], "closed");
  await made.start();
  socket().open();
  socket().say({ ack: 1, ok: false, error: "unavailable: the disk is full" });
  await settle();
  await tick(2000);
  assert.deepEqual(states.at(-1), ["reconnecting", "unavailable: the disk is full"]);
});

test("a page that stops stays stopped", async (t) => {
  const { made, states, tick, join, socket } = session(t);
  await made.start();
  await join(socket());
  made.stop("left");
  await tick(100_000);
  assert.deepEqual([states.at(-1), FakeSocket.all.length], [["closed", "left"], 1]);
});
