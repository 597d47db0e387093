import assert from "node:assert/strict";
import test from "node:test";
import { TypingSender, Typists } from "./typing.js";

test("typing is said at most once in half a second", () => {
  const sent = [];
  let now = 0;
  const sender = new TypingSender(() => sent.push(now));
  for (now of [0, 10, 499, 500, 900, 1000, 200]) sender.typed(now);
  assert.deepEqual(sent, [0, 500, 1000, 200]);
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
