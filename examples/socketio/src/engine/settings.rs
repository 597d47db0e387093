//! The settings of Engine.IO.

use std::{fmt, sync::Arc, time::Duration};

use axum::http::request::Parts;
use fullduplex::{Config, Deflate, serve::Shutdown};

use super::{metrics::Metrics, origins::Origins};

/// Whether a request for a new session is accepted.
type AllowRequest = dyn Fn(&Parts) -> bool + Send + Sync;

/// The settings of Engine.IO: heartbeat, limits, and which pages may connect.
///
/// | setting | default | beyond it |
/// |---|---|---|
/// | [`ping_interval`](Self::ping_interval) | 25 s | |
/// | [`ping_timeout`](Self::ping_timeout) | 20 s | the session ends |
/// | [`max_payload`](Self::max_payload) | 1,000,000 bytes | status 413, or close code 1009 |
/// | [`max_packets`](Self::max_packets) of a POST | 16,384 | the session ends |
/// | [`max_sessions`](Self::max_sessions) | 100,000 | status 503 |
/// | [`post_timeout`](Self::post_timeout) | 20 s | the session ends |
/// | [`upgrade_timeout`](Self::upgrade_timeout) | 10 s | the session stays with long polling |
/// | [`max_write_buffer_size`](Self::max_write_buffer_size) | 1 MiB for each session | senders wait |
/// | [`write_timeout`](Self::write_timeout) | 30 s | the session ends |
/// | [`min_write_rate`](Self::min_write_rate) | 500 bytes per second | the session ends |
/// | [`origins`](Self::origins) | pages of the same origin | status 403 |
/// | [`cookie`](Self::cookie) | none | |
/// | [`keep_handshake`](Self::keep_handshake) | off | status 431 |
/// | [`deflate`](Self::deflate) | off | |
///
/// ```
/// use std::time::Duration;
/// use socketio::engine::{Origins, Settings};
///
/// let settings = Settings::new()
///     .ping_interval(Duration::from_secs(10))
///     .origins(Origins::list(["https://school.example"]));
/// # let _ = settings;
/// ```
#[derive(Clone)]
pub struct Settings {
    pub(super) ping_interval: Duration,
    pub(super) ping_timeout: Duration,
    pub(super) max_payload: usize,
    pub(super) max_sessions: usize,
    pub(super) max_packets: usize,
    pub(super) post_timeout: Duration,
    pub(super) upgrade_timeout: Duration,
    pub(super) max_write_buffer_size: usize,
    pub(super) write_timeout: Duration,
    pub(super) min_write_rate: Option<usize>,
    pub(super) upgrades: bool,
    pub(super) origins: Origins,
    pub(super) credentials: bool,
    pub(super) cookie: Option<Arc<str>>,
    pub(super) deflate: Option<Deflate>,
    pub(super) kept_handshake: Option<usize>,
    pub(super) shutdown: Option<Shutdown>,
    pub(super) metrics: Option<Metrics>,
    pub(super) allow_request: Option<Arc<AllowRequest>>,
}

impl Settings {
    /// Creates the default settings.
    pub fn new() -> Self {
        Self {
            ping_interval: Duration::from_secs(25),
            ping_timeout: Duration::from_secs(20),
            max_payload: 1_000_000,
            max_sessions: 100_000,
            max_packets: 16_384,
            post_timeout: Duration::from_secs(20),
            upgrade_timeout: Duration::from_secs(10),
            max_write_buffer_size: 1 << 20,
            write_timeout: Duration::from_secs(30),
            min_write_rate: Some(500),
            upgrades: true,
            origins: Origins::same(),
            credentials: false,
            cookie: None,
            deflate: None,
            kept_handshake: None,
            shutdown: None,
            metrics: None,
            allow_request: None,
        }
    }

    /// Sets the time from the last pong, or the beginning of the session, to the next ping.
    #[must_use]
    pub fn ping_interval(mut self, interval: Duration) -> Self {
        self.ping_interval = interval;
        self
    }

    /// Sets the time that a client has for its pong. A session whose client sends none ends.
    #[must_use]
    pub fn ping_timeout(mut self, timeout: Duration) -> Self {
        self.ping_timeout = timeout;
        self
    }

    /// Sets the maximum size of a message over WebSocket and of the body of a POST, in bytes.
    #[must_use]
    pub fn max_payload(mut self, bytes: usize) -> Self {
        self.max_payload = bytes;
        self
    }

    /// Sets the maximum number of packets in the body of a POST.
    #[must_use]
    pub fn max_packets(mut self, packets: usize) -> Self {
        self.max_packets = packets;
        self
    }

    /// Sets the maximum number of sessions. Further ones are refused.
    #[must_use]
    pub fn max_sessions(mut self, sessions: usize) -> Self {
        self.max_sessions = sessions;
        self
    }

    /// Sets the time that a client has for the body of a POST.
    #[must_use]
    pub fn post_timeout(mut self, timeout: Duration) -> Self {
        self.post_timeout = timeout;
        self
    }

    /// Sets the time in which a WebSocket connection that is opened for an upgrade has to complete it.
    #[must_use]
    pub fn upgrade_timeout(mut self, timeout: Duration) -> Self {
        self.upgrade_timeout = timeout;
        self
    }

    /// Sets the number of bytes that may be queued for a session before senders wait.
    ///
    /// An event with binary attachments has to fit as a whole.
    #[must_use]
    pub fn max_write_buffer_size(mut self, bytes: usize) -> Self {
        self.max_write_buffer_size = bytes;
        self
    }

    /// Sets the time in which a client has to take something of what is written, if anything waits.
    #[must_use]
    pub fn write_timeout(mut self, timeout: Duration) -> Self {
        self.write_timeout = timeout;
        self
    }

    /// Sets how many bytes per second a client has to take while more waits than its transport accepts;
    /// `None` disables it.
    ///
    /// It is measured over [`write_timeout`](Self::write_timeout), which alone would permit a client to take
    /// a byte at a time.
    #[must_use]
    pub fn min_write_rate(mut self, bytes_per_second: impl Into<Option<usize>>) -> Self {
        self.min_write_rate = bytes_per_second.into();
        self
    }

    /// Sets whether sessions that begin with long polling may be upgraded to WebSocket. Default: yes.
    #[must_use]
    pub fn upgrades(mut self, allowed: bool) -> Self {
        self.upgrades = allowed;
        self
    }

    /// Sets which web pages may connect, with either transport.
    #[must_use]
    pub fn origins(mut self, origins: Origins) -> Self {
        self.origins = origins;
        self
    }

    /// Sets whether pages of other origins that are listed may send cookies with long polling
    /// (`withCredentials` of the client). Default: no.
    ///
    /// It has no effect with [`Origins::any`].
    #[must_use]
    pub fn credentials(mut self, allowed: bool) -> Self {
        self.credentials = allowed;
        self
    }

    /// Sets the name of a cookie with the id of the session, for load balancers. Default: none.
    ///
    /// The server itself does not read it.
    #[must_use]
    pub fn cookie(mut self, name: &str) -> Self {
        self.cookie = Some(name.into());
        self
    }

    /// Sets how messages over WebSocket are compressed, in sessions that begin with WebSocket.
    ///
    /// A session that is upgraded is not compressed.
    #[must_use]
    pub fn deflate(mut self, deflate: impl Into<Option<Deflate>>) -> Self {
        self.deflate = deflate.into();
        self
    }

    /// Sets that the head of the request that began a session is kept, for
    /// [`Connection::handshake`](super::Connection::handshake) and
    /// [`Socket::handshake`](crate::Socket::handshake): of at most `max` bytes. Requests for sessions with a
    /// longer head are refused with status 431. Default: no head is kept.
    ///
    /// The head of a browser has about 500 bytes, which each session then takes in addition.
    #[must_use]
    pub fn keep_handshake(mut self, max: impl Into<Option<usize>>) -> Self {
        self.kept_handshake = max.into();
        self
    }

    /// Sets a function that accepts each request for a new session, by its head. Others are refused
    /// with status 403.
    #[must_use]
    pub fn allow_request(mut self, accept: impl Fn(&Parts) -> bool + Send + Sync + 'static) -> Self {
        self.allow_request = Some(Arc::new(accept));
        self
    }

    /// Lets the sessions take part in a graceful shutdown, with other connections of the program. By default,
    /// they have one of their own.
    ///
    /// Once it begins, requests for new sessions are refused with status 503, and sessions are closed with
    /// its code. [`Engine::close`](super::Engine::close) begins it too.
    #[must_use]
    pub fn shutdown(mut self, shutdown: &Shutdown) -> Self {
        self.shutdown = Some(shutdown.clone());
        self
    }

    /// Sets the counters of the server, which several servers may share. Default: nothing is counted.
    #[must_use]
    pub fn metrics(mut self, metrics: &Metrics) -> Self {
        self.metrics = Some(metrics.clone());
        self
    }

    pub(crate) fn get_metrics(&self) -> Option<&Metrics> {
        self.metrics.as_ref()
    }

    pub(crate) fn write_buffer_size(&self) -> usize {
        self.max_write_buffer_size
    }

    /// Returns the configuration of WebSocket connections. Engine.IO has pings of its own.
    pub(super) fn config(&self) -> Config {
        Config::new()
            .max_message_size(self.max_payload)
            .max_write_buffer_size(self.max_write_buffer_size)
            .write_timeout(self.write_timeout)
            .min_write_rate(self.min_write_rate)
            .ping_interval(None)
            .stats(self.metrics.is_some())
    }
}

impl Default for Settings {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Settings")
            .field("ping_interval", &self.ping_interval)
            .field("ping_timeout", &self.ping_timeout)
            .field("max_payload", &self.max_payload)
            .field("max_sessions", &self.max_sessions)
            .field("origins", &self.origins)
            .finish_non_exhaustive()
    }
}
