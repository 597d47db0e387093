import assert from "node:assert/strict";
import test from "node:test";
import { TypingSender, Typists } from "./typing.js";

// Returns a sender whose clock a test sets, and the times at which it has said something.
function sender(t) {
  t.mock.timers.enable({ apis: ["setTimeout", "Date"] });
  const sent = [];
  return [new TypingSender(() => sent.push(Date.now())), sent];
}

test("typing is said at most once in 600 ms, at last after the last key", (t) => {
  const [typing, sent] = sender(t);
  const keys = [0, 100, 500, 600, 800, 2000, 2100];
  for (let now = 0; now <= 5000; now += 100) {
    if (keys.includes(now)) typing.typed();
    t.mock.timers.tick(100);
  }
  assert.deepEqual(sent, [0, 600, 1200, 2000, 2600]);
});

test("typing is not said once the message is sent", (t) => {
  const [typing, sent] = sender(t);
  typing.typed();
  t.mock.timers.tick(10);
  typing.typed();
  typing.stopped();
  t.mock.timers.tick(10_000);
  assert.deepEqual(sent, [0]);
  typing.typed();
  assert.deepEqual(sent, [0, 10_010]);
});

test("typing is said at once if the clock was set back", (t) => {
  const [typing, sent] = sender(t);
  t.mock.timers.setTime(10_000);
  typing.typed();
  typing.typed(200);
  assert.deepEqual(sent, [10_000, 10_000]);
});

test("those who are typing are forgotten after three seconds, or when they send", () => {
  const typists = new Typists();
  typists.typed("1", "Ann", 0);
  typists.typed("2", "Bob", 1000);
  assert.deepEqual(typists.names(2999), ["Ann", "Bob"]);
  assert.deepEqual(typists.names(3000), ["Bob"]);
  typists.stopped("2");
  assert.deepEqual(typists.names(3000), []);
});
