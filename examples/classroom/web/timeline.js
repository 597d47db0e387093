// The messages that the page shows, in the order of the room, each once.
//
// A message has an offset in its room; offsets ascend and need not be contiguous, because messages
// for others have offsets too. Offsets belong to an epoch, which changes if the server has lost its
// history. `cursor` is the offset up to which nothing is missing: a page that connects again asks for
// what follows it.

export class Timeline {
  #items = [];
  // The number of the epoch, because epochs themselves have no order.
  #age = 0;
  #isBehind = false;
  // The largest offset that was received live.
  #received = 0;
  epoch = "";
  cursor = 0;
  // Whether the server has older messages, and whether it has removed some.
  hasOlder = false;
  hasLostOlder = false;

  // The items: messages, and gaps where messages are lost.
  get items() {
    return this.#items;
  }

  // Where to go on; `undefined` for a page that has shown nothing.
  get since() {
    return this.epoch ? { epoch: this.epoch, offset: this.cursor } : undefined;
  }

  // Whether there are messages between the cursor and what has been received since.
  get isBehind() {
    return this.#isBehind;
  }

  // The offset of the oldest message of this epoch.
  get oldest() {
    return this.#items.find(({ age, message }) => age === this.#age && message)?.offset;
  }

  // Takes the answer to a join or to a question for later messages. Returns the new items.
  follow({ direction, epoch, offset, messages, more, lost }) {
    if (direction === "before") return this.#begin({ epoch, offset, messages, more, lost });
    const gap = lost ? this.#insert([{ age: this.#age, offset: this.cursor + 0.5 }]) : [];
    this.#isBehind = more;
    // Messages that were received meanwhile are not what the cursor counts.
    const complete = more ? (messages.at(-1)?.offset ?? 0) : Math.max(offset, this.#received);
    this.cursor = Math.max(this.cursor, complete);
    return [...gap, ...this.#add(messages)];
  }

  // Takes a page of older messages. Returns the new items.
  precede({ epoch, messages, more, lost }) {
    if (epoch !== this.epoch) return [];
    this.hasOlder = more;
    this.hasLostOlder = lost;
    return this.#add(messages);
  }

  // Takes a message that was just sent. Returns the new items: none if it is known.
  receive(message) {
    this.#received = Math.max(this.#received, message.offset);
    if (!this.#isBehind) this.cursor = Math.max(this.cursor, message.offset);
    return this.#add([message]);
  }

  // Takes a message of this page that the server has acknowledged. Earlier ones may still be on the
  // way, so that the cursor stays.
  acknowledge(message) {
    return this.#add([message]);
  }

  // Messages are lost up to this offset, also for the server. Returns the new items.
  lose(epoch, offset) {
    if (epoch !== this.epoch) this.#next(epoch);
    const gap = this.#insert([{ age: this.#age, offset: this.cursor + 0.5 }]);
    this.cursor = Math.max(this.cursor, offset);
    return gap;
  }

  // Forgets the oldest items beyond a number. Returns how many.
  trim(keep) {
    const count = Math.max(0, this.#items.length - keep);
    if (count > 0) {
      this.#items.splice(0, count);
      this.hasOlder = true;
    }
    return count;
  }

  // Begins with the latest messages of a history that is new to this page.
  #begin({ epoch, offset, messages, more, lost }) {
    const hadItems = this.#items.length > 0;
    this.#next(epoch);
    this.cursor = offset;
    this.hasOlder = more;
    const gap = hadItems || lost ? this.#insert([{ age: this.#age, offset: -1 }]) : [];
    return [...gap, ...this.#add(messages)];
  }

  #next(epoch) {
    this.#age += 1;
    this.epoch = epoch;
    this.cursor = 0;
    this.#received = 0;
    this.#isBehind = false;
    this.hasOlder = false;
    this.hasLostOlder = false;
  }

  #add(messages) {
    return this.#insert(messages.map((message) => ({ age: this.#age, offset: message.offset, message })));
  }

  // Inserts the items that are not known. Returns them, each with its index, in ascending order.
  #insert(items) {
    const added = [];
    for (const item of items) {
      const index = this.#place(item);
      const there = this.#items[index];
      if (there && there.age === item.age && there.offset === item.offset) continue;
      this.#items.splice(index, 0, item);
      added.push({ ...item, index });
    }
    return added;
  }

  // Returns the index of the first item that is not before this one. The end is the usual place.
  #place(item) {
    let [low, high] = [0, this.#items.length];
    while (low < high) {
      const middle = (low + high) >> 1;
      const { age, offset } = this.#items[middle];
      if (age < item.age || (age === item.age && offset < item.offset)) low = middle + 1;
      else high = middle;
    }
    return low;
  }
}
