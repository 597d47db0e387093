//! Messages with JSON, over connections.

#![cfg(feature = "serde")]

mod support;

use std::{cell::Cell, collections::BTreeMap, io};

use fullduplex::{Config, Error, JsonErrorKind, Message, Role, testing};
use serde::{Deserialize, Serialize};
use support::{
    frames::{binary, text, wire},
    script,
};

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Order {
    item: String,
    count: u32,
}

fn order() -> Order {
    Order { item: "gr\u{fc}n".into(), count: 2 }
}

#[tokio::test]
async fn a_value_is_sent_as_one_text_message_by_a_connection_and_a_sender() {
    let expected = text("{\"item\":\"gr\u{fc}n\",\"count\":2}").build();
    let (mut ws, script) = script::server();
    ws.send_json(&order()).await.expect("open");
    assert_eq!(script.written(), expected);

    let (_receiver, sender, script) = script::split_server(Config::new().ping_interval(None));
    sender.send_json(&order()).await.expect("open");
    assert_eq!(script.written(), expected);
}

#[tokio::test]
async fn a_value_of_any_size_arrives_as_it_was() {
    let (mut client, mut server) = testing::pair(&Config::new());
    for len in [0, 1000, 4096, 10_000, 1 << 20] {
        let sent = Order { item: "x".repeat(len), count: len as u32 };
        let (done, received) = tokio::join!(client.send_json(&sent), server.recv());
        done.expect("open");
        let received = received.expect("valid").expect("a message");
        assert!(received.is_text());
        assert_eq!(received.parse_json::<Order>().expect("an order"), sent);
    }
}

#[tokio::test]
async fn a_value_that_cannot_be_serialized_sends_nothing_and_the_connection_stays_open() {
    let (mut ws, script) = script::server();
    let error = ws.send_json(&BTreeMap::from([((1, 2), 3)])).await.expect_err("keys are no strings");
    assert!(matches!(&error, Error::Json(error) if error.kind() == JsonErrorKind::Serialize), "{error}");
    assert_eq!(error.to_string(), "cannot send: value cannot be serialized as JSON");
    assert_eq!((error.close_code(), io::Error::from(error).kind()), (None, io::ErrorKind::InvalidInput));
    ws.send_json("next").await.expect("open");
    assert_eq!(script.written(), text("\"next\"").build());
}

#[tokio::test]
async fn invalid_json_of_the_peer_does_not_end_the_connection() {
    let (mut ws, script) = script::open(Role::Server, &Config::new().ping_interval(None));
    script.bring(wire(&[text("{nonsense").masked(), binary(b"{\"item\":\"a\",\"count\":1}").masked()]));
    let message = ws.recv().await.expect("valid").expect("a message");
    let error = Error::from(message.parse_json::<Order>().expect_err("not JSON"));
    assert_eq!(format!("{error:#}"), "peer sent invalid JSON, at line 1, column 2");
    assert_eq!((error.close_code(), error.is_disconnect()), (None, false));
    assert_eq!(io::Error::from(error).kind(), io::ErrorKind::InvalidData);
    let message = ws.recv().await.expect("valid").expect("a message");
    assert_eq!(message.parse_json::<Order>().expect("an order").item, "a");
    assert_eq!(script.written(), b"");
    assert_eq!(message.parse_json::<Message2<'_>>().expect("borrowed").item, "a");
}

/// A type that borrows from its message.
#[derive(Deserialize)]
struct Message2<'a> {
    item: &'a str,
}

/// A value that is not `Sync`.
#[derive(Serialize)]
struct Local(Cell<u32>);

#[tokio::test]
async fn the_future_of_a_send_is_send_whatever_the_value_is() {
    fn assert_send<T: Send>(future: T) -> T {
        future
    }
    let (mut ws, script) = script::server();
    assert_send(ws.send_json(&Local(Cell::new(7)))).await.expect("open");
    let (_receiver, sender, other) = script::split_server(Config::new().ping_interval(None));
    assert_send(sender.send_json(&Local(Cell::new(7)))).await.expect("open");
    assert_eq!((script.written(), other.written()), (text("7").build(), text("7").build()));
    assert_eq!(Message::json(&Local(Cell::new(7))).expect("a number"), Message::from("7"));
}
