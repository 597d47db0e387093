//! A server's side of the opening handshake, with any bytes divided in any way: the outcome is the
//! same, and the response is well-formed.

#![no_main]

mod scan;

use bytes::Bytes;
use fullduplex::{
    Config, Server,
    handshake::{HeadScanner, encode_response, parse_request, parse_response, respond},
};
use libfuzzer_sys::fuzz_target;
use scan::scan;

fuzz_target!(|input: &[u8]| {
    let config = Config::new().max_header_size(1 << 12).max_headers(16);
    let server = Server::new(config.clone()).subprotocols(["chat"]).allow_origins(["https://example.com"]);
    let scan = |step| scan(HeadScanner::request(&config), &config, input, step);
    let end = scan(input.len().max(1));
    assert_eq!(end, scan(1));
    assert_eq!(end, scan(7));
    let Ok(Some(end)) = end else { return };
    let parsed = parse_request(&input[..end], &config);
    let answer = parsed.and_then(|request| respond(&request.into_parts().0, &server));
    let (bytes, body) = match answer {
        Ok((response, negotiated)) => {
            assert_eq!(response.status(), 101);
            assert!(negotiated.subprotocol().is_none_or(|name| name == "chat"));
            (encode_response(&response), Bytes::new())
        }
        Err(rejection) => {
            assert!(rejection.status().is_client_error() || rejection.status().is_server_error());
            let body = rejection.clone().into_response().into_body();
            (rejection.encode(), body)
        }
    };
    let head = bytes.strip_suffix(&body[..]).expect("the body is last");
    parse_response(head, &config).expect("a well-formed response");
});
