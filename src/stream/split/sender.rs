//! The sending half of a split connection.

use std::{
    future::{Future, poll_fn},
    pin::pin,
    sync::Arc,
    task::{Context, Poll},
};

use tokio::sync::{SemaphorePermit, TryAcquireError};

use super::{
    parked::{Ticket, Wait},
    shared::{Shared, Transmit},
    sink::SenderSink,
};
use crate::{
    CloseCode, CloseFrame, Error, Outgoing, Utf8Bytes,
    proto::{MAX_CONTROL_PAYLOAD, SendError, SendPath},
    stream::watchdog::Watchdog,
};

/// The sending half of a split connection: any number of clones, in any tasks and threads.
///
/// Messages leave whole and in the order of the calls. Senders that wait for room are served first come, first served.
///
/// # When bytes leave
/// [`send`](Self::send) and [`flush`](Self::flush) drive the stream themselves. A message that is only
/// [fed](Self::feed) wakes the [`Receiver`](super::Receiver) if that waits, which writes it; a burst of them costs one
/// write. If the receiver is busy, the message leaves with its next call, or with the next `send` or `flush` of any sender.
///
/// # Deadlines
/// A stream that takes nothing for [`write_timeout`](crate::Config::write_timeout), or once our Close is queued for
/// [`close_timeout`](crate::Config::close_timeout), ends the connection, whether the receiver is polled or a sender waits.
/// A sender that is used outside of a tokio runtime has its timers in the runtime in which the connection was split.
///
/// # Errors
/// Once the connection closes, or the receiver is dropped, every call fails with [`Error::Closed`]. The error that ended
/// the connection is returned once, to the first call that notices.
#[derive(Debug, Clone)]
pub struct Sender {
    pub(super) shared: Arc<Shared<dyn Transmit>>,
}

impl Sender {
    pub(super) fn new(shared: Arc<Shared<dyn Transmit>>) -> Self {
        Self { shared }
    }

    /// Queues a message and flushes: [`feed`](Self::feed), then [`flush`](Self::flush).
    ///
    /// # Errors
    /// [`Error::Closed`] where nothing can be sent any more, else what ended the connection.
    ///
    /// # Cancel safety
    /// The message is queued whole or not at all; [`reserve`](Self::reserve) tells which.
    pub async fn send<'m>(&self, message: impl Into<Outgoing<'m>>) -> Result<(), Error> {
        let target = self.feed_and(message.into(), |_, target| target).await?;
        self.flush_through(target).await
    }

    /// Waits for room, and queues a message. It leaves at once if the receiver waits, else with the next call that receives
    /// or flushes.
    ///
    /// There is room where nothing is queued, or what is queued and the new frame are within
    /// [`max_write_buffer_size`](crate::Config::max_write_buffer_size).
    ///
    /// # Errors
    /// As [`send`](Self::send).
    ///
    /// # Cancel safety
    /// Dropped: the message is not queued. Returned: it is.
    pub fn feed<'m>(&self, message: impl Into<Outgoing<'m>>) -> impl Future<Output = Result<(), Error>> {
        self.feed_and(message.into(), |sender, _target| sender.shared.parked.wake_waiting_receiver())
    }

    /// Waits until all messages that were queued when it was called are written and the stream is flushed. Pings and pongs
    /// are written too, but not waited for.
    ///
    /// # Errors
    /// As [`send`](Self::send).
    ///
    /// # Cancel safety
    /// Dropping the future loses nothing: what is left stays queued.
    pub fn flush(&self) -> impl Future<Output = Result<(), Error>> + Send + '_ {
        self.flush_through(self.shared.flush_target())
    }

    /// Queues a message without waiting. Where the receiver waits, it is woken and writes; else one write is attempted that
    /// does not wait. What is left behind after that leaves when anyone next receives, sends or flushes: also what is left to
    /// be compressed, for one call compresses little.
    ///
    /// A receiver waits while one of its async methods does; where it is read by way of
    /// [`AsyncRead`](tokio::io::AsyncRead) or `Stream`, until it gives something, even if nobody polls it any more.
    ///
    /// # Errors
    /// [`TrySendError::Full`] where there is no room, or others wait for it; [`TrySendError::Closed`]. Both give the message
    /// back.
    pub fn try_send<'a>(&self, message: impl Into<Outgoing<'a>>) -> Result<(), TrySendError<'a>> {
        let mut outgoing = message.into();
        let need = self.shared.need(outgoing.len());
        let mut room = self.shared.room().try_acquire_many(need);
        if let Err(TryAcquireError::NoPermits) = room {
            // A receiver that was woken may not have had its turn: what waits for it can make room now.
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
        if !self.shared.parked.wake_receiver() {
            self.shared.drive();
        }
        Ok(())
    }

    /// Waits for room for one message of at most `payload_len` bytes: for use in `select!`, where a dropped
    /// [`feed`](Self::feed) would take its message along. The room is kept until the permit is dropped.
    ///
    /// # Errors
    /// As [`send`](Self::send).
    ///
    /// # Cancel safety
    /// Dropping the future, or the permit, queues nothing.
    pub async fn reserve(&self, payload_len: usize) -> Result<SendPermit<'_>, Error> {
        let room = self.room(self.shared.need(payload_len)).await?;
        Ok(SendPermit { sender: self, room, unused: WakeForRoom(Some(&*self.shared)), payload_len })
    }

    /// Queues a ping with at most 125 bytes of payload data, ahead of queued messages, and attempts to write it.
    ///
    /// # Errors
    /// [`Error::Send`] for a longer payload, and then nothing is sent; else as [`send`](Self::send).
    ///
    /// # Cancel safety
    /// The ping is queued whole or not at all.
    pub async fn ping(&self, payload: impl AsRef<[u8]> + Send) -> Result<(), Error> {
        let len = payload.as_ref().len();
        if len > MAX_CONTROL_PAYLOAD {
            return Err(Error::Send(SendError::PingTooLong(len)));
        }
        self.room_for_control().await?;
        // Before it is queued, for its pong may come at once.
        self.shared.pinged(payload.as_ref());
        self.shared.with_send(0, |send, key, lent| send.ping(payload.as_ref(), key, lent))?;
        self.shared.drive();
        Ok(())
    }

    /// Queues a pong with at most 125 bytes of payload data, ahead of queued messages, and attempts to write it.
    ///
    /// The receiver answers pings without this, unless [`Config::automatic_pongs`](crate::Config::automatic_pongs) is off.
    ///
    /// # Errors
    /// [`Error::Send`] for a longer payload, and then nothing is sent; else as [`send`](Self::send).
    ///
    /// # Cancel safety
    /// The pong is queued whole or not at all.
    pub async fn pong(&self, payload: impl AsRef<[u8]> + Send) -> Result<(), Error> {
        let len = payload.as_ref().len();
        if len > MAX_CONTROL_PAYLOAD {
            return Err(Error::Send(SendError::PongTooLong(len)));
        }
        self.room_for_control().await?;
        self.shared.with_send(0, |send, key, lent| send.pong(payload.as_ref(), key, lent))?;
        self.shared.drive();
        Ok(())
    }

    /// Queues our Close, behind the messages that are queued already, and flushes. The
    /// [`Receiver`](super::Receiver) completes the closing handshake.
    ///
    /// # Errors
    /// A code or reason that cannot be sent, and then nothing is; [`Error::Closed`] where a Close was queued before;
    /// [`Error::Timeout`] if the stream takes nothing for [`close_timeout`](crate::Config::close_timeout).
    ///
    /// # Cancel safety
    /// The Close is queued before the first await.
    pub async fn close(&self, code: CloseCode, reason: impl Into<Utf8Bytes>) -> Result<(), Error> {
        self.close_with(Some(CloseFrame::new(code, reason)?)).await
    }

    /// Closes like [`close`](Self::close), with a frame that exists already; `None` sends a Close without a code.
    ///
    /// # Errors
    /// As [`close`](Self::close).
    ///
    /// # Cancel safety
    /// The Close is queued before the first await.
    pub async fn close_with(&self, frame: Option<CloseFrame>) -> Result<(), Error> {
        self.start_close(frame)?;
        self.flush().await
    }

    /// Queues our Close, behind the messages that are queued already, without waiting. The
    /// [`Receiver`](super::Receiver) writes it and completes the closing handshake. `None` sends no code.
    ///
    /// # Errors
    /// [`Error::Closed`] if a Close is queued or sent already, or the connection has ended.
    pub fn start_close(&self, frame: Option<CloseFrame>) -> Result<(), Error> {
        if self.is_closed() {
            return Err(self.shared.why_closed());
        }
        Ok(self.shared.with_send(0, |send, key, lent| send.close(frame.as_ref(), key, lent))?)
    }

    /// Ends the connection at once: drops the stream, without a Close, and with it whatever is queued.
    ///
    /// The receiver then returns `Ok(None)`, senders fail with [`Error::Closed`].
    pub fn abort(&self) {
        self.shared.abort();
    }

    /// Waits until nothing can be sent any more: a Close is queued, or the connection has ended.
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

    /// Whether nothing can be sent any more.
    pub fn is_closed(&self) -> bool {
        self.shared.room().is_closed()
    }

    /// Returns how many bytes are queued or staged, and not yet taken by the stream. A message that is still to be compressed
    /// counts with its uncompressed frame.
    pub fn queued_bytes(&self) -> usize {
        self.shared.queued()
    }

    /// Waits until another ping or pong may be queued. They overtake the messages that wait, and take no room of theirs.
    async fn room_for_control(&self) -> Result<(), Error> {
        let (mut ticket, mut watchdog) = (Ticket::default(), Watchdog::default());
        poll_fn(|cx| {
            let has_room = |send: &SendPath, _| send.has_room_for_ping();
            self.poll_for(cx, Wait::Control, &mut ticket, &mut watchdog, has_room)
        })
        .await
    }

    /// Waits for room, and queues a message; passes on to `done` up to where a flush of it has to get.
    #[allow(clippy::manual_async_fn, reason = "an async fn keeps the message twice")]
    fn feed_and<T>(
        &self,
        mut outgoing: Outgoing<'_>,
        done: impl FnOnce(&Self, u64) -> T,
    ) -> impl Future<Output = Result<T, Error>> {
        async move {
            let need = self.shared.need(outgoing.len());
            // It gives nothing while others wait.
            let queued = match self.shared.room().try_acquire_many(need) {
                Ok(room) => self.queue(&mut outgoing, room).map_err(|error| self.shared.error(error)),
                // Boxed, so that the tasks of those who need not wait are small.
                Err(_) => Box::pin(self.feed_in_turn(outgoing, need)).await,
            };
            queued.map(|target| done(self, target))
        }
    }

    /// Waits until all up to there is written and the stream is flushed.
    async fn flush_through(&self, target: u64) -> Result<(), Error> {
        self.shared.drive();
        if self.shared.is_flushed(target)? {
            return Ok(());
        }
        let mut ticket = Ticket::default();
        Box::pin(self.watch(poll_fn(move |cx| self.poll_flushed(target, &mut ticket, cx)))).await
    }

    async fn feed_in_turn(&self, mut outgoing: Outgoing<'_>, need: u32) -> Result<u64, Error> {
        let room = self.room(need).await?;
        self.queue(&mut outgoing, room).map_err(|error| self.shared.error(error))
    }

    /// Waits for room.
    pub(super) async fn room(&self, need: u32) -> Result<SemaphorePermit<'_>, Error> {
        // Dropped while it waits, it gives back what it had got so far.
        let mut given_up = WakeForRoom(None);
        let mut ticket = Ticket::default();
        let acquired = self.shared.room().acquire_many(need);
        let mut acquired = pin!(acquired);
        let acquired = poll_fn(|cx| {
            let acquired = acquired.as_mut().poll(cx);
            given_up.0 = acquired.is_pending().then_some(&*self.shared);
            if acquired.is_pending() {
                // Nobody may be writing what takes the room: then it is for who waits.
                self.shared.parked.park(&mut ticket, cx.waker(), Wait::Room);
                self.shared.drive();
            }
            acquired
        });
        self.watch(acquired).await.map_err(|_closed| self.shared.why_closed())
    }

    /// Waits for something that the stream's taking bytes brings about, within
    /// [`write_timeout`](crate::Config::write_timeout): the receiver may not be there to judge it.
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

    /// Ready where the way out says so, which is asked again whenever the stream has taken something.
    pub(super) fn poll_for(
        &self,
        cx: &mut Context<'_>,
        wait: Wait,
        ticket: &mut Ticket,
        watchdog: &mut Watchdog,
        ask: impl Fn(&SendPath, usize) -> bool,
    ) -> Poll<Result<(), Error>> {
        if self.shared.ask(&ask)? {
            return Poll::Ready(Ok(()));
        }
        // Parked first, so that what happens from here on wakes it.
        self.shared.parked.park(ticket, cx.waker(), wait);
        self.shared.drive();
        if self.shared.ask(&ask)? {
            return Poll::Ready(Ok(()));
        }
        self.shared.watch(watchdog, cx);
        Poll::Pending
    }

    /// Queues a message, and gives up to where a flush of it has to get; where nothing can be sent any more, it stays whole.
    pub(super) fn queue(
        &self,
        outgoing: &mut Outgoing<'_>,
        room: SemaphorePermit<'_>,
    ) -> Result<u64, SendError> {
        let target = self.shared.with_open(room.num_permits(), |send, key, lent| {
            // The room is given back by whoever writes the message.
            room.forget();
            if send.is_message_open() {
                return Err(SendError::MessageOpen);
            }
            send.send_mut(outgoing, key, lent)
        })?;
        self.shared.count_sent(1);
        // What is only fed takes the room from those who wait for it, and who think it is being written.
        if self.shared.parked.is_room_wanted() {
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
        // Parked first, so that what happens from here on wakes it.
        self.shared.parked.park(ticket, cx.waker(), Wait::Flush);
        self.shared.drive();
        if self.shared.is_flushed(target)? { Poll::Ready(Ok(())) } else { Poll::Pending }
    }
}

/// Room for one message: what [`Sender::reserve`] waited for.
#[derive(Debug)]
pub struct SendPermit<'a> {
    sender: &'a Sender,
    room: SemaphorePermit<'a>,
    /// Dropped after the room.
    unused: WakeForRoom<'a>,
    payload_len: usize,
}

/// Dropped, it wakes those who wait for room and whom the semaphore does not know: sinks.
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
    /// Queues a message, without waiting.
    ///
    /// # Errors
    /// [`Error::Send`] for a message that is longer than was reserved, and then nothing is queued; [`Error::Closed`].
    pub fn feed<'m>(self, message: impl Into<Outgoing<'m>>) -> Result<(), Error> {
        let mut outgoing = message.into();
        let len = outgoing.len();
        if len > self.payload_len {
            return Err(Error::Send(SendError::BeyondPermit { len, reserved: self.payload_len }));
        }
        let Self { sender, room, mut unused, .. } = self;
        unused.0 = None;
        sender.queue(&mut outgoing, room).map_err(|error| sender.shared.error(error))?;
        sender.shared.parked.wake_waiting_receiver();
        Ok(())
    }
}

/// Why [`Sender::try_send`] did not queue a message; it returns the message.
///
/// It borrows what the message borrowed, and nothing where that was owned: then it is `TrySendError<'static>`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TrySendError<'a> {
    /// There is no room, or others wait for it.
    #[error("no room in the write buffer")]
    Full(Outgoing<'a>),
    /// Nothing can be sent any more.
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

    /// Converts it into one that borrows nothing, as errors that are kept or boxed have to be.
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
