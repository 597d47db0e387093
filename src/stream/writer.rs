//! A message that is sent as a stream of bytes.

use std::{
    fmt,
    future::poll_fn,
    io, mem,
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncWrite};

use super::WebSocket;
use crate::{Error, MessageKind, proto::SendError};

/// How much of what is written makes a frame, in bytes.
const FRAME: usize = 64 << 10;

impl<S: AsyncRead + AsyncWrite + Unpin> WebSocket<S> {
    /// Begins a message that is sent as a stream of bytes, which need never be whole in memory.
    ///
    /// While it writes, nothing is received: the peer's pings wait, and two ends that both only write wait for each other.
    /// For a message that takes long, [`split`](Self::split) the connection.
    ///
    /// ```
    /// use fullduplex::{Error, MessageKind, WebSocket};
    /// use tokio::{fs::File, net::TcpStream};
    ///
    /// async fn offer(ws: &mut WebSocket<TcpStream>, mut file: File) -> Result<(), Error> {
    ///     let mut message = ws.writer(MessageKind::Binary)?;
    ///     tokio::io::copy(&mut file, &mut message).await?;
    ///     message.finish().await
    /// }
    /// ```
    ///
    /// # Errors
    /// As [`send`](Self::send).
    pub fn writer(&mut self, kind: MessageKind) -> Result<MessageWriter<&mut Self>, Error> {
        self.check_open()?;
        self.connection.line.with_send(|send, _, _| send.begin_message(kind))?;
        Ok(MessageWriter::new(self))
    }
}

/// One message, sent as a stream of bytes: [`WebSocket::writer`], [`Sender::writer`](crate::Sender::writer).
///
/// It is an [`AsyncWrite`], whose shutdown finishes the message. What is written is gathered into frames of 64 KiB;
/// flushing sends what there is. [`feed_part`](Self::feed_part) sends a part as a frame of its own, uncopied.
///
/// While it is open, other messages wait, and pings and pongs pass. Text may be cut anywhere: it is validated frame by
/// frame, and what is not UTF-8 is not sent.
///
/// # Dropping
/// [`finish`](Self::finish) ends the message. One that is dropped unfinished is not sent, if none of its frames was queued
/// yet; else the connection is failed with 1011, for what is sent cannot be taken back.
///
/// # Cancel safety
/// Dropping the future of a write or a flush loses and doubles nothing of what was written.
pub struct MessageWriter<W: SendParts> {
    to: W,
    /// What was written and is not queued.
    buffer: Vec<u8>,
    state: State,
}

/// ```text
///        last frame queued ──▶ Finished
///  Open ─┤
///        error ──────────────▶ GivenUp, Closed
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Open,
    Finished,
    /// The program erred.
    GivenUp,
    /// The connection has ended.
    Closed,
}

/// Payload data is nobody's business but the application's: only its length is shown.
impl<W: SendParts + fmt::Debug> fmt::Debug for MessageWriter<W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MessageWriter")
            .field("to", &self.to)
            .field("buffer", &format_args!("{} bytes", self.buffer.len()))
            .field("state", &self.state)
            .finish()
    }
}

impl<W: SendParts> MessageWriter<W> {
    pub(super) fn new(to: W) -> Self {
        Self { to, buffer: Vec::new(), state: State::Open }
    }

    /// Leaves the message uncompressed, whatever the ends agreed on; to be called before anything of it is sent. Else it is
    /// compressed as it is written, where they agreed on that.
    ///
    /// ```
    /// # use fullduplex::{Error, MessageKind, WebSocket};
    /// # async fn example(ws: &mut WebSocket<tokio::net::TcpStream>, jpeg: Vec<u8>) -> Result<(), Error> {
    /// let mut message = ws.writer(MessageKind::Binary)?.uncompressed();
    /// message.feed_part(jpeg).await?;
    /// message.finish().await
    /// # }
    /// ```
    #[cfg(feature = "deflate")]
    #[must_use]
    pub fn uncompressed(mut self) -> Self {
        self.to.leave_uncompressed();
        self
    }

    /// Waits for room, and queues a part of the message as one frame, uncopied, behind what was written.
    ///
    /// # Errors
    /// As [`WebSocket::send`]; [`Error::Send`] for text that is not UTF-8. The message is given up then, as if it were
    /// dropped.
    ///
    /// # Cancel safety
    /// Dropped: the part is not queued. Returned: it is.
    pub async fn feed_part(&mut self, part: impl Into<Bytes>) -> Result<(), Error> {
        let part = part.into();
        poll_fn(|cx| self.poll_queue(cx)).await?;
        poll_fn(|cx| self.poll_room(cx, part.len())).await?;
        if part.is_empty() { Ok(()) } else { self.queue(part, false) }
    }

    /// Sends what was written so far, and waits until it is out and the stream is flushed.
    ///
    /// # Errors
    /// As [`feed_part`](Self::feed_part).
    ///
    /// # Cancel safety
    /// Dropping the future loses nothing.
    pub async fn flush(&mut self) -> Result<(), Error> {
        poll_fn(|cx| self.poll_send(cx)).await
    }

    /// Finishes the message, and waits until all of it is out and the stream is flushed.
    ///
    /// # Errors
    /// As [`feed_part`](Self::feed_part), also for text that ends inside a code point.
    ///
    /// # Cancel safety
    /// Dropping the future drops the writer: the message is finished by then, or dropped unfinished.
    /// [`shutdown`](tokio::io::AsyncWriteExt::shutdown) does the same, and can be called again.
    pub async fn finish(mut self) -> Result<(), Error> {
        poll_fn(|cx| self.poll_finish(cx)).await
    }

    fn poll_finish(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        if self.state != State::Finished {
            ready!(self.poll_room(cx, self.buffer.len()))?;
            let rest = mem::take(&mut self.buffer);
            self.queue(rest.into(), true)?;
        }
        self.to.poll_flush(cx)
    }

    fn poll_send(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        if self.state != State::Finished {
            ready!(self.poll_queue(cx))?;
        }
        self.to.poll_flush(cx)
    }

    /// Queues what was written, as a frame that is not the last.
    fn poll_queue(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        ready!(self.poll_room(cx, self.buffer.len()))?;
        if self.buffer.is_empty() {
            return Poll::Ready(Ok(()));
        }
        // A message that has filled one frame is likely to fill another.
        let next = Vec::with_capacity(if self.buffer.len() == FRAME { FRAME } else { 0 });
        let part = mem::replace(&mut self.buffer, next);
        Poll::Ready(self.queue(part.into(), false))
    }

    /// Ready where there is room for a frame.
    fn poll_room(&mut self, cx: &mut Context<'_>, len: usize) -> Poll<Result<(), Error>> {
        match self.state {
            State::Open => {}
            State::Closed => return Poll::Ready(Err(Error::Closed)),
            State::Finished | State::GivenUp => {
                return Poll::Ready(Err(Error::Send(SendError::NoMessageOpen)));
            }
        }
        let room = ready!(self.to.poll_room(cx, len));
        Poll::Ready(self.check(room))
    }

    fn queue(&mut self, part: Bytes, last: bool) -> Result<(), Error> {
        let queued = self.to.send_part(part, last);
        self.check(queued)?;
        if last {
            self.state = State::Finished;
        }
        Ok(())
    }

    /// Gives the message up after an error: what would follow would not be the whole of it.
    fn check(&mut self, result: Result<(), Error>) -> Result<(), Error> {
        if let Err(error) = &result {
            self.state = if matches!(error, Error::Send(_)) { State::GivenUp } else { State::Closed };
            self.to.abandon();
        }
        result
    }
}

impl<W: SendParts> AsyncWrite for MessageWriter<W> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, data: &[u8]) -> Poll<io::Result<usize>> {
        if self.state != State::Open || self.buffer.len() == FRAME {
            ready!(self.poll_queue(cx))?;
        }
        let len = data.len().min(FRAME - self.buffer.len());
        self.buffer.extend_from_slice(&data[..len]);
        Poll::Ready(Ok(len))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll_send(cx).map_err(Into::into)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll_finish(cx).map_err(Into::into)
    }
}

impl<W: SendParts> Drop for MessageWriter<W> {
    fn drop(&mut self) {
        if self.state == State::Open {
            self.to.abandon();
        }
    }
}

/// Connections to which messages can be written in parts: the bound of [`MessageWriter`].
///
/// Implemented for `&mut` [`WebSocket`] and [`SenderTurn`](crate::SenderTurn). It is sealed: it cannot be implemented
/// outside of this crate, and has no methods to call.
///
/// ```
/// use fullduplex::{Error, MessageWriter, SendParts};
///
/// async fn write_twice<W: SendParts>(mut message: MessageWriter<W>, line: &'static str) -> Result<(), Error> {
///     message.feed_part(line).await?;
///     message.feed_part(line).await?;
///     message.finish().await
/// }
/// ```
pub trait SendParts: PartSink {}

impl<T: PartSink> SendParts for T {}

/// The methods of [`SendParts`].
pub trait PartSink: Unpin {
    /// Ready where there is room for a part of this length.
    fn poll_room(&mut self, cx: &mut Context<'_>, len: usize) -> Poll<Result<(), Error>>;

    /// Queues a part.
    fn send_part(&mut self, part: Bytes, last: bool) -> Result<(), Error>;

    /// Writes what is queued, and flushes the stream.
    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>>;

    /// Gives the message up.
    fn abandon(&mut self);

    /// Leaves the message uncompressed, before its first part.
    #[cfg(feature = "deflate")]
    fn leave_uncompressed(&mut self);
}

impl<S: AsyncRead + AsyncWrite + Unpin> PartSink for &mut WebSocket<S> {
    fn poll_room(&mut self, cx: &mut Context<'_>, len: usize) -> Poll<Result<(), Error>> {
        self.poll_ready(cx, len)
    }

    fn send_part(&mut self, part: Bytes, last: bool) -> Result<(), Error> {
        self.check_open()?;
        let line = &mut self.connection.line;
        line.with_send(|send, key, lent| send.send_part(part, last, key, lent))?;
        line.count_sent(u64::from(last));
        Ok(())
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        WebSocket::poll_flush(self, cx)
    }

    fn abandon(&mut self) {
        let line = &mut self.connection.line;
        // Where the connection has ended, there is nobody to tell.
        if !line.transport.is_write_ended() {
            line.with_send(|send, key, lent| send.abandon_message(key, lent));
        }
    }

    #[cfg(feature = "deflate")]
    fn leave_uncompressed(&mut self) {
        self.connection.line.with_send(|send, _, _| send.leave_uncompressed());
    }
}
