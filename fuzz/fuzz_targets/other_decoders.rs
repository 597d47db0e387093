//! What tungstenite and tokio-websockets receive, over a stream in memory.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll, Waker},
};

use futures_core::Stream;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_websockets::{ClientBuilder, Limits, ServerBuilder, proto::ProtocolError};
use tungstenite::{
    Message, WebSocket,
    protocol::{Role, WebSocketConfig},
};

use crate::{
    reference::{End, Event, Received},
    wire::{LIMIT, Wire},
};

/// Receives with tungstenite.
pub(crate) fn tungstenite(server: bool, wire: &Wire) -> Received {
    let config = WebSocketConfig::default()
        .read_buffer_size(4096)
        .max_frame_size(Some(LIMIT))
        .max_message_size(Some(LIMIT));
    let role = if server { Role::Server } else { Role::Client };
    let mut socket = WebSocket::from_raw_socket(Memory::of(wire), role, Some(config));
    let mut events = Vec::new();
    loop {
        use tungstenite::error::{Error, ProtocolError};
        let end = match socket.read() {
            Ok(Message::Text(text)) => {
                events.push(Event::Text(text.as_bytes().to_vec()));
                continue;
            }
            Ok(Message::Binary(data)) => {
                events.push(Event::Binary(data.into()));
                continue;
            }
            Ok(Message::Ping(data)) => {
                events.push(Event::Ping(data.into()));
                continue;
            }
            Ok(Message::Pong(data)) => {
                events.push(Event::Pong(data.into()));
                continue;
            }
            Ok(Message::Close(frame)) => {
                let frame = frame.map(|frame| (frame.code.into(), frame.reason.as_bytes().to_vec()));
                events.push(Event::Close(frame));
                End::Closed
            }
            Err(Error::Protocol(ProtocolError::ResetWithoutClosingHandshake)) => End::Eof,
            // It leaves the closing to its caller; these are the codes for its errors.
            Err(Error::Protocol(_)) => End::Failed(1002),
            Err(Error::Utf8(_)) => End::Failed(1007),
            Err(Error::Capacity(_)) => End::Failed(1009),
            other => panic!("{other:?}"),
        };
        return Received { events, end };
    }
}

/// Receives with tokio-websockets.
pub(crate) fn tokio_websockets(server: bool, wire: &Wire) -> Received {
    let limits = Limits::default().max_payload_len(Some(LIMIT));
    let stream = Memory::of(wire);
    let mut socket = match server {
        true => ServerBuilder::new().limits(limits).serve(stream),
        false => ClientBuilder::new().limits(limits).take_over(stream),
    };
    let mut context = Context::from_waker(Waker::noop());
    let mut events = Vec::new();
    loop {
        use tokio_websockets::Error;
        let Poll::Ready(next) = Pin::new(&mut socket).poll_next(&mut context) else {
            panic!("the stream is always ready");
        };
        let end = match next {
            Some(Ok(message)) => {
                let event = event(&message);
                let closes = matches!(event, Event::Close(_));
                events.push(event);
                if !closes {
                    continue;
                }
                End::Closed
            }
            Some(Err(Error::Protocol(ProtocolError::InvalidUtf8))) => End::Failed(1007),
            Some(Err(Error::Protocol(_))) => End::Failed(1002),
            Some(Err(Error::PayloadTooLong { .. })) => End::Failed(1009),
            // The transport ends, within a frame in the case of an error.
            Some(Err(Error::Io(_))) | None => End::Eof,
            Some(Err(other)) => panic!("{other:?}"),
        };
        return Received { events, end };
    }
}

fn event(message: &tokio_websockets::Message) -> Event {
    // Not as text: it is not always UTF-8.
    let payload = message.as_payload().to_vec();
    if message.is_text() {
        Event::Text(payload)
    } else if message.is_binary() {
        Event::Binary(payload)
    } else if message.is_ping() {
        Event::Ping(payload)
    } else if message.is_pong() {
        Event::Pong(payload)
    } else {
        let code_and_reason = payload.split_first_chunk();
        Event::Close(code_and_reason.map(|(code, reason)| (u16::from_be_bytes(*code), reason.to_vec())))
    }
}

/// A stream that returns the bytes in the reads of the input and then ends, and accepts anything.
struct Memory<'a> {
    wire: &'a [u8],
    reads: std::slice::Iter<'a, usize>,
    read: usize,
}

impl<'a> Memory<'a> {
    fn of(wire: &'a Wire) -> Self {
        Self { wire: &wire.bytes, reads: wire.reads.iter(), read: usize::MAX }
    }

    fn next(&mut self, room: usize) -> &'a [u8] {
        self.read = self.reads.next().copied().unwrap_or(self.read);
        let (part, rest) = self.wire.split_at(self.read.min(self.wire.len()).min(room));
        self.wire = rest;
        part
    }
}

impl io::Read for Memory<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let part = self.next(buffer.len());
        buffer[..part.len()].copy_from_slice(part);
        Ok(part.len())
    }
}

impl io::Write for Memory<'_> {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        Ok(data.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl AsyncRead for Memory<'_> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let part = self.next(buffer.remaining());
        buffer.put_slice(part);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Memory<'_> {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, data: &[u8]) -> Poll<io::Result<usize>> {
        Poll::Ready(Ok(data.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
