//! The limits and deadlines of Socket.IO.

use std::time::Duration;

/// The limits and deadlines of each connection.
///
/// | limit | default | beyond it |
/// |---|---|---|
/// | [`max_attachments`](Self::max_attachments) of an event | 10 | the connection is closed |
/// | [`max_event_size`](Self::max_event_size) with attachments | 4 MiB | the connection is closed |
/// | [`max_namespace_len`](Self::max_namespace_len) | 256 bytes | the connection is closed |
/// | [`max_namespaces`](Self::max_namespaces) | 16 | the namespace is refused |
/// | [`connect_timeout`](Self::connect_timeout) | 45 s | the connection is closed |
/// | [`concurrency`](Self::concurrency): handlers that run at once | 1 | events wait |
/// | [`max_waiting`](Self::max_waiting): events that wait for their handlers | 64 | nothing is received, unless an acknowledgement is waited for |
/// | [`max_waiting_bytes`](Self::max_waiting_bytes) of them | 1 MiB | nothing is received |
/// | [`max_acks`](Self::max_acks) that are waited for, of each socket | 1024 | [`AckError::TooMany`](crate::AckError::TooMany) |
/// | [`ack_timeout`](Self::ack_timeout) | 10 s | [`AckError::Timeout`](crate::AckError::Timeout) |
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    pub(crate) max_attachments: usize,
    pub(crate) max_event_size: usize,
    pub(crate) max_namespace_len: usize,
    pub(crate) max_namespaces: usize,
    pub(crate) connect_timeout: Duration,
    pub(crate) concurrency: usize,
    pub(crate) max_waiting: usize,
    pub(crate) max_waiting_bytes: usize,
    pub(crate) max_acks: usize,
    pub(crate) ack_timeout: Duration,
}

impl Limits {
    /// Creates the default limits.
    pub fn new() -> Self {
        Self {
            max_attachments: 10,
            max_event_size: 4 << 20,
            max_namespace_len: 256,
            max_namespaces: 16,
            connect_timeout: Duration::from_secs(45),
            concurrency: 1,
            max_waiting: 64,
            max_waiting_bytes: 1 << 20,
            max_acks: 1024,
            ack_timeout: Duration::from_secs(10),
        }
    }

    /// Sets the maximum number of attachments of an event or an answer.
    #[must_use]
    pub fn max_attachments(mut self, attachments: usize) -> Self {
        self.max_attachments = attachments;
        self
    }

    /// Sets the maximum size of an event together with its attachments, in bytes.
    ///
    /// Each message of it is limited by
    /// [`max_payload`](crate::engine::Settings::max_payload) too.
    #[must_use]
    pub fn max_event_size(mut self, bytes: usize) -> Self {
        self.max_event_size = bytes;
        self
    }

    /// Sets the maximum length of the name of a namespace, in bytes.
    #[must_use]
    pub fn max_namespace_len(mut self, bytes: usize) -> Self {
        self.max_namespace_len = bytes;
        self
    }

    /// Sets how many namespaces a connection may be in.
    #[must_use]
    pub fn max_namespaces(mut self, namespaces: usize) -> Self {
        self.max_namespaces = namespaces;
        self
    }

    /// Sets the time that a client has for its first namespace.
    #[must_use]
    pub fn connect_timeout(mut self, timeout: Duration) -> Self {
        self.connect_timeout = timeout;
        self
    }

    /// Sets how many handlers of one connection run at once, at least 1.
    ///
    /// Handlers begin in the order in which the events arrived.
    #[must_use]
    pub fn concurrency(mut self, handlers: usize) -> Self {
        self.concurrency = handlers.max(1);
        self
    }

    /// Sets how many events wait for their handlers, at least 1, before nothing more is received.
    ///
    /// While a handler waits for an acknowledgement, that may be behind more events. Then the connection
    /// continues to receive until [`max_waiting_bytes`](Self::max_waiting_bytes).
    #[must_use]
    pub fn max_waiting(mut self, events: usize) -> Self {
        self.max_waiting = events.max(1);
        self
    }

    /// Sets how many bytes of events wait for their handlers before nothing more is received.
    #[must_use]
    pub fn max_waiting_bytes(mut self, bytes: usize) -> Self {
        self.max_waiting_bytes = bytes.max(1);
        self
    }

    /// Sets how many acknowledgements a socket waits for.
    #[must_use]
    pub fn max_acks(mut self, acks: usize) -> Self {
        self.max_acks = acks;
        self
    }

    /// Sets how long an acknowledgement is waited for.
    #[must_use]
    pub fn ack_timeout(mut self, timeout: Duration) -> Self {
        self.ack_timeout = timeout;
        self
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self::new()
    }
}
