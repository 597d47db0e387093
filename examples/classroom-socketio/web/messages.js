// The list of messages, and those that are not sent yet below it.

import { by, element, time, written } from "./dom.js";

// This near to the end, the reader follows.
const NEAR = 60;
// The items that the page shows.
const MAX = 500;
const STATES = { waiting: "Waiting for the connection", sending: "Sending…" };

export class Messages {
  #view = by("view");
  #list = by("messages");
  #me = { id: "", name: "" };
  #isFollowing = true;
  #onRetry;
  #onDiscard;

  constructor({ onRetry, onDiscard }) {
    this.#onRetry = onRetry;
    this.#onDiscard = onDiscard;
    this.#view.addEventListener("scroll", () => this.#scrolled(), { passive: true });
    by("news").addEventListener("click", () => this.end());
    // A keyboard that opens on a phone makes the view smaller.
    new ResizeObserver(() => this.#isFollowing && this.end()).observe(this.#view);
  }

  set me(me) {
    this.#me = me;
  }

  // Appends items of the timeline. Only what was just sent is read aloud.
  append(items, isLive) {
    for (const { message, gap } of items) {
      this.#list.append(message ? this.#message(message) : element("li", { class: "gap" }, gap));
    }
    while (this.#list.childElementCount > MAX) this.#list.firstElementChild.remove();
    const others = items.flatMap(({ message }) => (message && message.from.id !== this.#me.id ? [message] : []));
    if (this.#isFollowing) this.end();
    else if (others.length > 0) by("news").hidden = false;
    if (isLive) this.#speak(others);
  }

  // Shows the messages that are not acknowledged.
  outbox(entries) {
    by("pending").replaceChildren(...entries.map((entry) => this.#unsent(entry)));
    if (this.#isFollowing) this.end();
  }

  // Scrolls to the newest message.
  end() {
    this.#isFollowing = true;
    by("news").hidden = true;
    this.#view.scrollTop = this.#view.scrollHeight;
  }

  #scrolled() {
    const { scrollHeight, scrollTop, clientHeight } = this.#view;
    this.#isFollowing = scrollHeight - scrollTop - clientHeight < NEAR;
    if (this.#isFollowing) by("news").hidden = true;
  }

  #speak(messages) {
    const spoken = by("spoken");
    for (const { from, text } of messages) spoken.append(element("p", {}, `${from.name}: ${text}`));
    while (spoken.childElementCount > 5) spoken.firstElementChild.remove();
  }

  #message({ from, to, text, at }) {
    const isMine = from.id === this.#me.id;
    const head = element("p", { class: "head" }, written(from.name, { class: "name" }));
    if (from.role === "teacher") head.append(" ", element("span", { class: "badge" }, "Teacher"));
    if (to) head.append(" ", audience(isMine ? to : null));
    head.append(" ", time(at));
    const marks = [isMine ? "mine" : "theirs", from.role, to ? "limited" : ""].filter(Boolean);
    const item = element("li", { class: marks.join(" ") }, head, body(text));
    if (isMine) item.append(element("p", { class: "status" }, "Sent"));
    return item;
  }

  #unsent({ clientId, text, to, state, error, created }) {
    const head = element("p", { class: "head" }, written(this.#me.name, { class: "name" }));
    if (to) head.append(" ", audience(to));
    head.append(" ", time(created));
    const status = element("p", { class: "status" }, STATES[state] ?? `Failed: ${error}`);
    if (state === "failed") {
      const button = (label, act) => element("button", { type: "button", onclick: () => act(clientId) }, label);
      status.append(" ", button("Send again", this.#onRetry), " ", button("Discard", this.#onDiscard));
    }
    return element("li", { class: `mine ${state}` }, head, body(text), status);
  }
}

const body = (text) => element("p", { class: "text", dir: "auto" }, text);

function audience(to) {
  const words = to ? ["to ", written(to.name), ", private"] : ["to you, private"];
  return element("span", { class: "audience" }, ...words);
}
