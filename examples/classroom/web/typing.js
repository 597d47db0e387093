// Who is typing: said less than twice a second, and forgotten after a while.

// The server drops what comes in less than half a second, on a connection that may delay one more than the next.
const INTERVAL = 600;
const SHOWN = 3000;

export class TypingSender {
  #emit;
  #last = -Infinity;
  #later;

  constructor(emit) {
    this.#emit = emit;
  }

  // The person has typed: said now, or when it may be said again.
  typed(now = Date.now()) {
    const wait = this.#last + INTERVAL - now;
    // The clock may have been set back.
    if (wait <= 0 || wait > INTERVAL) this.#say(now);
    else this.#later ??= setTimeout(() => this.#say(Date.now()), wait);
  }

  // The person has sent the message.
  stopped() {
    clearTimeout(this.#later);
    this.#later = undefined;
  }

  #say(now) {
    this.stopped();
    this.#last = now;
    this.#emit();
  }
}

export class Typists {
  #until = new Map();

  typed(id, name, now = Date.now()) {
    this.#until.set(id, { name, until: now + SHOWN });
  }

  // The person has sent a message, or left.
  stopped(id) {
    this.#until.delete(id);
  }

  // Returns the names of those who are typing.
  names(now = Date.now()) {
    for (const [id, { until }] of this.#until) {
      if (until <= now) this.#until.delete(id);
    }
    return [...this.#until.values()].map(({ name }) => name);
  }
}
