//! The negotiation of permessage-deflate, with any `Sec-WebSocket-Extensions` in a request or a
//! response: the agreed parameters are in range, can be parsed again, and are the same on both
//! ends.

#![no_main]

use fullduplex::{
    Client, Config, Deflate, Server,
    handshake::{Negotiated, parse_request, respond},
    proto::DeflateParams,
};
use http::{HeaderValue, Response, header::SEC_WEBSOCKET_EXTENSIONS};
use libfuzzer_sys::fuzz_target;

const NONCE: [u8; 16] = *b"the sample nonce";

// The first four bytes are the settings of a client and a server; the rest is lines of the field.
fuzz_target!(|input: &[u8]| {
    let Some(([client, bits, server, more_bits], lines)) = input.split_first_chunk() else { return };
    let (client, server) = (settings(*client, *bits), settings(*server, *more_bits));
    let client = Client::new(Config::new().deflate(client));
    let lines: Vec<_> =
        lines.split(|&byte| byte == b'\n').filter_map(|line| HeaderValue::from_bytes(line).ok()).collect();

    // As offers.
    let plain = Client::default();
    if let Some((response, agreed)) = answer(&plain, &lines, server) {
        let text = agreed.extensions();
        assert_eq!(response.headers().contains_key(SEC_WEBSOCKET_EXTENSIONS), !text.is_empty());
        if let Some(params) = agreed.deflate() {
            check(&params);
            // A client that requests nothing parses the same parameters from the answer.
            let asking = Client::new(Config::new().deflate(Deflate::new().context_takeover(true)));
            let read = asking.verify(&response, NONCE).expect("a valid answer");
            assert_eq!(read.deflate(), Some(params));
            assert_eq!(text.strip_suffix("; server_max_window_bits=15").unwrap_or(text), params.to_string());
        } else {
            assert_eq!(text, "");
        }
    }

    // As an answer.
    let response = lines.iter().fold(switching(), |mut response, line| {
        response.headers_mut().append(SEC_WEBSOCKET_EXTENSIONS, line.clone());
        response
    });
    if let Ok(negotiated) = client.verify(&response, NONCE) {
        assert_eq!(negotiated.deflate().is_some(), !lines.is_empty());
        negotiated.deflate().iter().for_each(check);
    }

    // A client's own offer is accepted, and both ends agree on the same.
    let (response, agreed) = answer(&client, &[], server).expect("a valid request");
    let read = client.verify(&response, NONCE).expect("a valid answer");
    assert!(agreed.deflate().is_some());
    assert_eq!(read.deflate(), agreed.deflate());
});

/// Returns the server's answer to the client's request with these lines added; `None` if it is
/// rejected.
fn answer(client: &Client, lines: &[HeaderValue], server: Deflate) -> Option<(Response<()>, Negotiated)> {
    let request = client.request(&"ws://a".parse().expect("a target"), NONCE).expect("a request");
    let (mut request, ()) = parse_request(&request, &Config::new()).expect("well-formed").into_parts();
    for line in lines {
        request.headers.append(SEC_WEBSOCKET_EXTENSIONS, line.clone());
    }
    respond(&request, &Server::new(Config::new().deflate(server))).ok()
}

fn settings(flags: u8, bits: u8) -> Deflate {
    Deflate::new()
        .server_no_context_takeover(flags & 1 > 0)
        .client_no_context_takeover(flags & 2 > 0)
        .server_max_window_bits(bits & 15)
        .client_max_window_bits(bits >> 4)
}

fn switching() -> Response<()> {
    Response::builder()
        .status(101)
        .header("Upgrade", "websocket")
        .header("Connection", "Upgrade")
        .header("Sec-WebSocket-Accept", "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=")
        .body(())
        .expect("valid")
}

fn check(params: &DeflateParams) {
    assert!((8..=15).contains(&params.server_max_window_bits()));
    assert!((8..=15).contains(&params.client_max_window_bits()));
}
