// A socket of socket.io-client in a class: it joins, is recovered or joins again, and sends what waits.

// How long the server has for an acknowledgement.
const TIMEOUT = 10_000;
// Before a message without an acknowledgement is sent again.
const PAUSE = 1000;

// What ends a class for this page, each with its reason.
const ENDS = ["student:removed", "room:closed", "admin:disconnected", "chat:replaced"];

export class Connection {
  #socket;
  #token;
  #outbox;
  #timeline;
  #timers;
  #on;
  #name = "";
  #end = null;
  // Messages that arrive before the answer to a join, whose messages precede them.
  #early = null;
  #hasJoined = false;
  #isSending = false;

  // `on` has functions: `state(state, { reason, code })`, `joined(answer)`, `items(items, isLive)`,
  // `participants(list)`, `typing(person)`, `refused(refusal)`, `outbox()`.
  constructor({ io, token, outbox, timeline, on, options = {}, timers = globalThis }) {
    this.#token = token;
    this.#outbox = outbox;
    this.#timeline = timeline;
    this.#on = on;
    this.#timers = timers;
    // A function, because the token changes when the person has joined.
    const auth = (send) => send({ token: token.current });
    this.#socket = io({ auth, autoConnect: false, ...options });
    this.#listen(this.#socket);
  }

  get isOpen() {
    return this.#socket.connected && this.#hasJoined;
  }

  // Opens the connection; the name is for a token that has none.
  start(name = "") {
    this.#name = name;
    this.#end = null;
    this.#hasJoined = false;
    this.#on.state("connecting");
    this.#socket.connect();
  }

  // Says that the person is typing, unless the connection is busy.
  typing() {
    if (this.isOpen) this.#socket.volatile.emit("chat:typing");
  }

  // Calls the server. Throws what it refuses, or that there is no answer.
  async call(event, data) {
    const answer = await this.#socket.timeout(TIMEOUT).emitWithAck(event, data);
    if (answer?.error) throw new Refused(answer.error);
    return answer;
  }

  // Sends what waits, one message after the other, so that the order stays.
  async flush() {
    if (this.#isSending) return;
    this.#isSending = true;
    try {
      let entry;
      while (this.isOpen && (entry = this.#outbox.next())) await this.#send(entry);
    } finally {
      this.#isSending = false;
    }
  }

  #listen(socket) {
    socket.on("connect", () => this.#connected());
    socket.on("disconnect", (reason) => this.#disconnected(reason));
    socket.on("connect_error", (error) => this.#failed(error));
    socket.on("participants:update", ({ participants }) => this.#on.participants(participants));
    socket.on("chat:message", (message) => this.#arrived(message));
    socket.on("chat:private", (message) => this.#arrived(message));
    socket.on("chat:typing", (person) => this.#on.typing(person));
    socket.on("chat:error", (refusal) => this.#refused(refusal));
    for (const event of ENDS) {
      socket.on(event, ({ reason }) => (this.#end = { reason, code: event }));
    }
  }

  #connected() {
    if (this.#socket.recovered && this.#hasJoined) {
      this.#on.state("open");
      this.flush();
    } else {
      this.#hasJoined = false;
      this.#join();
    }
  }

  async #join() {
    const { id } = this.#socket;
    this.#early = [];
    const data = { ...this.#timeline.position };
    if (!this.#token.isPersonal) data.name = this.#name;
    let answer;
    try {
      answer = await this.call(`${this.#token.claims.role}:join`, data);
    } catch (error) {
      // A connection that has ended joins when it is open again.
      if (id === this.#socket.id) this.#notJoined(error);
      return;
    }
    if (id !== this.#socket.id) return;
    this.#hasJoined = true;
    this.#token.enter(answer.token);
    this.#on.joined(answer);
    this.#show(this.#timeline.follow(answer), false);
    const early = this.#early;
    this.#early = null;
    for (const message of early) this.#arrived(message);
    this.#on.state("open");
    this.flush();
  }

  #notJoined(error) {
    if (error instanceof Refused) {
      this.#end = { reason: error.message, code: error.code };
      this.#socket.disconnect();
    } else {
      // The server does not answer.
      this.#socket.disconnect();
      this.#on.state("reconnecting", { reason: "the server does not answer" });
      this.#timers.setTimeout(() => this.#socket.connect(), PAUSE);
    }
  }

  #disconnected(reason) {
    // socket.io-client connects again by itself, unless one end has disconnected the socket.
    if (this.#socket.active) this.#on.state("reconnecting", { reason: "the connection is lost" });
    else if (this.#end || reason === "io server disconnect") {
      this.#on.state("closed", this.#end ?? { reason: "the server has ended the connection" });
    }
  }

  #failed(error) {
    if (this.#socket.active) {
      this.#on.state("reconnecting", { reason: "the server cannot be reached" });
    } else if (error.data?.code === "retry") {
      this.#socket.connect();
    } else {
      this.#on.state("closed", { reason: error.message, code: error.data?.code });
    }
  }

  #arrived(message) {
    if (this.#early) this.#early.push(message);
    else this.#show(this.#timeline.receive(message), true);
  }

  // Shows items. What this page has sent waits no longer.
  #show(items, isLive) {
    const sent = items.filter(({ message }) => message && this.#outbox.take(message.client_id));
    if (sent.length > 0) this.#on.outbox();
    this.#on.items(items, isLive);
  }

  #refused(refusal) {
    // A socket that was recovered has no place in the class: the server disconnects it.
    if (refusal.event === "resume") this.#end = { reason: refusal.reason, code: refusal.code };
    this.#on.refused(refusal);
  }

  async #send({ clientId, text, to }) {
    const data = { client_id: clientId, text, ...(to && { to: to.id }) };
    this.#outbox.set(clientId, "sending");
    this.#on.outbox();
    try {
      await this.call(to ? "chat:private" : "chat:message", data);
      // Usually, it has arrived here before.
      if (this.#outbox.take(clientId)) this.#on.outbox();
    } catch (error) {
      await this.#unsent(clientId, error);
    }
  }

  // With the same id of the client it is delivered once, whatever has become of it.
  async #unsent(clientId, error) {
    const wait = error instanceof Refused ? error.wait : this.isOpen ? PAUSE : 0;
    const isFinal = error instanceof Refused && wait === undefined && error.code !== "not-joined";
    if (isFinal) this.#outbox.set(clientId, "failed", error.message);
    else this.#outbox.set(clientId, "waiting");
    this.#on.outbox();
    if (wait) await new Promise((resolve) => this.#timers.setTimeout(resolve, wait));
    if (error.code === "not-joined") this.#hasJoined = false;
  }
}

// What the server has refused.
export class Refused extends Error {
  constructor({ message, data = {} }) {
    super(message);
    this.code = data.code;
    this.wait = data.wait;
  }
}
