//! Serving: an accept loop, limits, graceful shutdown, metrics.
//!
//! The feature `serve` contains what most servers write themselves. [`Serve`] is a loop that uses
//! all of it. [`Shutdown`], [`Metrics`] and [`ProxyHeader`] can also be used alone, with a loop of
//! one's own, axum or hyper.
//!
//! # The loop
//! ```no_run
//! use fullduplex::{Error, serve::Serve};
//!
//! #[tokio::main]
//! async fn main() -> Result<(), Error> {
//!     Serve::bind("127.0.0.1:9001").await?
//!         .run(|mut ws, _request| async move {
//!             while let Some(message) = ws.recv().await? {
//!                 ws.feed(message).await?;
//!             }
//!             Ok(())
//!         })
//!         .await
//! }
//! ```
//!
//! - An error of accepting, such as too few file descriptors, is reported, and the loop pauses for
//!   100 ms. It ends only with a shutdown.
//! - PROXY header, TLS and opening handshake are done in the task of the connection, each with its
//!   deadline.
//! - `TCP_NODELAY` is set.
//! - A handler that returns an error or panics ends its own connection.
//! - [`on_failure`](Serve::on_failure) receives everything that goes wrong, for the log.
//!
//! The handler receives a [`Session`], which is a [`WebSocket`](crate::WebSocket) that takes part
//! in graceful shutdown, and the request. The request takes memory until it is dropped.
//!
//! # Requests
//! [`decide`](Serve::decide) accepts or rejects each request, after a look at a database for
//! example, and can attach data for the handler. [`on_http`](Serve::on_http) answers requests that
//! do not ask for a WebSocket connection:
//!
//! ```no_run
//! use fullduplex::{Server, serve::Serve};
//! use http::{Response, StatusCode};
//!
//! # async fn user_of(token: Option<&str>) -> Option<u32> { None }
//! #[derive(Clone)]
//! struct User(u32);
//!
//! # async fn run() -> Result<(), fullduplex::Error> {
//! Serve::bind("127.0.0.1:9001").await?
//!     .server(Server::default().allow_origins(["https://example.com"]))
//!     .on_http(|_request| async { Response::new("ok\n") })
//!     .decide(|mut request| async move {
//!         let Some(user) = user_of(request.header("authorization")).await else {
//!             return request.refuse(StatusCode::UNAUTHORIZED, "a token, please\n");
//!         };
//!         request.extensions_mut().insert(User(user));
//!         request.accept()
//!     })
//!     .run(|mut ws, request| async move {
//!         if let Some(User(user)) = request.request().extensions().get() {
//!             ws.send(format!("hello, {user}")).await?;
//!         }
//!         Ok(())
//!     })
//!     .await
//! # }
//! ```
//!
//! # Limits
//! [`max_connections`](Serve::max_connections) and [`max_handshakes`](Serve::max_handshakes) have
//! defaults. [`max_connections_per`](Serve::max_connections_per) limits the connections of one
//! network, user or room. What exceeds a limit is answered with 503 and `Retry-After`, or dropped
//! if the answer would take a TLS handshake.
//!
//! Behind a load balancer, all connections come from its address. If it speaks the PROXY protocol,
//! [`proxy_protocol`](Serve::proxy_protocol) reads the address of the peer from the header that
//! precedes each connection, in version 1 or 2. A port with that setting must be reachable by the
//! load balancer alone. If it adds `X-Forwarded-For`, the function of `max_connections_per` reads
//! that, with the same caution.
//!
//! # Graceful shutdown
//! Dropping a connection loses what the peer has not read yet. A server that stops closes its
//! connections instead: with 1001 (going away), or 1012 (service restart), after which clients
//! connect again.
//!
//! ```no_run
//! use std::time::Duration;
//! use fullduplex::{CloseCode, Error, serve::{Serve, Shutdown}};
//!
//! # async fn run() -> Result<(), Error> {
//! let shutdown = Shutdown::new();
//! let serve = Serve::bind("127.0.0.1:9001").await?.shutdown(&shutdown).run(|mut ws, _| async move {
//!     while let Some(message) = ws.recv().await? {
//!         ws.feed(message).await?;
//!     }
//!     Ok(())
//! });
//! let stop = async {
//!     tokio::signal::ctrl_c().await?;
//!     Ok::<_, Error>(shutdown.begin(CloseCode::SERVICE_RESTART, "a new version")?)
//! };
//! tokio::try_join!(serve, stop)?;
//! println!("{:?}", shutdown.wait(Duration::from_secs(10)).await);
//! # Ok(())
//! # }
//! ```
//!
//! Once it begins, nothing is accepted any more, and `recv` of each [`Session`] starts the closing
//! handshake. Messages that the peer has sent before its Close are still returned. Answers to them
//! fail with [`Error::Closed`](crate::Error::Closed), because nothing follows a Close; a handler
//! that returns this error drops its session, which then completes the closing handshake by itself.
//! At the deadline of [`wait`](Shutdown::wait), the connections that are left are dropped.
//!
//! With axum or hyper, connections escape the shutdown of the server once they are upgraded. Their
//! tasks need a guard each, which takes 32 bytes:
//!
//! ```
//! # use fullduplex::{Error, WebSocket, serve::Shutdown};
//! # async fn example<S>(ws: WebSocket<S>, shutdown: Shutdown) -> Result<(), Error>
//! # where S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + Send + 'static {
//! let mut ws = shutdown.guard().attach(ws);
//! while let Some(message) = ws.recv().await? {
//!     ws.feed(message).await?;
//! }
//! # Ok(())
//! # }
//! ```
//!
//! A [split](crate::WebSocket::split) connection is received from with [`Guard::recv`]; anything
//! else waits for [`Guard::begun`].
//!
//! # Metrics
//! [`Metrics`] counts connections by close code, refusals by reason, timeouts by kind, and with
//! [`Config::stats`](crate::Config::stats) messages and bytes. [`Metrics::snapshot`] returns the
//! values for any exporter. The example `examples/metrics` serves them to Prometheus, on the port
//! of the WebSocket.
//!
//! ```
//! use fullduplex::serve::{Metrics, Shutdown};
//!
//! // Without `Serve`: guards of this handle count their connections.
//! let (shutdown, metrics) = (Shutdown::new(), Metrics::new());
//! let counted = shutdown.with_metrics(&metrics);
//! let guard = counted.guard();
//! assert_eq!(metrics.snapshot().open, 1);
//! ```

#[allow(unused_imports, reason = "links refer to them")]
use crate::serve::{Guard, Metrics, ProxyHeader, Serve, Session, Shutdown};
