// Events and acknowledged calls over one connection.

const TIMEOUT = 10_000;

// `kind` is `refused` (the server has answered why), `timeout`, or `lost` (the connection has ended).
export class CallError extends Error {
  constructor(kind, message) {
    super(message);
    this.kind = kind;
  }
}

export class Wire {
  #send;
  #onEvent;
  #timers;
  #pending = new Map();
  #next = 1;
  #hasEnded = false;

  // `send` takes the text of a message, `onEvent` the name and the data of an event.
  constructor({ send, onEvent, timers = globalThis }) {
    this.#send = send;
    this.#onEvent = onEvent;
    this.#timers = timers;
  }

  // Sends an event that is not acknowledged.
  emit(event, data = {}) {
    if (!this.#hasEnded) this.#send(JSON.stringify({ event, data }));
  }

  // Sends an event, and returns a promise of the data of its acknowledgement.
  call(event, data = {}, timeout = TIMEOUT) {
    if (this.#hasEnded) return Promise.reject(new CallError("lost", "the connection has ended"));
    const id = this.#next++;
    return new Promise((resolve, reject) => {
      const timer = this.#timers.setTimeout(() => {
        this.#pending.delete(id);
        reject(new CallError("timeout", `no answer to ${event}`));
      }, timeout);
      this.#pending.set(id, { resolve, reject, timer });
      this.#send(JSON.stringify({ event, id, data }));
    });
  }

  // Takes the text of a message. Returns whether it was valid.
  receive(text) {
    let message;
    try {
      message = JSON.parse(text);
    } catch {
      return false;
    }
    if (message === null || typeof message !== "object") return false;
    if (typeof message.event === "string") {
      this.#onEvent(message.event, message.data ?? {});
      return true;
    }
    // An answer that comes too late has no call any more.
    const call = this.#pending.get(message.ack);
    if (!call) return typeof message.ack === "number" || message.ok === false;
    this.#pending.delete(message.ack);
    this.#timers.clearTimeout(call.timer);
    if (message.ok === true) call.resolve(message.data ?? {});
    else call.reject(new CallError("refused", String(message.error ?? "refused")));
    return true;
  }

  // Fails all calls that wait: the connection has ended.
  end() {
    this.#hasEnded = true;
    for (const { reject, timer } of this.#pending.values()) {
      this.#timers.clearTimeout(timer);
      reject(new CallError("lost", "the connection has ended"));
    }
    this.#pending.clear();
  }
}
