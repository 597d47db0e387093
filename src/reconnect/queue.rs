//! What the program sees of the queue: its limits, messages, and outcomes.

use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll},
};

use tokio::sync::{Semaphore, oneshot};

use crate::Outgoing;

/// The limits of the queue of a client, and what happens when it is full.
///
/// Messages count until they have an outcome: while they wait in the queue, and while a connection
/// writes them. A message that is longer than `max_bytes` needs all of the room.
///
/// | setting | default |
/// |---|---|
/// | [`max_bytes`](Self::max_bytes) of payload data | 1 MiB |
/// | [`max_messages`](Self::max_messages) | 1024 |
/// | [`when_full`](Self::when_full) | [`WhenFull::Wait`] |
///
/// ```
/// use fullduplex::reconnect::{QueueLimits, WhenFull};
///
/// // The newest values of a sensor, of which nobody needs the old ones.
/// let limits = QueueLimits::new().max_messages(10).when_full(WhenFull::DropOldest);
/// # let _ = limits;
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct QueueLimits {
    pub(super) max_bytes: usize,
    pub(super) max_messages: usize,
    pub(super) when_full: WhenFull,
}

/// What [`send`](super::Handle::send) does when the queue is full.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum WhenFull {
    /// Waits for room. Senders are served in the order in which they began to wait.
    #[default]
    Wait,
    /// Drops the messages that have waited longest, until there is room.
    ///
    /// Drops the new message if a connection is writing those that take the room.
    DropOldest,
    /// Drops the new message.
    DropNewest,
}

impl QueueLimits {
    /// Creates the default limits.
    pub fn new() -> Self {
        Self { max_bytes: 1 << 20, max_messages: 1024, when_full: WhenFull::Wait }
    }

    /// Sets how many bytes of payload data the queue holds, from 1 to 4 GiB, or to 512 MiB where `usize` has 32
    /// bits.
    #[must_use]
    pub fn max_bytes(mut self, bytes: usize) -> Self {
        self.max_bytes = bytes.clamp(1, Semaphore::MAX_PERMITS.min(u32::MAX as usize));
        self
    }

    /// Sets how many messages the queue holds, at least 1.
    #[must_use]
    pub fn max_messages(mut self, messages: usize) -> Self {
        self.max_messages = messages.clamp(1, Semaphore::MAX_PERMITS);
        self
    }

    /// Sets what happens when the queue is full.
    #[must_use]
    pub fn when_full(mut self, when_full: WhenFull) -> Self {
        self.when_full = when_full;
        self
    }
}

impl Default for QueueLimits {
    fn default() -> Self {
        Self::new()
    }
}

/// A message to queue, with its options.
///
/// Everything that converts into an [`Outgoing`] converts into this.
///
/// ```
/// use fullduplex::reconnect::QueuedMessage;
///
/// let again = QueuedMessage::new("set 7").retry(true);
/// # let _ = again;
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QueuedMessage<'a> {
    pub(super) outgoing: Outgoing<'a>,
    pub(super) retry: bool,
    /// The number of the only connection that it may be sent over; `None` for any.
    pub(super) only: Option<u64>,
}

impl<'a> QueuedMessage<'a> {
    /// Creates a message that is sent at most once.
    pub fn new(message: impl Into<Outgoing<'a>>) -> Self {
        Self { outgoing: message.into(), retry: false, only: None }
    }

    /// Sets whether the message is sent again if its outcome would be [`Delivery::Unknown`].
    ///
    /// The server may then receive it more than once, so it has to be idempotent. It is sent before
    /// the messages that are still queued. The client keeps a copy of it until it is sent.
    #[must_use]
    pub fn retry(mut self, retry: bool) -> Self {
        self.retry = retry;
        self
    }

    /// Drops the message unless it is sent over this connection.
    #[cfg(feature = "calls")]
    pub(crate) fn only(mut self, connection: u64) -> Self {
        self.only = Some(connection);
        self
    }
}

impl<'a, T: Into<Outgoing<'a>>> From<T> for QueuedMessage<'a> {
    fn from(message: T) -> Self {
        Self::new(message)
    }
}

/// The outcome of a message.
///
/// ```
/// use fullduplex::reconnect::Delivery;
///
/// fn may_be_sent_again(outcome: Delivery) -> bool {
///     outcome == Delivery::Dropped
/// }
/// # assert!(!may_be_sent_again(Delivery::Unknown));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Delivery {
    /// The transport has accepted and flushed the whole message.
    ///
    /// This does not mean that the server has processed it, or received it: only an answer of the
    /// server can show that.
    Sent,
    /// The connection was lost after it had accepted the message, and before all of it was flushed.
    ///
    /// The server may have received it.
    Unknown,
    /// The message was never sent: the queue was full, or the client has ended.
    Dropped,
}

/// The outcome of one message, as a future.
///
/// Returned by [`Handle::send`](super::Handle::send). Dropping it changes nothing.
///
/// ```
/// use fullduplex::reconnect::{Delivery, Handle, QueuedMessage};
///
/// async fn store(handle: &Handle, value: &str) -> Result<bool, fullduplex::Error> {
///     let receipt = handle.send(QueuedMessage::new(value).retry(true)).await?;
///     Ok(receipt.await == Delivery::Sent)
/// }
/// ```
///
/// # Cancel safety
/// The outcome is not lost if the receipt is awaited by reference.
#[derive(Debug)]
pub struct Receipt(pub(super) oneshot::Receiver<Outcome>);

/// The outcome of a message, and the number of the connection that was open then.
#[derive(Debug, Clone, Copy)]
pub(super) struct Outcome {
    pub(super) delivery: Delivery,
    #[cfg_attr(not(feature = "calls"), allow(dead_code, reason = "only calls need it"))]
    pub(super) connection: u64,
}

impl Receipt {
    /// Returns the outcome, if there is one already.
    ///
    /// After this has returned an outcome, the receipt must not be polled.
    pub fn try_get(&mut self) -> Option<Delivery> {
        match self.0.try_recv() {
            Ok(outcome) => Some(outcome.delivery),
            Err(oneshot::error::TryRecvError::Empty) => None,
            Err(oneshot::error::TryRecvError::Closed) => Some(Delivery::Unknown),
        }
    }

    /// Waits for the outcome. Returns it with the number of the connection.
    #[cfg(feature = "calls")]
    pub(crate) async fn with_connection(&mut self) -> (Delivery, u64) {
        match (&mut self.0).await {
            Ok(outcome) => (outcome.delivery, outcome.connection),
            Err(_) => (Delivery::Unknown, 0),
        }
    }
}

impl Future for Receipt {
    type Output = Delivery;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Delivery> {
        // Each entry of the queue is resolved, unless the client was leaked.
        Pin::new(&mut self.0)
            .poll(cx)
            .map(|outcome| outcome.map_or(Delivery::Unknown, |outcome| outcome.delivery))
    }
}
