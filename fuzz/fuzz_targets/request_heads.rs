//! The head of a request, parsed by this crate, by httparse and by a server of hyper: all of them
//! read the same method, target, version and fields, or reject it, but for the differences that
//! `fuzz/README.md` lists with the sentences of the RFCs. Whether the request opens a connection is
//! compared with an independent reading of the rules.

#![no_main]

mod head_input;
mod hyper_ends;
mod opening_rules;
mod scan;

use fullduplex::{
    Config, Server,
    handshake::{HeadScanner, parse_request, respond},
};
use head_input::{HeadInput, MAX_FIELDS, MAX_SIZE, begins_with_empty_line, fields, fields_of, has_bare_lf};
use http::{Request, Uri, Version};
use libfuzzer_sys::fuzz_target;
use opening_rules::{ORIGIN, Rule, broken_by_request};
use scan::scan;

const PHRASES: [&str; 32] = [
    "GET / HTTP/1.1\r\n",
    "Host: a\r\n",
    "Upgrade: websocket\r\n",
    "Connection: Upgrade\r\n",
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n",
    "Sec-WebSocket-Version: 13\r\n",
    "\r\n",
    "Sec-WebSocket-Protocol: ",
    "Sec-WebSocket-Extensions: ",
    "permessage-deflate; client_max_window_bits",
    "Origin: https://example.com\r\n",
    "Content-Length: ",
    "Transfer-Encoding: ",
    "chunked",
    "GET ",
    "POST ",
    " HTTP/1.1\r\n",
    " HTTP/1.0\r\n",
    "Host: ",
    "Upgrade: ",
    "Connection: ",
    "Sec-WebSocket-Key: ",
    "Sec-WebSocket-Version: ",
    "Origin: ",
    "http://a/",
    "keep-alive, ",
    "websocket",
    "=\"x\"",
    "[::1]:80",
    "%41",
    "\r\n\t",
    "Expect: 100-continue\r\n",
];

fuzz_target!(|input: &[u8]| {
    let Some(input) = HeadInput::of(input, &PHRASES) else { return };
    let config = Config::new().max_header_size(MAX_SIZE).max_headers(MAX_FIELDS);
    let own = parse(&input, &config);
    let hyper = hyper_ends::request(&input);
    compare_with_httparse(&input.bytes, own.as_ref());
    compare_with_hyper(&input.bytes, own.as_ref().map(|(request, _)| request), hyper.as_ref());

    // Whether it opens a connection.
    let server = Server::new(config).subprotocols(["chat"]).allow_origins([ORIGIN]);
    let opens = |request: Request<()>| respond(&request.into_parts().0, &server).is_ok();
    if let Some((own, _)) = own {
        let broken = broken_by_request(&own);
        assert_eq!(opens(own), broken.is_empty(), "{broken:?}");
    }
});

/// Parses with this crate; returns the request and the length of its head.
fn parse(input: &HeadInput, config: &Config) -> Option<(Request<()>, usize)> {
    let step = input.step.min(input.bytes.len());
    let end = scan(HeadScanner::request(config), config, &input.bytes, step).ok()??;
    Some((parse_request(&input.bytes[..end], config).ok()?, end))
}

/// Returns whether this crate rejects what other parsers accept: see the table for `request_heads`.
fn is_stricter(head: &[u8], target: &str) -> bool {
    begins_with_empty_line(head) || has_bare_lf(head) || target.contains('#')
}

fn compare_with_httparse(input: &[u8], own: Option<&(Request<()>, usize)>) {
    let mut slots = [httparse::EMPTY_HEADER; MAX_FIELDS];
    let mut other = httparse::Request::new(&mut slots);
    let Ok(httparse::Status::Complete(end)) = other.parse(input) else {
        assert!(own.is_none(), "httparse has rejected it");
        return;
    };
    let target = other.path.expect("complete");
    let Some((own, own_end)) = own else {
        assert!(
            is_stricter(&input[..end], target) || target.parse::<Uri>().is_err(),
            "httparse has accepted it"
        );
        return;
    };
    assert!(!is_stricter(&input[..end], target), "{own:?}");
    assert_eq!(*own_end, end);
    assert_eq!(own.method().as_str(), other.method.expect("complete"));
    assert_eq!(*own.uri(), target.parse::<Uri>().expect("it was parsed"));
    assert_eq!(own.version() == Version::HTTP_11, other.version == Some(1));
    assert_eq!(fields_of(own.headers()), fields(other.headers));
}

fn compare_with_hyper(input: &[u8], own: Option<&Request<()>>, other: Option<&Request<()>>) {
    match (own, other) {
        (Some(own), Some(other)) => {
            assert_eq!(
                (own.method(), own.uri(), own.version()),
                (other.method(), other.uri(), other.version())
            );
            // hyper removes lengths that say nothing more.
            let without_lengths = |request: &Request<()>| {
                let mut fields = fields_of(request.headers());
                fields.retain(|(name, _)| name != "content-length");
                fields
            };
            assert_eq!(without_lengths(own), without_lengths(other));
        }
        // Only hyper parses the framing of the body, which belongs to the message and not to its head.
        (Some(own), None) => assert!(broken_by_request(own).contains(&Rule::Body), "hyper has rejected it"),
        // httparse, which hyper uses, has found the same end and target.
        (None, Some(other)) => {
            let mut slots = [httparse::EMPTY_HEADER; MAX_FIELDS];
            let mut parsed = httparse::Request::new(&mut slots);
            let Ok(httparse::Status::Complete(end)) = parsed.parse(input) else {
                panic!("only hyper has accepted it: {other:?}");
            };
            assert!(is_stricter(&input[..end], parsed.path.expect("complete")), "hyper has accepted it");
        }
        (None, None) => {}
    }
}
