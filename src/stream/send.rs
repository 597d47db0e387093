//! Sending: messages are queued where there is room, and written.

use std::{
    future::{Future, poll_fn},
    io,
    task::{Context, Poll, ready},
};

use tokio::io::{AsyncRead, AsyncWrite};

use super::{WebSocket, connection::Connection, line::Party};
use crate::{
    Error, Outgoing,
    proto::{MAX_CONTROL_PAYLOAD, SendError},
};

impl<S: AsyncRead + AsyncWrite + Unpin> WebSocket<S> {
    /// Queues a message and flushes: [`feed`](Self::feed), then [`flush`](Self::flush).
    ///
    /// ```
    /// use bytes::Bytes;
    /// # use fullduplex::{Error, WebSocket};
    /// # use tokio::net::TcpStream;
    /// # async fn example(ws: &mut WebSocket<TcpStream>) -> Result<(), Error> {
    /// let line = String::from("text");
    /// ws.send(&line).await?; // borrowed, or owned
    /// ws.send(Bytes::from_static(b"binary")).await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`Error::Closed`] where nothing can be sent any more, else what ended the connection.
    ///
    /// # Cancel safety
    /// The message is queued whole or not at all, never torn or doubled; where the future was dropped in between,
    /// [`reserve`](Self::reserve) would have told which.
    pub fn send<'m>(&mut self, message: impl Into<Outgoing<'m>>) -> impl Future<Output = Result<(), Error>> {
        let mut outgoing = Some(message.into());
        poll_fn(move |cx| {
            if self.connection.line.is_clear() {
                self.stage(&mut outgoing)?;
            } else {
                ready!(self.poll_feed(cx, &mut outgoing))?;
            }
            self.poll_flush(cx)
        })
    }

    /// Waits for room, and queues a message. It leaves with the next [`flush`](Self::flush), or at the latest when
    /// [`recv`](Self::recv) has to wait.
    ///
    /// There is room where nothing is queued, or what is queued and the new frame are within
    /// [`max_write_buffer_size`](crate::Config::max_write_buffer_size).
    ///
    /// While it waits, nothing is received: two ends that both send, and neither receives, wait for each other until
    /// [`write_timeout`](crate::Config::write_timeout). [`split`](Self::split) is for programs that do both at once.
    ///
    /// # Errors
    /// As [`send`](Self::send).
    ///
    /// # Cancel safety
    /// Dropped: the message is not queued. Returned: it is.
    pub fn feed<'m>(&mut self, message: impl Into<Outgoing<'m>>) -> impl Future<Output = Result<(), Error>> {
        let mut outgoing = Some(message.into());
        poll_fn(move |cx| self.poll_feed(cx, &mut outgoing))
    }

    /// Waits until all that is queued is written and the stream is flushed.
    ///
    /// # Errors
    /// As [`send`](Self::send).
    ///
    /// # Cancel safety
    /// Dropping the future loses nothing: what is left stays queued.
    pub fn flush(&mut self) -> impl Future<Output = Result<(), Error>> {
        poll_fn(|cx| self.poll_flush(cx))
    }

    /// Waits for room for one message of at most `payload_len` bytes: for use in `select!`, where a dropped
    /// [`feed`](Self::feed) would take its message along.
    ///
    /// ```
    /// # use fullduplex::{Error, WebSocket};
    /// # use tokio::{net::TcpStream, sync::mpsc};
    /// # async fn example(ws: &mut WebSocket<TcpStream>, lines: &mut mpsc::Receiver<String>) -> Result<(), Error> {
    /// let permit = ws.reserve(1000).await?;
    /// if let Ok(line) = lines.try_recv() {
    ///     permit.feed(line)?;
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// As [`send`](Self::send).
    ///
    /// # Cancel safety
    /// Dropping the future, or the permit, queues nothing.
    pub async fn reserve(&mut self, payload_len: usize) -> Result<Permit<'_, S>, Error> {
        poll_fn(|cx| self.poll_ready(cx, payload_len)).await?;
        Ok(Permit { ws: self, payload_len })
    }

    /// Queues a ping with at most 125 bytes of payload data and flushes. It goes out ahead of queued messages.
    ///
    /// [`recv_event`](Self::recv_event) shows the pong. Keep-alive pings are sent without this.
    ///
    /// # Errors
    /// [`Error::Send`] for a longer payload, and then nothing is sent; else as [`send`](Self::send).
    ///
    /// # Cancel safety
    /// The ping is queued whole or not at all.
    pub async fn ping(&mut self, payload: impl AsRef<[u8]>) -> Result<(), Error> {
        let payload = payload.as_ref();
        if payload.len() > MAX_CONTROL_PAYLOAD {
            return Err(Error::Send(SendError::PingTooLong(payload.len())));
        }
        poll_fn(|cx| self.poll_ready_to_ping(cx)).await?;
        let line = &mut self.connection.line;
        line.with_send(|send, key, lent| send.ping(payload, key, lent))?;
        line.pinged(payload);
        self.flush().await
    }

    /// Queues a pong with at most 125 bytes of payload data and flushes. It overtakes queued messages.
    ///
    /// Pings are answered without this, unless [`Config::automatic_pongs`](crate::Config::automatic_pongs) is off. A pong
    /// that answers no ping is allowed as well (RFC 6455 section 5.5.3).
    ///
    /// # Errors
    /// [`Error::Send`] for a longer payload, and then nothing is sent; else as [`send`](Self::send).
    ///
    /// # Cancel safety
    /// The pong is queued whole or not at all.
    pub async fn pong(&mut self, payload: impl AsRef<[u8]>) -> Result<(), Error> {
        let payload = payload.as_ref();
        if payload.len() > MAX_CONTROL_PAYLOAD {
            return Err(Error::Send(SendError::PongTooLong(payload.len())));
        }
        poll_fn(|cx| self.poll_ready_to_ping(cx)).await?;
        self.connection.line.with_send(|send, key, lent| send.pong(payload, key, lent))?;
        self.flush().await
    }

    /// Waits for room, and queues the message, if it is still there.
    #[inline]
    fn poll_feed(
        &mut self,
        cx: &mut Context<'_>,
        outgoing: &mut Option<Outgoing<'_>>,
    ) -> Poll<Result<(), Error>> {
        let Some(waiting) = outgoing else { return Poll::Ready(Ok(())) };
        if self.connection.line.send_plain(waiting) {
            Outgoing::end(outgoing);
            self.connection.line.count_sent(1);
            return Poll::Ready(Ok(()));
        }
        self.poll_feed_any(cx, outgoing)
    }

    // Never: beside it, the short way has fewer registers to save. It tells what comes of it by itself: brought together, the
    // two results would be stored in halves and loaded whole.
    #[inline(never)]
    fn poll_feed_any(
        &mut self,
        cx: &mut Context<'_>,
        outgoing: &mut Option<Outgoing<'_>>,
    ) -> Poll<Result<(), Error>> {
        let Some(waiting) = outgoing else { return Poll::Ready(Ok(())) };
        ready!(self.poll_ready(cx, waiting.len()))?;
        let queued = self.queue(waiting);
        Outgoing::end(outgoing);
        Poll::Ready(queued)
    }

    /// Ready where a ping may be queued: it overtakes messages, and waits for none.
    fn poll_ready_to_ping(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        self.check_open()?;
        if self.connection.line.send.has_room_for_ping() {
            return Poll::Ready(Ok(()));
        }
        self.poll_flush(cx)
    }

    /// Ready where there is room for a message of `payload_len` bytes, which may then be queued with
    /// [`start_send`](Self::start_send).
    ///
    /// # Errors
    /// As [`send`](Self::send).
    pub fn poll_ready(&mut self, cx: &mut Context<'_>, payload_len: usize) -> Poll<Result<(), Error>> {
        self.check_open()?;
        if self.has_room(payload_len) {
            return Poll::Ready(Ok(()));
        }
        match self.poll_flush(cx) {
            Poll::Pending if !self.has_room(payload_len) => Poll::Pending,
            Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
            _ => Poll::Ready(Ok(())),
        }
    }

    /// Queues a message without waiting, after [`poll_ready`](Self::poll_ready) has been ready for it.
    ///
    /// # Errors
    /// As [`send`](Self::send).
    pub fn start_send<'a>(&mut self, message: impl Into<Outgoing<'a>>) -> Result<(), Error> {
        self.queue(&mut message.into())
    }

    /// [`flush`](Self::flush), as a poll function.
    ///
    /// # Errors
    /// As [`send`](Self::send).
    pub fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        match self.connection.line.poll_transmit_for(Party::Sender, cx) {
            Poll::Ready(Ok(())) => Poll::Ready(self.check_written()),
            unwritten => self.poll_unwritten(unwritten, cx),
        }
    }

    /// What becomes of a flush that does not end at once: the stream fails, or the sender's deadline passes.
    #[cold]
    fn poll_unwritten(
        &mut self,
        unwritten: Poll<io::Result<()>>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<(), Error>> {
        let Connection { line, inbound } = &mut self.connection;
        match unwritten {
            Poll::Ready(Ok(())) => {}
            Poll::Ready(Err(error)) => line.verdict().keep(Error::Transport(error)),
            Poll::Pending => {
                let timeout = ready!(line.poll_watchdog(&inbound.timeouts, cx));
                line.verdict().time_out(timeout);
                line.end_write_for(Party::Sender);
            }
        }
        line.wake_receiver();
        Poll::Ready(self.check_written())
    }

    /// Stages the message at once, if it is still there, where nothing stands before it.
    // Always: most of a short `send` is this.
    #[inline(always)]
    fn stage(&mut self, outgoing: &mut Option<Outgoing<'_>>) -> Result<(), Error> {
        let Some(waiting) = outgoing else { return Ok(()) };
        self.check_open()?;
        let staged = self.connection.line.send_staged(waiting);
        Outgoing::end(outgoing);
        staged?;
        self.connection.line.count_sent(1);
        Ok(())
    }

    #[inline]
    fn queue(&mut self, outgoing: &mut Outgoing<'_>) -> Result<(), Error> {
        self.check_open()?;
        self.connection.line.with_send(|send, key, lent| send.send_mut(outgoing, key, lent))?;
        self.connection.line.count_sent(1);
        Ok(())
    }

    #[inline]
    fn has_room(&self, payload_len: usize) -> bool {
        let line = &self.connection.line;
        line.send.has_room(payload_len, line.transport.staged())
    }

    /// Whether what is queued now can still go.
    #[inline]
    pub(super) fn check_open(&mut self) -> Result<(), Error> {
        let line = &self.connection.line;
        if line.send.is_close_sent() || line.transport.is_write_ended() {
            return Err(self.why_closed());
        }
        Ok(())
    }

    /// Whether what was queued has gone.
    #[inline]
    fn check_written(&mut self) -> Result<(), Error> {
        if self.connection.line.transport.has_lost() { Err(self.why_closed()) } else { Ok(()) }
    }

    /// What ended the connection, if that has not been told and is not for `recv` to tell.
    #[cold]
    fn why_closed(&mut self) -> Error {
        let line = &mut self.connection.line;
        let told = if line.transport.is_write_ended() { line.verdict().tell() } else { None };
        told.unwrap_or(Error::Closed)
    }
}

/// Room for one message: what [`reserve`](WebSocket::reserve) waited for.
#[derive(Debug)]
pub struct Permit<'a, S> {
    ws: &'a mut WebSocket<S>,
    payload_len: usize,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Permit<'_, S> {
    /// Queues a message, without waiting.
    ///
    /// # Errors
    /// [`Error::Send`] for a message that is longer than was reserved, and then nothing is queued; [`Error::Closed`].
    pub fn feed<'a>(self, message: impl Into<Outgoing<'a>>) -> Result<(), Error> {
        let mut outgoing = message.into();
        let len = outgoing.len();
        if len > self.payload_len {
            return Err(Error::Send(SendError::BeyondPermit { len, reserved: self.payload_len }));
        }
        self.ws.queue(&mut outgoing)
    }
}
