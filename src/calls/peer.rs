//! The peer of a connection, to emit to and to call.

use std::{
    fmt,
    future::{Future, poll_fn},
    sync::Arc,
    time::Duration,
};

use serde::{Serialize, de::DeserializeOwned};
use tokio::time::timeout;

use super::{
    data, encode,
    error::CallError,
    limits::Limits,
    pending::{Answer, Pending, Ticket},
};
#[cfg(feature = "reconnect")]
use crate::reconnect::Handle;
use crate::{CloseCode, CloseFrame, Error, Message, Sender, Utf8Bytes};

/// The peer of a connection: emits events to it, and calls it.
///
/// It can be cloned, which is cheap, and used from any task. Over a connection, it sends as a
/// [`Sender`] does; over a client that reconnects, as its `Handle` does. The peer of a hook for a new
/// connection sends over that one alone.
///
/// ```
/// use fullduplex::calls::{CallError, Peer};
///
/// async fn ask(peer: &Peer) -> Result<bool, CallError> {
///     peer.emit("notice", "the class begins").await?;
///     peer.call("ready", &()).await
/// }
/// ```
#[derive(Clone)]
pub struct Peer {
    link: Link,
    pending: Arc<Pending>,
    max_calls: usize,
    timeout: Option<Duration>,
    #[cfg(feature = "reconnect")]
    resend: bool,
}

/// What a peer sends over.
#[derive(Debug, Clone)]
pub(super) enum Link {
    Connection(Sender),
    #[cfg(feature = "reconnect")]
    Client(Handle),
    /// One connection of a client, past its queue.
    #[cfg(feature = "reconnect")]
    Opened(Sender),
}

impl fmt::Debug for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Peer")
            .field("pending", &self.pending)
            .field("timeout", &self.timeout)
            .finish_non_exhaustive()
    }
}

impl Peer {
    pub(super) fn new(link: Link, limits: &Limits) -> Self {
        Self {
            link,
            pending: Arc::default(),
            max_calls: limits.max_calls,
            timeout: limits.call_timeout,
            #[cfg(feature = "reconnect")]
            resend: false,
        }
    }

    /// Queues an event, which the peer does not acknowledge.
    ///
    /// Waits for room, as [`Sender::feed`] does. The event is written by the task that runs the
    /// connection. The data is serialized by the call, before the future is polled.
    ///
    /// # Errors
    /// Returns [`CallError::Serialize`] if the data cannot be serialized, [`CallError::Closed`] if
    /// nothing more can be sent, and [`CallError::Full`] if the queue of a client that reconnects
    /// has dropped the event.
    ///
    /// # Cancel safety
    /// If the future is dropped before it completes, the event is not queued.
    pub fn emit<D: Serialize + ?Sized>(
        &self,
        event: &str,
        data: &D,
    ) -> impl Future<Output = Result<(), CallError>> + Send + use<D> {
        let (peer, message) = (self.clone(), encode::event(event, data));
        async move { peer.send(message?).await }
    }

    /// Calls the peer, and waits for its answer.
    ///
    /// The deadline includes the time that the call waits for room or, over a client that
    /// reconnects, for a connection. It is 10 seconds by default: see
    /// [`Limits::call_timeout`] and [`with_timeout`](Self::with_timeout). A call that was
    /// sent is not taken back when the deadline passes.
    ///
    /// ```
    /// use fullduplex::calls::{CallError, Peer};
    ///
    /// async fn vote(peer: &Peer) -> Option<u32> {
    ///     match peer.call("vote", "which number?").await {
    ///         Ok(number) => Some(number),
    ///         Err(CallError::Refused(why)) => {
    ///             println!("no vote: {why:?}");
    ///             None
    ///         }
    ///         Err(_) => None,
    ///     }
    /// }
    /// ```
    ///
    /// # Errors
    /// Returns [`CallError::Refused`], [`CallError::UnknownEvent`] or [`CallError::InvalidData`] if
    /// the peer answered so; [`CallError::MalformedAnswer`] if its answer is not of the type `T`; and
    /// otherwise why there is no answer.
    ///
    /// # Cancel safety
    /// Dropping the future forgets the call: its answer is ignored. The call is either sent as a
    /// whole or not at all.
    pub fn call<T: DeserializeOwned, D: Serialize + ?Sized>(
        &self,
        event: &str,
        data: &D,
    ) -> impl Future<Output = Result<T, CallError>> + Send + use<T, D> {
        let peer = self.clone();
        let begun = self.begin(event, data);
        async move {
            let (ticket, message) = begun?;
            let answer = match peer.timeout {
                Some(limit) => timeout(limit, peer.exchange(ticket, message)).await,
                None => Ok(peer.exchange(ticket, message).await),
            };
            let answer = answer.map_err(|_elapsed| CallError::Timeout)??;
            data::parse(answer.as_deref().map(|raw| raw.get())).map_err(CallError::MalformedAnswer)
        }
    }

    /// Returns the same peer with another deadline for its calls. `None` disables it.
    #[must_use]
    pub fn with_timeout(&self, timeout: impl Into<Option<Duration>>) -> Self {
        Self { timeout: timeout.into(), ..self.clone() }
    }

    /// Returns the same peer with calls that are sent again after a connection is lost.
    ///
    /// By default, a call fails with [`CallError::Lost`] if the connection is lost that had accepted
    /// it. With this, it is sent again over the next connection, with the same id, until it is
    /// answered or its deadline passes. The server may then handle it more than once, so it has to be
    /// idempotent. A call that was written as a whole is queued again behind the messages that wait;
    /// all other messages, including events, [keep their place](crate::reconnect::QueuedMessage::retry).
    ///
    /// This has no effect on the peer of a connection that is not replaced.
    #[cfg(feature = "reconnect")]
    #[cfg_attr(docsrs, doc(cfg(feature = "reconnect")))]
    #[must_use]
    pub fn with_resend(&self, resend: bool) -> Self {
        Self { resend, ..self.clone() }
    }

    /// Closes the connection with this code and reason, after what is queued.
    ///
    /// A client that reconnects is closed as well: it does not connect again. This does not wait.
    ///
    /// # Errors
    /// Returns [`Error::InvalidClose`] if the code or reason cannot be sent, and [`Error::Closed`] if
    /// a Close is already queued or the connection has ended.
    pub fn close(&self, code: CloseCode, reason: impl Into<Utf8Bytes>) -> Result<(), Error> {
        match &self.link {
            Link::Connection(sender) => sender.start_close(Some(CloseFrame::new(code, reason)?))?,
            #[cfg(feature = "reconnect")]
            Link::Client(handle) => handle.close(code, reason)?,
            #[cfg(feature = "reconnect")]
            Link::Opened(sender) => sender.start_close(Some(CloseFrame::new(code, reason)?))?,
        }
        self.pending.wake();
        Ok(())
    }

    /// Returns the sender of the connection, for everything else that it can do.
    ///
    /// Returns `None` for a client that reconnects, which has a `Handle` instead.
    ///
    /// A message that is only [fed](Sender::feed) may wait until the next event is handled, if
    /// [so many](Limits::max_waiting) wait that nothing is received.
    pub fn sender(&self) -> Option<&Sender> {
        match &self.link {
            Link::Connection(sender) => Some(sender),
            #[cfg(feature = "reconnect")]
            Link::Client(_) => None,
            #[cfg(feature = "reconnect")]
            Link::Opened(sender) => Some(sender),
        }
    }

    /// Returns the handle of a client that reconnects; `None` for any other connection.
    #[cfg(feature = "reconnect")]
    #[cfg_attr(docsrs, doc(cfg(feature = "reconnect")))]
    pub fn handle(&self) -> Option<&Handle> {
        match &self.link {
            Link::Client(handle) => Some(handle),
            Link::Connection(_) | Link::Opened(_) => None,
        }
    }

    pub(super) fn pending(&self) -> &Arc<Pending> {
        &self.pending
    }

    /// Queues a message.
    pub(super) async fn send(&self, message: Message) -> Result<(), CallError> {
        match &self.link {
            Link::Connection(sender) => self.feed(sender, message).await,
            #[cfg(feature = "reconnect")]
            Link::Client(handle) => self.queue(handle, message).await,
            #[cfg(feature = "reconnect")]
            Link::Opened(sender) => self.feed_opened(sender, message).await,
        }
    }

    /// Queues an answer for the connection that its call has arrived over, by its number.
    #[cfg_attr(not(feature = "reconnect"), allow(unused_variables, reason = "there is only one connection"))]
    pub(super) async fn answer(&self, number: u64, message: Message) -> Result<(), CallError> {
        match &self.link {
            Link::Connection(sender) => self.feed(sender, message).await,
            #[cfg(feature = "reconnect")]
            Link::Client(handle) => self.answer_with_client(handle, number, message).await,
            #[cfg(feature = "reconnect")]
            Link::Opened(sender) => self.feed_opened(sender, message).await,
        }
    }

    async fn feed(&self, sender: &Sender, message: Message) -> Result<(), CallError> {
        let fed = sender.feed(message).await;
        // It has to be written, and its answer may be behind events that would not be received.
        self.pending.wake();
        fed.map_err(|error| {
            self.pending.keep(error);
            CallError::Closed
        })
    }

    fn begin<D: Serialize + ?Sized>(&self, event: &str, data: &D) -> Result<(Ticket, Message), CallError> {
        let ticket = self.pending.register(self.max_calls)?;
        let message = encode::call(event, ticket.id(), data)?;
        Ok((ticket, message))
    }

    async fn exchange(&self, mut ticket: Ticket, message: Message) -> Answer {
        match &self.link {
            Link::Connection(sender) => {
                self.feed(sender, message).await?;
                poll_fn(|cx| ticket.poll_answer(cx)).await
            }
            #[cfg(feature = "reconnect")]
            Link::Client(handle) => self.exchange_with_client(handle, ticket, message).await,
            #[cfg(feature = "reconnect")]
            Link::Opened(sender) => self.exchange_opened(sender, ticket, message).await,
        }
    }
}

#[cfg(feature = "reconnect")]
mod client {
    use std::{
        future::{Future, poll_fn},
        pin::pin,
        task::Poll,
    };

    use super::{Answer, CallError, Link, Message, Peer, Sender, Ticket};
    use crate::reconnect::{Delivery, Handle, QueuedMessage};

    impl Peer {
        /// Returns the same peer over one connection of the client, past the queue.
        pub(in crate::calls) fn over(&self, sender: Sender) -> Self {
            // Those that wait for the hook must not keep it from calling.
            let max_calls = self.max_calls.saturating_mul(2);
            Self { link: Link::Opened(sender), max_calls, ..self.clone() }
        }

        /// Queues a message for the next connection, if none is open.
        pub(super) async fn queue(&self, handle: &Handle, message: Message) -> Result<(), CallError> {
            let message = QueuedMessage::new(message).retry(self.resend);
            let mut receipt = handle.send(message).await.map_err(|_closed| CallError::Closed)?;
            if receipt.try_get() == Some(Delivery::Dropped) { Err(not_sent(handle)) } else { Ok(()) }
        }

        /// Queues an answer for one connection. The next connection knows nothing of the call, and may
        /// use the same id.
        pub(super) async fn answer_with_client(
            &self,
            handle: &Handle,
            connection: u64,
            message: Message,
        ) -> Result<(), CallError> {
            if let Some(sender) = self.pending.hooked_sender(connection) {
                // The hook may be waiting for what the peer does with the answer.
                return self.feed_opened(&sender, message).await;
            }
            if handle.is_lost(connection) {
                return Err(CallError::Closed);
            }
            let message = QueuedMessage::new(message).only(connection);
            handle.send(message).await.map(drop).map_err(|_closed| CallError::Closed)
        }

        /// Queues a message for one connection. Its error is returned by the client.
        pub(super) async fn feed_opened(&self, sender: &Sender, message: Message) -> Result<(), CallError> {
            let fed = sender.feed(message).await;
            self.pending.wake();
            fed.map_err(|_ended| CallError::Closed)
        }

        pub(super) async fn exchange_opened(
            &self,
            sender: &Sender,
            mut ticket: Ticket,
            message: Message,
        ) -> Answer {
            self.feed_opened(sender, message).await?;
            // Calls over other connections of the client continue to wait.
            either(&mut ticket, sender.closed()).await.unwrap_or(Err(CallError::Lost))
        }

        pub(super) async fn exchange_with_client(
            &self,
            handle: &Handle,
            mut ticket: Ticket,
            message: Message,
        ) -> Answer {
            let mut lost = false;
            loop {
                let queued = handle.send(QueuedMessage::new(message.clone()).retry(self.resend)).await;
                let Ok(mut receipt) = queued else {
                    return Err(if lost { CallError::Lost } else { CallError::Closed });
                };
                let (delivery, connection) = match either(&mut ticket, receipt.with_connection()).await {
                    // The client has ended, and the call was still queued.
                    Ok(Err(CallError::Lost)) if !lost && receipt.try_get() == Some(Delivery::Dropped) => {
                        return Err(CallError::Closed);
                    }
                    Ok(answer) => return answer,
                    Err(outcome) => outcome,
                };
                match delivery {
                    Delivery::Sent => {
                        if let Ok(answer) = either(&mut ticket, handle.lost(connection)).await {
                            return answer;
                        }
                    }
                    Delivery::Dropped if lost => return Err(CallError::Lost),
                    Delivery::Dropped => return Err(not_sent(handle)),
                    _ => {}
                }
                if !self.resend {
                    return Err(CallError::Lost);
                }
                lost = true;
            }
        }
    }

    /// Returns why a client has dropped a message.
    fn not_sent(handle: &Handle) -> CallError {
        if handle.is_closed() { CallError::Closed } else { CallError::Full }
    }

    /// Waits for the answer or for something else; the answer is preferred.
    async fn either<F: Future>(ticket: &mut Ticket, other: F) -> Result<Answer, F::Output> {
        let mut other = pin!(other);
        poll_fn(|cx| match ticket.poll_answer(cx) {
            Poll::Ready(answer) => Poll::Ready(Ok(answer)),
            Poll::Pending => other.as_mut().poll(cx).map(Err),
        })
        .await
    }
}
