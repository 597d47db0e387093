// Messages that the server has not acknowledged yet, in order.
//
// Each is kept in the storage of the browser under a key of its own, so that two tabs do not
// overwrite each other's. The client id makes sending one again harmless.

const MAX = 100;
const LIFETIME = 12 * 3600 * 1000;
const PREFIX = "classroom.outbox.";

export class Outbox {
  #storage;
  #prefix;
  #entries;
  #last = 0;

  // `owner` is the id of the person: others do not send these messages.
  constructor(storage, owner, now = Date.now()) {
    this.#storage = storage;
    this.#prefix = `${PREFIX}${owner}.`;
    this.#entries = [];
    for (const key of keys(storage)) {
      const entry = read(storage, key);
      if (!entry || now - entry.created > LIFETIME) remove(storage, key);
      // What was being sent may not have been acknowledged.
      else if (key.startsWith(this.#prefix)) this.#entries.push({ ...entry, state: entry.state === "failed" ? "failed" : "waiting" });
    }
    this.#entries.sort((a, b) => a.created - b.created || (a.clientId < b.clientId ? -1 : 1));
    this.#last = this.#entries.at(-1)?.created ?? 0;
  }

  get entries() {
    return this.#entries;
  }

  // Adds a message; returns `null` if too many wait.
  add(clientId, text, to, now = Date.now()) {
    if (this.#entries.length >= MAX) return null;
    // Later than the one before, whatever the clock does: it is the order.
    this.#last = Math.max(now, this.#last + 1);
    const entry = { clientId, text, to, created: this.#last, state: "waiting", error: "" };
    this.#entries.push(entry);
    this.#save(entry);
    return entry;
  }

  // Returns the first message that waits.
  next() {
    return this.#entries.find(({ state }) => state === "waiting");
  }

  sending(clientId) {
    this.#set(clientId, "sending");
  }

  // The server has refused the message: the person decides.
  failed(clientId, error) {
    this.#set(clientId, "failed", error);
  }

  // The message is to be sent, or sent again.
  wait(clientId) {
    this.#set(clientId, "waiting");
  }

  // The message is stored, or the person has given it up. Returns it, if it was here.
  take(clientId) {
    const index = this.#entries.findIndex((entry) => entry.clientId === clientId);
    if (index < 0) return undefined;
    remove(this.#storage, this.#prefix + clientId);
    return this.#entries.splice(index, 1)[0];
  }

  #set(clientId, state, error = "") {
    const entry = this.#entries.find((each) => each.clientId === clientId);
    if (!entry) return;
    Object.assign(entry, { state, error });
    this.#save(entry);
  }

  #save(entry) {
    try {
      this.#storage.setItem(this.#prefix + entry.clientId, JSON.stringify(entry));
    } catch {
      // The storage is full or forbidden: the message is kept as long as the page is open.
    }
  }
}

function keys(storage) {
  try {
    const all = Array.from({ length: storage.length }, (_, index) => storage.key(index));
    return all.filter((key) => key.startsWith(PREFIX));
  } catch {
    return [];
  }
}

function read(storage, key) {
  try {
    const entry = JSON.parse(storage.getItem(key));
    const isValid =
      typeof entry.clientId === "string" && typeof entry.text === "string" && Number.isFinite(entry.created) && entry.to;
    return isValid ? entry : null;
  } catch {
    return null;
  }
}

function remove(storage, key) {
  try {
    storage.removeItem(key);
  } catch {
    // Nothing is kept where nothing can be removed.
  }
}
