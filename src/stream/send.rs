//! Sending: queues messages while there is room, and writes them.

use std::{
    future::{Future, poll_fn},
    io,
    task::{Context, Poll, ready},
};

use tokio::io::{AsyncRead, AsyncWrite};

use super::{
    WebSocket,
    connection::Connection,
    io::{Side, queue_message},
    strides::TURN,
};
use crate::{
    Error, Outgoing,
    proto::{MAX_CONTROL_PAYLOAD, SendError},
};

impl<S: AsyncRead + AsyncWrite + Unpin> WebSocket<S> {
    /// Queues a message and flushes the connection.
    ///
    /// This is [`feed`](Self::feed) followed by [`flush`](Self::flush).
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
    /// Returns [`Error::Closed`] if nothing more can be sent, and otherwise the error that ended
    /// the connection.
    ///
    /// # Panics
    /// Panics if this has to wait while a deadline is running, in a tokio runtime whose timers are
    /// not enabled. Outside of a runtime it checks no deadline.
    ///
    /// # Cancel safety
    /// If the future is dropped, the message is either queued as a whole or not at all; it is never
    /// truncated or sent twice. Use [`reserve`](Self::reserve) to know which of the two has
    /// happened.
    pub fn send<'m>(&mut self, message: impl Into<Outgoing<'m>>) -> impl Future<Output = Result<(), Error>> {
        let mut outgoing = Some(message.into());
        poll_fn(move |cx| {
            if self.connection.io.is_clear() {
                if outgoing.is_some() {
                    return self.poll_send_now(cx, &mut outgoing);
                }
            } else if !self.queue_short(&mut outgoing) {
                ready!(self.poll_feed(cx, &mut outgoing))?;
            }
            self.poll_flush(cx)
        })
    }

    /// Waits for room and queues a message.
    ///
    /// The message is written by the next [`flush`](Self::flush), or at the latest when
    /// [`recv`](Self::recv) has to wait. Once 64 KiB wait to be compressed, this attempts to compress
    /// and write them.
    ///
    /// There is room if nothing is queued, or if what is queued and the new frame together do not
    /// exceed [`max_write_buffer_size`](crate::Config::max_write_buffer_size).
    ///
    /// Nothing is received while this waits: two ends that both send and never receive block each
    /// other until [`write_timeout`](crate::Config::write_timeout). Programs that do both at once
    /// use [`split`](Self::split).
    ///
    /// # Errors
    /// Returns the same errors as [`send`](Self::send).
    ///
    /// # Cancel safety
    /// If the future is dropped before it completes, the message is not queued. Once it has
    /// returned, it is.
    pub fn feed<'m>(&mut self, message: impl Into<Outgoing<'m>>) -> impl Future<Output = Result<(), Error>> {
        let mut outgoing = Some(message.into());
        poll_fn(move |cx| {
            if self.queue_short(&mut outgoing) {
                return Poll::Ready(Ok(()));
            }
            ready!(self.poll_feed(cx, &mut outgoing))?;
            self.compress_full_turn(cx)
        })
    }

    /// Waits until everything that is queued is written and the stream is flushed.
    ///
    /// # Errors
    /// Returns the same errors as [`send`](Self::send).
    ///
    /// # Cancel safety
    /// Dropping the future loses nothing: the rest stays queued.
    pub fn flush(&mut self) -> impl Future<Output = Result<(), Error>> {
        poll_fn(|cx| self.poll_flush(cx))
    }

    /// Waits for room for one message of at most `payload_len` bytes.
    ///
    /// This is for use in `select!`, in which a dropped [`feed`](Self::feed) would drop its
    /// message.
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
    /// Returns the same errors as [`send`](Self::send).
    ///
    /// # Cancel safety
    /// If the future or the permit is dropped, nothing is queued.
    pub async fn reserve(&mut self, payload_len: usize) -> Result<Permit<'_, S>, Error> {
        poll_fn(|cx| self.poll_ready(cx, payload_len)).await?;
        Ok(Permit { ws: self, payload_len })
    }

    /// Queues a ping with at most 125 bytes of payload data and flushes the connection.
    ///
    /// The ping overtakes queued messages. [`recv_event`](Self::recv_event) returns the pong.
    ///
    /// # Errors
    /// Returns [`Error::Send`] if the payload is longer, without sending anything; otherwise the
    /// same errors as [`send`](Self::send).
    ///
    /// # Cancel safety
    /// If the future is dropped, the ping is either queued as a whole or not at all.
    pub async fn ping(&mut self, payload: impl AsRef<[u8]>) -> Result<(), Error> {
        let payload = payload.as_ref();
        if payload.len() > MAX_CONTROL_PAYLOAD {
            return Err(Error::Send(SendError::PingTooLong(payload.len())));
        }
        poll_fn(|cx| self.poll_ready_to_ping(cx)).await?;
        let io = &mut self.connection.io;
        io.with_send(|send, key, buffers| send.ping(payload, key, buffers))?;
        io.pinged(payload);
        self.flush().await
    }

    /// Queues a pong with at most 125 bytes of payload data and flushes the connection.
    ///
    /// The pong overtakes queued messages. Pings are answered without this, unless
    /// [`Config::automatic_pongs`](crate::Config::automatic_pongs) is disabled. An unsolicited pong
    /// is allowed as well (RFC 6455 section 5.5.3).
    ///
    /// # Errors
    /// Returns [`Error::Send`] if the payload is longer, without sending anything; otherwise the
    /// same errors as [`send`](Self::send).
    ///
    /// # Cancel safety
    /// If the future is dropped, the pong is either queued as a whole or not at all.
    pub async fn pong(&mut self, payload: impl AsRef<[u8]>) -> Result<(), Error> {
        let payload = payload.as_ref();
        if payload.len() > MAX_CONTROL_PAYLOAD {
            return Err(Error::Send(SendError::PongTooLong(payload.len())));
        }
        poll_fn(|cx| self.poll_ready_to_ping(cx)).await?;
        self.connection.io.with_send(|send, key, buffers| send.pong(payload, key, buffers))?;
        self.flush().await
    }

    /// Tries the fast path for a short message behind others. Returns `true` if it is queued.
    #[inline]
    fn queue_short(&mut self, outgoing: &mut Option<Outgoing<'_>>) -> bool {
        let Some(waiting) = outgoing else { return false };
        if !self.connection.io.send_plain(waiting) {
            return false;
        }
        Outgoing::end(outgoing);
        self.connection.io.count_sent(1);
        true
    }

    /// Compresses and writes one turn of what is queued, if there is as much. Returns ready even if
    /// not all of it could be written.
    #[inline]
    fn compress_full_turn(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        if self.connection.io.send.uncompressed_bytes() < TURN {
            return Poll::Ready(Ok(()));
        }
        match self.poll_flush(cx) {
            Poll::Pending => Poll::Ready(Ok(())),
            flushed => flushed,
        }
    }

    /// Waits for room and queues the message, unless that has been done already.
    // Not inlined, so that the fast path has fewer registers to save. Each path returns its own
    // result: if the two were merged, the result would be stored in halves and loaded as a whole.
    #[inline(never)]
    fn poll_feed(
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

    /// Returns ready if a ping or pong may be queued. It overtakes messages and does not wait for
    /// room.
    fn poll_ready_to_ping(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        self.check_open()?;
        if self.connection.io.send.has_room_for_ping() {
            return Poll::Ready(Ok(()));
        }
        self.poll_flush(cx)
    }

    /// Polls for room for a message of `payload_len` bytes.
    ///
    /// Once this is ready, the message can be queued with [`start_send`](Self::start_send).
    ///
    /// # Errors
    /// Returns the same errors as [`send`](Self::send).
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

    /// Queues a message without waiting, after [`poll_ready`](Self::poll_ready) has returned ready
    /// for it.
    ///
    /// # Errors
    /// Returns the same errors as [`send`](Self::send).
    pub fn start_send<'a>(&mut self, message: impl Into<Outgoing<'a>>) -> Result<(), Error> {
        self.queue(&mut message.into())
    }

    /// Polls until everything that is queued is written, as [`flush`](Self::flush) does.
    ///
    /// # Errors
    /// Returns the same errors as [`send`](Self::send).
    pub fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        match self.connection.io.poll_transmit_for(Side::Sender, cx) {
            Poll::Ready(Ok(())) => Poll::Ready(self.check_written()),
            unwritten => self.poll_unwritten(unwritten, cx),
        }
    }

    /// Handles a flush that does not complete at once: the stream failed, or is checked for a
    /// timeout.
    #[cold]
    fn poll_unwritten(
        &mut self,
        unwritten: Poll<io::Result<()>>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<(), Error>> {
        let Connection { io, inbound } = &mut self.connection;
        match unwritten {
            Poll::Ready(Ok(())) => {}
            Poll::Ready(Err(error)) => {
                let error = Error::from(error);
                inbound.events().failed(&error, || io.outcome().accepts(&error));
                io.outcome().record(error);
            }
            Poll::Pending => {
                let timeout = ready!(io.poll_watchdog(&inbound.write_limits(), cx));
                let error = Error::Timeout(timeout);
                inbound.events().failed(&error, || io.outcome().accepts(&error));
                io.outcome().time_out(timeout);
                io.end_write_for(Side::Sender);
            }
        }
        io.wake_receiver();
        Poll::Ready(self.check_written())
    }

    /// Writes a message. Nothing may be queued or staged.
    // Always inlined: this is most of a short `send`.
    #[inline(always)]
    fn poll_send_now(
        &mut self,
        cx: &mut Context<'_>,
        outgoing: &mut Option<Outgoing<'_>>,
    ) -> Poll<Result<(), Error>> {
        self.check_open()?;
        let Some(waiting) = outgoing else { return Poll::Ready(Ok(())) };
        let io = &mut self.connection.io;
        let sent = io.poll_send_now(waiting, cx);
        Outgoing::end(outgoing);
        let written = sent?;
        io.count_sent(1);
        match written {
            Poll::Ready(Ok(())) => Poll::Ready(Ok(())),
            // The rest is staged.
            Poll::Pending => self.poll_flush(cx),
            failed => self.poll_unwritten(failed, cx),
        }
    }

    #[inline]
    fn queue(&mut self, outgoing: &mut Outgoing<'_>) -> Result<(), Error> {
        self.check_open()?;
        self.connection.io.with_send(|send, key, buffers| queue_message(send, outgoing, key, buffers))?;
        self.connection.io.count_sent(1);
        Ok(())
    }

    #[inline]
    fn has_room(&self, payload_len: usize) -> bool {
        let io = &self.connection.io;
        io.send.has_room(payload_len, io.transport.staged())
    }

    /// Returns an error if nothing more can be sent.
    #[inline]
    pub(super) fn check_open(&mut self) -> Result<(), Error> {
        let io = &self.connection.io;
        if io.send.is_close_sent() || io.transport.is_write_ended() {
            return Err(self.why_closed());
        }
        Ok(())
    }

    /// Returns an error if something that was queued will never be written.
    #[inline]
    fn check_written(&mut self) -> Result<(), Error> {
        if self.connection.io.transport.has_lost() { Err(self.why_closed()) } else { Ok(()) }
    }

    /// Returns the error that ended the connection, unless it has been returned or is left to
    /// `recv`.
    #[cold]
    fn why_closed(&mut self) -> Error {
        let io = &mut self.connection.io;
        let error = if io.transport.is_write_ended() { io.outcome().take_error() } else { None };
        error.unwrap_or(Error::Closed)
    }
}

/// Room for one message, reserved by [`reserve`](WebSocket::reserve).
#[derive(Debug)]
pub struct Permit<'a, S> {
    ws: &'a mut WebSocket<S>,
    payload_len: usize,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Permit<'_, S> {
    /// Queues a message without waiting.
    ///
    /// # Errors
    /// Returns [`Error::Send`] if the message is longer than what was reserved, without queueing
    /// it, and [`Error::Closed`] if nothing more can be sent.
    pub fn feed<'a>(self, message: impl Into<Outgoing<'a>>) -> Result<(), Error> {
        let mut outgoing = message.into();
        let len = outgoing.len();
        if len > self.payload_len {
            return Err(Error::Send(SendError::BeyondPermit { len, reserved: self.payload_len }));
        }
        self.ws.queue(&mut outgoing)
    }
}
