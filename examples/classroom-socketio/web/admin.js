// The page of the administration: rooms, sockets, messages.

import { by, element, show, showState, time, written } from "./dom.js";

const INTERVAL = 2000;
const TIMEOUT = 10_000;

const token = new URLSearchParams(location.hash.replace(/^#/, "")).get("token");
history.replaceState(null, "", location.pathname);
let chosen = null;

const socket = globalThis.io("/admin", { auth: { token }, autoConnect: false });
socket.on("connect", () => {
  showState(by("state"), "open");
  show("overview");
  refresh();
});
socket.on("disconnect", () => {
  if (socket.active) showState(by("state"), "reconnecting", "the connection is lost");
  else end("the server has ended the connection");
});
socket.on("connect_error", (error) => {
  if (socket.active) showState(by("state"), "reconnecting", "the server cannot be reached");
  else end(error.message);
});

function end(reason) {
  showState(by("state"), "closed");
  by("end-reason").textContent = reason;
  show("end");
}

async function refresh() {
  if (!socket.connected) return;
  const overview = await call("admin:rooms");
  if (overview) showRooms(overview);
  if (chosen === null) return;
  const found = await call("admin:sockets", { room: chosen });
  by("sockets-part").hidden = !found;
  if (!found) chosen = null;
  else by("sockets").replaceChildren(...found.sockets.map(showSocket));
}

function showRooms({ rooms, sockets, messages }) {
  by("totals").textContent = `${sockets} sockets, ${messages} messages`;
  by("rooms").replaceChildren(
    ...rooms.map((room) =>
      element(
        "tr",
        {},
        element("th", { scope: "row" }, written(room.name)),
        ...[room.participants, room.sockets, room.messages].map((value) => element("td", { class: "number" }, String(value))),
        element("td", {}, button("Sockets", room.name, () => choose(room.name)), " ", button("Close", room.name, () => closeRoom(room.name))),
      ),
    ),
  );
}

function showSocket({ id, participant: { name, role }, since }) {
  const disconnect = async () => (await call("admin:disconnect", { room: chosen, id })) && refresh();
  const cells = [element("td", {}, role), element("td", {}, time(since)), element("td", {}, button("Disconnect", name, disconnect))];
  return element("tr", {}, element("th", { scope: "row" }, written(name)), ...cells);
}

function button(text, what, onclick) {
  return element("button", { type: "button", "aria-label": `${text}: ${what}`, onclick }, text);
}

function choose(room) {
  chosen = room;
  by("sockets-room").textContent = room;
  refresh();
}

async function closeRoom(room) {
  if (confirm(`Close ${room} for everyone?`) && (await call("admin:close-room", { room }))) refresh();
}

// Returns the answer, or shows why there is none.
async function call(event, data = {}) {
  try {
    const answer = await socket.timeout(TIMEOUT).emitWithAck(event, data);
    by("notice").textContent = answer.error?.message ?? "";
    return answer.error ? null : answer;
  } catch (error) {
    by("notice").textContent = `${event}: ${error.message}`;
    return null;
  }
}

// A button that has the focus is not made anew.
setInterval(() => by("overview").matches(":focus-within") || refresh(), INTERVAL);
addEventListener("hashchange", () => location.hash.includes("token=") && location.reload());
if (token) socket.connect();
else end("Open the link that the server has printed.");
