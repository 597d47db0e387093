// The page of a class: the entrance, the class, and the end.

import { Chat } from "./chat.js";
import { Connection } from "./connection.js";
import { by, show, showState } from "./dom.js";
import { Outbox } from "./outbox.js";
import { Timeline } from "./timeline.js";
import { Token } from "./token.js";

const query = new URLSearchParams(location.search);
const token = new Token(sessionStorageOrNone(), location.hash);
// The token is in no bookmark, and in no copied address.
history.replaceState(null, "", location.pathname + location.search);

const outbox = new Outbox();
const chat = new Chat({ outbox });
const connection = new Connection({
  io: globalThis.io,
  token,
  outbox,
  timeline: new Timeline(),
  // `?transports=polling` shows that long polling alone suffices.
  options: query.has("transports") ? { transports: query.get("transports").split(",") } : {},
  on: {
    state: changed,
    joined: (answer) => {
      show("chat");
      chat.joined(answer);
      chat.focus();
    },
    items: (items, isLive) => chat.items(items, isLive),
    participants: (people) => chat.participants(people),
    typing: (person) => chat.typing(person),
    refused: (refusal) => chat.refused(refusal),
    outbox: () => chat.outbox(),
  },
});
chat.connection = connection;

function changed(state, { reason = "", code } = {}) {
  showState(by("state"), state, reason);
  if (state !== "closed") return;
  if (code === "name") {
    // Another name is another person.
    token.enter(null);
    ask(reason);
    return;
  }
  by("end-reason").textContent = reason;
  show("end");
}

function ask(problem = "") {
  by("entrance-problem").textContent = problem;
  show("entrance");
  by("name").focus();
}

by("entrance-form").addEventListener("submit", (event) => {
  event.preventDefault();
  const name = by("name").value.trim();
  if (name) connection.start(name);
});
by("again").addEventListener("click", () => connection.start(by("name").value.trim()));
// Another link in the same tab.
addEventListener("hashchange", () => location.hash.includes("token=") && location.reload());

if (token.current === null) {
  showState(by("state"), "closed");
  by("end-reason").textContent = "Open the link that you were given: it lets you in.";
  by("again").hidden = true;
  show("end");
} else if (token.isPersonal || token.claims.name) {
  connection.start();
} else {
  ask();
}

function sessionStorageOrNone() {
  try {
    return sessionStorage;
  } catch {
    return null;
  }
}
