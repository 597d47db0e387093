//! The opening handshake of a server, over the public API.

#[path = "support/handshake.rs"]
#[allow(dead_code, reason = "shared with other tests")]
mod support;

use std::time::Duration;

use fullduplex::{CloseCode, Config, Error, Server, Timeout, WebSocket, handshake::InvalidHandshake};
use http::Response;
use proptest::prelude::*;
use support::{REQUEST, SERVER_ERROR, SWITCHING, Script, Step, cut, request, undated};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex, split},
    time::Instant,
};

/// Returns the result of a server that receives these bytes, and its response. The peer does not
/// shut down its side.
async fn exchange(server: &Server, input: &[u8]) -> (Result<(), Error>, String) {
    exchange_over(duplex(1 << 20), server, input).await
}

/// Does the same as [`exchange`], over this pair of streams.
async fn exchange_over(
    (near, io): (DuplexStream, DuplexStream),
    server: &Server,
    input: &[u8],
) -> (Result<(), Error>, String) {
    let (mut read, mut write) = split(near);
    let serve = async { server.read_request(io).await?.accept().await.map(drop) };
    let peer = async {
        let mut response = String::new();
        let (_, read) = tokio::join!(write.write_all(input), read.read_to_string(&mut response));
        read.expect("text");
        response
    };
    tokio::join!(serve, peer)
}

/// Asserts that a request is rejected, that both ends receive this status, and that the
/// connection ends. Returns the response.
async fn assert_rejected(server: &Server, input: &[u8], status: u16) -> String {
    let (result, response) = exchange(server, input).await;
    let shown = String::from_utf8_lossy(&input[..input.len().min(400)]).into_owned();
    assert!(response.starts_with(&format!("HTTP/1.1 {status} ")), "{shown}\n{response}");
    let (head, body) = response.split_once("\r\n\r\n").expect("a whole head");
    assert!(head.contains(&format!("\r\nContent-Length: {}", body.len())), "{response}");
    assert!(
        head.contains("\r\nConnection: close") || head.contains("\r\nConnection: Upgrade, close"),
        "{response}"
    );
    match result {
        Err(Error::Rejected(rejection)) => assert_eq!(rejection.status(), status, "{shown}"),
        other => panic!("{shown}: {other:?}"),
    }
    response
}

/// RFC 6455 section 4.2.2, step 5.
#[tokio::test(start_paused = true)]
async fn a_valid_request_is_answered_with_the_exact_response() {
    let (result, response) = exchange(&Server::default(), REQUEST.as_bytes()).await;
    assert!(result.is_ok());
    assert_eq!(response, SWITCHING);
}

#[tokio::test(start_paused = true)]
async fn row_01_one_deadline_covers_the_whole_request() {
    let (mut near, io) = duplex(64);
    let start = Instant::now();
    let slow = tokio::spawn(async move {
        for byte in REQUEST.bytes().cycle() {
            if near.write_all(&[byte]).await.is_err() {
                return;
            }
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
    });
    let result = Server::default().read_request(io).await;
    assert!(matches!(result, Err(Error::Timeout(Timeout::Handshake))), "{result:?}");
    assert_eq!(start.elapsed().as_secs(), 10);
    slow.await.expect("writing ends when the transport is dropped");
}

#[tokio::test(start_paused = true)]
async fn row_01_one_deadline_covers_all_of_accept() {
    // The rest of the request arrives late, and the transport cannot take the whole response.
    let (mut near, io) = duplex(64);
    let start = Instant::now();
    let slow = async {
        tokio::time::sleep(Duration::from_secs(9)).await;
        near.write_all(REQUEST.as_bytes()).await.expect("read");
        std::future::pending::<()>().await;
    };
    let result = tokio::select! {
        result = fullduplex::accept(io) => result,
        () = slow => unreachable!("never done"),
    };
    assert!(matches!(result, Err(Error::Timeout(Timeout::Handshake))), "{result:?}");
    assert_eq!(start.elapsed().as_secs(), 10);
}

#[tokio::test(start_paused = true)]
async fn row_01_accepting_a_received_request_has_its_own_deadline() {
    let (mut near, io) = duplex(64);
    let server = Server::default();
    let (pending, ()) = tokio::join!(server.read_request(io), async {
        near.write_all(REQUEST.as_bytes()).await.expect("read");
    });
    tokio::time::sleep(Duration::from_secs(60)).await;
    // The response does not fit into the transport, so that writing it takes a while.
    let (accepted, ()) = tokio::join!(pending.expect("a valid request").accept(), async {
        tokio::time::sleep(Duration::from_secs(9)).await;
        near.read_exact(&mut vec![0; SWITCHING.len()]).await.expect("a response");
    });
    assert!(accepted.is_ok(), "{accepted:?}");
}

#[tokio::test(start_paused = true)]
async fn row_02_a_header_block_without_end_is_limited() {
    for line in ["A: b\r\n", "A: bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb", "x"] {
        let server = Server::new(Config::new().max_headers(usize::MAX));
        let input = format!("GET / HTTP/1.1\r\n{}", line.repeat(100_000));
        assert_rejected(&server, input.as_bytes(), 431).await;
    }
}

#[tokio::test(start_paused = true)]
async fn row_02_a_request_line_without_end_is_distinguished_from_a_header_block() {
    for line in ["GET /", "GET /a HTTP/1.1", ""] {
        let long_line = format!("{line}{}", "a".repeat(20_000));
        let status = if line.ends_with("1.1") { 400 } else { 414 };
        assert_rejected(&Server::default(), long_line.as_bytes(), status).await;
    }
}

#[tokio::test(start_paused = true)]
async fn row_02_the_limit_in_bytes_is_inclusive() {
    let exact = Server::new(Config::new().max_header_size(REQUEST.len()));
    assert_eq!(exchange(&exact, REQUEST.as_bytes()).await.1, SWITCHING);
    let short = Server::new(Config::new().max_header_size(REQUEST.len() - 1));
    assert_rejected(&short, REQUEST.as_bytes(), 431).await;
}

// The unit tests of `handshake::head` and `opening` count the examined bytes: each is examined
// once.
#[tokio::test(start_paused = true)]
async fn row_03_a_request_may_arrive_in_thousands_of_reads() {
    let padding = format!("X-Padding: {}\r\n\r\n", "x".repeat(14_000));
    let input = REQUEST.replace("\r\n\r\n", &format!("\r\n{padding}"));
    let (result, response) = exchange_over(duplex(1), &Server::default(), input.as_bytes()).await;
    assert!(result.is_ok());
    assert_eq!(response, SWITCHING);
}

#[tokio::test(start_paused = true)]
async fn row_04_ten_thousand_headers_are_too_many() {
    let roomy = Config::new().max_header_size(1 << 20);
    let input = format!("GET / HTTP/1.1\r\n{}\r\n", "A: b\r\n".repeat(10_000));
    assert_rejected(&Server::new(roomy.clone()), input.as_bytes(), 431).await;
    let input = format!("GET / HTTP/1.1\r\n{}\r\n", "A: b\r\n".repeat(40_000));
    assert_rejected(&Server::new(roomy.max_headers(usize::MAX)), input.as_bytes(), 431).await;
}

/// RFC 6455 section 4.2.1, requirement 1.
#[tokio::test(start_paused = true)]
async fn row_05_other_methods_other_versions_and_bodies_are_rejected() {
    let server = Server::default();
    for (old, new, status) in [
        ("GET", "POST", 405),
        ("GET", "get", 405),
        ("HTTP/1.1", "HTTP/1.0", 505),
        ("HTTP/1.1", "HTTP/2.0", 505),
        ("HTTP/1.1", "HTTP/0.9", 505),
        ("Origin", "Content-Length: 5\r\nOrigin", 400),
        ("Origin", "Content-Length: 00\r\nOrigin", 400),
        ("Origin", "Content-Length: -0\r\nOrigin", 400),
        ("Origin", "Transfer-Encoding: chunked\r\nOrigin", 400),
        ("Origin", "Transfer-Encoding: identity\r\nOrigin", 400),
    ] {
        assert_rejected(&server, &request(old, new), status).await;
    }
    assert!(assert_rejected(&server, &request("GET", "PUT"), 405).await.contains("\r\nallow: GET\r\n"));
    let empty = exchange(&server, &request("Origin", "Content-Length: 0\r\nOrigin")).await.1;
    assert_eq!(empty, SWITCHING);
}

/// RFC 9110 section 9.3.2.
#[tokio::test(start_paused = true)]
async fn row_05_a_head_request_is_refused_without_content() {
    for (input, status) in [
        (request("GET", "HEAD"), 405),
        (request("GET /chat HTTP/1.1", "HEAD /chat HTTP/1.0"), 505),
        (request("GET /chat", "HEAD /chat#a"), 400),
    ] {
        let (result, response) = exchange(&Server::default(), &input).await;
        assert!(matches!(&result, Err(Error::Rejected(error)) if error.status() == status), "{result:?}");
        assert!(response.starts_with(&format!("HTTP/1.1 {status} ")), "{response}");
        assert!(undated(&response).ends_with("\r\nConnection: close\r\n\r\n"), "{response}");
        assert!(!response.contains("Content-Length"), "{response}");
    }
}

/// RFC 6455 section 4.2.1, requirements 3 and 4.
#[tokio::test(start_paused = true)]
async fn row_06_upgrade_and_connection_are_lists_in_any_case() {
    let server = Server::default();
    for (old, new, status) in [
        ("Upgrade: websocket", "X: y", 426),
        ("Upgrade: websocket", "Upgrade: web", 426),
        ("Upgrade: websocket", "Upgrade:", 426),
        ("Connection: keep-alive, Upgrade", "X: y", 400),
        ("Connection: keep-alive, Upgrade", "Connection: keep-alive", 400),
        ("Connection: keep-alive, Upgrade", "Connection: Upgraded", 400),
    ] {
        assert_rejected(&server, &request(old, new), status).await;
    }
    for (old, new) in [
        ("Upgrade: websocket", "uPgRaDe:WEBSOCKET"),
        ("Upgrade: websocket", "Upgrade: h2c , websocket"),
        ("Connection: keep-alive, Upgrade", "Connection: UPGRADE"),
        ("Connection: keep-alive, Upgrade", "Connection: close,,upgrade\t"),
        ("Connection: keep-alive, Upgrade", "Connection: keep-alive\r\nConnection: upgrade"),
    ] {
        assert_eq!(exchange(&server, &request(old, new)).await.1, SWITCHING, "{new}");
    }
    let response = assert_rejected(&server, &request("Upgrade: websocket", "X: y"), 426).await;
    assert!(
        undated(&response).contains("\r\nUpgrade: websocket\r\nConnection: Upgrade, close\r\n"),
        "{response}"
    );
}

/// RFC 6455 section 4.2.1, requirement 5.
#[tokio::test(start_paused = true)]
async fn row_07_the_key_is_base64_of_sixteen_bytes_and_occurs_once() {
    const KEY: &str = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
    for new in [
        "",
        "Sec-WebSocket-Key:\r\n",
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ\r\n",
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25j\r\n",
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZSE=\r\n",
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZ!==\r\n",
        &KEY.repeat(2),
    ] {
        assert_rejected(&Server::default(), &request(KEY, new), 400).await;
    }
}

/// RFC 6455 sections 4.2.1, requirement 6, and 4.4.
#[tokio::test(start_paused = true)]
async fn row_08_another_version_is_answered_with_the_supported_one() {
    const VERSION: &str = "Sec-WebSocket-Version: 13\r\n";
    for new in [
        "",
        "Sec-WebSocket-Version: 8\r\n",
        "Sec-WebSocket-Version: 13, 8\r\n",
        "Sec-WebSocket-Version: 013\r\n",
        &VERSION.repeat(2),
    ] {
        let response = assert_rejected(&Server::default(), &request(VERSION, new), 426).await;
        assert!(response.contains("\r\nSec-WebSocket-Version: 13\r\n"), "{response}");
    }
}

/// RFC 9110 section 5.3, RFC 9112 sections 3.2 and 6.3.
#[tokio::test(start_paused = true)]
async fn row_09_duplicate_fields_and_two_framings_are_refused() {
    for (old, new) in [
        ("Host: server.example.com\r\n", ""),
        ("Host", "Host: server.example.com\r\nHost"),
        ("Host", "Host: other.example.com\r\nhost"),
        ("Origin", "Content-Length: 0\r\nContent-Length: 0\r\nOrigin"),
        ("Origin", "Content-Length: 0, 0\r\nOrigin"),
        ("Origin", "Content-Length: 0\r\nTransfer-Encoding: chunked\r\nOrigin"),
        ("Origin", "Origin: http://example.com\r\nOrigin"),
        ("GET /chat", "GET http://other.example.com/chat"),
        ("GET /chat", "GET http://user@server.example.com/chat"),
        ("GET /chat", "GET http://server.example.com:81/chat"),
    ] {
        assert_rejected(&Server::default(), &request(old, new), 400).await;
    }
}

/// RFC 9112 sections 2.2, 5.1 and 5.2.
#[tokio::test(start_paused = true)]
async fn row_10_ambiguous_input_is_refused() {
    for (old, new) in [
        ("\r\n", "\n"),
        ("Origin: http://example.com\r\n\r\n", "Origin: http://example.com\n\n"),
        ("Origin:", "X: y\r\n folded\r\nOrigin:"),
        ("Origin:", "X: y\r\n\tfolded\r\nOrigin:"),
        ("Origin:", "X: a\0b\r\nOrigin:"),
        ("Origin:", "X: a\rb\r\nOrigin:"),
        ("Origin:", "X: a\x0bb\r\nOrigin:"),
        ("Origin:", "X: a\x7fb\r\nOrigin:"),
        ("Origin:", "Origin :"),
        ("Origin:", "Orig\0in:"),
        ("Origin:", ":"),
        ("Origin:", "no colon\r\nOrigin:"),
        ("GET", "\r\nGET"),
        ("GET", "\nGET"),
        ("GET", "\0GET"),
        ("GET", " GET"),
        ("GET", "\x16\x03\x01\x02"),
        ("/chat", "/ch at"),
        ("/chat", "/chat#fragment"),
        ("/chat", "*"),
        ("GET /chat", "GET  /chat"),
    ] {
        assert_rejected(&Server::default(), &request(old, new), 400).await;
    }
}

/// RFC 6455 sections 4.2.2, step 4, and 10.2.
#[tokio::test(start_paused = true)]
async fn row_11_a_cross_site_origin_is_rejected() {
    let server = Server::default().allow_origins(["https://example.com"]);
    assert_rejected(&server, REQUEST.as_bytes(), 403).await;
    let same_site = request("Origin: http:", "Origin: https:");
    assert_eq!(exchange(&server, &same_site).await.1, SWITCHING);
}

#[tokio::test(start_paused = true)]
async fn row_11_pages_of_the_same_host_and_of_a_list_are_accepted_together() {
    let server = Server::default().same_origin_or(["https://app.example.com"]);
    let from = |origin: &str| request("Origin: http://example.com", &format!("Origin: {origin}"));
    for origin in ["http://server.example.com", "https://server.example.com", "https://app.example.com"] {
        assert_eq!(exchange(&server, &from(origin)).await.1, SWITCHING, "{origin}");
    }
    for origin in ["http://app.example.com", "http://server.example.com:81", "https://app.example.com.evil"] {
        assert_rejected(&server, &from(origin), 403).await;
    }
}

#[tokio::test(start_paused = true)]
async fn row_11_origins_can_be_checked_by_a_function() {
    let asked = std::sync::Arc::new(std::sync::Mutex::new(Vec::new()));
    let log = asked.clone();
    let server = Server::default().allow_origins_by(move |origin| {
        log.lock().expect("no panic").push(origin.to_owned());
        origin == "https://app.example.com"
    });
    assert_rejected(&server, REQUEST.as_bytes(), 403).await;
    let allowed = request("http://example.com", "https://app.example.com");
    assert_eq!(exchange(&server, &allowed).await.1, SWITCHING);
    // Clients other than browsers send none.
    assert_eq!(exchange(&server, &request("Origin: http://example.com\r\n", "")).await.1, SWITCHING);
    assert_eq!(*asked.lock().expect("no panic"), ["http://example.com", "https://app.example.com"]);
}

#[tokio::test(start_paused = true)]
async fn row_11_a_list_that_allows_no_origin_fails_before_anything_is_read() {
    for (server, error) in [
        (Server::default().allow_origins(["*"]), InvalidHandshake::Origin("*".into())),
        (Server::default().allow_origins(["example.com"]), InvalidHandshake::Origin("example.com".into())),
        (Server::default().subprotocols(["a b"]), InvalidHandshake::Subprotocol("a b".into())),
    ] {
        let (io, written) = Script::new([Step::Hangs]);
        match server.read_request(io).await {
            Err(Error::InvalidHandshake(found)) => assert_eq!(*found, error),
            other => panic!("{other:?}"),
        }
        assert_eq!((written.text(), written.is_dropped()), (String::new(), true));
    }
    let server = Server::default().allow_origins(["HTTP://Example.com:80/"]);
    assert_eq!(exchange(&server, REQUEST.as_bytes()).await.1, SWITCHING);
}

#[tokio::test(start_paused = true)]
async fn row_12_the_applications_response_cannot_inject_or_replace_fields() {
    assert!(Response::builder().header("x", "a\r\nb: c").body(()).is_err(), "the http crate rejects it");
    for (name, value) in
        [("sec-websocket-accept", "x"), ("connection", "close"), ("sec-websocket-protocol", "chat")]
    {
        let (io, written) = Script::new([Step::Bytes(REQUEST.into()), Step::Hangs]);
        let pending = Server::default().read_request(io).await.expect("a valid request");
        let own = Response::builder().header(name, value).body(()).expect("valid");
        let result = pending.accept_with(own).await;
        assert!(matches!(result, Err(Error::InvalidHandshake(_))), "{name}: {result:?}");
        assert_eq!((written.undated(), written.is_dropped()), (SERVER_ERROR.into(), true));
    }
}

#[tokio::test(start_paused = true)]
async fn row_12_an_invalid_rejection_of_the_application_sends_500_and_returns_the_error() {
    for status in [100, 101, 600] {
        let (io, written) = Script::new([Step::Bytes(REQUEST.into()), Step::Hangs]);
        let pending = Server::default().read_request(io).await.expect("a valid request");
        let own = Response::builder().status(status).body("").expect("valid");
        match pending.reject(own).await {
            Err(Error::InvalidHandshake(error)) => {
                assert!(matches!(*error, InvalidHandshake::Status(_)), "{error}")
            }
            other => panic!("{other:?}"),
        }
        assert_eq!((written.undated(), written.is_dropped()), (SERVER_ERROR.into(), true));
    }
}

#[tokio::test(start_paused = true)]
async fn row_13_h2c_is_not_upgraded_and_a_second_request_gets_no_response() {
    let server = Server::default();
    assert_rejected(&server, &request("Upgrade: websocket", "Upgrade: h2c"), 426).await;
    let (_, response) = exchange(&server, REQUEST.repeat(2).as_bytes()).await;
    assert_eq!(response, SWITCHING);
    // After a refused request, nothing is parsed as another request either.
    let refused = [request("GET", "POST"), REQUEST.into()].concat();
    assert_eq!(assert_rejected(&server, &refused, 405).await.matches("HTTP/1.1").count(), 1);
}

#[tokio::test(start_paused = true)]
async fn row_13_a_second_request_after_the_first_is_read_as_frames() {
    let (io, written) = Script::new([Step::Bytes(REQUEST.repeat(2).into()), Step::Hangs]);
    let mut ws = fullduplex::accept(io).await.expect("accepted");
    let error = ws.recv().await.expect_err("'G' sets a reserved bit");
    assert_eq!(error.close_code(), Some(CloseCode::PROTOCOL_ERROR), "{error:?}");
    assert!(matches!(ws.recv().await, Ok(None)));
    let written = written.bytes();
    let frames = written.strip_prefix(SWITCHING.as_bytes()).expect("the first request is answered");
    // RFC 6455 sections 5.5.1 and 7.4.1: one Close with 1002, and nothing after it.
    assert!(matches!(frames, [0x88, len, 0x03, 0xEA, reason @ ..] if usize::from(*len) == reason.len() + 2));
}

#[tokio::test(start_paused = true)]
async fn row_14_frames_in_the_same_read_as_the_request_do_not_affect_the_handshake() {
    let input = [REQUEST.as_bytes(), b"\x81\x85\0\0\0\0hello\r\n\r\n\0"].concat();
    assert_eq!(exchange(&Server::default(), &input).await.1, SWITCHING);
}

#[tokio::test(start_paused = true)]
async fn row_14_frames_in_the_same_read_as_the_request_are_received_in_order() {
    let (mut near, io) = duplex(1 << 16);
    let input = [REQUEST.as_bytes(), b"\x81\x85\0\0\0\0hello\x81\x83\0\0\0\0bye"].concat();
    near.write_all(&input).await.expect("fits");
    let mut ws = fullduplex::accept(io).await.expect("accepted");
    assert_eq!(ws.recv().await.expect("open"), Some("hello".into()));
    assert_eq!(ws.recv().await.expect("open"), Some("bye".into()));
}

#[tokio::test(start_paused = true)]
async fn row_67_input_that_cannot_be_a_request_is_rejected_without_waiting_for_more() {
    for (input, status, reason) in [
        ("HELO x\r\n", 400, "not an HTTP/1.1 request line"),
        ("SSH-2.0-OpenSSH_9.6\r\n", 400, "not an HTTP/1.1 request line"),
        ("\x16\x03\x01\x02", 400, "TLS instead of plain HTTP"),
        ("GET /\r\n", 400, "not an HTTP/1.1 request line"),
        ("GET / HTTP/3.0\r\n", 505, "HTTP/1.1"),
        ("G@T / HTTP/1.1\r\n", 400, "not an HTTP/1.1 request line"),
        ("GET / HTTP/1.1\r\nHost a\r\n", 400, "malformed request header"),
        ("GET / HTTP/1.1\r\nHost: a\r\nnocolon\r\n", 400, "malformed request header"),
    ] {
        // The peer sends nothing more and does not shut down its side.
        let start = Instant::now();
        let response = assert_rejected(&Server::default(), input.as_bytes(), status).await;
        assert!(response.trim_end().contains(reason), "{response}");
        assert_eq!(start.elapsed(), Duration::from_secs(1), "only the wait for the peer to close");
    }
}

#[tokio::test(start_paused = true)]
async fn an_empty_list_of_subprotocols_is_refused() {
    let server = Server::default().subprotocols(["a"]);
    for value in ["", ",", " , "] {
        let field = format!("Sec-WebSocket-Protocol:{value}\r\nOrigin");
        assert_rejected(&server, &request("Origin", &field), 400).await;
    }
}

/// RFC 6455 section 4.2.2, step 4.
#[tokio::test(start_paused = true)]
async fn a_subprotocol_is_chosen_by_the_servers_preference() {
    let input = request("Origin", "Sec-WebSocket-Protocol: a, b\r\nSec-WebSocket-Protocol: c\r\nOrigin");
    let line = "Sec-WebSocket-Protocol: c\r\n\r\n";
    let response = exchange(&Server::default().subprotocols(["x", "c", "a"]), &input).await.1;
    assert_eq!(response, SWITCHING.replace("xOo=\r\n\r\n", &format!("xOo=\r\n{line}")));
    assert_eq!(exchange(&Server::default().subprotocols(["x"]), &input).await.1, SWITCHING);
}

#[tokio::test(start_paused = true)]
async fn a_server_can_inspect_the_request_and_choose_its_response() {
    let (io, written) = Script::new([Step::Bytes(REQUEST.into()), Step::Hangs]);
    let pending = Server::default().read_request(io).await.expect("a valid request");
    assert_eq!(pending.request().uri().path(), "/chat");
    assert_eq!(pending.request().headers()["origin"], "http://example.com");
    let own = Response::builder().header("Set-Cookie", "seen=1").body(()).expect("valid");
    let ws: WebSocket<_> = pending.accept_with(own).await.expect("accepted");
    assert_eq!(written.text(), SWITCHING.replace("\r\n\r\n", "\r\nset-cookie: seen=1\r\n\r\n"));
    drop(ws);
}

#[tokio::test(start_paused = true)]
async fn a_rejection_of_the_application_is_written_completely_before_the_transport_is_dropped() {
    let (mut near, io) = duplex(1 << 16);
    near.write_all(REQUEST.as_bytes()).await.expect("fits");
    near.write_all(b"never read").await.expect("fits");
    let pending = Server::default().read_request(io).await.expect("a valid request");
    let start = Instant::now();
    let own =
        Response::builder().status(401).header("WWW-Authenticate", "Basic").body("who?").expect("valid");
    pending.reject(own).await.expect("written");
    assert_eq!(start.elapsed().as_secs(), 1, "the wait for the peer to close is brief");
    let mut response = String::new();
    near.read_to_string(&mut response).await.expect("text");
    assert_eq!(
        undated(&response),
        "HTTP/1.1 401 Unauthorized\r\nwww-authenticate: Basic\r\nConnection: close\r\nContent-Length: 4\r\n\r\nwho?"
    );
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_reads_no_response_is_dropped_at_the_deadline() {
    let (mut near, io) = duplex(1024);
    near.write_all(REQUEST.as_bytes()).await.expect("fits");
    let pending = Server::default().read_request(io).await.expect("a valid request");
    let start = Instant::now();
    let result = pending.reject(Response::new(vec![b'x'; 10_000])).await;
    assert!(matches!(result, Err(Error::Timeout(Timeout::Handshake))), "{result:?}");
    assert_eq!(start.elapsed().as_secs(), 10);
}

#[tokio::test(start_paused = true)]
async fn the_input_of_a_refused_peer_is_drained_up_to_a_limit() {
    let (near, io) = duplex(1024);
    let (mut read, mut write) = split(near);
    let flood = tokio::spawn(async move { while write.write_all(&[b'x'; 512]).await.is_ok() {} });
    let start = Instant::now();
    let result = Server::new(Config::new().max_header_size(100)).read_request(io).await;
    assert!(matches!(result, Err(Error::Rejected(_))), "{result:?}");
    assert!(start.elapsed() < Duration::from_secs(1));
    flood.await.expect("ends with the transport");
    let mut response = String::new();
    read.read_to_string(&mut response).await.expect("text");
    assert!(response.starts_with("HTTP/1.1 414 "));
}

#[tokio::test]
async fn a_rejection_is_received_although_the_client_has_sent_more() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("bound");
    let mut client =
        tokio::net::TcpStream::connect(listener.local_addr().expect("bound")).await.expect("connected");
    client.write_all(&[b'x'; 50_000]).await.expect("fits the socket's buffers");
    let (tcp, _) = listener.accept().await.expect("a client");
    let serve = tokio::spawn(async move { Server::default().read_request(tcp).await.map(drop) });
    let mut response = String::new();
    client.read_to_string(&mut response).await.expect("no reset");
    assert!(response.starts_with("HTTP/1.1 414 ") && response.ends_with("too long\n"), "{response}");
    drop(client);
    assert!(matches!(serve.await.expect("no panic"), Err(Error::Rejected(_))));
}

#[test]
fn the_future_of_accept_is_little_larger_than_the_connection() {
    let (_, io) = duplex(1);
    let future = fullduplex::accept(io);
    let size = size_of_val(&future);
    println!("{size} bytes, of a connection of {}", size_of::<WebSocket<DuplexStream>>());
    assert!(size <= size_of::<WebSocket<DuplexStream>>() + 300, "{size}");
    fn assert_send(_: impl Send) {}
    assert_send(future);
}

proptest! {
    #[test]
    fn the_response_is_the_same_however_a_request_is_split_into_reads(
        places in proptest::collection::vec(any::<usize>(), 0..20),
        case in 0..4usize,
    ) {
        let input = [
            REQUEST.as_bytes().to_vec(),
            [REQUEST.as_bytes(), b"\x81\x80\0\0\0\0"].concat(),
            request("Host", " Host"),
            request("GET", "PUT"),
        ][case].clone();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime");
        let (expected, found) = runtime.block_on(async {
            let (whole, expected) = Script::new(cut(&input, &[]));
            let (pieces, found) = Script::new(cut(&input, &places));
            let accepted = [fullduplex::accept(whole).await.is_ok(), fullduplex::accept(pieces).await.is_ok()];
            match accepted {
                [false, false] => (expected.undated(), found.undated()),
                _ => (expected.text(), found.text()),
            }
        });
        prop_assert!(!expected.is_empty());
        prop_assert_eq!(expected, found);
    }
}
