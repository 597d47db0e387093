//! What a connection does not show, and what it does not trip over.

mod support;

use std::pin::pin;

use bytes::Bytes;
use support::{
    frames::{ping, text},
    pending, script,
};

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

/// Payload data that uses another connection of the same thread when it is dropped.
struct Nosy(Option<fullduplex::WebSocket<script::Scripted>>);

impl AsRef<[u8]> for Nosy {
    fn as_ref(&self) -> &[u8] {
        b"payload data of the application's own kind"
    }
}

impl Drop for Nosy {
    fn drop(&mut self) {
        let mut other = self.0.take().expect("it is dropped once");
        other.start_send("the last word").expect("open");
    }
}

#[tokio::test]
async fn payload_data_may_do_anything_when_it_is_dropped() {
    let (mut ws, script) = script::server();
    let (other, _) = script::server();
    ws.send(Bytes::from_owner(Nosy(Some(other)))).await.expect("the stream takes all");
    assert_eq!(script.written()[2..], *b"payload data of the application's own kind");
}
