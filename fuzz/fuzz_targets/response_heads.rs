//! The head of a response, parsed by this crate, by httparse and by a client of hyper: all of them
//! read the same status, version and fields, or reject it, but for the differences that
//! `fuzz/README.md` lists with the sentences of the RFCs. Whether the response opens a connection is
//! compared with an independent reading of the rules.

#![no_main]

mod head_input;
mod hyper_ends;
mod opening_rules;
mod scan;

use fullduplex::{
    Client, Config,
    handshake::{HeadScanner, parse_response},
};
use head_input::{HeadInput, MAX_FIELDS, MAX_SIZE, begins_with_empty_line, fields, fields_of, has_bare_lf};
use http::{Response, Version};
use libfuzzer_sys::fuzz_target;
use opening_rules::broken_by_response;
use scan::scan;

const NONCE: [u8; 16] = *b"the sample nonce";
/// RFC 6455 section 4.1: what a server answers to this nonce.
const ACCEPT: &str = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";

const PHRASES: [&str; 32] = [
    "HTTP/1.1 101 Switching Protocols\r\n",
    "Upgrade: websocket\r\n",
    "Connection: Upgrade\r\n",
    "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n",
    "\r\n",
    "HTTP/1.1 ",
    "HTTP/1.0 ",
    "HTTP/1.1 100 Continue\r\n",
    "HTTP/1.1 103 Early Hints\r\n",
    "HTTP/1.1 200 OK\r\n",
    "HTTP/1.1 403 Forbidden\r\n",
    "HTTP/1.1 302 Found\r\n",
    "Location: ws://b/\r\n",
    "Content-Length: ",
    "Transfer-Encoding: ",
    "chunked",
    "Sec-WebSocket-Protocol: chat\r\n",
    "Sec-WebSocket-Extensions: permessage-deflate\r\n",
    "Sec-WebSocket-Accept: ",
    "Upgrade: ",
    "Connection: ",
    "keep-alive, ",
    "websocket",
    "Server: a\r\n",
    "Set-Cookie: a=b\r\n",
    "101 ",
    "204",
    "\r\n\t",
    "\r\n ",
    "Link: </a>; rel=preload\r\n",
    "999 ",
    "099 ",
];

fuzz_target!(|input: &[u8]| {
    let Some(input) = HeadInput::of(input, &PHRASES) else { return };
    let config = Config::new().max_header_size(MAX_SIZE).max_headers(MAX_FIELDS);
    let mut rest = HeadInput { bytes: input.bytes.clone(), step: input.step };
    let hyper = hyper_ends::response(&input);
    // Interim responses precede the final one.
    loop {
        let own = parse(&rest, &config);
        compare_with_httparse(&rest.bytes, own.as_ref());
        match own {
            Some((own, end)) if own.status().is_informational() && own.status() != 101 => {
                rest.bytes.drain(..end);
            }
            own => return compare_with_hyper(&rest.bytes, own.map(|(own, _)| own), hyper, config),
        }
    }
});

/// Parses with this crate; returns the response and the length of its head.
fn parse(input: &HeadInput, config: &Config) -> Option<(Response<()>, usize)> {
    let step = input.step.min(input.bytes.len().max(1));
    let end = scan(HeadScanner::response(config), config, &input.bytes, step).ok()??;
    Some((parse_response(&input.bytes[..end], config).ok()?, end))
}

/// Returns whether this crate rejects what other parsers accept: see the table for
/// `response_heads`.
fn is_stricter(head: &[u8], status: u16, version: Version) -> bool {
    begins_with_empty_line(head) || has_bare_lf(head) || status == 101 && version != Version::HTTP_11
}

fn compare_with_httparse(input: &[u8], own: Option<&(Response<()>, usize)>) {
    let mut slots = [httparse::EMPTY_HEADER; MAX_FIELDS];
    let mut other = httparse::Response::new(&mut slots);
    let Ok(httparse::Status::Complete(end)) = other.parse(input) else {
        assert!(own.is_none(), "httparse has rejected it");
        return;
    };
    let (status, version) = (other.code.expect("complete"), version(&other));
    let Some((own, own_end)) = own else {
        assert!(is_stricter(&input[..end], status, version) || status < 100, "httparse has accepted it");
        return;
    };
    assert!(!is_stricter(&input[..end], status, version), "{own:?}");
    assert_eq!((*own_end, own.status().as_u16(), own.version()), (end, status, version));
    assert_eq!(fields_of(own.headers()), fields(other.headers));
}

fn version(parsed: &httparse::Response<'_, '_>) -> Version {
    if parsed.version == Some(1) { Version::HTTP_11 } else { Version::HTTP_10 }
}

/// Compares the final responses. `input` is what follows the interim ones.
fn compare_with_hyper(input: &[u8], own: Option<Response<()>>, other: Option<Response<()>>, config: Config) {
    let opens = |response: &Response<()>| Client::new(config.clone()).verify(response, NONCE).is_ok();
    match (own, other) {
        (Some(own), Some(other)) => {
            assert!(!has_invalid_framing(&own), "hyper has accepted it: {other:?}");
            assert_eq!((own.status(), own.version()), (other.status(), other.version()));
            assert_eq!(fields_of(own.headers()), fields_of(other.headers()));
            let broken = broken_by_response(&other, ACCEPT);
            assert_eq!(opens(&own), broken.is_empty(), "{broken:?}");
        }
        // Only hyper parses the framing of the body, which belongs to the message and not to its head.
        (Some(own), None) => {
            assert!(has_invalid_framing(&own) && !opens(&own), "hyper has rejected it: {own:?}");
        }
        (None, Some(other)) => {
            let mut slots = [httparse::EMPTY_HEADER; MAX_FIELDS];
            let mut parsed = httparse::Response::new(&mut slots);
            let Ok(httparse::Status::Complete(end)) = parsed.parse(input) else {
                panic!("only hyper has accepted it: {other:?}");
            };
            let (status, version) = (parsed.code.expect("complete"), version(&parsed));
            // An interim response that this crate does not accept was skipped by hyper.
            assert!(is_stricter(&input[..end], status, version), "hyper has accepted it: {other:?}");
        }
        (None, None) => {}
    }
}

/// Returns whether the length of the body is invalid (RFC 9112 section 6.3).
fn has_invalid_framing(response: &Response<()>) -> bool {
    if matches!(response.status().as_u16(), 101 | 204 | 304) {
        return false;
    }
    if response.headers().contains_key("transfer-encoding") {
        return response.version() != Version::HTTP_11;
    }
    let lengths = response.headers().get_all("content-length").iter();
    let lengths: Vec<_> = lengths
        .flat_map(|line| line.as_bytes().split(|byte| *byte == b','))
        .map(|length| content_length(length.trim_ascii()))
        .collect();
    !lengths.iter().all(|length| length.is_some() && *length == lengths[0])
}

/// Parses a length that hyper can represent: it has another use for the highest two numbers.
fn content_length(digits: &[u8]) -> Option<u64> {
    let digits = str::from_utf8(digits).ok().filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()))?;
    digits.parse().ok().filter(|length| *length <= u64::MAX - 2)
}
