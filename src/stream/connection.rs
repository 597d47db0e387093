//! Receiving, over a line that is owned or shared: what was read is handed out, what is queued is written, then the stream
//! is read again.

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

/// How many frames and reads are handled for one unit of the task's budget.
const FRAMES_PER_UNIT: u8 = 64;

/// How long after a read what is queued waits at most, while messages of that read are handed out.
const MAX_DELAY: Duration = Duration::from_millis(1);

/// How many reads are wide after one that brought much: a burst ends with one that brings little.
const WIDE_READS: u8 = 4;

/// The beginning of a message that is given in parts.
#[derive(Debug)]
pub(super) struct FirstPart {
    pub(super) kind: MessageKind,
    pub(super) payload: Bytes,
    pub(super) last: bool,
}

/// What receives on a connection, and drives it to its end.
#[derive(Debug)]
pub(super) struct Connection<I> {
    pub(super) io: I,
    pub(super) inbound: Inbound,
}

impl<I: Io> Connection<I> {
    /// The next message: as most are there already, and plain, that is tried first, and by itself.
    #[inline]
    pub(super) fn poll_message(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Message>, Error>> {
        match self.take_plain() {
            Some(message) => Poll::Ready(Ok(Some(message))),
            None => self.poll_any_message(cx),
        }
    }

    // Never: beside it, the short way has fewer registers to save.
    #[inline(never)]
    fn poll_any_message(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Message>, Error>> {
        self.poll_whole(cx, |received| received.into_message())
    }

    /// A plain message, if that is what was read stands first, and the budget has a frame left.
    // Always: a message that is made in registers is not loaded again while it is being stored.
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

    /// The next of what is received that `pick` picks, messages whole. What an earlier reader left of its message is skipped.
    #[inline]
    pub(super) fn poll_whole<T>(
        &mut self,
        cx: &mut Context<'_>,
        pick: impl FnMut(Received<'_>) -> Option<T>,
    ) -> Poll<Result<Option<T>, Error>> {
        self.inbound.receive.receive_whole();
        self.poll_received(cx, pick)
    }

    /// The beginning of the next message, which is given in parts; what an earlier reader left of its own is skipped.
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

    /// The next of what is received that `pick` picks.
    #[inline]
    pub(super) fn poll_received<T>(
        &mut self,
        cx: &mut Context<'_>,
        mut pick: impl FnMut(Received<'_>) -> Option<T>,
    ) -> Poll<Result<Option<T>, Error>> {
        loop {
            if let Some(item) = ready!(self.poll_buffered(cx, &mut pick)) {
                return Poll::Ready(Ok(Some(item)));
            }
            if self.inbound.receive.has_compressed() {
                ready!(poll_budget(&mut self.inbound.frames, cx));
                match self.inflate(&mut pick) {
                    Some(item) => return Poll::Ready(Ok(Some(item))),
                    None => continue,
                }
            }
            if self.inbound.finished {
                return Poll::Ready(self.io.outcome(Outcome::take_error).map_or(Ok(None), Err));
            }
            self.io.register_receiver(cx);
            if let Poll::Ready(Err(error)) = self.io.poll_transmit(cx) {
                self.record(Error::Transport(error));
            }
            if self.inbound.receive.is_done() {
                ready!(self.poll_end(cx));
                continue;
            }
            self.inbound.grace_reads = match self.overdue(cx) {
                None => GRACE_READS,
                Some(_) if self.inbound.grace_reads > 0 => self.inbound.grace_reads - 1,
                Some(timeout) => {
                    self.time_out(timeout, cx);
                    continue;
                }
            };
            match self.poll_fill(cx) {
                Poll::Ready(None) => {}
                Poll::Ready(Some(message)) => {
                    if let Some(item) = pick(Received::Message(message)) {
                        return Poll::Ready(Ok(Some(item)));
                    }
                }
                Poll::Pending => match ready!(self.poll_due(true, cx)) {
                    Due::Ping(payload) => self.keep_alive(payload),
                    Due::Timeout(timeout) => self.time_out(timeout, cx),
                },
            }
        }
    }

    /// Handles what was read, up to the next that `pick` picks; `None`: all of it is handled, or something is to be inflated
    /// first.
    #[inline]
    fn poll_buffered<T>(
        &mut self,
        cx: &mut Context<'_>,
        pick: &mut impl FnMut(Received<'_>) -> Option<T>,
    ) -> Poll<Option<T>> {
        while self.inbound.scratch.is_some() {
            let owed = self.inbound.frames.is_multiple_of(FRAMES_PER_CHECK) && self.write_if_delayed(cx);
            ready!(poll_budget(&mut self.inbound.frames, cx));
            if owed {
                self.inbound.check_writes_next();
            }
            let Some(scratch) = &mut self.inbound.scratch else { break };
            let mut item = None;
            match self.inbound.receive.receive(scratch.unread_mut()) {
                // Something is to be inflated first.
                Ok(Step { consumed: 0, .. }) => break,
                Ok(Step { consumed, received }) => {
                    if let Some(received) = received {
                        if owes_answer(self.inbound.rare.as_deref(), &received) {
                            self.io.answer(&received);
                            // Before the next message is handed out, the clock is read.
                            self.inbound.frames -= self.inbound.frames % FRAMES_PER_CHECK;
                        }
                        let timers = self.inbound.timers.as_mut().map(Pin::as_mut);
                        let rare = self.inbound.rare.as_deref_mut();
                        match &received {
                            Received::Close(frame) => {
                                if let Some(frame) = frame {
                                    let rare = self.inbound.rare.get_or_insert_default();
                                    rare.close_frame = Some(Box::new(frame.clone()));
                                }
                            }
                            other => record_received(timers, rare, &mut self.io, other),
                        }
                        item = pick(received);
                    }
                    self.inbound.consume(consumed);
                }
                Err(error) => {
                    self.inbound.return_scratch();
                    self.fail(error);
                }
            }
            if item.is_some() {
                self.inbound.shrink_scratch();
                return Poll::Ready(item);
            }
        }
        Poll::Ready(None)
    }

    /// Writes what is queued if it has waited for a while, so that pongs and answers do not wait until all that was read is
    /// handled (RFC 6455 section 5.5.2: a pong is sent as soon as is practical). Returns whether a pong still waits, for
    /// which the clock has to be read again before the next message.
    #[inline(never)]
    fn write_if_delayed(&mut self, cx: &mut Context<'_>) -> bool {
        let status = self.io.write_status();
        if !status.pending {
            return false;
        }
        let delayed =
            self.inbound.scratch.as_ref().is_some_and(|scratch| scratch.read_at().elapsed() >= MAX_DELAY);
        if delayed && let Poll::Ready(Err(error)) = self.io.poll_transmit(cx) {
            self.record(Error::Transport(error));
        }
        status.owes_pong && !delayed
    }

    /// Inflates some of a compressed message; gives what comes of it, if `pick` picks it.
    #[inline(never)]
    fn inflate<T>(&mut self, pick: &mut impl FnMut(Received<'_>) -> Option<T>) -> Option<T> {
        // It takes as long as many frames.
        self.inbound.frames = 0;
        let (receive, io) = (&mut self.inbound.receive, &mut self.io);
        let (timers, rare) =
            (self.inbound.timers.as_mut().map(Pin::as_mut), self.inbound.rare.as_deref_mut());
        let inflated = pool::with_lent(|lent| {
            let received = receive.inflate(lent)?;
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

    /// Reads once, into the scratch or into the message's own buffer; gives the message that this completes.
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

    /// Judges the deadlines that a peer must not put off by what it sends: those of a stuck write, and of closing.
    #[inline]
    fn overdue(&mut self, cx: &mut Context<'_>) -> Option<Timeout> {
        let status = self.io.write_status();
        if !status.is_stuck() && !self.is_closing(status) {
            return None;
        }
        match self.poll_due(false, cx) {
            Poll::Ready(Due::Timeout(timeout)) => Some(timeout),
            _ => None,
        }
    }

    /// The peer broke the protocol: tells it why, and keeps the error until that is out.
    #[cold]
    fn fail(&mut self, error: ProtocolError) {
        self.io.with_send(|send, key, lent| send.fail(error, key, lent));
        self.record(Error::Protocol(error));
    }

    /// The stream brings no more: it ended, or it failed.
    #[cold]
    fn ended(&mut self, error: Option<io::Error>) {
        // A TLS stream that ends without a notice is a stream that ends.
        let error = error.filter(|error| error.kind() != io::ErrorKind::UnexpectedEof);
        // After both Closes, however the stream ends is a clean end.
        if let Err(abnormal) = self.inbound.receive.receive_eof() {
            self.io.end_write();
            self.record(error.map_or(Error::Protocol(abnormal), Error::Transport));
        } else if error.is_some() {
            self.io.end_write();
        }
    }

    #[cold]
    fn keep_alive(&mut self, payload: [u8; 4]) {
        // It fails only where we are closing, and then there is nothing to keep alive.
        let _closing = self.io.with_send(|send, key, lent| send.ping(&payload, key, lent));
    }

    /// A deadline passed: tells the peer, if it still listens, without waiting for it.
    #[cold]
    fn time_out(&mut self, timeout: Timeout, cx: &mut Context<'_>) {
        let reason = match timeout {
            Timeout::Pong => Some(CloseFrame::from_static(CloseCode::INTERNAL_ERROR, "pong timeout")),
            Timeout::Idle => Some(CloseFrame::from_static(CloseCode::GOING_AWAY, "idle timeout")),
            Timeout::Message => Some(CloseFrame::from_static(CloseCode::POLICY_VIOLATION, "message timeout")),
            _ => None,
        };
        if let Some(frame) = reason
            && self.io.with_send(|send, key, lent| send.close(Some(&frame), key, lent)).is_ok()
        {
            // Whether it gets through makes no difference to what is told.
            let _sent = self.io.poll_transmit(cx);
            let _shut = self.io.poll_shutdown(cx);
        }
        // Where our Close is out, a peer that does not complete the closing handshake is no error of ours.
        if timeout != Timeout::Close || self.io.write_status().is_stuck() {
            self.record(Error::Timeout(timeout));
        }
        self.finish();
    }

    fn record(&mut self, error: Error) {
        self.io.outcome(|outcome| outcome.record(error));
    }

    /// Ends it all: nothing more will be read or written, and nothing more is held.
    pub(super) fn finish(&mut self) {
        self.inbound.finished = true;
        self.inbound.timers = None;
        self.inbound.receive.abandon();
        self.io.end_write();
        self.inbound.return_scratch();
    }

    /// Whether the connection is on its way to its end.
    #[inline]
    fn is_closing(&self, status: WriteStatus) -> bool {
        status.close_sent || status.transport.ended || self.inbound.receive.is_done()
    }

    /// What is due; pending until something is.
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

    /// After the last frame: our Close goes out, the write side is shut down, what still comes is discarded up to the end
    /// of the stream.
    fn poll_end(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        // First, for a peer that sends without a pause leaves no budget for a look at the clock afterwards.
        match self.overdue(cx) {
            Some(timeout) => self.time_out(timeout, cx),
            None => ready!(self.poll_drain(cx)),
        }
        self.finish();
        Poll::Ready(())
    }

    fn poll_drain(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        // A server ends the stream first (RFC 6455 section 7.1.1), and so does who fails the connection (7.1.7). It goes
        // on reading: to drop a stream with unread data resets it, which can destroy the Close on its way.
        let (stuck, role) = (self.io.write_status().is_stuck(), self.io.role());
        let receive = &self.inbound.receive;
        let closing = self.io.with_send(|send, _, _| Closing::of(send, receive));
        if !stuck && closing.shuts_down_first(role) {
            // That it fails says that the stream has ended.
            let _ended = ready!(self.io.poll_shutdown(cx));
        }
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
                Poll::Ready(Ok(_)) => {}
                Poll::Ready(Err(error)) => self.ended(Some(error)),
            }
        };
        pool::return_scratch(scratch);
        ready!(drained);
        if self.io.write_status().is_stuck() {
            return Poll::Pending;
        }
        self.io.poll_shutdown(cx).map(|_ended| ())
    }
}

/// Takes a frame, or a read, from the task's budget, so that a flood leaves other tasks their turns.
#[inline]
fn poll_budget(frames: &mut u8, cx: &mut Context<'_>) -> Poll<()> {
    if *frames == 0 {
        ready!(coop::poll_proceed(cx)).made_progress();
        *frames = FRAMES_PER_UNIT;
    }
    *frames -= 1;
    Poll::Ready(())
}
