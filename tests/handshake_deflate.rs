//! The negotiation of compression (RFC 7692 section 7.1) with a hostile peer, over the public API.
#![cfg(feature = "deflate")]

#[path = "support/handshake.rs"]
#[allow(dead_code, reason = "shared with other tests")]
mod support;

use fullduplex::{
    Client, Config, Deflate, Error, Server,
    handshake::{Fault, ResponseError, accept_key},
};
use support::{Script, Step, request};
use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};

/// The default settings, with context takeover, so that an answer names no parameter of its own.
fn config() -> Config {
    let takeover = Deflate::new().server_no_context_takeover(false).client_no_context_takeover(false);
    Config::new().deflate(takeover)
}

/// Returns the extensions that a server answers these offers with.
async fn accepted(offers: &str) -> Option<String> {
    let header = format!("Upgrade: websocket\r\nSec-WebSocket-Extensions: {offers}\r\n");
    let (io, written) = Script::new([Step::Bytes(request("Upgrade: websocket\r\n", &header)), Step::Hangs]);
    // A declined offer does not fail the handshake (RFC 6455 section 9.1).
    let ws = Server::new(config()).receive(io).await.expect("a request").accept().await.expect("accepted");
    drop(ws);
    let response = written.text();
    let line = response.lines().find_map(|line| line.strip_prefix("Sec-WebSocket-Extensions: "));
    line.map(str::to_owned)
}

/// Returns what a client makes of a response with these extensions.
async fn answered(config: Config, extensions: &str) -> Result<(), Fault> {
    let (mut near, io) = duplex(1 << 21);
    let peer = async {
        let mut request = Vec::new();
        while !request.ends_with(b"\r\n\r\n") {
            request.push(near.read_u8().await.expect("a whole request"));
        }
        let request = String::from_utf8(request).expect("text");
        let key = request.lines().find_map(|line| line.strip_prefix("Sec-WebSocket-Key: ")).expect("a key");
        let response = format!(
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Accept: {}\r\nSec-WebSocket-Extensions: {extensions}\r\n\r\n",
            accept_key(key.as_bytes())
        );
        near.write_all(response.as_bytes()).await.expect("open");
    };
    let client = Client::new(config);
    let (result, ()) = tokio::join!(client.handshake("ws://example.com/", io), peer);
    match result {
        Ok(_) => Ok(()),
        Err(Error::Response(error)) => match *error {
            ResponseError::Extension(fault) => Err(fault),
            other => panic!("{other:?}"),
        },
        Err(other) => panic!("{other:?}"),
    }
}

/// Parameters that RFC 7692 section 7.1 allows in neither an offer nor a response.
const INVALID: [&str; 9] = [
    "server_max_window_bits=0",
    "server_max_window_bits=7",
    "server_max_window_bits=16",
    "server_max_window_bits=08",
    "server_max_window_bits=\"08\"",
    "server_no_context_takeover=1",
    "server_max_window_bits=9; server_max_window_bits=9",
    "server_no_context_takeover; server_no_context_takeover",
    "unknown",
];

// RFC 7692 section 7.1: a server declines an offer that has an invalid, unknown or duplicate
// parameter.
#[tokio::test]
async fn row_21_a_server_declines_an_offer_with_an_invalid_parameter() {
    for parameters in INVALID {
        assert_eq!(accepted(&format!("permessage-deflate; {parameters}")).await, None, "{parameters}");
    }
    // A quoted value is that of the token in it (RFC 6455 section 9.1).
    let quoted = accepted("permessage-deflate; server_max_window_bits=\"8\"").await;
    assert_eq!(quoted.as_deref(), Some("permessage-deflate; server_max_window_bits=8"));
}

// RFC 7692 section 7.1: a client fails the connection.
#[tokio::test]
async fn row_21_a_client_fails_on_a_response_with_an_invalid_parameter() {
    for parameters in INVALID {
        let result = answered(config(), &format!("permessage-deflate; {parameters}")).await;
        assert!(result.is_err(), "{parameters}");
    }
    assert_eq!(answered(config(), "permessage-deflate; server_max_window_bits=\"8\"").await, Ok(()));
}

#[tokio::test]
async fn row_21_long_lists_of_parameters_and_offers_are_declined() {
    // The limit of the whole request is 16 KiB; tests in src/handshake/deflate.rs parse a mebibyte.
    for piece in [";a", ";server_no_context_takeover", ",permessage-deflate;x", ",x", ",", " "] {
        let long = format!("permessage-deflate;x{}", piece.repeat((1 << 12) / piece.len()));
        assert_eq!(accepted(&long).await, None, "{piece}");
    }
}

// RFC 7692 section 5: offers are in order of preference.
#[tokio::test]
async fn row_22_the_first_acceptable_offer_is_chosen() {
    let offers = "permessage-deflate; x, permessage-deflate; server_max_window_bits=9, permessage-deflate";
    let answer = accepted(offers).await;
    assert_eq!(answer.as_deref(), Some("permessage-deflate; server_max_window_bits=9"));
}

// RFC 7692 section 7.1.2.2: a server must not answer with `client_max_window_bits` if the offer has
// none; section 5.1: a response without an offer fails the connection.
#[tokio::test]
async fn row_22_a_client_fails_on_a_response_to_what_it_did_not_offer() {
    let window = "permessage-deflate; client_max_window_bits=9";
    assert_eq!(answered(Config::new(), window).await, Err(Fault::Wrong));
    assert_eq!(answered(Config::new(), "permessage-deflate").await, Err(Fault::Wrong));
    assert!(answered(config(), "permessage-deflate, permessage-deflate; x").await.is_err());
    // This client always offers `client_max_window_bits`, and so accepts any window in the
    // response.
    assert_eq!(answered(config(), window).await, Ok(()));
}
