//! Counters of a server, for any exporter.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

use fullduplex::Stats;

use super::{connection::Ending, query::Transport, refusal::Refusal};

/// Counters of a server, to be read by an exporter. Clones share them.
///
/// They are filled if [`Settings::metrics`](super::Settings::metrics) has them. Nothing that several tasks
/// share is written while packets are received or sent: each session adds its packets and bytes with each
/// pong, and when it ends.
///
/// ```
/// use socketio::{Io, engine::{Metrics, Settings}};
///
/// let metrics = Metrics::new();
/// let io = Io::builder().settings(Settings::new().metrics(&metrics)).build();
/// let snapshot = metrics.snapshot();
/// assert_eq!((snapshot.polling, snapshot.websocket, snapshot.packets_received), (0, 0, 0));
/// # let _ = io;
/// ```
#[derive(Debug, Clone, Default)]
pub struct Metrics(Arc<Counters>);

#[derive(Debug, Default)]
struct Counters {
    opened: ByTransport,
    closed: ByTransport,
    upgrades: AtomicU64,
    failed_upgrades: AtomicU64,
    packets_received: AtomicU64,
    packets_sent: AtomicU64,
    bytes_received: AtomicU64,
    bytes_sent: AtomicU64,
    /// Locked when a session, a socket or an attempt ends, and when a socket is connected.
    by: Mutex<By>,
}

#[derive(Debug, Default)]
struct ByTransport {
    polling: AtomicU64,
    websocket: AtomicU64,
}

impl ByTransport {
    fn of(&self, transport: Transport) -> &AtomicU64 {
        match transport {
            Transport::Polling => &self.polling,
            Transport::WebSocket => &self.websocket,
        }
    }

    fn add(&self, transport: Transport) {
        self.of(transport).fetch_add(1, Relaxed);
    }
}

/// Counters with a label.
#[derive(Debug, Default)]
struct By {
    refused: BTreeMap<&'static str, u64>,
    ended: BTreeMap<&'static str, u64>,
    failed_events: BTreeMap<&'static str, u64>,
    sockets: BTreeMap<Arc<str>, u64>,
}

/// The values of all counters at one time, returned by [`Metrics::snapshot`].
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Snapshot {
    /// Sessions that poll now.
    pub polling: u64,
    /// Sessions that have a WebSocket connection now, from the beginning or by an upgrade.
    pub websocket: u64,
    /// Sessions that began with long polling.
    pub opened_polling: u64,
    /// Sessions that began with a WebSocket connection.
    pub opened_websocket: u64,
    /// Upgrades that were completed.
    pub upgrades: u64,
    /// WebSocket connections for an upgrade that did not complete it.
    pub failed_upgrades: u64,
    /// Packets of Engine.IO that were received, by either transport. A packet with binary data counts once
    /// for each attachment in addition.
    pub packets_received: u64,
    /// Packets of Engine.IO that were queued for clients.
    pub packets_sent: u64,
    /// Bytes that were received, as frames of WebSocket; what was posted counts as the frames for it.
    pub bytes_received: u64,
    /// Bytes that were written, as frames of WebSocket; what was polled counts as the frames for it.
    pub bytes_sent: u64,
    /// Requests that were refused, by reason: `unknown_transport`, `unknown_session`, `bad_method`,
    /// `bad_request`, `forbidden`, `unsupported_version`, `too_large`, `head_too_large`, `too_many`,
    /// `stopping`.
    pub refused: BTreeMap<&'static str, u64>,
    /// Sessions that have ended, by reason: `closed`, `closed_here`, `stopped`, `ping_timeout`,
    /// `invalid_packet`, `transport`.
    pub ended: BTreeMap<&'static str, u64>,
    /// Events of Socket.IO that were not handled or not acknowledged, by reason: `data`, `refused`,
    /// `answer`.
    pub failed_events: BTreeMap<&'static str, u64>,
    /// Sockets that are connected now, by namespace. Clients choose the names that
    /// [`Namespace::matching`](crate::Namespace::matching) accepts, so an exporter may have to group them.
    pub sockets: BTreeMap<Arc<str>, u64>,
}

impl Metrics {
    /// Creates counters that are zero.
    pub fn new() -> Self {
        Self::default()
    }

    /// Returns the values of all counters.
    pub fn snapshot(&self) -> Snapshot {
        let counters = &*self.0;
        let read = |counter: &AtomicU64| counter.load(Relaxed);
        // In this order, so that fewer have ended than have begun.
        let closed = [&counters.closed.polling, &counters.closed.websocket].map(read);
        let upgrades = read(&counters.upgrades);
        let opened = [&counters.opened.polling, &counters.opened.websocket].map(read);
        let by = self.by();
        Snapshot {
            polling: opened[0].saturating_sub(closed[0] + upgrades),
            websocket: (opened[1] + upgrades).saturating_sub(closed[1]),
            opened_polling: opened[0],
            opened_websocket: opened[1],
            upgrades,
            failed_upgrades: read(&counters.failed_upgrades),
            packets_received: read(&counters.packets_received),
            packets_sent: read(&counters.packets_sent),
            bytes_received: read(&counters.bytes_received),
            bytes_sent: read(&counters.bytes_sent),
            refused: by.refused.clone(),
            ended: by.ended.clone(),
            failed_events: by.failed_events.clone(),
            sockets: by.sockets.clone(),
        }
    }

    pub(super) fn opened(&self, transport: Transport) {
        self.0.opened.add(transport);
    }

    /// Counts the end of a session, with the transport that it had then.
    pub(super) fn closed(&self, transport: Transport) {
        self.0.closed.add(transport);
    }

    pub(super) fn upgraded(&self) {
        self.0.upgrades.fetch_add(1, Relaxed);
    }

    pub(super) fn failed_to_upgrade(&self) {
        self.0.failed_upgrades.fetch_add(1, Relaxed);
    }

    pub(super) fn refused(&self, refusal: Refusal) {
        *self.by().refused.entry(refusal.as_str()).or_default() += 1;
    }

    pub(super) fn ended(&self, ending: &Ending) {
        *self.by().ended.entry(ending.as_str()).or_default() += 1;
    }

    pub(crate) fn failed_event(&self, reason: &'static str) {
        *self.by().failed_events.entry(reason).or_default() += 1;
    }

    pub(crate) fn socket_connected(&self, namespace: &Arc<str>) {
        *self.by().sockets.entry(namespace.clone()).or_default() += 1;
    }

    /// Counts the end of a socket. What a namespace without sockets takes is released.
    pub(crate) fn socket_left(&self, namespace: &str) {
        let mut by = self.by();
        if let Some(sockets) = by.sockets.get_mut(namespace) {
            *sockets -= 1;
            if *sockets == 0 {
                by.sockets.remove(namespace);
            }
        }
    }

    fn by(&self) -> MutexGuard<'_, By> {
        self.0.by.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What a session has added to the counters.
#[derive(Debug)]
pub(super) struct Meter {
    metrics: Metrics,
    added: Stats,
}

impl Meter {
    pub(super) fn new(metrics: Metrics) -> Self {
        Self { metrics, added: Stats::default() }
    }

    pub(super) fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    /// Adds what a session has received and sent since the last call.
    pub(super) fn add(&mut self, stats: Stats) {
        let (counters, added) = (&*self.metrics.0, &self.added);
        for (counter, now, before) in [
            (&counters.packets_received, stats.messages_received, added.messages_received),
            (&counters.packets_sent, stats.messages_sent, added.messages_sent),
            (&counters.bytes_received, stats.bytes_received, added.bytes_received),
            (&counters.bytes_sent, stats.bytes_sent, added.bytes_sent),
        ] {
            counter.fetch_add(now.saturating_sub(before), Relaxed);
        }
        self.added = stats;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sessions_are_counted_by_the_transport_that_they_have() {
        let metrics = Metrics::new();
        metrics.opened(Transport::Polling);
        metrics.clone().opened(Transport::Polling);
        metrics.opened(Transport::WebSocket);
        metrics.upgraded();
        let now = metrics.snapshot();
        assert_eq!((now.polling, now.websocket, now.upgrades), (1, 2, 1));
        metrics.closed(Transport::Polling);
        metrics.closed(Transport::WebSocket);
        let now = metrics.snapshot();
        assert_eq!((now.polling, now.websocket), (0, 1));
        assert_eq!((now.opened_polling, now.opened_websocket), (2, 1));
    }

    #[test]
    fn a_session_adds_what_is_new() {
        let metrics = Metrics::new();
        let mut meter = Meter::new(metrics.clone());
        let mut stats = Stats::default();
        (stats.messages_received, stats.bytes_sent) = (3, 40);
        meter.add(stats);
        stats.messages_received = 5;
        meter.add(stats);
        let now = metrics.snapshot();
        assert_eq!((now.packets_received, now.bytes_sent), (5, 40));
    }

    #[test]
    fn namespaces_without_sockets_take_nothing() {
        let metrics = Metrics::new();
        let [a, b]: [Arc<str>; 2] = ["/a".into(), "/b".into()];
        for name in [&a, &a, &b] {
            metrics.socket_connected(name);
        }
        metrics.socket_left("/a");
        metrics.socket_left("/b");
        assert_eq!(metrics.snapshot().sockets, BTreeMap::from([(a, 1)]));
    }
}
