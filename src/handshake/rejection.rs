//! The answer to a request that does not open a WebSocket connection.

use bytes::Bytes;
use http::{HeaderValue, Response, StatusCode, header};

use super::{encode::encode_final, head::HeadError};

/// Why a request does not open a WebSocket connection: the client erred, and this is what it is told.
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
}

/// What the response adds for a client that would do better.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Advice {
    None,
    Method,
    Upgrade,
    Version,
}

impl Rejection {
    pub(super) fn bad_request(reason: &'static str) -> Self {
        Self { status: StatusCode::BAD_REQUEST, reason, advice: Advice::None }
    }

    pub(super) fn forbidden(reason: &'static str) -> Self {
        Self { status: StatusCode::FORBIDDEN, reason, advice: Advice::None }
    }

    pub(super) fn method() -> Self {
        // RFC 9110 section 15.5.6: 405 comes with the methods that are allowed.
        let status = StatusCode::METHOD_NOT_ALLOWED;
        Self { status, reason: "a WebSocket connection is opened with GET", advice: Advice::Method }
    }

    pub(super) fn http_version() -> Self {
        let status = StatusCode::HTTP_VERSION_NOT_SUPPORTED;
        Self { status, reason: "a WebSocket connection is opened over HTTP/1.1", advice: Advice::None }
    }

    pub(super) fn upgrade_required() -> Self {
        // RFC 9110 section 15.5.22: 426 comes with the protocol to upgrade to.
        let status = StatusCode::UPGRADE_REQUIRED;
        Self {
            status,
            reason: "this is a WebSocket server: Upgrade: websocket is missing",
            advice: Advice::Upgrade,
        }
    }

    pub(super) fn websocket_version() -> Self {
        // RFC 6455 section 4.4: the versions that are understood.
        let status = StatusCode::UPGRADE_REQUIRED;
        Self { status, reason: "the version of the WebSocket protocol is 13", advice: Advice::Version }
    }

    /// The status of the response.
    pub fn status(&self) -> StatusCode {
        self.status
    }

    /// What was wrong, in a few words.
    pub fn reason(&self) -> &str {
        self.reason
    }

    /// The response that tells the client, as it goes over the wire where the connection ends with it.
    pub fn encode(self) -> Vec<u8> {
        encode_final(self.into_response())
    }

    /// The response that tells the client: the reason is its body.
    pub fn into_response(self) -> Response<Bytes> {
        let mut response = Response::new(Bytes::from(format!("{}\n", self.reason)));
        *response.status_mut() = self.status;
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
        if self.advice == Advice::Method {
            headers.insert(header::ALLOW, HeaderValue::from_static("GET"));
        }
        if matches!(self.advice, Advice::Upgrade | Advice::Version) {
            headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
            headers.insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
        }
        if self.advice == Advice::Version {
            headers.insert(header::SEC_WEBSOCKET_VERSION, HeaderValue::from_static("13"));
        }
        response
    }
}

impl From<HeadError> for Rejection {
    fn from(error: HeadError) -> Self {
        let reason = match error {
            HeadError::TooLong { .. } => "the request header is too large",
            HeadError::TooManyFields { .. } => "the request header has too many fields",
            HeadError::BareLf => "a line ends in LF alone",
            HeadError::BareCr => "CR without LF",
            HeadError::ControlByte => "control byte in the request header",
            HeadError::Folded => "folded header field",
            HeadError::Malformed(_) => "malformed request header",
            HeadError::Version => return Self::http_version(),
            HeadError::Incomplete => "incomplete request header",
        };
        match error {
            HeadError::TooLong { .. } | HeadError::TooManyFields { .. } => {
                let status = StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE;
                Self { status, reason, advice: Advice::None }
            }
            _ => Self::bad_request(reason),
        }
    }
}
