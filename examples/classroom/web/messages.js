// The list of messages, and those that are being sent below it.

import { by, element, time, written } from "./dom.js";

// This near to the end, the reader follows.
const NEAR = 60;

export class Messages {
  #view = by("view");
  #list = by("messages");
  #pending = by("pending");
  #news = by("news");
  #top = by("top");
  #spoken = by("spoken");
  #me = null;
  #isFollowing = true;
  #onOlder;
  #onRetry;
  #onDiscard;

  constructor({ onOlder, onRetry, onDiscard }) {
    this.#onOlder = onOlder;
    this.#onRetry = onRetry;
    this.#onDiscard = onDiscard;
    this.#view.addEventListener("scroll", () => this.#scrolled(), { passive: true });
    this.#news.addEventListener("click", () => this.end());
    // A keyboard that opens on a phone makes the view smaller.
    new ResizeObserver(() => this.#isFollowing && this.end()).observe(this.#view);
  }

  set me(me) {
    this.#me = me;
  }

  get isFollowing() {
    return this.#isFollowing;
  }

  // Shows new items of the timeline. Only what was just sent is read aloud.
  insert(items, { isLive = false } = {}) {
    for (const { index, message } of items) {
      const node = message ? this.#message(message) : this.#gap();
      this.#list.insertBefore(node, this.#list.children[index] ?? null);
    }
    if (items.length === 0) return;
    if (this.#isFollowing) this.end();
    else if (isLive && items.some(({ message }) => message?.from.id !== this.#me.id)) this.#news.hidden = false;
    if (isLive) this.#speak(items);
  }

  // Shows older items above the others, which stay where they are.
  prepend(items) {
    const { scrollHeight, scrollTop } = this.#view;
    this.insert(items);
    this.#view.scrollTop = scrollTop + this.#view.scrollHeight - scrollHeight;
  }

  // Forgets the oldest items.
  trim(count) {
    for (let index = 0; index < count; index++) this.#list.firstElementChild.remove();
  }

  // Shows what is above the oldest message: nothing, that there are others, or that they are lost.
  top(text) {
    this.#top.textContent = text;
  }

  // Shows the messages that are not acknowledged.
  outbox(entries) {
    this.#pending.replaceChildren(...entries.map((entry) => this.#unsent(entry)));
    if (this.#isFollowing) this.end();
  }

  // Scrolls to the newest message.
  end() {
    this.#isFollowing = true;
    this.#news.hidden = true;
    this.#view.scrollTop = this.#view.scrollHeight;
  }

  #scrolled() {
    const { scrollHeight, scrollTop, clientHeight } = this.#view;
    this.#isFollowing = scrollHeight - scrollTop - clientHeight < NEAR;
    if (this.#isFollowing) this.#news.hidden = true;
    if (scrollTop < NEAR && scrollHeight > clientHeight) this.#onOlder();
  }

  #speak(items) {
    const others = items.filter(({ message }) => message && message.from.id !== this.#me.id);
    for (const { message } of others) {
      this.#spoken.append(element("p", {}, `${message.from.name}: ${message.text}`));
    }
    while (this.#spoken.childElementCount > 5) this.#spoken.firstElementChild.remove();
  }

  #gap() {
    return element("li", { class: "gap" }, "Messages are missing here: the server has lost them.");
  }

  #message({ from, to, text, timestamp }) {
    const isMine = from.id === this.#me.id;
    const marks = [isMine ? "mine" : "theirs", from.role, to === "all" ? "" : "limited"].filter(Boolean);
    const head = element("p", { class: "head" }, written(from.name, { class: "name" }));
    if (from.role === "teacher") head.append(" ", element("span", { class: "badge" }, "Teacher"));
    const audience = this.#audience(to, isMine);
    if (audience.length > 0) head.append(" ", element("span", { class: "audience" }, ...audience));
    head.append(" ", time(timestamp));
    const item = element("li", { class: marks.join(" ") }, head, element("p", { class: "text", dir: "auto" }, text));
    if (isMine) item.append(element("p", { class: "status" }, "Sent"));
    return item;
  }

  #unsent({ clientId, text, to, state, error, created }) {
    const head = element("p", { class: "head" }, written(this.#me.name, { class: "name" }));
    const audience = this.#audience(to, true);
    if (audience.length > 0) head.append(" ", element("span", { class: "audience" }, ...audience));
    head.append(" ", time(created));
    const shown = { waiting: "Waiting for the connection", sending: "Sending…", failed: `Failed: ${error}` }[state];
    const status = element("p", { class: "status" }, shown);
    if (state === "failed") {
      status.append(
        " ",
        element("button", { type: "button", onclick: () => this.#onRetry(clientId) }, "Send again"),
        " ",
        element("button", { type: "button", onclick: () => this.#onDiscard(clientId) }, "Discard"),
      );
    }
    return element("li", { class: `mine ${state}` }, head, element("p", { class: "text", dir: "auto" }, text), status);
  }

  #audience(to, isMine) {
    if (to === "others") return isMine ? ["to everyone else"] : [];
    if (to === "me") return ["only you see this"];
    if (typeof to !== "object") return [];
    return isMine ? ["to ", written(to.name), ", private"] : ["to you, private"];
  }
}
