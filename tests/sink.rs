//! A connection as `Stream` and `Sink`.

mod support;

use std::pin::Pin;

use fullduplex::{Config, Error, Message, PreparedMessage, Role};
use futures_util::{Sink, SinkExt, StreamExt, stream};
use support::{
    frames::{self, close, close_empty, text, wire},
    pair::pair,
    script,
};

#[tokio::test]
async fn a_stream_ends_when_the_connection_ends() {
    let (ws, script) = script::server();
    script.bring(wire(&[text("one").masked(), text("two").masked(), close(1000, "").masked()]));
    script.end();
    let received: Vec<_> = ws.map(|message| message.expect("no error")).collect().await;
    assert_eq!(received, [Message::from("one"), Message::from("two")]);
}

#[tokio::test]
async fn a_stream_yields_an_error_once_and_ends() {
    let (mut ws, script) = script::server();
    script.bring(text("not masked").build());
    script.end();
    assert!(matches!(ws.next().await, Some(Err(Error::Protocol(_)))));
    assert!(ws.next().await.is_none());
    assert!(ws.next().await.is_none());
}

#[tokio::test]
async fn forwarding_to_a_sink_writes_all_messages_and_then_a_close_without_a_code() {
    let (mut ws, script) = script::server();
    let messages = stream::iter((0..100).map(|i| Ok(Message::from(format!("message {i}")))));
    messages.forward(&mut ws).await.expect("the stream accepts everything");
    let mut expected: Vec<_> = (0..100).map(|i| text(format!("message {i}"))).collect();
    expected.push(close_empty());
    assert_eq!(script.written(), wire(&expected));
    assert!(matches!(SinkExt::send(&mut ws, Message::from("late")).await, Err(Error::Closed)));
}

#[tokio::test]
async fn the_halves_of_stream_ext_split_echo_messages() {
    let (mut client, server) = pair(&Config::new(), 100);
    let (sink, stream) = StreamExt::split(server);
    let echo = tokio::spawn(stream.forward(sink));
    for len in [0, 10, 1000] {
        client.send("x".repeat(len)).await.expect("open");
        assert_eq!(client.recv().await.expect("open"), Some(Message::text("x".repeat(len))));
    }
    client.close(1000.into(), "").await.expect("closed cleanly");
    assert!(echo.await.expect("no panic").is_ok());
}

#[tokio::test]
async fn a_receiver_is_forwarded_to_a_sender() {
    let (mut client, server) = pair(&Config::new(), 100);
    let (receiver, sender) = server.split();
    let echo = tokio::spawn(receiver.forward(sender.sink()));
    for len in [0, 10, 1000] {
        client.send("x".repeat(len)).await.expect("open");
        assert_eq!(client.recv().await.expect("open"), Some(Message::text("x".repeat(len))));
    }
    client.close(1000.into(), "").await.expect("closed cleanly");
    assert!(echo.await.expect("no panic").is_ok());
}

#[tokio::test]
async fn a_sink_waits_while_max_write_buffer_is_queued() {
    let (mut ws, script) = script::open(Role::Server, &Config::new().max_write_buffer_size(10));
    script.allow_writes(0);
    SinkExt::feed(&mut ws, Message::from("0123456789")).await.expect("the queue is empty");
    support::pending(std::pin::pin!(SinkExt::feed(&mut ws, Message::from("next"))), "the queue is full");
    script.allow_writes(None);
    SinkExt::send(&mut ws, Message::from("next")).await.expect("open");
    assert_eq!(script.written(), wire(&[text("0123456789"), text("next")]));
}

#[tokio::test]
async fn queued_prepared_messages_are_written_in_one_write() {
    let (mut ws, script) = script::server();
    let prepared: Vec<_> = (0..32).map(|i| PreparedMessage::new(format!("tick {i}"))).collect();
    for message in &prepared {
        ws.feed(message).await.expect("room");
    }
    ws.flush().await.expect("the stream accepts everything");
    assert_eq!(script.writes(), 1);
    assert_eq!(script.written(), wire(&(0..32).map(|i| text(format!("tick {i}"))).collect::<Vec<_>>()));
}

// RFC 6455 section 5.3.
#[tokio::test]
async fn a_client_masks_a_prepared_message_with_a_new_key_each_time() {
    let (mut ws, script) = script::client();
    let prepared = PreparedMessage::new("the same");
    ws.send(&prepared).await.expect("the stream accepts everything");
    ws.send(&prepared).await.expect("the stream accepts everything");
    let written = script.written();
    assert_eq!(frames::parse(&written), vec![(0x81, b"the same".to_vec()); 2]);
    let (first, second) = written.split_at(written.len() / 2);
    assert_ne!(first[2..6], second[2..6]);
}

#[tokio::test]
async fn a_sink_keeps_messages_sent_before_it_is_ready_in_order() {
    let (ws, script) = script::open(Role::Server, &Config::new().max_write_buffer_size(20));
    let (_receiver, sender) = ws.split();
    let mut sink = sender.sink();
    script.allow_writes(0);
    sender.feed("0123456789abcdefgh").await.expect("the queue is empty");
    for late in ["a", "b", "c"] {
        Sink::start_send(Pin::new(&mut sink), Message::from(late)).expect("open");
    }
    script.allow_writes(None);
    SinkExt::flush(&mut sink).await.expect("open");
    let expected = [text("0123456789abcdefgh"), text("a"), text("b"), text("c")];
    assert_eq!(script.written(), wire(&expected));
}
