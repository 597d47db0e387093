//! What has to occur in a run: a program that does nothing would find nothing.

use std::collections::BTreeMap;

/// Every kind of action, of fault and of outcome that a run in CI has to contain.
const EXPECTED: &[&str] = &[
    "connect: no answer",
    "connect: refused",
    "open: http2",
    "open: http2 over TLS",
    "open: plain",
    "open: TLS",
    "proxy: credentials rejected",
    "proxy: cut off",
    "proxy: early bytes",
    "proxy: forbidden",
    "proxy: HTTP tunnel",
    "proxy: HTTPS tunnel",
    "proxy: SOCKS4 tunnel",
    "proxy: SOCKS5 tunnel",
    "proxy: unavailable",
    "server: crashed",
    "server: killed",
    "server: restarted",
    "server: stopped",
    "network: disturbed",
    "fact: both directions ended",
    "fact: reset",
    "fact: silent",
    "fact: stalled",
    "talk: Close without an answer",
    "talk: closed by the client",
    "talk: closed by the server",
    "talk: closed early",
    "talk: dropped",
    "talk: lost",
    "talk: paused reader",
    "talk: server stopped",
    "again: queued",
    "message: echoed",
    "message: for a member",
    "open: compressed",
    "http2: many streams",
    "http2: stream beyond its window",
    "attempt: failed",
    "again: acknowledged",
    "again: closed by a stopping server",
    "again: connected again",
    "again: dropped",
    "again: ended for good",
    "again: lost",
    "again: sent",
    "again: sent again by the queue",
    "again: unknown",
    "hub: came back",
    "hub: closed for being slow",
    "hub: joined by a number of messages",
    "hub: lost",
    "hub: message of the history",
    "hub: published",
    "hub: received",
    "hub: transient",
    "error: disconnected",
    "error: proxy",
    "error: timeout",
];

/// Asserts that all of these have occurred.
pub fn assert_complete(counts: &BTreeMap<&'static str, u64>) {
    let missing: Vec<_> = EXPECTED.iter().filter(|name| !counts.contains_key(**name)).collect();
    assert!(missing.is_empty(), "did not occur in this run: {missing:?}");
    let unknown: Vec<_> = counts.keys().filter(|name| !EXPECTED.contains(name)).collect();
    assert!(unknown.is_empty(), "not in the list of what has to occur: {unknown:?}");
}
