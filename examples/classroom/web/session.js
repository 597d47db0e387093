// A connection that is opened again whenever it is lost.
//
//   connecting ──▶ open ──▶ reconnecting ──▶ open ...
//        │           │            │
//        └───────────┴────────────┴──▶ closed: for good, with a reason
//
// Before each attempt, the page gets a token over HTTP, because scripts cannot see why a server
// refuses a WebSocket connection.

import { delay } from "./backoff.js";
import { Wire } from "./wire.js";

const OPEN_TIMEOUT = 15_000;
// A page notices a dead connection by calls without an answer.
const PING_INTERVAL = 20_000;
// After this time, an open connection counts as a success.
const STABLE = 10_000;
const RESTARTS = 1012;

// Close codes after which the page does not connect again.
export const FINAL = {
  4001: "a teacher has removed you from the room",
  4002: "a teacher has closed the room",
  4003: "somebody in the room has this name: choose another one",
  4004: "an administrator has closed the connection",
  4005: "the server refuses the connection",
};

export class Session {
  #options;
  #timers;
  #random;
  #WebSocket;
  #attempt = 0;
  #socket = null;
  #wire = null;
  #timer = null;
  #stable = null;
  #pinging = null;
  // Ends attempts that are under way.
  #run = 0;
  state = "connecting";

  // `token` returns a promise of a token, `join` one of the answer to the first call on a wire.
  // `onState` takes the state and `{ reason, code, waits }`; `onJoined` takes the answer, `onEvent`
  // the name and the data of an event.
  constructor({ timers = globalThis, random = Math.random, WebSocket = globalThis.WebSocket, ...options }) {
    this.#options = options;
    this.#timers = timers;
    this.#random = random;
    this.#WebSocket = WebSocket;
  }

  // The wire of the open connection; `null` in other states.
  get wire() {
    return this.state === "open" ? this.#wire : null;
  }

  start() {
    this.#set("connecting");
    return this.#connect();
  }

  // Ends the connection for good.
  stop(reason, code = 1000) {
    this.#abandon(1000);
    this.#set("closed", { reason, code });
  }

  // Does not wait any longer: the network is back, or the person wants it.
  hurry() {
    if (this.#timer === null) return;
    this.#timers.clearTimeout(this.#timer);
    this.#timer = null;
    this.#connect();
  }

  // The connection is of no use any more: opens another one.
  reset(reason) {
    if (this.state === "closed") return;
    this.#abandon(4000);
    this.#again(reason);
  }

  async #connect() {
    const run = ++this.#run;
    let token;
    try {
      token = await this.#options.token();
    } catch (error) {
      if (run !== this.#run) return;
      if (error.isFinal) this.stop(error.message, error.code);
      else this.#again(error.status ? error.message : "the server cannot be reached", error.least);
      return;
    }
    if (run === this.#run) this.#open(run, token);
  }

  #open(run, token) {
    const { url, protocol, onEvent } = this.#options;
    const socket = new this.#WebSocket(url, [protocol, `bearer.${token}`]);
    const is = () => run === this.#run;
    const wire = new Wire({
      send: (text) => socket.readyState === 1 && socket.send(text),
      onEvent: (event, data) => is() && onEvent(event, data),
      timers: this.#timers,
    });
    this.#socket = socket;
    this.#wire = wire;
    const late = this.#timers.setTimeout(() => is() && this.reset("the server does not answer"), OPEN_TIMEOUT);
    socket.onopen = () => {
      this.#timers.clearTimeout(late);
      if (is()) this.#join(run, wire);
    };
    socket.onmessage = ({ data }) => is() && wire.receive(data);
    socket.onclose = ({ code, reason }) => {
      this.#timers.clearTimeout(late);
      wire.end();
      if (is()) this.#closed(code, reason);
    };
  }

  async #join(run, wire) {
    let joined;
    try {
      joined = await this.#options.join(wire);
    } catch (error) {
      // A server that refuses says by its Close whether it is final. A connection that has ended
      // was handled.
      if (run === this.#run && error.kind !== "lost" && error.kind !== "refused") this.reset("the server does not answer");
      else if (run === this.#run && error.kind === "refused") this.#expectClose(run, error.message);
      return;
    }
    if (run !== this.#run) return;
    this.#stable = this.#timers.setTimeout(() => (this.#attempt = 0), STABLE);
    this.#pinging = this.#timers.setInterval(() => this.#ping(run, wire), PING_INTERVAL);
    this.#set("open");
    this.#options.onJoined(joined);
  }

  // The Close of the server follows its refusal.
  #expectClose(run, reason) {
    this.#timers.setTimeout(() => run === this.#run && this.reset(reason), 2000);
  }

  async #ping(run, wire) {
    try {
      await wire.call("ping");
    } catch (error) {
      // Any answer shows that the connection is alive.
      if (run === this.#run && error.kind === "timeout") this.reset("the server does not answer");
    }
  }

  #closed(code, reason) {
    this.#abandon();
    if (code in FINAL) this.#set("closed", { reason: reason || FINAL[code], code });
    else this.#again(reason || "the connection is lost", code === RESTARTS ? 1000 : 0);
  }

  #again(reason, least = 0) {
    const waits = delay(this.#attempt++, { random: this.#random, least });
    this.#set("reconnecting", { reason, waits });
    this.#timer = this.#timers.setTimeout(() => {
      this.#timer = null;
      this.#connect();
    }, waits);
  }

  // Forgets the connection and all that is under way.
  #abandon(code) {
    this.#run++;
    for (const timer of [this.#timer, this.#stable]) this.#timers.clearTimeout(timer);
    this.#timers.clearInterval(this.#pinging);
    this.#timer = this.#stable = this.#pinging = null;
    this.#wire?.end();
    if (code) this.#socket?.close(code);
    this.#socket = this.#wire = null;
  }

  #set(state, details = {}) {
    this.state = state;
    this.#options.onState(state, details);
  }
}
