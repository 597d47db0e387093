//! The opening handshake, as pure functions over bytes and `http` types.
//!
//! RFC 6455 section 4. This module does no I/O, reads no clock, and has no source of randomness:
//! the nonce is an argument. [`Server::read_request`](crate::Server::read_request) and
//! [`Client::connect`](crate::Client::connect) drive these functions over a transport. A program
//! that uses another HTTP library calls [`respond`] and
//! [`WebSocket::from_raw`](crate::WebSocket::from_raw).
//!
//! The order of calls on a server: [`HeadScanner::scan`] until the head is complete,
//! [`parse_request`], if it expects one [`take_bearer_token`], [`respond`], [`encode_response`]. On a client: [`Client::request`],
//! [`HeadScanner::scan`], [`parse_response`], [`Client::verify`].

use base64::{Engine, engine::general_purpose::STANDARD};
use sha1::{Digest, Sha1};

mod bearer;
mod client;
mod client_http2;
#[cfg(feature = "deflate")]
mod deflate;
#[cfg(not(feature = "deflate"))]
#[path = "no_deflate.rs"]
mod deflate;
pub(crate) mod encode;
mod head;
mod headers;
mod invalid;
mod join;
mod negotiate;
mod origin;
mod rejection;
pub(crate) mod request;
pub(crate) mod respond;
pub(crate) mod respond_http2;
pub(crate) mod response;
mod server;
pub(crate) mod target;

pub use bearer::{BearerToken, take_bearer_token};
pub use client::Client;
pub use encode::{encode_rejection, encode_response, extend_response};
#[cfg(test)]
#[allow(unused_imports, reason = "only tests of upper floors use it")]
pub(crate) use head::EXAMINED;
pub use head::{HeadEnd, HeadError, HeadScanner};
pub use headers::{Extension, MalformedExtensions, is_token, parse_extensions};
pub use invalid::InvalidHandshake;
pub use negotiate::{Negotiated, offered_subprotocols};
pub use rejection::Rejection;
pub use request::parse_request;
pub use respond::{asks_for_websocket, respond};
pub use respond_http2::respond_http2;
pub use response::{BodyReader, Fault, MAX_BODY, RedirectFault, ResponseError, parse_response};
pub use server::Server;
pub use target::{Target, TargetError};

/// Computes the value of `Sec-WebSocket-Accept` for a `Sec-WebSocket-Key`.
///
/// RFC 6455 section 4.2.2: base64 of the SHA-1 of the key as sent by the client, followed by a
/// fixed GUID.
///
/// ```
/// // The example of RFC 6455 section 1.3.
/// let accept = fullduplex::handshake::accept_key(b"dGhlIHNhbXBsZSBub25jZQ==");
/// assert_eq!(accept, "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
/// ```
pub fn accept_key(key: &[u8]) -> String {
    const GUID: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
    STANDARD.encode(Sha1::new().chain_update(key).chain_update(GUID).finalize())
}
