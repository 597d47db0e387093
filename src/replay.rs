//! A transport whose input can be read again from the beginning.

use std::{
    fmt, io,
    pin::Pin,
    task::{Context, Poll},
};

use bytes::{Buf, Bytes};
use tokio::io::{AsyncRead, ReadBuf};

use crate::delegate::delegate_write;

/// A transport that first yields the bytes that were already read from it.
///
/// Returned by `into_replay` of [`HttpRequest`](crate::HttpRequest),
/// [`IncomingRequest`](crate::IncomingRequest) and [`RejectedRequest`](crate::RejectedRequest), to
/// pass a connection to another HTTP library. With the feature `proxy`, `Proxy::tunnel` returns one
/// too. Writes go directly to the transport.
///
/// ```
/// use tokio::io::{AsyncReadExt, AsyncWriteExt};
/// use fullduplex::{AnyRequest, Server};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let (mut client, io) = tokio::io::duplex(1024);
/// client.write_all(b"POST / HTTP/1.1\r\nContent-Length: 2\r\n\r\nhi").await?;
/// if let AnyRequest::Http(request) = Server::default().read_any_request(io).await? {
///     let mut replay = request.into_replay(); // for hyper: `TokioIo::new(request.into_replay())`
///     let mut start = [0; 6];
///     replay.read_exact(&mut start).await?;
///     assert_eq!(&start, b"POST /");
/// }
/// # Ok(())
/// # }
/// ```
pub struct Replay<S> {
    front: Bytes,
    io: S,
}

impl<S> Replay<S> {
    pub(crate) fn new(front: Bytes, io: S) -> Self {
        Self { front, io }
    }

    /// Returns the transport.
    pub fn get_ref(&self) -> &S {
        &self.io
    }

    /// Returns the bytes that are left to replay, and the transport.
    pub fn into_inner(self) -> (Bytes, S) {
        (self.front, self.io)
    }
}

/// Redacted: prints only the number of bytes left to replay, as they can contain credentials.
impl<S: fmt::Debug> fmt::Debug for Replay<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { front, io } = self;
        f.debug_struct("Replay").field("front", &Redacted(front)).field("io", io).finish()
    }
}

/// Bytes with a `Debug` output of only their number.
pub(crate) struct Redacted<'a>(pub(crate) &'a [u8]);

impl fmt::Debug for Redacted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "[{} bytes]", self.0.len())
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Replay<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.front.is_empty() {
            return Pin::new(&mut self.io).poll_read(cx, buffer);
        }
        let len = self.front.len().min(buffer.remaining());
        buffer.put_slice(&self.front[..len]);
        self.front.advance(len);
        if self.front.is_empty() {
            // Frees the read buffer now instead of with the connection.
            self.front = Bytes::new();
        }
        Poll::Ready(Ok(()))
    }
}

delegate_write!(Replay);
