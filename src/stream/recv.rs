//! Receiving: what was read is handed out, what is queued is written, then the stream is read again.

use std::{
    future::poll_fn,
    io,
    pin::Pin,
    task::{Context, Poll, ready},
};

use tokio::{
    io::{AsyncRead, AsyncWrite},
    task::coop,
};

use super::{
    Event, WebSocket, mask_key, pool,
    timers::{Due, Timers},
};
use crate::{
    Error,
    error::Timeout,
    proto::{CloseCode, CloseFrame, Message, ProtocolError, Received, Step, Want},
};

/// How many frames and reads are handled for one unit of the task's budget.
const FRAMES_PER_UNIT: u8 = 64;

impl<S: AsyncRead + AsyncWrite + Unpin> WebSocket<S> {
    /// The next message; `Ok(None)` once the connection is closed, in order or after its error was told.
    ///
    /// It answers pings, completes the closing handshake, sends keep-alive pings, judges deadlines, and writes what is
    /// queued before it waits. It never waits for a write: where the peer does not read, it goes on receiving.
    ///
    /// `Ok(None)` comes when our Close is out and the stream has ended, or
    /// [`close_timeout`](crate::Config::close_timeout) has passed. Messages that come after our own Close and before
    /// the peer's are still given.
    ///
    /// # Errors
    /// What ended the connection, once: the peer broke the protocol (it was told why, by a Close), the stream failed or
    /// ended without a Close, a deadline passed. All messages that came before are given first.
    ///
    /// # Cancel safety
    /// Dropping the future loses nothing: all state is in the connection.
    pub async fn recv(&mut self) -> Result<Option<Message>, Error> {
        poll_fn(|cx| self.poll_recv(cx)).await
    }

    /// As [`recv`](Self::recv), control frames included.
    ///
    /// A ping is answered, and a Close too, before the event is given.
    ///
    /// # Errors
    /// As [`recv`](Self::recv).
    ///
    /// # Cancel safety
    /// Dropping the future loses nothing: all state is in the connection.
    pub async fn recv_event(&mut self) -> Result<Option<Event>, Error> {
        poll_fn(|cx| self.poll_recv_event(cx)).await
    }

    /// [`recv`](Self::recv), as a poll function.
    pub fn poll_recv(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Message>, Error>> {
        self.poll_received(cx, |received| match received {
            Received::Message(message) => Some(message),
            _ => None,
        })
    }

    /// [`recv_event`](Self::recv_event), as a poll function.
    pub fn poll_recv_event(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Event>, Error>> {
        self.poll_received(cx, |received| Some(Event::from(received)))
    }

    /// The next of what is received that `pick` picks.
    #[inline]
    fn poll_received<T>(
        &mut self,
        cx: &mut Context<'_>,
        pick: impl Fn(Received<'_>) -> Option<T>,
    ) -> Poll<Result<Option<T>, Error>> {
        loop {
            if let Some(item) = ready!(self.poll_buffered(cx, &pick)) {
                return Poll::Ready(Ok(Some(item)));
            }
            if self.finished {
                return Poll::Ready(self.tell().map_or(Ok(None), Err));
            }
            if let Poll::Ready(Err(error)) = self.transport.poll_transmit(&mut self.send, cx) {
                self.write_failed(error);
            }
            if self.receive.is_done() {
                ready!(self.poll_end(cx));
                continue;
            }
            if self.is_overdue(cx) {
                continue;
            }
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

    /// Handles what was read, up to the next that `pick` picks; `None`: all of it is handled.
    #[inline]
    fn poll_buffered<T>(
        &mut self,
        cx: &mut Context<'_>,
        pick: impl Fn(Received<'_>) -> Option<T>,
    ) -> Poll<Option<T>> {
        while let Some(scratch) = &mut self.scratch {
            ready!(poll_budget(&mut self.frames, cx));
            let mut item = None;
            match self.receive.receive(scratch.unread_mut()) {
                Ok(Step { consumed, received }) => {
                    if let Some(received) = received {
                        let timers = self.timers.as_mut().map(Pin::as_mut);
                        if !matches!(received, Received::Message(_)) {
                            let key = mask_key(self.send.role());
                            pool::with_lent(|lent| self.send.answer(&received, key, lent));
                        }
                        match &received {
                            Received::Close(frame) => {
                                self.close_frame = frame.clone().map(Box::new);
                                // That a write failed is part of the peer's leaving.
                                self.error = None;
                            }
                            other => hear(timers, other),
                        }
                        item = pick(received);
                    }
                    scratch.consume(consumed);
                    if scratch.unread().is_empty() {
                        self.give_back_scratch();
                    }
                }
                Err(error) => {
                    self.give_back_scratch();
                    self.fail(error);
                }
            }
            if item.is_some() {
                return Poll::Ready(item);
            }
        }
        Poll::Ready(None)
    }

    /// Reads once, into the scratch or into the message's own buffer; gives the message that this completes.
    #[inline]
    fn poll_fill(&mut self, cx: &mut Context<'_>) -> Poll<Option<Message>> {
        ready!(poll_budget(&mut self.frames, cx));
        let read = match self.receive.want() {
            Want::Payload(room) => ready!(self.transport.poll_read_payload(room, cx)),
            Want::Scratch => {
                let mut scratch = pool::scratch();
                match self.transport.poll_read(&mut scratch, cx) {
                    Poll::Ready(Ok(len)) if len > 0 => {
                        self.scratch = Some(scratch);
                        self.note_read();
                        return Poll::Ready(None);
                    }
                    other => {
                        pool::take_back_scratch(scratch);
                        ready!(other)
                    }
                }
            }
        };
        match read {
            Ok(0) => self.ended(None),
            Err(error) => self.ended(Some(error)),
            Ok(_) => {
                self.note_read();
                match self.receive.payload_received() {
                    Ok(None) => {}
                    Ok(Some(message)) => {
                        if let Some(timers) = &mut self.timers {
                            timers.as_mut().heard();
                        }
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
    pub(super) fn is_overdue(&mut self, cx: &mut Context<'_>) -> bool {
        if !self.transport.is_stuck() && !self.is_closing() {
            return false;
        }
        let Poll::Ready(Due::Timeout(timeout)) = self.poll_due(false, cx) else { return false };
        self.time_out(timeout, cx);
        true
    }

    fn note_read(&mut self) {
        if let Some(timers) = &mut self.timers {
            timers.as_mut().read();
        }
    }

    /// The peer broke the protocol: tells it why, and keeps the error until that is out.
    #[cold]
    fn fail(&mut self, error: ProtocolError) {
        let key = mask_key(self.send.role());
        pool::with_lent(|lent| self.send.fail(error, key, lent));
        self.keep(Error::Protocol(error));
    }

    /// The stream brings no more: it ended, or it failed.
    #[cold]
    pub(super) fn ended(&mut self, error: Option<io::Error>) {
        // After both Closes, however the stream ends is a clean end.
        if let Err(abnormal) = self.receive.receive_eof() {
            self.transport.end_write(&mut self.send);
            self.keep(error.map_or(Error::Protocol(abnormal), Error::Transport));
        } else if error.is_some() {
            self.transport.end_write(&mut self.send);
        }
    }

    /// The stream takes no more. That hides neither messages nor a Close that already came.
    #[cold]
    fn write_failed(&mut self, error: io::Error) {
        if !self.receive.is_close_received() {
            self.keep(Error::Transport(error));
        }
    }

    #[cold]
    fn keep_alive(&mut self, payload: [u8; 4]) {
        let key = mask_key(self.send.role());
        // It fails only where we are closing, and then there is nothing to keep alive.
        let _closing = pool::with_lent(|lent| self.send.ping(&payload, key, lent));
    }

    /// A deadline passed: tells the peer, if it still listens, without waiting for it.
    #[cold]
    fn time_out(&mut self, timeout: Timeout, cx: &mut Context<'_>) {
        let reason = match timeout {
            Timeout::Pong => Some(CloseFrame::from_static(CloseCode::INTERNAL_ERROR, "pong timeout")),
            Timeout::Idle => Some(CloseFrame::from_static(CloseCode::GOING_AWAY, "idle timeout")),
            _ => None,
        };
        if let Some(frame) = reason {
            let key = mask_key(self.send.role());
            if pool::with_lent(|lent| self.send.close(Some(&frame), key, lent)).is_ok() {
                // Whether it gets through makes no difference to what is told.
                let _sent = self.transport.poll_transmit(&mut self.send, cx);
                let _shut = self.transport.poll_shutdown(&mut self.send, cx);
            }
        }
        // Where our Close is out, a peer that does not complete the closing handshake is no error of ours.
        if timeout != Timeout::Close || self.transport.is_stuck() {
            self.keep(Error::Timeout(timeout));
        }
        self.finish();
    }
}

/// Takes a frame, or a read, from the task's budget, so that a flood leaves other tasks their turns.
#[inline]
pub(super) fn poll_budget(frames: &mut u8, cx: &mut Context<'_>) -> Poll<()> {
    if *frames == 0 {
        ready!(coop::poll_proceed(cx)).made_progress();
        *frames = FRAMES_PER_UNIT;
    }
    *frames -= 1;
    Poll::Ready(())
}

/// Notes a sign of life.
#[inline]
fn hear(timers: Option<Pin<&mut Timers>>, received: &Received<'_>) {
    let Some(mut timers) = timers else { return };
    match received {
        Received::Message(_) => timers.heard(),
        Received::Pong(payload) => {
            timers.as_mut().heard();
            timers.pong(payload);
        }
        _ => {}
    }
}
