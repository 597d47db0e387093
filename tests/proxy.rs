//! Tunnels through proxies, over the public API.
#![cfg(feature = "proxy")]

#[path = "support/handshake.rs"]
#[allow(dead_code, reason = "shared with other tests")]
mod support;

use std::{io, time::Duration};

use fullduplex::{
    Client, Config, Error, Replay, Timeout,
    handshake::{HeadError, InvalidHandshake, TargetError, accept_key},
    proxy::{InvalidProxy, Proxy, ProxyError, Socks4Reply, Socks5Reply},
};
use proptest::prelude::*;
use support::{Script, Step, Written, cut, released_at_every_poll};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex},
    time::Instant,
};

const HTTP: &str = "http://proxy:3128";
const SOCKS5: &str = "socks5h://proxy";
const SOCKS5_USER: &str = "socks5h://user:pass@proxy";
const SOCKS4: &str = "socks4a://proxy";
const TARGET: &str = "wss://example.com/chat";

/// The answer of an HTTP proxy that opens a tunnel.
const CONNECTED: &[u8] = b"HTTP/1.1 200 Connection established\r\n\r\n";
/// Answers of a SOCKS5 proxy without and with authentication, and of a SOCKS4 proxy.
const SOCKS5_OPEN: &[u8] = b"\x05\x00\x05\x00\x00\x01\x7F\x00\x00\x01\x1F\x90";
const SOCKS5_USER_OPEN: &[u8] = b"\x05\x02\x01\x00\x05\x00\x00\x01\x7F\x00\x00\x01\x1F\x90";
const SOCKS4_OPEN: &[u8] = b"\x00\x5A\x1F\x90\x7F\x00\x00\x01";

/// Each kind of proxy with an answer that opens a tunnel.
const OPEN: [(&str, &[u8]); 4] =
    [(HTTP, CONNECTED), (SOCKS5, SOCKS5_OPEN), (SOCKS5_USER, SOCKS5_USER_OPEN), (SOCKS4, SOCKS4_OPEN)];

fn proxy(uri: &str) -> Proxy {
    uri.parse().unwrap_or_else(|error| panic!("{uri}: {error}"))
}

/// Asks for a tunnel over a transport with these reads. Returns what was written too.
async fn scripted(
    uri: &str,
    config: &Config,
    steps: impl IntoIterator<Item = Step>,
) -> (Result<Replay<Script>, Error>, Written) {
    let (io, written) = Script::new(steps);
    (proxy(uri).tunnel(TARGET, config, io).await, written)
}

/// Asks for a tunnel; the proxy sends this answer in one piece, and then neither more nor the end.
async fn answered(uri: &str, answer: impl Into<Vec<u8>>) -> Result<Replay<Script>, Error> {
    scripted(uri, &Config::new(), [Step::Bytes(answer.into()), Step::Hangs]).await.0
}

/// Returns the error of a tunnel that the proxy answers with this.
async fn error_of(uri: &str, answer: impl Into<Vec<u8>>) -> ProxyError {
    proxy_error(answered(uri, answer).await)
}

#[track_caller]
fn proxy_error(result: Result<Replay<Script>, Error>) -> ProxyError {
    match result {
        Err(Error::Proxy(error)) => *error,
        other => panic!("{other:?}"),
    }
}

/// Reads the rest of a tunnel until the proxy ends it.
async fn rest_of(mut tunnel: Replay<Script>) -> Vec<u8> {
    let mut rest = Vec::new();
    tunnel.read_to_end(&mut rest).await.expect("no read fails");
    rest
}

async fn expect(io: &mut DuplexStream, bytes: &[u8]) {
    let mut received = vec![0; bytes.len()];
    io.read_exact(&mut received).await.expect("open");
    assert_eq!(received, bytes);
}

/// Asserts that nothing more was sent.
async fn expect_nothing(io: &mut DuplexStream) {
    let read = tokio::time::timeout(Duration::from_secs(1), io.read_u8()).await;
    assert!(read.is_err(), "{read:?}");
}

// --- each dialogue, byte by byte

/// RFC 9110 section 9.3.6.
#[tokio::test(start_paused = true)]
async fn an_http_proxy_is_asked_with_one_request() {
    let (mut peer, io) = duplex(1 << 10);
    let proxy = proxy("http://user:p%40ss:word@proxy");
    let config = Config::new();
    let (tunnel, ()) = tokio::join!(proxy.tunnel(TARGET, &config, io), async {
        // base64 of "user:p@ss:word"
        expect(
            &mut peer,
            b"CONNECT example.com:443 HTTP/1.1\r\nHost: example.com:443\r\n\
            Proxy-Authorization: Basic dXNlcjpwQHNzOndvcmQ=\r\n\r\n",
        )
        .await;
        expect_nothing(&mut peer).await;
        peer.write_all(CONNECTED).await.expect("open");
    });
    tunnel.expect("open").write_all(b"after").await.expect("open");
    expect(&mut peer, b"after").await;
}

/// RFC 1928 sections 3 and 4.
#[tokio::test(start_paused = true)]
async fn a_socks5_proxy_is_asked_after_it_has_selected_no_authentication() {
    // With credentials, both methods are offered; if the proxy needs none, none are sent.
    for (uri, offer) in [(SOCKS5, &b"\x05\x01\x00"[..]), (SOCKS5_USER, b"\x05\x02\x00\x02")] {
        let (mut peer, io) = duplex(1 << 10);
        let (proxy, config) = (proxy(uri), Config::new());
        let (tunnel, ()) = tokio::join!(proxy.tunnel(TARGET, &config, io), async {
            expect(&mut peer, offer).await;
            expect_nothing(&mut peer).await;
            peer.write_all(b"\x05\x00").await.expect("open");
            expect(&mut peer, b"\x05\x01\x00\x03\x0Bexample.com\x01\xBB").await;
            expect_nothing(&mut peer).await;
            peer.write_all(&SOCKS5_OPEN[2..]).await.expect("open");
        });
        tunnel.expect("open").write_all(b"after").await.expect("open");
        expect(&mut peer, b"after").await;
    }
}

/// RFC 1929 section 2.
#[tokio::test(start_paused = true)]
async fn a_socks5_proxy_receives_credentials_if_it_selects_that_method() {
    let (mut peer, io) = duplex(1 << 10);
    let proxy = proxy("socks5://us%3Aer:p%00%40ss@proxy");
    let config = Config::new();
    let (tunnel, ()) = tokio::join!(proxy.tunnel("ws://[2001:db8::1]:81/", &config, io), async {
        expect(&mut peer, b"\x05\x02\x00\x02").await;
        peer.write_all(b"\x05\x02").await.expect("open");
        expect(&mut peer, b"\x01\x05us:er\x05p\x00@ss").await;
        expect_nothing(&mut peer).await;
        peer.write_all(b"\x01\x00").await.expect("open");
        expect(
            &mut peer,
            b"\x05\x01\x00\x04\x20\x01\x0D\xB8\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x01\x00\x51",
        )
        .await;
        peer.write_all(&SOCKS5_OPEN[2..]).await.expect("open");
    });
    tunnel.expect("open").write_all(b"after").await.expect("open");
    expect(&mut peer, b"after").await;
}

#[tokio::test(start_paused = true)]
async fn a_socks4_proxy_is_asked_with_one_request() {
    for (uri, target, request) in [
        (SOCKS4, TARGET, &b"\x04\x01\x01\xBB\x00\x00\x00\x01\0example.com\0"[..]),
        ("socks4://m%40e@proxy", "ws://192.0.2.1/", b"\x04\x01\x00\x50\xC0\x00\x02\x01m@e\0"),
    ] {
        let (mut peer, io) = duplex(1 << 10);
        let (proxy, config) = (proxy(uri), Config::new());
        let (tunnel, ()) = tokio::join!(proxy.tunnel(target, &config, io), async {
            expect(&mut peer, request).await;
            expect_nothing(&mut peer).await;
            peer.write_all(SOCKS4_OPEN).await.expect("open");
        });
        tunnel.expect("open").write_all(b"after").await.expect("open");
        expect(&mut peer, b"after").await;
    }
}

/// RFC 1929 section 2: lengths are single bytes.
#[tokio::test]
async fn the_longest_credentials_are_sent_whole() {
    let (user, password) = ("u".repeat(255), "p".repeat(255));
    let proxy = proxy(SOCKS5).credentials(&user, &password).expect("255 bytes each");
    let (io, written) = Script::new([Step::Bytes(SOCKS5_USER_OPEN.to_vec())]);
    proxy.tunnel(TARGET, &Config::new(), io).await.expect("open");
    let sent = [&b"\x01\xFF"[..], user.as_bytes(), b"\xFF", password.as_bytes()].concat();
    assert_eq!(written.bytes()[4..][..sent.len()], sent);
}

// --- the answer, however it is split

#[tokio::test]
async fn row_75_an_answer_may_be_split_anywhere_and_bytes_after_it_belong_to_the_tunnel() {
    for (uri, open) in OPEN {
        let answer = [open, b"early\r\n\r\n\x05\x00"].concat();
        for place in 0..=answer.len() {
            let (result, _) = scripted(uri, &Config::new(), cut(&answer, &[place])).await;
            assert_eq!(rest_of(result.expect("open")).await, answer[open.len()..], "{uri} {place}");
        }
    }
}

#[tokio::test]
async fn row_75_an_answer_may_arrive_byte_by_byte() {
    for (uri, open) in OPEN {
        let answer = [open, b"early"].concat();
        let (io, _written) = Script::new([Step::Bytes(answer)]);
        let tunnel = proxy(uri).tunnel(TARGET, &Config::new(), io.drips()).await.expect("open");
        assert_eq!(rest_of(tunnel).await, b"early", "{uri}");
    }
}

/// RFC 1928 section 6: the bound address has one of three types.
#[tokio::test]
async fn row_75_a_bound_address_of_any_type_is_skipped_exactly() {
    let name = |len: u8| [&[3, len][..], &vec![b'n'; usize::from(len)]].concat();
    for address in [vec![1, 1, 2, 3, 4], [&[4][..], &[9; 16]].concat(), name(0), name(1), name(255)] {
        let open = [b"\x05\x00\x05\x00\x00", &address[..], b"\x00\x50"].concat();
        let answer = [&open[..], b"early"].concat();
        for place in 0..=answer.len() {
            let (result, _) = scripted(SOCKS5, &Config::new(), cut(&answer, &[place])).await;
            assert_eq!(rest_of(result.expect("open")).await, b"early", "{address:?} {place}");
        }
    }
}

/// RFC 9110 section 9.3.6: any 2xx, and no body whatever the fields say.
#[tokio::test]
async fn row_75_each_2xx_of_an_http_proxy_opens_the_tunnel_without_a_body() {
    for head in [
        "HTTP/1.1 200 OK\r\n\r\n",
        "HTTP/1.1 200 \r\n\r\n",
        "HTTP/1.1 200\r\n\r\n",
        "HTTP/1.0 200 Connection established\r\nProxy-agent: a\r\n\r\n",
        "HTTP/1.1 204 No Content\r\n\r\n",
        "HTTP/1.1 299 Hm\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: x\r\nContent-Length: 7\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
        "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n",
    ] {
        let (result, _) =
            scripted(HTTP, &Config::new(), [Step::Bytes([head, "5\r\nearly"].concat().into())]).await;
        assert_eq!(rest_of(result.expect("open")).await, b"5\r\nearly", "{head}");
    }
}

/// RFC 9110 section 15.2.
#[tokio::test]
async fn at_most_eight_interim_responses_are_skipped() {
    let interim = "HTTP/1.1 103 Early Hints\r\nLink: a\r\n\r\n";
    let answer = |count| [interim.repeat(count).as_bytes(), CONNECTED].concat();
    assert!(answered(HTTP, answer(8)).await.is_ok());
    let error = error_of(HTTP, answer(9)).await;
    assert!(matches!(error, ProxyError::TooManyInterim), "{error:?}");
}

proptest! {
    #[test]
    fn the_result_does_not_depend_on_how_an_answer_is_split(
        kind in 0..OPEN.len(),
        change: Option<(prop::sample::Index, u8)>,
        places in prop::collection::vec(0..100_usize, 0..6),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime");
        let (uri, open) = OPEN[kind];
        let mut answer = [open, b"early"].concat();
        if let Some((place, byte)) = change {
            let len = answer.len();
            answer[place.index(len)] = byte;
        }
        let outcome = |places: &[usize]| runtime.block_on(async {
            match scripted(uri, &Config::new(), cut(&answer, places)).await {
                (Ok(tunnel), written) => (format!("{:?}", rest_of(tunnel).await), written.bytes()),
                (Err(error), written) => (format!("{error:?}"), written.bytes()),
            }
        });
        prop_assert_eq!(outcome(&places), outcome(&[]));
    }
}

// --- refusals

#[tokio::test(start_paused = true)]
async fn row_19_a_refusal_has_its_status_its_fields_and_its_body() {
    let answer = "HTTP/1.1 407 Proxy Authentication Required\r\nProxy-Authenticate: Basic realm=\"secret\"\r\n\
        Content-Length: 6\r\n\r\nlog in and more";
    let result = answered(HTTP, answer).await;
    let error = result.expect_err("a refusal");
    assert_eq!(error.to_string(), "proxy refused the tunnel: 407 Proxy Authentication Required");
    assert!(!error.is_disconnect() && error.close_code().is_none() && error.response().is_none());
    let response = error.proxy_response().expect("an answer");
    assert_eq!(response.status(), 407);
    assert_eq!(response.headers()["proxy-authenticate"], "Basic realm=\"secret\"");
    assert_eq!(response.body(), "log in");
    let shown = format!("{error:?}");
    assert!(!shown.contains("secret") && !shown.contains("log in") && shown.contains("[6 bytes]"), "{shown}");
}

#[tokio::test(start_paused = true)]
async fn row_19_each_status_but_2xx_is_a_refusal() {
    for status in [101, 300, 302, 400, 401, 403, 404, 407, 429, 500, 502, 503, 599, 999] {
        let answer = format!("HTTP/1.1 {status} No\r\nContent-Length: 0\r\n\r\n");
        let error = error_of(HTTP, answer).await;
        assert_eq!(error.response().expect("an answer").status(), status);
    }
}

#[tokio::test(start_paused = true)]
async fn row_75_the_body_of_a_refusal_is_limited() {
    for fields in ["", "Content-Length: 99999999\r\n", "Transfer-Encoding: chunked\r\n"] {
        let head = format!("HTTP/1.1 502 Bad Gateway\r\n{fields}\r\n");
        let chunk = if fields.starts_with('T') { "FFFFFF\r\n" } else { "" };
        let answer = [head, chunk.into(), "x".repeat(1 << 20)].concat();
        let error = error_of(HTTP, answer).await;
        let body = error.response().expect("an answer").body();
        assert!(body.len() == 16 << 10 && body.iter().all(|&byte| byte == b'x'), "{fields}");
    }
}

#[tokio::test(start_paused = true)]
async fn row_75_a_refusal_whose_body_does_not_end_is_returned_at_the_deadline() {
    let start = Instant::now();
    let error = error_of(HTTP, "HTTP/1.1 502 Bad Gateway\r\n\r\nsorry").await;
    assert_eq!(error.response().expect("an answer").body(), "sorry");
    assert_eq!(start.elapsed().as_secs(), 10);
}

/// RFC 1928 section 6. Some proxies send no address with a refusal.
#[tokio::test(start_paused = true)]
async fn row_19_a_socks5_refusal_is_returned_at_its_code() {
    for code in 1..=255 {
        let error = error_of(SOCKS5, [5, 0, 5, code]).await;
        assert!(matches!(error, ProxyError::Socks5(reply) if reply.get() == code), "{error:?}");
    }
    let error = Error::from(ProxyError::Socks5(Socks5Reply::CONNECTION_REFUSED));
    assert_eq!(error.to_string(), "proxy refused the tunnel: SOCKS5 reply 5 (connection refused)");
}

#[tokio::test(start_paused = true)]
async fn row_19_a_socks4_refusal_is_returned_at_its_code() {
    for code in (0..=255).filter(|&code| code != 90) {
        let error = error_of(SOCKS4, [0, code]).await;
        assert!(matches!(error, ProxyError::Socks4(reply) if reply.get() == code), "{error:?}");
    }
    let error = Error::from(ProxyError::Socks4(Socks4Reply::REJECTED));
    assert_eq!(error.to_string(), "proxy refused the tunnel: SOCKS4 reply 91 (rejected or failed)");
}

/// RFC 1928 section 3.
#[tokio::test(start_paused = true)]
async fn row_19_a_method_that_was_not_offered_is_an_error() {
    for (uri, method) in [(SOCKS5, 1), (SOCKS5, 2), (SOCKS5_USER, 1), (SOCKS5_USER, 0x80), (SOCKS5, 0xFE)] {
        let error = error_of(uri, [5, method]).await;
        assert!(matches!(error, ProxyError::MethodNotOffered(found) if found == method), "{error:?}");
    }
    for uri in [SOCKS5, SOCKS5_USER] {
        let error = error_of(uri, [5, 0xFF]).await;
        assert!(matches!(error, ProxyError::NoAcceptableMethod), "{error:?}");
    }
}

/// RFC 1929 section 2: any status but 0 is a failure.
#[tokio::test(start_paused = true)]
async fn row_19_rejected_credentials_are_an_error_and_no_request_follows() {
    for status in 1..=255 {
        let (result, written) =
            scripted(SOCKS5_USER, &Config::new(), [Step::Bytes(vec![5, 2, 1, status]), Step::Hangs]).await;
        let error = proxy_error(result);
        assert!(matches!(error, ProxyError::CredentialsRejected), "{error:?}");
        assert_eq!(written.bytes(), b"\x05\x02\x00\x02\x01\x04user\x04pass");
    }
}

// --- what is not an answer

#[tokio::test(start_paused = true)]
async fn row_19_garbage_instead_of_a_response_is_a_typed_error() {
    for (answer, expected) in [
        (&b"SSH-2.0-OpenSSH_9.6\r\n"[..], HeadError::NotHttp),
        (b"\x05\x00", HeadError::ControlByte),
        (b"\x15\x03\x01\x00\x02\x02\x28", HeadError::Tls),
        (b"HTTP/2.0 200 OK\r\n", HeadError::Version),
        (b"HTTP/1.1 2x0 OK\r\n", HeadError::Malformed("status")),
        (b"HTTP/1.1 200 OK\nA: b\n\n", HeadError::BareLf),
        (b"HTTP/1.1 200 OK\r\n A: b\r\n", HeadError::Folded),
        (b"HTTP/1.1 200 OK\r\nA b\r\n", HeadError::Malformed("header name")),
        (b"HTTP/1.1 200 OK\r\nA: \0\r\n", HeadError::ControlByte),
        (b"HTTP/1.0 101 No\r\n\r\n", HeadError::Version),
        (b"\x00\x5A\x00\x00", HeadError::ControlByte),
        (b"\r\nHTTP/1.1 200 OK\r\n", HeadError::ControlByte),
    ] {
        let error = error_of(HTTP, answer).await;
        assert!(matches!(error, ProxyError::Head(found) if found == expected), "{answer:?}: {error:?}");
    }
    let error = Error::from(ProxyError::Head(HeadError::NotHttp));
    assert_eq!(format!("{error:#}"), "invalid response of the proxy: not HTTP/1.1");
}

#[tokio::test(start_paused = true)]
async fn row_19_another_version_is_a_typed_error_at_its_byte() {
    for (uri, before, expected) in [
        (SOCKS5, &b""[..], 5),
        (SOCKS5, b"\x05\x00", 5),
        (SOCKS5_USER, b"\x05\x02", 1),
        (SOCKS5_USER, b"\x05\x02\x01\x00", 5),
        (SOCKS4, b"", 0),
    ] {
        for version in (0..=255).filter(|&version| version != expected) {
            let error = error_of(uri, [before, &[version]].concat()).await;
            let ProxyError::Version { expected: wanted, received } = error else { panic!("{error:?}") };
            assert_eq!((wanted, received), (expected, version));
        }
    }
}

/// RFC 1928 section 5.
#[tokio::test(start_paused = true)]
async fn row_19_an_address_of_an_unknown_type_is_a_typed_error() {
    for kind in (0..=255).filter(|kind| ![1, 3, 4].contains(kind)) {
        let error = error_of(SOCKS5, [5, 0, 5, 0, 0, kind]).await;
        assert!(matches!(error, ProxyError::AddressType(found) if found == kind), "{error:?}");
    }
}

#[tokio::test]
async fn row_75_an_end_at_any_byte_of_an_answer_is_a_typed_error() {
    for (uri, open) in OPEN {
        for len in 0..open.len() {
            let (result, _) = scripted(uri, &Config::new(), [Step::Bytes(open[..len].to_vec())]).await;
            let error = result.expect_err("an incomplete answer");
            assert!(error.is_disconnect(), "{error:?}");
            assert!(matches!(&error, Error::Proxy(error) if matches!(**error, ProxyError::UnexpectedEof)));
            assert_eq!(error.to_string(), "proxy closed the connection before the tunnel was open");
        }
    }
}

#[tokio::test]
async fn row_75_a_failure_at_any_byte_of_an_answer_is_an_error_of_the_transport() {
    for (uri, open) in OPEN {
        for len in 0..open.len() {
            let mut steps = cut(&open[..len], &[]);
            steps.push(Step::Fails(io::ErrorKind::ConnectionReset));
            let (result, _) = scripted(uri, &Config::new(), steps).await;
            let kind = match result {
                Err(Error::Transport(error)) => error.kind(),
                other => panic!("{other:?}"),
            };
            assert_eq!(kind, io::ErrorKind::ConnectionReset);
        }
    }
}

#[tokio::test]
async fn a_failed_write_is_an_error_of_the_transport() {
    for (uri, open) in OPEN {
        let (io, written) = Script::new([Step::Bytes(open.to_vec())]);
        proxy(uri).tunnel(TARGET, &Config::new(), io).await.expect("open");
        for len in 0..written.bytes().len() {
            let (io, _written) = Script::new([Step::Bytes(open.to_vec())]);
            let io = io.writes_fail_behind(len, io::ErrorKind::BrokenPipe);
            let result = proxy(uri).tunnel(TARGET, &Config::new(), io).await;
            assert!(matches!(result, Err(Error::Transport(_))), "{uri} {len}: {result:?}");
        }
    }
}

// --- limits and deadlines

#[tokio::test(start_paused = true)]
async fn row_75_a_response_head_without_end_is_limited() {
    let limited = |answer: String| async move {
        match error_of(HTTP, answer).await {
            ProxyError::Head(error) => error,
            other => panic!("{other:?}"),
        }
    };
    let line = format!("HTTP/1.1 200 {}", "O".repeat(1 << 20));
    assert_eq!(limited(line).await, HeadError::FirstLineTooLong { limit: 16 << 10 });
    let field = format!("HTTP/1.1 200 OK\r\nA: {}", "b".repeat(1 << 20));
    assert_eq!(limited(field).await, HeadError::TooLong { limit: 16 << 10 });
    let fields = format!("HTTP/1.1 200 OK\r\n{}", "A: b\r\n".repeat(1 << 16));
    assert_eq!(limited(fields).await, HeadError::TooManyFields { limit: 64 });
    let interim = "HTTP/1.1 100 Continue\r\n\r\n".repeat(1 << 12);
    let error = error_of(HTTP, interim).await;
    assert!(matches!(error, ProxyError::TooManyInterim), "{error:?}");
}

#[tokio::test(start_paused = true)]
async fn row_75_the_limits_of_the_config_apply_to_a_response_head() {
    let head = "HTTP/1.1 200 OK\r\nA: b\r\nC: d\r\n\r\n";
    let open = |config: Config| async move {
        let steps = [Step::Bytes(head.into()), Step::Hangs];
        scripted(HTTP, &config, steps).await.0.is_ok()
    };
    assert!(open(Config::new().max_header_size(head.len()).max_headers(2)).await);
    assert!(!open(Config::new().max_header_size(head.len() - 1)).await);
    assert!(!open(Config::new().max_headers(1)).await);
}

#[tokio::test(start_paused = true)]
async fn row_01_one_deadline_covers_the_whole_answer() {
    for (uri, open) in OPEN {
        let (mut peer, io) = duplex(1 << 10);
        let answer = async move {
            for byte in open {
                tokio::time::sleep(Duration::from_secs(1)).await;
                if peer.write_all(&[*byte]).await.is_err() {
                    return;
                }
            }
            std::future::pending().await
        };
        let config = Config::new().handshake_timeout(Duration::from_millis(5500));
        let (start, proxy) = (Instant::now(), proxy(uri));
        let (result, ()) = tokio::join!(proxy.tunnel(TARGET, &config, io), answer);
        assert!(matches!(result, Err(Error::Timeout(Timeout::Handshake))), "{uri}: {result:?}");
        assert_eq!(start.elapsed().as_secs(), 6, "the transport was dropped at the deadline");
    }
}

// --- the caller

#[tokio::test]
async fn row_56_a_target_that_the_proxy_cannot_be_asked_for_is_an_error_and_nothing_is_sent() {
    let long = format!("ws://{}", "a".repeat(256));
    for (uri, target, shown) in [
        (SOCKS5, &*long, "proxy cannot be asked for a host name of 256 bytes: SOCKS allows 255"),
        (SOCKS4, &long, "proxy cannot be asked for a host name of 256 bytes: SOCKS allows 255"),
        (SOCKS4, "ws://[::1]", "proxy cannot be asked for an IPv6 address: SOCKS4 has only IPv4"),
    ] {
        let (io, written) = Script::new([Step::Hangs]);
        let error = proxy(uri).tunnel(target, &Config::new(), io).await.expect_err("an error");
        assert!(matches!(error, Error::Proxy(_)), "{error:?}");
        assert_eq!((error.to_string().as_str(), written.bytes()), (shown, vec![]));
        assert_eq!(io::Error::from(error).kind(), io::ErrorKind::InvalidInput);
    }
    let (io, written) = Script::new([Step::Bytes(CONNECTED.to_vec())]);
    proxy(HTTP).tunnel(&*long, &Config::new(), io).await.expect("HTTP has no such limit");
    assert!(written.text().starts_with("CONNECT aaa"));
}

#[tokio::test]
async fn row_12_a_host_with_a_line_break_is_an_error_and_nothing_is_sent() {
    for target in ["ws://a\r\nX: y/", "ws://a%0D%0AX/", "ws://a\0/", "ws://a b/"] {
        for (uri, _) in OPEN {
            let (io, written) = Script::new([Step::Hangs]);
            let error = proxy(uri).tunnel(target, &Config::new(), io).await.expect_err("an error");
            let Error::InvalidHandshake(error) = error else { panic!("{error:?}") };
            assert!(
                matches!(*error, InvalidHandshake::Target(TargetError::Character | TargetError::Host)),
                "{error:?}"
            );
            assert_eq!(written.bytes(), b"");
        }
    }
}

#[tokio::test]
async fn row_52_a_tunnel_that_is_dropped_at_any_poll_releases_the_transport() {
    for (uri, open) in OPEN {
        let (proxy, config) = (proxy(uri), Config::new());
        let (result, _) = released_at_every_poll(open, |io| proxy.tunnel(TARGET, &config, io));
        result.expect("open");
    }
}

// --- the origin

#[tokio::test]
async fn row_19_proxy_credentials_never_reach_the_origin() {
    let uris = [
        ("http://secret:secret@proxy", CONNECTED, 1),
        ("socks5://secret:secret@proxy", SOCKS5_USER_OPEN, 2),
        ("socks4://secret@proxy", SOCKS4_OPEN, 1),
    ];
    for (uri, open, times) in uris {
        let (mut peer, io) = duplex(1 << 12);
        peer.write_all(open).await.expect("fits");
        let tunnel = proxy(uri).tunnel("ws://origin/", &Config::new(), io).await.expect("open");
        let mut to_proxy = vec![0; 1 << 12];
        let len = peer.read(&mut to_proxy).await.expect("open");
        to_proxy.truncate(len);
        // The second text is base64 of "secret:secret".
        let shown =
            |text: &str| text.matches("secret").count() + text.matches("c2VjcmV0OnNlY3JldA==").count();
        // What came after the request to the proxy would be for the origin.
        assert_eq!(shown(&String::from_utf8_lossy(&to_proxy)), times, "{uri}");

        let client = Client::default();
        let (opened, request) = tokio::join!(client.handshake("ws://user:other@origin/", tunnel), async {
            let mut request = Vec::new();
            while !request.ends_with(b"\r\n\r\n") {
                request.push(peer.read_u8().await.expect("a request"));
            }
            let request = String::from_utf8(request).expect("text");
            let key =
                request.lines().find_map(|line| line.strip_prefix("Sec-WebSocket-Key: ")).expect("a key");
            let response = format!(
                "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
                 Sec-WebSocket-Accept: {}\r\n\r\n",
                accept_key(key.as_bytes())
            );
            peer.write_all(response.as_bytes()).await.expect("open");
            request
        });
        opened.expect("open");
        assert!(shown(&request) == 0 && !request.to_lowercase().contains("proxy-"), "{request}");
        // The credentials of the target are the origin's: base64 of "user:other".
        assert!(request.contains("\r\nAuthorization: Basic dXNlcjpvdGhlcg==\r\n"), "{request}");
    }
}

#[tokio::test]
async fn row_19_credentials_of_the_target_never_reach_the_proxy() {
    for (uri, open) in OPEN {
        let (io, written) = Script::new([Step::Bytes(open.to_vec())]);
        let target = "ws://name:secret@origin/path?query";
        proxy(uri).tunnel(target, &Config::new(), io).await.expect("open");
        let text = written.text();
        for hidden in ["name", "secret", "path", "query", "bmFtZTpzZWNyZXQ="] {
            assert!(!text.contains(hidden), "{text:?}");
        }
    }
}

// --- parsing

proptest! {
    #[test]
    fn any_text_is_parsed_and_what_is_valid_is_shown_as_it_is_parsed(
        uri in "\\PC{0,40}|(https?|socks[45][ah]?)?(://)?([a-z%:@]{0,9}@)?([a-z0-9.-]{1,12}|\\[[0-9a-f:]{2,12}\\])(:[0-9]{0,6})?/?",
    ) {
        if let Ok(proxy) = uri.parse::<Proxy>() {
            let again: Proxy = proxy.to_string().parse().expect("what is shown is valid");
            prop_assert_eq!(again.to_string(), proxy.to_string());
            prop_assert_eq!((again.kind(), again.host(), again.port()), (proxy.kind(), proxy.host(), proxy.port()));
            prop_assert_eq!(again == proxy, !proxy.has_credentials());
        }
    }

    #[test]
    fn encoded_credentials_are_those_that_are_set(user: Vec<u8>, password: Vec<u8>, kind in 0..4_usize) {
        let scheme = ["http", "https", "socks5", "socks4"][kind];
        let encode = |bytes: &[u8]| bytes.iter().map(|byte| format!("%{byte:02x}")).collect::<String>();
        let plain: Proxy = format!("{scheme}://proxy").parse().expect("valid");
        let encoded = format!("{scheme}://{}:{}@proxy", encode(&user), encode(&password)).parse::<Proxy>();
        prop_assert_eq!(encoded, plain.credentials(&user, &password));
    }

    #[test]
    fn any_environment_is_read(value in "\\PC{0,30}", no_proxy in "\\PC{0,30}", host in "[a-z0-9.]{1,20}") {
        let target = format!("ws://{host}/").parse().expect("valid");
        let variable = |name: &str| match name {
            "no_proxy" => Some(no_proxy.clone()),
            "all_proxy" => Some(value.clone()),
            _ => None,
        };
        match Proxy::from_variables(&target, variable) {
            Ok(_) | Err(InvalidProxy::Variable { name: "all_proxy", .. }) => {}
            other => prop_assert!(false, "{other:?}"),
        }
    }
}
