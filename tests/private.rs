//! What a connection does not show, and what it does not trip over.

mod support;

use std::pin::pin;

use bytes::Bytes;
use support::{
    frames::{binary, ping, text, wire},
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
async fn payload_data_may_do_anything_when_it_is_dropped() {
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
async fn so_may_payload_data_that_is_compressed() {
    use fullduplex::{Config, Deflate, Role, handshake::Negotiated};
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
