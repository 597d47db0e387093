//! Cancel safety: what remains when a future is dropped.
//!
//! `select!`, `timeout` and aborted tasks drop futures at an await. All protocol state lives in the
//! connection and none in a future, so dropping a future never tears a frame, loses a received
//! message or sends a message twice. The tests drop the futures of receiving, sending, flushing,
//! reserving, pings, closing, readers, writers and the opening handshake at every await, and compare
//! the bytes on the wire.
//!
//! | dropped | afterwards |
//! |---|---|
//! | [`recv`](WebSocket::recv), [`recv_event`](WebSocket::recv_event) | nothing is lost |
//! | [`feed`](WebSocket::feed) | the message is not queued; once `feed` has returned, it is |
//! | [`send`](WebSocket::send), [`ping`](WebSocket::ping), [`pong`](WebSocket::pong) | queued whole or not at all |
//! | [`flush`](WebSocket::flush) | the rest stays queued |
//! | [`reserve`](WebSocket::reserve), or its [`Permit`] | nothing is queued |
//! | [`reader`](WebSocket::reader), or a read of a [`MessageReader`] | nothing is lost |
//! | a [`MessageReader`] | the next receiving call skips the rest of the message |
//! | [`Sender::writer`] | no message is begun |
//! | a write or flush of a [`MessageWriter`] | what was written stays written |
//! | a read, write or flush of a [`ByteStream`](crate::ByteStream) | nothing is lost; what a write has returned is queued |
//! | an unfinished [`MessageWriter`] | if a frame was queued, the connection fails with 1011; otherwise nothing is sent |
//! | [`close`](WebSocket::close) | the Close is queued; `recv` completes the closing handshake |
//! | [`accept`], [`connect`] and the rest of the opening handshake | the stream is dropped, which closes the connection |
//!
//! The methods of [`Receiver`] and [`Sender`] behave like those of [`WebSocket`] with the same
//! names. Those of `reconnect::Reconnecting` keep their state in the client likewise: dropping its
//! `recv` loses nothing, and a connection that is being opened stays so until the next call. A
//! dropped `calls::Peer::call` is forgotten: its answer is ignored.
//!
//! # Receiving in `select!`
//! `recv` can be one branch of a loop. No task, channel or split is needed to receive and to send
//! on a timer:
//!
//! ```
//! use std::time::Duration;
//! use fullduplex::{Error, WebSocket};
//! use tokio::{net::TcpStream, time::interval};
//!
//! async fn push(mut ws: WebSocket<TcpStream>) -> Result<(), Error> {
//!     let mut ticks = interval(Duration::from_secs(1));
//!     loop {
//!         tokio::select! {
//!             received = ws.recv() => match received? {
//!                 Some(message) => ws.feed(message).await?,
//!                 None => return Ok(()),
//!             },
//!             _ = ticks.tick() => ws.feed("tick").await?,
//!         }
//!     }
//! }
//! ```
//!
//! What is fed leaves when `recv` waits the next time.
//!
//! # Sending in `select!`
//! A dropped `feed` drops its message, and a dropped `send` does not say whether the message was
//! queued. If a message must not be lost, wait for room first and take the message from its source
//! afterwards:
//!
//! ```
//! use fullduplex::{Error, WebSocket};
//! use tokio::{net::TcpStream, sync::mpsc};
//!
//! async fn forward(ws: &mut WebSocket<TcpStream>, lines: &mut mpsc::Receiver<String>) -> Result<(), Error> {
//!     // Dropped here, by a `select!` around this function: no line has left the channel.
//!     let permit = ws.reserve(1024).await?;
//!     // No await from here on: the line is queued, or remains in the channel.
//!     if let Ok(line) = lines.try_recv() {
//!         permit.feed(line)?;
//!     }
//!     ws.flush().await
//! }
//! ```
//!
//! A message longer than the reserved length fails with [`Error::Send`], and nothing is queued.
//! Between tasks, [`Sender::reserve`] does the same.
//!
//! # Closing with a deadline
//! `close` is bounded by [`close_timeout`](crate::Config::close_timeout) and
//! [`total_close_timeout`](crate::Config::total_close_timeout). A shorter deadline of
//! your own is safe as well:
//!
//! ```
//! use std::time::Duration;
//! use fullduplex::{CloseCode, WebSocket};
//! use tokio::{net::TcpStream, time::timeout};
//!
//! async fn leave(mut ws: WebSocket<TcpStream>) {
//!     // The Close is queued before the first await. Dropping `ws` afterwards drops the stream.
//!     let _ = timeout(Duration::from_millis(500), ws.close(CloseCode::GOING_AWAY, "")).await;
//! }
//! ```

#[allow(unused_imports, reason = "links refer to them")]
use crate::{Error, MessageReader, MessageWriter, Permit, Receiver, Sender, WebSocket, accept, connect};
