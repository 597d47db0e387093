//! Streams without a socket: one that returns the same frames repeatedly, and one that gathers
//! writes.
//!
//! With them, a measurement in memory contains only the library and a copy.

use std::{
    io::{self, IoSlice},
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Returns its frames repeatedly, and discards what is written. Without frames, reads are pending.
#[derive(Debug)]
pub struct Memory {
    wire: Bytes,
    at: usize,
}

impl Memory {
    pub fn replay(wire: Bytes) -> Self {
        Self { wire, at: 0 }
    }

    pub fn discard() -> Self {
        Self::replay(Bytes::new())
    }

    /// Copies what fits, as a read from a socket would. Returns the number of bytes.
    pub fn fill(&mut self, room: &mut [u8]) -> usize {
        let len = room.len().min(self.wire.len() - self.at);
        room[..len].copy_from_slice(&self.wire[self.at..self.at + len]);
        self.at = if self.at + len == self.wire.len() { 0 } else { self.at + len };
        len
    }
}

impl AsyncRead for Memory {
    fn poll_read(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.wire.is_empty() {
            return Poll::Pending;
        }
        let len = buf.remaining().min(self.wire.len() - self.at);
        buf.put_slice(&self.wire[self.at..self.at + len]);
        self.at = if self.at + len == self.wire.len() { 0 } else { self.at + len };
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Memory {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Poll::Ready(Ok(std::hint::black_box(buf).len()))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Poll::Ready(Ok(std::hint::black_box(bufs).iter().map(|buf| buf.len()).sum()))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

/// The number of bytes that a [`Cork`] gathers before it writes.
const GATHERED: usize = 256 << 10;

/// Gathers what is written, and writes it when it is read from, flushed or full.
///
/// It is for libraries without `feed`, which then also answer a burst with one write.
#[derive(Debug)]
pub struct Cork<S> {
    io: S,
    gathered: Vec<u8>,
    written: usize,
}

impl<S: AsyncWrite + Unpin> Cork<S> {
    pub fn new(io: S) -> Self {
        Self { io, gathered: Vec::new(), written: 0 }
    }

    fn poll_drain(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.written < self.gathered.len() {
            let len = ready!(Pin::new(&mut self.io).poll_write(cx, &self.gathered[self.written..]))?;
            if len == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.written += len;
        }
        self.gathered.clear();
        self.written = 0;
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for Cork<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if let Poll::Ready(Err(error)) = self.poll_drain(cx) {
            return Poll::Ready(Err(error));
        }
        Pin::new(&mut self.io).poll_read(cx, buf)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Cork<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.as_mut().poll_write_vectored(cx, &[IoSlice::new(buf)])
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let len: usize = bufs.iter().map(|buf| buf.len()).sum();
        if self.gathered.len() + len > GATHERED {
            ready!(self.poll_drain(cx))?;
        }
        if len > GATHERED {
            // For a large write, a copy costs more than a separate write.
            return Pin::new(&mut self.io).poll_write_vectored(cx, bufs);
        }
        for buf in bufs {
            self.gathered.extend_from_slice(buf);
        }
        Poll::Ready(Ok(len))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_drain(cx))?;
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_drain(cx))?;
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}
