//! The rejection of a request that does not open a WebSocket connection.

use bytes::Bytes;
use http::{HeaderValue, Method, Response, StatusCode, header};

use super::{
    encode::{ContentMode, encode_final},
    head::HeadError,
};

/// The reason why a request does not open a WebSocket connection, and its response.
///
/// The status says who erred: the client, or, with 500, the server.
///
/// RFC 6455 section 4.2.2 and RFC 9110 section 15.
///
/// ```
/// use fullduplex::handshake::{Server, respond};
/// use http::{Request, StatusCode};
///
/// let (request, ()) = Request::post("/").header("host", "example.com").body(())?.into_parts();
/// let rejection = respond(&request, &Server::default()).expect_err("only GET opens a connection");
/// assert_eq!(rejection.status(), StatusCode::METHOD_NOT_ALLOWED);
/// assert_eq!(rejection.into_response().headers()["allow"], "GET");
/// # Ok::<(), http::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("request rejected with {status}: {reason}")]
pub struct Rejection {
    status: StatusCode,
    reason: &'static str,
    advice: Advice,
    content: ContentMode,
}

/// The header fields that help a client to correct its request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Advice {
    None,
    Method,
    Connect,
    Upgrade,
    Version,
    /// The version, without an upgrade.
    Http2Version,
}

impl Rejection {
    pub(super) fn bad_request(reason: &'static str) -> Self {
        Self::new(StatusCode::BAD_REQUEST, reason, Advice::None)
    }

    pub(super) fn forbidden(reason: &'static str) -> Self {
        Self::new(StatusCode::FORBIDDEN, reason, Advice::None)
    }

    /// Creates a rejection with status 500: the application erred, not the client.
    pub(crate) fn server_error() -> Self {
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "internal server error", Advice::None)
    }

    pub(super) fn method() -> Self {
        // RFC 9110 section 15.5.6: 405 lists the allowed methods.
        let status = StatusCode::METHOD_NOT_ALLOWED;
        Self::new(status, "a WebSocket connection requires GET", Advice::Method)
    }

    pub(super) fn http_version() -> Self {
        let status = StatusCode::HTTP_VERSION_NOT_SUPPORTED;
        Self::new(status, "a WebSocket connection requires HTTP/1.1", Advice::None)
    }

    /// Creates the rejection of a method that HTTP/2 does not use for WebSocket.
    pub(super) fn connect() -> Self {
        // RFC 9110 section 15.5.6: 405 lists the allowed methods.
        let status = StatusCode::METHOD_NOT_ALLOWED;
        Self::new(status, "a WebSocket connection over HTTP/2 requires CONNECT", Advice::Connect)
    }

    /// Creates the rejection of an extended CONNECT for another protocol.
    pub(super) fn protocol() -> Self {
        // RFC 9220 section 3: 501 for an unsupported protocol, which RFC 8441 leaves open.
        Self::new(
            StatusCode::NOT_IMPLEMENTED,
            "unsupported :protocol: only websocket is supported",
            Advice::None,
        )
    }

    pub(super) fn upgrade_required() -> Self {
        // RFC 9110 section 15.5.22: 426 names the protocol to upgrade to.
        let status = StatusCode::UPGRADE_REQUIRED;
        Self::new(status, "missing Upgrade: websocket", Advice::Upgrade)
    }

    pub(super) fn websocket_version() -> Self {
        // RFC 6455 section 4.4: the response lists the supported versions.
        let status = StatusCode::UPGRADE_REQUIRED;
        Self::new(status, "unsupported WebSocket version: only 13 is supported", Advice::Version)
    }

    pub(super) fn websocket_version_http2() -> Self {
        // RFC 6455 section 4.4; RFC 9110 section 7.8: there is no upgrade in HTTP/2.
        let reason = "unsupported WebSocket version: only 13 is supported";
        Self::new(StatusCode::BAD_REQUEST, reason, Advice::Http2Version)
    }

    fn new(status: StatusCode, reason: &'static str, advice: Advice) -> Self {
        Self { status, reason, advice, content: ContentMode::Sent }
    }

    /// Sets the method of the request that is answered.
    pub(super) fn answering(self, method: &Method) -> Self {
        Self { content: ContentMode::answering(method), ..self }
    }

    /// Returns the status of the response.
    pub fn status(&self) -> StatusCode {
        self.status
    }

    /// Returns the reason, in a few words.
    pub fn reason(&self) -> &str {
        self.reason
    }

    /// Encodes the response, for a connection that ends with it.
    ///
    /// The response has no `Date`, as this module reads no clock. To add one, use
    /// [`into_response`](Self::into_response) and [`encode_rejection`](super::encode_rejection).
    pub fn encode(self) -> Vec<u8> {
        let content = self.content();
        encode_final(self.into_response(), content)
    }

    /// Returns whether the response is sent with a body.
    pub(crate) fn content(&self) -> ContentMode {
        self.content
    }

    /// Returns the response, with the reason as its body.
    ///
    /// The body is empty if the request is a HEAD.
    pub fn into_response(self) -> Response<Bytes> {
        // RFC 9110 section 9.3.2: the response to a HEAD has no content.
        let body = match self.content {
            ContentMode::Omitted => Bytes::new(),
            ContentMode::Sent => format!("{}\n", self.reason).into(),
        };
        let mut response = Response::new(body);
        *response.status_mut() = self.status;
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
        if self.advice == Advice::Method {
            headers.insert(header::ALLOW, HeaderValue::from_static("GET"));
        }
        if self.advice == Advice::Connect {
            headers.insert(header::ALLOW, HeaderValue::from_static("CONNECT"));
        }
        if matches!(self.advice, Advice::Upgrade | Advice::Version) {
            headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
            headers.insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
        }
        if matches!(self.advice, Advice::Version | Advice::Http2Version) {
            headers.insert(header::SEC_WEBSOCKET_VERSION, HeaderValue::from_static("13"));
        }
        response
    }
}

impl From<HeadError> for Rejection {
    fn from(error: HeadError) -> Self {
        let reason = match error {
            HeadError::FirstLineTooLong { .. } => "request line too long",
            HeadError::TooLong { .. } => "request header too large",
            HeadError::TooManyFields { .. } => "too many request header fields",
            HeadError::Tls => "TLS instead of plain HTTP",
            HeadError::NotHttp => "first line is not an HTTP/1.1 request line",
            HeadError::BareLf => "LF without CR in the request header",
            HeadError::BareCr => "CR without LF in the request header",
            HeadError::ControlByte => "control byte in the request header",
            HeadError::Folded => "folded request header field",
            HeadError::Malformed(_) => "malformed request header",
            HeadError::Version => return Self::http_version(),
            HeadError::Incomplete => "incomplete request header",
        };
        match error {
            // RFC 9112 section 3: a request line that is too long is answered with 414.
            HeadError::FirstLineTooLong { .. } => Self::new(StatusCode::URI_TOO_LONG, reason, Advice::None),
            HeadError::TooLong { .. } | HeadError::TooManyFields { .. } => {
                let status = StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE;
                Self::new(status, reason, Advice::None)
            }
            _ => Self::bad_request(reason),
        }
    }
}
