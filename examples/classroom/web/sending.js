// Sends the messages of an outbox.

import { delay } from "./backoff.js";

// After a message that came too fast.
const TOO_FAST = 1000;

export class Sending {
  #options;
  #timers;
  #random;
  #isSending = false;
  #isStopped = false;
  // The refusals in a row for a reason that passes.
  #attempt = 0;
  // The pause before the next message: its connection, and how to end it.
  #pause = null;

  // `session.wire` is the wire of the open connection or `null`; `session.reset` opens another one.
  // `onChange` is called when the outbox has changed, `onSent` with a message that is stored.
  constructor({ timers = globalThis, random = Math.random, ...options }) {
    this.#options = options;
    this.#timers = timers;
    this.#random = random;
  }

  // Sends what waits, one after the other, so that the order stays.
  async flush() {
    const { session, outbox } = this.#options;
    if (this.#isSending) {
      // Another connection may lead to another server.
      if (this.#pause && session.wire && session.wire !== this.#pause.wire) this.#pause.end();
      return;
    }
    this.#isSending = true;
    try {
      let wire, entry;
      while (!this.#isStopped && (wire = session.wire) && (entry = outbox.next())) {
        if (!(await this.#send(wire, entry))) break;
      }
    } finally {
      this.#isSending = false;
    }
  }

  // Sends nothing more: the messages are those of another person.
  stop() {
    this.#isStopped = true;
    this.#pause?.end();
  }

  // Returns whether the next message may follow.
  async #send(wire, { clientId, text, to }) {
    const { outbox, onChange, onSent } = this.#options;
    outbox.sending(clientId);
    onChange();
    const [event, target] = typeof to === "object" ? ["chat:private", to.id] : ["chat:message", to];
    try {
      const { offset, timestamp } = await wire.call(event, { client_id: clientId, text, to: target });
      this.#attempt = 0;
      outbox.take(clientId);
      onChange();
      onSent({ offset, timestamp, client_id: clientId, to, text });
      return true;
    } catch (error) {
      return this.#unsent(wire, clientId, error);
    }
  }

  async #unsent(wire, clientId, error) {
    const { session, outbox, onChange } = this.#options;
    const is = (word) => error.kind === "refused" && error.message.startsWith(`${word}:`);
    const pause = is("rate") ? TOO_FAST : is("unavailable") ? delay(this.#attempt++, { random: this.#random }) : null;
    if (error.kind === "refused" && pause === null) {
      outbox.failed(clientId, error.message);
      onChange();
      return true;
    }
    // With the same client id, it is stored once, whatever has become of it.
    outbox.wait(clientId);
    onChange();
    if (pause !== null) {
      await this.#wait(wire, pause);
      return true;
    }
    // Only another connection shows whether the message has arrived.
    if (error.kind === "timeout" && session.wire === wire) session.reset("the server does not answer");
    return false;
  }

  async #wait(wire, pause) {
    await new Promise((resolve) => {
      const timer = this.#timers.setTimeout(resolve, pause);
      this.#pause = {
        wire,
        end: () => {
          this.#timers.clearTimeout(timer);
          resolve();
        },
      };
    });
    this.#pause = null;
  }
}
