//! A connection over a scripted stream: what is received, and when bytes are written.

mod support;

use std::{
    collections::VecDeque,
    io,
    pin::Pin,
    sync::{Arc, Mutex},
    task::{Context, Poll, Waker},
};

use bytes::Bytes;
use fullduplex::{Config, Event, Message, Role, WebSocket, handshake::Negotiated};
use support::{
    frames::{self, binary, close, continuation, ping, pong, text, wire},
    pair::pair,
    script,
};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

#[tokio::test(start_paused = true)]
async fn a_burst_of_32_small_frames_is_answered_with_one_read_and_one_write() {
    let (mut ws, script) = script::server();
    let messages: Vec<String> = (0..32).map(|i| format!("message {i}")).collect();
    script.bring(wire(&messages.iter().map(|m| text(m).masked()).collect::<Vec<_>>()));
    let echo = tokio::spawn(async move {
        while let Some(message) = ws.recv().await? {
            ws.feed(message).await?;
        }
        Ok::<_, fullduplex::Error>(())
    });
    while script.written().is_empty() {
        tokio::task::yield_now().await;
    }
    assert_eq!((script.reads(), script.writes()), (1, 1));
    assert_eq!(script.written(), wire(&messages.iter().map(text).collect::<Vec<_>>()));
    script.bring(close(1000, "").masked().build());
    script.end();
    echo.await.expect("no panic").expect("closed cleanly");
}

// RFC 6455 sections 5.4 and 5.5.2.
#[tokio::test]
async fn fragments_with_a_ping_between_them_are_one_message_and_the_ping_is_answered() {
    let (mut ws, script) = script::server();
    script.bring(wire(&[
        text("Hel").more().masked(),
        ping("now").masked(),
        continuation("lo").masked(),
        binary([1, 2, 3]).masked(),
    ]));
    assert_eq!(ws.recv_event().await.expect("a ping"), Some(Event::Ping("now".into())));
    assert_eq!(ws.recv().await.expect("a message"), Some(Message::from("Hello")));
    assert_eq!(ws.recv().await.expect("a message"), Some(Message::binary(vec![1, 2, 3])));
    ws.flush().await.expect("the stream accepts everything");
    assert_eq!(script.written(), pong("now").build());
}

#[tokio::test]
async fn a_large_message_is_sent_in_one_vectored_write() {
    let (mut ws, script) = script::server();
    let payload = vec![7; 100_000];
    ws.send(payload.clone()).await.expect("the stream accepts everything");
    assert_eq!(script.writes(), 1);
    assert_eq!(script.written(), binary(&payload).build());
}

// RFC 6455 section 5.4: control frames may be injected between frames.
#[tokio::test]
async fn a_pong_overtakes_queued_messages_at_a_frame_boundary() {
    let (mut ws, script) = script::server();
    script.allow_writes(1);
    ws.feed("first").await.expect("room");
    let flush = tokio::time::timeout(std::time::Duration::from_millis(10), ws.flush()).await;
    assert!(flush.is_err(), "the stream accepts one byte");
    ws.feed("second").await.expect("room");
    script.bring(ping("!").masked().build());
    let recv = tokio::time::timeout(std::time::Duration::from_millis(10), ws.recv()).await;
    assert!(recv.is_err(), "only a ping was received");
    script.allow_writes(None);
    ws.flush().await.expect("the stream accepts everything");
    assert_eq!(script.written(), wire(&[text("first"), pong("!"), text("second")]));
}

#[tokio::test]
async fn messages_of_every_size_are_exchanged() {
    let (mut client, mut server) = pair(&Config::new(), 3000);
    let echo = tokio::spawn(async move {
        while let Some(message) = server.recv().await? {
            server.feed(message).await?;
        }
        Ok::<_, fullduplex::Error>(())
    });
    for len in [0, 1, 125, 126, 4096, 4097, 65_535, 65_536, 70_000, 1 << 20] {
        let message = Message::binary((0..len).map(|i: usize| i as u8).collect::<Vec<_>>());
        client.send(message.clone()).await.expect("sent");
        assert_eq!(client.recv().await.expect("echoed"), Some(message));
    }
    client.close(fullduplex::CloseCode::NORMAL, "done").await.expect("closed cleanly");
    echo.await.expect("no panic").expect("closed cleanly");
}

// RFC 6455 section 5.1.
#[tokio::test]
async fn a_client_masks_what_it_sends() {
    let (mut ws, script) = script::client();
    ws.send("masked").await.expect("the stream accepts everything");
    let written = script.written();
    assert_eq!(written[1], 0x80 | 6);
    assert_eq!(frames::parse(&written), [(0x81, b"masked".to_vec())]);
    assert_eq!(ws.role(), Role::Client);
}

/// A stream that yields one chunk of its input per read, and records the size of each read buffer.
struct RecordingStream {
    input: VecDeque<Vec<u8>>,
    requested: Arc<Mutex<Vec<usize>>>,
}

impl AsyncRead for RecordingStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        room: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let Some(mut next) = self.input.pop_front() else { return Poll::Pending };
        self.requested.lock().expect("no panic").push(room.remaining());
        let rest = next.split_off(next.len().min(room.remaining()));
        if !rest.is_empty() {
            self.input.push_front(rest);
        }
        room.put_slice(&next);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for RecordingStream {
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

/// Returns the size of each read that is requested for this input, and the number of messages that
/// are received.
fn requested_reads(input: impl IntoIterator<Item = Vec<u8>>) -> (Vec<usize>, usize) {
    let (requested, mut received) = (Arc::default(), 0);
    let io = RecordingStream { input: input.into_iter().collect(), requested: Arc::clone(&requested) };
    let config = Config::new().ping_interval(None);
    let mut ws = WebSocket::from_raw(io, Bytes::new(), Role::Server, &config, Negotiated::default());
    let mut cx = Context::from_waker(Waker::noop());
    while let Poll::Ready(message) = ws.poll_recv(&mut cx) {
        received += usize::from(message.expect("valid").is_some());
    }
    let requested = requested.lock().expect("no panic").clone();
    (requested, received)
}

const KIB: usize = 1 << 10;

#[test]
fn the_next_six_reads_are_wide_after_a_read_that_filled_the_buffer() {
    let one = text("one").masked().build();
    let many = vec![binary(vec![7; 16 * KIB]).masked(); 30];
    let input = [one.clone(), wire(&many)].into_iter().chain((0..5).map(|_| one.clone()));
    let (requested, received) = requested_reads(input);
    let (narrow, wide) = (64 * KIB, 256 * KIB);
    assert_eq!(requested, [narrow, narrow, wide, wide, wide, wide, wide, wide, narrow]);
    assert_eq!(received, 36);
}

#[test]
fn the_rest_of_a_large_message_is_read_at_once_and_the_next_read_is_narrow() {
    let (len, header) = (300 * KIB, 14);
    let large = binary(vec![7; len]).masked().build();
    let (requested, received) = requested_reads([large, text("one").masked().build()]);
    assert_eq!(requested, [64 * KIB, len + header - 64 * KIB, 64 * KIB]);
    assert_eq!(received, 2);
}

#[test]
fn the_buffer_of_a_message_that_is_longer_than_1_mib_doubles() {
    let (requested, received) = requested_reads([binary(vec![7; 2048 * KIB]).masked().build()]);
    let arrived = 64 * KIB - 14;
    assert_eq!(requested[..4], [64 * KIB, arrived, 2 * arrived, 4 * arrived]);
    assert_eq!(received, 1);
}
