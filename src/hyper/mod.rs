//! WebSocket connections in a server that uses hyper.
//!
//! [`upgrade`] validates a request that hyper has read, and returns the response to send, and an
//! [`Upgrade`]: a future of the [`WebSocket`](crate::WebSocket), which is ready once hyper has sent
//! the response. All rules of the opening handshake are checked, as [`accept`](crate::accept) does.
//!
//! ```no_run
//! use std::convert::Infallible;
//!
//! use fullduplex::{Server, bytes::Bytes};
//! use http_body_util::Full;
//! use hyper::{Request, Response, body::Incoming, service::service_fn};
//! use hyper_util::rt::{TokioExecutor, TokioIo};
//! use hyper_util::server::conn::auto;
//! use tokio::net::TcpListener;
//!
//! async fn route(mut request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
//!     if !fullduplex::hyper::is_upgrade_request(&request) {
//!         return Ok(Response::new("a page\n".into()));
//!     }
//!     match fullduplex::hyper::upgrade(&mut request, &Server::default().same_origin()) {
//!         Ok((response, upgrade)) => {
//!             tokio::spawn(async move {
//!                 let mut ws = upgrade.await?;
//!                 while let Some(message) = ws.recv().await? {
//!                     ws.feed(message).await?;
//!                 }
//!                 Ok::<(), fullduplex::Error>(())
//!             });
//!             Ok(response.map(|()| Full::default()))
//!         }
//!         Err(rejection) => Ok(rejection.into_response().map(Full::new)),
//!     }
//! }
//!
//! # async fn serve() -> std::io::Result<()> {
//! let listener = TcpListener::bind("127.0.0.1:9001").await?;
//! loop {
//!     let (tcp, _peer) = listener.accept().await?;
//!     tcp.set_nodelay(true)?;
//!     tokio::spawn(async move {
//!         let mut builder = auto::Builder::new(TokioExecutor::new());
//!         builder.http2().enable_connect_protocol(); // WebSocket over HTTP/2, with the feature `http2`
//!         builder.serve_connection_with_upgrades(TokioIo::new(tcp), service_fn(route)).await
//!     });
//! }
//! # }
//! ```
//!
//! # HTTP/2
//! With the feature `http2`, an extended CONNECT (RFC 8441) opens a connection on a stream of
//! HTTP/2. hyper accepts such requests only if `enable_connect_protocol` is set. Without the
//! feature they are rejected with status 505.
//!
//! # Tests
//! [`testing::upgrade_request`](crate::testing::upgrade_request) creates a request that needs no
//! connection: a route can be tested in memory.

mod over_hyper;
mod stream;
mod upgrade;

use ::http::{Extensions, HeaderMap, Method, Request, Response, Uri, Version};
use ::hyper::upgrade::OnUpgrade;
pub use stream::UpgradedStream;
pub use upgrade::Upgrade;

pub(crate) use self::upgrade::{Origin, UpgradeTrace};
use crate::{
    Rejection, Server,
    handshake::{Negotiated, asks_for_websocket, respond, respond_http2, take_bearer_token},
    testing::TestUpgrade,
};

/// Validates a request and returns the response, and the connection that it opens.
///
/// The response is a 101, or a 200 for HTTP/2, with an empty body. The connection is open once
/// hyper has sent it, so the returned future is awaited in a task of its own. Fields such as
/// `Set-Cookie` can be added to the response; those of the handshake must remain unchanged.
///
/// The request remains usable, but what hyper needs to upgrade the connection is taken from its
/// extensions. hyper upgrades a connection only if it is served with upgrades, for example by
/// `serve_connection_with_upgrades`.
///
/// # Errors
/// Returns the rejection of a request that does not open a WebSocket connection, which is then
/// unchanged. [`Rejection::into_response`] is the response to send. The status is 500 if
/// [`Server::check`] fails, or if the connection cannot be upgraded because something has taken it
/// from the extensions of the request.
///
/// See the [module](self) for an example.
pub fn upgrade<B>(request: &mut Request<B>, server: &Server) -> Result<(Response<()>, Upgrade), Rejection> {
    let head = Head {
        method: request.method(),
        uri: request.uri(),
        version: request.version(),
        headers: request.headers(),
        protocol: protocol(request.extensions()),
    };
    let trace = UpgradeTrace::new(head.uri.path());
    let (response, negotiated) = head.respond(server).inspect_err(|rejection| trace.rejected(rejection))?;
    let origin = take_origin(request.extensions_mut(), &trace)?;
    let mut upgrade = Upgrade::new(origin, server.config().clone(), negotiated, trace);
    if let Some(prefix) = server.known_bearer_prefix() {
        // An invalid token was rejected above.
        upgrade.token = take_bearer_token(request.headers_mut(), prefix)?;
    }
    Ok((response, upgrade))
}

/// Returns whether a request asks for a WebSocket connection.
///
/// That is HTTP/1.1 with `Upgrade: websocket`, or, with the feature `http2`, an extended CONNECT
/// for `websocket`. The request can be invalid otherwise: [`upgrade`] checks it.
///
/// ```
/// use fullduplex::hyper::is_upgrade_request;
/// use http::Request;
///
/// assert!(!is_upgrade_request(&Request::get("/").body(())?));
/// assert!(is_upgrade_request(&Request::get("/").header("Upgrade", "websocket").body(())?));
/// # Ok::<(), http::Error>(())
/// ```
pub fn is_upgrade_request<B>(request: &Request<B>) -> bool {
    asks(request.version(), request.headers(), request.extensions())
}

/// Like [`is_upgrade_request`], for a request that is in parts.
pub(crate) fn asks(version: Version, headers: &HeaderMap, extensions: &Extensions) -> bool {
    match version {
        Version::HTTP_2 => protocol(extensions) == Some(b"websocket"),
        _ => asks_for_websocket(version, headers),
    }
}

/// The head of a request, borrowed.
#[derive(Clone, Copy)]
pub(crate) struct Head<'a> {
    pub(crate) method: &'a Method,
    pub(crate) uri: &'a Uri,
    pub(crate) version: Version,
    pub(crate) headers: &'a HeaderMap,
    /// The value of `:protocol`.
    pub(crate) protocol: Option<&'a [u8]>,
}

impl Head<'_> {
    /// Validates the request and returns the response.
    pub(crate) fn respond(self, server: &Server) -> Result<(Response<()>, Negotiated), Rejection> {
        let Self { method, uri, version, headers, protocol } = self;
        if cfg!(feature = "http2") && version == Version::HTTP_2 {
            return respond_http2::validate(method, uri, version, headers, protocol, server);
        }
        respond::validate(method, uri, version, headers, server)
    }
}

/// Takes from a request what it needs to become a connection. If that is missing, the server erred.
pub(crate) fn take_origin(extensions: &mut Extensions, trace: &UpgradeTrace) -> Result<Origin, Rejection> {
    let origin = match extensions.remove::<TestUpgrade>() {
        Some(test) => test.into_server().map(Origin::Memory),
        None => extensions.remove::<OnUpgrade>().map(Origin::Hyper),
    };
    origin.ok_or_else(|| {
        let rejection = Rejection::server_error();
        trace.rejected(&rejection);
        rejection
    })
}

/// Returns the value of `:protocol` (RFC 8441 section 4).
#[cfg(feature = "http2")]
pub(crate) fn protocol(extensions: &Extensions) -> Option<&[u8]> {
    extensions.get::<::hyper::ext::Protocol>().map(|protocol| protocol.as_ref())
}

#[cfg(not(feature = "http2"))]
pub(crate) fn protocol(_: &Extensions) -> Option<&[u8]> {
    None
}
