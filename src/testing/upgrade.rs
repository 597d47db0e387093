//! Opening handshakes of hyper and axum without a connection.

use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use http::{Request, Response};
use rand::Rng;
use tokio::io::{DuplexStream, duplex};

use super::CAPACITY;
use crate::{
    Client, Config, InvalidHandshake, Role, Target, TargetError, WebSocket,
    client::target_of,
    handshake::{ResponseError, parse_request},
};

/// Creates a request for a route that opens a WebSocket connection, to test it in memory.
///
/// The request is the one that `client` would send to `target`. Pass it to the route, a service of
/// hyper or a router of axum, and the response to [`TestConnection::open`].
///
/// # Errors
/// Fails if `target` is not a `ws://` or `wss://` URI, or if [`Client::check`] fails.
///
/// ```
/// use axum::{Router, body::Body, routing::any};
/// use fullduplex::{Client, Message, axum::WebSocketUpgrade, testing};
/// use tower::ServiceExt;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let app = Router::new().route("/hello", any(async |upgrade: WebSocketUpgrade| {
///     upgrade.on_upgrade(async |mut ws| _ = ws.send("hello").await)
/// }));
/// let (request, connection) = testing::upgrade_request(&Client::default(), "ws://example.com/hello")?;
/// let response = app.oneshot(request.map(|()| Body::empty())).await?;
/// let mut ws = connection.open(&response)?;
/// assert_eq!(ws.recv().await?, Some(Message::from("hello")));
/// # Ok(())
/// # }
/// ```
pub fn upgrade_request<T>(
    client: &Client,
    target: T,
) -> Result<(Request<()>, TestConnection), InvalidHandshake>
where
    T: TryInto<Target>,
    T::Error: Into<TargetError>,
{
    let target = target_of(target)?;
    let mut nonce = [0; 16];
    rand::rng().fill_bytes(&mut nonce);
    let head = client.request(&target, nonce)?;
    let limits = Config::new().max_header_size(usize::MAX).max_headers(usize::MAX);
    // A request that `http` does not accept has a target that is longer than 64 KiB.
    let parsed = parse_request(&head, &limits);
    let mut request = parsed.map_err(|_| InvalidHandshake::Target(TargetError::Path))?;
    let (upgrade, io) = TestUpgrade::pair();
    request.extensions_mut().insert(upgrade);
    Ok((request, TestConnection { client: client.clone(), nonce, io }))
}

/// The client of a request that [`upgrade_request`] has created.
#[derive(Debug)]
#[must_use = "dropping it closes the connection"]
pub struct TestConnection {
    client: Client,
    nonce: [u8; 16],
    io: DuplexStream,
}

impl TestConnection {
    /// Validates the response, as a client does, and returns the open connection.
    ///
    /// # Errors
    /// Fails if the response does not open a connection. The body in [`ResponseError::Status`] is
    /// empty.
    ///
    /// See [`upgrade_request`] for an example.
    pub fn open<B>(self, response: &Response<B>) -> Result<WebSocket<DuplexStream>, ResponseError> {
        let Self { client, nonce, io } = self;
        let mut head = Response::new(());
        *head.status_mut() = response.status();
        *head.headers_mut() = response.headers().clone();
        let negotiated = client.verify(&head, nonce)?;
        Ok(WebSocket::from_raw(io, Bytes::new(), Role::Client, client.config(), negotiated))
    }
}

/// An extension of a request which replaces the connection that hyper would upgrade.
///
/// [`upgrade_request`] inserts it. It is also for requests that a test creates itself.
///
/// ```
/// use fullduplex::{Server, hyper, testing::TestUpgrade};
/// use http::Request;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let (test, _client) = TestUpgrade::pair();
/// let mut request = Request::get("/")
///     .header("Host", "example.com")
///     .header("Upgrade", "websocket")
///     .header("Connection", "Upgrade")
///     .header("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ==")
///     .header("Sec-WebSocket-Version", "13")
///     .extension(test)
///     .body(())?;
/// let (response, upgrade) = hyper::upgrade(&mut request, &Server::default())?;
/// assert_eq!(response.status(), 101);
/// let ws = upgrade.await?;
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct TestUpgrade {
    /// Shared, because extensions can be cloned. The first clone that is used takes the stream.
    server: Arc<Mutex<Option<DuplexStream>>>,
}

impl TestUpgrade {
    /// Creates the extension, and the stream of the client.
    pub fn pair() -> (Self, DuplexStream) {
        let (server, client) = duplex(CAPACITY);
        (Self { server: Arc::new(Mutex::new(Some(server))) }, client)
    }

    /// Returns the stream of the server, unless it was returned before.
    pub(crate) fn into_server(self) -> Option<DuplexStream> {
        self.server.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}
