import assert from "node:assert/strict";
import test from "node:test";
import { Outbox } from "./outbox.js";

// The parts of `Storage` that are used.
class Memory {
  items = new Map();
  get length() {
    return this.items.size;
  }
  key(index) {
    return [...this.items.keys()][index];
  }
  getItem(key) {
    return this.items.get(key) ?? null;
  }
  setItem(key, value) {
    this.items.set(key, value);
  }
  removeItem(key) {
    this.items.delete(key);
  }
}

const ids = (outbox) => outbox.entries.map(({ clientId }) => clientId);

test("messages wait in the order in which they were written", () => {
  const outbox = new Outbox(new Memory(), "ann");
  for (const id of ["a", "b", "c"]) outbox.add(id, id, "all", 1000);
  assert.equal(outbox.next().clientId, "a");
  outbox.sending("a");
  assert.equal(outbox.next().clientId, "b");
  assert.equal(outbox.take("a").text, "a");
  assert.equal(outbox.take("a"), undefined);
  assert.deepEqual(ids(outbox), ["b", "c"]);
});

test("what is not acknowledged outlives the page, in order, and is sent again", () => {
  const storage = new Memory();
  const before = new Outbox(storage, "ann", 1000);
  before.add("z", "first", "all", 1000);
  before.add("y", "second", { id: "1", name: "Bob" }, 900);
  before.add("x", "third", "all", 1000);
  before.sending("z");
  before.failed("y", "refused");
  const after = new Outbox(storage, "ann", 2000);
  assert.deepEqual(
    after.entries.map(({ text, state, error }) => [text, state, error]),
    [["first", "waiting", ""], ["second", "failed", "refused"], ["third", "waiting", ""]],
  );
  assert.deepEqual(after.entries[1].to, { id: "1", name: "Bob" });
  after.add("w", "fourth", "all", 0);
  assert.deepEqual(ids(new Outbox(storage, "ann", 2000)), ["z", "y", "x", "w"]);
});

test("a failed message does not hold up the next, and can be sent again", () => {
  const outbox = new Outbox(new Memory(), "ann");
  outbox.add("a", "a", "all");
  outbox.add("b", "b", "all");
  outbox.failed("a", "muted");
  assert.equal(outbox.next().clientId, "b");
  outbox.wait("a");
  assert.equal(outbox.next().clientId, "a");
});

test("two tabs of a person do not overwrite each other", () => {
  const storage = new Memory();
  const [one, two] = [new Outbox(storage, "ann", 1), new Outbox(storage, "ann", 1)];
  one.add("a", "a", "all", 1);
  two.add("b", "b", "all", 2);
  two.take("b");
  assert.deepEqual(ids(new Outbox(storage, "ann", 3)), ["a"]);
  assert.deepEqual(ids(new Outbox(storage, "bob", 3)), []);
});

test("what is too old or malformed is removed, and other keys are left alone", () => {
  const storage = new Memory();
  new Outbox(storage, "ann", 0).add("a", "a", "all", 0);
  storage.setItem("classroom.outbox.ann.b", "{");
  storage.setItem("classroom.outbox.ann.c", "null");
  storage.setItem("other", "{");
  assert.deepEqual(ids(new Outbox(storage, "bob", 12 * 3600 * 1000 + 2)), []);
  assert.deepEqual([...storage.items.keys()], ["other"]);
});

test("a hundred messages wait and no more", () => {
  const outbox = new Outbox(new Memory(), "ann");
  for (let number = 0; number < 100; number++) assert.ok(outbox.add(`${number}`, "a", "all"));
  assert.equal(outbox.add("100", "a", "all"), null);
});

test("without storage the messages are kept while the page is open", () => {
  const broken = new Proxy({}, { get: () => { throw new Error("forbidden"); } });
  const outbox = new Outbox(broken, "ann");
  outbox.add("a", "a", "all");
  assert.deepEqual(ids(outbox), ["a"]);
  assert.equal(outbox.take("a").text, "a");
});
