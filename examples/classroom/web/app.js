// The page of a room: the entrance, the room, and the end.

import { Chat } from "./chat.js";
import { Door } from "./door.js";
import { by, show, showState, tabs } from "./dom.js";
import { Link } from "./link.js";
import { Session } from "./session.js";

// The person has to choose a name, or another one.
const NEEDS_NAME = new Set(["name", 4003]);
const ROOM_CLOSED = new Set(["closed", 4002]);

const link = new Link(sessionStorageOrNone(), location.hash);
// The ticket is in no bookmark, and in no copied address.
history.replaceState(null, "", location.pathname);
const door = new Door({ link });
let name = "";
let person = null;
let isReopened = false;

const session = new Session({
  url: `${location.protocol === "https:" ? "wss" : "ws"}://${location.host}/ws`,
  protocol: "classroom.v1",
  token: async () => {
    person = await door.token(name);
    return person.token;
  },
  join: (wire) => chat.join(wire, person.role, isReopened),
  onJoined: (joined) => {
    isReopened = false;
    show("chat");
    chat.joined(joined);
  },
  onEvent: (event, data) => chat.event(event, data),
  onState: changed,
});
const chat = new Chat(session);

function changed(state, { reason = "", code } = {}) {
  showState(by("state"), state, reason);
  if (state !== "open") chat.lost();
  if (state !== "closed") return;
  if (NEEDS_NAME.has(code)) {
    link.leave();
    by("entrance-problem").textContent = code === 4003 ? reason : "";
    show("entrance");
    by("name").focus();
    return;
  }
  by("end-reason").textContent = reason;
  by("reopen").hidden = !(ROOM_CLOSED.has(code) && person?.role === "teacher");
  show("end");
}

by("entrance-form").addEventListener("submit", (event) => {
  event.preventDefault();
  name = by("name").value.trim();
  if (name) session.start();
});
by("reopen").addEventListener("click", () => {
  isReopened = true;
  session.start();
});
by("again").addEventListener("click", () => session.start());
addEventListener("online", () => session.hurry());
document.addEventListener("visibilitychange", () => document.visibilityState === "visible" && session.hurry());
// Another link in the same tab.
addEventListener("hashchange", () => location.hash.includes("ticket=") && location.reload());

tabs(by("tabs")).choose("tab-chat");
if (link.shared) {
  session.start();
} else {
  showState(by("state"), "closed");
  by("end-reason").textContent = "Open the link that you were given: it lets you in.";
  by("again").hidden = true;
  show("end");
}

function sessionStorageOrNone() {
  try {
    return sessionStorage;
  } catch {
    return null;
  }
}
