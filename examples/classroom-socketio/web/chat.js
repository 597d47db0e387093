// The class: messages, participants, what is written, and who is typing.

import { Composer } from "./composer.js";
import { by, tabs } from "./dom.js";
import { Messages } from "./messages.js";
import { Participants } from "./participants.js";

// A person is said to be typing at most twice a second, and shown for a while.
const TYPING_INTERVAL = 500;
const TYPING_SHOWN = 3000;

export class Chat {
  #connection;
  #outbox;
  #messages;
  #participants;
  #composer;
  #me = { id: "" };
  #lastTyped = -Infinity;
  #typists = new Map();

  // Returns what a connection calls.
  constructor({ outbox }) {
    this.#outbox = outbox;
    this.#messages = new Messages({
      onRetry: (clientId) => this.#retry(clientId),
      onDiscard: (clientId) => this.#discard(clientId),
    });
    this.#participants = new Participants({ onRemove: (person) => this.#remove(person) });
    this.#composer = new Composer({
      onSend: (text, to) => this.#send(text, to),
      onTyped: () => this.#typed(),
    });
    tabs(by("tabs")).choose("tab-chat");
    setInterval(() => this.#showTypists(), 500);
  }

  set connection(connection) {
    this.#connection = connection;
  }

  joined({ class: name, you, participants }) {
    this.#me = you;
    this.#messages.me = you;
    this.#participants.me = you;
    document.title = `${name} – Classroom`;
    by("room").textContent = name;
    by("notice").textContent = "";
    this.participants(participants);
  }

  items(items, isLive) {
    for (const { message } of items) if (message) this.#typists.delete(message.from.id);
    this.#showTypists();
    this.#messages.append(items, isLive);
  }

  participants(people) {
    this.#participants.set(people);
    this.#composer.others(this.#participants.others);
  }

  typing({ id, name }) {
    if (id === this.#me.id) return;
    this.#typists.set(id, { name, until: Date.now() + TYPING_SHOWN });
    this.#showTypists();
  }

  // Messages show their own errors, and a join has its own place for it.
  refused({ event, reason }) {
    if (!/^chat:|:join$/.test(event)) by("notice").textContent = reason;
  }

  outbox() {
    this.#messages.outbox(this.#outbox.entries);
  }

  focus() {
    this.#composer.focus();
  }

  #send(text, to) {
    const clientId = Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, "0")).join("");
    const isTaken = this.#outbox.add({ clientId, text, to });
    by("notice").textContent = isTaken ? "" : "Too many messages wait for the connection.";
    if (isTaken) {
      this.#messages.end();
      this.outbox();
      this.#connection.flush();
    }
    return isTaken;
  }

  #retry(clientId) {
    this.#outbox.set(clientId, "waiting");
    this.outbox();
    this.#connection.flush();
  }

  #discard(clientId) {
    this.#outbox.take(clientId);
    this.outbox();
    this.#composer.focus();
  }

  async #remove({ id }) {
    try {
      await this.#connection.call("teacher:remove-student", { id });
      by("notice").textContent = "";
    } catch (error) {
      by("notice").textContent = error.message;
    }
  }

  #typed() {
    const now = performance.now();
    if (now - this.#lastTyped < TYPING_INTERVAL) return;
    this.#lastTyped = now;
    this.#connection.typing();
  }

  #showTypists() {
    const now = Date.now();
    for (const [id, { until }] of this.#typists) if (until <= now) this.#typists.delete(id);
    const names = [...this.#typists.values()].map(({ name }) => name);
    const verb = names.length > 1 ? "are" : "is";
    by("typing").textContent = names.length > 0 ? `${names.slice(0, 3).join(", ")} ${verb} typing…` : "";
  }
}
