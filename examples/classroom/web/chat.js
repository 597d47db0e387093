// A room: what the server says is shown, and what the person writes is sent.

import { Composer } from "./composer.js";
import { by, element } from "./dom.js";
import { Messages } from "./messages.js";
import { Outbox } from "./outbox.js";
import { Participants } from "./participants.js";
import { Sending } from "./sending.js";
import { Timeline } from "./timeline.js";
import { TypingSender, Typists } from "./typing.js";

// The most items that are shown; older ones can be asked for again.
const MAX_SHOWN = 1000;
const PAGE = 100;

export class Chat {
  #session;
  #me = null;
  #outbox = null;
  #sending = null;
  #timeline = new Timeline();
  #typists = new Typists();
  #isLoading = false;
  #messages = new Messages({
    onOlder: () => this.#older(),
    onRetry: (clientId) => this.#retry(clientId),
    onDiscard: (clientId) => this.#discard(clientId),
  });
  #composer = new Composer({
    onSend: (text, to) => this.#write(text, to),
    onTyped: () => this.#typing.typed(),
  });
  #typing = new TypingSender(() => this.#session.wire?.emit("chat:typing"));
  #participants = new Participants({
    act: (event, person) => this.#act(event, { id: person.id }, `${person.name}`),
    onChange: () => this.#composer.others(this.#participants.others),
  });

  constructor(session) {
    this.#session = session;
    by("close-room").addEventListener("click", () => {
      if (confirm("Close the room for everyone?")) this.#act("room:close", {}, "the room");
    });
    setInterval(() => this.#showTypists(), 500);
  }

  // The first call on a connection.
  join(wire, role, isReopened) {
    const since = this.#timeline.since;
    return wire.call(`${role}:join`, { ...(since && { since }), ...(isReopened && { reopen: true }) });
  }

  // The connection is open. `joined` is the answer to the join.
  joined({ me, room, participants, history }) {
    this.#meet(me);
    document.title = `${room.name} – Classroom`;
    by("room").textContent = room.name;
    this.#delayed(room.delayed);
    this.#participants.reset(participants, me);
    const items = this.#timeline.follow(history);
    this.#settle(history.messages);
    this.#messages.insert(items);
    this.#showTop();
    if (this.#timeline.isBehind) this.#catchUp();
    this.#sending?.flush();
  }

  // Takes an event of the server.
  event(name, data) {
    const handle = {
      "chat:message": () => this.#received(data),
      "chat:private": () => this.#received(data),
      "chat:typing": () => this.#typists.typed(data.id, data.name),
      "history:lost": () => this.#messages.insert(this.#timeline.lose(data.epoch, data.offset)),
      "participant:joined": () => this.#participants.joined(data),
      "participant:changed": () => this.#changed(data),
      "participant:left": () => this.#left(data),
      "room:delayed": () => this.#delayed(data.delayed),
    }[name];
    // An event of a newer server is no error. The Close that follows `student:removed` and
    // `room:closed` ends the page.
    handle?.();
  }

  // The connection is lost: what was being sent waits again.
  lost() {
    for (const { clientId, state } of this.#outbox?.entries ?? []) {
      if (state === "sending") this.#outbox.wait(clientId);
    }
    this.#showOutbox();
  }

  #meet(me) {
    const isNew = me.id !== this.#me?.id;
    this.#me = me;
    this.#messages.me = me;
    by("close-room").hidden = me.role !== "teacher";
    this.#composer.problem(me.muted ? "A teacher has muted you." : "");
    if (!isNew) return;
    this.#outbox = new Outbox(localStorageOrNone(), me.id);
    this.#sending?.stop();
    this.#sending = new Sending({
      session: this.#session,
      outbox: this.#outbox,
      onChange: () => this.#showOutbox(),
      onSent: (message) => this.#messages.insert(this.#timeline.acknowledge({ ...message, from: this.#me })),
    });
    this.#showOutbox();
  }

  #received(message) {
    this.#typists.stopped(message.from.id);
    const items = this.#timeline.receive(message);
    this.#settle([message]);
    this.#messages.insert(items, { isLive: true });
    // A reader further up keeps what is being read.
    if (this.#messages.isFollowing) this.#trim();
  }

  // Messages of this page that the server shows are sent, whether their acknowledgement came or not.
  #settle(messages) {
    const mine = messages.filter(({ from }) => from.id === this.#me.id);
    const taken = mine.filter(({ client_id: clientId }) => this.#outbox.take(clientId));
    if (taken.length > 0) this.#showOutbox();
  }

  #write(text, to) {
    const entry = this.#outbox?.add(randomId(), text, to);
    if (!entry) {
      this.#notice("Too many messages wait to be sent.");
      return false;
    }
    this.#typing.stopped();
    this.#messages.end();
    this.#showOutbox();
    this.#sending?.flush();
    return true;
  }

  #retry(clientId) {
    this.#outbox.wait(clientId);
    this.#showOutbox();
    this.#sending?.flush();
  }

  #discard(clientId) {
    this.#outbox.take(clientId);
    this.#showOutbox();
  }

  // Asks for what the page has missed, page by page.
  async #catchUp() {
    const wire = this.#session.wire;
    while (this.#timeline.isBehind && this.#session.wire === wire) {
      try {
        const history = await wire.call("chat:history", { after: this.#timeline.cursor, limit: PAGE });
        const items = this.#timeline.follow({ ...history, direction: "after" });
        this.#settle(history.messages);
        this.#messages.insert(items);
      } catch (error) {
        // Another connection goes on from the cursor.
        if (error.kind !== "lost" && this.#session.wire === wire) this.#session.reset("the history is not available");
        return;
      }
    }
  }

  // Asks for a page of older messages.
  async #older() {
    const [wire, before] = [this.#session.wire, this.#timeline.oldest];
    if (this.#isLoading || !wire || !this.#timeline.hasOlder || before === undefined) return;
    this.#isLoading = true;
    this.#messages.top("Loading older messages…");
    try {
      const history = await wire.call("chat:history", { before, limit: PAGE });
      this.#messages.prepend(this.#timeline.precede(history));
    } catch (error) {
      if (error.kind !== "lost") this.#notice(`Older messages are not available: ${error.message}`);
    } finally {
      this.#isLoading = false;
      this.#showTop();
    }
  }

  #trim() {
    const count = this.#timeline.trim(MAX_SHOWN);
    this.#messages.trim(count);
    if (count > 0) this.#showTop();
  }

  #changed(change) {
    this.#participants.changed(change);
    if (change.id === this.#me.id) this.#meet({ ...this.#me, ...change });
  }

  #left({ id }) {
    this.#typists.stopped(id);
    this.#participants.left(id);
  }

  async #act(event, data, whom) {
    try {
      const wire = this.#session.wire;
      if (!wire) return this.#notice("Not connected.");
      await wire.call(event, data);
    } catch (error) {
      this.#notice(`Not done for ${whom}: ${error.message}`);
    }
  }

  #delayed(isDelayed) {
    by("delayed").hidden = !isDelayed;
  }

  #showTop() {
    const { hasOlder, hasLostOlder } = this.#timeline;
    this.#messages.top(hasOlder ? "Scroll up for older messages" : hasLostOlder ? "Older messages are no longer kept." : "");
  }

  #showOutbox() {
    this.#messages.outbox(this.#outbox?.entries ?? []);
  }

  #showTypists() {
    const names = this.#typists.names().slice(0, 4);
    const text = names.length === 0 ? "" : names.length > 3 ? "Several people are typing…" : `${names.join(", ")} ${names.length > 1 ? "are" : "is"} typing…`;
    if (by("typing").textContent !== text) by("typing").textContent = text;
  }

  #notice(text) {
    by("notice").replaceChildren(element("p", {}, text));
    clearTimeout(this.#noticeTimer);
    this.#noticeTimer = setTimeout(() => by("notice").replaceChildren(), 8000);
  }

  #noticeTimer = 0;
}

// `crypto.randomUUID` is missing on pages without TLS.
function randomId() {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}

// Reading the property fails where storage is forbidden.
function localStorageOrNone() {
  try {
    return localStorage;
  } catch {
    return null;
  }
}
