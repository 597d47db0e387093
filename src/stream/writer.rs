//! Writing a message as a stream of bytes.

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

/// The maximum length of a frame made of written bytes.
const FRAME: usize = 64 << 10;

impl<S: AsyncRead + AsyncWrite + Unpin> WebSocket<S> {
    /// Begins a message, and returns a writer of its payload data.
    ///
    /// The message need never be in memory as a whole.
    ///
    /// Nothing is received while the message is written: the peer's pings are not answered, and two
    /// ends that only write block each other. For a message that takes long to write,
    /// [`split`](Self::split) the connection.
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
    /// Returns the same errors as [`send`](Self::send).
    pub fn writer(&mut self, kind: MessageKind) -> Result<MessageWriter<&mut Self>, Error> {
        self.check_open()?;
        self.connection.io.with_send(|send, _, _| send.begin_message(kind))?;
        Ok(MessageWriter::new(self))
    }
}

/// A writer of one message, returned by [`WebSocket::writer`] and
/// [`Sender::writer`](crate::Sender::writer).
///
/// It implements [`AsyncWrite`], whose shutdown finishes the message. Written bytes are collected
/// into frames of 64 KiB; flushing sends what has been written. [`feed_part`](Self::feed_part)
/// sends a part as a frame of its own, without copying it.
///
/// Until the message ends, other messages wait; pings and pongs are still sent. Text may be cut
/// anywhere: it is validated frame by frame, and invalid UTF-8 is not sent.
///
/// # Dropping
/// [`finish`](Self::finish) ends the message. If the writer is dropped before that, the message is
/// not sent if none of its frames has been queued. Otherwise the connection is failed with close
/// code 1011, because frames that have been sent cannot be taken back.
///
/// # Cancel safety
/// Dropping the future of a write or a flush neither loses nor duplicates bytes.
pub struct MessageWriter<W: SendParts> {
    to: W,
    /// Bytes that were written and not queued yet.
    buffer: Vec<u8>,
    state: WriterState,
}

/// The state of the message.
///
/// ```text
///        last frame queued ──▶ Finished
///  Open ─┤
///        error ──────────────▶ Abandoned, Closed
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum WriterState {
    Open,
    Finished,
    /// The program made an error.
    Abandoned,
    /// The connection has ended.
    Closed,
}

/// Redacts payload data: prints only its length.
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
        Self { to, buffer: Vec::new(), state: WriterState::Open }
    }

    /// Disables compression for this message.
    ///
    /// Must be called before anything of the message is written. Without this, the message is
    /// compressed as it is written if both ends agreed on compression.
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

    /// Waits for room, and queues a part of the message as a frame of its own.
    ///
    /// The part is not copied. It is sent after what was written before.
    ///
    /// # Errors
    /// Returns the same errors as [`WebSocket::send`], and [`Error::Send`] if text is not valid
    /// UTF-8. After an error the message is abandoned, as if the writer had been dropped.
    ///
    /// # Cancel safety
    /// If the future is dropped before it completes, the part is not queued. Once it has returned,
    /// it is.
    pub async fn feed_part(&mut self, part: impl Into<Bytes>) -> Result<(), Error> {
        let part = part.into();
        poll_fn(|cx| self.poll_queue(cx)).await?;
        poll_fn(|cx| self.poll_room(cx, part.len())).await?;
        if part.is_empty() { Ok(()) } else { self.queue(part, false) }
    }

    /// Sends what has been written, and waits until the stream is flushed.
    ///
    /// # Errors
    /// Returns the same errors as [`feed_part`](Self::feed_part).
    ///
    /// # Cancel safety
    /// Dropping the future loses nothing.
    pub async fn flush(&mut self) -> Result<(), Error> {
        poll_fn(|cx| self.poll_send(cx)).await
    }

    /// Finishes the message, and waits until it is written and the stream is flushed.
    ///
    /// # Errors
    /// Returns the same errors as [`feed_part`](Self::feed_part), also if text ends inside a code
    /// point.
    ///
    /// # Cancel safety
    /// Dropping the future drops the writer: by then the message is either finished, or is dropped
    /// unfinished. [`shutdown`](tokio::io::AsyncWriteExt::shutdown) does the same and can be called
    /// again.
    pub async fn finish(mut self) -> Result<(), Error> {
        poll_fn(|cx| self.poll_finish(cx)).await
    }

    fn poll_finish(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        if self.state != WriterState::Finished {
            ready!(self.poll_room(cx, self.buffer.len()))?;
            let rest = mem::take(&mut self.buffer);
            self.queue(rest.into(), true)?;
        }
        self.to.poll_flush(cx)
    }

    fn poll_send(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        if self.state != WriterState::Finished {
            ready!(self.poll_queue(cx))?;
        }
        self.to.poll_flush(cx)
    }

    /// Queues what has been written as a frame that is not the last.
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

    /// Returns ready once there is room for a frame of `len` bytes.
    fn poll_room(&mut self, cx: &mut Context<'_>, len: usize) -> Poll<Result<(), Error>> {
        match self.state {
            WriterState::Open => {}
            WriterState::Closed => return Poll::Ready(Err(Error::Closed)),
            WriterState::Finished | WriterState::Abandoned => {
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
            self.state = WriterState::Finished;
        }
        Ok(())
    }

    /// Abandons the message after an error, because what follows would be incomplete.
    fn check(&mut self, result: Result<(), Error>) -> Result<(), Error> {
        if let Err(error) = &result {
            self.state =
                if matches!(error, Error::Send(_)) { WriterState::Abandoned } else { WriterState::Closed };
            self.to.abandon();
        }
        result
    }
}

impl<W: SendParts> AsyncWrite for MessageWriter<W> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, data: &[u8]) -> Poll<io::Result<usize>> {
        if self.state != WriterState::Open || self.buffer.len() == FRAME {
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
        if self.state == WriterState::Open {
            self.to.abandon();
        }
    }
}

/// A connection to which messages can be written in parts: the bound of [`MessageWriter`].
///
/// It is implemented for `&mut` [`WebSocket`] and [`SenderTurn`](crate::SenderTurn). This trait is
/// sealed: it cannot be implemented outside this crate, and has no public methods.
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
    /// Returns ready once there is room for a part of this length.
    fn poll_room(&mut self, cx: &mut Context<'_>, len: usize) -> Poll<Result<(), Error>>;

    /// Queues a part.
    fn send_part(&mut self, part: Bytes, last: bool) -> Result<(), Error>;

    /// Writes what is queued and flushes the stream.
    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>>;

    /// Abandons the message.
    fn abandon(&mut self);

    /// Leaves the message uncompressed. Must be called before its first part is queued.
    #[cfg(feature = "deflate")]
    fn leave_uncompressed(&mut self);
}

impl<S: AsyncRead + AsyncWrite + Unpin> PartSink for &mut WebSocket<S> {
    fn poll_room(&mut self, cx: &mut Context<'_>, len: usize) -> Poll<Result<(), Error>> {
        self.poll_ready(cx, len)
    }

    fn send_part(&mut self, part: Bytes, last: bool) -> Result<(), Error> {
        self.check_open()?;
        let io = &mut self.connection.io;
        io.with_send(|send, key, buffers| send.send_part(part, last, key, buffers))?;
        io.count_sent(u64::from(last));
        Ok(())
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        WebSocket::poll_flush(self, cx)
    }

    fn abandon(&mut self) {
        let io = &mut self.connection.io;
        // After the end of the connection no Close can be sent.
        if !io.transport.is_write_ended() {
            io.with_send(|send, key, buffers| send.abandon_message(key, buffers));
        }
    }

    #[cfg(feature = "deflate")]
    fn leave_uncompressed(&mut self) {
        self.connection.io.with_send(|send, _, _| send.leave_uncompressed());
    }
}
