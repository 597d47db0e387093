//! The end of a connection: failures, deadlines that have passed, and the end of the stream.

use std::{
    io,
    task::{Context, Poll, ready},
};

use super::{
    connection::{Connection, poll_budget},
    io::Io,
    pool,
};
use crate::{
    Error,
    error::Timeout,
    proto::{CloseCode, CloseFrame, Closing, ProtocolError},
};

impl<I: Io> Connection<I> {
    /// Fails the connection.
    ///
    /// RFC 6455 section 7.1.7: the Close that is queued tells the peer the reason (the codes are
    /// those of section 7.4.1). The error is returned to the program once the Close has been
    /// written and the stream has ended, or `close_timeout` has passed.
    #[cold]
    pub(super) fn fail(&mut self, error: ProtocolError) {
        self.io.with_send(|send, key, buffers| send.fail(error, key, buffers));
        self.record(Error::Protocol(error));
    }

    /// Handles the end of the stream, or the error with which reading failed.
    #[cold]
    pub(super) fn ended(&mut self, error: Option<io::Error>) {
        // TLS reports a stream that ends without `close_notify` as an error. The closing handshake
        // detects truncation by itself, so this counts as an ordinary end.
        let error = error.filter(|error| error.kind() != io::ErrorKind::UnexpectedEof);
        // RFC 6455 section 7.1.4: the connection closes cleanly if the stream ends after the
        // closing handshake, however it ends. RFC 6455 section 7.1.5: without a Close, it closes
        // abnormally (1006). Nothing more is sent, except that a stream which ended without an
        // error is still shut down after a clean close.
        if let Err(abnormal) = self.inbound.receive.receive_eof() {
            self.io.end_write();
            self.record(error.map_or(Error::Protocol(abnormal), Error::from));
        } else if error.is_some() {
            self.io.end_write();
        }
    }

    /// Ends the connection after a deadline has passed, without waiting for the peer.
    #[cold]
    pub(super) fn time_out(&mut self, timeout: Timeout, cx: &mut Context<'_>) {
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
    pub(super) fn record(&mut self, error: Error) {
        self.inbound.events().failed(&error, || self.io.outcome(|outcome| outcome.accepts(&error)));
        self.io.outcome(|outcome| outcome.record(error));
    }

    /// Ends the connection: nothing more is read or written, and all buffers are released.
    pub(super) fn finish(&mut self) {
        self.inbound.events().ended(|| self.inbound.receive.is_close_received());
        self.inbound.finished = true;
        self.inbound.timers = None;
        self.inbound.receive.abandon();
        self.io.end_write();
        self.inbound.return_scratch();
    }

    /// Ends the stream, and then the connection.
    pub(super) fn poll_end(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        // Checked before reading: a peer that sends without a pause uses up the task's budget.
        let status = self.io.write_status();
        match self.overdue(status, cx) {
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

#[cfg(test)]
mod tests {
    use std::task::Waker;

    use super::*;
    use crate::stream::{
        connection::tests::{poll, server},
        test_stream::TestStream,
    };

    /// RFC 6455 section 7.1.7.
    #[test]
    fn a_failed_connection_sends_the_reason_and_returns_the_error_once_the_stream_has_ended() {
        let stream = TestStream::containing(b"\x81\x01a");
        let mut server = server(&stream);
        assert!(poll(&mut server).is_pending());
        assert!(stream.take_written().starts_with(b"\x88"));
        assert!(stream.state().is_shut_down, "an endpoint that fails the connection ends the stream first");
        // RFC 6455 section 7.1.7: what arrives after the error is discarded.
        stream.state().input.extend([b"\x81\x81\0\0\0\0b".to_vec(), Vec::new()]);
        assert!(matches!(poll(&mut server), Poll::Ready(Err(Error::Protocol(ProtocolError::UnmaskedFrame)))));
        assert!(matches!(poll(&mut server), Poll::Ready(Ok(None))), "the error is returned once");
    }

    /// RFC 6455 sections 5.5.1 and 7.1.1.
    #[test]
    fn a_close_is_answered_and_the_connection_ends_with_the_stream() {
        let stream = TestStream::containing(b"\x88\x82\0\0\0\0\x03\xE8\x81\x81\0\0\0\0a");
        let mut server = server(&stream);
        assert!(poll(&mut server).is_pending());
        assert_eq!(stream.take_written(), b"\x88\x02\x03\xE8");
        assert!(stream.state().is_shut_down, "a server ends the stream first");
        stream.state().input.push_back(Vec::new());
        assert!(matches!(poll(&mut server), Poll::Ready(Ok(None))));
        assert_eq!(server.inbound.close_frame().expect("a code").code(), CloseCode::NORMAL);
    }

    /// RFC 6455 section 7.1.5.
    #[test]
    fn a_stream_that_ends_without_a_close_is_an_error() {
        let stream = TestStream::containing([]);
        let mut server = server(&stream);
        assert!(matches!(
            poll(&mut server),
            Poll::Ready(Err(Error::Protocol(ProtocolError::EofWithoutClose)))
        ));
        assert!(matches!(poll(&mut server), Poll::Ready(Ok(None))));
        assert_eq!(stream.take_written(), b"");
    }

    /// RFC 6455 section 7.4.1.
    #[test]
    fn a_deadline_that_has_passed_ends_the_connection_with_the_code_of_its_reason() {
        for (timeout, code) in [
            (Timeout::Pong, Some(CloseCode::INTERNAL_ERROR)),
            (Timeout::Idle, Some(CloseCode::GOING_AWAY)),
            (Timeout::Message, Some(CloseCode::POLICY_VIOLATION)),
            (Timeout::Write, None),
        ] {
            let stream = TestStream::default();
            let mut server = server(&stream);
            server.time_out(timeout, &mut Context::from_waker(Waker::noop()));
            let sent = stream.take_written();
            let sent_code = sent.get(2..4).map(|code| u16::from_be_bytes([code[0], code[1]]));
            assert_eq!(sent_code, code.map(u16::from), "{timeout}");
            assert!(matches!(poll(&mut server), Poll::Ready(Err(Error::Timeout(of))) if of == timeout));
            assert!(matches!(poll(&mut server), Poll::Ready(Ok(None))));
        }
    }

    #[test]
    fn a_close_deadline_is_an_error_only_if_our_close_was_not_written() {
        let mut server = server(&TestStream::limited(0));
        let close = CloseFrame::from_static(CloseCode::NORMAL, "");
        server.io.with_send(|send, key, buffers| send.close(Some(&close), key, buffers)).expect("open");
        server.time_out(Timeout::Close, &mut Context::from_waker(Waker::noop()));
        assert!(matches!(poll(&mut server), Poll::Ready(Err(Error::Timeout(Timeout::Close)))));
    }
}
