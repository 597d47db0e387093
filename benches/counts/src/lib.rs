//! Streams in memory and frames for the counted paths. Nothing here depends on time or randomness.

use std::{
    io::{self, IoSlice},
    pin::{Pin, pin},
    task::{Context, Poll, Waker},
};

use bytes::Bytes;
use fullduplex::{
    handshake::accept_key,
    proto::{Header, MaskKey, Opcode},
};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// The masking key of every frame that is received.
const KEY: [u8; 4] = [0x37, 0xFA, 0x21, 0x3D];

/// Polls a future once, and returns its output.
///
/// Panics if the future is pending.
pub fn now<T>(future: impl Future<Output = T>) -> T {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(output) => output,
        Poll::Pending => panic!("nothing in memory has to wait"),
    }
}

/// A stream that replays its input in bursts, and discards what is written.
///
/// A read at the end of the input is pending; the one after it starts from the beginning.
#[derive(Debug, Clone)]
pub struct Replay {
    input: Bytes,
    at: usize,
    chunk: usize,
}

impl Replay {
    pub fn new(input: impl Into<Bytes>) -> Self {
        Self::in_chunks(input, usize::MAX)
    }

    /// Creates a stream that returns at most `chunk` bytes from each read.
    pub fn in_chunks(input: impl Into<Bytes>, chunk: usize) -> Self {
        Self { input: input.into(), at: 0, chunk }
    }

    /// Creates a stream whose reads are always pending.
    pub fn silent() -> Self {
        Self::new(Bytes::new())
    }
}

impl AsyncRead for Replay {
    fn poll_read(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.at == self.input.len() {
            self.at = 0;
            return Poll::Pending;
        }
        let len = (self.input.len() - self.at).min(buffer.remaining()).min(self.chunk);
        buffer.put_slice(&self.input[self.at..self.at + len]);
        self.at += len;
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Replay {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Poll::Ready(Ok(std::hint::black_box(bytes).len()))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Poll::Ready(Ok(std::hint::black_box(slices).iter().map(|slice| slice.len()).sum()))
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

/// A stream that records all that is written, for a replay.
#[derive(Debug, Default)]
pub struct Recorder(Vec<u8>);

impl Recorder {
    pub fn recorded(&self) -> &[u8] {
        &self.0
    }
}

impl AsyncRead for Recorder {
    fn poll_read(self: Pin<&mut Self>, _: &mut Context<'_>, _: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Poll::Pending
    }
}

impl AsyncWrite for Recorder {
    fn poll_write(mut self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.0.extend_from_slice(bytes);
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

/// A server that only performs the opening handshake: it accepts the request that is written to it.
#[derive(Debug, Default)]
pub struct Acceptor {
    request: Vec<u8>,
    response: Vec<u8>,
}

impl AsyncRead for Acceptor {
    fn poll_read(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.response.is_empty() {
            return Poll::Pending;
        }
        buffer.put_slice(&std::mem::take(&mut self.response));
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Acceptor {
    fn poll_write(mut self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        const FIELD: &[u8] = b"sec-websocket-key: ";
        self.request.extend_from_slice(bytes);
        if self.request.ends_with(b"\r\n\r\n") {
            let at = self.request.windows(FIELD.len()).position(|part| part.eq_ignore_ascii_case(FIELD));
            let at = at.expect("the request has a key") + FIELD.len();
            let accept = accept_key(&self.request[at..at + 24]);
            self.response = format!(
                "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
                 Sec-WebSocket-Accept: {accept}\r\n\r\n"
            )
            .into_bytes();
        }
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

/// Returns a whole message in one frame, as a client sends it.
pub fn masked(opcode: Opcode, payload: &[u8]) -> Vec<u8> {
    frame(opcode, true, true, payload)
}

/// Returns a whole message in one frame, as a server sends it.
pub fn unmasked(opcode: Opcode, payload: &[u8]) -> Vec<u8> {
    frame(opcode, true, false, payload)
}

/// Returns a masked text message in four fragments.
pub fn fragments(payload: &[u8]) -> Vec<u8> {
    let parts: Vec<_> = payload.chunks(payload.len().div_ceil(4)).collect();
    let opcode = |at| if at == 0 { Opcode::Text } else { Opcode::Continuation };
    let last = parts.len() - 1;
    parts.iter().enumerate().flat_map(|(at, part)| frame(opcode(at), at == last, true, part)).collect()
}

fn frame(opcode: Opcode, fin: bool, masked: bool, payload: &[u8]) -> Vec<u8> {
    let mask = masked.then(|| MaskKey::from(KEY));
    let mut header = Header::new(opcode, payload.len() as u64);
    (header.fin, header.mask) = (fin, mask);
    let mut frame = header.encode().to_vec();
    let at = frame.len();
    frame.extend_from_slice(payload);
    if let Some(key) = mask {
        key.apply(&mut frame[at..]);
    }
    frame
}

/// Returns the pattern, repeated up to this many bytes, with a whole code point at the end.
pub fn text(pattern: &str, len: usize) -> String {
    let mut text = pattern.repeat(len / pattern.len() + 1);
    let end = (0..=len).rev().find(|end| text.is_char_boundary(*end)).unwrap_or(0);
    text.truncate(end);
    text + &"x".repeat(len - end)
}

pub const ASCII: &str = "a plain line of text. ";
pub const MIXED: &str = "grüezi, ça va? 你好 ";
