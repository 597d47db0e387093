import assert from "node:assert/strict";
import test from "node:test";
import { Door } from "./door.js";
import { Link } from "./link.js";

function storage(items = new Map()) {
  return { getItem: (key) => items.get(key) ?? null, setItem: (key, value) => items.set(key, value) };
}

function door(link, ...answers) {
  const bodies = [];
  const fetch = async (_, { body }) => {
    bodies.push(JSON.parse(body));
    const answer = answers.shift();
    return answer instanceof Response ? answer : Response.json(answer);
  };
  return { door: new Door({ link, fetch }), bodies };
}

test("the ticket of the link gets a token once, and then that of the person", async () => {
  const link = new Link(storage(), "#ticket=shared");
  const { door: made, bodies } = door(link, { token: "t1", ticket: "mine" }, { token: "t2", ticket: "mine2" });
  assert.equal((await made.token("Ann")).token, "t1");
  assert.equal((await made.token()).token, "t2");
  assert.deepEqual(bodies, [{ ticket: "shared", name: "Ann" }, { ticket: "mine" }]);
  assert.equal(link.personal, "mine2");
});

test("a refusal has the code and the text of the server", async () => {
  const answer = Response.json({ code: "removed", error: "a teacher has removed you" }, { status: 403 });
  const { door: made } = door(new Link(storage(), "#ticket=a"), answer);
  await assert.rejects(made.token(), { code: "removed", message: "a teacher has removed you", isFinal: true, least: 0 });
});

test("a server that is not available is asked again, when it says", async () => {
  const unavailable = new Response("no JSON", { status: 503, headers: { "retry-after": "5" } });
  const many = new Response("{}", { status: 429 });
  const { door: made } = door(new Link(storage(), "#ticket=a"), unavailable, many);
  await assert.rejects(made.token(), { isFinal: false, least: 5000, message: "the server answers 503" });
  await assert.rejects(made.token(), { isFinal: false, least: 0 });
});

test("a person stays the same when the page is loaded again without the fragment", () => {
  const items = new Map();
  new Link(storage(items), "#ticket=shared").enter("mine");
  const again = new Link(storage(items), "");
  assert.deepEqual([again.shared, again.personal], ["shared", "mine"]);
  again.leave();
  assert.equal(new Link(storage(items), "#ticket=shared").personal, null);
});

test("another link is another person", () => {
  const items = new Map();
  new Link(storage(items), "#ticket=shared").enter("mine");
  const other = new Link(storage(items), "#ticket=other");
  assert.deepEqual([other.shared, other.personal], ["other", null]);
  assert.equal(new Link(storage(new Map([["classroom.person", "{"]])), "").shared, null);
});
