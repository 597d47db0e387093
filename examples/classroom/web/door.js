// Asks the server for a token before each attempt to connect.

const TIMEOUT = 15_000;

// The server has answered that there is no token. `code` is that of the answer; `isFinal` says that
// asking again is of no use.
export class Refused extends Error {
  constructor(status, code, message, least) {
    super(message);
    this.status = status;
    this.code = code;
    // Milliseconds after which the server wants to be asked again.
    this.least = least;
    this.isFinal = status >= 400 && status < 500 && status !== 408 && status !== 429;
  }
}

export class Door {
  #fetch;
  #link;

  constructor({ link, fetch = globalThis.fetch.bind(globalThis) }) {
    this.#fetch = fetch;
    this.#link = link;
  }

  // Returns a token and whom it is for. `name` is for a link that many persons have.
  async token(name) {
    const { personal, shared } = this.#link;
    const body = personal ? { ticket: personal } : { ticket: shared ?? "", ...(name && { name }) };
    const response = await this.#fetch("/api/token", {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify(body),
      cache: "no-store",
      credentials: "omit",
      signal: AbortSignal.timeout(TIMEOUT),
    });
    if (!response.ok) throw await refusal(response);
    const issued = await response.json();
    this.#link.enter(issued.ticket);
    return issued;
  }
}

async function refusal(response) {
  const seconds = Number(response.headers.get("retry-after"));
  let { code, error } = {};
  try {
    ({ code, error } = await response.json());
  } catch {
    // The answer of a proxy, for example.
  }
  const text = typeof error === "string" ? error : `the server answers ${response.status}`;
  return new Refused(response.status, String(code ?? ""), text, Number.isFinite(seconds) ? seconds * 1000 : 0);
}
