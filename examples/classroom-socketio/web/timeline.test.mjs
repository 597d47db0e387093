import assert from "node:assert/strict";
import { test } from "node:test";
import { GAPS, Timeline } from "./timeline.js";

const message = (id, client_id = `c${id}`, from = "a") => ({ id, client_id, from: { id: from }, text: `${id}` });
const answer = (epoch, messages, complete = true) => ({ epoch, messages, complete });
const shown = (items) => items.map(({ message, gap }) => gap ?? message.id);

test("a page that has nothing names no position", () => {
  const timeline = new Timeline();
  assert.deepEqual(timeline.position, {});
  assert.deepEqual(shown(timeline.follow(answer("x", [message(3), message(5)]))), [3, 5]);
  assert.deepEqual(timeline.position, { after: 5, epoch: "x" });
});

test("a message is shown once, also after the server was started again", () => {
  const timeline = new Timeline();
  timeline.follow(answer("x", [message(1)]));
  assert.deepEqual(shown(timeline.receive(message(2))), [2]);
  assert.deepEqual(shown(timeline.receive(message(2))), []);
  const again = timeline.follow(answer("y", [message(1, "c2"), message(2, "c9")], false));
  assert.deepEqual(shown(again), [GAPS.restarted, 2]);
  assert.deepEqual(timeline.position, { after: 2, epoch: "y" });
});

test("persons may have chosen the same id for a message", () => {
  const timeline = new Timeline();
  timeline.follow(answer("x", []));
  assert.deepEqual(shown(timeline.receive(message(1, "c", "a"))), [1]);
  assert.deepEqual(shown(timeline.receive(message(2, "c", "b"))), [2]);
});

test("missing messages are shown as a gap", () => {
  const timeline = new Timeline();
  timeline.follow(answer("x", [message(1)]));
  assert.deepEqual(shown(timeline.follow(answer("x", [message(9)], false))), [GAPS.lost, 9]);
  assert.deepEqual(shown(timeline.follow(answer("x", [message(10)]))), [10]);
});

test("a thousand messages are remembered", () => {
  const timeline = new Timeline();
  for (let id = 1; id <= 1001; id++) timeline.receive(message(id));
  assert.deepEqual(shown(timeline.receive(message(2))), []);
  assert.deepEqual(shown(timeline.receive(message(1))), [1], "the oldest one is forgotten");
});
