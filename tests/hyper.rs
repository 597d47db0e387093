//! WebSocket connections in a server that uses hyper, over HTTP/1.1.
#![cfg(feature = "hyper")]

#[cfg(feature = "tls")]
#[path = "support/certificates.rs"]
mod certificates;

use std::{convert::Infallible, io, time::Duration};

use bytes::Bytes;
use fullduplex::{
    Client, Config, Error, Message, Rejection, Server, Timeout, WebSocket,
    hyper::{self as ws, Upgrade, UpgradedStream},
};
use http_body_util::Full;
use hyper::{
    Request, Response,
    body::Incoming,
    rt::{Read, Write},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::{
    rt::{TokioExecutor, TokioIo},
    server::conn::auto,
};
use tokio::{
    io::{AsyncRead, AsyncWrite, DuplexStream, duplex},
    sync::mpsc,
    time::Instant,
};

/// How a connection is served.
#[derive(Debug, Clone, Copy)]
enum By {
    Http1,
    Auto,
}

/// Serves one connection; returns the upgrade of each request that asks for one.
fn serve<S>(io: S, by: By, server: Server) -> mpsc::UnboundedReceiver<Result<Upgrade, Rejection>>
where
    S: Read + Write + Unpin + Send + 'static,
{
    let (upgrades, received) = mpsc::unbounded_channel();
    let route = move |mut request: Request<Incoming>| {
        let response = if !ws::is_upgrade_request(&request) {
            Response::new(Full::from("a page"))
        } else {
            let (response, upgrade) = match ws::upgrade(&mut request, &server) {
                Ok((response, upgrade)) => (response.map(|()| Full::default()), Ok(upgrade)),
                Err(rejection) => (rejection.clone().into_response().map(Full::new), Err(rejection)),
            };
            _ = upgrades.send(upgrade);
            response
        };
        std::future::ready(Ok::<_, Infallible>(response))
    };
    tokio::spawn(async move {
        match by {
            By::Http1 => {
                let connection = http1::Builder::new().serve_connection(io, service_fn(route));
                connection.with_upgrades().await.map_err(io::Error::other)
            }
            By::Auto => {
                let builder = auto::Builder::new(TokioExecutor::new());
                let served = builder.serve_connection_with_upgrades(io, service_fn(route)).await;
                served.map_err(io::Error::other)
            }
        }
    });
    received
}

/// Opens a connection in memory: returns the client's end, and the upgrade of the server.
async fn open(by: By) -> (WebSocket<DuplexStream>, Upgrade) {
    let (client, io) = duplex(1 << 16);
    let mut upgrades = serve(TokioIo::new(io), by, Server::default());
    let (ws, _) = Client::default().handshake("ws://example.com/", client).await.expect("accepted");
    (ws, upgrades.recv().await.expect("a request").expect("valid"))
}

async fn echoes<S: AsyncRead + AsyncWrite + Unpin>(
    client: &mut WebSocket<DuplexStream>,
    server: &mut WebSocket<S>,
) {
    client.send("hello").await.expect("open");
    let message = server.recv().await.expect("valid").expect("a message");
    server.send(message).await.expect("open");
    assert_eq!(client.recv().await.expect("valid"), Some(Message::from("hello")));
}

#[tokio::test]
async fn any_transport_can_be_used_through_hyper() {
    for by in [By::Http1, By::Auto] {
        let (mut client, upgrade) = open(by).await;
        let mut server = upgrade.await.expect("upgraded");
        assert!(server.get_ref().tcp().is_none(), "{by:?}");
        echoes(&mut client, &mut server).await;
    }
}

#[tokio::test]
async fn the_transport_itself_is_returned_by_its_type() {
    for by in [By::Http1, By::Auto] {
        let (mut client, upgrade) = open(by).await;
        let mut server = upgrade.over::<DuplexStream>().await.expect("it is one");
        echoes(&mut client, &mut server).await;

        let (_client, upgrade) = open(by).await;
        let error = upgrade.over::<tokio::net::TcpStream>().await.map(drop).expect_err("it is none");
        assert!(matches!(error, Error::Transport(error) if error.kind() == io::ErrorKind::Unsupported));
    }
}

#[tokio::test]
async fn other_requests_on_the_same_connection_are_answered_before() {
    let (mut client, io) = duplex(1 << 16);
    let mut upgrades = serve(TokioIo::new(io), By::Http1, Server::default());
    tokio::io::AsyncWriteExt::write_all(&mut client, b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        .await
        .expect("open");
    let mut page = Vec::new();
    while !page.ends_with(b"\r\n\r\na page") {
        tokio::io::AsyncReadExt::read_buf(&mut client, &mut page).await.expect("open");
    }
    let (mut client, _) = Client::default().handshake("ws://example.com/", client).await.expect("accepted");
    let mut server = upgrades.recv().await.expect("a request").expect("valid").await.expect("upgraded");
    echoes(&mut client, &mut server).await;
}

#[tokio::test]
async fn a_rejected_request_is_unchanged() {
    let (client, io) = duplex(1 << 16);
    let server = Server::default().allow_origins(["https://example.com"]);
    let mut upgrades = serve(TokioIo::new(io), By::Http1, server);
    let foreign = Client::default().header("origin", "https://evil.example");
    let error = foreign.handshake("ws://example.com/", client).await.map(drop).expect_err("rejected");
    assert_eq!(error.response().expect("a response").status(), 403);
    assert_eq!(error.response().expect("a response").body(), "origin not allowed\n");
    assert_eq!(upgrades.recv().await.expect("a request").expect_err("rejected").status(), 403);

    let mut request = Request::get("/").header("host", "example.com").body(()).expect("valid");
    let (test, _client) = fullduplex::testing::TestUpgrade::pair();
    request.extensions_mut().insert(test);
    assert_eq!(ws::upgrade(&mut request, &Server::default()).expect_err("no WebSocket").status(), 426);
    assert!(request.extensions().get::<fullduplex::testing::TestUpgrade>().is_some());
}

#[tokio::test(start_paused = true)]
async fn an_upgrade_that_never_comes_ends_at_the_deadline() {
    // The client does not read, and the response does not fit into the transport.
    let (mut client, io) = duplex(64);
    let server = Server::new(Config::new().handshake_timeout(Duration::from_secs(7)));
    let mut upgrades = serve(TokioIo::new(io), By::Http1, server);
    let request = Client::default().request(&"ws://example.com/".parse().expect("valid"), [1; 16]);
    tokio::io::AsyncWriteExt::write_all(&mut client, &request.expect("valid")).await.expect("read");
    let upgrade = upgrades.recv().await.expect("a request").expect("valid");
    let start = Instant::now();
    let error = upgrade.await.map(drop).expect_err("the response was not sent");
    assert!(matches!(error, Error::Timeout(Timeout::Handshake)), "{error:?}");
    assert_eq!(start.elapsed().as_secs(), 7);
}

#[tokio::test]
async fn a_client_that_leaves_before_the_response_is_a_transport_error() {
    let (mut client, io) = duplex(64);
    let mut upgrades = serve(TokioIo::new(io), By::Http1, Server::default());
    let request = Client::default().request(&"ws://example.com/".parse().expect("valid"), [1; 16]);
    tokio::io::AsyncWriteExt::write_all(&mut client, &request.expect("valid")).await.expect("read");
    let upgrade = upgrades.recv().await.expect("a request").expect("valid");
    drop(client);
    let error = upgrade.await.map(drop).expect_err("no client");
    assert!(matches!(error, Error::Transport(_)), "{error:?}");
}

#[test]
fn futures_can_be_sent_to_other_threads_and_show_no_secrets() {
    fn is_send<T: Send>() {}
    is_send::<Upgrade>();
    is_send::<WebSocket<UpgradedStream>>();
}

#[cfg(feature = "tls")]
#[tokio::test]
async fn tls_streams_are_used_directly() {
    use certificates::Authority;
    use fullduplex::{TlsAcceptor, TlsConnector};
    use tokio::net::{TcpListener, TcpStream};

    let authority = Authority::new();
    let identity = authority.issue("server.test");
    let acceptor = TlsAcceptor::from_pem(&identity.chain, &identity.key).expect("valid");
    let connector = TlsConnector::builder().only_roots(authority.pem()).build().expect("valid");
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("bound");
    for by in [By::Http1, By::Auto] {
        let connecting = TcpStream::connect(listener.local_addr().expect("bound"));
        let (tcp, accepted) = tokio::join!(connecting, listener.accept());
        let (near, far) = (tcp.expect("connected"), accepted.expect("accepted").0);
        let (near, far) = tokio::join!(connector.connect("server.test", near), acceptor.accept(far));
        let mut upgrades = serve(TokioIo::new(far.expect("trusted")), by, Server::default());
        let opened = Client::default().handshake("wss://server.test/", near.expect("trusted")).await;
        let (mut client, _) = opened.expect("accepted");
        let mut server = upgrades.recv().await.expect("a request").expect("valid").await.expect("upgraded");
        let tls = server.get_ref().tls().expect("the TLS stream itself");
        assert_eq!(tls.server_name(), Some("server.test"));
        assert!(server.get_ref().tcp().is_some());
        assert!(format!("{:?}", server.get_ref()).starts_with("UpgradedStream(TlsStream"));
        client.send(Bytes::from(vec![1; 200_000])).await.expect("open");
        assert_eq!(server.recv().await.expect("valid").expect("a message").len(), 200_000);
        server.send("back").await.expect("open");
        assert_eq!(client.recv().await.expect("valid"), Some(Message::from("back")));
    }
}

#[tokio::test]
async fn a_bearer_token_is_removed_from_the_request() {
    let server = Server::default().bearer_prefix("bearer.").subprotocols(["chat"]);
    let client = Client::default().subprotocol("chat").bearer_token("bearer.", "c2VjcmV0");
    let (mut request, connection) =
        fullduplex::testing::upgrade_request(&client, "ws://example.com/").expect("valid");
    let (response, upgrade) = ws::upgrade(&mut request, &server).expect("valid");
    assert_eq!(upgrade.bearer_token(), Some("c2VjcmV0"));
    assert_eq!(upgrade.subprotocol(), Some("chat"));
    assert_eq!(request.headers()["sec-websocket-protocol"], "chat");
    assert!(!format!("{upgrade:?} {request:?} {response:?}").contains("c2VjcmV0"));
    assert_eq!(connection.open(&response).expect("accepted").subprotocol(), Some("chat"));
}
