//! Coming from tokio-tungstenite.
//!
//! Each section shows code for tokio-tungstenite 0.30 first, then for this crate. The tests compile
//! the latter.
//!
//! # Names
//!
//! | tokio-tungstenite | fullduplex |
//! |---|---|
//! | `accept_async(stream)` | [`accept`](crate::accept)`(stream)` |
//! | `accept_hdr_async(stream, callback)` | [`Server`], then look at [`IncomingRequest::request`] and accept or reject |
//! | `connect_async(url)` | [`connect`](crate::connect)`(url)`, over TCP only |
//! | `connect_async(request)` with header fields | [`Client::header`] |
//! | `client_async(url, stream)` | [`Client::handshake`] |
//! | `WebSocketStream<S>` | [`WebSocket<S>`] |
//! | `ws.next().await` | [`ws.recv().await`](WebSocket::recv) |
//! | `Message::Ping`, `Pong`, `Close` | [`Event`], from [`recv_event`](WebSocket::recv_event) |
//! | `ws.send(Message::Ping(..))` | [`ws.ping(..)`](WebSocket::ping) |
//! | `ws.close(frame)` | [`ws.close(code, reason)`](WebSocket::close), which also waits for the peer's Close |
//! | `StreamExt::split` | [`WebSocket::split`], without `BiLock`; senders are cloned |
//! | `WebSocketStream::from_raw_socket` | [`WebSocket::from_raw`] |
//! | `WebSocketConfig` | [`Config`] |
//!
//! # An echo server
//! tokio-tungstenite:
//!
//! ```text
//! use futures_util::{SinkExt, StreamExt};
//!
//! let mut ws = tokio_tungstenite::accept_async(tcp).await?;
//! while let Some(message) = ws.next().await {
//!     let message = message?;
//!     if message.is_text() || message.is_binary() {
//!         ws.send(message).await?;
//!     }
//! }
//! ```
//!
//! fullduplex:
//!
//! ```
//! # async fn echo(tcp: tokio::net::TcpStream) -> Result<(), fullduplex::Error> {
//! let mut ws = fullduplex::accept(tcp).await?;
//! while let Some(message) = ws.recv().await? {
//!     ws.feed(message).await?;
//! }
//! # Ok(())
//! # }
//! ```
//!
//! `recv` returns messages only: it answers pings and completes the closing handshake itself.
//! `feed` queues, and `recv` writes the queue before it waits, so a burst of messages is answered
//! with one write.
//!
//! # Reading the request
//! tokio-tungstenite:
//!
//! ```text
//! let check = |request: &Request, response: Response| match request.headers().get("authorization") {
//!     Some(_) => Ok(response),
//!     None => Err(Response::builder().status(401).body(None).unwrap()),
//! };
//! let ws = tokio_tungstenite::accept_hdr_async(tcp, check).await?;
//! ```
//!
//! fullduplex, where the check may be asynchronous:
//!
//! ```
//! # use fullduplex::{Error, AnyRequest, Server, WebSocket};
//! # use tokio::net::TcpStream;
//! # async fn is_known(_: &http::Request<()>) -> bool { false }
//! async fn open(server: &Server, tcp: TcpStream) -> Result<Option<WebSocket<TcpStream>>, Error> {
//!     match server.read_any_request(tcp).await? {
//!         AnyRequest::WebSocket(pending) => {
//!             if is_known(pending.request()).await {
//!                 return Ok(Some(pending.accept().await?));
//!             }
//!             let mut response = http::Response::new("log in first\n");
//!             *response.status_mut() = http::StatusCode::UNAUTHORIZED;
//!             pending.reject(response).await?;
//!         }
//!         AnyRequest::Http(request) => request.refuse().await?, // or `respond`, with a page
//!         AnyRequest::Rejected(rejected) => rejected.refuse().await?,
//!         _ => {}
//!     }
//!     Ok(None)
//! }
//! ```
//!
//! # Several tasks
//! tokio-tungstenite, with a channel in front of the sink, because a sink cannot be cloned:
//!
//! ```text
//! let (mut sink, mut stream) = ws.split();
//! let (sender, mut queue) = tokio::sync::mpsc::channel(32);
//! tokio::spawn(async move {
//!     while let Some(message) = queue.recv().await {
//!         sink.send(message).await?;
//!     }
//!     Ok::<_, Error>(())
//! });
//! ```
//!
//! fullduplex:
//!
//! ```
//! # async fn run(ws: fullduplex::WebSocket<tokio::net::TcpStream>) -> Result<(), fullduplex::Error> {
//! let (mut receiver, sender) = ws.split();
//! let other = sender.clone();
//! tokio::spawn(async move { other.send("from another task").await });
//! while let Some(message) = receiver.recv().await? {
//!     sender.feed(message).await?;
//! }
//! # Ok(())
//! # }
//! ```
//!
//! The receiver answers pings although no task polls a sender.
//!
//! # Keeping `StreamExt` and `SinkExt`
//! [`WebSocket`] implements `Stream` and `Sink`, [`Receiver`](crate::Receiver) implements `Stream`,
//! and [`Sender::sink`](crate::Sender::sink) returns a `Sink`, so existing code can stay:
//!
//! ```
//! use futures_util::{SinkExt, StreamExt};
//!
//! # async fn echo(tcp: tokio::net::TcpStream) -> Result<(), fullduplex::Error> {
//! let ws = fullduplex::accept(tcp).await?;
//! let (mut receiver, sender) = ws.split(); // the method of `WebSocket`, not that of `StreamExt`
//! let mut sink = sender.sink();
//! while let Some(message) = receiver.next().await {
//!     sink.send(message?).await?;
//! }
//! # Ok(())
//! # }
//! ```
//!
//! # Different defaults
//!
//! | | tokio-tungstenite | fullduplex |
//! |---|---|---|
//! | largest message | 64 MiB | 64 MiB |
//! | largest frame | 16 MiB | as the largest message |
//! | write buffer | unlimited | 1 MiB, then `feed` waits |
//! | read buffer | 128 KiB for each connection | a pool of each thread; none while a connection waits |
//! | keep-alive, pong timeout, write timeout, close timeout | none | 20 s, 20 s, 30 s, 5 s |
//! | opening handshake | no deadline | 10 s |
//! | compression | none | with the feature `deflate`, disabled by default |
//! | TLS | by features | the feature `tls`; or pass a TLS stream to [`Client::handshake`] or [`Server`] |
//! | several addresses of a host | one after the other | in turn, 250 ms apart at most (RFC 8305) |
//! | proxies, redirects, reconnecting | none | features `proxy` and `reconnect`; `Client::max_redirects` |
//!
//! Errors differ too: after a clean close `recv` returns `Ok(None)`, and each error is returned
//! once. A peer that vanished is recognized by
//! [`Error::is_disconnect`](crate::Error::is_disconnect).

#[allow(unused_imports, reason = "links refer to them")]
use crate::{Client, Config, Event, IncomingRequest, Server, WebSocket};
