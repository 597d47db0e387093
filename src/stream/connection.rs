//! The receiving loop of a connection, and the way to its end.
//!
//! The loop returns what has been read, writes what is queued, and reads from the stream again. It
//! is written once, for a whole connection and for the receiving half of a split one.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::Bytes;
use tokio::{task::coop, time::Instant};

use super::{
    inbound::{FRAMES_PER_CHECK, GRACE_READS, Inbound, owes_answer, record_received},
    io::{Io, Outcome, WriteStatus},
    pool,
    timers::{Activity, Due, Timers},
};
use crate::{
    Error,
    error::Timeout,
    proto::{
        CloseCode, CloseFrame, Closing, Message, MessageKind, Part, ProtocolError, Received, Step, Want,
    },
};

/// The number of frames and reads that are handled for one unit of the task's budget.
const FRAMES_PER_UNIT: u8 = 64;

/// How long queued frames wait at most after a read, while messages of that read are returned.
const MAX_DELAY: Duration = Duration::from_millis(1);

/// The number of wide reads after one that brought at least 64 KiB. A burst ends with a short read.
const WIDE_READS: u8 = 4;

/// The first part of a message that is read in parts.
#[derive(Debug)]
pub(super) struct FirstPart {
    pub(super) kind: MessageKind,
    pub(super) payload: Bytes,
    pub(super) last: bool,
}

/// A connection: receives messages, and performs the closing handshake.
#[derive(Debug)]
pub(super) struct Connection<I> {
    pub(super) io: I,
    pub(super) inbound: Inbound,
}

impl<I: Io> Connection<I> {
    /// Polls for the next message. Tries the single-frame fast path first, on its own.
    #[inline]
    pub(super) fn poll_message(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Message>, Error>> {
        match self.take_plain() {
            Some(message) => Poll::Ready(Ok(Some(message))),
            None => self.poll_any_message(cx),
        }
    }

    // Not inlined, so that the fast path has fewer registers to save.
    #[inline(never)]
    fn poll_any_message(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Message>, Error>> {
        self.poll_whole(cx, |received| received.into_message())
    }

    /// Takes the fast path if a whole message in one frame has been read and the frame counter
    /// permits.
    // Always inlined: a message that is created in registers is then stored only once.
    #[inline(always)]
    fn take_plain(&mut self) -> Option<Message> {
        let inbound = &mut self.inbound;
        let scratch =
            inbound.scratch.as_ref().filter(|_| !inbound.frames.is_multiple_of(FRAMES_PER_CHECK))?;
        let (consumed, message) = inbound.receive.receive_plain(scratch.unread())?;
        inbound.frames -= 1;
        inbound.message();
        inbound.consume(consumed);
        Some(message)
    }

    /// Receives until `pick` returns a value. Messages are assembled; what a dropped reader has
    /// left of its message is skipped.
    #[inline]
    pub(super) fn poll_whole<T>(
        &mut self,
        cx: &mut Context<'_>,
        pick: impl FnMut(Received<'_>) -> Option<T>,
    ) -> Poll<Result<Option<T>, Error>> {
        self.inbound.receive.receive_whole();
        self.poll_received(cx, pick)
    }

    /// Receives the first part of the next message. What a dropped reader has left of its message
    /// is skipped.
    pub(super) fn poll_first_part(
        &mut self,
        limit: u64,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Option<FirstPart>, Error>> {
        if self.inbound.receive.is_inside_parts() {
            let last = |received: Received<'_>| {
                matches!(received, Received::Part(Part { last: true, .. })).then_some(())
            };
            if ready!(self.poll_received(cx, last))?.is_none() {
                return Poll::Ready(Ok(None));
            }
        }
        match self.inbound.receive.receive_parts(limit) {
            Ok(None) => {}
            Ok(Some((kind, payload))) => {
                return Poll::Ready(Ok(Some(FirstPart { kind, payload, last: false })));
            }
            Err(error) => {
                self.inbound.return_scratch();
                self.fail(error);
            }
        }
        self.poll_received(cx, |received| match received {
            Received::Part(Part { kind, payload, last }) => {
                Some(FirstPart { kind, payload: Bytes::copy_from_slice(payload), last })
            }
            _ => None,
        })
    }

    /// Receives until `pick` returns a value; returns `Ok(None)` at the end of the connection.
    #[inline]
    pub(super) fn poll_received<T>(
        &mut self,
        cx: &mut Context<'_>,
        mut pick: impl FnMut(Received<'_>) -> Option<T>,
    ) -> Poll<Result<Option<T>, Error>> {
        loop {
            // First what has already been read, in the order of arrival: it is returned even if the
            // stream has failed meanwhile.
            if let Some(item) = ready!(self.poll_buffered(cx, &mut pick)) {
                return Poll::Ready(Ok(Some(item)));
            }
            // RFC 7692 section 6.2: a compressed message is inflated before it is delivered. The
            // next frame is not handled until then.
            if self.inbound.receive.has_compressed() {
                self.write_pending(cx);
                ready!(poll_budget(&mut self.inbound.frames, cx));
                match self.inflate(&mut pick) {
                    Some(item) => return Poll::Ready(Ok(Some(item))),
                    None => continue,
                }
            }
            // RFC 6455 section 7.1.4: the connection is closed, cleanly or with an error, which is
            // returned once.
            if self.inbound.finished {
                return Poll::Ready(self.io.outcome(Outcome::take_error).map_or(Ok(None), Err));
            }
            // Everything that was read has been handled, so this may have to wait. RFC 6455
            // sections 5.5.1 and 5.5.2: a Close and a ping are answered as soon as practical, that
            // is, before the next read. A failed write does not end the loop: what the peer has
            // sent is still read.
            self.io.register_receiver(cx);
            self.write_pending(cx);
            // A sender has ended the connection: the stream may never end.
            if self.io.write_status().over {
                self.finish();
                continue;
            }
            // RFC 6455 sections 5.5.1 and 7.1.7: after the peer's Close, and after an error,
            // nothing more is processed; what remains is to end the stream.
            if self.inbound.receive.is_done() {
                ready!(self.poll_end(cx));
                continue;
            }
            // RFC 6455 section 7.1.1: an endpoint need not wait for the peer for ever. A peer that
            // sends without a pause must not postpone these deadlines, so they are checked before
            // each read. A few more reads receive what had arrived before the deadline.
            self.inbound.grace_reads = match self.overdue(cx) {
                None => GRACE_READS,
                Some(_) if self.inbound.grace_reads > 0 => self.inbound.grace_reads - 1,
                Some(timeout) => {
                    self.time_out(timeout, cx);
                    continue;
                }
            };
            // Only when the stream has nothing more, the peer's silence is timed: a pong that waits
            // in the socket is read before its deadline is checked.
            match self.poll_fill(cx) {
                Poll::Ready(None) => {}
                Poll::Ready(Some(message)) => {
                    if let Some(item) = pick(Received::Message(message)) {
                        return Poll::Ready(Ok(Some(item)));
                    }
                }
                Poll::Pending => match ready!(self.poll_due(true, cx)) {
                    // RFC 6455 section 5.5.2: a ping serves as a keep-alive.
                    Due::Ping(payload) => self.keep_alive(payload),
                    Due::Timeout(timeout) => self.time_out(timeout, cx),
                },
            }
        }
    }

    /// Handles what was read, until `pick` returns a value.
    ///
    /// Returns `None` if everything has been handled, or if a message has to be inflated first.
    #[inline]
    fn poll_buffered<T>(
        &mut self,
        cx: &mut Context<'_>,
        pick: &mut impl FnMut(Received<'_>) -> Option<T>,
    ) -> Poll<Option<T>> {
        while self.inbound.scratch.is_some() {
            // RFC 6455 section 5.5.2: a pong is sent as soon as practical, even if the program
            // takes long to handle each message of this read.
            let owed = self.inbound.frames.is_multiple_of(FRAMES_PER_CHECK) && self.write_if_delayed(cx);
            ready!(poll_budget(&mut self.inbound.frames, cx));
            if owed {
                self.inbound.check_writes_next();
            }
            let Some(scratch) = &mut self.inbound.scratch else { break };
            let mut item = None;
            match self.inbound.receive.receive(scratch.unread_mut()) {
                // A message has to be inflated before more is taken.
                Ok(Step { consumed: 0, .. }) => break,
                Ok(Step { consumed, received }) => {
                    if let Some(received) = received {
                        // RFC 6455 sections 5.5.1 and 5.5.2: a ping is answered with a pong, a
                        // Close with a Close.
                        if owes_answer(self.inbound.rare.as_deref(), &received) {
                            self.io.answer(&received);
                            // Makes the next iteration read the clock before it returns a message.
                            self.inbound.frames -= self.inbound.frames % FRAMES_PER_CHECK;
                        }
                        let timers = self.inbound.timers.as_mut().map(Pin::as_mut);
                        let rare = self.inbound.rare.as_deref_mut();
                        match &received {
                            // RFC 6455 sections 7.1.5 and 7.1.6: code and reason are those of the
                            // first Close received, after which nothing more is received.
                            Received::Close(frame) => {
                                if let Some(frame) = frame {
                                    let rare = self.inbound.rare.get_or_insert_default();
                                    rare.close_frame = Some(Box::new(frame.clone()));
                                }
                            }
                            // A message, a part of one or a pong (section 5.5.3) shows that the
                            // peer is alive.
                            other => record_received(timers, rare, &mut self.io, other),
                        }
                        item = pick(received);
                    }
                    self.inbound.consume(consumed);
                }
                // RFC 6455 section 7.1.7: after an error no more data of the peer is processed.
                Err(error) => {
                    self.inbound.return_scratch();
                    self.fail(error);
                }
            }
            if item.is_some() {
                return Poll::Ready(item);
            }
        }
        Poll::Ready(None)
    }

    /// Writes what is queued if [`MAX_DELAY`] has passed since the read.
    ///
    /// Without this, pongs and answers would wait until everything that was read is handled.
    /// Returns `true` if a pong still waits, so that the clock is read again before the next
    /// message.
    #[inline(never)]
    fn write_if_delayed(&mut self, cx: &mut Context<'_>) -> bool {
        let status = self.io.write_status();
        if !status.pending {
            return false;
        }
        let delayed =
            self.inbound.scratch.as_ref().is_some_and(|scratch| scratch.read_at().elapsed() >= MAX_DELAY);
        if delayed {
            self.write_pending(cx);
        }
        status.owes_pong && !delayed
    }

    /// Attempts to write what is queued. An error is recorded.
    fn write_pending(&mut self, cx: &mut Context<'_>) {
        if let Poll::Ready(Err(error)) = self.io.poll_transmit(cx) {
            self.record(Error::Transport(error));
        }
    }

    /// Inflates the next part of a compressed message, and returns the value of `pick`, if any.
    #[inline(never)]
    fn inflate<T>(&mut self, pick: &mut impl FnMut(Received<'_>) -> Option<T>) -> Option<T> {
        // Inflating takes as long as handling a whole budget unit of frames.
        self.inbound.frames = 0;
        let (receive, io) = (&mut self.inbound.receive, &mut self.io);
        let (timers, rare) =
            (self.inbound.timers.as_mut().map(Pin::as_mut), self.inbound.rare.as_deref_mut());
        let inflated = pool::with_buffers(|buffers| {
            let received = receive.inflate(buffers)?;
            Ok(received.and_then(|received| {
                record_received(timers, rare, io, &received);
                pick(received)
            }))
        });
        inflated.unwrap_or_else(|error| {
            self.inbound.return_scratch();
            self.fail(error);
            None
        })
    }

    /// Reads once, into the scratch or into the message's own buffer. Returns the message if that
    /// completes it.
    #[inline]
    fn poll_fill(&mut self, cx: &mut Context<'_>) -> Poll<Option<Message>> {
        ready!(poll_budget(&mut self.inbound.frames, cx));
        let read = match self.inbound.receive.want() {
            Want::Payload(room) => {
                self.inbound.wide = 0;
                ready!(self.io.poll_read_payload(room, cx))
            }
            Want::Scratch => {
                let mut scratch = pool::scratch(self.inbound.wide > 0);
                match self.io.poll_read(&mut scratch, cx) {
                    Poll::Ready(Ok(len)) if len > 0 => {
                        self.inbound.wide = if scratch.is_full_read() {
                            WIDE_READS
                        } else {
                            self.inbound.wide.saturating_sub(1)
                        };
                        self.inbound.note_read(len, scratch.read_at());
                        self.inbound.scratch = Some(scratch);
                        return Poll::Ready(None);
                    }
                    other => {
                        pool::return_scratch(scratch);
                        ready!(other)
                    }
                }
            }
        };
        match read {
            Ok(0) => self.ended(None),
            Err(error) => self.ended(Some(error)),
            Ok(len) => {
                self.inbound.note_read(len, Instant::now());
                match self.inbound.receive.payload_received() {
                    Ok(None) => {}
                    Ok(Some(message)) => {
                        self.inbound.message();
                        return Poll::Ready(Some(message));
                    }
                    Err(error) => self.fail(error),
                }
            }
        }
        Poll::Ready(None)
    }

    /// Checks the deadlines that a peer must not postpone by sending: of a stuck write, of closing,
    /// and of a message.
    #[inline]
    fn overdue(&mut self, cx: &mut Context<'_>) -> Option<Timeout> {
        let status = self.io.write_status();
        if !status.is_stuck() && !self.is_closing(status) && self.inbound.message_timeout().is_none() {
            return None;
        }
        match self.poll_due(false, cx) {
            Poll::Ready(Due::Timeout(timeout)) => Some(timeout),
            _ => None,
        }
    }

    /// Fails the connection.
    ///
    /// RFC 6455 section 7.1.7: the Close that is queued tells the peer the reason (the codes are
    /// those of section 7.4.1). The error is returned to the program once the Close has been
    /// written and the stream has ended, or `close_timeout` has passed.
    #[cold]
    fn fail(&mut self, error: ProtocolError) {
        self.io.with_send(|send, key, buffers| send.fail(error, key, buffers));
        self.record(Error::Protocol(error));
    }

    /// Handles the end of the stream, or the error with which reading failed.
    #[cold]
    fn ended(&mut self, error: Option<io::Error>) {
        // TLS reports a stream that ends without `close_notify` as an error. The closing handshake
        // detects truncation by itself, so this counts as an ordinary end.
        let error = error.filter(|error| error.kind() != io::ErrorKind::UnexpectedEof);
        // RFC 6455 section 7.1.4: the connection closes cleanly if the stream ends after the
        // closing handshake, however it ends. RFC 6455 section 7.1.5: without a Close, it closes
        // abnormally (1006). Nothing more is sent, except that a stream which ended without an
        // error is still shut down after a clean close.
        if let Err(abnormal) = self.inbound.receive.receive_eof() {
            self.io.end_write();
            self.record(error.map_or(Error::Protocol(abnormal), Error::Transport));
        } else if error.is_some() {
            self.io.end_write();
        }
    }

    /// Queues a keep-alive ping.
    #[cold]
    fn keep_alive(&mut self, payload: [u8; 4]) {
        // Fails only while the connection is closing, and then no keep-alive is needed.
        let _closing = self.io.with_send(|send, key, buffers| send.ping(&payload, key, buffers));
    }

    /// Ends the connection after a deadline has passed, without waiting for the peer.
    #[cold]
    fn time_out(&mut self, timeout: Timeout, cx: &mut Context<'_>) {
        // RFC 6455 section 7.4.1: 1011 if the peer does not answer, 1001 if it is idle, 1008 if a
        // message takes it too long.
        let reason = match timeout {
            Timeout::Pong => Some(CloseFrame::from_static(CloseCode::INTERNAL_ERROR, "pong timeout")),
            Timeout::Idle => Some(CloseFrame::from_static(CloseCode::GOING_AWAY, "idle timeout")),
            Timeout::Message => Some(CloseFrame::from_static(CloseCode::POLICY_VIOLATION, "message timeout")),
            _ => None,
        };
        if let Some(frame) = reason
            && self.io.with_send(|send, key, buffers| send.close(Some(&frame), key, buffers)).is_ok()
        {
            // Attempted once: the error is the same whether or not the peer receives the Close.
            let _sent = self.io.poll_transmit(cx);
            let _shut = self.io.poll_shutdown(cx);
        }
        // RFC 6455 section 7.1.1: a stream that the peer does not end in time may be closed. Once
        // our Close has been written, this is not an error.
        let close_out = self.inbound.timers.as_ref().is_some_and(|timers| timers.is_close_out());
        if timeout != Timeout::Close || !close_out {
            self.record(Error::Timeout(timeout));
        }
        self.finish();
    }

    /// Records the error that ends the connection.
    fn record(&mut self, error: Error) {
        self.io.outcome(|outcome| outcome.record(error));
    }

    /// Ends the connection: nothing more is read or written, and all buffers are released.
    pub(super) fn finish(&mut self) {
        self.inbound.finished = true;
        self.inbound.timers = None;
        self.inbound.receive.abandon();
        self.io.end_write();
        self.inbound.return_scratch();
    }

    /// Returns `true` once our Close is queued, the write side has ended, or nothing more is
    /// received.
    #[inline]
    fn is_closing(&self, status: WriteStatus) -> bool {
        status.close_sent || status.transport.ended || self.inbound.receive.is_done()
    }

    /// Returns what is due; pending if nothing is.
    pub(super) fn poll_due(&mut self, waiting: bool, cx: &mut Context<'_>) -> Poll<Due> {
        let write = self.io.write_status();
        let activity = Activity {
            write,
            closing: self.is_closing(write),
            waiting,
            message_timeout: self.inbound.message_timeout(),
        };
        if self.inbound.timeouts.watch(activity) {
            let timers = self.inbound.timers.get_or_insert_with(|| Box::pin(Timers::new()));
            if let Some(due) = ready!(timers.as_mut().poll_due(&self.inbound.timeouts, activity, cx)) {
                return Poll::Ready(due);
            }
        }
        if !self.inbound.timeouts.watch_peer() {
            self.inbound.timers = None;
        }
        Poll::Pending
    }

    /// Ends the stream, and then the connection.
    fn poll_end(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        // Checked before reading: a peer that sends without a pause uses up the task's budget.
        match self.overdue(cx) {
            Some(timeout) => self.time_out(timeout, cx),
            None => ready!(self.poll_drain(cx)),
        }
        self.finish();
        Poll::Ready(())
    }

    /// Shuts down the write side, and discards what is still received until the stream ends.
    fn poll_drain(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        // RFC 6455 section 7.1.1: a server ends the stream first. RFC 6455 section 7.1.7: so does
        // an endpoint that fails the connection. As section 7.1.1 recommends, it shuts down its
        // write side and then reads until the peer has ended the stream: dropping a stream with
        // unread data resets it, which can destroy the Close before the peer reads it.
        let (stuck, role) = (self.io.write_status().is_stuck(), self.io.role());
        let receive = &self.inbound.receive;
        let closing = self.io.with_send(|send, _, _| Closing::of(send, receive));
        if !stuck && closing.shuts_down_first(role) {
            // An error means that the stream has ended.
            let _ended = ready!(self.io.poll_shutdown(cx));
        }
        // RFC 6455 sections 1.4 and 7.1.7: what arrives after a Close or an error is discarded.
        let mut scratch = pool::scratch(false);
        let drained = loop {
            if self.inbound.receive.is_eof() {
                break Poll::Ready(());
            }
            if poll_budget(&mut self.inbound.frames, cx).is_pending() {
                break Poll::Pending;
            }
            match self.io.poll_read(&mut scratch, cx) {
                Poll::Pending => break Poll::Pending,
                Poll::Ready(Ok(0)) => self.ended(None),
                Poll::Ready(Ok(len)) => self.inbound.note_read(len, scratch.read_at()),
                Poll::Ready(Err(error)) => self.ended(Some(error)),
            }
        };
        pool::return_scratch(scratch);
        ready!(drained);
        // A client ends the stream after the server (section 7.1.1), and only once its own Close
        // has been written.
        if self.io.write_status().is_stuck() {
            return Poll::Pending;
        }
        self.io.poll_shutdown(cx).map(|_ended| ())
    }
}

/// Takes a frame or a read from the task's budget, so that a flood does not starve other tasks.
#[inline]
fn poll_budget(frames: &mut u8, cx: &mut Context<'_>) -> Poll<()> {
    if *frames == 0 {
        ready!(coop::poll_proceed(cx)).made_progress();
        *frames = FRAMES_PER_UNIT;
    }
    *frames -= 1;
    Poll::Ready(())
}
