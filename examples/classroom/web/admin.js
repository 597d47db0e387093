// The page of the administration: rooms, connections, and those that read too slowly.

import { Door } from "./door.js";
import { by, element, show, showState, time, written } from "./dom.js";
import { Link } from "./link.js";
import { Session } from "./session.js";

const link = new Link(sessionStorageOrNone(), location.hash);
history.replaceState(null, "", location.pathname);
const door = new Door({ link });
let chosen = null;

const session = new Session({
  url: `${location.protocol === "https:" ? "wss" : "ws"}://${location.host}/admin/ws`,
  protocol: "classroom.admin.v1",
  token: async () => (await door.token()).token,
  join: (wire) => wire.call("admin:watch"),
  onJoined: (stats) => {
    show("overview");
    showStats(stats);
    showConnections();
  },
  onEvent: (event, data) => event === "admin:stats" && showStats(data),
  onState: (state, { reason = "" }) => {
    showState(by("state"), state, reason);
    if (state !== "closed") return;
    by("end-reason").textContent = reason;
    show("end");
  },
});

const number = (value) => element("td", { class: "number" }, value.toLocaleString());

function showStats({ rooms, connections, messages_per_second: rate, slow }) {
  by("totals").textContent = `${connections} connections, ${rate.toFixed(1)} messages per second`;
  by("rooms").replaceChildren(
    ...rooms.map((room) =>
      element(
        "tr",
        {},
        element("th", { scope: "row" }, written(room.name)),
        number(room.participants),
        number(room.connections),
        number(room.messages_per_second),
        element("td", {}, button("Connections", room.name, () => choose(room.name)), " ", button("Close", room.name, () => closeRoom(room.name))),
      ),
    ),
  );
  by("slow").replaceChildren(...slow.map(connection));
  by("no-slow").hidden = slow.length > 0;
}

function connection({ id, name, role, room, address, since, queued_bytes: queued }) {
  return element(
    "tr",
    {},
    element("th", { scope: "row" }, written(name)),
    element("td", {}, role),
    element("td", {}, written(room ?? "")),
    element("td", {}, address ?? "another node"),
    element("td", {}, time(since)),
    queued === undefined ? element("td", { class: "number" }, "–") : number(queued),
    element("td", {}, button("Close", name, () => call("admin:close-connection", { id, room }))),
  );
}

function button(text, what, onclick) {
  return element("button", { type: "button", "aria-label": `${text}: ${what}`, onclick }, text);
}

function choose(room) {
  chosen = room;
  showConnections();
}

// Shows the connections of the chosen room, page by page.
async function showConnections() {
  by("connections-part").hidden = chosen === null;
  if (chosen === null) return;
  by("connections-room").textContent = chosen;
  const all = [];
  let after;
  do {
    const answer = await call("admin:connections", { room: chosen, ...(after && { after }) });
    if (!answer) return;
    all.push(...answer.connections);
    after = answer.more ? answer.connections.at(-1)?.id : undefined;
  } while (after && all.length < 2000);
  by("connections").replaceChildren(...all.map(connection));
}

async function closeRoom(room) {
  if (confirm(`Close ${room} for everyone?`)) await call("admin:close-room", { room });
}

// Returns the answer, or shows why there is none.
async function call(event, data) {
  try {
    if (!session.wire) throw new Error("not connected");
    const answer = await session.wire.call(event, data);
    by("notice").textContent = "";
    return answer;
  } catch (error) {
    by("notice").textContent = `${event}: ${error.message}`;
    return null;
  }
}

by("refresh").addEventListener("click", showConnections);
addEventListener("online", () => session.hurry());
addEventListener("hashchange", () => location.hash.includes("ticket=") && location.reload());
if (link.shared) {
  session.start();
} else {
  showState(by("state"), "closed");
  by("end-reason").textContent = "Open the link that the server has printed.";
  show("end");
}

function sessionStorageOrNone() {
  try {
    return sessionStorage;
  } catch {
    return null;
  }
}
