//! Reading a message as a stream of bytes.

use std::{
    fmt,
    future::poll_fn,
    io, mem,
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::{Buf, Bytes};
use tokio::io::{AsyncBufRead, AsyncRead, AsyncWrite, ReadBuf};

use super::{WebSocket, connection::FirstPart};
use crate::{
    Error, MessageKind,
    proto::{Part, Received},
};

impl<S: AsyncRead + AsyncWrite + Unpin> WebSocket<S> {
    /// Waits for the next message, and returns a reader of its payload data.
    ///
    /// The message is never held in memory as a whole. Returns `Ok(None)` once the connection is
    /// closed, as [`recv`](Self::recv) does.
    ///
    /// `limit` is the maximum size of the message in bytes of payload data. If the message is
    /// larger, the connection is failed with close code 1009. The limit replaces
    /// [`max_message_size`](crate::Config::max_message_size),
    /// [`max_frame_size`](crate::Config::max_frame_size) and
    /// [`max_fragments`](crate::Config::max_fragments), which do not apply.
    ///
    /// ```
    /// use fullduplex::{Error, WebSocket};
    /// use tokio::{fs::File, net::TcpStream};
    ///
    /// async fn save(ws: &mut WebSocket<TcpStream>, mut file: File) -> Result<(), Error> {
    ///     if let Some(mut message) = ws.reader(10 << 30).await? {
    ///         tokio::io::copy(&mut message, &mut file).await?;
    ///     }
    ///     Ok(())
    /// }
    /// ```
    ///
    /// # Errors
    /// Returns the same errors as [`recv`](Self::recv).
    ///
    /// # Cancel safety
    /// Dropping the future loses nothing: the next call of `reader` or `recv` returns the message.
    /// Dropping the reader discards the message: the next call skips the rest of it.
    pub async fn reader(&mut self, limit: u64) -> Result<Option<MessageReader<&mut Self>>, Error> {
        let first = poll_fn(|cx| self.connection.poll_first_part(limit, cx)).await?;
        Ok(first.map(|first| MessageReader::new(self, first)))
    }
}

/// A reader of one message, returned by [`WebSocket::reader`] and
/// [`Receiver::reader`](crate::Receiver::reader).
///
/// It implements [`AsyncRead`], which ends where the message ends; [`recv_part`](Self::recv_part)
/// returns the parts as they were received. While it is read, the connection does everything that
/// it does in [`recv`](WebSocket::recv).
///
/// Text is validated as it is received: what is returned is valid UTF-8, except for the last code
/// point, which may be incomplete.
///
/// If the connection closes before the message is complete, reading fails: with [`Error::Closed`],
/// or as a stream of bytes with [`io::ErrorKind::UnexpectedEof`], if the connection was closed
/// cleanly.
///
/// # Cancel safety
/// Dropping the future of a read loses nothing. Dropping the reader discards the message: the next
/// call that receives skips the rest of it.
pub struct MessageReader<R: ReceiveParts> {
    from: R,
    kind: MessageKind,
    /// Bytes that were received and not yet returned.
    part: Bytes,
    /// Whether `part` is the last part.
    last: bool,
}

/// Redacts payload data: prints only its length.
impl<R: ReceiveParts + fmt::Debug> fmt::Debug for MessageReader<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MessageReader")
            .field("from", &self.from)
            .field("kind", &self.kind)
            .field("part", &format_args!("{} bytes", self.part.len()))
            .field("last", &self.last)
            .finish()
    }
}

impl<R: ReceiveParts> MessageReader<R> {
    pub(super) fn new(from: R, first: FirstPart) -> Self {
        let FirstPart { kind, payload, last } = first;
        Self { from, kind, part: payload, last }
    }

    /// Receives the next part of the message, which is never empty; `None` at the end of the
    /// message.
    ///
    /// # Errors
    /// Returns the same errors as [`WebSocket::recv`], and [`Error::Closed`] if the connection was
    /// closed before the end of the message.
    ///
    /// # Cancel safety
    /// Dropping the future loses nothing.
    pub async fn recv_part(&mut self) -> Result<Option<Bytes>, Error> {
        let guard = PartGuard(self);
        poll_fn(|cx| guard.0.poll_recv_part(cx)).await
    }

    /// Polls for the next part, as [`recv_part`](Self::recv_part) does.
    ///
    /// # Errors
    /// Returns the same errors as [`recv_part`](Self::recv_part).
    pub fn poll_recv_part(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Bytes>, Error>> {
        ready!(self.poll_fill(cx))?;
        let part = mem::take(&mut self.part);
        Poll::Ready(Ok((!part.is_empty()).then_some(part)))
    }

    /// Returns whether the message is text or binary.
    pub fn kind(&self) -> MessageKind {
        self.kind
    }

    /// Waits until there is a part to return, or the message has ended.
    fn poll_fill(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        while self.part.is_empty() && !self.last {
            self.part = ready!(self.poll_next(cx, Bytes::copy_from_slice))?;
        }
        Poll::Ready(Ok(()))
    }

    /// Receives the next part and returns the result of `take`.
    fn poll_next<T>(
        &mut self,
        cx: &mut Context<'_>,
        mut take: impl FnMut(&[u8]) -> T,
    ) -> Poll<Result<T, Error>> {
        let next = ready!(self.from.poll_received(cx, |received| match received {
            Received::Part(Part { payload, last, .. }) => Some((take(payload), last)),
            _ => None,
        }))?;
        // A connection that closed cleanly does not complete this message.
        let (taken, last) = next.ok_or(Error::Closed)?;
        self.last = last;
        Poll::Ready(Ok(taken))
    }
}

impl<R: ReceiveParts> AsyncRead for MessageReader<R> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.remaining();
        while before > 0 && buffer.remaining() == before {
            if !self.part.is_empty() {
                let len = self.part.len().min(before);
                buffer.put_slice(&self.part.split_to(len));
            } else if self.last {
                break;
            } else {
                // Copies what fits straight into the buffer.
                let rest = self.poll_next(cx, |payload| {
                    let (now, rest) = payload.split_at(payload.len().min(buffer.remaining()));
                    buffer.put_slice(now);
                    Bytes::copy_from_slice(rest)
                });
                self.part = ready!(rest).map_err(cut_short)?;
            }
        }
        Poll::Ready(Ok(()))
    }
}

impl<R: ReceiveParts> AsyncBufRead for MessageReader<R> {
    fn poll_fill_buf(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<&[u8]>> {
        let this = self.get_mut();
        ready!(this.poll_fill(cx)).map_err(cut_short)?;
        Poll::Ready(Ok(&this.part))
    }

    fn consume(mut self: Pin<&mut Self>, len: usize) {
        self.part.advance(len);
    }
}

/// A future that receives a part: when dropped, the receiver no longer waits.
struct PartGuard<'a, R: ReceiveParts>(&'a mut MessageReader<R>);

impl<R: ReceiveParts> Drop for PartGuard<'_, R> {
    fn drop(&mut self) {
        self.0.from.stop_waiting();
    }
}

impl<R: ReceiveParts> Drop for MessageReader<R> {
    fn drop(&mut self) {
        self.from.stop_waiting();
    }
}

/// Converts an error for readers of bytes: the end of the connection within a message is an
/// unexpected end of file.
fn cut_short(error: Error) -> io::Error {
    match error {
        Error::Closed => io::Error::new(io::ErrorKind::UnexpectedEof, error),
        other => other.into(),
    }
}

/// A connection whose messages can be read in parts: the bound of [`MessageReader`].
///
/// It is implemented for `&mut` [`WebSocket`] and `&mut` [`Receiver`](crate::Receiver). This trait
/// is sealed: it cannot be implemented outside this crate, and has no public methods.
///
/// ```
/// use fullduplex::{Error, MessageReader, ReceiveParts};
///
/// async fn count<R: ReceiveParts>(mut message: MessageReader<R>) -> Result<usize, Error> {
///     let mut len = 0;
///     while let Some(part) = message.recv_part().await? {
///         len += part.len();
///     }
///     Ok(len)
/// }
/// ```
pub trait ReceiveParts: PartSource {}

impl<T: PartSource> ReceiveParts for T {}

/// The methods of [`ReceiveParts`].
pub trait PartSource: Unpin {
    /// Receives until `pick` returns a value, and returns it.
    fn poll_received<T>(
        &mut self,
        cx: &mut Context<'_>,
        pick: impl FnMut(Received<'_>) -> Option<T>,
    ) -> Poll<Result<Option<T>, Error>>;

    /// Records that nothing is received until the next poll.
    fn stop_waiting(&mut self);
}

impl<S: AsyncRead + AsyncWrite + Unpin> PartSource for &mut WebSocket<S> {
    fn poll_received<T>(
        &mut self,
        cx: &mut Context<'_>,
        pick: impl FnMut(Received<'_>) -> Option<T>,
    ) -> Poll<Result<Option<T>, Error>> {
        self.connection.poll_received(cx, pick)
    }

    fn stop_waiting(&mut self) {}
}
