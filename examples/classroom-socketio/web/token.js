// The token of the link, and that of the person who has joined with it.

const KEY = "classroom-socketio.token";

// The storage is that of the tab, so that a teacher and a student in two tabs are two persons, and each
// stays the same when the page is loaded again.
export class Token {
  #storage;
  #shared;
  #personal;

  constructor(storage, hash) {
    this.#storage = storage;
    const saved = this.#read();
    const inLink = new URLSearchParams(hash.replace(/^#/, "")).get("token");
    this.#shared = inLink || saved.shared || null;
    // Another link is another person.
    this.#personal = this.#shared === saved.shared ? (saved.personal ?? null) : null;
    this.#save();
  }

  // The one to connect with; `null` without a link.
  get current() {
    return this.#personal ?? this.#shared;
  }

  get isPersonal() {
    return this.#personal !== null;
  }

  // What the token says. The server checks it; the page only chooses what it shows.
  get claims() {
    try {
      const [, body] = this.current.split(".");
      const bytes = Uint8Array.from(atob(body.replace(/-/g, "+").replace(/_/g, "/")), (char) => char.charCodeAt(0));
      return JSON.parse(new TextDecoder().decode(bytes));
    } catch {
      return {};
    }
  }

  // Keeps the token of the person; `null` forgets it, for another name.
  enter(personal) {
    this.#personal = personal;
    this.#save();
  }

  #read() {
    try {
      return JSON.parse(this.#storage.getItem(KEY)) ?? {};
    } catch {
      return {};
    }
  }

  #save() {
    try {
      this.#storage.setItem(KEY, JSON.stringify({ shared: this.#shared, personal: this.#personal }));
    } catch {
      // Without storage, the person is another one when the page is loaded again.
    }
  }
}
