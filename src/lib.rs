//! WebSockets (RFC 6455) from scratch: client and server on tokio, with a protocol core that does no I/O.
//!
//! A server that sends back what it receives:
//!
#![cfg_attr(feature = "tokio", doc = "```no_run")]
#![cfg_attr(not(feature = "tokio"), doc = "```ignore")]
//! use fullduplex::Error;
//! use tokio::net::{TcpListener, TcpStream};
//!
//! #[tokio::main]
//! async fn main() -> Result<(), Error> {
//!     let listener = TcpListener::bind("127.0.0.1:9001").await?;
//!     loop {
//!         let (tcp, peer) = listener.accept().await?;
//!         tokio::spawn(async move {
//!             if let Err(error) = echo(tcp).await {
//!                 eprintln!("{peer}: {error}");
//!             }
//!         });
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
//!     println!("{message:?}");
//! }
//! ws.close(CloseCode::NORMAL, "bye").await
//! # }
//! ```
//!
//! # Where to look
//! - [`WebSocket`]: a connection. [`Message`], [`Outgoing`] and [`Event`] go through it, [`Config`] limits it.
//! - [`Receiver`] and [`Sender`]: its halves, for many tasks. [`PreparedMessage`]: encoded once, sent to many.
//! - [`accept`] and [`Server`], [`connect`] and [`Client`]: how it is opened, with the defaults or with your own choices.
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
//! # Errors
//! An [`Error`] says who erred: the peer, the caller, the transport, or time. What ended a connection is told once; after
//! that, and after a clean close, which is no error, `recv` gives `Ok(None)`.
//! [`close_code`](Error::close_code) is what tells the peer.

#[cfg(feature = "tokio")]
mod client;
#[cfg(feature = "tokio")]
mod dial;
#[cfg(feature = "tokio")]
mod error;
pub mod handshake;
#[cfg(feature = "tokio")]
mod opening;
pub mod proto;
#[cfg(feature = "tokio")]
mod server;
#[cfg(feature = "tokio")]
mod stream;

pub use handshake::{Client, Server, Target};
#[cfg(feature = "deflate")]
pub use proto::Deflate;
pub use proto::{
    CloseCode, CloseFrame, Config, Message, MessageKind, Outgoing, PreparedMessage, Role, Utf8Bytes,
};

#[cfg(feature = "tokio")]
pub use {
    client::connect,
    dial::ClientStream,
    error::{Error, Timeout},
    server::{Pending, accept},
    stream::{
        Event, MessageReader, MessageWriter, Parts, Permit, Receiver, SendPermit, Sender, SenderSink,
        SenderTurn, TrySendError, WebSocket,
    },
};

/// The code in the README is tested as the docs are.
#[cfg(all(doctest, feature = "tokio", feature = "deflate"))]
#[doc = include_str!("../README.md")]
struct Readme;
