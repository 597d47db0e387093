//! The responses to requests that are refused.

use axum::{
    body::Body,
    http::{HeaderValue, Response, StatusCode, header},
};

/// Why a request is refused, with the numbers that clients of Engine.IO know.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refusal {
    UnknownTransport,
    UnknownSession,
    BadMethod,
    BadRequest,
    Forbidden,
    /// Of Engine.IO 3 and older, or none.
    UnsupportedVersion,
    /// The body is longer than `maxPayload`.
    TooLarge,
    /// The head of the request is longer than what the settings keep.
    HeadTooLarge,
    /// There are as many sessions as the settings allow.
    TooMany,
    /// The server stops.
    Stopping,
}

impl Refusal {
    fn parts(self) -> (StatusCode, u8, &'static str) {
        match self {
            Self::UnknownTransport => (StatusCode::BAD_REQUEST, 0, "Transport unknown"),
            Self::UnknownSession => (StatusCode::BAD_REQUEST, 1, "Session ID unknown"),
            Self::BadMethod => (StatusCode::BAD_REQUEST, 2, "Bad handshake method"),
            Self::BadRequest => (StatusCode::BAD_REQUEST, 3, "Bad request"),
            Self::Forbidden => (StatusCode::FORBIDDEN, 4, "Forbidden"),
            Self::UnsupportedVersion => (StatusCode::BAD_REQUEST, 5, "Unsupported protocol version"),
            Self::TooLarge => (StatusCode::PAYLOAD_TOO_LARGE, 3, "Payload too large"),
            Self::HeadTooLarge => (StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE, 3, "Head too large"),
            Self::TooMany => (StatusCode::SERVICE_UNAVAILABLE, 4, "Too many sessions"),
            Self::Stopping => (StatusCode::SERVICE_UNAVAILABLE, 4, "The server stops"),
        }
    }

    /// Returns a short name, as the label of a metric.
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::UnknownTransport => "unknown_transport",
            Self::UnknownSession => "unknown_session",
            Self::BadMethod => "bad_method",
            Self::BadRequest => "bad_request",
            Self::Forbidden => "forbidden",
            Self::UnsupportedVersion => "unsupported_version",
            Self::TooLarge => "too_large",
            Self::HeadTooLarge => "head_too_large",
            Self::TooMany => "too_many",
            Self::Stopping => "stopping",
        }
    }

    pub(crate) fn into_response(self) -> Response<Body> {
        let (status, code, message) = self.parts();
        let mut response = Response::new(format!(r#"{{"code":{code},"message":"{message}"}}"#).into());
        *response.status_mut() = status;
        response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        response
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_has_the_status_that_its_client_expects() {
        assert_eq!(Refusal::UnsupportedVersion.into_response().status(), 400);
        assert_eq!(Refusal::Forbidden.into_response().status(), 403);
        assert_eq!(Refusal::TooLarge.into_response().status(), 413);
    }
}
