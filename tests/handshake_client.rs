//! The opening handshake of a client, over the public API.

#[path = "support/handshake.rs"]
#[allow(dead_code, reason = "shared with other tests")]
mod support;

use std::{io, time::Duration};

use bytes::Bytes;
use fullduplex::{
    Client, Config, Error, Timeout, WebSocket,
    handshake::{Fault, HeadError, InvalidHandshake, ResponseError, TargetError, accept_key},
};
use http::Response;
use proptest::prelude::*;
use support::{Script, Step, poll_once, released_at_every_poll};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex},
    net::TcpListener,
    time::Instant,
};

const TARGET: &str = "ws://example.com/chat";

/// What the peer does after it has written its response.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Then {
    Ends,
    Hangs,
}

type Opened = Result<(WebSocket<DuplexStream>, Response<()>), Error>;

/// Reads a whole request. Returns it with the Sec-WebSocket-Accept for its key.
async fn read_request(near: &mut DuplexStream) -> (String, String) {
    let mut request = Vec::new();
    while !request.ends_with(b"\r\n\r\n") {
        request.push(near.read_u8().await.expect("a whole request"));
    }
    let request = String::from_utf8(request).expect("text");
    let key = request.lines().find_map(|line| line.strip_prefix("Sec-WebSocket-Key: ")).expect("a key");
    let accept = accept_key(key.as_bytes());
    (request, accept)
}

/// Connects to a peer that sends this response; `{}` is replaced by the correct
/// Sec-WebSocket-Accept.
async fn answered(client: &Client, response: &str, then: Then) -> Opened {
    answered_in_pieces(client, response, then, usize::MAX).await
}

/// Does the same as [`answered`], with the response written in pieces of this size.
async fn answered_in_pieces(client: &Client, response: &str, then: Then, piece: usize) -> Opened {
    let (mut near, io) = duplex(1 << 16);
    let peer = async {
        let (_, accept) = read_request(&mut near).await;
        for piece in response.replace("{}", &accept).as_bytes().chunks(piece) {
            if near.write_all(piece).await.is_err() {
                return;
            }
            tokio::task::yield_now().await;
        }
        match then {
            Then::Ends => near.shutdown().await.expect("open"),
            Then::Hangs => std::future::pending().await,
        }
    };
    let connect = client.handshake(TARGET, io);
    tokio::pin!(connect);
    tokio::select! {
        result = &mut connect => result,
        () = peer => connect.await,
    }
}

/// Returns the correct response with this text replaced.
fn switching(old: &str, new: &str) -> String {
    let right = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
        Sec-WebSocket-Accept: {}\r\n\r\n";
    assert!(right.contains(old), "{old}");
    right.replacen(old, new, 1)
}

fn response_error(result: Opened) -> ResponseError {
    match result {
        Err(Error::Response(error)) => *error,
        other => panic!("{other:?}"),
    }
}

fn refusal(result: Opened) -> Response<Bytes> {
    match response_error(result) {
        ResponseError::Status(response) => *response,
        other => panic!("{other:?}"),
    }
}

/// RFC 6455 section 4.1, requirements of the request 1 to 12.
#[tokio::test(start_paused = true)]
async fn a_request_has_the_exact_bytes_and_a_new_nonce() {
    let mut nonces = Vec::new();
    for _ in 0..2 {
        let (mut near, io) = duplex(1 << 16);
        let client = Client::default().header("Origin", "https://example.com").subprotocol("chat.v2");
        let connect =
            tokio::spawn(async move { client.handshake("ws://user:pw@example.com:81/a?b=c", io).await });
        let (request, accept) = read_request(&mut near).await;
        let key =
            request.lines().nth(4).and_then(|line| line.strip_prefix("Sec-WebSocket-Key: ")).expect("a key");
        assert_eq!(
            request,
            format!(
                "GET /a?b=c HTTP/1.1\r\nHost: example.com:81\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
                 Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Protocol: chat.v2\r\n\
                 Authorization: Basic dXNlcjpwdw==\r\norigin: https://example.com\r\n\r\n"
            )
        );
        nonces.push(key.to_owned());
        near.write_all(switching("", "").replace("{}", &accept).as_bytes()).await.expect("open");
        let (_, response) = connect.await.expect("no panic").expect("connected");
        assert_eq!(response.headers()["sec-websocket-accept"], accept.as_str());
    }
    assert_ne!(nonces[0], nonces[1]);
}

/// RFC 6455 section 4.1.
#[tokio::test(start_paused = true)]
async fn nothing_follows_the_request_until_the_response_has_arrived() {
    let (io, written) = Script::new([Step::Hangs]);
    let result = Client::default().handshake(TARGET, io).await;
    assert!(matches!(result, Err(Error::Timeout(Timeout::Handshake))), "{result:?}");
    let written = written.text();
    assert!(written.starts_with("GET /chat HTTP/1.1\r\n"), "{written}");
    assert_eq!(written.find("\r\n\r\n"), Some(written.len() - 4), "{written}");
}

#[tokio::test(start_paused = true)]
async fn row_01_one_deadline_covers_the_whole_response() {
    let (mut near, io) = duplex(1 << 16);
    let start = Instant::now();
    let slow = tokio::spawn(async move {
        let (_, accept) = read_request(&mut near).await;
        for byte in switching("", "").replace("{}", &accept).bytes() {
            if near.write_all(&[byte]).await.is_err() {
                return;
            }
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
    });
    let result = Client::default().handshake(TARGET, io).await;
    assert!(matches!(result, Err(Error::Timeout(Timeout::Handshake))), "{result:?}");
    assert_eq!(start.elapsed().as_secs(), 10);
    slow.await.expect("writing ends when the transport is dropped");
}

#[tokio::test(start_paused = true)]
async fn row_02_a_response_header_without_end_is_limited() {
    let client = Client::new(Config::new().max_headers(usize::MAX));
    let endless = format!("HTTP/1.1 101 Hi\r\n{}", "A: b\r\n".repeat(5000));
    let error = response_error(answered(&client, &endless, Then::Hangs).await);
    assert!(matches!(error, ResponseError::Head(HeadError::TooLong { limit: 16_384 })), "{error:?}");
}

#[tokio::test(start_paused = true)]
async fn row_03_a_response_may_arrive_in_thousands_of_reads() {
    let long = switching("Upgrade: w", &format!("X: {}\r\nUpgrade: w", "x".repeat(14_000)));
    assert!(answered_in_pieces(&Client::default(), &long, Then::Hangs, 1).await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn row_04_ten_thousand_headers_are_too_many() {
    let client = Client::new(Config::new().max_header_size(1 << 20));
    let many = format!("HTTP/1.1 101 Hi\r\n{}\r\n", "A: b\r\n".repeat(10_000));
    let error = response_error(answered(&client, &many, Then::Hangs).await);
    assert!(matches!(error, ResponseError::Head(HeadError::TooManyFields { limit: 64 })), "{error:?}");
}

/// RFC 6455 section 4.1, checks of the response 2 and 3.
#[tokio::test(start_paused = true)]
async fn row_06_upgrade_and_connection_are_required() {
    let client = Client::default();
    for new in ["", "Upgrade: h2c\r\n", "Upgrade: websocket\r\nUpgrade: websocket\r\n"] {
        let response = switching("Upgrade: websocket\r\n", new);
        let error = response_error(answered(&client, &response, Then::Hangs).await);
        assert!(matches!(error, ResponseError::Upgrade), "{error:?}");
    }
    for new in ["", "Connection: close\r\n"] {
        let response = switching("Connection: Upgrade\r\n", new);
        let error = response_error(answered(&client, &response, Then::Hangs).await);
        assert!(matches!(error, ResponseError::Connection), "{error:?}");
    }
    let lists = switching("websocket\r\nConnection: Upgrade", "WebSocket\r\nConnection: keep-alive, upgrade");
    assert!(answered(&client, &lists, Then::Hangs).await.is_ok());
}

/// RFC 9112 sections 2.2 and 5.1.
#[tokio::test(start_paused = true)]
async fn row_10_ambiguous_input_is_refused() {
    for (old, new) in [
        ("\r\n", "\n"),
        ("Upgrade:", "X: y\r\n folded\r\nUpgrade:"),
        ("Upgrade:", "X: a\0b\r\nUpgrade:"),
        ("Upgrade:", "Upgrade :"),
        ("HTTP", "\r\nHTTP"),
        ("HTTP/1.1", "HTTP/1.0"),
        ("HTTP/1.1", "ICY"),
        ("101", "1010"),
    ] {
        let error = response_error(answered(&Client::default(), &switching(old, new), Then::Hangs).await);
        assert!(matches!(error, ResponseError::Head(_)), "{new:?}: {error:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn row_12_invalid_request_parts_fail_before_any_byte_is_written() {
    let plain = Client::default;
    for (client, target) in [
        (plain(), "ws://example.com/a\r\nX: y"),
        (plain(), "ws://example.com/a b"),
        (plain(), "ws://exa\nmple.com/"),
        (plain(), "ws://example.com\0/"),
        (plain(), "ws://example.com/#fragment"),
        (plain(), "ws://example.com:99999/"),
        (plain(), "http://example.com/"),
        (plain().header("x", "a\r\nHost: b"), TARGET),
        (plain().header("x", "a\nb"), TARGET),
        (plain().header("x", "a\0b"), TARGET),
        (plain().header("x\r\ny", "z"), TARGET),
        (plain().header("Host", "evil.example"), TARGET),
        (plain().header("Sec-WebSocket-Key", "AAAAAAAAAAAAAAAAAAAAAA=="), TARGET),
        (plain().header("Sec-WebSocket-Anything", "x"), TARGET),
        (plain(), "ws://good.example\\@evil.example/"),
        (plain(), "ws://[x]@evil.example/"),
        (plain(), "ws://example.com/<a>"),
        (plain().header("Upgrade", "h2c"), TARGET),
        (plain().header("Connection", "close"), TARGET),
        (plain().subprotocol("a\r\nb"), TARGET),
        (plain().subprotocol("a, b"), TARGET),
        (plain().subprotocol("a\0"), TARGET),
    ] {
        let (io, written) = Script::new([Step::Hangs]);
        let result = client.handshake(target, io).await;
        assert!(matches!(result, Err(Error::InvalidHandshake(_))), "{target:?} {client:?}: {result:?}");
        assert_eq!((written.text(), written.is_dropped()), (String::new(), true));
    }
}

#[tokio::test]
async fn row_12_invalid_settings_fail_before_dialing() {
    // This name cannot be resolved, so dialing would return another error.
    let invalid = |result: Result<_, Error>| match result.map(drop) {
        Err(Error::InvalidHandshake(error)) => *error,
        other => panic!("{other:?}"),
    };
    #[cfg(not(feature = "tls"))]
    {
        let error = invalid(fullduplex::connect("wss://name.invalid/").await);
        assert_eq!(error, InvalidHandshake::TlsUnavailable);
    }
    let error = invalid(fullduplex::connect("ws://name.invalid/\r\n").await);
    assert_eq!(error, InvalidHandshake::Target(TargetError::Character));
    let error = invalid(Client::default().header("x", "\n").connect("ws://name.invalid/").await);
    assert_eq!(error, InvalidHandshake::HeaderValue("x".into()));
}

#[tokio::test(start_paused = true)]
async fn row_14_frames_after_the_101_do_not_affect_the_handshake() {
    let response = switching("", "") + "\u{1}\0HTTP/1.1 400 No\r\n\r\n\n\0";
    let (_, response) = answered(&Client::default(), &response, Then::Hangs).await.expect("connected");
    assert_eq!(response.status(), 101);
}

#[tokio::test(start_paused = true)]
async fn row_14_frames_in_the_same_read_as_the_101_are_received_in_order() {
    let (mut near, io) = duplex(1 << 16);
    let client = Client::default();
    let (opened, ()) = tokio::join!(client.handshake(TARGET, io), async {
        let (_, accept) = read_request(&mut near).await;
        let head = switching("{}", &accept);
        near.write_all(&[head.as_bytes(), b"\x81\x05hello\x81\x03bye"].concat()).await.expect("open");
    });
    let (mut ws, _) = opened.expect("connected");
    assert_eq!(ws.recv().await.expect("open"), Some("hello".into()));
    assert_eq!(ws.recv().await.expect("open"), Some("bye".into()));
}

/// RFC 6455 section 4.1, check of the response 4.
#[tokio::test(start_paused = true)]
async fn row_15_accept_must_match_the_key_and_occur_once() {
    const ACCEPT: &str = "Sec-WebSocket-Accept: {}\r\n";
    for (new, fault) in [
        ("", Fault::Missing),
        ("Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n", Fault::Wrong),
        ("Sec-WebSocket-Accept:\r\n", Fault::Wrong),
        ("Sec-WebSocket-Accept: {}, {}\r\n", Fault::Wrong),
        (&ACCEPT.repeat(2), Fault::Duplicate),
    ] {
        let error = response_error(answered(&Client::default(), &switching(ACCEPT, new), Then::Hangs).await);
        assert!(matches!(error, ResponseError::Accept(found) if found == fault), "{new}: {error:?}");
    }
}

/// RFC 6455 section 4.1, checks of the response 5 and 6.
#[tokio::test(start_paused = true)]
async fn row_16_a_response_cannot_select_what_was_not_offered() {
    let plain = Client::default();
    let offering = Client::default().subprotocol("a").subprotocol("b");
    for (client, field, fault) in [
        (&plain, "Sec-WebSocket-Protocol: a", Fault::Wrong),
        (&offering, "Sec-WebSocket-Protocol: c", Fault::Wrong),
        (&offering, "Sec-WebSocket-Protocol: a, b", Fault::Wrong),
        (&offering, "Sec-WebSocket-Protocol:", Fault::Wrong),
        (&offering, "Sec-WebSocket-Protocol: a\r\nSec-WebSocket-Protocol: a", Fault::Duplicate),
    ] {
        let response = switching("Upgrade:", &format!("{field}\r\nUpgrade:"));
        let error = response_error(answered(client, &response, Then::Hangs).await);
        assert!(matches!(error, ResponseError::Subprotocol(found) if found == fault), "{field}: {error:?}");
    }
    for (field, fault) in [
        ("Sec-WebSocket-Extensions: permessage-deflate", Fault::Wrong),
        ("Sec-WebSocket-Extensions: permessage-deflate;", Fault::Malformed),
        ("Sec-WebSocket-Extensions:", Fault::Malformed),
    ] {
        let response = switching("Upgrade:", &format!("{field}\r\nUpgrade:"));
        let error = response_error(answered(&plain, &response, Then::Hangs).await);
        assert!(matches!(error, ResponseError::Extension(found) if found == fault), "{field}: {error:?}");
    }
    let response = switching("Upgrade:", "Sec-WebSocket-Protocol: b\r\nUpgrade:");
    assert!(answered(&offering, &response, Then::Hangs).await.is_ok());
    assert!(answered(&offering, &switching("", ""), Then::Hangs).await.is_ok(), "choosing none is allowed");
}

#[tokio::test(start_paused = true)]
async fn row_17_a_refusal_is_returned_with_status_headers_and_body() {
    for (response, status, body) in [
        ("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi", 200, "hi"),
        ("HTTP/1.1 302 Found\r\nLocation: wss://evil.example/\r\nContent-Length: 0\r\n\r\n", 302, ""),
        (
            "HTTP/1.1 401 Who\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n1;x\r\nd\r\n0\r\n\r\n",
            401,
            "abcd",
        ),
        ("HTTP/1.1 304 Same\r\nContent-Length: 9\r\n\r\n", 304, ""),
        ("HTTP/1.1 103 Early\r\nLink: a\r\n\r\nHTTP/1.1 403 No\r\nContent-Length: 1\r\n\r\nx", 403, "x"),
    ] {
        let start = Instant::now();
        let refused = refusal(answered(&Client::default(), response, Then::Hangs).await);
        assert_eq!((refused.status().as_u16(), &refused.body()[..]), (status, body.as_bytes()));
        assert!(start.elapsed() < Duration::from_secs(1), "reading stops at the end of the body");
        if status == 302 {
            assert_eq!(refused.headers()["location"], "wss://evil.example/");
        }
    }
    let until_eof = answered(&Client::default(), "HTTP/1.0 500 Oh\r\n\r\nno", Then::Ends).await;
    assert_eq!(refusal(until_eof).body(), "no");
}

#[tokio::test(start_paused = true)]
async fn row_17_a_body_without_end_is_limited_in_bytes_and_in_time() {
    let endless = format!("HTTP/1.1 503 Busy\r\n\r\n{}", "x".repeat(100_000));
    assert_eq!(refusal(answered(&Client::default(), &endless, Then::Hangs).await).body().len(), 16_384);

    let start = Instant::now();
    let stuck = "HTTP/1.1 503 Busy\r\nContent-Length: 100\r\n\r\nabc";
    assert_eq!(refusal(answered(&Client::default(), stuck, Then::Hangs).await).body(), "abc");
    assert_eq!(start.elapsed().as_secs(), 10);
}

/// RFC 9110 section 15.2.
#[tokio::test(start_paused = true)]
async fn row_17_interim_responses_are_skipped_up_to_a_limit() {
    let interim = "HTTP/1.1 103 Early Hints\r\n\r\n";
    let client = Client::default();
    assert!(answered(&client, &(interim.repeat(8) + &switching("", "")), Then::Hangs).await.is_ok());
    let error = response_error(answered(&client, &interim.repeat(9), Then::Hangs).await);
    assert!(matches!(error, ResponseError::TooManyInterim), "{error:?}");
}

#[tokio::test(start_paused = true)]
async fn row_17_the_response_of_a_refusal_is_in_the_error() {
    let refused = "HTTP/1.1 401 Who\r\nWWW-Authenticate: Basic\r\nContent-Length: 4\r\n\r\nwho?";
    let error = answered(&Client::default(), refused, Then::Hangs).await.expect_err("refused");
    let response = error.response().expect("a response");
    assert_eq!((response.status().as_u16(), &response.body()[..]), (401, &b"who?"[..]));
    assert_eq!(response.headers()["www-authenticate"], "Basic");
    let wrong = switching("{}", "wrong");
    let error = answered(&Client::default(), &wrong, Then::Hangs).await.expect_err("a wrong Accept");
    assert!(error.response().is_none() && Error::Closed.response().is_none());
}

#[tokio::test(start_paused = true)]
async fn row_66_server_input_is_escaped_in_errors_and_its_secrets_are_hidden() {
    let refused = "HTTP/1.1 403 \u{9b}31m\r\nSet-Cookie: id=secret\r\nProxy-Authenticate: Basic secret\r\n\
        WWW-Authenticate: secret\r\nX: shown\u{9b}2J\r\nContent-Length: 13\r\n\r\n\u{1b}[2J\nsecret\n";
    let error = answered(&Client::default(), refused, Then::Ends).await.expect_err("refused");
    let shown = format!("{error:?}");
    assert!(shown.contains("shown") && shown.contains("bytes]"), "{shown}");
    for text in
        [shown, format!("{error:#}"), format!("{:?}", error.response().expect("a response").headers())]
    {
        assert!(!text.contains("secret"), "{text}");
        assert!(!text.contains(char::is_control), "{text}");
    }
    assert_eq!(error.response().expect("a response").headers()["set-cookie"], "id=secret");
    // Control bytes make a response head invalid.
    let error =
        answered(&Client::default(), "HTTP/1.1 403 \u{1b}[2J\r\n", Then::Hangs).await.expect_err("invalid");
    assert_eq!(format!("{error:#}"), "invalid response: control byte");
}

#[tokio::test(start_paused = true)]
async fn row_67_input_that_cannot_be_a_response_fails_without_waiting_for_more() {
    for (input, expected) in [
        ("SSH-2.0-OpenSSH_9.6\r\n", HeadError::NotHttp),
        ("220 mail.example.com ESMTP\r\n", HeadError::NotHttp),
        ("\x15\x03\x01\0\x02\x02", HeadError::Tls),
        ("\x16\x03\x03", HeadError::Tls),
        ("HTTP/2.0 ", HeadError::Version),
        ("HTTP/1.1 1O1", HeadError::Malformed("status")),
        ("HTTP/1.1 200 OK\r\nServer\r", HeadError::Malformed("header name")),
    ] {
        // The peer sends nothing more and does not shut down its side.
        let start = Instant::now();
        let error = response_error(answered(&Client::default(), input, Then::Hangs).await);
        assert!(matches!(error, ResponseError::Head(found) if found == expected), "{input}: {error:?}");
        assert_eq!(start.elapsed(), Duration::ZERO, "{input}");
    }
}

#[tokio::test(start_paused = true)]
async fn row_51_the_transport_is_dropped_if_it_ends_inside_the_response() {
    let response = switching("", "");
    for end in 0..response.len() {
        for kind in [None, Some(io::ErrorKind::ConnectionReset)] {
            let part = Step::Bytes(response.as_bytes()[..end].to_vec());
            let steps = [Some(part).filter(|_| end > 0), kind.map(Step::Fails)];
            let (io, written) = Script::new(steps.into_iter().flatten());
            let result = Client::default().handshake(TARGET, io).await;
            let expected = kind.unwrap_or(io::ErrorKind::UnexpectedEof);
            assert!(
                matches!(&result, Err(Error::Transport(error)) if error.kind() == expected),
                "{end}: {result:?}"
            );
            assert!(written.is_dropped());
        }
    }
}

#[tokio::test(start_paused = true)]
async fn row_51_the_transport_is_dropped_if_writing_the_request_fails() {
    for end in [0, 1, 50, 100] {
        let (io, written) = Script::new([Step::Hangs]);
        let io = io.writes_fail_behind(end, io::ErrorKind::BrokenPipe);
        let result = Client::default().handshake(TARGET, io).await;
        assert!(
            matches!(&result, Err(Error::Transport(error)) if error.kind() == io::ErrorKind::BrokenPipe),
            "{end}: {result:?}"
        );
        assert_eq!((written.text().len(), written.is_dropped()), (end, true));
    }
}

#[tokio::test(start_paused = true)]
async fn row_52_dropping_the_future_at_any_poll_drops_the_transport() {
    let client = Client::default();
    let refused = b"HTTP/1.1 103 Early\r\n\r\nHTTP/1.1 404 No\r\nContent-Length: 4\r\n\r\nbody";
    let (result, _) = released_at_every_poll(refused, |io| client.handshake(TARGET, io));
    match result {
        Err(Error::Response(error)) => {
            assert!(matches!(&*error, ResponseError::Status(response) if response.body() == "body"));
        }
        other => panic!("{other:?}"),
    }
    let wrong = switching("{}", "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    let (result, _) = released_at_every_poll(wrong.as_bytes(), |io| client.handshake(TARGET, io));
    assert!(matches!(result, Err(Error::Response(_))), "{result:?}");
}

#[tokio::test(start_paused = true)]
async fn row_52_dropping_one_end_at_any_poll_fails_the_other() {
    for dropped in ["client", "server"] {
        for polls in 0.. {
            // A byte at a time in each direction.
            let (near, far) = duplex(1);
            let client = Client::default();
            let mut connect = Box::pin(client.handshake(TARGET, near));
            let mut accept = Box::pin(fullduplex::accept(far));
            let mut done = false;
            for _ in 0..polls {
                done = poll_once(connect.as_mut()).is_ready() || poll_once(accept.as_mut()).is_ready();
                if done {
                    break;
                }
            }
            if done {
                assert!(polls > 100, "{polls} polls: too few for single bytes");
                break;
            }
            let result = match dropped {
                "client" => {
                    drop(connect);
                    accept.await.map(drop)
                }
                _ => {
                    drop(accept);
                    connect.await.map(drop)
                }
            };
            assert!(matches!(result, Err(Error::Transport(_))), "{dropped} {polls}: {result:?}");
        }
    }
}

#[tokio::test]
async fn row_52_dropping_connect_at_any_poll_closes_the_socket() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("bound");
    let target = format!("ws://{}/", listener.local_addr().expect("bound"));
    let mut sockets = 0;
    for polls in 0..8 {
        let client = Client::default();
        let mut connect = Box::pin(client.connect(&target));
        for _ in 0..polls {
            assert!(poll_once(connect.as_mut()).is_pending(), "no response is sent");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        drop(connect);
        while let Ok(accepted) = tokio::time::timeout(Duration::from_millis(20), listener.accept()).await {
            let (mut socket, _) = accepted.expect("listening");
            let end = tokio::time::timeout(Duration::from_secs(5), socket.read_to_end(&mut Vec::new())).await;
            assert!(end.is_ok(), "after {polls} polls: still open");
            sockets += 1;
        }
    }
    assert!(sockets > 0, "no connection was made");
}

#[tokio::test(start_paused = true)]
async fn row_52_dropping_the_future_drops_the_transport() {
    let (io, written) = Script::new([Step::Hangs]);
    let connect = Client::default();
    let connect = connect.handshake(TARGET, io);
    assert!(tokio::time::timeout(Duration::from_secs(1), connect).await.is_err());
    assert!(written.is_dropped() && written.text().starts_with("GET /chat HTTP/1.1\r\n"));
}

#[test]
fn the_future_of_connect_is_little_larger_than_the_connection() {
    let client = Client::default();
    let (_, io) = duplex(1);
    let over = client.handshake(TARGET, io);
    assert!(size_of_val(&over) <= size_of::<WebSocket<DuplexStream>>() + 400, "{}", size_of_val(&over));
    let dialed = client.connect(TARGET);
    assert!(size_of_val(&dialed) <= size_of_val(&over), "{}", size_of_val(&dialed));
    fn assert_send(_: impl Send) {}
    assert_send(over);
    assert_send(dialed);
}

proptest! {
    #[test]
    fn the_result_is_the_same_however_a_response_is_split_into_reads(piece in 1..200usize, case in 0..4usize) {
        let response = [
            switching("", ""),
            switching("Upgrade:", " Upgrade:"),
            "HTTP/1.1 100 Go on\r\n\r\n".to_owned() + &switching("", "") + "\u{1}\0",
            "HTTP/1.1 404 No\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nabcd\r\n0\r\n\r\n".to_owned(),
        ][case].clone();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime");
        let [whole, cut] = [usize::MAX, piece].map(|piece| {
            let client = Client::default();
            let opened = runtime.block_on(answered_in_pieces(&client, &response, Then::Hangs, piece));
            match opened {
                // Sec-WebSocket-Accept depends on the nonce.
                Ok((_, response)) => response.status().to_string(),
                Err(error) => format!("{error:?}"),
            }
        });
        prop_assert_eq!(whole, cut);
    }
}
