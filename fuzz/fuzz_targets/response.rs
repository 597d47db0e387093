//! A client's side of the opening handshake, with any bytes divided in any way: the outcome is the
//! same, and the body of a refusal does not exceed its limit.

#![no_main]

mod scan;

use fullduplex::{
    Client, Config,
    handshake::{BodyReader, HeadScanner, MAX_BODY, parse_response},
};
use libfuzzer_sys::fuzz_target;
use scan::scan;

fuzz_target!(|input: &[u8]| {
    let config = Config::new().max_header_size(1 << 12).max_headers(16);
    let client = Client::new(config.clone()).subprotocol("chat");
    let scan = |step| scan(HeadScanner::response(&config), &config, input, step);
    let end = scan(input.len().max(1));
    assert_eq!(end, scan(1));
    let Ok(Some(end)) = end else { return };
    let (head, rest) = input.split_at(end);
    let Ok(response) = parse_response(head, &config) else { return };
    if let Ok(negotiated) = client.verify(&response, *b"the sample nonce") {
        assert_eq!(response.headers()["sec-websocket-accept"], "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
        assert!(negotiated.subprotocol().is_none_or(|name| name == "chat"));
    }
    let (parts, ()) = response.into_parts();
    // Whether the body is complete after reads of `step` bytes, and the body.
    let body = |step: usize| {
        let mut reader = BodyReader::new(&parts);
        rest.chunks(step).for_each(|piece| reader.receive(piece));
        (reader.is_done(), reader.into_body())
    };
    let whole = body(rest.len().max(1));
    assert!(whole.1.len() <= MAX_BODY);
    assert_eq!(whole, body(1));
    assert_eq!(whole, body(5));
});
