//! A stream that replays its input, for tests that count allocations.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll, Waker},
};

use bytes::Bytes;
use fullduplex::{Config, Message, Role, WebSocket, handshake::Negotiated};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// A stream that yields its input in reads of at most `chunk` bytes, and discards what is written
/// to it. It allocates nothing.
#[derive(Debug)]
pub struct Replay<'a> {
    pub input: &'a [u8],
    pub chunk: usize,
}

impl AsyncRead for Replay<'_> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.input.is_empty() {
            return Poll::Pending;
        }
        let (part, rest) = self.input.split_at(self.input.len().min(buffer.remaining()).min(self.chunk));
        buffer.put_slice(part);
        self.input = rest;
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Replay<'_> {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

/// Receives until nothing more can be read, and calls `handle` with each message.
pub fn receive_all<'a>(
    ws: &mut WebSocket<Replay<'a>>,
    mut handle: impl FnMut(&mut WebSocket<Replay<'a>>, Message),
) {
    let mut cx = Context::from_waker(Waker::noop());
    while let Poll::Ready(message) = ws.poll_recv(&mut cx) {
        handle(ws, message.expect("valid").expect("no Close was received"));
    }
}

/// Opens a server that receives this input.
pub fn server<'a>(config: &Config, input: &'a [u8], chunk: usize) -> WebSocket<Replay<'a>> {
    WebSocket::from_raw(Replay { input, chunk }, Bytes::new(), Role::Server, config, Negotiated::default())
}

/// Returns a configuration without keep-alive.
pub fn quiet() -> Config {
    Config::new().ping_interval(None)
}

/// A stream that yields nothing and accepts nothing.
#[derive(Debug)]
pub struct Stuck;

impl AsyncRead for Stuck {
    fn poll_read(self: Pin<&mut Self>, _: &mut Context<'_>, _: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Poll::Pending
    }
}

impl AsyncWrite for Stuck {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, _: &[u8]) -> Poll<io::Result<usize>> {
        Poll::Pending
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Pending
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Pending
    }
}
