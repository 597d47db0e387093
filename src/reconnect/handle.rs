//! The handle of a client, and the state that it shares with it.

use std::{future::Future, sync::Arc};

use tokio::{sync::watch, time::Instant};

use super::{
    backlog::{Backlog, Refused},
    classify::Reason,
    queue::{QueueLimits, QueuedMessage, Receipt},
};
use crate::{CloseCode, CloseFrame, Error, TrySendError, Utf8Bytes};

/// The state of a client.
///
/// ```text
///                 opened                lost
///   Connecting ────────────▶ Open ──────────────▶ Waiting ──▶ Connecting ...
///       │  failed                                    ▲
///       └────────────────────────────────────────────┘
///
///   from each of them, if the reason is final or the program closes: Closed
/// ```
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum State {
    /// A connection is being opened.
    #[non_exhaustive]
    Connecting {
        /// The number of the attempt: see [`Attempt::number`](super::Attempt::number).
        attempt: u32,
    },
    /// A connection is open.
    Open,
    /// The client waits before the next attempt.
    #[non_exhaustive]
    Waiting {
        /// When the next attempt starts.
        until: Instant,
        /// The number of the next attempt.
        attempt: u32,
        /// Why there is no connection.
        why: Reason,
    },
    /// The client has ended, and does not connect again.
    #[non_exhaustive]
    Closed {
        /// Why it has ended.
        why: Reason,
    },
}

impl State {
    /// Returns whether a connection is open.
    pub fn is_open(&self) -> bool {
        matches!(self, Self::Open)
    }

    /// Returns whether the client has ended.
    pub fn is_closed(&self) -> bool {
        matches!(self, Self::Closed { .. })
    }
}

/// What the handles and the client share.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) backlog: Backlog,
    pub(super) state: watch::Sender<State>,
}

impl Shared {
    pub(super) fn new(limits: QueueLimits) -> Self {
        Self { backlog: Backlog::new(limits), state: watch::Sender::new(State::Connecting { attempt: 0 }) }
    }
}

/// A handle of a client: queues messages, observes its state, closes it.
///
/// It can be cloned, and is independent of connections: messages are queued while there is none.
/// The [client](super::Reconnecting) writes them while it is polled.
///
/// ```
/// use fullduplex::reconnect::{Delivery, Handle};
///
/// async fn report(handle: Handle) -> Result<(), fullduplex::Error> {
///     let receipt = handle.send("a report").await?;
///     if receipt.await != Delivery::Sent {
///         println!("the report may be lost");
///     }
///     Ok(())
/// }
/// ```
#[derive(Debug, Clone)]
pub struct Handle {
    pub(super) shared: Arc<Shared>,
}

impl Handle {
    /// Queues a message, and returns a receipt for its outcome.
    ///
    /// If the queue is full, waits for room or drops a message: see
    /// [`QueueLimits::when_full`](super::QueueLimits::when_full). If the new message is dropped,
    /// its receipt returns [`Delivery::Dropped`](super::Delivery::Dropped).
    ///
    /// The task that polls the client must not wait in this function or for a receipt: use
    /// [`Reconnecting::drive`](super::Reconnecting::drive) there.
    ///
    /// # Errors
    /// Returns [`Error::Closed`] if the client was closed or has ended.
    ///
    /// # Cancel safety
    /// If the future is dropped before it completes, the message is not queued.
    pub fn send<'m>(
        &self,
        message: impl Into<QueuedMessage<'m>>,
    ) -> impl Future<Output = Result<Receipt, Error>> + Send {
        self.shared.backlog.send(message.into())
    }

    /// Queues a message without waiting.
    ///
    /// With [`WhenFull::DropOldest`](super::WhenFull::DropOldest), drops others for it.
    ///
    /// # Errors
    /// Returns [`TrySendError::Full`] if there is no room, and [`TrySendError::Closed`] if the
    /// client was closed or has ended. Both contain the message.
    pub fn try_send<'m>(&self, message: impl Into<QueuedMessage<'m>>) -> Result<Receipt, TrySendError<'m>> {
        self.shared.backlog.try_send(message.into()).map_err(|refused| match refused {
            Refused::Full(message) => TrySendError::Full(message.outgoing),
            Refused::Closed(message) => TrySendError::Closed(message.outgoing),
        })
    }

    /// Closes the client: it does not connect again.
    ///
    /// If a connection is open, it is closed with this code and reason, after the messages that are
    /// queued; [`recv`](super::Reconnecting::recv) returns what the server still sends. If none is
    /// open, or the hook for a new connection is running, queued messages are dropped.
    ///
    /// This does not wait; [`closed`](Self::closed) does.
    ///
    /// # Errors
    /// Returns [`Error::InvalidClose`] if the code or reason cannot be sent, and [`Error::Closed`]
    /// if the client was closed before or has ended.
    pub fn close(&self, code: CloseCode, reason: impl Into<Utf8Bytes>) -> Result<(), Error> {
        self.shared.backlog.close(CloseFrame::new(code, reason)?)
    }

    /// Waits until the client has ended. Returns why.
    ///
    /// # Cancel safety
    /// Dropping the future changes nothing.
    pub async fn closed(&self) -> Reason {
        let mut state = self.state();
        let closed = state.wait_for(State::is_closed).await.map(|state| state.clone());
        match closed {
            Ok(State::Closed { why }) => why,
            // The sender of the states is part of this handle.
            _ => Reason::Requested,
        }
    }

    /// Returns a receiver for the state, which observes each change or the newest one.
    ///
    /// ```
    /// use fullduplex::reconnect::{Handle, State};
    ///
    /// async fn show(handle: Handle) {
    ///     let mut state = handle.state();
    ///     while state.changed().await.is_ok() {
    ///         match &*state.borrow_and_update() {
    ///             State::Open => println!("online"),
    ///             State::Waiting { why, .. } => println!("offline: {why:#}"),
    ///             State::Closed { .. } => return,
    ///             _ => {}
    ///         }
    ///     }
    /// }
    /// ```
    pub fn state(&self) -> watch::Receiver<State> {
        self.shared.state.subscribe()
    }

    /// Returns whether nothing more can be queued: the client was closed or has ended.
    pub fn is_closed(&self) -> bool {
        !self.shared.backlog.is_open()
    }

    /// Waits until a connection is lost, by its [number](super::Receipt::with_connection).
    #[cfg(feature = "calls")]
    pub(crate) async fn lost(&self, connection: u64) {
        // It fails only if nothing sends states any more, and then the connection is lost as well.
        let _ = self.state().wait_for(|state| !self.is_current(connection, state)).await;
    }

    /// Returns whether a connection is lost, by its number.
    #[cfg(feature = "calls")]
    pub(crate) fn is_lost(&self, connection: u64) -> bool {
        !self.is_current(connection, &self.shared.state.borrow())
    }

    #[cfg(feature = "calls")]
    fn is_current(&self, connection: u64, state: &State) -> bool {
        state.is_open() && self.shared.backlog.connection() == connection
    }

    /// Returns how many messages wait for a connection to accept them.
    pub fn queued_messages(&self) -> usize {
        self.shared.backlog.len()
    }
}

#[cfg(all(test, feature = "calls"))]
mod tests {
    use super::*;

    #[test]
    fn a_connection_is_lost_once_it_is_not_open_or_another_one_is() {
        let handle = Handle { shared: Arc::new(Shared::new(QueueLimits::new())) };
        assert!(handle.is_lost(1));
        handle.shared.backlog.opened(1);
        handle.shared.state.send_replace(State::Open);
        assert!(!handle.is_lost(1));
        handle.shared.state.send_replace(State::Connecting { attempt: 1 });
        assert!(handle.is_lost(1));
        handle.shared.backlog.opened(2);
        handle.shared.state.send_replace(State::Open);
        assert!(handle.is_lost(1) && !handle.is_lost(2));
    }
}
