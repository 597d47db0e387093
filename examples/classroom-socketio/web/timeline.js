// Which messages the page has: each once, and whether any are missing.
//
// A message has an id of the server, which ascends in an epoch: one run of the program. A message that was sent
// again after the program was started again has another id, and the same id of the client.

const MAX = 1000;

export const GAPS = {
  lost: "Messages are missing here: the server does not keep them any longer.",
  restarted: "The server was started again: it does not know what is above.",
};

export class Timeline {
  #known = new Set();
  // The last id of the epoch.
  #last = 0;
  #epoch = null;

  // What a join names, so that the server sends what follows. Nothing for a page that has nothing.
  get position() {
    return this.#epoch === null ? {} : { after: this.#last, epoch: this.#epoch };
  }

  // Takes the answer to a join. Returns the new items: messages, and at most one gap before them.
  follow({ epoch, messages, complete }) {
    const isOther = this.#epoch !== null && epoch !== this.#epoch;
    if (epoch !== this.#epoch) this.#last = 0;
    this.#epoch = epoch;
    const gap = isOther ? [{ gap: GAPS.restarted }] : complete ? [] : [{ gap: GAPS.lost }];
    return [...gap, ...messages.flatMap((message) => this.receive(message))];
  }

  // Takes a message. Returns the new items: none if it is known.
  receive(message) {
    this.#last = Math.max(this.#last, message.id);
    const key = `${message.from.id} ${message.client_id}`;
    if (this.#known.has(key)) return [];
    this.#known.add(key);
    if (this.#known.size > MAX) this.#known.delete(this.#known.values().next().value);
    return [{ message }];
  }
}
