//! Servers that use axum or hyper, and HTTP/2.
//!
//! # With axum
//! The feature `axum` adds [`WebSocketUpgrade`](crate::axum::WebSocketUpgrade), an extractor. A
//! program moves from axum's own by other imports and another type of message.
//!
//! axum's own:
//!
//! ```text
//! use axum::extract::ws::{Message, WebSocket, WebSocketUpgrade};
//!
//! async fn route(ws: WebSocketUpgrade) -> Response {
//!     ws.protocols(["chat"]).max_message_size(1 << 20).on_upgrade(handle)
//! }
//!
//! async fn handle(mut socket: WebSocket) {
//!     while let Some(Ok(message)) = socket.recv().await {
//!         match message {
//!             Message::Text(text) => {
//!                 if socket.send(Message::Text(text)).await.is_err() {
//!                     return;
//!                 }
//!             }
//!             Message::Binary(data) => { /* .. */ }
//!             Message::Ping(_) | Message::Pong(_) => {}
//!             Message::Close(_) => return,
//!         }
//!     }
//! }
//! ```
//!
//! fullduplex:
//!
//! ```
//! use axum::response::Response;
//! use fullduplex::{Message, axum::{WebSocket, WebSocketUpgrade}};
//!
//! async fn route(ws: WebSocketUpgrade) -> Response {
//!     ws.subprotocols(["chat"]).max_message_size(1 << 20).on_upgrade(handle)
//! }
//!
//! async fn handle(mut socket: WebSocket) {
//!     while let Ok(Some(message)) = socket.recv().await {
//!         match message {
//!             Message::Text(text) => {
//!                 if socket.feed(text).await.is_err() {
//!                     return;
//!                 }
//!             }
//!             Message::Binary(data) => { /* .. */ }
//!         }
//!     }
//! }
//! ```
//!
//! | axum's own | fullduplex |
//! |---|---|
//! | `protocols`, `selected_protocol` | [`subprotocols`](crate::axum::WebSocketUpgrade::subprotocols), [`WebSocket::subprotocol`](crate::WebSocket::subprotocol) |
//! | `max_message_size`, `max_frame_size`, `max_write_buffer_size` | the same, and [`config`](crate::axum::WebSocketUpgrade::config) for all others |
//! | `on_upgrade`, `on_failed_upgrade` | the same |
//! | `recv() -> Option<Result<Message, Error>>` | `recv() -> Result<Option<Message>, Error>` |
//! | `Message::Ping`, `Pong`, `Close` | [`Event`](crate::Event), from `recv_event`; they are answered either way |
//! | a page of any site may connect | a page of the same origin, or those of [`same_origin_or`](crate::axum::WebSocketUpgrade::same_origin_or) and [`allow_origins`](crate::axum::WebSocketUpgrade::allow_origins) |
//! | no compression, no keep-alive | `Config::deflate`, [`ping_interval`](crate::Config::ping_interval) |
//! | a rejection without a reason | a text that says what is wrong |
//!
//! [`WebSocket`](crate::axum::WebSocket) is this crate's connection over the TCP or TLS stream
//! itself, which hyper returns: everything that these pages describe applies to it.
//!
//! # With hyper
//! The feature `hyper` adds [`hyper::upgrade`](crate::hyper::upgrade), for any `http::Request`. Its
//! module has a whole server as an example.
//!
//! # HTTP/2
//! With the feature `http2`, the routes of both also accept WebSocket over HTTP/2 (RFC 8441), as
//! browsers use it over TLS. `axum::serve` allows it, if axum has its own feature `http2`; with
//! hyper, set `enable_connect_protocol`. The [`TlsAcceptor`](crate::TlsAcceptor) has to offer it:
//! `TlsAcceptor::http2`. Routes must be for any method, because such a request is a CONNECT.
//!
//! A connection is then a stream of HTTP/2 with a window of its own. Backpressure works as over
//! TCP: a peer that does not read stops the sender, at the latest when the library has queued
//! `max_write_buffer_size`.
//!
//! `Client::http2` opens any number of connections over one transport: see the module `http2`.
//!
//! # Tests without a socket
//! [`testing::upgrade_request`](crate::testing::upgrade_request) creates a request that opens a
//! connection in memory, so that a router is tested with `tower::ServiceExt::oneshot`.
