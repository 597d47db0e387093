//! The accept loop over TCP: requests, decisions, handlers, shutdown, metrics.
#![cfg(feature = "serve")]

#[cfg(feature = "tls")]
#[path = "support/certificates.rs"]
mod certificates;
#[path = "support/serve.rs"]
mod serve;

use std::{sync::Arc, time::Duration};

use fullduplex::{
    CloseCode, Config, Error, Server,
    handshake::InvalidHandshake,
    serve::{Failure, Refusal, Serve},
};
use http::{Response, StatusCode};
use serve::{DEADLINE, REQUEST, Running, assert_echoes, echo, rest, start, start_with, within};
use tokio::sync::{Notify, mpsc};

#[tokio::test]
async fn each_connection_has_a_handler_that_receives_its_request() {
    let (seen, mut requests) = mpsc::unbounded_channel();
    let running = start_with(
        |serve| serve,
        move |ws, request| {
            let tcp = ws.get_ref().tcp();
            assert_eq!(tcp.peer_addr().expect("open"), request.peer());
            assert!(tcp.nodelay().expect("open"), "TCP_NODELAY is set");
            seen.send((request.path().to_owned(), request.header("host").map(str::to_owned))).expect("read");
            echo(ws, request)
        },
    )
    .await;
    let mut ws = running.try_connect("/room?token=1").await.expect("accepted");
    assert_echoes(&mut ws, "hello").await;
    let host = running.address.to_string();
    assert_eq!(within(requests.recv()).await.expect("a request"), ("/room".to_owned(), Some(host)));
    ws.close(CloseCode::NORMAL, "").await.expect("a clean end");
    running.counted(|snapshot| snapshot.open == 0).await;
    assert_eq!(running.metrics.snapshot().closed[&CloseCode::NORMAL], 1);
    assert_eq!(running.stop().await, Default::default());
}

/// Returns settings that do not wait long for peers that do not answer the Close.
fn brief() -> Server {
    Server::new(Config::new().close_timeout(Duration::from_millis(50)))
}

#[derive(Clone)]
struct User(String);

/// Accepts requests with a user in their path, and answers with its name.
async fn start_with_users() -> Running {
    let configure = |serve: Serve| {
        serve.server(brief()).decide(|mut request| async move {
            match request.path().strip_prefix("/user/").map(str::to_owned) {
                Some(name) => {
                    request.extensions_mut().insert(User(name));
                    let response = Response::builder().header("sec-websocket-protocol", "chat");
                    match response.body(()) {
                        Ok(response) => request.accept_with(response),
                        Err(_) => unreachable!("a valid header field"),
                    }
                }
                None => request.refuse(StatusCode::UNAUTHORIZED, "who are you?\n"),
            }
        })
    };
    start_with(configure, |mut ws, request| async move {
        let User(name) = request.request().extensions().get().expect("decided");
        ws.send(name.as_str()).await?;
        ws.close(CloseCode::NORMAL, "").await
    })
    .await
}

#[tokio::test]
async fn a_function_decides_about_each_request_and_passes_data_to_the_handler() {
    let mut running = start_with_users().await;
    let request = REQUEST
        .replace("/room", "/user/ann")
        .replace("\r\n\r\n", "\r\nSec-WebSocket-Protocol: a, chat\r\n\r\n");
    let response = running.exchange(request).await;
    assert!(
        response.starts_with("HTTP/1.1 101 ") && response.contains("\r\nsec-websocket-protocol: chat\r\n")
            || response.contains("\r\nSec-WebSocket-Protocol: chat\r\n"),
        "{response}"
    );
    assert!(response.contains("\u{81}\u{3}ann") || response.contains("ann"), "{response}");

    let response = running.exchange(REQUEST).await;
    assert!(
        response.starts_with("HTTP/1.1 401 ") && response.ends_with("\r\n\r\nwho are you?\n"),
        "{response}"
    );
    running.counted(|snapshot| !snapshot.refused.is_empty()).await;
    assert_eq!(running.metrics.snapshot().refused[&Refusal::Status(StatusCode::UNAUTHORIZED)], 1);

    // A subprotocol that was not offered is the fault of the program.
    let response = running.exchange(REQUEST.replace("/room", "/user/bob")).await;
    assert!(response.starts_with("HTTP/1.1 500 "), "{response}");
    let failure = running.failure().await;
    assert!(matches!(failure, Failure::Opening { error: Error::InvalidHandshake(_), .. }), "{failure:?}");
}

#[tokio::test]
async fn other_requests_are_answered_by_a_function_or_refused() {
    let mut running = start(|serve| {
        serve.on_http(|request| async move {
            Response::new(format!("{} {}", request.request().method(), request.path()))
        })
    })
    .await;
    let response = running.exchange("GET /health HTTP/1.1\r\nHost: a\r\n\r\n").await;
    assert!(
        response.starts_with("HTTP/1.1 200 OK\r\n") && response.ends_with("\r\n\r\nGET /health"),
        "{response}"
    );
    let response = running.exchange("HEAD /health HTTP/1.1\r\nHost: a\r\n\r\n").await;
    assert!(response.ends_with("\r\n\r\n") && response.contains("12\r\n"), "{response}");
    let response = running.exchange("GET /\r\n\r\n").await;
    assert!(response.starts_with("HTTP/1.1 400 "), "{response}");
    assert!(matches!(running.failure().await, Failure::Opening { error: Error::Rejected(_), .. }));

    let mut running = start(|serve| serve).await;
    let response = running.exchange("GET /health HTTP/1.1\r\nHost: a\r\n\r\n").await;
    assert!(response.starts_with("HTTP/1.1 426 "), "{response}");
    let failure = format!("{:#}", running.failure().await);
    assert!(
        failure.ends_with(": request rejected with 426 Upgrade Required: missing Upgrade: websocket"),
        "{failure}"
    );
    assert_eq!(running.metrics.snapshot().refused[&Refusal::Status(StatusCode::UPGRADE_REQUIRED)], 1);
}

#[tokio::test]
async fn a_handler_that_panics_or_fails_ends_its_own_connection_only() {
    let mut running = start_with(
        |serve| serve,
        |ws, request| async move {
            match request.path() {
                "/panic" => panic!("on purpose"),
                "/fail" => Err(Error::Transport(std::io::Error::other("on purpose"))),
                _ => echo(ws, request).await,
            }
        },
    )
    .await;
    let mut ws = running.connect().await;
    let mut panicking = running.try_connect("/panic").await.expect("accepted");
    within(panicking.recv()).await.expect_err("the connection is dropped");
    let mut failing = running.try_connect("/fail").await.expect("accepted");
    within(failing.recv()).await.expect_err("the connection is dropped");
    let failure = running.failure().await;
    assert!(format!("{failure:#}").ends_with("transport failed: on purpose"), "{failure}");
    assert_echoes(&mut ws, "still here").await;
    running.counted(|snapshot| snapshot.open == 1).await;
    let snapshot = running.metrics.snapshot();
    assert_eq!((snapshot.panics, snapshot.opened), (1, 3));
    assert_eq!(snapshot.closed[&CloseCode::ABNORMAL], 2);
}

#[tokio::test]
async fn messages_and_bytes_are_counted_when_a_connection_ends() {
    let running = start(|serve| serve.server(Server::new(Config::new().stats(true)))).await;
    let mut ws = running.connect().await;
    assert_echoes(&mut ws, "hello").await;
    assert_eq!(running.metrics.snapshot().messages_received, 0, "nothing is counted on the way");
    ws.close(CloseCode::NORMAL, "").await.expect("a clean end");
    running.counted(|snapshot| snapshot.open == 0).await;
    let snapshot = running.metrics.snapshot();
    assert_eq!((snapshot.messages_received, snapshot.messages_sent), (1, 1));
    // A masked text, and a masked Close with a code; the same without masking keys.
    assert_eq!((snapshot.bytes_received, snapshot.bytes_sent), (11 + 8, 7 + 4));
}

#[tokio::test]
async fn timeouts_are_counted_once_by_their_kind() {
    let config = Config::new().idle_timeout(Duration::from_millis(20));
    let mut running = start(|serve| serve.server(Server::new(config))).await;
    let mut ws = running.connect().await;
    assert_eq!(within(ws.recv()).await.expect("a clean end"), None);
    let failure = running.failure().await;
    assert!(matches!(failure, Failure::Connection { error: Error::Timeout(fullduplex::Timeout::Idle), .. }));
    let snapshot = running.metrics.snapshot();
    assert_eq!(snapshot.timeouts.into_iter().collect::<Vec<_>>(), [(fullduplex::Timeout::Idle, 1)]);
    assert_eq!(snapshot.closed[&CloseCode::GOING_AWAY], 1);
}

#[tokio::test]
async fn a_shutdown_closes_connections_and_drops_handshakes() {
    let running = start(|serve| serve).await;
    let mut ws = running.connect().await;
    assert_echoes(&mut ws, "hello").await;
    let mut half = running.write(&REQUEST[..20]).await;
    // The handshake is under way once a later connection is open.
    let mut last = running.connect().await;
    let metrics = running.metrics.clone();
    let (drained, first, second) = tokio::join!(running.stop(), within(ws.recv()), within(last.recv()));
    assert_eq!((first.expect("a clean end"), second.expect("a clean end")), (None, None));
    assert_eq!(ws.close_frame().expect("a code").reason(), "the server stops");
    assert_eq!((drained.closed, drained.lost, drained.cut_off), (2, 0, 0));
    assert_eq!(rest(&mut half).await, "");
    assert_eq!(metrics.snapshot().refused[&Refusal::Shutdown], 1);
}

#[tokio::test]
async fn a_handler_that_ignores_the_shutdown_is_dropped_at_the_deadline() {
    struct Dropped(Arc<Notify>);
    impl Drop for Dropped {
        fn drop(&mut self) {
            self.0.notify_one();
        }
    }
    let (dropped, begun) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let running = start_with(|serve| serve, {
        let (dropped, begun) = (dropped.clone(), begun.clone());
        move |ws, _| {
            let (dropped, begun) = (Dropped(dropped.clone()), begun.clone());
            async move {
                begun.notify_one();
                std::future::pending::<()>().await;
                drop((ws, dropped));
                Ok(())
            }
        }
    })
    .await;
    let mut ws = running.connect().await;
    within(begun.notified()).await;
    running.shutdown.begin(CloseCode::GOING_AWAY, "").expect("valid");
    let drained = running.shutdown.wait(Duration::ZERO).await;
    assert_eq!((drained.closed, drained.lost, drained.cut_off), (0, 0, 1));
    within(dropped.notified()).await;
    within(ws.recv()).await.expect_err("the connection is dropped");
}

#[tokio::test]
async fn an_invalid_configuration_is_an_error_before_anything_is_accepted() {
    let serve = Serve::bind("127.0.0.1:0").await.expect("a free port");
    let server = Server::default().allow_origins(["*"]);
    let error = within(serve.server(server).run(echo)).await.expect_err("no origin");
    let Error::InvalidHandshake(invalid) = error else { panic!("{error:?}") };
    assert_eq!(*invalid, InvalidHandshake::Origin("*".into()));
}

#[tokio::test]
async fn dropping_the_loop_closes_the_listener_and_no_connection() {
    let serve = Serve::bind("127.0.0.1:0").await.expect("a free port");
    let url = format!("ws://{}/", serve.local_addr().expect("bound"));
    let task = tokio::spawn(serve.run(echo));
    let (mut ws, _) = fullduplex::connect(&url).await.expect("accepted");
    task.abort();
    assert!(within(task).await.expect_err("aborted").is_cancelled());
    assert_echoes(&mut ws, "still here").await;
    let refused = tokio::time::timeout(DEADLINE, fullduplex::connect(&url)).await.expect("at once");
    assert!(refused.is_err());
}

/// `wss://`, with the address of the peer from a header that precedes TLS.
#[cfg(feature = "tls")]
mod tls {
    use fullduplex::{Client, TlsAcceptor, TlsConnector};
    use tokio::{io::AsyncWriteExt, net::TcpStream};

    use super::{certificates::Authority, *};

    #[tokio::test]
    async fn connections_are_opened_inside_tls_and_after_a_proxy_header() {
        let authority = Authority::new();
        let identity = authority.issue("server.test");
        let connector = TlsConnector::builder().only_roots(authority.pem()).build().expect("valid");
        for proxied in [false, true] {
            let acceptor = TlsAcceptor::from_pem(&identity.chain, &identity.key).expect("valid");
            let mut running = start_with(
                |serve| serve.tls(acceptor).proxy_protocol(proxied),
                |mut ws, request| async move {
                    assert!(ws.get_ref().tls().is_some());
                    ws.send(request.peer().ip().to_string()).await?;
                    ws.close(CloseCode::NORMAL, "").await
                },
            )
            .await;
            let mut tcp = TcpStream::connect(running.address).await.expect("the backlog has room");
            if proxied {
                tcp.write_all(b"PROXY TCP4 192.0.2.1 192.0.2.9 51234 443\r\n").await.expect("open");
            }
            let tls = within(connector.connect("server.test", tcp)).await.expect("trusted");
            let (mut ws, _) =
                within(Client::default().handshake("wss://server.test/", tls)).await.expect("accepted");
            let address = within(ws.recv()).await.expect("valid").expect("a message");
            assert_eq!(address.as_text(), Some(if proxied { "192.0.2.1" } else { "127.0.0.1" }));

            // Plain HTTP on the port of TLS.
            let header = if proxied { "PROXY UNKNOWN\r\n" } else { "" };
            running.exchange(format!("{header}{REQUEST}")).await;
            assert!(matches!(running.failure().await, Failure::Opening { error: Error::Tls(_), .. }));
            assert_eq!(running.metrics.snapshot().refused[&Refusal::Tls], 1);
        }
    }
}
