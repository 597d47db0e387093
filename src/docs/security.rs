//! Security: origins, tokens, limits, compression.
//!
//! `SECURITY.md` in the repository says what this crate promises and how to report a vulnerability.
//! This page is about what the application has to do.
//!
//! # Origins
//! A page of any site can open a WebSocket connection to any server. The browser sends cookies with
//! it, and the same-origin policy does not apply. A server that recognizes its users by cookies,
//! HTTP authentication, client certificates or an address inside a private network must therefore
//! check the origin:
//!
//! ```
//! # fn main() -> Result<(), fullduplex::InvalidHandshake> {
//! use fullduplex::Server;
//!
//! let server = Server::default().allow_origins(["https://example.com"]);
//! server.check().map_err(Clone::clone)?; // before listening: `*` or `example.com` would be an error
//! # Ok(())
//! # }
//! ```
//!
//! Other origins are rejected with 403. A request without `Origin` passes, because browsers always
//! send one and other clients can send any. [`Server::same_origin`] and [`Server::same_origin_or`]
//! accept pages of the host that the request is for. [`Server::allow_origins_by`] takes a function;
//! compare whole host names in it. [`accept`](crate::accept) accepts any origin.
//!
//! # Tokens
//! - Browsers cannot set header fields on a WebSocket request. Send the token in the first message,
//!   or as a subprotocol ([below](#tokens-as-subprotocols)); a token in the URL appears in logs.
//! - Compare tokens in constant time, for example with the crate `subtle`.
//! - Bound what a client can do before it has authenticated: a short deadline and a small message
//!   limit, raised afterwards.
//! - [`Client::header`] marks `Authorization`, `Cookie` and the like as sensitive, so that Debug
//!   output hides them.
//! - `ws://` is not encrypted. Use `wss://`: the feature `tls`, or a reverse proxy in front.
//! - Certificates are verified unless
//!   `TlsConnectorBuilder::danger_accept_any_certificate` is called. A redirect to another origin
//!   carries no credentials.
//!
//! ```
//! use std::time::Duration;
//! use fullduplex::{CloseCode, Config, Error, WebSocket};
//! use tokio::{net::TcpStream, time::timeout};
//!
//! # fn is_valid(_: &str) -> bool { true }
//! /// The connection was accepted with `Config::new().max_message_size(4096)`.
//! async fn log_in(ws: &mut WebSocket<TcpStream>) -> Result<bool, Error> {
//!     let first = timeout(Duration::from_secs(5), ws.recv()).await;
//!     let valid = match first {
//!         Ok(received) => received?.is_some_and(|message| message.as_text().is_some_and(is_valid)),
//!         Err(_elapsed) => false,
//!     };
//!     if valid {
//!         ws.set_limits(&Config::new().max_message_size(1 << 20));
//!     } else {
//!         ws.close(CloseCode::POLICY_VIOLATION, "log in first").await?;
//!     }
//!     Ok(valid)
//! }
//! ```
//!
//! # Tokens as subprotocols
//! A page can offer its token beside the subprotocols that it speaks:
//!
//! ```js
//! new WebSocket("wss://example.com/", ["chat.v1", "bearer." + token])
//! ```
//!
//! The server then knows the client before it accepts the connection, and refuses it with an HTTP
//! status. With [`Server::bearer_prefix`], the token is removed from the offer before anything else
//! sees it: it is not selected, not part of the response, and not in the request that is shown.
//! [`Client::bearer_token`] offers one.
//!
//! ```
//! use fullduplex::{Error, Server, WebSocket};
//! use http::{Response, StatusCode};
//! use tokio::net::TcpStream;
//!
//! # fn is_valid(_: &str) -> bool { true }
//! /// The server was created with `.subprotocols(["chat.v1"]).bearer_prefix("bearer.")`.
//! async fn open(server: &Server, tcp: TcpStream) -> Result<Option<WebSocket<TcpStream>>, Error> {
//!     let request = server.read_request(tcp).await?;
//!     if request.bearer_token().is_some_and(is_valid) {
//!         return request.accept().await.map(Some);
//!     }
//!     let mut refusal = Response::new("log in first");
//!     *refusal.status_mut() = StatusCode::UNAUTHORIZED;
//!     request.reject(refusal).await?;
//!     Ok(None)
//! }
//! ```
//!
//! - Support a subprotocol besides: RFC 6455 allows a server to select none, but a browser then
//!   fails a connection for which it offered any.
//! - The token consists of letters, digits and ``!#$%&'*+-.^_`|~``. JSON Web Tokens do; encode others
//!   in base64url, without padding.
//! - Compare it in constant time, and let it expire soon: a reverse proxy in front may log it.
//! - Any prefix can be used. That of the Kubernetes API server is
//!   `base64url.bearer.authorization.k8s.io.`, and its token is encoded in base64url.
//!
//! # Limits
//! The [table](crate#limits) on the front page lists them; they are finite by default. Consider
//! four of them for each server:
//!
//! - **`max_message_size`**, 64 MiB, is generous. Memory follows the bytes that arrive, not the
//!   length that a header announces, and a message in progress takes at most about twice its size.
//!   But an attacker with many connections can fill 64 MiB on each. Set it to what the program
//!   expects.
//! - **`message_timeout`** is disabled by default: a client that sends a byte of a message every few
//!   seconds stays connected. Set it where connections are scarce. A client that answers pings stays
//!   connected too, also with `idle_timeout`: to disconnect one that sends no messages, wrap `recv`
//!   in a `timeout`.
//! - **`min_write_rate`** is disabled by default: a client that reads a byte every few seconds keeps
//!   what is queued for it, at most `max_write_buffer_size` and a message. Set it, well below the rate
//!   of the slowest client to be served, where memory is scarce.
//! - **The number of connections** is limited by `serve::Serve` (feature `serve`), in all and for
//!   each network or user. With another loop it is the application's to limit, for example with a
//!   `Semaphore` before `accept`. So is the rate of messages.
//!
//! The opening handshake has one deadline for all of it, 10 s, and limits on its size, so a slow or
//! endless request ends. After `listener.accept()` has failed, pause and accept again: a peer can
//! use up the file descriptors.
//!
//! # Compression
//! Compression is disabled until [`Config`](crate::Config) enables it. Two risks come with it:
//!
//! - **Memory.** DEFLATE data inflates up to 1,032 times: 65 KB become 64 MiB. Inflating stops at
//!   `max_message_size`, with close code 1009. A message that is not complete takes at most 16 times
//!   what was received of it. A complete one takes up to `max_message_size`, however few bytes the
//!   peer has sent.
//! - **Secrets.** The length of a compressed message depends on its content. If an attacker can
//!   choose part of a message that also contains a secret, and can observe the lengths on the
//!   encrypted connection, the secret can be guessed byte by byte: the attacks CRIME and BREACH.
//!   With context takeover, secrets in earlier messages are at risk too. Send such messages
//!   uncompressed:
//!
#![cfg_attr(feature = "deflate", doc = "```")]
#![cfg_attr(not(feature = "deflate"), doc = "```ignore")]
//! # async fn example(ws: &mut fullduplex::WebSocket<tokio::net::TcpStream>) -> Result<(), fullduplex::Error> {
//! use fullduplex::Outgoing;
//!
//! ws.send(Outgoing::from("token=0123").compress(false)).await?;
//! # Ok(())
//! # }
//! ```
//!
//! # Logs
//! Debug output of messages, events and connections contains the length of payload data and not the
//! data, and hides header fields with credentials. Neither the errors of JSON nor the events of the
//! feature `tracing` contain payload data, tokens or queries. Close reasons are escaped, so that a peer cannot
//! write control characters to a terminal. A [`Message`](crate::Message) implements `Display` for
//! its text, unescaped: escape it before it goes to a terminal.

#[allow(unused_imports, reason = "links refer to them")]
use crate::{Client, Server};
