//! Routes of axum that open WebSocket connections over HTTP/1.1, on real sockets and in memory.
#![cfg(feature = "axum")]

use std::{
    convert::Infallible,
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::Duration,
};

use axum::{
    Extension, Router,
    body::Body,
    extract::{Path, State},
    http::{HeaderValue, Request, StatusCode, header},
    middleware::{self, Next},
    response::{Html, IntoResponse, Response},
    routing::any,
};
use fullduplex::{
    Client, CloseCode, Config, Error, Message, ResponseError, Server,
    axum::{WebSocket, WebSocketUpgrade},
    testing,
};
use http_body_util::BodyExt;
use hyper_util::{rt::TokioIo, service::TowerToHyperService};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::mpsc,
    time::timeout,
};
use tower::ServiceExt;

const LONG: Duration = Duration::from_secs(60);

async fn echo(mut ws: WebSocket) {
    while let Ok(Some(message)) = ws.recv().await {
        if ws.feed(message).await.is_err() {
            break;
        }
    }
}

async fn echo_route(upgrade: WebSocketUpgrade) -> Response {
    upgrade.on_upgrade(echo)
}

/// Serves a router on a port of its own.
async fn serve(app: Router) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("bound");
    let address = listener.local_addr().expect("bound");
    tokio::spawn(async move { axum::serve(listener, app).await });
    address
}

/// Returns the status of the response to a request with these header fields, and its text.
async fn answer(app: &Router, method: &str, fields: &[(&str, &str)]) -> (StatusCode, String) {
    let mut request = Request::builder().method(method).uri("/");
    for (name, value) in fields {
        request = request.header(*name, *value);
    }
    let (test, _client) = testing::TestUpgrade::pair();
    let request = request.extension(test).body(Body::empty()).expect("valid");
    let response = app.clone().oneshot(request).await.expect("infallible");
    let (parts, body) = response.into_parts();
    let body = body.collect().await.expect("in memory").to_bytes();
    (parts.status, String::from_utf8(body.to_vec()).expect("text"))
}

const VALID: [(&str, &str); 5] = [
    ("host", "example.com"),
    ("upgrade", "websocket"),
    ("connection", "keep-alive, Upgrade"),
    ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
    ("sec-websocket-version", "13"),
];

/// Returns the fields of a valid request, with one that is replaced or added.
fn with<'a>(name: &'a str, value: &'a str) -> Vec<(&'a str, &'a str)> {
    let others = VALID.into_iter().filter(|(other, _)| *other != name);
    others.chain((!value.is_empty()).then_some((name, value))).collect()
}

#[tokio::test]
async fn a_route_echoes_over_the_bare_tcp_stream() {
    let (peers, mut of) = mpsc::unbounded_channel();
    let app = Router::new().route(
        "/echo",
        any(async move |upgrade: WebSocketUpgrade| {
            upgrade.on_upgrade(async move |ws| {
                let tcp = ws.get_ref().tcp().map(|tcp| tcp.peer_addr().expect("connected"));
                peers.send(tcp).expect("the test waits");
                echo(ws).await;
            })
        }),
    );
    let address = serve(app).await;
    let (mut ws, response) = fullduplex::connect(format!("ws://{address}/echo")).await.expect("accepted");
    assert_eq!(response.status(), 101);
    assert_eq!(of.recv().await.expect("open"), ws.get_ref().tcp().map(|tcp| tcp.local_addr().expect("open")));
    let large = Message::from(vec![7; 3 << 20]);
    ws.send(&large).await.expect("open");
    ws.send("hello").await.expect("open");
    assert_eq!(ws.recv().await.expect("valid"), Some(large));
    assert_eq!(ws.recv().await.expect("valid"), Some(Message::from("hello")));
    ws.close(CloseCode::NORMAL, "").await.expect("clean");
}

#[tokio::test]
async fn row_14_bytes_directly_after_the_request_are_received() {
    let address = serve(Router::new().route("/", any(echo_route))).await;
    let mut tcp = TcpStream::connect(address).await.expect("connected");
    let mut request = b"GET / HTTP/1.1\r\n".to_vec();
    for (name, value) in VALID {
        request.extend_from_slice(format!("{name}: {value}\r\n").as_bytes());
    }
    request.extend_from_slice(b"\r\n\x81\x85\0\0\0\0hello\x88\x80\0\0\0\0");
    tcp.write_all(&request).await.expect("open");
    let mut received = Vec::new();
    timeout(LONG, tcp.read_to_end(&mut received)).await.expect("the server closes").expect("open");
    assert!(received.ends_with(b"\r\n\r\n\x81\x05hello\x88\0"), "{}", received.escape_ascii());
}

#[tokio::test]
async fn what_is_wrong_with_a_request_is_in_the_response() {
    let app = Router::new().route("/", any(echo_route));
    for (method, fields, status, text) in [
        ("GET", VALID.to_vec(), 101, ""),
        ("POST", VALID.to_vec(), 405, "a WebSocket connection requires GET\n"),
        ("GET", vec![("host", "example.com")], 426, "missing Upgrade: websocket\n"),
        ("GET", with("host", ""), 400, "missing Host\n"),
        ("GET", with("connection", "close"), 400, "missing Connection: Upgrade\n"),
        ("GET", with("sec-websocket-key", "abc"), 400, "Sec-WebSocket-Key is not base64 of 16 bytes\n"),
        (
            "GET",
            with("sec-websocket-version", "8"),
            426,
            "unsupported WebSocket version: only 13 is supported\n",
        ),
        ("GET", with("content-length", "5"), 400, "a WebSocket request must not have a body\n"),
        ("GET", with("origin", "https://evil.example"), 403, "origin not allowed\n"),
        ("GET", with("origin", "null"), 403, "origin not allowed\n"),
        ("GET", with("origin", "https://example.com"), 101, ""),
        ("GET", with("origin", "http://EXAMPLE.com:80"), 101, ""),
    ] {
        let (got, body) = answer(&app, method, &fields).await;
        assert_eq!((got.as_u16(), body.as_str()), (status, text), "{method} {fields:?}");
    }
}

#[tokio::test]
async fn origins_are_those_that_the_handler_allows() {
    let listed =
        any(async |upgrade: WebSocketUpgrade| upgrade.allow_origins(["https://a.example"]).on_upgrade(echo));
    let by = any(async |upgrade: WebSocketUpgrade| {
        upgrade.allow_origins_by(|origin| origin.ends_with(".b.example")).on_upgrade(echo)
    });
    let every = any(async |upgrade: WebSocketUpgrade| upgrade.any_origin().on_upgrade(echo));
    let server = any(async |upgrade: WebSocketUpgrade| {
        upgrade.server(&Server::default().allow_origins(["https://c.example"])).on_upgrade(echo)
    });
    let exceptions =
        any(async |upgrade: WebSocketUpgrade| upgrade.same_origin_or(["https://d.example"]).on_upgrade(echo));
    for (route, origin, allowed) in [
        (&exceptions, "https://d.example", true),
        (&exceptions, "https://example.com", true),
        (&exceptions, "https://a.example", false),
        (&listed, "https://a.example", true),
        (&listed, "https://example.com", false),
        (&by, "https://x.b.example", true),
        (&by, "https://b.evil", false),
        (&every, "https://evil.example", true),
        (&server, "https://c.example", true),
        (&server, "https://example.com", false),
    ] {
        let app = Router::new().route("/", route.clone());
        let (status, _) = answer(&app, "GET", &with("origin", origin)).await;
        assert_eq!(status == 101, allowed, "{origin}: {status}");
    }
}

#[tokio::test]
async fn settings_of_the_handler_hold_for_the_connection() {
    let app = Router::new().route(
        "/",
        any(async |upgrade: WebSocketUpgrade| {
            upgrade.subprotocols(["v2", "v1"]).max_message_size(10).on_upgrade(async |mut ws| {
                assert_eq!(ws.subprotocol(), Some("v1"));
                let error = ws.recv().await.expect_err("too big");
                assert_eq!(error.close_code(), Some(CloseCode::MESSAGE_TOO_BIG));
            })
        }),
    );
    let (request, connection) =
        testing::upgrade_request(&Client::default().subprotocol("v1"), "ws://example.com/").expect("valid");
    let response = app.oneshot(request.map(|()| Body::empty())).await.expect("infallible");
    let mut ws = connection.open(&response).expect("accepted");
    assert_eq!(ws.subprotocol(), Some("v1"));
    ws.send("eleven byte").await.expect("open");
    assert_eq!(ws.recv().await.expect("closed"), None);
    let close = ws.close_frame().expect("the server has closed");
    assert_eq!(close.code(), CloseCode::MESSAGE_TOO_BIG);
}

/// The header fields are those of the request, and the limits those of the connection.
#[tokio::test]
async fn a_handler_reads_the_header_fields_and_limits_frames_and_the_write_buffer() {
    let app = Router::new().route(
        "/",
        any(async |upgrade: WebSocketUpgrade| {
            assert_eq!(upgrade.headers()["host"], "example.com");
            assert!(format!("{upgrade:?}").starts_with("WebSocketUpgrade { server: "));
            upgrade.max_frame_size(10).max_write_buffer_size(20).on_upgrade(async |mut ws: WebSocket| {
                for _ in 0..2 {
                    ws.feed("0123456789").await.expect("open");
                    assert_eq!(ws.queued_bytes(), 12, "the first was written");
                }
                let error = ws.recv().await.expect_err("too big");
                assert_eq!(error.close_code(), Some(CloseCode::MESSAGE_TOO_BIG));
            })
        }),
    );
    let (request, connection) =
        testing::upgrade_request(&Client::default(), "ws://example.com/").expect("valid");
    let response = app.oneshot(request.map(|()| Body::empty())).await.expect("infallible");
    let mut ws = connection.open(&response).expect("accepted");
    ws.send("eleven byte").await.expect("open");
    for _ in 0..2 {
        assert_eq!(ws.recv().await.expect("open").expect("a message").as_text(), Some("0123456789"));
    }
    assert_eq!(ws.recv().await.expect("closed"), None);
    assert_eq!(ws.close_frame().expect("the server has closed").code(), CloseCode::MESSAGE_TOO_BIG);
}

#[cfg(feature = "deflate")]
#[tokio::test]
async fn messages_are_compressed_if_both_ends_enable_it() {
    use fullduplex::Deflate;

    let app = Router::new()
        .route("/", any(async |upgrade: WebSocketUpgrade| upgrade.deflate(Deflate::new()).on_upgrade(echo)));
    let address = serve(app).await;
    for (config, compressed) in [(Config::new().deflate(Deflate::new()), true), (Config::new(), false)] {
        let opened = Client::new(config).connect(format!("ws://{address}/")).await;
        let (mut ws, response) = opened.expect("accepted");
        assert_eq!(response.headers().contains_key("sec-websocket-extensions"), compressed);
        let text = "compressible ".repeat(1000);
        ws.send(&text).await.expect("open");
        assert_eq!(ws.recv().await.expect("valid"), Some(Message::from(text)));
    }
}

#[tokio::test]
async fn a_route_serves_a_page_to_those_that_do_not_ask_for_a_connection() {
    async fn page_or_connection(upgrade: Option<WebSocketUpgrade>) -> Response {
        match upgrade {
            Some(upgrade) => upgrade.on_upgrade(echo),
            None => Html("a page").into_response(),
        }
    }
    let app = Router::new().route("/", any(page_or_connection));
    assert_eq!(answer(&app, "GET", &[("host", "example.com")]).await, (StatusCode::OK, "a page".into()));
    assert_eq!(answer(&app, "GET", &VALID).await.0, StatusCode::SWITCHING_PROTOCOLS);
    // It asks, but not correctly.
    assert_eq!(answer(&app, "GET", &with("sec-websocket-key", "")).await.0, StatusCode::BAD_REQUEST);
}

#[tokio::test]
async fn state_extensions_and_other_extractors_work_beside_it() {
    type Log = Arc<Mutex<Vec<String>>>;

    async fn route(
        State(log): State<Log>,
        Path(room): Path<String>,
        Extension(user): Extension<&'static str>,
        upgrade: WebSocketUpgrade,
    ) -> impl IntoResponse {
        let response = upgrade.on_upgrade(async move |mut ws| {
            log.lock().expect("not poisoned").push(format!("{user} in {room}"));
            ws.send(&room).await.expect("open");
        });
        ([(header::SET_COOKIE, "seen=1")], response)
    }

    /// Rejects requests without a token, and adds the user to the others.
    async fn authenticate(mut request: Request<Body>, next: Next) -> Response {
        if request.headers().get("authorization") != Some(&HeaderValue::from_static("Bearer token")) {
            return StatusCode::UNAUTHORIZED.into_response();
        }
        request.extensions_mut().insert("ada");
        timeout(LONG, next.run(request)).await.unwrap_or_else(|_| StatusCode::GATEWAY_TIMEOUT.into_response())
    }

    let log = Log::default();
    let rooms = Router::new().route("/{room}", any(route)).layer(middleware::from_fn(authenticate));
    let address = serve(Router::new().nest("/rooms", rooms).with_state(log.clone())).await;
    let url = format!("ws://{address}/rooms/blue");

    let refused = fullduplex::connect(&*url).await.map(drop).expect_err("no token");
    assert_eq!(refused.response().map(http::Response::status), Some(StatusCode::UNAUTHORIZED));
    let client = Client::default().header("authorization", "Bearer token");
    let (mut ws, response) = client.connect(&*url).await.expect("accepted");
    assert_eq!(response.headers()["set-cookie"], "seen=1");
    assert_eq!(ws.recv().await.expect("valid"), Some(Message::from("blue")));
    assert_eq!(*log.lock().expect("not poisoned"), ["ada in blue"]);
}

#[tokio::test]
async fn a_request_whose_connection_cannot_be_upgraded_is_an_error_of_the_server() {
    let app = Router::new().route("/", any(echo_route));
    let mut request = Request::get("/");
    for (name, value) in VALID {
        request = request.header(name, value);
    }
    let response = app.oneshot(request.body(Body::empty()).expect("valid")).await.expect("infallible");
    assert_eq!(response.status(), StatusCode::INTERNAL_SERVER_ERROR);
}

#[tokio::test]
async fn an_upgrade_that_fails_after_the_response_is_reported() {
    let (errors, mut reported) = mpsc::unbounded_channel();
    let app = Router::new().route(
        "/",
        any(async move |upgrade: WebSocketUpgrade| {
            upgrade
                .on_failed_upgrade(move |error| errors.send(error).expect("the test waits"))
                .on_upgrade(echo)
        }),
    );
    // Without `with_upgrades`, hyper does not give the connection away.
    let (client, server) = tokio::io::duplex(1 << 16);
    let connection = hyper::server::conn::http1::Builder::new()
        .serve_connection(TokioIo::new(server), TowerToHyperService::new(app));
    tokio::spawn(connection);
    let opened = Client::default().handshake("ws://example.com/", client).await;
    assert_eq!(opened.expect("a 101").1.status(), 101);
    let error = timeout(LONG, reported.recv()).await.expect("reported").expect("an error");
    assert!(matches!(error, Error::Transport(_)), "{error:?}");
}

#[tokio::test]
async fn a_client_in_a_test_is_as_strict_as_on_a_socket() {
    let wrong = Router::new().route(
        "/",
        any(async |upgrade: WebSocketUpgrade| {
            let mut response = upgrade.on_upgrade(echo);
            response.headers_mut().insert("sec-websocket-accept", HeaderValue::from_static("wrong"));
            Ok::<_, Infallible>(response)
        }),
    );
    let (request, connection) =
        testing::upgrade_request(&Client::default(), "ws://example.com/").expect("valid");
    let response = wrong.oneshot(request.map(|()| Body::empty())).await.expect("infallible");
    assert!(matches!(connection.open(&response), Err(ResponseError::Accept(_))));

    let (request, connection) =
        testing::upgrade_request(&Client::default(), "ws://example.com/nowhere").expect("valid");
    let response = Router::new().oneshot(request.map(|()| Body::empty())).await;
    let error = connection.open(&response.expect("infallible")).map(drop).expect_err("no such route");
    assert_eq!(error.response().map(http::Response::status), Some(StatusCode::NOT_FOUND));
}

#[tokio::test]
async fn a_bearer_token_is_taken_out_of_the_subprotocols() {
    let route = any(async |mut upgrade: WebSocketUpgrade| {
        let token = upgrade.take_bearer_token("bearer.")?;
        let user = token.map(|token| token.as_str().to_owned()).unwrap_or_default();
        Ok::<_, fullduplex::Rejection>(upgrade.subprotocols(["chat"]).on_upgrade(async move |mut ws| {
            ws.send(&user).await.expect("open");
        }))
    });
    let app = Router::new().route("/", route);
    let client = Client::default().subprotocol("chat").bearer_token("bearer.", "c2VjcmV0");
    let (request, connection) = testing::upgrade_request(&client, "ws://example.com/").expect("valid");
    let response = app.clone().oneshot(request.map(|()| Body::empty())).await.expect("infallible");
    assert_eq!(response.headers()["sec-websocket-protocol"], "chat");
    let mut ws = connection.open(&response).expect("accepted");
    assert_eq!(ws.recv().await.expect("valid"), Some(Message::from("c2VjcmV0")));
    let twice = with("sec-websocket-protocol", "bearer.a, bearer.b");
    assert_eq!(
        answer(&app, "GET", &twice).await,
        (StatusCode::BAD_REQUEST, "duplicate bearer token\n".into())
    );
}
