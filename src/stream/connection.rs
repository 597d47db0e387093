//! The receiving loop of a connection.
//!
//! The loop returns what has been read, writes what is queued, and reads from the stream again. It
//! is written once, for a whole connection and for the receiving half of a split one.

use std::{
    io, mem,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::Bytes;
use tokio::{task::coop, time::Instant};

use super::{
    inbound::{FRAMES_PER_CHECK, GRACE_READS, Inbound, events, message_ended, owes_answer, record_received},
    io::{Io, Outcome, WriteStatus},
    pool,
    timers::{Activity, Due, Timers},
};
use crate::{
    Error,
    error::Timeout,
    proto::{Message, MessageKind, Part, Received, Step, Want},
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

/// What a receiving call waits for.
pub(super) trait Pick<T> {
    /// Returns how many bytes of what was read are handled at most before the next call of
    /// [`pick`](Self::pick).
    #[inline(always)]
    fn at_most(&self) -> usize {
        usize::MAX
    }

    /// Returns a value if what was received is what the call waits for.
    fn pick(&mut self, received: Received<'_>) -> Option<T>;
}

impl<T, F: FnMut(Received<'_>) -> Option<T>> Pick<T> for F {
    #[inline(always)]
    fn pick(&mut self, received: Received<'_>) -> Option<T> {
        self(received)
    }
}

/// A connection: receives messages, and performs the closing handshake (`ending.rs`).
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
        let tried = self.inbound.scratch.is_some() && !self.inbound.is_check_due();
        self.inbound.receive.receive_whole();
        self.poll_received_after(tried, cx, &mut |received: Received<'_>| received.into_message())
    }

    /// Takes the fast path if a whole message in one frame has been read and the frame counter
    /// permits.
    // Always inlined: a message that is created in registers is then stored only once.
    #[inline(always)]
    fn take_plain(&mut self) -> Option<Message> {
        let inbound = &mut self.inbound;
        let scratch = inbound.scratch.as_ref().filter(|_| !inbound.is_check_due())?;
        let (consumed, message) = inbound.receive.receive_plain(scratch.unread())?;
        inbound.frames -= 1;
        message_ended(inbound.timers.as_mut().map(Pin::as_mut), inbound.rare.as_deref_mut());
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
        self.poll_picked(cx, &mut pick)
    }

    /// Receives like [`poll_received`](Self::poll_received), for any [`Pick`].
    #[inline]
    pub(super) fn poll_picked<T>(
        &mut self,
        cx: &mut Context<'_>,
        pick: &mut impl Pick<T>,
    ) -> Poll<Result<Option<T>, Error>> {
        self.poll_received_after(false, cx, pick)
    }

    /// Receives like [`poll_received`](Self::poll_received). `tried` is `true` if the fast path has
    /// failed for the next frame, so that it is not tried twice.
    #[inline]
    fn poll_received_after<T>(
        &mut self,
        mut tried: bool,
        cx: &mut Context<'_>,
        pick: &mut impl Pick<T>,
    ) -> Poll<Result<Option<T>, Error>> {
        loop {
            // First what has already been read, in the order of arrival: it is returned even if the
            // stream has failed meanwhile.
            let item = ready!(self.poll_buffered(tried, cx, pick));
            tried = false;
            if let Some(item) = item {
                return Poll::Ready(Ok(Some(item)));
            }
            // RFC 7692 section 6.2: a compressed message is inflated before it is delivered. The
            // next frame is not handled until then.
            if self.inbound.receive.has_compressed() {
                ready!(poll_budget(&mut self.inbound.frames, cx));
                if let Some(item) = self.inflate(pick) {
                    return Poll::Ready(Ok(Some(item)));
                }
                // A long message takes several turns. What is queued does not wait for its end.
                if self.inbound.scratch.is_none() {
                    self.write_pending(cx);
                } else {
                    self.write_if_delayed(cx);
                }
                continue;
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
            let (written, status) = self.io.transmit(cx);
            self.record_written(written);
            // A sender has ended the connection: the stream may never end.
            if status.over {
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
            self.inbound.grace_reads = match self.overdue(status, cx) {
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
                    if let Some(item) = pick.pick(Received::Message(message)) {
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
        mut tried: bool,
        cx: &mut Context<'_>,
        pick: &mut impl Pick<T>,
    ) -> Poll<Option<T>> {
        while self.inbound.scratch.is_some() {
            // RFC 6455 section 5.5.2: a pong is sent as soon as practical, even if the program
            // takes long to handle each message of this read.
            let owed = self.inbound.is_check_due() && self.write_if_delayed(cx);
            ready!(poll_budget(&mut self.inbound.frames, cx));
            if owed {
                self.inbound.check_writes_next();
            }
            let Some(scratch) = &mut self.inbound.scratch else { break };
            let mut item = None;
            let (receive, input) = (&mut self.inbound.receive, scratch.unread_mut());
            let len = input.len().min(pick.at_most());
            let input = &mut input[..len];
            let step =
                if mem::take(&mut tried) { receive.receive_general(input) } else { receive.receive(input) };
            match step {
                // A message has to be inflated before more is taken.
                Ok(Step { consumed: 0, .. }) => break,
                Ok(Step { consumed, received }) => {
                    if let Some(received) = received {
                        // RFC 6455 sections 5.5.1 and 5.5.2: a ping is answered with a pong, a
                        // Close with a Close.
                        if owes_answer(self.inbound.rare.as_deref(), &received) {
                            if let Received::Close(frame) = &received {
                                let events = events(self.inbound.rare.as_deref());
                                events.close_received(frame.as_ref(), || self.io.write_status().close_sent);
                            }
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
                                    rare.end.get_or_insert_default().close_frame = Some(frame.clone());
                                }
                            }
                            // A message, a part of one or a pong (section 5.5.3) shows that the
                            // peer is alive.
                            other => record_received(timers, rare, &mut self.io, other),
                        }
                        item = pick.pick(received);
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
        let written = self.io.poll_transmit(cx);
        self.record_written(written);
    }

    /// Records the error of a write, if it failed.
    #[inline]
    fn record_written(&mut self, written: Poll<io::Result<()>>) {
        if let Poll::Ready(Err(error)) = written {
            self.record(Error::from(error));
        }
    }

    /// Inflates the next part of a compressed message, and returns the value of `pick`, if any.
    #[inline(never)]
    fn inflate<T>(&mut self, pick: &mut impl Pick<T>) -> Option<T> {
        // Inflating takes as long as handling a whole budget unit of frames.
        self.inbound.frames = 0;
        let (receive, io) = (&mut self.inbound.receive, &mut self.io);
        let (timers, rare) =
            (self.inbound.timers.as_mut().map(Pin::as_mut), self.inbound.rare.as_deref_mut());
        let inflated = pool::with_buffers(|buffers| {
            let received = receive.inflate(buffers)?;
            Ok(received.and_then(|received| {
                record_received(timers, rare, io, &received);
                pick.pick(received)
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
                pool::expect_large();
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
                        let timers = self.inbound.timers.as_mut().map(Pin::as_mut);
                        message_ended(timers, self.inbound.rare.as_deref_mut());
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
    pub(super) fn overdue(&mut self, status: WriteStatus, cx: &mut Context<'_>) -> Option<Timeout> {
        if !status.is_stuck() && !self.is_closing(status) && self.inbound.message_timeout().is_none() {
            return None;
        }
        match self.poll_due(false, cx) {
            Poll::Ready(Due::Timeout(timeout)) => Some(timeout),
            _ => None,
        }
    }

    /// Queues a keep-alive ping.
    #[cold]
    fn keep_alive(&mut self, payload: [u8; 4]) {
        // Fails only while the connection is closing, and then no keep-alive is needed.
        let _closing = self.io.with_send(|send, key, buffers| send.ping(&payload, key, buffers));
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
            let limits = self.inbound.write_limits();
            let timers = self.inbound.timers.get_or_insert_with(|| Box::pin(Timers::new()));
            let due = timers.as_mut().poll_due(&self.inbound.timeouts, &limits, activity, cx);
            if let Some(due) = ready!(due) {
                return Poll::Ready(due);
            }
        }
        if !self.inbound.timeouts.watch_peer() {
            self.inbound.timers = None;
        }
        Poll::Pending
    }
}

/// Takes a frame or a read from the task's budget, so that a flood does not starve other tasks.
#[inline]
pub(super) fn poll_budget(frames: &mut u8, cx: &mut Context<'_>) -> Poll<()> {
    if *frames == 0 {
        ready!(coop::poll_proceed(cx)).made_progress();
        *frames = FRAMES_PER_UNIT;
    }
    *frames -= 1;
    Poll::Ready(())
}

#[cfg(test)]
pub(super) mod tests {
    use std::task::Waker;

    use super::*;
    use crate::{
        Config, Role,
        handshake::Negotiated,
        proto::SendPath,
        stream::{io::OwnedIo, test_stream::TestStream},
    };

    /// A server over a stream, without deadlines.
    pub(in crate::stream) fn server(stream: &TestStream) -> Connection<OwnedIo<TestStream>> {
        let config = Config::new()
            .ping_interval(None)
            .pong_timeout(None)
            .write_timeout(None)
            .close_timeout(None)
            .max_message_size(1000);
        Connection {
            io: OwnedIo::new(stream.clone(), SendPath::new(Role::Server, &config), false),
            inbound: Inbound::new(&[], Role::Server, &config, Negotiated::default()),
        }
    }

    pub(in crate::stream) fn poll(
        connection: &mut Connection<OwnedIo<TestStream>>,
    ) -> Poll<Result<Option<Message>, Error>> {
        connection.poll_message(&mut Context::from_waker(Waker::noop()))
    }

    /// Receives a text message.
    fn text(connection: &mut Connection<OwnedIo<TestStream>>) -> String {
        let Poll::Ready(Ok(Some(message))) = poll(connection) else { panic!("no message") };
        message.as_text().expect("text").to_owned()
    }

    #[test]
    fn what_was_read_is_returned_before_the_next_read() {
        let stream = TestStream::containing(b"\x81\x81\0\0\0\0a\x81\x81\0\0\0\0b");
        stream.state().input.push_back(b"\x81\x81\0\0\0\0c".to_vec());
        let mut server = server(&stream);
        for (expected, unread) in [("a", 1), ("b", 1), ("c", 0)] {
            assert_eq!(text(&mut server), expected);
            assert_eq!(stream.state().input.len(), unread);
        }
        assert!(poll(&mut server).is_pending());
        assert!(server.inbound.scratch.is_none(), "an idle connection has no scratch");
    }

    /// RFC 6455 sections 5.4 and 5.5.2.
    #[test]
    fn frames_that_the_fast_path_does_not_handle_are_received_in_their_order() {
        let stream = TestStream::containing(
            b"\x81\x81\0\0\0\0a\x89\x81\0\0\0\0?\x01\x81\0\0\0\0b\x80\x81\0\0\0\0c\x81\x81\0\0\0\0d",
        );
        let mut server = server(&stream);
        for expected in ["a", "bc", "d"] {
            assert_eq!(text(&mut server), expected);
        }
        assert!(poll(&mut server).is_pending());
        assert_eq!(stream.take_written(), b"\x8A\x01?");
    }

    #[test]
    fn the_fast_path_is_not_tried_again_by_the_general_path() {
        // The payload data is not complete, so the fast path fails; nor is it in a second try.
        let stream = TestStream::containing(b"\x81\x82\0\0\0\0a");
        let mut server = server(&stream);
        assert!(poll(&mut server).is_pending());
        stream.state().input.push_back(b"b\x81\x81\0\0\0\0c".to_vec());
        assert_eq!(text(&mut server), "ab");
        assert_eq!(text(&mut server), "c");
    }

    #[tokio::test]
    async fn a_flood_of_messages_uses_up_the_budget_of_the_task() {
        let stream = TestStream::containing(b"\x81\x81\0\0\0\0a".repeat(9000));
        let mut server = server(&stream);
        let received = std::iter::from_fn(|| poll(&mut server).is_ready().then_some(())).count();
        assert!((64..9000).contains(&received), "{received}");
        tokio::task::yield_now().await;
        let rest = std::iter::from_fn(|| poll(&mut server).is_ready().then_some(())).count();
        assert_eq!(received + rest, 9000);
    }

    #[test]
    fn a_large_frame_is_read_into_the_buffer_of_its_message() {
        let stream = TestStream::containing(b"\x82\xFE\x9C\x40\0\0\0\0".as_slice());
        stream.state().input.push_back(vec![7; 40_000]);
        let mut server = server(&stream);
        server.inbound.receive.set_limits(&Config::new());
        let Poll::Ready(Ok(Some(message))) = poll(&mut server) else { panic!("no message") };
        assert_eq!(message.as_bytes(), [7; 40_000]);
        assert!(server.inbound.scratch.is_none(), "it was not read into the scratch");
    }
}
