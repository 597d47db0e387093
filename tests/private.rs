//! Debug and Display output without secrets, and payload data whose drop has side effects.

mod support;

use std::pin::pin;

use bytes::Bytes;
use fullduplex::{
    CloseCode, CloseFrame, Config, Event, Message, MessageKind, Outgoing, PreparedMessage, Role,
    TrySendError, Utf8Bytes,
    proto::{ReceivePath, Received},
};
use support::{
    finished,
    frames::{binary, ping, text, wire},
    pending, script,
};
use tokio::io::AsyncWriteExt;

#[tokio::test]
async fn debug_output_shows_no_payload() {
    let (mut ws, script) = script::server();
    script.bring([text("a secret").masked().build(), text("another secret").masked().build()].concat());
    ws.recv().await.expect("valid").expect("a message");
    script.allow_writes(0);
    ws.feed("a secret answer").await.expect("room");
    pending(pin!(ws.flush()), "the stream takes nothing");
    ws.feed("one more secret answer").await.expect("room");
    check(&ws);
    ws.recv().await.expect("valid").expect("a message");
    script.bring(&text(b"a secret in parts").more().masked().build()[..]);
    script.bring(&ping("a secret").masked().build()[..14]);
    pending(pin!(ws.recv()), "the ping is not whole");
    check(&ws);
}

#[track_caller]
fn check(ws: &fullduplex::WebSocket<script::Scripted>) {
    let shown = format!("{ws:?}");
    assert!(shown.len() < 4000, "{shown}");
    assert!(!shown.contains("115, 101, 99, 114, 101, 116"), "{shown}");
}

/// Payloads contain this word, which no output may show.
const SECRET: &str = "hunter2";

#[test]
fn row_66_no_payload_shows_in_debug_output() {
    let message = Message::from(SECRET);
    let outgoing = Outgoing::from(SECRET);
    let shown = [
        format!("{message:?} {:?}", Message::from(SECRET.as_bytes())),
        format!("{:?} {:#?}", Some(&message), Some(&message)),
        format!("{:?}", Utf8Bytes::from(SECRET)),
        format!("{outgoing:?}"),
        format!("{:?} {:?}", PreparedMessage::new(SECRET), Outgoing::from(PreparedMessage::new(SECRET))),
        format!("{:?} {:?}", TrySendError::Full(outgoing.clone()), TrySendError::Closed(outgoing)),
        format!("{:?} {:?}", Event::Message(message.clone()), Event::Ping(SECRET.into())),
        format!("{:?}", Event::Pong(SECRET.into())),
        format!("{:?} {:?}", Received::Message(message), Received::Ping(SECRET.as_bytes())),
        format!("{:?}", Received::Pong(SECRET.as_bytes())),
    ];
    let bytes = SECRET.bytes().map(|byte| byte.to_string()).collect::<Vec<_>>().join(", ");
    for shown in shown {
        assert!(!shown.contains(SECRET) && !shown.contains(&bytes) && shown.contains("7 bytes"), "{shown}");
    }
}

#[test]
fn row_66_parts_of_messages_and_connections_show_no_payload() {
    let mut path = ReceivePath::new(Role::Client, &Config::new());
    path.receive_parts(100).expect("nothing has come");
    let mut input = text(SECRET).more().build();
    let step = path.receive(&mut input).expect("valid");
    let shown = format!("{step:?}");
    assert!(matches!(step.received, Some(Received::Part(_))));
    assert!(!shown.contains("104, 117") && shown.contains("7 bytes"), "{shown}");

    let (mut ws, script) = script::server();
    script.bring(text(SECRET).more().masked().build());
    let reader = finished(ws.reader(100)).expect("valid").expect("a message");
    let shown = format!("{reader:?}");
    assert!(!shown.contains(SECRET) && shown.contains("7 bytes"), "{shown}");
    drop(reader);

    let (mut ws, script) = script::server();
    script.allow_writes(0);
    let mut writer = ws.writer(MessageKind::Text).expect("open");
    finished(writer.write_all(SECRET.as_bytes())).expect("open");
    let shown = format!("{writer:?}");
    assert!(!shown.contains("104, 117") && shown.contains("7 bytes"), "{shown}");
    drop(writer);
    ws.start_send(SECRET).expect("open");
    let shown = format!("{:?}", ws.into_inner());
    assert!(!shown.contains(SECRET) && shown.contains("9 bytes"), "{shown}");
}

#[test]
fn row_66_close_reasons_are_escaped_in_all_output() {
    let frame = CloseFrame::new(CloseCode::NORMAL, "a\n\u{1b}[2J").expect("valid");
    let shown = [
        format!("{frame} {frame:?}"),
        format!("{:?}", Event::Close(Some(frame.clone()))),
        format!("{:?} {:#?}", Received::Close(Some(frame.clone())), Some(frame)),
    ];
    for shown in shown {
        assert!(!shown.contains('\u{1b}') && !shown.contains("a\n"), "{shown}");
        assert!(shown.contains(r"a\n\u{1b}[2J"), "{shown}");
    }
}

#[test]
fn a_message_displays_its_text_or_its_length() {
    assert_eq!(Message::from("gr\u{fc}ezi").to_string(), "gr\u{fc}ezi");
    assert_eq!(format!("{:>4}|", Message::from("a")), "   a|");
    assert_eq!(Message::from(&b"\xFF\x00"[..]).to_string(), "<2 bytes>");
}

/// Payload data that uses another connection of the same thread when it is dropped.
struct Nosy(Option<fullduplex::WebSocket<script::Scripted>>, Vec<u8>);

impl AsRef<[u8]> for Nosy {
    fn as_ref(&self) -> &[u8] {
        &self.1
    }
}

impl Drop for Nosy {
    fn drop(&mut self) {
        let mut other = self.0.take().expect("it is dropped once");
        other.start_send("the last word").expect("open");
    }
}

fn nosy(len: usize) -> Bytes {
    Bytes::from_owner(Nosy(Some(script::server().0), vec![b'n'; len]))
}

#[tokio::test]
async fn payload_data_may_use_a_connection_when_it_is_dropped() {
    for len in [42, 5000] {
        let (mut ws, script) = script::server();
        ws.send(nosy(len)).await.expect("the stream takes all");
        ws.feed("before").await.expect("room");
        ws.feed(nosy(len)).await.expect("room");
        ws.flush().await.expect("the stream takes all");
        assert_eq!(
            script.written(),
            wire(&[binary(vec![b'n'; len]), text("before"), binary(vec![b'n'; len])])
        );

        let (mut ws, script) = script::client();
        ws.feed("before").await.expect("room");
        ws.feed(nosy(len)).await.expect("room");
        ws.flush().await.expect("the stream takes all");
        assert!(script.written().len() > len);

        let (mut ws, script) = script::server();
        script.allow_writes(0);
        ws.feed("before").await.expect("room");
        ws.feed(nosy(len)).await.expect("room");
        script.fail_writes(std::io::ErrorKind::BrokenPipe);
        ws.flush().await.expect_err("the stream has failed");
    }
}

#[cfg(feature = "deflate")]
#[tokio::test]
async fn compressed_payload_data_may_use_a_connection_when_it_is_dropped() {
    use fullduplex::{Deflate, handshake::Negotiated};
    for takeover in [false, true] {
        let settings = Deflate::new().context_takeover(takeover);
        let negotiated = Negotiated::default().with_deflate(fullduplex::proto::DeflateParams::from(settings));
        let (io, script) = script::scripted();
        let config = Config::new().deflate(settings);
        let mut ws = fullduplex::WebSocket::from_raw(io, Bytes::new(), Role::Server, &config, negotiated);
        ws.send(nosy(5000)).await.expect("the stream takes all");
        assert!((1..1000).contains(&script.written().len()));
    }
}
