//! A stream of HTTP/2 as the transport of a connection.

use std::{
    fmt,
    future::poll_fn,
    io::{self, IoSlice},
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::{Buf, Bytes, BytesMut};
use h2::{RecvStream, SendStream};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::stream_error;

/// The transport of a connection over HTTP/2: one of its streams.
///
/// Dropping it resets the stream (RST_STREAM), unless both ends have ended it.
pub struct Http2Stream {
    send: SendStream<Bytes>,
    receive: RecvStream,
    /// What was received and not yet read.
    chunk: Bytes,
    /// Whether we have ended our side.
    ended: bool,
}

impl Http2Stream {
    pub(super) fn new(send: SendStream<Bytes>, receive: RecvStream) -> Self {
        Self { send, receive, chunk: Bytes::new(), ended: false }
    }

    /// Returns the next part of what is received; `None` at the end.
    pub(super) async fn chunk(&mut self) -> io::Result<Option<Bytes>> {
        poll_fn(|cx| self.poll_chunk(cx)).await
    }

    fn poll_chunk(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Option<Bytes>>> {
        loop {
            let Some(chunk) = ready!(self.receive.poll_data(cx)) else { return Poll::Ready(Ok(None)) };
            let chunk = chunk.map_err(stream_error)?;
            if !chunk.is_empty() {
                return Poll::Ready(Ok(Some(chunk)));
            }
        }
    }

    /// Polls for permission to send; returns how many bytes, at most `len`.
    fn poll_capacity(&mut self, len: usize, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        if self.ended {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        self.send.reserve_capacity(len);
        while self.send.capacity() == 0 {
            match ready!(self.send.poll_capacity(cx)) {
                Some(Ok(_)) => {}
                Some(Err(error)) => return Poll::Ready(Err(stream_error(error))),
                None => return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into())),
            }
        }
        Poll::Ready(Ok(self.send.capacity().min(len)))
    }

    fn send(&mut self, data: Bytes) -> io::Result<usize> {
        let len = data.len();
        self.send.send_data(data, false).map_err(stream_error)?;
        Ok(len)
    }
}

impl AsyncRead for Http2Stream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.chunk.is_empty() {
            let Some(chunk) = ready!(self.poll_chunk(cx))? else { return Poll::Ready(Ok(())) };
            self.chunk = chunk;
        }
        let len = self.chunk.len().min(buffer.remaining());
        buffer.put_slice(&self.chunk[..len]);
        self.chunk.advance(len);
        if self.chunk.is_empty() {
            self.chunk = Bytes::new();
        }
        // The peer may send as much again. After the end of the stream, this has no effect.
        let _ = self.receive.flow_control().release_capacity(len);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Http2Stream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        if bytes.is_empty() {
            return Poll::Ready(Ok(0));
        }
        let len = ready!(self.poll_capacity(bytes.len(), cx))?;
        Poll::Ready(self.send(Bytes::copy_from_slice(&bytes[..len])))
    }

    /// What was accepted is written by the task of the transport.
    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    /// RFC 8441 section 5: END_STREAM is to a stream what FIN is to a TCP connection.
    fn poll_shutdown(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        if !self.ended {
            self.ended = true;
            self.send.send_data(Bytes::new(), true).map_err(stream_error)?;
        }
        Poll::Ready(Ok(()))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let total = slices.iter().map(|slice| slice.len()).sum();
        if total == 0 {
            return Poll::Ready(Ok(0));
        }
        let len = ready!(self.poll_capacity(total, cx))?;
        let mut data = BytesMut::with_capacity(len);
        for slice in slices {
            let left = len - data.len();
            data.extend_from_slice(&slice[..slice.len().min(left)]);
        }
        Poll::Ready(self.send(data.freeze()))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }
}

impl fmt::Debug for Http2Stream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Http2Stream").field("id", &self.receive.stream_id()).finish_non_exhaustive()
    }
}
