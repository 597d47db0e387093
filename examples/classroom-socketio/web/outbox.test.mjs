import assert from "node:assert/strict";
import { test } from "node:test";
import { Outbox } from "./outbox.js";

function outbox(...ids) {
  const made = new Outbox();
  for (const clientId of ids) assert.ok(made.add({ clientId, text: clientId }));
  return made;
}

test("messages are sent in their order, and failed ones are not", () => {
  const box = outbox("a", "b", "c");
  assert.equal(box.next().clientId, "a");
  box.set("a", "failed", "too long");
  assert.equal(box.next().clientId, "b");
  box.set("b", "sending");
  assert.equal(box.next().clientId, "c");
  box.set("b", "waiting");
  assert.equal(box.next().clientId, "b");
  assert.equal(box.entries[0].error, "too long");
});

test("a message is taken once", () => {
  const box = outbox("a");
  assert.equal(box.take("a").text, "a");
  assert.equal(box.take("a"), undefined);
  box.set("a", "waiting");
  assert.deepEqual(box.entries, []);
});

test("a hundred messages wait", () => {
  const box = outbox(...Array.from({ length: 100 }, (_, index) => `${index}`));
  assert.equal(box.add({ clientId: "x", text: "x" }), false);
  box.take("0");
  assert.equal(box.add({ clientId: "x", text: "x" }), true);
});
