//! Scripted transports and peers for the opening handshake.

use std::{
    collections::VecDeque,
    io,
    pin::Pin,
    sync::{Arc, Mutex},
    task::{Context, Poll},
};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// A request as a browser sends it.
pub(crate) const REQUEST: &str = "GET /chat HTTP/1.1\r\nHost: server.example.com\r\nUpgrade: websocket\r\n\
    Connection: keep-alive, Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
    Sec-WebSocket-Version: 13\r\nOrigin: http://example.com\r\n\r\n";

/// The response to [`REQUEST`].
pub(crate) const SWITCHING: &str = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
    Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";

/// What a [`Script`] does when it is read from.
#[derive(Debug)]
pub(crate) enum Step {
    /// These bytes come, in one read if there is room for them.
    Bytes(Vec<u8>),
    /// The read fails.
    Fails(io::ErrorKind),
    /// Nothing ever comes.
    Hangs,
}

/// A transport whose reads are written down beforehand; after the last step it is at its end.
#[derive(Debug)]
pub(crate) struct Script {
    steps: VecDeque<Step>,
    written: Arc<Mutex<Vec<u8>>>,
}

/// What was written to a [`Script`], and whether it is still there.
#[derive(Debug)]
pub(crate) struct Written(Arc<Mutex<Vec<u8>>>);

impl Script {
    /// A transport that gives these steps one after the other.
    pub(crate) fn new(steps: impl IntoIterator<Item = Step>) -> (Self, Written) {
        let written = Arc::default();
        let steps = steps.into_iter().collect();
        (Self { steps, written: Arc::clone(&written) }, Written(written))
    }
}

impl Written {
    /// The bytes.
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.0.lock().expect("no panic")).into_owned()
    }

    /// Whether the transport was dropped.
    pub(crate) fn is_dropped(&self) -> bool {
        Arc::strong_count(&self.0) == 1
    }
}

impl AsyncRead for Script {
    fn poll_read(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.steps.front_mut() {
            Some(Step::Bytes(bytes)) => {
                let rest = bytes.split_off(bytes.len().min(buffer.remaining()));
                buffer.put_slice(bytes);
                *bytes = rest;
                if bytes.is_empty() {
                    self.steps.pop_front();
                }
            }
            Some(Step::Fails(kind)) => return Poll::Ready(Err((*kind).into())),
            Some(Step::Hangs) => return Poll::Pending,
            None => {}
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Script {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.written.lock().expect("no panic").extend_from_slice(bytes);
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

/// Cuts bytes into the pieces between these places.
pub(crate) fn cut(bytes: &[u8], places: &[usize]) -> Vec<Step> {
    let mut places: Vec<_> = places.iter().map(|place| place % (bytes.len() + 1)).collect();
    places.sort_unstable();
    places.dedup();
    let mut start = 0;
    let mut pieces = Vec::new();
    for place in places.into_iter().chain([bytes.len()]) {
        if place > start {
            pieces.push(Step::Bytes(bytes[start..place].to_vec()));
            start = place;
        }
    }
    pieces
}
