//! The same over HTTP/2, in the clear and over TLS.

#[path = "../../common/axum_tls.rs"]
mod axum_tls;
mod support;

use std::{net::SocketAddr, sync::Arc};

use axum::Router;
use axum_tls::TlsListener;
use fullduplex::{Client, Config, Role, TlsAcceptor, WebSocket, bytes::Bytes, handshake::Negotiated};
use http_body_util::BodyExt;
use hyper::{
    Method, Request, Response, Version, body::Incoming, client::conn::http2, ext::Protocol, upgrade,
};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rcgen::CertifiedKey;
use serde_json::Value;
use socketio::{Args, Io, Namespace, Socket, engine::Settings};
use support::{serve, text};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, TcpStream},
};
use tokio_rustls::{
    TlsConnector, client,
    rustls::{ClientConfig, RootCertStore, crypto::ring, pki_types::CertificateDer},
};

const POLLING: &str = "EIO=4&transport=polling";
const WEBSOCKET: &str = "EIO=4&transport=websocket";

/// Returns routes that send back what is asked, and say whether the session began over TLS.
fn routes() -> Router {
    let namespace = Namespace::new("/")
        .on("ask", |_socket, arguments: Args<Vec<Value>>| async { arguments })
        .on("is it secure?", |socket: Socket, (): ()| async move {
            socket.handshake().expect("kept").is_secure()
        });
    let settings = Settings::new().keep_handshake(4096);
    Io::builder().settings(settings).namespace(namespace).build().routes()
}

/// A server over TLS, and its certificate.
struct Secured {
    address: SocketAddr,
    certificate: CertificateDer<'static>,
}

impl Secured {
    async fn start() -> Self {
        let CertifiedKey { cert, signing_key } =
            rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("a certificate");
        let acceptor = TlsAcceptor::from_pem(cert.pem(), signing_key.serialize_pem()).expect("valid");
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("listens");
        let address = listener.local_addr().expect("known");
        let listener = TlsListener::new(listener, acceptor.http2());
        tokio::spawn(async move { axum::serve(listener, routes()).await });
        Self { address, certificate: cert.der().clone() }
    }

    /// Connects, and offers these protocols.
    async fn connect(&self, protocols: &[&str]) -> client::TlsStream<TcpStream> {
        let mut roots = RootCertStore::empty();
        roots.add(self.certificate.clone()).expect("valid");
        let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .expect("supported");
        let mut config = config.with_root_certificates(roots).with_no_client_auth();
        config.alpn_protocols = protocols.iter().map(|protocol| protocol.as_bytes().to_vec()).collect();
        let tcp = TcpStream::connect(self.address).await.expect("connects");
        let name = "localhost".try_into().expect("a name");
        TlsConnector::from(Arc::new(config)).connect(name, tcp).await.expect("TLS")
    }

    /// Opens a connection of HTTP/2.
    async fn http2(&self) -> Requests {
        // As browsers do.
        let tls = self.connect(&["h2", "http/1.1"]).await;
        assert_eq!(tls.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
        Requests::open(tls, format!("https://localhost:{}", self.address.port())).await
    }
}

/// A client on one connection of HTTP/2.
struct Requests {
    base: String,
    sending: http2::SendRequest<String>,
}

impl Requests {
    async fn open(stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static, base: String) -> Self {
        let handshake = http2::handshake(TokioExecutor::new(), TokioIo::new(stream));
        let (sending, connection) = handshake.await.expect("HTTP/2");
        tokio::spawn(connection);
        Self { base, sending }
    }

    async fn open_in_the_clear(address: SocketAddr) -> Self {
        let tcp = TcpStream::connect(address).await.expect("connects");
        Self::open(tcp, format!("http://{address}")).await
    }

    fn request(&self, query: &str, body: &str) -> Request<String> {
        let uri = format!("{}/socket.io/?{query}", self.base);
        Request::builder().uri(uri).body(body.to_owned()).expect("valid")
    }

    async fn exchange(&mut self, request: Request<String>) -> Response<Incoming> {
        let response = self.sending.send_request(request).await.expect("a response");
        assert_eq!((response.status().as_u16(), response.version()), (200, Version::HTTP_2));
        response
    }

    async fn send(&mut self, method: Method, query: &str, body: &str) -> String {
        let mut request = self.request(query, body);
        *request.method_mut() = method;
        let body = self.exchange(request).await.into_body().collect().await.expect("complete").to_bytes();
        String::from_utf8(body.into()).expect("text")
    }

    async fn get(&mut self, query: &str) -> String {
        self.send(Method::GET, query, "").await
    }

    /// Begins a session that polls, and connects to the namespace. Returns the query of its requests.
    async fn begin(&mut self) -> String {
        let open = self.get(POLLING).await;
        let open: Value = serde_json::from_str(&open[1..]).expect("JSON");
        let query = format!("{POLLING}&sid={}", open["sid"].as_str().expect("an id"));
        assert_eq!(self.send(Method::POST, &query, "40").await, "ok");
        assert!(self.get(&query).await.starts_with("40{"));
        query
    }

    /// Opens a WebSocket connection as a stream of this connection (RFC 8441).
    async fn websocket(&mut self, query: &str) -> WebSocket<TokioIo<upgrade::Upgraded>> {
        let mut request = self.request(query, "");
        *request.method_mut() = Method::CONNECT;
        request.headers_mut().insert("sec-websocket-version", "13".parse().expect("valid"));
        request.extensions_mut().insert(Protocol::from_static("websocket"));
        let response = self.exchange(request).await;
        let stream = TokioIo::new(upgrade::on(response).await.expect("a stream"));
        let config = Config::new().ping_interval(None);
        WebSocket::from_raw(stream, Bytes::new(), Role::Client, &config, Negotiated::default())
    }
}

/// Upgrades a session that polls, and uses it.
async fn upgrade_and_ask(ws: &mut WebSocket<impl AsyncRead + AsyncWrite + Unpin>) {
    ws.send("2probe").await.expect("open");
    assert_eq!(text(ws).await, "3probe");
    ws.send("5").await.expect("open");
    ws.send(r#"421["ask",1]"#).await.expect("open");
    assert_eq!(text(ws).await, "431[1]");
}

/// Uses a session that begins with a WebSocket connection.
async fn begin_and_ask(ws: &mut WebSocket<impl AsyncRead + AsyncWrite + Unpin>) {
    assert!(text(ws).await.starts_with("0{"));
    ws.send("40").await.expect("open");
    assert!(text(ws).await.starts_with("40{"));
    ws.send(r#"421["ask",1]"#).await.expect("open");
    assert_eq!(text(ws).await, "431[1]");
}

#[tokio::test]
async fn a_session_polls_and_is_upgraded_over_http2() {
    let address = serve(routes()).await;
    let query = Requests::open_in_the_clear(address).await.begin().await;
    let streams = Client::default().http2(&*format!("ws://{address}")).await.expect("HTTP/2");
    let url = format!("ws://{address}/socket.io/?{}", query.replace("polling", "websocket"));
    let (mut ws, _response) = streams.connect(&*url).await.expect("opens");
    upgrade_and_ask(&mut ws).await;
}

#[tokio::test]
async fn a_session_begins_with_websocket_over_http2() {
    let address = serve(routes()).await;
    let streams = Client::default().http2(&*format!("ws://{address}")).await.expect("HTTP/2");
    let url = format!("ws://{address}/socket.io/?{WEBSOCKET}");
    let (mut ws, _response) = streams.connect(&*url).await.expect("opens");
    begin_and_ask(&mut ws).await;
}

#[tokio::test]
async fn a_session_polls_over_http2_over_tls() {
    let mut requests = Secured::start().await.http2().await;
    let query = requests.begin().await;
    assert_eq!(requests.send(Method::POST, &query, r#"421["ask",1]"#).await, "ok");
    assert_eq!(requests.get(&query).await, "431[1]");
    assert_eq!(requests.send(Method::POST, &query, r#"422["is it secure?"]"#).await, "ok");
    assert_eq!(requests.get(&query).await, "432[true]");
}

/// All requests and the WebSocket connection are streams of one connection, as browsers have it.
#[tokio::test]
async fn a_session_is_upgraded_on_its_connection_of_http2_over_tls() {
    let mut requests = Secured::start().await.http2().await;
    let query = requests.begin().await;
    let mut ws = requests.websocket(&query.replace("polling", "websocket")).await;
    upgrade_and_ask(&mut ws).await;
    ws.send(r#"422["is it secure?"]"#).await.expect("open");
    assert_eq!(text(&mut ws).await, "432[true]");
}

#[tokio::test]
async fn a_session_begins_with_websocket_over_http2_over_tls() {
    let mut requests = Secured::start().await.http2().await;
    // After a response, the client knows that the server permits it.
    requests.begin().await;
    let mut ws = requests.websocket(WEBSOCKET).await;
    begin_and_ask(&mut ws).await;
}

/// A client without HTTP/2 is served on the same port.
#[tokio::test]
async fn a_session_begins_over_http1_over_tls() {
    let secured = Secured::start().await;
    for protocols in [&["http/1.1"][..], &[]] {
        let tls = secured.connect(protocols).await;
        let url = format!("wss://localhost:{}/socket.io/?{WEBSOCKET}", secured.address.port());
        let client = Client::new(Config::new().ping_interval(None));
        let (mut ws, response) = client.handshake(&*url, tls).await.expect("opens");
        assert_eq!((response.status().as_u16(), response.version()), (101, Version::HTTP_11));
        begin_and_ask(&mut ws).await;
    }
}
