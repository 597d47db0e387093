//! What an application may not put into the opening handshake.

use std::fmt;

use http::{HeaderName, StatusCode, header};

use super::target::TargetError;

/// The caller asked for an opening handshake that cannot be: nothing of it was written. A client
/// whose request waits for an answer is told 500.
///
/// ```
/// use fullduplex::handshake::{Client, InvalidHandshake};
///
/// let client = Client::default().header("x-token", "a\r\nHost: evil.example");
/// assert_eq!(client.check(), Err(&InvalidHandshake::HeaderValue("x-token".into())));
/// ```
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidHandshake {
    /// Where to connect to is no `ws://` or `wss://` URI.
    #[error("invalid target")]
    Target(#[from] TargetError),
    /// The target is `wss://`, and this build of the crate has no TLS.
    #[error("wss:// requires TLS, which is not available")]
    TlsUnavailable,
    /// A name that no header field can have.
    #[error("invalid header name")]
    HeaderName,
    /// A value that this header field cannot have: CR, LF or NUL, for one.
    #[error("invalid value of the header field {0}")]
    HeaderValue(Box<str>),
    /// A header field that the handshake writes itself, or that has no place in it.
    #[error("the header field {0} is reserved for the handshake")]
    ReservedHeader(HeaderName),
    /// A subprotocol that is no token.
    #[error("subprotocol is not a token: {0:?}")]
    Subprotocol(Box<str>),
    /// A subprotocol that stands in the offer twice.
    #[error("duplicate subprotocol {0}")]
    DuplicateSubprotocol(Box<str>),
    /// An origin that no browser ever sends: a wildcard, a host without a scheme, a path.
    #[error("invalid origin {0:?}: expected null or scheme://host[:port]")]
    Origin(Box<str>),
    /// A subprotocol in the response that the client did not offer.
    #[error("subprotocol was not offered by the client")]
    SubprotocolNotOffered,
    /// A status that the response cannot have.
    #[error("invalid status {0} of the response")]
    Status(StatusCode),
}

impl From<std::convert::Infallible> for InvalidHandshake {
    fn from(never: std::convert::Infallible) -> Self {
        match never {}
    }
}

impl InvalidHandshake {
    pub(super) fn value_of(name: impl fmt::Display) -> Self {
        Self::HeaderValue(name.to_string().into())
    }
}

/// Whether the handshake alone decides what this field says. `Sec-WebSocket-Protocol` is not among
/// them: a response may choose one.
pub(super) fn is_reserved(name: &HeaderName) -> bool {
    let websocket = name.as_str().starts_with("sec-websocket-") && name != header::SEC_WEBSOCKET_PROTOCOL;
    let http = [
        header::HOST,
        header::UPGRADE,
        header::CONNECTION,
        header::CONTENT_LENGTH,
        header::TRANSFER_ENCODING,
        header::TRAILER,
        header::TE,
    ];
    websocket || http.contains(name)
}
