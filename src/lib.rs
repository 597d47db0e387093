//! WebSockets (RFC 6455): client and server on tokio, over a protocol core that does no I/O.
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
//!             // The process may have no file descriptors left, until connections end.
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
//!         ws.feed(message).await?; // queued; written at the latest when `recv` has to wait
//!     }
//!     Ok(())
//! }
//! ```
//!
//! With the feature `serve`, the loop is in the library, with limits and graceful shutdown:
//!
#![cfg_attr(feature = "serve", doc = "```no_run")]
#![cfg_attr(not(feature = "serve"), doc = "```ignore")]
//! # async fn run() -> Result<(), fullduplex::Error> {
//! use fullduplex::serve::Serve;
//!
//! Serve::bind("127.0.0.1:9001").await?.run(|mut ws, _request| async move {
//!     while let Some(message) = ws.recv().await? {
//!         ws.feed(message).await?;
//!     }
//!     Ok(())
//! })
//! .await
//! # }
//! ```
//!
//! A client:
//!
#![cfg_attr(feature = "tokio", doc = "```no_run")]
#![cfg_attr(not(feature = "tokio"), doc = "```ignore")]
//! # use fullduplex::{CloseCode, Error};
//! # async fn run() -> Result<(), Error> {
//! let (mut ws, _response) = fullduplex::connect("wss://echo.example").await?; // feature `tls`
//! ws.send("hello").await?; // queued and flushed
//! if let Some(message) = ws.recv().await? {
//!     println!("{message}");
//! }
//! ws.close(CloseCode::NORMAL, "bye").await
//! # }
//! ```
//!
//! # Overview
//! - [`WebSocket`] is a connection. [`Message`], [`Outgoing`] and [`Event`] pass through it,
//!   [`Config`] limits it.
//! - [`accept`] and [`Server`], [`connect`] and [`Client`] open one, with the defaults or with
//!   options.
//! - [`Receiver`] and [`Sender`] are its halves, for several tasks. [`PreparedMessage`] is encoded
//!   once and sent to many.
//! - [`MessageReader`] and [`MessageWriter`] stream one large message. [`ByteStream`] is a whole
//!   connection as a stream of bytes, for tunnels.
//! - [`AnyRequest`] holds any HTTP request that arrives on the same port: pages, health checks,
//!   metrics.
//! - [`testing`] connects pairs in memory.
#![cfg_attr(feature = "proxy", doc = "- [`proxy`] opens tunnels through HTTP and SOCKS proxies.")]
//! - `TlsConnector` and `TlsAcceptor` configure TLS of either end (feature `tls`).
//! - `reconnect::Reconnecting` connects again after a connection is lost (feature `reconnect`).
//! - `axum::WebSocketUpgrade` and `hyper::upgrade` open connections in servers that use axum (feature
//!   `axum`) or hyper (feature `hyper`), also over HTTP/2 (feature `http2`).
//! - `hub::Hub` has rooms of connections, on one machine or several, and their history (feature `hub`).
//! - `serve::Serve` is an accept loop, `serve::Shutdown` closes connections gracefully, and
//!   `serve::Metrics` counts them (feature `serve`).
//! - `calls::Router` and `calls::Peer` exchange events and calls with acknowledgements (feature `calls`).
//! - [`handshake`] is the opening handshake as pure functions, for use behind another HTTP library.
//! - [`proto`] is the protocol core as a state machine, for tests, blocking programs and other
//!   runtimes.
//!
//! # Guides
//! The module [`docs`] contains one page for each of these:
//!
//! - [coming from tokio-tungstenite](docs::from_tungstenite)
//! - `docs::connecting`: TLS, proxies, redirects, reconnecting (with the features for them)
//! - `docs::web_frameworks`: axum, hyper and HTTP/2 (with the features for them)
//! - `docs::serving`: an accept loop, limits, graceful shutdown, metrics (feature `serve`)
//! - `docs::calls`: events and calls with acknowledgements (features `calls`, `serve` and `reconnect`)
//! - [cancel safety](docs::cancel_safety)
//! - [back-pressure and slow readers](docs::back_pressure)
//! - [security](docs::security)
//! - [testing your own code](docs::test_your_code)
//! - [tuning](docs::tuning)
//! - [how this crate is tested](docs::how_it_is_tested)
//! - `docs::tracing`: spans and events (with the feature `tracing`)
//! - [what is implemented and what is not](docs::features)
//!
//! # Split
//! [`WebSocket::split`] returns a [`Receiver`] and a [`Sender`]. Senders are cloned into any number
//! of tasks and threads; those that wait for room are served first come, first served. The receiver
//! answers pings and enforces deadlines.
//!
#![cfg_attr(feature = "tokio", doc = "```")]
#![cfg_attr(not(feature = "tokio"), doc = "```ignore")]
//! # async fn example(ws: fullduplex::WebSocket<tokio::net::TcpStream>) -> Result<(), fullduplex::Error> {
//! let (mut receiver, sender) = ws.split();
//! let ticker = sender.clone();
//! tokio::spawn(async move { ticker.send("a tick").await });
//! while let Some(message) = receiver.recv().await? {
//!     sender.send(message).await?;
//! }
//! # Ok(())
//! # }
//! ```
//!
//! # Limits
//! Every buffer that a peer can fill has a limit, finite by default and inclusive: a value equal to
//! the limit passes. `None` disables a deadline.
//!
//! | limit | default | beyond it |
//! |---|---|---|
//! | [`max_message_size`](Config::max_message_size) | 64 MiB | close code 1009 |
//! | [`max_frame_size`](Config::max_frame_size) | as `max_message_size` | close code 1009 |
//! | [`max_fragments`](Config::max_fragments) of one message | 65,536 | close code 1008 |
//! | [`max_write_buffer_size`](Config::max_write_buffer_size) | 1 MiB | `feed` and `send` wait |
//! | [`max_header_size`](Config::max_header_size) of the opening handshake | 16 KiB | status 431, or 414 for the request line |
//! | [`max_headers`](Config::max_headers) of the opening handshake | 64 | status 431 |
//! | [`Client::connect_timeout`]: name lookup, TCP, proxy and TLS | 10 s | `Timeout::Connect` |
//! | [`handshake_timeout`](Config::handshake_timeout), the whole opening handshake | 10 s | `Timeout::Handshake` |
//! | [`close_timeout`](Config::close_timeout), from our Close to the end of the stream | 5 s | the connection ends; `Timeout::Close` if our Close was not written |
//! | [`total_close_timeout`](Config::total_close_timeout), the same with all that is queued before it | 60 s | the same |
//! | [`write_timeout`](Config::write_timeout), without the stream taking a byte | 30 s | `Timeout::Write` |
//! | [`min_write_rate`](Config::min_write_rate), bytes per second that the stream takes, over `write_timeout` | off | `Timeout::Write` |
//! | [`ping_interval`](Config::ping_interval), silence before a keep-alive ping | 20 s | a ping |
//! | [`pong_timeout`](Config::pong_timeout), for its pong or any other frame | 20 s | `Timeout::Pong`, 1011 |
//! | [`idle_timeout`](Config::idle_timeout), without a message or an answered ping | off | `Timeout::Idle`, 1001 |
//! | [`message_timeout`](Config::message_timeout), from first to last byte of a message | off | `Timeout::Message`, 1008 |
//!
//! Timers run while the connection is polled: no task is spawned. A program that neither receives
//! nor sends observes no timeout and answers no ping.
//!
//! # When bytes leave
//! - [`feed`](WebSocket::feed) waits for room and queues a message. [`send`](WebSocket::send) is
//!   `feed`, then [`flush`](WebSocket::flush).
//! - [`recv`](WebSocket::recv) returns messages that were read already without a system call, and
//!   writes what is queued before it reads again. A burst that is answered with `feed` therefore
//!   costs one read and one write, and no fed message stays queued in a program that continues to
//!   receive.
//! - Once 1 ms has passed since the read, `recv` also writes between messages: a pong before the
//!   next message, fed messages within the next 16.
//! - `recv` never waits for a write: it continues to receive while the peer does not read.
//! - [`Sender::feed`] wakes a waiting receiver, which writes. If the receiver is busy, the message
//!   leaves with its next call, or with the next `send` or `flush` of any sender.
//! - Pings and pongs overtake queued messages, at a frame boundary. A Close overtakes no message,
//!   and only pongs follow it.
//! - Dropping a connection sends no Close and discards queued messages. [`close`](WebSocket::close)
//!   ends it cleanly.
//!
//! # Cancel safety
//! No protocol state lives in a future. Dropping one, as `select!` does, loses no received message,
//! tears no frame and duplicates nothing. The [guide](docs::cancel_safety) lists each method.
//!
//! # Errors
//! `recv` returns `Ok(None)` after a clean close. The [`Error`] that ended a connection otherwise
//! is returned once; after it, `recv` returns `Ok(None)` and sending fails with [`Error::Closed`].
//! The variants say who erred: the peer ([`Protocol`](Error::Protocol),
//! [`Rejected`](Error::Rejected), [`Response`](Error::Response)), the caller
//! ([`Send`](Error::Send), [`InvalidClose`](Error::InvalidClose), [`InvalidHandshake`](Error::InvalidHandshake)), the
//! transport ([`Transport`](Error::Transport)), or a peer that did not respond in time
//! ([`Timeout`](Error::Timeout)). The features `tls` and `proxy` add `Error::Tls` and
//! `Error::Proxy`.
//!
//! - [`close_code`](Error::close_code) is the code that the peer receives.
//! - [`is_disconnect`](Error::is_disconnect) is `true` if the peer only vanished, which servers
//!   need not log as a fault.
//! - [`response`](Error::response) is the HTTP response of a server that refused to open a
//!   connection.
#![cfg_attr(
    feature = "proxy",
    doc = "- [`proxy_response`](Error::proxy_response) is that of an HTTP proxy that refused to open a tunnel."
)]
//! - `{error:#}` prints an error with its sources.
//!
//! After a protocol error, `recv` returns only once the peer has ended the stream, or
//! `close_timeout` after our Close: if the program dropped the socket earlier, unread data would
//! reset it, and the reset can destroy the Close.
//!
//! Debug output never contains payload data, only its length. [`Message`] implements `Display` for
//! its text.
//!
//! # Cargo features
//!
//! | feature | default | what it adds |
//! |---|---|---|
//! | `tokio` | yes | `WebSocket`, `accept`, `connect`: the connection on tokio. Without it: `proto` and `handshake`, which do no I/O |
//! | `deflate` | no | `Deflate`, `Config::deflate`: permessage-deflate (RFC 7692), disabled until a `Config` enables it |
//! | `tls` | no | `wss://`; `TlsConnector` for clients, `TlsAcceptor` for servers: rustls with ring, certificates as the system verifies them |
//! | `tls-webpki-roots` | no | Mozilla's CA certificates, for machines that have none, such as minimal containers |
//! | `tls-aws-lc` | no | AWS-LC in the place of ring |
//! | `proxy` | no | `Client::proxy`: HTTP proxies (CONNECT), SOCKS5 and SOCKS4a; `proxy::Proxy`: their tunnels, over any transport |
//! | `reconnect` | no | `reconnect::Reconnecting`: a client that connects again, and sends queued messages then |
//! | `hyper` | no | `hyper::upgrade`: connections in a server that uses hyper 1 |
//! | `axum` | no | `axum::WebSocketUpgrade`: an extractor for axum 0.8 |
//! | `http2` | no | WebSocket over HTTP/2 (RFC 8441): servers that use axum or hyper, and `Client::http2` |
//! | `serde` | no | `send_json`, `Message::parse_json`, `Outgoing::json`: messages as JSON, by serde_json |
//! | `tracing` | no | spans and events of the crate `tracing`, for the opening handshake and the end of connections |
//! | `serve` | no | `serve::Serve`: an accept loop with limits; `serve::Shutdown`: graceful shutdown; `serve::Metrics`: counters |
//! | `calls` | no | `calls::Router`, `calls::Peer`: events and calls with acknowledgements, as JSON in text messages |
//!
//! # Versions
//! Features only add API. The minimum supported Rust version is 1.89.
//!
//! The public API contains types and traits of these crates: [`http`] 1, [`bytes`] 1, `tokio` 1,
//! `futures-core` 0.3 and `futures-sink` 0.3. A new major version of one of them is adopted only in
//! a new major version of this crate (before 1.0: a new minor version). [`http`] and [`bytes`] are
//! re-exported, so that a program can name the versions that this crate uses. All other
//! dependencies are private, and any release can change them. The exceptions are modules of features:
//! `tls` exposes rustls 0.23, re-exported there, for programs that bring a configuration of their own;
//! `axum` implements traits of axum-core 0.5, which is that of axum 0.8; `hyper` and `http2` accept
//! requests of hyper 1.

// docs.rs shows which feature an item needs.
#![cfg_attr(docsrs, feature(doc_cfg))]

#[cfg(feature = "tokio")]
mod any_request;
#[cfg(feature = "axum")]
#[cfg_attr(docsrs, doc(cfg(feature = "axum")))]
pub mod axum;
#[cfg(feature = "calls")]
#[cfg_attr(docsrs, doc(cfg(feature = "calls")))]
pub mod calls;
#[cfg(feature = "tokio")]
mod client;
#[cfg(feature = "tokio")]
mod connect;
#[cfg(feature = "tokio")]
mod delegate;
#[cfg(all(doc, feature = "tokio"))]
pub mod docs;
#[cfg(feature = "tokio")]
mod error;
#[cfg_attr(not(feature = "tokio"), allow(dead_code, reason = "some of it is for the upper floors alone"))]
pub mod handshake;
#[cfg(feature = "http2")]
#[cfg_attr(docsrs, doc(cfg(feature = "http2")))]
pub mod http2;
#[cfg(feature = "hub")]
#[cfg_attr(docsrs, doc(cfg(feature = "hub")))]
pub mod hub;
#[cfg(feature = "hyper")]
#[cfg_attr(docsrs, doc(cfg(feature = "hyper")))]
pub mod hyper;
#[cfg(feature = "tokio")]
mod incoming_request;
#[cfg(feature = "tokio")]
mod opening;
#[cfg_attr(not(feature = "tokio"), allow(dead_code, reason = "some of it is for the upper floors alone"))]
pub mod proto;
#[cfg(feature = "proxy")]
pub mod proxy;
#[cfg(feature = "reconnect")]
pub mod reconnect;
#[cfg(feature = "tokio")]
mod replay;
#[cfg(feature = "tokio")]
mod request_parts;
#[cfg(feature = "serve")]
#[cfg_attr(docsrs, doc(cfg(feature = "serve")))]
pub mod serve;
#[cfg(feature = "tokio")]
mod server;
#[cfg(feature = "tokio")]
mod stream;
#[cfg(feature = "tokio")]
pub mod testing;
#[cfg(feature = "tls")]
#[cfg_attr(docsrs, doc(cfg(feature = "tls")))]
pub mod tls;
#[cfg(feature = "tokio")]
mod trace;

/// The crate `bytes`, whose types hold payload data, in the version that this crate uses.
#[doc(no_inline)]
pub use bytes;
/// The crate `http`, whose types the opening handshake uses, in the version that this crate uses.
#[doc(no_inline)]
pub use http;

#[doc(inline)]
pub use handshake::{
    BearerToken, Client, Fault, HeadError, InvalidHandshake, Negotiated, RedirectFault, Rejection,
    ResponseError, Server, Target, TargetError,
};
#[doc(inline)]
pub use proto::{
    CloseCode, CloseFrame, Closing, Config, InvalidClose, Message, MessageKind, Outgoing, PreparedMessage,
    ProtocolError, Role, SendError, Sequence, Utf8Bytes,
};
#[cfg(feature = "deflate")]
#[doc(inline)]
pub use proto::{Deflate, DeflateParams};
#[cfg(feature = "serde")]
#[cfg_attr(docsrs, doc(cfg(feature = "serde")))]
#[doc(inline)]
pub use proto::{JsonError, JsonErrorKind};

#[cfg(feature = "tokio")]
pub use {
    any_request::{AnyRequest, HttpRequest, RejectedRequest, RejectedRequestParts},
    connect::{ClientStream, connect},
    error::{Error, Timeout},
    incoming_request::IncomingRequest,
    replay::Replay,
    request_parts::RequestParts,
    server::accept,
    stream::{
        ByteStream, Event, MessageReader, MessageWriter, Parts, Permit, ReceiveParts, Receiver, SendParts,
        SendPermit, Sender, SenderSink, SenderTurn, Stats, TrySendError, WebSocket,
    },
};

/// Compiles the code in the README as doc tests.
#[cfg(all(doctest, feature = "tokio", feature = "deflate", feature = "serve"))]
#[doc = include_str!("../README.md")]
struct Readme;
#[cfg(feature = "tls")]
#[cfg_attr(docsrs, doc(cfg(feature = "tls")))]
pub use {
    error::TlsError,
    tls::{TlsAcceptor, TlsConnector, TlsConnectorBuilder, TlsStream},
};
