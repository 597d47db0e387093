import assert from "node:assert/strict";
import test from "node:test";
import { Outbox } from "./outbox.js";
import { Sending } from "./sending.js";
import { CallError } from "./wire.js";

const settle = () => new Promise((resolve) => setImmediate(resolve));

// A wire that answers as a test says: each answer is an offset, or an error.
class FakeWire {
  calls = [];
  constructor(answers) {
    this.answers = answers;
  }
  async call(event, data) {
    this.calls.push([event, data.client_id, data.text, data.to]);
    const answer = this.answers.shift();
    if (answer instanceof Error) throw answer;
    return { offset: answer, timestamp: 5 };
  }
}

const refused = (message) => new CallError("refused", message);
const unavailable = () => refused("unavailable: the backplane cannot be reached");

function sending(t, answers, random = () => 1) {
  t.mock.timers.enable({ apis: ["setTimeout"] });
  const outbox = new Outbox(null, "ann");
  const session = { wire: new FakeWire(answers), resets: [], reset: (reason) => session.resets.push(reason) };
  const sent = [];
  const made = new Sending({ session, outbox, onChange: () => {}, onSent: (message) => sent.push(message.text), random });
  const add = (text) => outbox.add(text, text, "all");
  const states = () => outbox.entries.map(({ clientId, state, error }) => [clientId, state, error]);
  const tick = async (time) => {
    t.mock.timers.tick(time);
    await settle();
  };
  const calls = () => session.wire.calls.map(([, clientId]) => clientId);
  return { add, calls, outbox, sending: made, sent, session, states, tick };
}

test("messages are sent one after the other", async (t) => {
  const { add, outbox, sending: made, sent, session } = sending(t, [1, 2]);
  add("a");
  outbox.add("b", "hello", { id: "1", name: "Bob" });
  await made.flush();
  assert.deepEqual(sent, ["a", "hello"]);
  assert.deepEqual(session.wire.calls, [["chat:message", "a", "a", "all"], ["chat:private", "b", "hello", "1"]]);
  assert.deepEqual(outbox.entries, []);
});

test("what the server cannot store now is sent again, later each time, before what follows", async (t) => {
  const { add, calls, sending: made, sent, states, tick } = sending(t, [unavailable(), unavailable(), unavailable(), 1, 2, unavailable(), 3]);
  add("a");
  add("b");
  const flushing = made.flush();
  await settle();
  assert.deepEqual(states(), [["a", "waiting", ""], ["b", "waiting", ""]]);
  for (const [pause, count] of [[500, 2], [1000, 3]]) {
    await tick(pause - 1);
    assert.equal(calls().length, count - 1);
    await tick(1);
    assert.equal(calls().length, count);
  }
  await tick(2000);
  await flushing;
  assert.deepEqual(calls(), ["a", "a", "a", "a", "b"]);
  assert.deepEqual(sent, ["a", "b"]);
  // A message that was stored ends the row.
  add("c");
  const again = made.flush();
  await settle();
  await tick(500);
  await again;
  assert.deepEqual(sent, ["a", "b", "c"]);
});

test("the pause is a random share", async (t) => {
  const { add, calls, sending: made, tick } = sending(t, [unavailable(), 1], () => 0.5);
  add("a");
  const flushing = made.flush();
  await settle();
  await tick(249);
  assert.equal(calls().length, 1);
  await tick(1);
  await flushing;
  assert.deepEqual(calls(), ["a", "a"]);
});

test("another connection ends the pause, and no connection ends the attempt", async (t) => {
  const { add, calls, sending: made, sent, session, states, tick } = sending(t, [unavailable(), unavailable()]);
  add("a");
  const flushing = made.flush();
  await settle();
  await made.flush();
  assert.equal(calls().length, 1, "on the same connection, the pause goes on");
  session.wire = new FakeWire([7]);
  await made.flush();
  await flushing;
  assert.deepEqual([calls(), sent], [["a"], ["a"]]);
  add("b");
  session.wire.answers = [unavailable()];
  const ending = made.flush();
  await settle();
  session.wire = null;
  await tick(500);
  await ending;
  assert.deepEqual(states(), [["b", "waiting", ""]]);
});

test("after it was stopped, nothing is sent", async (t) => {
  const { add, calls, sending: made } = sending(t, [unavailable(), 1]);
  add("a");
  const flushing = made.flush();
  await settle();
  made.stop();
  await flushing;
  await made.flush();
  assert.deepEqual(calls(), ["a"]);
});

test("what comes too fast is sent again after a second", async (t) => {
  const { add, calls, sending: made, tick } = sending(t, [refused("rate: too fast, wait for 80 ms"), 1]);
  add("a");
  const flushing = made.flush();
  await settle();
  await tick(999);
  assert.equal(calls().length, 1);
  await tick(1);
  await flushing;
  assert.deepEqual(calls(), ["a", "a"]);
});

test("a message that is refused for good has failed, and the next follows", async (t) => {
  const { add, sending: made, sent, states } = sending(t, [refused("a teacher has muted you"), 1]);
  add("a");
  add("b");
  await made.flush();
  assert.deepEqual([states(), sent], [[["a", "failed", "a teacher has muted you"]], ["b"]]);
});

test("without an answer, another connection is opened, and the message waits", async (t) => {
  const { add, sending: made, session, states } = sending(t, [new CallError("timeout", "no answer to chat:message")]);
  add("a");
  await made.flush();
  assert.deepEqual([session.resets, states()], [["the server does not answer"], [["a", "waiting", ""]]]);
});
