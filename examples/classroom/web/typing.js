// Who is typing: said at most twice a second, and forgotten after a while.

const INTERVAL = 500;
const SHOWN = 3000;

export class TypingSender {
  #emit;
  #last = -Infinity;

  constructor(emit) {
    this.#emit = emit;
  }

  // The person has typed.
  typed(now = Date.now()) {
    // The clock may have been set back.
    if (now - this.#last < INTERVAL && now >= this.#last) return;
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
