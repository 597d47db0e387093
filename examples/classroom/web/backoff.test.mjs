import assert from "node:assert/strict";
import test from "node:test";
import { delay } from "./backoff.js";

const most = (attempt) => delay(attempt, { random: () => 1 });

test("the limit doubles with each attempt up to thirty seconds", () => {
  assert.deepEqual([0, 1, 2, 3, 4, 5, 6, 7, 1000].map(most), [500, 1000, 2000, 4000, 8000, 16_000, 30_000, 30_000, 30_000]);
});

test("the delay is any share of the limit", () => {
  assert.equal(delay(3, { random: () => 0 }), 0);
  assert.equal(delay(3, { random: () => 0.25 }), 1000);
  const delays = Array.from({ length: 1000 }, () => delay(1));
  assert.ok(delays.every((each) => each >= 0 && each < 1000));
  assert.ok(new Set(delays).size > 900);
});

test("what the server asked for is the least", () => {
  assert.equal(delay(0, { random: () => 0, least: 7000 }), 7000);
  assert.equal(delay(0, { random: () => 1, least: 7000 }), 7500);
  assert.equal(delay(0, { random: () => 0, least: -5 }), 0);
});
