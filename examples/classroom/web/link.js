// The ticket of a link, and that of a person who has entered with it.

const KEY = "classroom.person";

// The storage is that of the tab, so that a teacher and a student in two tabs are two persons, and
// each stays the same when the page is loaded again.
export class Link {
  #storage;
  // The ticket of the link, and that of the person.
  shared = null;
  personal = null;

  constructor(storage, hash) {
    this.#storage = storage;
    const saved = this.#read();
    const inLink = ticketIn(hash);
    // Another link is another person.
    this.shared = inLink ?? saved?.shared ?? null;
    this.personal = this.shared === saved?.shared ? (saved?.personal ?? null) : null;
    this.#save();
  }

  // Keeps the ticket of the person.
  enter(personal) {
    this.personal = personal;
    this.#save();
  }

  // Forgets the person, who needs another name.
  leave() {
    this.enter(null);
  }

  #read() {
    try {
      const { shared, personal } = JSON.parse(this.#storage.getItem(KEY)) ?? {};
      return typeof shared === "string" ? { shared, personal: typeof personal === "string" ? personal : null } : null;
    } catch {
      return null;
    }
  }

  #save() {
    try {
      this.#storage.setItem(KEY, JSON.stringify({ shared: this.shared, personal: this.personal }));
    } catch {
      // Without storage, the person is another one when the page is loaded again.
    }
  }
}

function ticketIn(hash) {
  const ticket = new URLSearchParams(hash.replace(/^#/, "")).get("ticket");
  return ticket || null;
}
