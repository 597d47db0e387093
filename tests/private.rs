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
async fn debug_output_of_a_connection_contains_no_payload_data() {
    let (mut ws, script) = script::server();
    script.bring([text("a secret").masked().build(), text("another secret").masked().build()].concat());
    ws.recv().await.expect("valid").expect("a message");
    script.allow_writes(0);
    ws.feed("a secret answer").await.expect("room");
    pending(pin!(ws.flush()), "the stream accepts nothing");
    ws.feed("one more secret answer").await.expect("room");
    assert_no_secret(&ws);
    ws.recv().await.expect("valid").expect("a message");
    script.bring(&text(b"a secret in parts").more().masked().build()[..]);
    script.bring(&ping("a secret").masked().build()[..14]);
    pending(pin!(ws.recv()), "the ping is incomplete");
    assert_no_secret(&ws);
}

/// Asserts that the debug output is short and contains no payload data.
#[track_caller]
fn assert_no_secret(ws: &fullduplex::WebSocket<script::Scripted>) {
    let shown = format!("{ws:?}");
    assert!(shown.len() < 4000, "{shown}");
    assert_hides(&shown, "secret");
}

/// Asserts that the output contains a text neither as it is nor as a list of bytes.
#[track_caller]
fn assert_hides(shown: &str, secret: &str) {
    let bytes = secret.bytes().map(|byte| byte.to_string()).collect::<Vec<_>>().join(", ");
    let hex = secret.bytes().map(|byte| format!("{byte:02x}")).collect::<String>();
    for form in [secret, &bytes, &hex] {
        assert!(!shown.contains(form), "{shown}");
    }
}

/// The payload data, which no output may contain.
const SECRET: &str = "hunter2";

#[test]
fn row_66_debug_output_contains_no_payload_data() {
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
    for shown in shown {
        assert_hides(&shown, SECRET);
        assert!(shown.contains("7 bytes"), "{shown}");
    }
}

#[test]
fn row_66_debug_output_of_parts_and_connections_contains_no_payload_data() {
    let mut path = ReceivePath::new(Role::Client, &Config::new());
    path.receive_parts(100).expect("no message has begun");
    let mut input = text(SECRET).more().build();
    let step = path.receive(&mut input).expect("valid");
    let shown = format!("{step:?}");
    assert!(matches!(step.received, Some(Received::Part(_))));
    assert_hides(&shown, SECRET);
    assert!(shown.contains("7 bytes"), "{shown}");

    let (mut ws, script) = script::server();
    script.bring(text(SECRET).more().masked().build());
    let reader = finished(ws.reader(100)).expect("valid").expect("a message");
    let shown = format!("{reader:?}");
    assert_hides(&shown, SECRET);
    assert!(shown.contains("7 bytes"), "{shown}");
    drop(reader);

    let (mut ws, script) = script::server();
    script.allow_writes(0);
    let mut writer = ws.writer(MessageKind::Text).expect("open");
    finished(writer.write_all(SECRET.as_bytes())).expect("open");
    let shown = format!("{writer:?}");
    assert_hides(&shown, SECRET);
    assert!(shown.contains("7 bytes"), "{shown}");
    drop(writer);
    ws.start_send(SECRET).expect("open");
    let shown = format!("{:?}", ws.into_inner());
    assert_hides(&shown, SECRET);
    assert!(shown.contains("9 bytes"), "{shown}");
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

/// Payload data that sends a message on another connection of the same thread when it is dropped.
struct SendOnDrop(Option<fullduplex::WebSocket<script::Scripted>>, Vec<u8>);

impl AsRef<[u8]> for SendOnDrop {
    fn as_ref(&self) -> &[u8] {
        &self.1
    }
}

impl Drop for SendOnDrop {
    fn drop(&mut self) {
        let mut other = self.0.take().expect("dropped once");
        other.start_send("the last word").expect("open");
    }
}

/// Returns payload data of this length, whose drop sends a message.
fn send_on_drop(len: usize) -> Bytes {
    Bytes::from_owner(SendOnDrop(Some(script::server().0), vec![b'n'; len]))
}

#[tokio::test]
async fn payload_data_may_use_a_connection_when_it_is_dropped() {
    for len in [42, 5000] {
        let (mut ws, script) = script::server();
        ws.send(send_on_drop(len)).await.expect("the stream accepts everything");
        ws.feed("before").await.expect("room");
        ws.feed(send_on_drop(len)).await.expect("room");
        ws.flush().await.expect("the stream accepts everything");
        assert_eq!(
            script.written(),
            wire(&[binary(vec![b'n'; len]), text("before"), binary(vec![b'n'; len])])
        );

        let (mut ws, script) = script::client();
        ws.feed("before").await.expect("room");
        ws.feed(send_on_drop(len)).await.expect("room");
        ws.flush().await.expect("the stream accepts everything");
        assert!(script.written().len() > len);

        let (mut ws, script) = script::server();
        script.allow_writes(0);
        ws.feed("before").await.expect("room");
        ws.feed(send_on_drop(len)).await.expect("room");
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
        ws.send(send_on_drop(5000)).await.expect("the stream accepts everything");
        assert!((1..1000).contains(&script.written().len()));
    }
}
