//! Testing your own code: connected pairs in memory, paused clocks, misbehaving peers.
//!
//! # A connected pair
//! [`testing::pair`] returns a client and a server that are connected in memory. No port is opened,
//! and the tests run in parallel. Write functions that take a `WebSocket<S>` over any stream, and
//! hand them one end:
//!
//! ```
//! use fullduplex::{CloseCode, Config, Error, WebSocket, testing};
//! use tokio::io::{AsyncRead, AsyncWrite};
//!
//! async fn shout<S: AsyncRead + AsyncWrite + Unpin>(mut ws: WebSocket<S>) -> Result<(), Error> {
//!     while let Some(message) = ws.recv().await? {
//!         ws.feed(message.as_text().unwrap_or("text, please").to_uppercase()).await?;
//!     }
//!     Ok(())
//! }
//!
//! #[tokio::main(flavor = "current_thread")]
//! async fn main() -> Result<(), Error> {
//!     let (mut client, server) = testing::pair(&Config::new());
//!     let served = tokio::spawn(shout(server));
//!     client.send("hello").await?;
//!     assert_eq!(client.recv().await?, Some("HELLO".into()));
//!     client.close(CloseCode::NORMAL, "").await?;
//!     served.await.expect("no panic")
//! }
//! ```
//!
//! # Time
//! With tokio's clock paused (`#[tokio::test(start_paused = true)]`) deadlines pass at once and
//! always in the same order. An end that the test does not poll is a peer that does not respond:
//!
//! ```
//! use fullduplex::{Config, Error, Timeout, testing};
//!
//! #[tokio::main(flavor = "current_thread", start_paused = true)]
//! async fn main() {
//!     let (mut client, _silent) = testing::pair(&Config::new());
//!     let error = client.recv().await.expect_err("no pong");
//!     assert!(matches!(error, Error::Timeout(Timeout::Pong)));
//! }
//! ```
//!
//! # A peer that does not read
//! [`testing::pair_with_capacity`] bounds the bytes in transit. With a small capacity the write
//! buffer fills at once:
//!
//! ```
//! use fullduplex::{Config, TrySendError, testing};
//!
//! #[tokio::main(flavor = "current_thread", start_paused = true)]
//! async fn main() {
//!     let (_client, server) = testing::pair_with_capacity(&Config::new().max_write_buffer_size(100), 16);
//!     let (_receiver, sender) = server.split();
//!     sender.try_send([0; 80]).expect("the buffer is empty");
//!     assert!(matches!(sender.try_send([0; 80]), Err(TrySendError::Full(_))));
//! }
//! ```
//!
//! # A peer that breaks the protocol
//! Over [`tokio::io::duplex`], one end is a connection and the other end is bytes:
//!
//! ```
//! use fullduplex::{Config, Error, Negotiated, ProtocolError, Role, WebSocket};
//! use tokio::io::AsyncWriteExt;
//!
//! #[tokio::main(flavor = "current_thread")]
//! async fn main() -> std::io::Result<()> {
//!     let (mut peer, io) = tokio::io::duplex(1024);
//!     let mut ws = WebSocket::from_raw(io, Default::default(), Role::Server, &Config::new(), Negotiated::default());
//!     peer.write_all(b"\x81\x05Hello").await?; // not masked
//!     peer.shutdown().await?;
//!     let error = ws.recv().await.expect_err("a client has to mask");
//!     assert!(matches!(error, Error::Protocol(ProtocolError::UnmaskedFrame)));
//!     Ok(())
//! }
//! ```
//!
//! # The opening handshake
//! [`Server`](crate::Server) and [`Client::handshake`](crate::Client::handshake) take any stream,
//! so a test can run both:
//!
//! ```
//! use fullduplex::{Client, Error, AnyRequest, Server};
//!
//! #[tokio::main(flavor = "current_thread")]
//! async fn main() -> Result<(), Error> {
//!     let (ours, theirs) = tokio::io::duplex(4096);
//!     let server = Server::default().allow_origins(["https://example.com"]);
//!     let client = Client::default().header("Origin", "https://evil.example");
//!     let serve = async {
//!         match server.read_any_request(theirs).await? {
//!             AnyRequest::Rejected(rejected) => rejected.refuse().await,
//!             other => panic!("{other:?}"),
//!         }
//!     };
//!     let (served, opened) = tokio::join!(serve, client.handshake("ws://example.com/", ours));
//!     served?;
//!     assert_eq!(opened.expect_err("a foreign origin").response().expect("a refusal").status(), 403);
//!     Ok(())
//! }
//! ```
//!
//! # Without a runtime
//! [`proto`](crate::proto) and [`handshake`](crate::handshake) are plain functions over bytes. A
//! test of single frames needs neither tokio nor `async`.

#[allow(unused_imports, reason = "links refer to them")]
use crate::testing;
