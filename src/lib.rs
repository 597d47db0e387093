//! WebSockets (RFC 6455) from scratch: client and server on tokio, with a protocol core that does no I/O.
//!
//! A server that sends back what it receives:
//!
#![cfg_attr(feature = "tokio", doc = "```no_run")]
#![cfg_attr(not(feature = "tokio"), doc = "```ignore")]
//! use std::time::Duration;
//!
//! use fullduplex::Error;
//! use tokio::net::{TcpListener, TcpStream};
//!
//! #[tokio::main]
//! async fn main() -> Result<(), Error> {
//!     let listener = TcpListener::bind("127.0.0.1:9001").await?;
//!     loop {
//!         match listener.accept().await {
//!             Ok((tcp, peer)) => {
//!                 tokio::spawn(async move {
//!                     if let Err(error) = echo(tcp).await {
//!                         eprintln!("{peer}: {error:#}");
//!                     }
//!                 });
//!             }
//!             // No file descriptors left, for example: some become free when connections end.
//!             Err(error) => {
//!                 eprintln!("accept: {error}");
//!                 tokio::time::sleep(Duration::from_millis(100)).await;
//!             }
//!         }
//!     }
//! }
//!
//! async fn echo(tcp: TcpStream) -> Result<(), Error> {
//!     tcp.set_nodelay(true)?;
//!     let mut ws = fullduplex::accept(tcp).await?;
//!     while let Some(message) = ws.recv().await? {
//!         ws.feed(message).await?; // queued; leaves at the latest when `recv` has to wait
//!     }
//!     Ok(())
//! }
//! ```
//!
//! A client:
//!
#![cfg_attr(feature = "tokio", doc = "```no_run")]
#![cfg_attr(not(feature = "tokio"), doc = "```ignore")]
//! # use fullduplex::{CloseCode, Error};
//! # async fn run() -> Result<(), Error> {
//! let (mut ws, _response) = fullduplex::connect("ws://127.0.0.1:9001").await?;
//! ws.send("hello").await?; // queued and flushed
//! if let Some(message) = ws.recv().await? {
//!     println!("{message}");
//! }
//! ws.close(CloseCode::NORMAL, "bye").await
//! # }
//! ```
//!
//! # Where to look
//! - [`WebSocket`]: a connection. [`Message`], [`Outgoing`] and [`Event`] go through it, [`Config`] limits it.
//! - [`Receiver`] and [`Sender`]: its halves, for many tasks. [`PreparedMessage`]: encoded once, sent to many.
//! - [`testing`]: connected pairs in memory.
//! - [`accept`] and [`Server`], [`connect`] and [`Client`]: how it is opened, with the defaults or with your own choices.
//! - [`Server::read_any_request`]: HTTP requests on the same port, for pages, health checks and metrics.
//! - [`handshake`]: the opening handshake as pure functions, for those who stand on another HTTP library.
//! - [`proto`]: the protocol core as a state machine, for tests, blocking programs and other runtimes.
//!
//! # Cargo features
//!
//! | feature | default | what it adds |
//! |---|---|---|
//! | `tokio` | yes | `WebSocket`, `accept`, `connect`: the connection on tokio. Without it: `proto` and `handshake`, which do no I/O |
//! | `deflate` | no | `Deflate`, `Config::deflate`: permessage-deflate (RFC 7692), messages compressed one by one, for those who turn it on |
//!
//! # When bytes leave
//! [`feed`](WebSocket::feed) waits for room and queues a message; [`send`](WebSocket::send) is `feed`, then
//! [`flush`](WebSocket::flush). [`recv`](WebSocket::recv) gives out what was read already without a system call, and
//! before it reads again it writes what is queued. It never waits for a write. Dropping a connection sends no Close, and
//! loses what was fed and not flushed: [`close`](WebSocket::close) ends it in order.
//!
//! Pings are answered, keep-alive pings sent, and deadlines judged, while the connection is polled.
//!
//! # Cancel safety
//! No protocol state lives in a future. Dropping one, as `select!` does, loses no received message, tears no frame, and
//! doubles nothing; each method says what it promises. Where a message must not be lost with the future that sends it,
//! [`reserve`](WebSocket::reserve) waits for the room first.
//!
//! # Testing
//! `testing::pair` connects a client and a server in memory, and with tokio's clock paused no test waits for a deadline:
//!
#![cfg_attr(feature = "tokio", doc = "```")]
#![cfg_attr(not(feature = "tokio"), doc = "```ignore")]
//! use std::time::Duration;
//! use fullduplex::{Config, Error, Timeout, testing};
//!
//! // In a test: #[tokio::test(start_paused = true)]
//! #[tokio::main(flavor = "current_thread", start_paused = true)]
//! async fn main() {
//!     let config = Config::new().ping_interval(Duration::from_secs(20)).pong_timeout(Duration::from_secs(20));
//!     let (mut client, _silent) = testing::pair(&config);
//!     let start = tokio::time::Instant::now();
//!     let error = client.recv().await.expect_err("the server is not polled, and so answers no ping");
//!     assert!(matches!(error, Error::Timeout(Timeout::Pong)));
//!     assert_eq!(start.elapsed().as_secs(), 40);
//! }
//! ```
//!
//! # Errors
//! An [`Error`] says who erred: the peer, the caller, the transport, or time. What ended a connection is told once; after
//! that, and after a clean close, which is no error, `recv` gives `Ok(None)`.
//! [`close_code`](Error::close_code) is what tells the peer; [`response`](Error::response) is what a server answered that
//! refused to open a connection; [`is_disconnect`](Error::is_disconnect) says whether the peer is just gone. Errors have a
//! [`source`](std::error::Error::source); `{error:#}` prints it as well.
//!
//! Payload data never shows in Debug output, only its length does. [`Message`] has Display for its text.

#[cfg(feature = "tokio")]
mod any_request;
#[cfg(feature = "tokio")]
mod client;
#[cfg(feature = "tokio")]
mod dial;
#[cfg(feature = "tokio")]
mod error;
pub mod handshake;
#[cfg(feature = "tokio")]
mod incoming_request;
#[cfg(feature = "tokio")]
mod opening;
#[cfg_attr(not(feature = "tokio"), allow(dead_code, reason = "some of it is for the upper floor alone"))]
pub mod proto;
#[cfg(feature = "tokio")]
mod replay;
#[cfg(feature = "tokio")]
mod request_parts;
#[cfg(feature = "tokio")]
mod server;
#[cfg(feature = "tokio")]
mod stream;
#[cfg(feature = "tokio")]
pub mod testing;

/// The crate whose types carry payload data, re-exported: [`Bytes`](bytes::Bytes) and [`Buf`](bytes::Buf) of the version
/// that this crate uses.
#[doc(no_inline)]
pub use bytes;
/// The crate whose types the opening handshake uses, re-exported: requests, responses and header fields of the version
/// that this crate uses.
#[doc(no_inline)]
pub use http;

pub use handshake::{Client, Server, Target};
#[cfg(feature = "deflate")]
pub use proto::Deflate;
pub use proto::{
    CloseCode, CloseFrame, Config, Message, MessageKind, Outgoing, PreparedMessage, Role, Utf8Bytes,
};

#[cfg(feature = "tokio")]
pub use {
    any_request::{AnyRequest, HttpRequest, RejectedRequest, RejectedRequestParts},
    client::connect,
    dial::ClientStream,
    error::{Error, Timeout},
    incoming_request::IncomingRequest,
    replay::Replay,
    request_parts::RequestParts,
    server::accept,
    stream::{
        Event, MessageReader, MessageWriter, Parts, Permit, ReceiveParts, Receiver, SendParts, SendPermit,
        Sender, SenderSink, SenderTurn, Stats, TrySendError, WebSocket,
    },
};

/// The code in the README is tested as the docs are.
#[cfg(all(doctest, feature = "tokio", feature = "deflate"))]
#[doc = include_str!("../README.md")]
struct Readme;
