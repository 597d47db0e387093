//! The negotiation of compression (RFC 7692 section 7.1) with a hostile peer, over the public API.
#![cfg(feature = "deflate")]

use fullduplex::{
    Client, Config, Deflate, Error, Server,
    handshake::{Fault, ResponseError, accept_key, respond},
};
use http::Request;
use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};

/// The default settings, with context takeover, so that an answer adds no parameters.
fn config() -> Config {
    let takeover = Deflate::new().server_no_context_takeover(false).client_no_context_takeover(false);
    Config::new().deflate(takeover)
}

/// Returns the extensions that a server accepts from these offers.
fn accepted(offers: &str) -> Option<String> {
    let request = Request::get("/")
        .header("Host", "example.com")
        .header("Upgrade", "websocket")
        .header("Connection", "Upgrade")
        .header("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ==")
        .header("Sec-WebSocket-Version", "13")
        .header("Sec-WebSocket-Extensions", offers);
    let (request, ()) = request.body(()).expect("valid").into_parts();
    // A declined offer does not fail the handshake (RFC 6455 section 9.1).
    let (response, negotiated) = respond(&request, &Server::new(config())).expect("accepted");
    let accepted =
        response.headers().get("Sec-WebSocket-Extensions").map(|value| value.to_str().expect("text"));
    assert_eq!(negotiated.extensions(), accepted.unwrap_or_default());
    accepted.map(str::to_owned)
}

/// Returns the result of a client for a response with these extensions.
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

/// RFC 7692 section 7.1: a server declines an offer that has an invalid, unknown or duplicate
/// parameter.
#[test]
fn row_21_a_server_declines_an_offer_with_an_invalid_parameter() {
    for parameters in INVALID {
        assert_eq!(accepted(&format!("permessage-deflate; {parameters}")), None, "{parameters}");
    }
    // A quoted value is that of the token in it (RFC 6455 section 9.1).
    let quoted = accepted("permessage-deflate; server_max_window_bits=\"8\"");
    assert_eq!(quoted.as_deref(), Some("permessage-deflate; server_max_window_bits=8"));
}

/// RFC 7692 section 7.1: a client fails the connection.
#[tokio::test]
async fn row_21_a_client_fails_on_a_response_with_an_invalid_parameter() {
    for parameters in INVALID {
        let result = answered(config(), &format!("permessage-deflate; {parameters}")).await;
        assert!(result.is_err(), "{parameters}");
    }
    assert_eq!(answered(config(), "permessage-deflate; server_max_window_bits=\"8\"").await, Ok(()));
}

#[test]
fn row_21_long_lists_of_parameters_and_offers_are_parsed_to_their_end() {
    for piece in [";a", ";server_no_context_takeover", ",permessage-deflate;x", ",x", ",", " "] {
        let declined = format!("permessage-deflate;x{}", piece.repeat((1 << 16) / piece.len()));
        assert_eq!(accepted(&declined), None, "{piece}");
        let accepted = accepted(&(declined + ",permessage-deflate"));
        assert_eq!(accepted.as_deref(), Some("permessage-deflate"), "{piece}");
    }
}

/// RFC 7692 section 5: offers are in order of preference.
#[test]
fn row_22_the_first_acceptable_offer_is_chosen() {
    let offers = "permessage-deflate; x, permessage-deflate; server_max_window_bits=9, permessage-deflate";
    let answer = accepted(offers);
    assert_eq!(answer.as_deref(), Some("permessage-deflate; server_max_window_bits=9"));
}

/// RFC 7692 section 7.1.2.2: a server must not answer with `client_max_window_bits` if the offer
/// has none; section 5.1: a response without an offer fails the connection.
#[tokio::test]
async fn row_22_a_client_fails_on_a_response_that_it_did_not_offer() {
    let window = "permessage-deflate; client_max_window_bits=9";
    assert_eq!(answered(Config::new(), window).await, Err(Fault::Wrong));
    assert_eq!(answered(Config::new(), "permessage-deflate").await, Err(Fault::Wrong));
    assert!(answered(config(), "permessage-deflate, permessage-deflate; x").await.is_err());
    // This client always offers `client_max_window_bits`, and therefore accepts any window in
    // the response.
    assert_eq!(answered(config(), window).await, Ok(()));
}
