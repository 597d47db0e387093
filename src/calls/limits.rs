//! The limits of a connection.

use std::time::Duration;

/// The limits of each connection of a [`Router`](super::Router).
///
/// | limit | default | beyond it |
/// |---|---|---|
/// | [`concurrency`](Self::concurrency): handlers that run at once | 1 | events wait |
/// | [`max_waiting`](Self::max_waiting): events that wait for their handlers | 64 | nothing is received, unless a call waits for its answer |
/// | [`max_waiting_bytes`](Self::max_waiting_bytes) of them | 1 MiB | nothing is received |
/// | [`max_calls`](Self::max_calls) that wait for their answers | 1024 | [`CallError::Full`](super::CallError::Full) |
/// | [`call_timeout`](Self::call_timeout) | 10 s | [`CallError::Timeout`](super::CallError::Timeout) |
///
/// ```
/// use std::time::Duration;
/// use fullduplex::calls::{Limits, Router};
///
/// let limits = Limits::new().max_waiting(16).call_timeout(Duration::from_secs(3));
/// let router = Router::<()>::new().limits(limits);
/// # let _ = router;
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    pub(super) concurrency: usize,
    pub(super) max_waiting: usize,
    pub(super) max_waiting_bytes: usize,
    pub(super) max_calls: usize,
    pub(super) call_timeout: Option<Duration>,
}

impl Limits {
    /// Creates the default limits.
    pub fn new() -> Self {
        Self {
            concurrency: 1,
            max_waiting: 64,
            max_waiting_bytes: 1 << 20,
            max_calls: 1024,
            call_timeout: Some(Duration::from_secs(10)),
        }
    }

    /// Sets how many handlers of one connection run at once, at least 1.
    ///
    /// Handlers begin in the order in which the events arrived. With more than one, they may end in
    /// any order, and all of them are polled when one is woken.
    #[must_use]
    pub fn concurrency(mut self, handlers: usize) -> Self {
        self.concurrency = handlers.max(1);
        self
    }

    /// Sets how many events wait for their handlers, at least 1, before nothing more is received.
    ///
    /// While a call to the peer waits, its answer may be behind more events. Then the connection
    /// continues to receive until [`max_waiting_bytes`](Self::max_waiting_bytes).
    #[must_use]
    pub fn max_waiting(mut self, events: usize) -> Self {
        self.max_waiting = events.max(1);
        self
    }

    /// Sets how many bytes of events wait for their handlers before nothing more is received.
    ///
    /// Each event counts as its payload data and 128 bytes. One event is always accepted, whatever
    /// its length.
    #[must_use]
    pub fn max_waiting_bytes(mut self, bytes: usize) -> Self {
        self.max_waiting_bytes = bytes.max(1);
        self
    }

    /// Sets how many calls to the peer wait for their answers.
    #[must_use]
    pub fn max_calls(mut self, calls: usize) -> Self {
        self.max_calls = calls;
        self
    }

    /// Sets how long a call waits for its answer. `None` disables the deadline.
    ///
    /// [`Peer::with_timeout`](super::Peer::with_timeout) overrides it.
    #[must_use]
    pub fn call_timeout(mut self, timeout: impl Into<Option<Duration>>) -> Self {
        self.call_timeout = timeout.into();
        self
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self::new()
    }
}
