//! A server that answers HTTP requests on the port of its WebSocket connections, over the public
//! API.

#[path = "support/handshake.rs"]
#[allow(dead_code, reason = "shared with other tests")]
mod support;

use std::time::Duration;

use fullduplex::{
    AnyRequest, Error, HttpRequest, RejectedRequest, Replay, Server, Timeout, handshake::InvalidHandshake,
};
use http::{Method, Response, StatusCode, Version};
use support::{
    REQUEST, SERVER_ERROR, SWITCHING, Script, Step, Written, cut, released_at_every_poll, request, undated,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, duplex},
    time::Instant,
};

/// Returns what a server reads from these bytes, after which the stream ends.
async fn receive(input: &[u8]) -> (AnyRequest<Script>, Written) {
    let (io, written) = Script::new([Step::Bytes(input.to_vec())]);
    (Server::default().read_any_request(io).await.expect("a whole head or a rejection"), written)
}

async fn http(input: &[u8]) -> (HttpRequest<Script>, Written) {
    match receive(input).await {
        (AnyRequest::Http(request), written) => (request, written),
        (other, _) => panic!("{}: {other:?}", input.escape_ascii()),
    }
}

async fn rejected(input: &[u8]) -> (RejectedRequest<Script>, Written) {
    match receive(input).await {
        (AnyRequest::Rejected(rejected), written) => (rejected, written),
        (other, _) => panic!("{}: {other:?}", input.escape_ascii()),
    }
}

#[tokio::test(start_paused = true)]
async fn a_plain_http_request_is_returned_with_all_its_bytes() {
    for (head, body) in [
        ("GET /health HTTP/1.1\r\nHost: a\r\n\r\n", ""),
        ("HEAD / HTTP/1.1\r\nHost: a\r\n\r\n", ""),
        ("POST /form HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\n", "a=b&c"),
        ("PUT / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n", "1\r\na\r\n0\r\n\r\n"),
        ("GET / HTTP/1.0\r\n\r\n", ""),
        ("GET / HTTP/1.0\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n", ""),
        ("GET / HTTP/1.1\r\nHost: a\r\nUpgrade: h2c\r\n\r\n", ""),
        ("GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\n\r\n", "GET / HTTP/1.1\r\n"),
        ("OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n", ""),
        ("CONNECT a:80 HTTP/1.1\r\n\r\n", "\x16\x03"),
        ("X-Y http://a/b?c HTTP/1.1\r\nHost: other\r\n\r\n", ""),
    ] {
        for behind in [true, false] {
            // The body arrives with the head, or later.
            let (first, second) = if behind { ([head, body].concat(), "") } else { (head.to_owned(), body) };
            let steps = [first.as_str(), second].map(|bytes| Step::Bytes(bytes.into()));
            let (io, written) = Script::new(
                steps.into_iter().filter(|step| !matches!(step, Step::Bytes(bytes) if bytes.is_empty())),
            );
            let incoming = Server::default().read_any_request(io).await.expect("a whole head");
            let AnyRequest::Http(request) = incoming else { panic!("{head}: {incoming:?}") };
            let parts = request.into_parts();
            assert_eq!(parts.head, head);
            assert_eq!(parts.request.method().as_str(), head.split(' ').next().expect("a method"));
            assert_eq!(parts.request.version() == Version::HTTP_10, head.contains("HTTP/1.0"));
            let (mut read, mut io) = (parts.unread.to_vec(), parts.io);
            assert_eq!(read.is_empty(), !behind || body.is_empty());
            io.read_to_end(&mut read).await.expect("the rest");
            assert_eq!((read, written.text()), (body.as_bytes().to_vec(), String::new()));
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_response_is_written_exactly_and_ends_the_connection() {
    let (request, written) = http(b"POST /a?b HTTP/1.1\r\nHost: c\r\nContent-Length: 1\r\n\r\nx").await;
    assert_eq!((request.request().method(), request.request().uri().path()), (&Method::POST, "/a"));
    let response = Response::builder().status(201).header("X-Y", "z").body("made\n").expect("valid");
    request.respond(response).await.expect("written");
    assert_eq!(
        written.undated(),
        "HTTP/1.1 201 Created\r\nx-y: z\r\nConnection: close\r\nContent-Length: 5\r\n\r\nmade\n"
    );
    assert!(written.is_dropped());
}

/// RFC 9110 section 9.3.2.
#[tokio::test(start_paused = true)]
async fn a_response_to_head_has_no_content_but_its_length() {
    let (request, written) = http(b"HEAD / HTTP/1.1\r\nHost: a\r\n\r\n").await;
    request.respond(Response::new("a page")).await.expect("written");
    assert_eq!(written.undated(), "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 6\r\n\r\n");

    let (rejected, written) = rejected(&request_of(Method::HEAD)).await;
    rejected.respond(Response::new("a page")).await.expect("written");
    assert_eq!(written.undated(), "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 6\r\n\r\n");
}

/// Returns a request for a WebSocket connection with another method.
fn request_of(method: Method) -> Vec<u8> {
    request("GET", method.as_str())
}

#[tokio::test(start_paused = true)]
async fn an_invalid_response_of_the_application_sends_500_and_returns_the_error() {
    for status in [100, 101, 600] {
        let own = || Response::builder().status(status).body("").expect("valid");
        let (request, first) = http(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
        let (rejected, second) = rejected(&request_of(Method::POST)).await;
        for (result, written) in
            [(request.respond(own()).await, first), (rejected.respond(own()).await, second)]
        {
            match result {
                Err(Error::InvalidHandshake(error)) => {
                    assert!(matches!(*error, InvalidHandshake::Status(_)), "{error}")
                }
                other => panic!("{other:?}"),
            }
            assert_eq!((written.undated(), written.is_dropped()), (SERVER_ERROR.into(), true));
        }
    }
}

#[tokio::test(start_paused = true)]
async fn both_read_functions_refuse_a_request_with_the_same_response() {
    for input in [
        b"GET / HTTP/1.1\r\nHost: a\r\n\r\n".to_vec(),
        b"POST / HTTP/1.1\r\nHost: a\r\n\r\n".to_vec(),
        b"HEAD / HTTP/1.1\r\nHost: a\r\n\r\n".to_vec(),
        b"GET / HTTP/1.0\r\n\r\n".to_vec(),
        request_of(Method::HEAD),
        request("13", "12"),
        request("Host", "Hose"),
        request("/chat", "/chat#a"),
        b"HELO x\r\n".to_vec(),
        b"\x16\x03\x01".to_vec(),
        b"x".repeat(20_000),
    ] {
        let (io, expected) = Script::new([Step::Bytes(input.clone())]);
        let status = match Server::default().read_request(io).await {
            Err(Error::Rejected(rejection)) => rejection.status(),
            other => panic!("{}: {other:?}", input.escape_ascii()),
        };
        let (incoming, found) = receive(&input).await;
        let rejection = match &incoming {
            AnyRequest::Http(request) => request.rejection(),
            AnyRequest::Rejected(rejected) => rejected.rejection(),
            other => panic!("{other:?}"),
        };
        assert_eq!((rejection.status(), found.text()), (status, String::new()));
        match incoming {
            AnyRequest::Http(request) => request.refuse().await.expect("written"),
            AnyRequest::Rejected(rejected) => rejected.refuse().await.expect("written"),
            other => panic!("{other:?}"),
        }
        assert_eq!(found.undated(), expected.undated());
        assert!(found.is_dropped());
    }
}

#[tokio::test(start_paused = true)]
async fn an_invalid_websocket_request_is_rejected_or_answered_by_the_application() {
    let input = request("Sec-WebSocket-Version: 13", "Sec-WebSocket-Version: 8");
    let (first, _) = rejected(&input).await;
    assert_eq!(first.rejection().status(), StatusCode::UPGRADE_REQUIRED);
    assert_eq!(first.request().expect("a parsed request").uri().path(), "/chat");
    let parts = first.into_parts();
    assert_eq!((&parts.received[..], parts.rejection.status().as_u16()), (&input[..], 426));
    assert_eq!(parts.request.expect("a parsed request").headers()["sec-websocket-version"], "8");

    let (second, written) = rejected(&input).await;
    second.respond(Response::new("use another client\n")).await.expect("written");
    assert!(written.text().starts_with("HTTP/1.1 200 OK\r\n") && written.text().ends_with("client\n"));
}

#[tokio::test(start_paused = true)]
async fn row_67_bytes_that_are_not_a_request_are_rejected() {
    for input in ["HELO x\r\n", "\x16\x03\x01\x02", "GET /\r\n", "GET / HTTP/1.1\r\nnocolon\r\n"] {
        // The peer sends nothing more and does not shut down its side.
        let (io, written) = Script::new([Step::Bytes(input.into()), Step::Hangs]);
        let start = Instant::now();
        let incoming = Server::default().read_any_request(io).await.expect("a head or a rejection");
        let AnyRequest::Rejected(rejected) = incoming else { panic!("{input}: {incoming:?}") };
        assert_eq!((rejected.rejection().status().as_u16(), start.elapsed()), (400, Duration::ZERO));
        let parts = rejected.into_parts();
        assert!(parts.request.is_none());
        assert_eq!((parts.received, written.text()), (input.into(), String::new()));
    }
}

#[tokio::test(start_paused = true)]
async fn a_websocket_request_can_be_accepted_or_taken_apart() {
    let input = [REQUEST.as_bytes(), b"\x81\x80abcd"].concat();
    let (incoming, _) = receive(&input).await;
    let AnyRequest::WebSocket(pending) = incoming else { panic!("{incoming:?}") };
    let parts = pending.into_parts();
    assert_eq!((&parts.head[..], &parts.unread[..]), (REQUEST.as_bytes(), &b"\x81\x80abcd"[..]));
    assert_eq!(parts.request.uri().path(), "/chat");

    let (incoming, written) = receive(&input).await;
    let AnyRequest::WebSocket(pending) = incoming else { panic!("{incoming:?}") };
    let mut ws = pending.accept().await.expect("accepted");
    assert_eq!(ws.recv().await.expect("open"), Some("".into()));
    assert!(written.text().starts_with(SWITCHING));
}

#[tokio::test(start_paused = true)]
async fn a_replay_yields_all_bytes_that_were_read_before() {
    let post = b"POST / HTTP/1.1\r\nContent-Length: 3\r\n\r\nabc".to_vec();
    for input in
        [post, REQUEST.into(), request_of(Method::PUT), b"SSH-2.0-x\r\n".to_vec(), b"x".repeat(30_000)]
    {
        for places in [&[][..], &[3, 30], &[40, 41]] {
            let steps = cut(&input, places).into_iter().chain([Step::Bytes(b"more".to_vec())]);
            let (io, written) = Script::new(steps);
            let incoming = Server::default().read_any_request(io).await.expect("a head or a rejection");
            let mut replay: Replay<Script> = match incoming {
                AnyRequest::WebSocket(pending) => pending.into_replay(),
                AnyRequest::Http(request) => request.into_replay(),
                AnyRequest::Rejected(rejected) => rejected.into_replay(),
                other => panic!("{other:?}"),
            };
            replay.write_all(b"an answer").await.expect("written");
            let mut first = [0; 2];
            replay.read_exact(&mut first).await.expect("two bytes");
            let mut read = first.to_vec();
            replay.read_to_end(&mut read).await.expect("the rest");
            assert_eq!(read, [&input[..], b"more"].concat());
            assert_eq!(written.text(), "an answer");
            let (left, _io) = replay.into_inner();
            assert!(left.is_empty());
        }
    }
}

#[tokio::test(start_paused = true)]
async fn row_01_reading_and_responding_have_separate_deadlines() {
    let (mut near, io) = duplex(64);
    near.write_all(b"GET / HTTP/1.1\r\n").await.expect("fits");
    let start = Instant::now();
    let result = Server::default().read_any_request(io).await.map(drop);
    assert!(matches!(result, Err(Error::Timeout(Timeout::Handshake))), "{result:?}");
    assert_eq!(start.elapsed().as_secs(), 10);

    let (mut near, io) = duplex(64);
    near.write_all(b"GET / HTTP/1.1\r\n\r\n").await.expect("fits");
    let Ok(AnyRequest::Http(request)) = Server::default().read_any_request(io).await else {
        panic!("no request")
    };
    tokio::time::sleep(Duration::from_secs(60)).await;
    let start = Instant::now();
    let result = request.respond(Response::new(vec![b'x'; 10_000])).await;
    assert!(matches!(result, Err(Error::Timeout(Timeout::Handshake))), "{result:?}");
    assert_eq!(start.elapsed().as_secs(), 10);
}

#[tokio::test(start_paused = true)]
async fn row_11_a_server_with_invalid_settings_reads_nothing() {
    let (io, written) = Script::new([Step::Hangs]);
    let result = Server::default().allow_origins(["*"]).read_any_request(io).await.map(drop);
    assert!(matches!(result, Err(Error::InvalidHandshake(_))), "{result:?}");
    assert!(written.is_dropped());
}

#[tokio::test(start_paused = true)]
async fn row_52_dropping_the_future_at_any_poll_drops_the_transport() {
    let server = Server::default();
    let get = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n";
    let (result, written) = released_at_every_poll(get, |io| server.read_any_request(io));
    assert!(matches!(result, Ok(AnyRequest::Http(_))) && written.is_empty(), "{result:?}");
    let (result, written) =
        released_at_every_poll(get, async |io| match server.read_any_request(io).await? {
            AnyRequest::Http(request) => request.respond(Response::new("a page")).await,
            other => panic!("{other:?}"),
        });
    assert!(result.is_ok() && undated(&written).ends_with("\r\n\r\na page"), "{result:?} {written}");
}

#[tokio::test(start_paused = true)]
async fn row_66_credentials_are_hidden_in_debug_output() {
    let secret = "Cookie: secret\r\nAuthorization: secret\r\nOrigin";
    for input in [
        request("Origin", secret),
        request("Origin", &format!("Content-Length: 5\r\n{secret}")),
        request("Upgrade: websocket\r\n", "Cookie: secret\r\n"),
        request("GET /", "GET /?token=secret&x="),
        request("Origin", "Sec-WebSocket-Protocol: bearer.secret\r\nOrigin"),
        [&request("\r\n\r\n", "\r\nnocolon\r\n")[..], b"secret"].concat(),
    ] {
        let (incoming, _) = receive(&input).await;
        let shown = [
            format!("{incoming:?}"),
            match incoming {
                AnyRequest::WebSocket(pending) => format!("{:?}", pending.into_parts()),
                AnyRequest::Http(request) => format!("{:?}", request.into_parts()),
                AnyRequest::Rejected(rejected) => format!("{:?}", rejected.into_parts()),
                other => panic!("{other:?}"),
            },
            match receive(&input).await.0 {
                AnyRequest::WebSocket(pending) => format!("{:?}", pending.into_replay()),
                AnyRequest::Http(request) => format!("{:?}", request.into_replay()),
                AnyRequest::Rejected(rejected) => format!("{:?}", rejected.into_replay()),
                other => panic!("{other:?}"),
            },
        ];
        for shown in shown {
            assert!(!shown.contains("secret"), "{shown}");
        }
    }
}

#[test]
fn the_future_of_read_any_request_is_small() {
    let (_, io) = duplex(1);
    let server = Server::default();
    let future = server.read_any_request(io);
    assert!(size_of_val(&future) <= 200, "{}", size_of_val(&future));
    fn assert_send(_: impl Send) {}
    assert_send(future);
}
