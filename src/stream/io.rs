//! The I/O side of a connection: the sending path and the stream.

use std::{
    io, mem,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Wake, Waker},
};

use bytes::Buf;
use tokio::io::{AsyncRead, AsyncWrite};

use super::{
    pings::Pings,
    pool::{self, Scratch},
    stats::SendCounters,
    strides::{InStrides, Strides},
    transport::{Transport, TransportStatus},
    watchdog::Watchdog,
    write_clock::WriteLimits,
};
use crate::{
    Error, Outgoing, Role,
    error::Timeout,
    proto::{Buffers, DirectHead, MaskKey, PayloadMut, Received, SendError, SendPath},
};

/// The sending path and the stream, owned or shared.
///
/// The receiving loop is written once, over this trait. [`OwnedIo`] belongs to a whole connection
/// and needs no lock; a split connection shares it with its senders.
pub(super) trait Io {
    /// Calls a function with the sending path, a masking key and buffers of the pool, if the path
    /// may need any.
    fn with_send<T>(&mut self, call: impl FnOnce(&mut SendPath, MaskKey, &mut Buffers) -> T) -> T;

    /// Queues the answer to what was received, if one is due.
    fn answer(&mut self, received: &Received<'_>) {
        // If nothing of ours is pending, a write that fails from now on loses only our Close, and
        // the peer that sent its own is free to end the stream (RFC 6455 section 7.1.1).
        if let Received::Close(_) = received
            && !self.write_status().pending
        {
            self.outcome(Outcome::ignore_write_errors);
        }
        self.with_send(|send, key, buffers| send.answer(received, key, buffers));
    }

    /// Registers the task that receives, which may have to wait, for a wake-up.
    fn register_receiver(&mut self, _: &mut Context<'_>) {}

    /// Returns the status of the sending side.
    fn write_status(&mut self) -> WriteStatus;

    /// Returns which end of the connection this is.
    fn role(&self) -> Role;

    /// Takes the pings that the program has sent since the last call.
    fn take_pings(&mut self) -> Pings;

    /// Ends the write side. What is queued is discarded.
    fn end_write(&mut self);

    /// Calls a function with the outcome of the connection.
    fn outcome<T>(&mut self, call: impl FnOnce(&mut Outcome) -> T) -> T;

    /// Writes and flushes what is queued, until everything is written or the stream accepts no
    /// more.
    fn poll_transmit(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>>;

    /// Writes like [`poll_transmit`](Self::poll_transmit), and returns the status after it.
    #[inline]
    fn transmit(&mut self, cx: &mut Context<'_>) -> (Poll<io::Result<()>>, WriteStatus) {
        (self.poll_transmit(cx), self.write_status())
    }

    /// Shuts down the write side. What is still queued is discarded.
    fn poll_shutdown(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>>;

    /// Reads into the scratch; returns 0 at the end of the stream.
    fn poll_read(&mut self, scratch: &mut Scratch, cx: &mut Context<'_>) -> Poll<io::Result<usize>>;

    /// Reads into a message's own buffer; returns 0 at the end of the stream.
    fn poll_read_payload(&mut self, room: PayloadMut<'_>, cx: &mut Context<'_>) -> Poll<io::Result<usize>>;
}

/// The status of the sending side: the queue and the transport.
#[derive(Debug, Clone, Copy)]
pub(super) struct WriteStatus {
    pub(super) transport: TransportStatus,
    /// Whether anything is queued or staged.
    pub(super) pending: bool,
    /// Whether a pong is queued.
    pub(super) owes_pong: bool,
    /// Whether our Close is queued or sent.
    pub(super) close_sent: bool,
    /// Whether a sender has ended the connection: the receiver does not wait for the stream to end.
    pub(super) over: bool,
}

impl WriteStatus {
    #[inline]
    pub(super) fn of(send: &SendPath, transport: TransportStatus, over: bool) -> Self {
        Self {
            over,
            transport,
            pending: transport.stuck || send.queued_bytes() > 0,
            owes_pong: send.owes_pong(),
            close_sent: send.is_close_sent(),
        }
    }

    /// Returns `true` if the stream accepts no more while something is staged.
    pub(super) fn is_stuck(&self) -> bool {
        self.transport.stuck
    }
}

/// The error that ended the connection, or will end it. It is returned to the program once.
#[derive(Debug, Default)]
pub(super) struct Outcome {
    error: Option<Box<Error>>,
    /// Whether the error has been returned, or none will be.
    settled: bool,
    /// Whether a failed write is no error, because the peer has sent its Close and nothing of ours
    /// but the answer is pending.
    ignores_write_errors: bool,
    /// Whether a sender has ended the connection: the receiver does not wait for the stream to end.
    over: bool,
}

impl Outcome {
    /// Records an error, unless there already is one.
    pub(super) fn record(&mut self, error: Error) {
        if self.accepts(&error) {
            self.error = Some(Box::new(error));
        }
    }

    /// Returns `true` if the error is the one that ends the connection.
    pub(super) fn accepts(&self, error: &Error) -> bool {
        let ignored = self.ignores_write_errors && error.is_transport();
        !self.settled && !ignored && self.error.is_none()
    }

    /// Discards the error and all later ones: the program has ended the connection itself.
    pub(super) fn dismiss(&mut self) {
        (self.settled, self.over) = (true, true);
        self.error = None;
    }

    /// Ends the connection after a sender's deadline has passed.
    pub(super) fn time_out(&mut self, timeout: Timeout) {
        self.record(Error::Timeout(timeout));
        self.over = true;
    }

    /// Returns `true` if a sender has ended the connection.
    pub(super) fn is_over(&self) -> bool {
        self.over
    }

    /// Takes the recorded error, to return it to the program.
    pub(super) fn take_error(&mut self) -> Option<Error> {
        let error = self.error.take()?;
        self.settled = true;
        Some(*error)
    }

    /// Returns `true` if nothing has ended the connection or is known to end it.
    pub(super) fn is_open(&self) -> bool {
        self.error.is_none() && !self.settled && !self.ignores_write_errors && !self.over
    }

    /// Ignores write errors from now on: a failed write loses nothing but our Close.
    pub(super) fn ignore_write_errors(&mut self) {
        self.ignores_write_errors = true;
    }
}

/// The I/O side of a whole connection: no lock.
#[derive(Debug)]
pub(super) struct OwnedIo<S> {
    pub(super) transport: Transport<S>,
    pub(super) send: SendPath,
    /// The task that waits in a receiving call, if any.
    receiver: Option<Waker>,
    /// State that most connections do not have.
    extra: Option<Box<Extra>>,
}

/// State that a connection seldom has; allocated when first needed.
#[derive(Debug, Default)]
struct Extra {
    outcome: Outcome,
    stuck: Option<Stuck>,
    pings: Pings,
    sent: Option<SendCounters>,
}

/// State that exists while the stream accepts no more.
#[derive(Debug, Default)]
struct Stuck {
    wakers: Arc<WakerPair>,
    watchdog: Watchdog,
}

/// The tasks that wait for a stream which accepts no more.
///
/// A stream keeps one waker for its write half. Both tasks therefore poll it with a waker that
/// wakes them both.
#[derive(Debug, Default)]
struct WakerPair(Mutex<[Option<Waker>; 2]>);

/// The task that writes to the stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Side {
    Receiver,
    Sender,
}

/// The parts of the I/O side, which are moved when a connection is split or reunited.
#[derive(Debug)]
pub(super) struct IoParts<S> {
    pub(super) transport: Transport<S>,
    pub(super) send: SendPath,
    pub(super) outcome: Outcome,
    pub(super) pings: Pings,
    pub(super) sent: Option<SendCounters>,
}

impl Extra {
    /// Returns `true` if the box may be freed.
    fn is_unused(&self) -> bool {
        self.stuck.is_none() && self.outcome.is_open() && self.pings.is_empty() && self.sent.is_none()
    }

    #[cold]
    fn count_sent(&mut self, messages: u64, written: u32) {
        if let Some(sent) = &mut self.sent {
            sent.messages(messages);
            sent.written(written);
        }
    }
}

impl WakerPair {
    fn lock(&self) -> MutexGuard<'_, [Option<Waker>; 2]> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Registers a task, in the place of the one that was registered before.
    fn register(&self, side: Side, waker: &Waker) {
        let waker = waker.clone();
        // Dropped after the lock is released, because dropping a waker may run any code.
        let _before = self.lock()[side as usize].replace(waker);
    }

    /// Wakes the task of the other side, unless it is the task of this waker.
    fn wake_other(&self, side: Side, own: &Waker) {
        let other = match side {
            Side::Receiver => Side::Sender,
            Side::Sender => Side::Receiver,
        };
        let waker = self.lock()[other as usize].take();
        if let Some(waker) = waker.filter(|waker| !waker.will_wake(own)) {
            waker.wake();
        }
    }
}

impl Wake for WakerPair {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        let wakers = mem::take(&mut *self.lock());
        wakers.into_iter().flatten().for_each(Waker::wake);
    }
}

impl<S> OwnedIo<S> {
    /// Creates the I/O side of a connection; `counts` enables counters.
    pub(super) fn new(io: S, send: SendPath, counts: bool) -> Self {
        let extra =
            counts.then(|| Box::new(Extra { sent: Some(SendCounters::default()), ..Extra::default() }));
        Self { transport: Transport::new(io), send, receiver: None, extra }
    }

    pub(super) fn from_parts(parts: IoParts<S>) -> Self {
        let IoParts { transport, send, outcome, pings, sent } = parts;
        let extra = Some(Box::new(Extra { outcome, stuck: None, pings, sent }));
        let mut own = Self { transport, send, receiver: None, extra };
        own.drop_unused();
        own
    }

    pub(super) fn into_parts(self) -> IoParts<S> {
        let Extra { outcome, pings, sent, .. } = self.extra.map(|extra| *extra).unwrap_or_default();
        IoParts { transport: self.transport, send: self.send, outcome, pings, sent }
    }

    /// Counts queued messages and written bytes, if counters are enabled.
    #[inline]
    pub(super) fn count_sent(&mut self, messages: u64) {
        if let Some(extra) = &mut self.extra {
            extra.count_sent(messages, self.transport.written());
        }
    }

    /// Returns the counters of the sending side, if enabled.
    pub(super) fn sent(&self) -> Option<SendCounters> {
        let mut sent = self.extra.as_ref()?.sent?;
        sent.written(self.transport.written());
        Some(sent)
    }

    #[inline]
    pub(super) fn with_send<T>(&mut self, call: impl FnOnce(&mut SendPath, MaskKey, &mut Buffers) -> T) -> T {
        with_path(&mut self.send, call)
    }

    /// Returns the outcome of the connection.
    pub(super) fn outcome(&mut self) -> &mut Outcome {
        &mut self.extra.get_or_insert_default().outcome
    }

    /// Returns `true` if nothing but our Close can have been lost when the write side ended: the peer
    /// had closed, and nothing else was pending.
    pub(super) fn has_lost_only_close(&self) -> bool {
        self.extra.as_ref().is_some_and(|extra| extra.outcome.ignores_write_errors)
    }

    /// Takes the pings that the program has sent since the last call.
    pub(super) fn take_pings(&mut self) -> Pings {
        let pings = self.extra.as_mut().map(|extra| mem::take(&mut extra.pings)).unwrap_or_default();
        self.drop_unused();
        pings
    }

    /// Records a ping that the program has sent.
    pub(super) fn pinged(&mut self, payload: &[u8]) {
        self.extra.get_or_insert_default().pings.sent(payload);
    }

    /// Wakes the task that waits in a receiving call, after another task has changed what it waits
    /// for.
    pub(super) fn wake_receiver(&mut self) {
        if let Some(waker) = self.receiver.take() {
            waker.wake();
        }
    }

    /// Wakes the task that waits in a receiving call, unless it is the task of this waker.
    pub(super) fn wake_other_receiver(&mut self, own: &Waker) {
        if let Some(waker) = self.receiver.take_if(|waker| !waker.will_wake(own)) {
            waker.wake();
        }
    }

    /// Ends the write side, on behalf of a task. What is queued is discarded.
    pub(super) fn end_write_for(&mut self, side: Side) {
        self.transport.end_write(&mut self.send);
        if let Some(stuck) = self.extra.as_mut().and_then(|extra| extra.stuck.take()) {
            stuck.wakers.wake_other(side, Waker::noop());
            self.drop_unused();
        }
    }

    /// Returns `true` if nothing is queued or staged.
    #[inline]
    pub(super) fn is_clear(&self) -> bool {
        self.send.can_send_direct() && self.transport.staged() == 0
    }

    /// Tries the fast path for a short message that is queued behind others. Returns `true` if it
    /// was queued.
    #[inline(always)]
    pub(super) fn send_plain(&mut self, outgoing: &Outgoing<'_>) -> bool {
        // Without a queue the fast path fails, and a masking key is expensive.
        if !self.send.has_queue() || self.transport.is_write_ended() {
            return false;
        }
        let key = mask_key(self.send.role());
        self.send.send_short(outgoing, key, self.transport.staged())
    }

    /// Frees the box if it is no longer needed.
    fn drop_unused(&mut self) {
        self.extra.take_if(|extra| extra.is_unused());
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> OwnedIo<S> {
    /// Writes a message. Nothing may be queued or staged, and the write side may not have ended.
    ///
    /// If this returns pending, the rest is staged, but the task might not be woken: the caller has to
    /// transmit. If it returns a [`SendError`], the message is unchanged.
    #[inline(always)]
    pub(super) fn poll_send_now(
        &mut self,
        outgoing: &mut Outgoing<'_>,
        cx: &mut Context<'_>,
    ) -> Result<Poll<io::Result<()>>, SendError> {
        let key = mask_key(self.send.role());
        let mut head = DirectHead::default();
        let frame = self.send.direct_frame(outgoing, key, &mut head)?;
        let Some(frame) = frame.filter(|_| !self.transport.is_stuck()) else {
            if self.send.role() == Role::Client && outgoing.is_sequence() {
                self.with_send(|send, key, buffers| queue_message(send, outgoing, key, buffers))?;
                return Ok(Poll::Pending);
            }
            self.send.stage_direct(outgoing, key, self.transport.batch());
            return Ok(Poll::Pending);
        };
        let len = frame[0].len() + frame[1].len();
        let (accepted, written) = self.transport.poll_write_frame(frame, &mut self.send, cx);
        if written.is_pending() && accepted < len {
            let batch = self.transport.batch();
            self.send.stage_direct(outgoing, key, batch);
            batch.advance(accepted);
        }
        Ok(written)
    }

    /// Writes and flushes what is queued, on behalf of a task.
    #[inline]
    pub(super) fn poll_transmit_for(&mut self, side: Side, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let stuck = self.extra.as_ref().is_some_and(|extra| extra.stuck.is_some());
        if !stuck && let done @ Poll::Ready(_) = self.poll_write(cx) {
            return done;
        }
        self.poll_stuck(side, cx)
    }

    #[inline]
    fn poll_write(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.send.has_uncompressed() {
            return self.poll_compress_and_write(cx);
        }
        self.transport.poll_transmit(&mut self.send, cx)
    }

    // Not inlined: most connections do not compress.
    #[inline(never)]
    fn poll_compress_and_write(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut source = InStrides { path: &mut self.send, strides: Strides::new() };
        let done = self.transport.poll_transmit(&mut source, cx);
        source.strides.poll_yield(cx.waker());
        done
    }

    /// Continues while the stream accepts no more.
    ///
    /// The tasks that receive and send may be different ones: each is woken also when the other has
    /// written.
    #[cold]
    fn poll_stuck(&mut self, side: Side, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let extra = self.extra.get_or_insert_default();
        let newly = extra.stuck.is_none();
        let wakers = extra.stuck.get_or_insert_default().wakers.clone();
        wakers.register(side, cx.waker());
        let (shared, moves) = (Waker::from(wakers.clone()), self.transport.moves());
        let done = self.poll_write(&mut Context::from_waker(&shared));
        if done.is_ready() || self.transport.moves() != moves {
            wakers.wake_other(side, cx.waker());
        }
        if done.is_ready() {
            self.extra.get_or_insert_default().stuck = None;
            self.drop_unused();
        } else if newly && side == Side::Sender {
            // From now on a deadline is running, which the receiving task checks.
            self.wake_other_receiver(cx.waker());
        }
        done
    }

    /// Checks the deadlines of a sending task that waits for the stream. Returns the one that has passed.
    pub(super) fn poll_watchdog(&mut self, limits: &WriteLimits, cx: &mut Context<'_>) -> Poll<Timeout> {
        if self.transport.is_compressing() {
            return Poll::Pending;
        }
        let status = self.write_status();
        let stuck = self.extra.get_or_insert_default().stuck.get_or_insert_default();
        stuck.watchdog.poll(limits, &status, None, cx)
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Io for OwnedIo<S> {
    #[inline]
    fn with_send<T>(&mut self, call: impl FnOnce(&mut SendPath, MaskKey, &mut Buffers) -> T) -> T {
        OwnedIo::with_send(self, call)
    }

    #[inline]
    fn register_receiver(&mut self, cx: &mut Context<'_>) {
        if !self.receiver.as_ref().is_some_and(|waker| waker.will_wake(cx.waker())) {
            self.receiver = Some(cx.waker().clone());
        }
    }

    #[inline]
    fn write_status(&mut self) -> WriteStatus {
        let over = self.extra.as_ref().is_some_and(|extra| extra.outcome.is_over());
        WriteStatus::of(&self.send, self.transport.status(), over)
    }

    fn role(&self) -> Role {
        self.send.role()
    }

    fn take_pings(&mut self) -> Pings {
        OwnedIo::take_pings(self)
    }

    fn end_write(&mut self) {
        self.end_write_for(Side::Receiver);
    }

    fn outcome<T>(&mut self, call: impl FnOnce(&mut Outcome) -> T) -> T {
        call(OwnedIo::outcome(self))
    }

    #[inline]
    fn poll_transmit(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll_transmit_for(Side::Receiver, cx)
    }

    fn poll_shutdown(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.transport.poll_shutdown(&mut self.send, cx)
    }

    #[inline]
    fn poll_read(&mut self, scratch: &mut Scratch, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        self.transport.poll_read(scratch, cx)
    }

    fn poll_read_payload(&mut self, room: PayloadMut<'_>, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        self.transport.poll_read_payload(room, cx)
    }
}

/// Calls a function with the sending path, a masking key and buffers of the pool, if the path may
/// need any.
#[inline]
pub(super) fn with_path<T>(
    send: &mut SendPath,
    call: impl FnOnce(&mut SendPath, MaskKey, &mut Buffers) -> T,
) -> T {
    let key = mask_key(send.role());
    if send.has_queue() {
        call(send, key, &mut Buffers::new())
    } else {
        pool::with_buffers(|buffers| call(send, key, buffers))
    }
}

/// Queues a message, which is unchanged if this fails. Otherwise its remaining content is unspecified.
#[inline]
pub(super) fn queue_message(
    send: &mut SendPath,
    outgoing: &mut Outgoing<'_>,
    key: MaskKey,
    buffers: &mut Buffers,
) -> Result<(), SendError> {
    if send.role() == Role::Client
        && let Some(mut sequence) = outgoing.sequence()
    {
        // RFC 6455 section 5.3: a fresh key for each frame. If one cannot be queued, the first cannot.
        return sequence
            .try_for_each(|mut message| send.send_mut(&mut message, mask_key(send.role()), buffers));
    }
    send.send_mut(outgoing, key, buffers)
}

/// Returns a fresh masking key for a client (RFC 6455 section 5.3); a server does not mask.
#[inline(always)]
pub(super) fn mask_key(role: Role) -> MaskKey {
    match role {
        Role::Client => pool::mask_key(),
        Role::Server => MaskKey::default(),
    }
}

#[cfg(test)]
mod tests {
    use std::panic::{AssertUnwindSafe, catch_unwind};

    use super::*;
    use crate::{Config, PreparedMessage, stream::test_stream::TestStream};

    fn open(stream: &TestStream, role: Role) -> OwnedIo<TestStream> {
        OwnedIo::new(stream.clone(), SendPath::new(role, &Config::new()), false)
    }

    fn send(io: &mut OwnedIo<TestStream>, message: Outgoing<'_>) -> Poll<io::Result<()>> {
        let mut message = message;
        io.poll_send_now(&mut message, &mut Context::from_waker(Waker::noop())).expect("no message is open")
    }

    /// Returns a message of this length in each form.
    fn forms(data: &[u8], prepared: &PreparedMessage) -> [Outgoing<'static>; 5] {
        [
            Outgoing::from(data).into_owned(),
            data.to_vec().into(),
            bytes::Bytes::copy_from_slice(data).into(),
            bytes::BytesMut::from(data).into(),
            prepared.into(),
        ]
    }

    /// Unmasks a frame of a client. Masking keys are random.
    fn unmasked(frame: &[u8], role: Role) -> Vec<u8> {
        if role == Role::Server {
            return frame.to_vec();
        }
        let at = if frame[1] & 0x7F == 126 { 4 } else { 2 };
        let key: [u8; 4] = frame[at..at + 4].try_into().expect("four bytes");
        let mut data = frame[at + 4..].to_vec();
        MaskKey::from(key).apply(&mut data);
        [&[frame[0], frame[1] & 0x7F], &frame[2..at], &data[..]].concat()
    }

    #[test]
    fn a_frame_is_whole_wherever_the_stream_stops_accepting() {
        for len in [0, 1, 48, 112, 113, 126, 256, 257, 4096, 4097, 9000] {
            let data: Vec<u8> = (0..len).map(|i| i as u8).collect();
            let prepared = PreparedMessage::new(data.clone());
            for (role, vectored) in [Role::Server, Role::Client].into_iter().zip([true, false]) {
                let frame_len = SendPath::frame_len(len, role);
                let header = frame_len - len;
                for room in [0, 1, header, header + 1, frame_len / 2, frame_len - 1, frame_len] {
                    let borrowed = Outgoing::from(&data[..]);
                    for message in forms(&data, &prepared).into_iter().chain([borrowed]) {
                        let stream = TestStream::limited(room);
                        stream.state().vectored = vectored;
                        let mut io = open(&stream, role);
                        let sent = send(&mut io, message);
                        assert_eq!(stream.state().written.len() + io.transport.staged(), frame_len);
                        assert_eq!(sent.is_ready(), room >= frame_len && io.transport.staged() == 0);
                        stream.state().room = None;
                        let mut cx = Context::from_waker(Waker::noop());
                        assert!(matches!(io.poll_transmit_for(Side::Sender, &mut cx), Poll::Ready(Ok(()))));
                        let wire = unmasked(&stream.take_written(), role);
                        assert!(
                            wire.ends_with(&data) && wire.len() == SendPath::frame_len(len, Role::Server)
                        );
                        assert_eq!(wire[0], 0x82);
                        assert!(io.transport.status().staged == 0 && stream.state().flushes == 1);
                    }
                }
            }
        }
    }

    #[test]
    fn a_long_message_is_one_write_and_two_without_vectored_writes() {
        let data = vec![7; 9000];
        for (vectored, writes) in [(true, 1), (false, 2)] {
            let stream = TestStream::default();
            stream.state().vectored = vectored;
            assert!(matches!(send(&mut open(&stream, Role::Server), (&data).into()), Poll::Ready(Ok(()))));
            assert_eq!(stream.state().writes, writes);
            assert_eq!(stream.state().flushes, 1);
            assert_eq!(stream.take_written(), [&[0x82, 126, 0x23, 0x28], &data[..]].concat());
        }
    }

    #[test]
    fn a_write_that_fails_ends_the_write_side() {
        let stream = TestStream::default();
        stream.state().write_error = Some(io::ErrorKind::BrokenPipe);
        let mut io = open(&stream, Role::Server);
        let Poll::Ready(Err(error)) = send(&mut io, "lost".into()) else { panic!("it fails") };
        assert_eq!(error.kind(), io::ErrorKind::BrokenPipe);
        assert!(io.transport.has_lost() && io.transport.staged() == 0);
    }

    #[test]
    fn a_stream_that_panics_has_lost_the_message() {
        let stream = TestStream::default();
        stream.state().panics = true;
        let mut io = open(&stream, Role::Server);
        let sent = catch_unwind(AssertUnwindSafe(|| send(&mut io, "lost".into())));
        assert!(sent.is_err() && io.transport.has_lost());
    }
}
