//! The errors of an invalid handshake configuration.

use std::fmt;

use http::{HeaderName, StatusCode, header};

use super::target::TargetError;

/// An invalid configuration of the opening handshake by the caller.
///
/// Nothing of it was sent. If a request was already received, the client is answered with status
/// 500.
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
    /// The target is not a `ws://` or `wss://` URI.
    #[error("invalid target")]
    Target(#[from] TargetError),
    /// The target is `wss://`, and the crate was built without TLS.
    #[error("wss:// requires TLS, which is not available")]
    TlsUnavailable,
    /// The target belongs to another server than the transport of HTTP/2.
    #[error("target belongs to another server")]
    OtherServer,
    /// A name is not valid for a header field.
    #[error("invalid header name")]
    HeaderName,
    /// A value is not valid for this header field, such as one with CR, LF or NUL.
    #[error("invalid value of the header field {0}")]
    HeaderValue(Box<str>),
    /// A header field is reserved for the handshake, or describes a body.
    #[error("the header field {0} is reserved for the handshake")]
    ReservedHeader(HeaderName),
    /// A subprotocol is not a token.
    #[error("subprotocol is not a token: {0:?}")]
    Subprotocol(Box<str>),
    /// A subprotocol was added to the offer twice.
    #[error("duplicate subprotocol {0}")]
    DuplicateSubprotocol(Box<str>),
    /// A bearer token, or its prefix, is empty or not a token as RFC 9110 section 5.6.2 defines it.
    /// Encode it in base64url.
    #[error("bearer token cannot be a subprotocol: encode it in base64url")]
    BearerToken,
    /// An origin is not one that browsers send: a wildcard, a host without a scheme, a path.
    #[error("invalid origin {0:?}: expected null or scheme://host[:port]")]
    Origin(Box<str>),
    /// The response selects a subprotocol that the client did not offer.
    #[error("subprotocol was not offered by the client")]
    SubprotocolNotOffered,
    /// The status is not valid for the response.
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

/// Returns whether an application must not set this field.
///
/// `Sec-WebSocket-Protocol` is not reserved here: a response may select one.
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
