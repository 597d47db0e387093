//! The sending half of a split connection.

use std::{
    future::{Future, poll_fn},
    pin::pin,
    sync::Arc,
    task::{Context, Poll},
};

#[cfg(feature = "hub")]
use tokio::runtime::Handle;
use tokio::sync::{SemaphorePermit, TryAcquireError};

use super::{
    direct::Written,
    shared::Shared,
    sink::SenderSink,
    transmit::Transmit,
    wait_list::{Ticket, Wait},
};
#[cfg(feature = "hub")]
use crate::PreparedMessage;
use crate::{
    CloseCode, CloseFrame, Error, Outgoing, Utf8Bytes,
    proto::{MAX_CONTROL_PAYLOAD, SendError, SendPath},
    stream::watchdog::Watchdog,
};

/// The sending half of a split connection, which can be cloned for any number of tasks and threads.
///
/// Messages are sent as a whole and in the order of the calls. Senders that wait for room are
/// served in the order in which they began to wait.
///
/// # When bytes are written
/// [`send`](Self::send) and [`flush`](Self::flush) write to the stream themselves. A message that
/// is only [fed](Self::feed) wakes the [`Receiver`](super::Receiver) if that is waiting, which
/// writes it; a burst of such messages costs one write. If the receiver is busy, the message is
/// written by its next call, or by the next `send` or `flush` of any sender.
///
/// # Deadlines
/// The connection ends if the stream accepts nothing for
/// [`write_timeout`](crate::Config::write_timeout), or once our Close is queued for
/// [`close_timeout`](crate::Config::close_timeout); also if it accepts bytes too slowly, as
/// [`min_write_rate`](crate::Config::min_write_rate) and
/// [`total_close_timeout`](crate::Config::total_close_timeout) define. All are checked while the receiver is polled
/// or a sender waits. Outside of a tokio runtime, a sender uses the timers of the runtime in which
/// the connection was split, and checks no deadline if it was not split in one. A sender that waits
/// in a runtime whose timers are not enabled panics.
///
/// # Errors
/// Once the connection is closing or the receiver has been dropped, every call fails with
/// [`Error::Closed`]. The error that ended the connection is returned once, by the first call that
/// encounters it.
#[derive(Debug, Clone)]
pub struct Sender {
    pub(super) shared: Arc<Shared<dyn Transmit>>,
}

impl Sender {
    pub(super) fn new(shared: Arc<Shared<dyn Transmit>>) -> Self {
        Self { shared }
    }

    /// Queues a message and flushes the connection.
    ///
    /// This is [`feed`](Self::feed) followed by [`flush`](Self::flush).
    ///
    /// # Errors
    /// Returns [`Error::Closed`] if nothing more can be sent, and otherwise the error that ended
    /// the connection.
    ///
    /// # Cancel safety
    /// If the future is dropped, the message is either queued as a whole or not at all. Use
    /// [`reserve`](Self::reserve) to know which of the two has happened.
    pub async fn send<'m>(&self, message: impl Into<Outgoing<'m>>) -> Result<(), Error> {
        match self.feed_and(message.into(), Self::write_direct, |_, target| Written::Until(target)).await? {
            Written::Flushed => Ok(()),
            Written::Until(target) => self.flush_through(target).await,
        }
    }

    /// Waits for room and queues a message.
    ///
    /// The message is written at once if the receiver is waiting, and otherwise by the next call
    /// that receives or flushes. Once 64 KiB wait to be compressed, this attempts to compress and
    /// write them.
    ///
    /// There is room if nothing is queued, or if what is queued and the new frame together do not
    /// exceed [`max_write_buffer_size`](crate::Config::max_write_buffer_size).
    ///
    /// # Errors
    /// Returns the same errors as [`send`](Self::send).
    ///
    /// # Cancel safety
    /// If the future is dropped before it completes, the message is not queued. Once it has
    /// returned, it is.
    pub fn feed<'m>(&self, message: impl Into<Outgoing<'m>>) -> impl Future<Output = Result<(), Error>> {
        let queued_only = |_: &Self, _: &mut Outgoing<'_>| None;
        self.feed_and(message.into(), queued_only, |sender, _target| {
            sender.shared.compress_full_turn();
            sender.shared.wait_list.wake_waiting_receiver()
        })
    }

    /// Waits until all messages that were queued before this call are written and flushed.
    ///
    /// Pings and pongs are written too, but this does not wait for them.
    ///
    /// The first poll attempts to write what is queued. A task that does not poll the receiver, and does
    /// not wait, polls the future once and drops it:
    ///
    /// ```
    /// use std::{future::Future, pin::pin, task::{Context, Waker}};
    /// use fullduplex::Sender;
    ///
    /// fn write_now(sender: &Sender) {
    ///     let flush = pin!(sender.flush());
    ///     // What the stream does not accept now is written when the receiver is next polled.
    ///     let _ = flush.poll(&mut Context::from_waker(Waker::noop()));
    /// }
    /// ```
    ///
    /// # Errors
    /// Returns the same errors as [`send`](Self::send).
    ///
    /// # Cancel safety
    /// Dropping the future loses nothing: the rest stays queued.
    pub fn flush(&self) -> impl Future<Output = Result<(), Error>> + Send + '_ {
        self.flush_through(self.shared.flush_target())
    }

    /// Queues a message without waiting.
    ///
    /// If the receiver is waiting, it is woken and writes the message. Otherwise this attempts one
    /// write, which does not block. What remains is written when any half next receives, sends or
    /// flushes. This includes messages that are not compressed yet, because one call compresses
    /// only a little.
    ///
    /// The receiver is waiting while the future of one of its async methods is pending. If it is
    /// read as an [`AsyncRead`](tokio::io::AsyncRead) or a `Stream`, it counts as waiting until it
    /// returns something, even if it is no longer polled.
    ///
    /// # Errors
    /// Returns [`TrySendError::Full`] if there is no room or others are waiting for it, and
    /// [`TrySendError::Closed`] if nothing more can be sent. Both contain the message.
    pub fn try_send<'a>(&self, message: impl Into<Outgoing<'a>>) -> Result<(), TrySendError<'a>> {
        let mut outgoing = message.into();
        let need = self.shared.need(outgoing.len());
        let mut room = self.shared.room().try_acquire_many(need);
        if let Err(TryAcquireError::NoPermits) = room {
            // The receiver may have been woken and not polled yet: writing what waits for it can
            // make room now.
            self.shared.drive();
            room = self.shared.room().try_acquire_many(need);
        }
        let room = match room {
            Ok(room) => room,
            Err(TryAcquireError::NoPermits) => return Err(TrySendError::Full(outgoing)),
            Err(TryAcquireError::Closed) => return Err(TrySendError::Closed(outgoing)),
        };
        if self.queue(&mut outgoing, room).is_err() {
            return Err(TrySendError::Closed(outgoing));
        }
        if !self.shared.wait_list.wake_receiver() {
            self.shared.drive();
        }
        Ok(())
    }

    /// Writes a message at once if nothing is queued, and otherwise does what
    /// [`try_send`](Self::try_send) does.
    ///
    /// This costs less if each connection is sent one message, because no receiver has to be woken.
    #[cfg(feature = "hub")]
    pub(crate) fn try_send_now<'a>(&self, message: &'a PreparedMessage) -> Result<(), TrySendError<'a>> {
        if self.shared.write_prepared(message).is_some() {
            self.shared.count_sent(1);
            return Ok(());
        }
        let mut outgoing = message.into();
        match self.write_direct(&mut outgoing) {
            Some(_) => Ok(()),
            None => self.try_send(outgoing),
        }
    }

    /// Reads from the memory that `try_send_now` uses. Returns a number that depends on all that was
    /// read.
    #[cfg(feature = "hub")]
    #[inline]
    pub(crate) fn preload(&self) -> usize {
        self.shared.preload()
    }

    /// Returns whether more than a quarter of the write buffer is queued.
    #[cfg(feature = "hub")]
    pub(crate) fn has_much_queued(&self) -> bool {
        self.queued_bytes() > self.shared.capacity() as usize / 4
    }

    /// Returns the runtime of the caller, or the one in which the connection was split.
    #[cfg(feature = "hub")]
    pub(crate) fn runtime(&self) -> Option<Handle> {
        Handle::try_current().ok().or_else(|| self.shared.runtime().cloned())
    }

    /// Waits for room for one message of at most `payload_len` bytes.
    ///
    /// This is for use in `select!`, in which a dropped [`feed`](Self::feed) would drop its
    /// message. The room is reserved until the permit is dropped.
    ///
    /// # Errors
    /// Returns the same errors as [`send`](Self::send).
    ///
    /// # Cancel safety
    /// If the future or the permit is dropped, nothing is queued.
    pub async fn reserve(&self, payload_len: usize) -> Result<SendPermit<'_>, Error> {
        let room = self.room(self.shared.need(payload_len)).await?;
        Ok(SendPermit { sender: self, room, unused: WakeForRoom(Some(&*self.shared)), payload_len })
    }

    /// Queues a ping with at most 125 bytes of payload data, and attempts to write it.
    ///
    /// The ping overtakes queued messages.
    ///
    /// # Errors
    /// Returns [`Error::Send`] if the payload is longer, without sending anything; otherwise the
    /// same errors as [`send`](Self::send).
    ///
    /// # Cancel safety
    /// If the future is dropped, the ping is either queued as a whole or not at all.
    pub async fn ping(&self, payload: impl AsRef<[u8]> + Send) -> Result<(), Error> {
        let len = payload.as_ref().len();
        if len > MAX_CONTROL_PAYLOAD {
            return Err(Error::Send(SendError::PingTooLong(len)));
        }
        self.room_for_control().await?;
        // Recorded before it is queued, because its pong may be received at once.
        self.shared.pinged(payload.as_ref());
        self.shared.with_send(0, |send, key, buffers| send.ping(payload.as_ref(), key, buffers))?;
        self.shared.drive();
        Ok(())
    }

    /// Queues a pong with at most 125 bytes of payload data, and attempts to write it.
    ///
    /// The pong overtakes queued messages. The receiver answers pings without this, unless
    /// [`Config::automatic_pongs`](crate::Config::automatic_pongs) is disabled.
    ///
    /// # Errors
    /// Returns [`Error::Send`] if the payload is longer, without sending anything; otherwise the
    /// same errors as [`send`](Self::send).
    ///
    /// # Cancel safety
    /// If the future is dropped, the pong is either queued as a whole or not at all.
    pub async fn pong(&self, payload: impl AsRef<[u8]> + Send) -> Result<(), Error> {
        let len = payload.as_ref().len();
        if len > MAX_CONTROL_PAYLOAD {
            return Err(Error::Send(SendError::PongTooLong(len)));
        }
        self.room_for_control().await?;
        self.shared.with_send(0, |send, key, buffers| send.pong(payload.as_ref(), key, buffers))?;
        self.shared.drive();
        Ok(())
    }

    /// Queues our Close after the messages that are already queued, and flushes the connection.
    ///
    /// The [`Receiver`](super::Receiver) completes the closing handshake.
    ///
    /// # Errors
    /// Returns [`Error::InvalidClose`] if the code or reason cannot be sent, without sending
    /// anything; [`Error::Closed`] if a Close has already been queued; and [`Error::Timeout`] if
    /// the stream accepts nothing for [`close_timeout`](crate::Config::close_timeout), or not all of
    /// it within [`total_close_timeout`](crate::Config::total_close_timeout). Otherwise
    /// returns the same errors as [`send`](Self::send).
    ///
    /// # Cancel safety
    /// The Close is queued before the first await.
    pub async fn close(&self, code: CloseCode, reason: impl Into<Utf8Bytes>) -> Result<(), Error> {
        self.close_with(Some(CloseFrame::new(code, reason)?)).await
    }

    /// Closes the connection as [`close`](Self::close) does, with an existing Close frame.
    ///
    /// `None` sends a Close without a code.
    ///
    /// # Errors
    /// Returns the same errors as [`close`](Self::close).
    ///
    /// # Cancel safety
    /// The Close is queued before the first await.
    pub async fn close_with(&self, frame: Option<CloseFrame>) -> Result<(), Error> {
        self.start_close(frame)?;
        self.flush().await
    }

    /// Queues our Close after the messages that are already queued, without waiting.
    ///
    /// The [`Receiver`](super::Receiver) writes it and completes the closing handshake. `None`
    /// sends a Close without a code.
    ///
    /// # Errors
    /// Returns [`Error::Closed`] if a Close is already queued or sent, or the connection has ended.
    pub fn start_close(&self, frame: Option<CloseFrame>) -> Result<(), Error> {
        if self.is_closed() {
            return Err(self.shared.why_closed());
        }
        Ok(self.shared.with_send(0, |send, key, buffers| send.close(frame.as_ref(), key, buffers))?)
    }

    /// Ends the connection at once.
    ///
    /// Drops the stream without sending a Close, and everything that is queued. The receiver then
    /// returns `Ok(None)`, and senders fail with [`Error::Closed`].
    pub fn abort(&self) {
        self.shared.abort();
    }

    /// Waits until nothing more can be sent: a Close is queued, or the connection has ended.
    ///
    /// # Cancel safety
    /// Dropping the future changes nothing.
    pub async fn closed(&self) {
        self.shared.closed().await;
    }

    /// Returns a sink that sends over this connection.
    pub fn sink(&self) -> SenderSink {
        SenderSink::new(self.clone())
    }

    /// Returns `true` if nothing more can be sent.
    pub fn is_closed(&self) -> bool {
        self.shared.room().is_closed()
    }

    /// Returns how many bytes are queued or staged, and not yet accepted by the stream.
    ///
    /// A message that has not been compressed yet counts with the length of its uncompressed frame.
    pub fn queued_bytes(&self) -> usize {
        self.shared.queued_bytes()
    }

    /// Waits until another ping or pong may be queued. They overtake messages and take no room from
    /// them.
    async fn room_for_control(&self) -> Result<(), Error> {
        let (mut ticket, mut watchdog) = (Ticket::default(), Watchdog::default());
        poll_fn(|cx| {
            let has_room = |send: &SendPath, _| send.has_room_for_ping();
            self.poll_for(cx, Wait::Control, &mut ticket, &mut watchdog, has_room)
        })
        .await
    }

    /// Sends a message by `direct`. If that returns `None`, waits for room, queues the message, and
    /// calls `done` with the position that a flush has to reach.
    #[allow(clippy::manual_async_fn, reason = "an async fn keeps the message twice")]
    fn feed_and<T>(
        &self,
        mut outgoing: Outgoing<'_>,
        direct: impl FnOnce(&Self, &mut Outgoing<'_>) -> Option<T>,
        done: impl FnOnce(&Self, u64) -> T,
    ) -> impl Future<Output = Result<T, Error>> {
        async move {
            if let Some(sent) = direct(self, &mut outgoing) {
                return Ok(sent);
            }
            let need = self.shared.need(outgoing.len());
            // This fails while others wait, so that room is granted in order.
            let queued = match self.shared.room().try_acquire_many(need) {
                Ok(room) => self.queue(&mut outgoing, room).map_err(|error| self.shared.error(error)),
                // Boxed to keep the tasks of senders that need not wait small.
                Err(_) => Box::pin(self.feed_in_turn(outgoing, need)).await,
            };
            queued.map(|target| done(self, target))
        }
    }

    /// Waits until everything up to position `target` is written and the stream is flushed.
    async fn flush_through(&self, target: u64) -> Result<(), Error> {
        if self.shared.is_flushed(target)? {
            return Ok(());
        }
        self.shared.drive();
        if self.shared.is_flushed(target)? {
            return Ok(());
        }
        let mut ticket = Ticket::default();
        Box::pin(self.watch(poll_fn(move |cx| self.poll_flushed(target, &mut ticket, cx)))).await
    }

    /// Waits in turn for room, and queues a message.
    async fn feed_in_turn(&self, mut outgoing: Outgoing<'_>, need: u32) -> Result<u64, Error> {
        let room = self.room(need).await?;
        self.queue(&mut outgoing, room).map_err(|error| self.shared.error(error))
    }

    /// Waits for room.
    pub(super) async fn room(&self, need: u32) -> Result<SemaphorePermit<'_>, Error> {
        // A future that is dropped while it waits releases what it has acquired so far.
        let mut release_guard = WakeForRoom(None);
        let mut ticket = Ticket::default();
        let acquired = self.shared.room().acquire_many(need);
        let mut acquired = pin!(acquired);
        let acquired = poll_fn(|cx| {
            let acquired = acquired.as_mut().poll(cx);
            release_guard.0 = acquired.is_pending().then_some(&*self.shared);
            if acquired.is_pending() {
                // Possibly no other task writes what occupies the room, so this one does.
                self.shared.wait_list.register_sender(&mut ticket, cx.waker(), Wait::Room);
                self.shared.drive();
            }
            acquired
        });
        self.watch(acquired).await.map_err(|_closed| self.shared.why_closed())
    }

    /// Waits for `work`, which completes once the stream accepts bytes, within
    /// [`write_timeout`](crate::Config::write_timeout). The receiver may not be polled to check the
    /// deadline.
    async fn watch<T>(&self, work: impl Future<Output = T>) -> T {
        let (mut work, mut watchdog) = (pin!(work), Watchdog::default());
        poll_fn(|cx| {
            let done = work.as_mut().poll(cx);
            if done.is_pending() {
                self.shared.watch(&mut watchdog, cx);
            }
            done
        })
        .await
    }

    /// Returns ready once `ask` returns `true`. It is asked again whenever the stream has accepted
    /// something.
    pub(super) fn poll_for(
        &self,
        cx: &mut Context<'_>,
        wait: Wait,
        ticket: &mut Ticket,
        watchdog: &mut Watchdog,
        condition: impl Fn(&SendPath, usize) -> bool,
    ) -> Poll<Result<(), Error>> {
        if self.shared.check(&condition)? {
            return Poll::Ready(Ok(()));
        }
        // Registered before the attempt to write, so that no wake-up is lost.
        self.shared.wait_list.register_sender(ticket, cx.waker(), wait);
        self.shared.drive();
        if self.shared.check(&condition)? {
            return Poll::Ready(Ok(()));
        }
        self.shared.watch(watchdog, cx);
        Poll::Pending
    }

    /// Writes a message at once, if nothing is ahead of it.
    fn write_direct(&self, outgoing: &mut Outgoing<'_>) -> Option<Written> {
        let written = self.shared.write_direct(outgoing)?;
        self.shared.count_sent(1);
        Some(written)
    }

    /// Queues a message and returns the position that a flush has to reach. If nothing more can be
    /// sent, the message is left intact.
    #[inline]
    pub(super) fn queue(
        &self,
        outgoing: &mut Outgoing<'_>,
        room: SemaphorePermit<'_>,
    ) -> Result<u64, SendError> {
        let target = self.shared.queue(outgoing, room)?;
        self.shared.count_sent(1);
        // A message that is only fed takes room from senders that wait for it and expect it to be
        // written.
        if self.shared.wait_list.is_room_wanted() {
            self.shared.drive();
        }
        Ok(target)
    }

    pub(super) fn poll_flushed(
        &self,
        target: u64,
        ticket: &mut Ticket,
        cx: &mut Context<'_>,
    ) -> Poll<Result<(), Error>> {
        if self.shared.is_flushed(target)? {
            return Poll::Ready(Ok(()));
        }
        // Registered before the attempt to write, so that no wake-up is lost.
        self.shared.wait_list.register_sender(ticket, cx.waker(), Wait::Flush);
        self.shared.drive();
        if self.shared.is_flushed(target)? { Poll::Ready(Ok(())) } else { Poll::Pending }
    }
}

/// Room for one message, reserved by [`Sender::reserve`].
#[derive(Debug)]
pub struct SendPermit<'a> {
    sender: &'a Sender,
    room: SemaphorePermit<'a>,
    /// Dropped after the room.
    unused: WakeForRoom<'a>,
    payload_len: usize,
}

/// When dropped, wakes the senders that wait for room outside of the semaphore: sinks.
#[derive(Debug)]
struct WakeForRoom<'a>(Option<&'a Shared<dyn Transmit>>);

impl Drop for WakeForRoom<'_> {
    fn drop(&mut self) {
        if let Some(shared) = self.0 {
            shared.wake_for_room();
        }
    }
}

impl SendPermit<'_> {
    /// Queues a message without waiting.
    ///
    /// # Errors
    /// Returns [`Error::Send`] if the message is longer than what was reserved, without queueing
    /// it, and [`Error::Closed`] if nothing more can be sent.
    pub fn feed<'m>(self, message: impl Into<Outgoing<'m>>) -> Result<(), Error> {
        let mut outgoing = message.into();
        let len = outgoing.len();
        if len > self.payload_len {
            return Err(Error::Send(SendError::BeyondPermit { len, reserved: self.payload_len }));
        }
        let Self { sender, room, mut unused, .. } = self;
        unused.0 = None;
        sender.queue(&mut outgoing, room).map_err(|error| sender.shared.error(error))?;
        sender.shared.wait_list.wake_waiting_receiver();
        Ok(())
    }
}

/// The reason why [`Sender::try_send`] did not queue a message, with that message.
///
/// It borrows what the message borrows. For an owned message it is a `TrySendError<'static>`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TrySendError<'a> {
    /// There is no room, or others are waiting for it.
    #[error("no room in the write buffer")]
    Full(Outgoing<'a>),
    /// Nothing more can be sent.
    #[error("connection closed")]
    Closed(Outgoing<'a>),
}

impl<'a> TrySendError<'a> {
    /// Returns the message that was not queued.
    pub fn into_outgoing(self) -> Outgoing<'a> {
        match self {
            Self::Full(outgoing) | Self::Closed(outgoing) => outgoing,
        }
    }

    /// Converts this into an error that borrows nothing, which can be stored or boxed.
    ///
    /// ```
    /// # use std::error::Error;
    /// # use fullduplex::{Sender, TrySendError};
    /// fn publish(sender: &Sender, line: &str) -> Result<(), Box<dyn Error + Send + Sync>> {
    ///     Ok(sender.try_send(line).map_err(TrySendError::into_owned)?)
    /// }
    /// ```
    pub fn into_owned(self) -> TrySendError<'static> {
        match self {
            Self::Full(outgoing) => TrySendError::Full(outgoing.into_owned()),
            Self::Closed(outgoing) => TrySendError::Closed(outgoing.into_owned()),
        }
    }
}

#[cfg(all(test, not(fullduplex_loom)))]
mod tests {
    use std::{pin::pin, task::Waker};

    use super::{super::tests::split, *};
    use crate::{Config, stream::test_stream::TestStream};

    /// Returns whether a ping is queued without waiting.
    fn pings(sender: &Sender, payload: &[u8]) -> Result<bool, Error> {
        match pin!(sender.ping(payload)).poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(queued) => queued.map(|()| true),
            Poll::Pending => Ok(false),
        }
    }

    /// RFC 6455 section 5.5.
    #[tokio::test]
    async fn a_ping_has_at_most_125_bytes() {
        let (_receiver, sender) = split(&TestStream::default(), &Config::new());
        assert!(pings(&sender, b"").expect("open") && pings(&sender, &[0; 125]).expect("open"));
        assert!(matches!(pings(&sender, &[0; 126]), Err(Error::Send(SendError::PingTooLong(126)))));
    }

    #[tokio::test]
    async fn a_ping_waits_while_8_kib_of_them_are_queued() {
        let stream = TestStream::limited(0);
        let (_receiver, sender) = split(&stream, &Config::new());
        let queued = (0..1000).take_while(|_| pings(&sender, &[0; 125]).expect("open")).count();
        assert!((65..=70).contains(&queued), "{queued}");
        stream.state().room = None;
        assert!(pings(&sender, b"").expect("open"));
    }

    #[tokio::test]
    async fn a_message_is_written_at_once_unless_the_receiver_waits() {
        let stream = TestStream::default();
        let (mut receiver, sender) = split(&stream, &Config::new());
        sender.try_send("a").expect("open");
        assert_eq!(stream.take_written(), b"\x81\x01a");
        let mut received = pin!(receiver.recv());
        assert!(received.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
        sender.try_send("b").expect("open");
        assert_eq!(stream.take_written(), b"", "the receiver writes it");
        assert!(received.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
        assert_eq!(stream.take_written(), b"\x81\x01b");
    }
}
