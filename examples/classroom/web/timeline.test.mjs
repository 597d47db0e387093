import assert from "node:assert/strict";
import test from "node:test";
import { Timeline } from "./timeline.js";

const message = (offset) => ({ offset, text: `m${offset}` });
const page = (direction, offsets, { epoch = "e", offset = offsets.at(-1) ?? 0, more = false, lost = false } = {}) => ({
  direction, epoch, offset, messages: offsets.map(message), more, lost,
});
const shown = (timeline) => timeline.items.map(({ message }) => message?.offset ?? "gap");

function joined(offsets, options) {
  const timeline = new Timeline();
  timeline.follow(page("before", offsets, options));
  return timeline;
}

test("a page begins with the latest messages", () => {
  const timeline = new Timeline();
  assert.equal(timeline.since, undefined);
  const added = timeline.follow(page("before", [8, 9], { offset: 10, more: true }));
  assert.deepEqual(added.map(({ index }) => index), [0, 1]);
  assert.deepEqual(shown(timeline), [8, 9]);
  assert.deepEqual([timeline.since, timeline.hasOlder], [{ epoch: "e", offset: 10 }, true]);
});

test("a message is shown once, however often it arrives", () => {
  const timeline = joined([1]);
  assert.equal(timeline.receive(message(3)).length, 1);
  assert.deepEqual(timeline.receive(message(3)), []);
  assert.deepEqual(timeline.acknowledge(message(3)), []);
  assert.deepEqual(timeline.follow(page("after", [1, 3])), []);
  assert.deepEqual(shown(timeline), [1, 3]);
});

test("messages are in the order of the room, however they arrive", () => {
  const timeline = joined([1]);
  timeline.acknowledge(message(5));
  assert.deepEqual(timeline.receive(message(4)).map(({ index }) => index), [1]);
  assert.deepEqual(shown(timeline), [1, 4, 5]);
});

test("the cursor does not pass what may be missing", () => {
  const timeline = joined([1]);
  timeline.acknowledge(message(7));
  assert.equal(timeline.cursor, 1, "earlier messages may be on the way");
  timeline.receive(message(4));
  assert.equal(timeline.cursor, 4);
  timeline.follow(page("after", [5, 6], { offset: 9, more: true }));
  timeline.receive(message(10));
  assert.deepEqual([timeline.cursor, timeline.isBehind], [6, true]);
  timeline.follow(page("after", [7, 8], { offset: 9 }));
  assert.deepEqual([timeline.cursor, timeline.isBehind], [10, false]);
  assert.deepEqual(shown(timeline), [1, 4, 5, 6, 7, 8, 10]);
});

test("a page that was interrupted while it caught up goes on where it was", () => {
  const timeline = joined([1]);
  timeline.follow(page("after", [2, 3], { offset: 9, more: true }));
  timeline.receive(message(10));
  assert.deepEqual(timeline.since, { epoch: "e", offset: 3 });
  timeline.follow(page("after", [4, 9, 10]));
  assert.deepEqual(shown(timeline), [1, 2, 3, 4, 9, 10]);
});

test("older messages go to the top, and their end is known", () => {
  const timeline = joined([8, 9], { more: true });
  assert.equal(timeline.oldest, 8);
  const added = timeline.precede(page("before", [5, 7], { more: false, lost: true }));
  assert.deepEqual(added.map(({ index }) => index), [0, 1]);
  assert.deepEqual([shown(timeline), timeline.hasOlder, timeline.hasLostOlder], [[5, 7, 8, 9], false, true]);
  assert.equal(timeline.cursor, 9);
});

test("lost messages are shown as a gap", () => {
  const timeline = joined([1, 2]);
  timeline.follow(page("after", [7, 8], { lost: true }));
  assert.deepEqual(shown(timeline), [1, 2, "gap", 7, 8]);
  timeline.lose("e", 20);
  timeline.receive(message(21));
  assert.deepEqual([shown(timeline), timeline.cursor], [[1, 2, "gap", 7, 8, "gap", 21], 21]);
});

test("another history follows the old one, behind a gap", () => {
  const timeline = joined([50, 51]);
  timeline.follow(page("before", [2, 3], { epoch: "f", lost: true }));
  timeline.receive(message(4));
  assert.deepEqual([shown(timeline), timeline.since], [[50, 51, "gap", 2, 3, 4], { epoch: "f", offset: 4 }]);
  assert.equal(timeline.oldest, 2);
  timeline.precede(page("before", [1], { epoch: "f" }));
  assert.deepEqual(shown(timeline), [50, 51, "gap", 1, 2, 3, 4]);
  assert.deepEqual(timeline.precede(page("before", [1], { epoch: "e" })), [], "an answer that comes too late");
});

test("a history that begins anew while the page is connected is behind a gap", () => {
  const timeline = joined([50]);
  timeline.lose("f", 0);
  timeline.receive(message(1));
  assert.deepEqual([shown(timeline), timeline.since], [[50, "gap", 1], { epoch: "f", offset: 1 }]);
});

test("the oldest messages are forgotten beyond a number, and can be asked for again", () => {
  const timeline = joined([1, 2, 3, 4]);
  assert.deepEqual([timeline.trim(3), timeline.trim(3)], [1, 0]);
  assert.deepEqual([shown(timeline), timeline.hasOlder, timeline.oldest], [[2, 3, 4], true, 2]);
});

test("any order and any repetition of answers and events ends with each message once", () => {
  let seed = 1;
  const random = (below) => (seed = (seed * 48_271) % 2_147_483_647) % below;
  for (let round = 0; round < 500; round++) {
    const timeline = joined([1, 2, 3]);
    let head = 3;
    for (let step = 0; step < 30; step++) {
      head += random(2);
      const kind = random(3);
      if (kind === 0) timeline.acknowledge(message(1 + random(head)));
      else if (kind === 1 && !timeline.isBehind && timeline.cursor < head) timeline.receive(message(timeline.cursor + 1));
      else {
        const from = timeline.cursor + 1;
        const count = Math.min(random(4), head - timeline.cursor);
        const offsets = Array.from({ length: count }, (_, index) => from + index);
        timeline.follow(page("after", offsets, { offset: head, more: from + count <= head }));
      }
    }
    const rest = Array.from({ length: head - timeline.cursor }, (_, index) => timeline.cursor + 1 + index);
    timeline.follow(page("after", rest, { offset: head }));
    assert.deepEqual(shown(timeline), Array.from({ length: head }, (_, index) => index + 1), `round ${round}`);
  }
});
