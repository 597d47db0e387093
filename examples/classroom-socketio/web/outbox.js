// The messages that the server has not acknowledged, in the order in which they are sent.

const MAX = 100;

export class Outbox {
  #entries = [];

  get entries() {
    return this.#entries;
  }

  // Adds a message. Returns `false` if too many wait.
  add({ clientId, text, to = null, created = Date.now() }) {
    if (this.#entries.length >= MAX) return false;
    this.#entries.push({ clientId, text, to, created, state: "waiting", error: "" });
    return true;
  }

  // Returns the first message that waits.
  next() {
    return this.#entries.find(({ state }) => state === "waiting");
  }

  // Sets what becomes of a message: `waiting`, `sending`, or `failed` with a reason.
  set(clientId, state, error = "") {
    const entry = this.#entries.find((each) => each.clientId === clientId);
    if (entry) Object.assign(entry, { state, error });
  }

  // Removes a message, which was sent or given up. Returns it, if it was here.
  take(clientId) {
    const index = this.#entries.findIndex((entry) => entry.clientId === clientId);
    return index < 0 ? undefined : this.#entries.splice(index, 1)[0];
  }
}
