//! A received message as a stream of bytes.

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
    /// Waits for the beginning of the next message, and gives the message as a stream of bytes, which is never whole in
    /// memory; `Ok(None)` as [`recv`](Self::recv).
    ///
    /// `limit` is the most payload data that the message may have, in bytes: beyond it, the connection is failed with
    /// 1009. It stands in the place of [`max_message_size`](crate::Config::max_message_size),
    /// [`max_frame_size`](crate::Config::max_frame_size) and [`max_fragments`](crate::Config::max_fragments), which do
    /// not apply.
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
    /// As [`recv`](Self::recv).
    ///
    /// # Cancel safety
    /// Dropping the future loses nothing: the message is given by the next call, of `reader` or `recv`. Dropping the
    /// reader gives up the message: the next call skips what is left of it.
    pub async fn reader(&mut self, limit: u64) -> Result<Option<MessageReader<&mut Self>>, Error> {
        let first = poll_fn(|cx| self.connection.poll_first_part(limit, cx)).await?;
        Ok(first.map(|first| MessageReader::new(self, first)))
    }
}

/// One message as a stream of bytes: [`WebSocket::reader`], [`Receiver::reader`](crate::Receiver::reader).
///
/// It is an [`AsyncRead`], which ends where the message ends, and gives the parts as they came by
/// [`recv_part`](Self::recv_part). While it is read, the connection does all that it does while it receives.
///
/// Text is validated as it comes: all that is given is UTF-8 up to its last, perhaps unfinished, code point.
///
/// A message that ends too early, for the connection does, is an error, not an end: [`Error::Closed`], or
/// [`io::ErrorKind::UnexpectedEof`], where the closing handshake was in order.
///
/// # Cancel safety
/// Dropping the future of a read loses nothing. Dropping the reader gives up the message: the next call that receives
/// skips what is left of it.
pub struct MessageReader<R: ReceiveParts> {
    from: R,
    kind: MessageKind,
    /// What has come and was not given yet.
    part: Bytes,
    /// Whether it was the last.
    last: bool,
}

/// Payload data is nobody's business but the application's: only its length is shown.
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

    /// The next part of the message, of any length but none; `None` where it has ended.
    ///
    /// # Errors
    /// As [`WebSocket::recv`]; [`Error::Closed`] where the connection was closed before the message had ended.
    ///
    /// # Cancel safety
    /// Dropping the future loses nothing.
    pub async fn recv_part(&mut self) -> Result<Option<Bytes>, Error> {
        let visit = Visit(self);
        poll_fn(|cx| visit.0.poll_recv_part(cx)).await
    }

    /// [`recv_part`](Self::recv_part), as a poll function.
    ///
    /// # Errors
    /// As [`recv_part`](Self::recv_part).
    pub fn poll_recv_part(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Bytes>, Error>> {
        ready!(self.poll_fill(cx))?;
        let part = mem::take(&mut self.part);
        Poll::Ready(Ok((!part.is_empty()).then_some(part)))
    }

    /// Whether the message is text or binary.
    pub fn kind(&self) -> MessageKind {
        self.kind
    }

    /// Waits until there is a part to give, or the message has ended.
    fn poll_fill(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        while self.part.is_empty() && !self.last {
            self.part = ready!(self.poll_next(cx, Bytes::copy_from_slice))?;
        }
        Poll::Ready(Ok(()))
    }

    /// What `take` makes of the next part.
    fn poll_next<T>(
        &mut self,
        cx: &mut Context<'_>,
        mut take: impl FnMut(&[u8]) -> T,
    ) -> Poll<Result<T, Error>> {
        let next = ready!(self.from.poll_received(cx, |received| match received {
            Received::Part(Part { payload, last, .. }) => Some((take(payload), last)),
            _ => None,
        }))?;
        // That the connection was closed in order makes no whole message of this one.
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
                // What has room in the buffer goes there at once.
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

/// A future that receives a part: dropped, it is no longer waited for.
struct Visit<'a, R: ReceiveParts>(&'a mut MessageReader<R>);

impl<R: ReceiveParts> Drop for Visit<'_, R> {
    fn drop(&mut self) {
        self.0.from.leave();
    }
}

impl<R: ReceiveParts> Drop for MessageReader<R> {
    fn drop(&mut self) {
        self.from.leave();
    }
}

/// To who reads bytes, a connection that closes inside a message is an end where none may be.
fn cut_short(error: Error) -> io::Error {
    match error {
        Error::Closed => io::Error::new(io::ErrorKind::UnexpectedEof, error),
        other => other.into(),
    }
}

/// Connections whose messages can be read in parts: the bound of [`MessageReader`].
///
/// Implemented for `&mut` [`WebSocket`] and `&mut` [`Receiver`](crate::Receiver). It is sealed: it cannot be implemented
/// outside of this crate, and has no methods to call.
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
    /// The next of what is received that `pick` picks.
    fn poll_received<T>(
        &mut self,
        cx: &mut Context<'_>,
        pick: impl FnMut(Received<'_>) -> Option<T>,
    ) -> Poll<Result<Option<T>, Error>>;

    /// Nobody reads any more.
    fn leave(&mut self);
}

impl<S: AsyncRead + AsyncWrite + Unpin> PartSource for &mut WebSocket<S> {
    fn poll_received<T>(
        &mut self,
        cx: &mut Context<'_>,
        pick: impl FnMut(Received<'_>) -> Option<T>,
    ) -> Poll<Result<Option<T>, Error>> {
        self.connection.poll_received(cx, pick)
    }

    fn leave(&mut self) {}
}
