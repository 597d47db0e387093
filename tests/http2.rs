//! WebSocket connections over HTTP/2 (RFC 8441): both ends, and a client that is none of this
//! crate's.
#![cfg(all(feature = "http2", feature = "axum"))]

#[cfg(feature = "tls")]
#[path = "support/certificates.rs"]
mod certificates;

use std::{
    future::poll_fn,
    io,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use axum::{Router, http::StatusCode, response::Response, routing::any};
use bytes::Bytes;
use fullduplex::{
    Client, CloseCode, Config, Error, InvalidHandshake, Message, ResponseError, Timeout,
    axum::{WebSocket, WebSocketUpgrade},
    http2::Http2,
};
use h2::{Reason, RecvStream, SendStream, ext::Protocol};
use http::{Method, Request, Version};
use hyper_util::{
    rt::{TokioExecutor, TokioIo},
    server::conn::auto,
    service::TowerToHyperService,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, DuplexStream, copy_bidirectional, duplex},
    sync::{mpsc, oneshot},
    time::{sleep, timeout},
};

const LONG: Duration = Duration::from_secs(60);
const MIB: usize = 1 << 20;

async fn echo(mut ws: WebSocket) {
    while let Ok(Some(message)) = ws.recv().await {
        if ws.feed(message).await.is_err() {
            break;
        }
    }
}

fn echo_app() -> Router {
    Router::new().route("/", any(async |upgrade: WebSocketUpgrade| upgrade.on_upgrade(echo)))
}

/// Serves a router in memory, and returns the client's end of the transport.
fn serve(app: Router) -> DuplexStream {
    let (client, io) = duplex(1 << 16);
    tokio::spawn(async move {
        let mut builder = auto::Builder::new(TokioExecutor::new());
        builder.http2().enable_connect_protocol();
        let served = builder.serve_connection_with_upgrades(TokioIo::new(io), TowerToHyperService::new(app));
        served.await.map_err(io::Error::other)
    });
    client
}

async fn connect(app: Router) -> Http2 {
    Client::default().http2_over("ws://example.com", serve(app)).await.expect("allowed")
}

#[tokio::test]
async fn many_connections_share_one_transport() {
    let http2 = connect(echo_app()).await;
    let mut tasks = Vec::new();
    for number in 0..50 {
        let http2 = http2.clone();
        tasks.push(tokio::spawn(async move {
            let (mut ws, response) = http2.connect("ws://example.com/").await.expect("accepted");
            assert_eq!((response.status(), response.version()), (StatusCode::OK, Version::HTTP_2));
            for round in 0..20 {
                let text = format!("{number}: {round}");
                ws.send(&text).await.expect("open");
                assert_eq!(ws.recv().await.expect("valid"), Some(Message::from(text)));
            }
            ws.close(CloseCode::NORMAL, "").await.expect("clean");
            assert!(ws.recv().await.expect("clean").is_none());
        }));
    }
    for task in tasks {
        task.await.expect("no panic");
    }
}

#[tokio::test]
async fn large_messages_pass_both_ways_at_once() {
    let http2 = connect(echo_app()).await;
    let (ws, _) = http2.connect("ws://example.com/").await.expect("accepted");
    let (mut receiver, sender) = ws.split();
    let message: Bytes = (0..5 * MIB).map(|index| (index * 7 % 251) as u8).collect::<Vec<_>>().into();
    let sent = message.clone();
    let sending = tokio::spawn(async move {
        for _ in 0..4 {
            sender.send(sent.clone()).await.expect("open");
        }
        sender
    });
    for _ in 0..4 {
        let echoed = timeout(LONG, receiver.recv()).await.expect("in time").expect("valid");
        assert_eq!(echoed, Some(Message::Binary(message.clone())));
    }
    sending.await.expect("no panic");
}

#[tokio::test]
async fn subprotocols_are_negotiated() {
    let app = Router::new().route(
        "/",
        any(async |upgrade: WebSocketUpgrade| {
            upgrade.subprotocols(["b"]).on_upgrade(async |mut ws| {
                let name = ws.subprotocol().unwrap_or_default().to_owned();
                ws.send(&name).await.expect("open");
            })
        }),
    );
    let client = Client::default().subprotocol("a").subprotocol("b");
    let http2 = client.http2_over("ws://example.com", serve(app)).await.expect("allowed");
    let (mut ws, _) = http2.connect("ws://example.com/").await.expect("accepted");
    assert_eq!(ws.subprotocol(), Some("b"));
    assert_eq!(ws.recv().await.expect("valid"), Some(Message::from("b")));
}

#[cfg(feature = "deflate")]
#[tokio::test]
async fn messages_are_compressed() {
    use fullduplex::Deflate;

    let app = Router::new()
        .route("/", any(async |upgrade: WebSocketUpgrade| upgrade.deflate(Deflate::new()).on_upgrade(echo)));
    let client = Client::new(Config::new().deflate(Deflate::new()));
    let http2 = client.http2_over("ws://example.com", serve(app)).await.expect("allowed");
    let (mut ws, _) = http2.connect("ws://example.com/").await.expect("accepted");
    assert!(ws.extensions().starts_with("permessage-deflate"));
    let text = "compressible ".repeat(10_000);
    ws.send(&text).await.expect("open");
    assert_eq!(ws.recv().await.expect("valid"), Some(Message::from(text)));
}

#[tokio::test]
async fn a_refusal_has_its_status_and_body() {
    let app = echo_app().route("/busy", any(async || (StatusCode::SERVICE_UNAVAILABLE, "come back later")));
    let client = Client::default().header("origin", "https://evil.example");
    let http2 = client.http2_over("ws://example.com", serve(app)).await.expect("allowed");
    for (path, status, body) in
        [("/", 403, "origin not allowed\n"), ("/busy", 503, "come back later"), ("/nowhere", 404, "")]
    {
        let error = http2.connect(format!("ws://example.com{path}")).await.map(drop).expect_err("refused");
        let response = error.response().expect("a response");
        assert_eq!((response.status().as_u16(), &response.body()[..]), (status, body.as_bytes()), "{path}");
    }
}

#[tokio::test]
async fn a_target_of_another_server_is_an_error_of_the_caller() {
    let http2 = connect(echo_app()).await;
    for target in ["ws://example.com:81/", "wss://example.com/", "ws://other.example/"] {
        let error = http2.connect(target).await.map(drop).expect_err("another server");
        assert!(matches!(error, Error::InvalidHandshake(error) if *error == InvalidHandshake::OtherServer));
    }
}

/// RFC 8441 section 3.
#[tokio::test]
async fn row_55_a_server_that_does_not_allow_it_gets_no_request() {
    let (client, io) = duplex(1 << 16);
    tokio::spawn(async move {
        let service = TowerToHyperService::new(echo_app());
        let builder = auto::Builder::new(TokioExecutor::new());
        builder.serve_connection_with_upgrades(TokioIo::new(io), service).await.map_err(io::Error::other)
    });
    let error = Client::default().http2_over("ws://example.com", client).await.expect_err("not allowed");
    assert!(matches!(error, Error::Response(error) if matches!(*error, ResponseError::Http2)));
}

#[tokio::test]
async fn a_server_that_does_not_speak_http2_is_an_error() {
    let (client, mut io) = duplex(1 << 16);
    tokio::spawn(async move {
        use tokio::io::AsyncWriteExt;
        io.write_all(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n").await.expect("open");
        sleep(LONG).await;
    });
    let opened = timeout(LONG, Client::default().http2_over("ws://example.com", client)).await;
    let error = opened.expect("in time").expect_err("no HTTP/2");
    assert!(matches!(&error, Error::Response(error) if matches!(**error, ResponseError::Http2)), "{error:?}");
}

#[tokio::test(start_paused = true)]
async fn a_silent_server_ends_at_the_deadline() {
    let (client, _io) = duplex(1 << 16);
    let error = Client::default().http2_over("ws://example.com", client).await.expect_err("silent");
    assert!(matches!(error, Error::Timeout(Timeout::Handshake)), "{error:?}");
}

/// Runs a server that resets each stream: at once, or once it has accepted it and received data. Returns
/// its transport.
fn resetting(reason: Reason, accepts: bool) -> DuplexStream {
    let (client, io) = duplex(1 << 16);
    tokio::spawn(async move {
        let mut builder = h2::server::Builder::new();
        let mut requests =
            builder.enable_connect_protocol().handshake::<_, Bytes>(io).await.expect("a client");
        while let Some(Ok((request, mut respond))) = requests.accept().await {
            if accepts {
                let mut stream = respond.send_response(http::Response::new(()), false).expect("open");
                tokio::spawn(async move {
                    let _data = request.into_body().data().await;
                    stream.send_reset(reason);
                });
            } else {
                respond.send_reset(reason);
            }
        }
    });
    client
}

/// RFC 8441 section 5: RST_STREAM is to a stream what a reset is to a TCP connection.
#[tokio::test]
async fn a_stream_that_the_server_resets_is_a_transport_that_has_failed() {
    for (reason, kind) in [
        (Reason::REFUSED_STREAM, io::ErrorKind::ConnectionRefused),
        (Reason::CANCEL, io::ErrorKind::ConnectionReset),
        (Reason::INTERNAL_ERROR, io::ErrorKind::ConnectionReset),
    ] {
        let client = Client::default();
        let http2 = client.http2_over("ws://example.com", resetting(reason, false)).await.expect("HTTP/2");
        assert_eq!(format!("{http2:?}").split_once(' ').expect("its target").0, "Http2");
        let error = http2.connect("ws://example.com/").await.map(drop).expect_err("reset");
        let Error::Transport(error) = error else { panic!("{error:?}") };
        assert_eq!(error.kind(), kind, "{error}");
    }

    let transport = resetting(Reason::CANCEL, true);
    let http2 = Client::default().http2_over("ws://example.com", transport).await.expect("HTTP/2");
    let (mut ws, _) = http2.connect("ws://example.com/").await.expect("accepted");
    assert!(format!("{:?}", ws.get_ref()).starts_with("Http2Stream { id: "));
    ws.send("a").await.expect("open");
    let error = timeout(LONG, ws.recv()).await.expect("in time").expect_err("reset");
    assert!(error.is_disconnect(), "{error:?}");
}

/// RFC 8441 section 5: the end of a stream is that of a TCP connection.
#[tokio::test]
async fn a_dropped_connection_is_a_disconnect_for_the_peer() {
    let (results, mut ended) = mpsc::unbounded_channel();
    let app = Router::new().route(
        "/",
        any(async move |upgrade: WebSocketUpgrade| {
            upgrade.on_upgrade(async move |mut ws: WebSocket| {
                results.send(ws.recv().await).expect("the test waits");
            })
        }),
    );
    let http2 = connect(app).await;
    let (ws, _) = http2.connect("ws://example.com/").await.expect("accepted");
    drop(ws);
    let error = timeout(LONG, ended.recv()).await.expect("in time").expect("a result").expect_err("no Close");
    assert!(error.is_disconnect(), "{error:?}");
}

#[tokio::test]
async fn a_dropped_connection_is_a_disconnect_for_a_peer_that_sends() {
    let (results, mut ended) = mpsc::unbounded_channel();
    let app = Router::new().route(
        "/",
        any(async move |upgrade: WebSocketUpgrade| {
            upgrade.on_upgrade(async move |mut ws: WebSocket| {
                let error = loop {
                    if let Err(error) = ws.send(vec![7; MIB]).await {
                        break error;
                    }
                };
                results.send(error).expect("the test waits");
            })
        }),
    );
    let http2 = connect(app).await;
    let (mut ws, _) = http2.connect("ws://example.com/").await.expect("accepted");
    ws.recv().await.expect("valid");
    drop(ws);
    let error = timeout(LONG, ended.recv()).await.expect("in time").expect("a result");
    assert!(error.is_disconnect(), "{error:?}");
}

/// As a reset or a killed process does.
#[tokio::test]
async fn a_transport_that_ends_within_a_frame_is_a_disconnect_for_both_ends() {
    let (results, mut ended) = mpsc::unbounded_channel();
    let app = Router::new().route(
        "/",
        any(async move |upgrade: WebSocketUpgrade| {
            upgrade.on_upgrade(async move |mut ws: WebSocket| {
                results.send(ws.recv().await).expect("the test waits");
            })
        }),
    );
    let (io, mut client) = duplex(1 << 16);
    let mut server = serve(app);
    let (cut, is_cut) = oneshot::channel::<()>();
    tokio::spawn(async move {
        tokio::select! {
            _ = copy_bidirectional(&mut client, &mut server) => {}
            _ = is_cut => {}
        }
        // Four of the nine bytes of a header.
        client.write_all(&[0, 0, 5, 0]).await.expect("open");
        server.write_all(&[0, 0, 5, 0]).await.expect("open");
    });
    let http2 = Client::default().http2_over("ws://example.com", io).await.expect("allowed");
    let (mut ws, _) = http2.connect("ws://example.com/").await.expect("accepted");
    cut.send(()).expect("the relay runs");
    let error = timeout(LONG, ws.recv()).await.expect("in time").expect_err("no Close");
    assert!(error.is_disconnect(), "client: {error:?}");
    let error = timeout(LONG, ended.recv()).await.expect("in time").expect("a result").expect_err("no Close");
    assert!(error.is_disconnect(), "server: {error:?}");
}

#[tokio::test]
async fn a_connection_that_is_not_received_does_not_hold_up_the_others() {
    let app = echo_app().route(
        "/flood",
        any(async |upgrade: WebSocketUpgrade| {
            upgrade.on_upgrade(async |mut ws| {
                let block = Bytes::from(vec![1; 64 << 10]);
                while ws.send(&block).await.is_ok() {}
            })
        }),
    );
    let http2 = connect(app).await;
    let mut stalled = Vec::new();
    for _ in 0..20 {
        stalled.push(http2.connect("ws://example.com/flood").await.expect("accepted").0);
    }
    let (mut ws, _) = http2.connect("ws://example.com/").await.expect("accepted");
    for round in 0..100 {
        let text = round.to_string();
        ws.send(&text).await.expect("open");
        let echoed = timeout(LONG, ws.recv()).await.expect("not held up").expect("valid");
        assert_eq!(echoed, Some(Message::from(text)));
    }
    // The others continue once they are received.
    let message = timeout(LONG, stalled[0].recv()).await.expect("in time").expect("valid");
    assert_eq!(message.expect("a message").len(), 64 << 10);
}

// --- A client of the test's own.

/// Performs the preface of a client with this window, and returns what sends requests.
async fn raw_client(io: DuplexStream, window: u32) -> h2::client::SendRequest<Bytes> {
    let mut builder = h2::client::Builder::new();
    let (requests, mut connection) =
        builder.initial_window_size(window).handshake(io).await.expect("a server of HTTP/2");
    let mut ping = connection.ping_pong().expect("called once");
    tokio::spawn(async move { _ = connection.await });
    ping.ping(h2::Ping::opaque()).await.expect("open");
    assert!(requests.is_extended_connect_protocol_enabled());
    requests.ready().await.expect("open")
}

fn extended_connect(protocol: Option<&'static str>) -> Request<()> {
    let mut request = Request::builder()
        .method(Method::CONNECT)
        .uri(if protocol.is_some() { "https://example.com/" } else { "example.com:443" })
        .version(Version::HTTP_2)
        .header("sec-websocket-version", "13")
        .body(())
        .expect("valid");
    if let Some(protocol) = protocol {
        request.extensions_mut().insert(Protocol::from_static(protocol));
    }
    request
}

async fn send(
    requests: &mut h2::client::SendRequest<Bytes>,
    request: Request<()>,
) -> (http::Response<RecvStream>, SendStream<Bytes>) {
    let (response, stream) = requests.send_request(request, false).expect("open");
    (timeout(LONG, response).await.expect("in time").expect("a response"), stream)
}

#[tokio::test]
async fn row_55_connect_without_protocol_is_rejected() {
    let mut requests = raw_client(serve(Router::new().fallback(echo_route)), 65_535).await;
    let (response, _) = send(&mut requests, extended_connect(None)).await;
    assert_eq!(response.status(), StatusCode::BAD_REQUEST);
    let (response, _) = send(&mut requests, extended_connect(Some("connect-udp"))).await;
    assert_eq!(response.status(), StatusCode::NOT_IMPLEMENTED);
    // The transport remains usable.
    let (response, mut stream) = send(&mut requests, extended_connect(Some("websocket"))).await;
    assert_eq!(response.status(), StatusCode::OK);
    assert!(response.headers().keys().all(|name| name == "date"), "{:?}", response.headers());
    stream.send_data(Bytes::from_static(b"\x81\x82\0\0\0\0hi\x88\x80\0\0\0\0"), false).expect("open");
    let (mut body, mut received) = (response.into_body(), Vec::new());
    while let Some(data) = body.data().await {
        received.extend_from_slice(&data.expect("valid"));
    }
    assert_eq!(received, b"\x81\x02hi\x88\0");
    assert_eq!(timeout(LONG, body_reset(&mut stream)).await.expect("in time"), Some(Reason::NO_ERROR));
}

async fn echo_route(upgrade: WebSocketUpgrade) -> Response {
    upgrade.on_upgrade(echo)
}

/// Returns the reason with which the peer has reset a stream after it ended its own side; `None` if
/// the stream ended otherwise.
async fn body_reset(stream: &mut SendStream<Bytes>) -> Option<Reason> {
    poll_fn(|cx| stream.poll_reset(cx)).await.ok()
}

#[tokio::test(start_paused = true)]
async fn row_55_a_peer_that_grants_no_window_holds_bounded_memory() {
    let sent = Arc::new(AtomicUsize::new(0));
    let (results, mut ended) = mpsc::unbounded_channel();
    let counter = sent.clone();
    let app = Router::new().route(
        "/",
        any(async move |upgrade: WebSocketUpgrade| {
            upgrade.on_upgrade(async move |mut ws| {
                let block = Bytes::from(vec![1; 16 << 10]);
                let error = loop {
                    match ws.send(&block).await {
                        Ok(()) => _ = counter.fetch_add(block.len(), Ordering::Relaxed),
                        Err(error) => break error,
                    }
                };
                results.send(error).expect("the test waits");
            })
        }),
    );
    let mut requests = raw_client(serve(app), 0).await;
    let (response, _stream) = send(&mut requests, extended_connect(Some("websocket"))).await;
    assert_eq!(response.status(), StatusCode::OK);
    let error = ended.recv().await.expect("an error");
    assert!(matches!(error, Error::Timeout(Timeout::Write)), "{error:?}");
    assert!(sent.load(Ordering::Relaxed) < 2 * MIB, "{} bytes", sent.load(Ordering::Relaxed));
}

#[cfg(feature = "tls")]
#[tokio::test]
async fn http2_is_agreed_on_over_tls() {
    use certificates::Authority;
    use fullduplex::{TlsAcceptor, TlsConnector, TlsStream};
    use tokio::net::{TcpListener, TcpStream};

    let authority = Authority::new();
    let identity = authority.issue("localhost");
    let connector = TlsConnector::builder().only_roots(authority.pem()).build().expect("valid");
    let client = Client::default().tls(connector);

    async fn serve_tls(acceptor: TlsAcceptor) -> u16 {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("bound");
        let port = listener.local_addr().expect("bound").port();
        tokio::spawn(async move {
            while let Ok((tcp, _)) = listener.accept().await {
                let acceptor = acceptor.clone();
                tokio::spawn(async move {
                    let tls: TlsStream<TcpStream> = acceptor.accept(tcp).await.expect("trusted");
                    let mut builder = auto::Builder::new(TokioExecutor::new());
                    builder.http2().enable_connect_protocol();
                    let service = TowerToHyperService::new(echo_app());
                    let served = builder.serve_connection_with_upgrades(TokioIo::new(tls), service);
                    served.await.map_err(io::Error::other)
                });
            }
        });
        port
    }

    let acceptor = TlsAcceptor::from_pem(&identity.chain, &identity.key).expect("valid").http2();
    acceptor.reload(&identity.chain, &identity.key).expect("valid");
    let url = format!("wss://localhost:{}/", serve_tls(acceptor).await);
    let http2 = client.http2(&*url).await.expect("agreed");
    for _ in 0..3 {
        let (mut ws, _) = http2.connect(&*url).await.expect("accepted");
        ws.send("hello").await.expect("open");
        assert_eq!(ws.recv().await.expect("valid"), Some(Message::from("hello")));
    }
    // The same server accepts HTTP/1.1.
    let (mut ws, response) = client.connect(&*url).await.expect("accepted");
    assert_eq!(response.status(), StatusCode::SWITCHING_PROTOCOLS);
    ws.send("hello").await.expect("open");
    assert_eq!(ws.recv().await.expect("valid"), Some(Message::from("hello")));

    let old = TlsAcceptor::from_pem(&identity.chain, &identity.key).expect("valid");
    let url = format!("wss://localhost:{}/", serve_tls(old).await);
    let error = client.http2(&*url).await.expect_err("HTTP/1.1 alone");
    assert!(matches!(error, Error::Tls(_) | Error::Response(_)), "{error:?}");
}

/// The TLS of the proxy has not agreed on HTTP/2, and need not.
#[cfg(all(feature = "tls", feature = "proxy"))]
#[tokio::test(start_paused = true)]
async fn http2_without_tls_passes_through_a_proxy_with_tls() {
    use certificates::Authority;
    use fullduplex::{TlsAcceptor, TlsConnector, proxy::Proxy};

    let authority = Authority::new();
    let identity = authority.issue("proxy.test");
    let acceptor = TlsAcceptor::from_pem(&identity.chain, &identity.key).expect("valid");
    let client = Client::default()
        .tls(TlsConnector::builder().only_roots(authority.pem()).build().expect("valid"))
        .proxy("https://proxy.test".parse::<Proxy>().expect("valid"))
        .connector(move |_, _| {
            let (client, io) = duplex(1 << 16);
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                let mut tls = acceptor.accept(io).await.expect("trusted");
                let mut head = Vec::new();
                while !head.ends_with(b"\r\n\r\n") {
                    tls.read_buf(&mut head).await.expect("a request");
                }
                tls.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await.expect("open");
                tls.flush().await.expect("open");
                // The server sends nothing before the client does.
                sleep(Duration::from_secs(1)).await;
                copy_bidirectional(&mut tls, &mut serve(echo_app())).await
            });
            async move { Ok(client) }
        });
    let http2 = client.http2("ws://server.test").await.expect("a tunnel");
    let (mut ws, _) = http2.connect("ws://server.test/").await.expect("accepted");
    ws.send("hello").await.expect("open");
    assert_eq!(ws.recv().await.expect("valid"), Some(Message::from("hello")));
    // Nor is it the TLS of the server.
    let (ws, _) = client.connect("ws://server.test/").await.expect("accepted");
    assert!(ws.get_ref().tls().is_none());
}

/// The server returns the window of flow control in steps.
#[tokio::test(start_paused = true)]
async fn row_100_a_rate_ends_a_connection_whose_window_opens_slowly() {
    let second = Duration::from_secs(1);
    let config = Config::new().ping_interval(None).write_timeout(30 * second);
    for (bytes_per_second, ends) in [(None, false), (Some(100_000), true)] {
        let app = Router::new().route(
            "/",
            any(async |upgrade: WebSocketUpgrade| {
                upgrade.config(Config::new().ping_interval(None)).on_upgrade(async |mut ws| {
                    let mut reader = ws.reader(u64::MAX).await.expect("valid").expect("a message");
                    let mut buffer = vec![0; MIB];
                    while reader.read_exact(&mut buffer).await.is_ok() {
                        sleep(Duration::from_secs(20)).await;
                    }
                })
            }),
        );
        let client = Client::new(config.clone().min_write_rate(bytes_per_second));
        let http2 = client.http2_over("ws://example.com", serve(app)).await.expect("allowed");
        let (mut ws, _) = http2.connect("ws://example.com/").await.expect("accepted");
        let ended = timeout(300 * second, ws.send(vec![7; 32 * MIB])).await;
        assert_eq!(matches!(ended, Ok(Err(Error::Timeout(Timeout::Write)))), ends, "{ended:?}");
        assert!(ends || ended.is_err(), "it is still open: {ended:?}");
    }
}
