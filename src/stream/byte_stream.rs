//! A connection as a stream of bytes.

use std::{
    fmt,
    io::{self, IoSlice},
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::{Buf, Bytes};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::{WebSocket, connection::Pick};
use crate::{
    CloseCode, CloseFrame, Error, MessageKind, Outgoing,
    proto::{Part, Received},
};

/// The maximum length of a message made of one write. A peer that assembles messages holds no more
/// than that for each.
const MESSAGE: usize = 64 << 10;

impl<S> WebSocket<S> {
    /// Converts the connection into a stream of bytes, carried by binary messages.
    ///
    /// What has been received and queued already is kept. If a dropped
    /// [`MessageReader`](crate::MessageReader) has left a part of its message, that is skipped.
    ///
    /// A tunnel between a TCP connection and a WebSocket connection:
    ///
    /// ```
    /// use fullduplex::WebSocket;
    /// use tokio::{io::copy_bidirectional, net::TcpStream};
    ///
    /// async fn tunnel(ws: WebSocket<TcpStream>, mut tcp: TcpStream) -> std::io::Result<()> {
    ///     let mut stream = ws.into_byte_stream();
    ///     copy_bidirectional(&mut stream, &mut tcp).await?;
    ///     Ok(())
    /// }
    /// ```
    pub fn into_byte_stream(self) -> ByteStream<S> {
        let skips = self.connection.inbound.receive.is_inside_parts();
        ByteStream { ws: self, unread: Bytes::new(), accepts_text: false, skips, failed: None }
    }
}

/// A connection as a stream of bytes, returned by [`WebSocket::into_byte_stream`].
///
/// It implements [`AsyncRead`] and [`AsyncWrite`], for protocols that expect a transport.
///
/// # Reading
/// Reading returns the payload data of binary messages in order; where a message ends is not
/// visible. Data is returned as it arrives, before its message is complete. It is copied once, from
/// the read buffer of the connection; [compressed](crate::Config) data may be copied twice.
/// Messages may have any length, because none is held in memory as a whole:
/// [`max_message_size`](crate::Config::max_message_size) and the other limits on messages do not
/// apply.
///
/// A text message fails the connection with close code 1003 (RFC 6455 section 7.4.1), unless
/// [`accept_text`](Self::accept_text) is enabled.
///
/// While it is read, the connection does everything that it does in [`recv`](WebSocket::recv): it
/// answers pings, sends keep-alive pings, checks deadlines, and writes what is queued.
///
/// # Writing
/// Each write becomes one binary message, of at most 64 KiB; of a longer slice, the first 64 KiB
/// are written. A vectored write is one message too. The message is queued, and sent when the
/// stream is flushed, when it is read and has to wait, or at once if another task waits in a read.
/// If there is no room, as [`max_write_buffer_size`](crate::Config::max_write_buffer_size) defines
/// it, a write waits until queued messages have been sent.
///
/// # The end
/// WebSocket has no half-close: a Close ends both directions (RFC 6455 section 5.5.1).
///
/// - Shutting the stream down sends a Close with code 1000, after everything that was written. What
///   the peer has sent before its own Close can still be read.
/// - The end of file is the end of a connection that the peer has closed with code 1000 or 1001, or
///   without a code. It is returned once the closing handshake is complete and the transport has
///   ended, or [`close_timeout`](crate::Config::close_timeout) has passed.
/// - If the peer closes with another code, reading fails with
///   [`ConnectionAborted`](io::ErrorKind::ConnectionAborted), because the data may be incomplete.
///   [`close_frame`](WebSocket::close_frame) has the code.
/// - Once the peer has closed, writing fails with [`BrokenPipe`](io::ErrorKind::BrokenPipe).
///
/// A program that stops reading before the end of file may reset the connection when it drops the
/// stream, as with any socket that has unread data. [`close`](Self::close) ends it cleanly.
///
/// # Errors
/// Errors are an [`io::Error`] that contains an [`Error`]; `Error::from` returns it. The error that
/// ended the connection is returned once, by a read or a write. After that, reading fails with
/// [`UnexpectedEof`](io::ErrorKind::UnexpectedEof), so that truncated data never looks complete.
///
/// # Two tasks
/// [`tokio::io::split`] returns halves for two tasks. A read and a write that wait at the same time
/// wake both tasks.
///
/// # Cancel safety
/// Dropping the future of a read, a write or a flush neither loses nor duplicates bytes, as far as
/// the method of [`AsyncReadExt`](tokio::io::AsyncReadExt) or
/// [`AsyncWriteExt`](tokio::io::AsyncWriteExt) is cancel safe itself.
pub struct ByteStream<S> {
    ws: WebSocket<S>,
    /// Payload data that was received and did not fit into the buffer of a read.
    unread: Bytes,
    accepts_text: bool,
    /// Whether the current message is skipped: a dropped reader has returned the beginning of it.
    skips: bool,
    /// The error that occurred after a read had returned data.
    failed: Option<Error>,
}

/// Redacts payload data: prints only its length.
impl<S: fmt::Debug> fmt::Debug for ByteStream<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ByteStream")
            .field("ws", &self.ws)
            .field("unread", &format_args!("{} bytes", self.unread.len()))
            .field("accepts_text", &self.accepts_text)
            .finish_non_exhaustive()
    }
}

impl<S> ByteStream<S> {
    /// Sets whether text messages are read like binary ones; disabled by default.
    ///
    /// ```
    /// # fn tolerant(ws: fullduplex::WebSocket<tokio::net::TcpStream>) {
    /// let stream = ws.into_byte_stream().accept_text(true);
    /// # }
    /// ```
    #[must_use]
    pub fn accept_text(mut self, accepts: bool) -> Self {
        self.accepts_text = accepts;
        self
    }

    /// Returns a reference to the connection.
    ///
    /// ```
    /// # fn shown(stream: &fullduplex::ByteStream<tokio::net::TcpStream>) {
    /// println!("closed: {:?}", stream.get_ref().close_frame());
    /// # }
    /// ```
    pub fn get_ref(&self) -> &WebSocket<S> {
        &self.ws
    }

    /// Returns the connection, which can exchange messages again.
    ///
    /// What was written stays queued. Payload data that was received and not read is discarded, and
    /// so is the rest of a message that was read in part.
    pub fn into_inner(self) -> WebSocket<S> {
        self.ws
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> ByteStream<S> {
    /// Closes the connection cleanly, with close code 1000.
    ///
    /// Sends what was written and then our Close, and waits for the peer's Close and for the end of
    /// the transport, at most for [`close_timeout`](crate::Config::close_timeout), and for
    /// [`total_close_timeout`](crate::Config::total_close_timeout) in all. What still arrives is
    /// discarded.
    ///
    /// # Errors
    /// Returns the error that ended the connection, as [`WebSocket::close`] does.
    ///
    /// # Cancel safety
    /// The Close is queued before the first await. Dropping the future drops the connection.
    pub async fn close(mut self) -> Result<(), Error> {
        self.ws.close_with(Some(normal())).await
    }

    /// Receives into the buffer, until it contains anything or the connection has ended.
    ///
    /// Continues while there is room and data that has already been read: a burst of short messages
    /// is one read.
    fn poll_fill(&mut self, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buffer.remaining();
        if let Some(error) = self.failed.take() {
            return Poll::Ready(Err(error.into()));
        }
        while buffer.remaining() > 0 {
            if self.unread.has_remaining() {
                put(buffer, &mut self.unread);
                continue;
            }
            let filled = buffer.remaining() < before;
            if filled && self.ws.connection.inbound.scratch.is_none() {
                break;
            }
            match self.poll_part(cx, buffer) {
                Poll::Ready(Ok(true)) => {}
                // What was received before the end is returned first.
                Poll::Pending | Poll::Ready(Ok(false)) if filled => break,
                Poll::Ready(Err(error)) if filled => {
                    self.failed = Some(error);
                    break;
                }
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Ok(false)) => return Poll::Ready(self.check_end()),
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error.into())),
            }
        }
        Poll::Ready(Ok(()))
    }

    /// Receives the next part of a message into the buffer. Returns `false` at the end of the
    /// connection.
    fn poll_part(&mut self, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<Result<bool, Error>> {
        let connection = &mut self.ws.connection;
        let receive = &mut connection.inbound.receive;
        if !receive.is_inside_parts() {
            match receive.receive_parts(u64::MAX) {
                Ok(None) => {}
                // What a dropped `recv` has assembled of the message.
                Ok(Some((kind, payload))) => {
                    self.unread = payload;
                    self.check_kind(kind);
                    return Poll::Ready(Ok(true));
                }
                Err(error) => {
                    connection.inbound.return_scratch();
                    connection.fail(error);
                }
            }
        }
        let (accepts_text, skips) = (self.accepts_text, self.skips);
        let mut pick = FillBuffer { buffer, rest: &mut self.unread, accepts_text, skips };
        let Some(part) = ready!(connection.poll_picked(cx, &mut pick))? else {
            return Poll::Ready(Ok(false));
        };
        self.skips &= !part.last;
        if !skips {
            self.check_kind(part.kind);
        }
        Poll::Ready(Ok(true))
    }

    /// Fails the connection if the message is text and that is not accepted.
    fn check_kind(&mut self, kind: MessageKind) {
        if kind == MessageKind::Text && !self.accepts_text {
            let connection = &mut self.ws.connection;
            self.unread = Bytes::new();
            // RFC 6455 section 7.4.1: 1003 for a type of data that an endpoint cannot accept.
            let error = connection.inbound.receive.refuse_text();
            connection.inbound.return_scratch();
            connection.fail(error);
        }
    }

    /// Returns whether the connection that has ended was closed cleanly, so that nothing is
    /// missing.
    fn check_end(&self) -> io::Result<()> {
        let inbound = &self.ws.connection.inbound;
        let kind = if !inbound.receive.is_close_received() {
            io::ErrorKind::UnexpectedEof
        } else {
            match inbound.close_frame().map(CloseFrame::code) {
                None | Some(CloseCode::NORMAL | CloseCode::GOING_AWAY) => return Ok(()),
                Some(_) => io::ErrorKind::ConnectionAborted,
            }
        };
        Err(io::Error::new(kind, Error::Closed))
    }

    /// Queues a message once there is room for its `len` bytes.
    fn poll_queue<'a>(
        &mut self,
        cx: &mut Context<'_>,
        len: usize,
        message: impl FnOnce() -> Outgoing<'a>,
    ) -> Poll<io::Result<usize>> {
        if len > 0 {
            ready!(self.ws.poll_ready(cx, len))?;
            self.ws.start_send(message())?;
            // If another task waits in a read, that writes the message: nobody may flush it.
            self.ws.connection.io.wake_other_receiver(cx.waker());
        }
        Poll::Ready(Ok(len))
    }

    /// Waits until everything that is queued is written and the transport is flushed.
    fn poll_written(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match ready!(self.ws.poll_flush(cx)) {
            // A peer need not wait for the answer to its Close. All bytes have been written.
            Err(Error::Closed) if self.ws.connection.io.has_lost_only_close() => Poll::Ready(Ok(())),
            flushed => Poll::Ready(flushed.map_err(Into::into)),
        }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for ByteStream<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.poll_fill(cx, buffer)
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for ByteStream<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, data: &[u8]) -> Poll<io::Result<usize>> {
        let len = data.len().min(MESSAGE);
        self.poll_queue(cx, len, || data[..len].into())
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let len = slices.iter().fold(0, |sum, slice| MESSAGE.min(sum + slice.len().min(MESSAGE)));
        match slices.iter().find(|slice| !slice.is_empty()) {
            Some(only) if only.len() >= len => this.poll_queue(cx, len, || only[..len].into()),
            _ => this.poll_queue(cx, len, || gather(slices, len).into()),
        }
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll_written(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.ws.start_close(Some(normal())) {
            // A Close is queued already: by an earlier poll, or as the answer to the peer's.
            Ok(()) | Err(Error::Closed) => self.poll_written(cx),
            Err(error) => Poll::Ready(Err(error.into())),
        }
    }
}

/// Returns the Close that ends the stream.
fn normal() -> CloseFrame {
    CloseFrame::from_static(CloseCode::NORMAL, "")
}

/// Copies the first `len` bytes of the slices.
fn gather(slices: &[IoSlice<'_>], len: usize) -> Vec<u8> {
    let mut data = Vec::with_capacity(len);
    for slice in slices {
        let room = len - data.len();
        data.extend_from_slice(&slice[..slice.len().min(room)]);
    }
    data
}

/// Moves as many bytes as there is room for.
fn put(buffer: &mut ReadBuf<'_>, from: &mut Bytes) {
    let len = from.len().min(buffer.remaining());
    buffer.put_slice(&from[..len]);
    from.advance(len);
}

/// Copies payload data straight into the buffer of a read.
struct FillBuffer<'a, 'b> {
    buffer: &'a mut ReadBuf<'b>,
    /// What did not fit. Only data that was compressed may be longer than the buffer.
    rest: &'a mut Bytes,
    accepts_text: bool,
    skips: bool,
}

/// A part that was received.
struct Filled {
    kind: MessageKind,
    last: bool,
}

impl Pick<Filled> for FillBuffer<'_, '_> {
    // A part is never longer than the input it is received from, so that it fits into the buffer.
    // The rest stays where it was read.
    fn at_most(&self) -> usize {
        self.buffer.remaining()
    }

    fn pick(&mut self, received: Received<'_>) -> Option<Filled> {
        let Received::Part(Part { kind, payload, last }) = received else { return None };
        let wanted = !self.skips && (kind == MessageKind::Binary || self.accepts_text);
        if wanted && !payload.is_empty() {
            let (now, later) = payload.split_at(payload.len().min(self.buffer.remaining()));
            self.buffer.put_slice(now);
            *self.rest = Bytes::copy_from_slice(later);
        }
        // The next message has to be begun before more is received, and text is refused at once.
        let stops = last || (!self.skips && (!wanted || !payload.is_empty()));
        stops.then_some(Filled { kind, last })
    }
}
