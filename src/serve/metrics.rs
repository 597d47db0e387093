//! Counters of a server, for any exporter.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

use http::StatusCode;

use crate::{CloseCode, Error, Stats, Timeout};

/// Counters of a server, to be read by an exporter.
///
/// A [`Serve`](super::Serve) fills those that it is [given](super::Serve::metrics). Servers that
/// accept connections themselves, or with axum or hyper, use
/// [`Shutdown::with_metrics`](super::Shutdown::with_metrics) for connections, and the methods below
/// for the rest. Clones share the counters.
///
/// Nothing is counted while messages are received or sent. Messages and bytes are added when a
/// connection ends, if [`Config::stats`](crate::Config::stats) is enabled.
///
/// ```
/// use fullduplex::serve::{Metrics, Refusal};
///
/// let metrics = Metrics::new();
/// metrics.refused(Refusal::Connections);
/// let snapshot = metrics.snapshot();
/// assert_eq!((snapshot.open, snapshot.refused[&Refusal::Connections]), (0, 1));
/// ```
#[derive(Debug, Clone, Default)]
pub struct Metrics {
    counters: Arc<Counters>,
}

#[derive(Debug, Default)]
struct Counters {
    opened: AtomicU64,
    closed: AtomicU64,
    messages_received: AtomicU64,
    messages_sent: AtomicU64,
    bytes_received: AtomicU64,
    bytes_sent: AtomicU64,
    queue_full: AtomicU64,
    accept_errors: AtomicU64,
    panics: AtomicU64,
    /// Locked when a connection ends or is refused.
    by: Mutex<By>,
}

/// Counters with a label.
#[derive(Debug, Default)]
struct By {
    code: BTreeMap<CloseCode, u64>,
    refusal: BTreeMap<Refusal, u64>,
    timeout: BTreeMap<Timeout, u64>,
}

/// Why a connection was refused before it was open.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Refusal {
    /// [`max_connections`](super::Serve::max_connections) were open or opening.
    Connections,
    /// [`max_connections_per`](super::Serve::max_connections_per) were open for its key.
    ConnectionsPerKey,
    /// [`max_handshakes`](super::Serve::max_handshakes) were under way.
    Handshakes,
    /// The server stopped during the opening handshake.
    Shutdown,
    /// The request was answered with this status, by this crate or by the program.
    Status(StatusCode),
    /// The header of the PROXY protocol was missing or invalid.
    ProxyHeader,
    /// The TLS handshake failed.
    Tls,
    /// The opening handshake, TLS included, took too long.
    HandshakeTimeout,
    /// The transport failed or ended during the opening handshake.
    Transport,
}

impl Refusal {
    /// Returns a short name in snake case, as the label of a metric.
    ///
    /// All of [`Status`](Self::Status) have the same, `status`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Connections => "connections",
            Self::ConnectionsPerKey => "connections_per_key",
            Self::Handshakes => "handshakes",
            Self::Shutdown => "shutdown",
            Self::Status(_) => "status",
            Self::ProxyHeader => "proxy_header",
            Self::Tls => "tls",
            Self::HandshakeTimeout => "handshake_timeout",
            Self::Transport => "transport",
        }
    }

    /// Returns why an opening handshake has failed, by its error.
    pub(super) fn of(error: &Error) -> Self {
        match error {
            Error::Rejected(rejection) => Self::Status(rejection.status()),
            Error::InvalidHandshake(_) => Self::Status(StatusCode::INTERNAL_SERVER_ERROR),
            Error::Timeout(_) => Self::HandshakeTimeout,
            #[cfg(feature = "tls")]
            Error::Tls(_) => Self::Tls,
            _ => Self::Transport,
        }
    }
}

/// The values of all counters at one time, returned by [`Metrics::snapshot`].
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Snapshot {
    /// Connections that were opened.
    pub opened: u64,
    /// Connections that are open now.
    pub open: u64,
    /// Connections that have ended, by the code of the peer's Close.
    ///
    /// If there is none, it is the code that this side sent because of an error, or 1006. A Close
    /// without a code counts as 1005 (RFC 6455 section 7.1.5). A peer can choose codes from 3000 to
    /// 4999, so an exporter may have to group them.
    pub closed: BTreeMap<CloseCode, u64>,
    /// Connections that were refused before they were open, by reason.
    pub refused: BTreeMap<Refusal, u64>,
    /// Open connections that a deadline has ended.
    pub timeouts: BTreeMap<Timeout, u64>,
    /// Messages received, on connections that have ended.
    pub messages_received: u64,
    /// Messages sent, on connections that have ended.
    pub messages_sent: u64,
    /// Bytes received, on connections that have ended.
    pub bytes_received: u64,
    /// Bytes sent, on connections that have ended.
    pub bytes_sent: u64,
    /// Messages that [`Sender::try_send`](crate::Sender::try_send) has refused, as counted by
    /// [`Metrics::queue_full`].
    pub queue_full: u64,
    /// Errors of accepting connections, such as too few file descriptors.
    pub accept_errors: u64,
    /// Handlers that have panicked.
    pub panics: u64,
}

impl Metrics {
    /// Creates counters that are zero.
    pub fn new() -> Self {
        Self::default()
    }

    /// Counts a connection that was refused before it was open.
    pub fn refused(&self, refusal: Refusal) {
        *self.by().refusal.entry(refusal).or_default() += 1;
    }

    /// Counts a connection whose opening handshake has failed, by its error.
    pub fn failed_to_open(&self, error: &Error) {
        self.refused(Refusal::of(error));
    }

    /// Counts a message that [`Sender::try_send`](crate::Sender::try_send) has refused because the
    /// queue was full.
    ///
    /// ```
    /// # use fullduplex::{PreparedMessage, Sender, TrySendError, serve::Metrics};
    /// # fn example(sender: &Sender, tick: &PreparedMessage, metrics: &Metrics) {
    /// if let Err(TrySendError::Full(_)) = sender.try_send(tick) {
    ///     metrics.queue_full();
    /// }
    /// # }
    /// ```
    pub fn queue_full(&self) {
        self.counters.queue_full.fetch_add(1, Relaxed);
    }

    /// Counts an error of accepting connections.
    pub fn accept_error(&self) {
        self.counters.accept_errors.fetch_add(1, Relaxed);
    }

    /// Returns the values of all counters.
    pub fn snapshot(&self) -> Snapshot {
        let Counters { by: _, closed, opened, .. } = &*self.counters;
        // In this order, so that `open` is not negative.
        let (closed, opened) = (closed.load(Relaxed), opened.load(Relaxed));
        let read = |counter: &AtomicU64| counter.load(Relaxed);
        let counters = &*self.counters;
        let by = self.by();
        Snapshot {
            opened,
            open: opened.saturating_sub(closed),
            closed: by.code.clone(),
            refused: by.refusal.clone(),
            timeouts: by.timeout.clone(),
            messages_received: read(&counters.messages_received),
            messages_sent: read(&counters.messages_sent),
            bytes_received: read(&counters.bytes_received),
            bytes_sent: read(&counters.bytes_sent),
            queue_full: read(&counters.queue_full),
            accept_errors: read(&counters.accept_errors),
            panics: read(&counters.panics),
        }
    }

    pub(super) fn opened(&self) {
        self.counters.opened.fetch_add(1, Relaxed);
    }

    /// Counts the end of a connection.
    pub(super) fn closed(&self, code: CloseCode, stats: Option<Stats>) {
        let counters = &*self.counters;
        if let Some(stats) = stats {
            counters.messages_received.fetch_add(stats.messages_received, Relaxed);
            counters.messages_sent.fetch_add(stats.messages_sent, Relaxed);
            counters.bytes_received.fetch_add(stats.bytes_received, Relaxed);
            counters.bytes_sent.fetch_add(stats.bytes_sent, Relaxed);
        }
        *self.by().code.entry(code).or_default() += 1;
        counters.closed.fetch_add(1, Relaxed);
    }

    /// Counts the error that ended a connection, if a deadline has.
    pub(super) fn ended_with(&self, error: &Error) {
        if let Error::Timeout(timeout) = error {
            *self.by().timeout.entry(*timeout).or_default() += 1;
        }
    }

    pub(super) fn panicked(&self) {
        self.counters.panics.fetch_add(1, Relaxed);
    }

    fn by(&self) -> std::sync::MutexGuard<'_, By> {
        self.counters.by.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_connection_is_counted_when_it_opens_and_when_it_ends() {
        let metrics = Metrics::new();
        metrics.opened();
        metrics.clone().opened();
        let mut stats = Stats::default();
        (stats.messages_received, stats.bytes_sent) = (3, 40);
        metrics.closed(CloseCode::NORMAL, Some(stats));
        let snapshot = metrics.snapshot();
        assert_eq!((snapshot.opened, snapshot.open), (2, 1));
        assert_eq!(snapshot.closed, BTreeMap::from([(CloseCode::NORMAL, 1)]));
        assert_eq!((snapshot.messages_received, snapshot.bytes_sent), (3, 40));
    }

    #[test]
    fn refusals_have_the_reason_of_their_error() {
        let metrics = Metrics::new();
        metrics.failed_to_open(&Error::Timeout(Timeout::Handshake));
        metrics.failed_to_open(&Error::Transport(std::io::ErrorKind::ConnectionReset.into()));
        metrics.failed_to_open(&Error::Rejected(Box::new(crate::Rejection::server_error())));
        metrics.refused(Refusal::Status(StatusCode::INTERNAL_SERVER_ERROR));
        let expected = [
            (Refusal::Status(StatusCode::INTERNAL_SERVER_ERROR), 2),
            (Refusal::HandshakeTimeout, 1),
            (Refusal::Transport, 1),
        ];
        assert_eq!(metrics.snapshot().refused, BTreeMap::from(expected));
    }

    #[test]
    fn only_timeouts_are_counted_as_such() {
        let metrics = Metrics::new();
        metrics.ended_with(&Error::Closed);
        metrics.ended_with(&Error::Timeout(Timeout::Pong));
        assert_eq!(metrics.snapshot().timeouts, BTreeMap::from([(Timeout::Pong, 1)]));
    }
}
