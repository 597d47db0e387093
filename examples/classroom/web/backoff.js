// The delay before the next attempt to connect.

const STEP = 500;
const MAX = 30_000;

// Returns milliseconds: a random share of a limit that doubles with each attempt (full jitter), so
// that the pages of a server that restarts do not all return at once. `least` is what the server
// asked for, in milliseconds, to which the share is added.
export function delay(attempt, { random = Math.random, least = 0 } = {}) {
  const limit = Math.min(MAX, STEP * 2 ** Math.min(attempt, 16));
  return Math.max(0, least) + random() * limit;
}
