import assert from "node:assert/strict";
import test from "node:test";
import { Wire } from "./wire.js";

function wire() {
  const sent = [];
  const events = [];
  const made = new Wire({
    send: (text) => sent.push(JSON.parse(text)),
    onEvent: (event, data) => events.push([event, data]),
  });
  return { made, sent, events };
}

test("a call is answered by its acknowledgement", async () => {
  const { made, sent } = wire();
  const [first, second] = [made.call("a", { x: 1 }), made.call("b")];
  assert.deepEqual(sent, [{ event: "a", id: 1, data: { x: 1 } }, { event: "b", id: 2, data: {} }]);
  assert.ok(made.receive('{"ack":2,"ok":true}'));
  assert.ok(made.receive('{"ack":1,"ok":true,"data":{"y":2}}'));
  assert.deepEqual(await Promise.all([first, second]), [{ y: 2 }, {}]);
});

test("a refused call fails with the text of the server", async () => {
  const { made } = wire();
  const call = made.call("a");
  made.receive('{"ack":1,"ok":false,"error":"text: it is empty"}');
  await assert.rejects(call, { kind: "refused", message: "text: it is empty" });
});

test("a call without an answer fails at its deadline, and a late answer is ignored", async (t) => {
  t.mock.timers.enable({ apis: ["setTimeout"] });
  const { made } = wire();
  const call = made.call("a");
  t.mock.timers.tick(10_000);
  await assert.rejects(call, { kind: "timeout" });
  assert.ok(made.receive('{"ack":1,"ok":true}'));
});

test("the end of the connection fails what waits and what follows", async () => {
  const { made, sent } = wire();
  const call = made.call("a");
  made.end();
  await assert.rejects(call, { kind: "lost" });
  await assert.rejects(made.call("b"), { kind: "lost" });
  made.emit("c");
  assert.equal(sent.length, 1);
});

test("events are passed on, and what is neither is reported", () => {
  const { made, events } = wire();
  assert.ok(made.receive('{"event":"chat:message","data":{"text":"a"}}'));
  assert.ok(made.receive('{"event":"room:closed"}'));
  assert.deepEqual(events, [["chat:message", { text: "a" }], ["room:closed", {}]]);
  for (const text of ["", "null", "1", "[]", "{", '{"ack":"1","ok":true}']) assert.ok(!made.receive(text), text);
});
