//! Why a connection ended, and whether the client connects again.

use std::{fmt, sync::Arc};

use http::StatusCode;

#[cfg(feature = "proxy")]
use crate::error::ProxyError;
use crate::{CloseCode, CloseFrame, Error};

/// Why a connection ended, or could not be opened.
///
/// Returned by [`recv`](super::Reconnecting::recv) if the client has stopped, and part of
/// [`State`](super::State). Cloning is cheap.
///
/// # Which are final
/// By default the client connects again unless:
///
/// - the response of the server has a status 4xx other than 408, 425 and 429;
/// - the caller supplied an invalid request, or invalid settings of TLS or a proxy;
/// - the certificate of the server is not valid, or a proxy rejects the credentials;
/// - the server closed with code 1000, 1002, 1003, or 1007 to 1010;
/// - the connection failed with one of these codes on this side: a violation of the protocol or of
///   a limit would most likely occur again.
///
/// [`Builder::classify`](super::Builder::classify) can decide otherwise.
///
/// ```
/// use fullduplex::{CloseCode, CloseFrame, reconnect::Reason};
///
/// let closed = |code| Reason::Closed(Some(CloseFrame::new(code, "").expect("a valid code")));
/// assert!(closed(CloseCode::POLICY_VIOLATION).is_final());
/// assert!(!closed(CloseCode::GOING_AWAY).is_final());
/// ```
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum Reason {
    /// No connection could be opened.
    Failed(Arc<Error>),
    /// The connection ended with an error, or the hook of [`Builder::on_open`](super::Builder::on_open)
    /// returned one.
    Lost(Arc<Error>),
    /// Another hook for a new connection returned an error: that of `calls::Attached::on_open`, whose
    /// error is a `CallError`.
    Hook(Arc<dyn std::error::Error + Send + Sync>),
    /// The connection ended with a closing handshake. Contains the Close of the server; `None` if
    /// it has no code.
    Closed(Option<CloseFrame>),
    /// The program closed or dropped the client while no connection was open.
    ///
    /// If one was open, the reason is how that ended.
    Requested,
}

impl Reason {
    /// Returns whether the client does not connect again by default.
    pub fn is_final(&self) -> bool {
        match self {
            Self::Failed(error) | Self::Lost(error) => is_final(error),
            Self::Closed(frame) => frame.as_ref().is_some_and(|frame| is_final_code(frame.code())),
            Self::Hook(_) => false,
            Self::Requested => true,
        }
    }

    /// Returns the error of an attempt that failed or of a connection that was lost.
    pub fn error(&self) -> Option<&Error> {
        match self {
            Self::Failed(error) | Self::Lost(error) => Some(error),
            Self::Hook(_) | Self::Closed(_) | Self::Requested => None,
        }
    }

    /// Returns the code with which the server closed the connection.
    pub fn close_code(&self) -> Option<CloseCode> {
        match self {
            Self::Closed(frame) => frame.as_ref().map(CloseFrame::code),
            _ => None,
        }
    }

    /// Returns whether this is an end that the server intended, and not an error.
    pub(super) fn is_clean(&self) -> bool {
        self.close_code() == Some(CloseCode::NORMAL)
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Failed(_) => f.write_str("cannot connect"),
            Self::Lost(_) => f.write_str("connection lost"),
            Self::Hook(_) => f.write_str("hook for the connection failed"),
            Self::Closed(Some(frame)) => write!(f, "server closed the connection: {frame}"),
            Self::Closed(None) => f.write_str("server closed the connection"),
            Self::Requested => f.write_str("closed by this program"),
        }?;
        match self {
            Self::Failed(error) | Self::Lost(error) if f.alternate() => write!(f, ": {error:#}"),
            Self::Hook(error) if f.alternate() => write!(f, ": {error}"),
            _ => Ok(()),
        }
    }
}

impl std::error::Error for Reason {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Failed(error) | Self::Lost(error) => Some(&**error),
            Self::Hook(error) => Some(&**error),
            Self::Closed(_) | Self::Requested => None,
        }
    }
}

/// The decision of a classifier: see [`Builder::classify`](super::Builder::classify).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum Verdict {
    /// Connect again unless the reason [is final](Reason::is_final).
    #[default]
    Default,
    /// Connect again.
    Retry,
    /// Stop: do not connect again.
    Stop,
}

impl Verdict {
    pub(super) fn is_stop(self, why: &Reason) -> bool {
        match self {
            Self::Default => why.is_final(),
            Self::Retry => false,
            Self::Stop => true,
        }
    }
}

/// Returns whether another attempt would most likely fail in the same way.
fn is_final(error: &Error) -> bool {
    match error {
        // The caller supplied something invalid.
        Error::InvalidHandshake(_) | Error::Send(_) | Error::InvalidClose(_) | Error::Rejected(_) => true,
        // A response that is no valid HTTP, or that has another status, may be that of a proxy.
        Error::Response(error) => error.response().is_some_and(|response| is_final_status(response.status())),
        // The end of the stream without a Close has no code.
        Error::Protocol(_) => error.close_code().is_some_and(is_final_code),
        #[cfg(feature = "tls")]
        Error::Tls(error) => error.is_certificate() || error.is_settings(),
        #[cfg(feature = "proxy")]
        Error::Proxy(error) => is_final_proxy(error),
        // Returned by a hook, which would serialize the same value again.
        #[cfg(feature = "serde")]
        Error::Json(error) => error.kind() == crate::JsonErrorKind::Serialize,
        Error::Transport(_) | Error::Timeout(_) | Error::Closed => false,
    }
}

/// The proxy does not accept the credentials, or the request; or the caller named an invalid proxy.
#[cfg(feature = "proxy")]
fn is_final_proxy(error: &ProxyError) -> bool {
    match error {
        ProxyError::Refused(response) => is_final_status(response.status()),
        ProxyError::CredentialsRejected | ProxyError::NoAcceptableMethod | ProxyError::Invalid(_) => true,
        _ => false,
    }
}

/// RFC 9110 section 15.5: the request is at fault, except for these three, which depend on time.
fn is_final_status(status: StatusCode) -> bool {
    let passing = [StatusCode::REQUEST_TIMEOUT, StatusCode::TOO_EARLY, StatusCode::TOO_MANY_REQUESTS];
    status.is_client_error() && !passing.contains(&status)
}

fn is_final_code(code: CloseCode) -> bool {
    matches!(code.get(), 1000 | 1002 | 1003 | 1007..=1010)
}

#[cfg(test)]
mod tests {
    use std::io;

    use bytes::Bytes;
    use http::Response;

    use super::*;
    use crate::{
        InvalidHandshake, ResponseError, Timeout,
        proto::{ProtocolError, SendError},
    };

    fn status(status: u16) -> Error {
        let response = Response::builder().status(status).body(Bytes::new()).expect("valid");
        ResponseError::Status(Box::new(response)).into()
    }

    #[test]
    fn a_client_error_is_final_except_for_408_425_and_429() {
        for code in 400..500 {
            assert_eq!(is_final(&status(code)), ![408, 425, 429].contains(&code), "{code}");
        }
    }

    #[test]
    fn other_statuses_are_tried_again() {
        for code in (200..400).chain(500..600) {
            assert!(!is_final(&status(code)), "{code}");
        }
    }

    #[cfg(feature = "tls")]
    #[test]
    fn errors_of_certificates_and_of_settings_are_final_and_others_of_tls_are_not() {
        use crate::TlsError;
        for (error, expected) in [
            (TlsError::WrongName, true),
            (TlsError::Expired, true),
            (TlsError::SelfSigned, true),
            (TlsError::UnknownAuthority, true),
            (TlsError::NoRoots, true),
            (TlsError::Pem("no key".into()), true),
            (TlsError::NotTls, false),
            (TlsError::Alert("InternalError".into()), false),
        ] {
            assert_eq!(is_final(&error.into()), expected);
        }
    }

    #[cfg(feature = "proxy")]
    #[test]
    fn a_proxy_that_rejects_credentials_is_final_and_one_that_cannot_reach_the_target_is_not() {
        let refused = |status: u16| {
            let response = Response::builder().status(status).body(Bytes::new()).expect("valid");
            ProxyError::Refused(Box::new(response))
        };
        for (error, expected) in [
            (refused(407), true),
            (ProxyError::CredentialsRejected, true),
            (refused(502), false),
            (refused(429), false),
            (ProxyError::UnexpectedEof, false),
        ] {
            assert_eq!(is_final(&error.into()), expected);
        }
    }

    #[test]
    fn close_codes_1000_1002_1003_and_1007_to_1010_are_final() {
        let finals = [1000, 1002, 1003, 1007, 1008, 1009, 1010];
        for code in (1000..=1015).chain(3000..5000) {
            assert_eq!(is_final_code(CloseCode::from(code)), finals.contains(&code), "{code}");
        }
        assert!(!Reason::Closed(None).is_final(), "1005");
        assert!(!is_final(&Error::Protocol(ProtocolError::EofWithoutClose)), "1006");
    }

    #[test]
    fn faults_of_the_caller_are_final() {
        for error in [
            InvalidHandshake::TlsUnavailable.into(),
            Error::Send(SendError::PingTooLong(200)),
            CloseFrame::new(CloseCode::ABNORMAL, "")
                .map(drop)
                .map_err(Error::from)
                .expect_err("not sendable"),
        ] {
            assert!(is_final(&error), "{error}");
        }
    }

    #[test]
    fn a_violation_found_on_this_side_is_final() {
        for error in [ProtocolError::InvalidUtf8, ProtocolError::MaskedFrame] {
            assert!(is_final(&Error::Protocol(error)), "{error}");
        }
    }

    #[test]
    fn disconnects_timeouts_and_invalid_responses_are_tried_again() {
        let timeouts = [
            Timeout::Connect,
            Timeout::Handshake,
            Timeout::Write,
            Timeout::Close,
            Timeout::Pong,
            Timeout::Idle,
            Timeout::Message,
        ];
        for error in timeouts.map(Error::Timeout) {
            assert!(!is_final(&error), "{error}");
        }
        for kind in
            [io::ErrorKind::ConnectionRefused, io::ErrorKind::ConnectionReset, io::ErrorKind::NotFound]
        {
            assert!(!is_final(&Error::Transport(kind.into())), "{kind}");
        }
        for error in [Error::Closed, ResponseError::Upgrade.into()] {
            assert!(!is_final(&error), "{error}");
        }
    }

    #[test]
    fn a_verdict_overrides_the_default_in_both_directions() {
        let (lost, stopped) = (Reason::Closed(None), Reason::Failed(Arc::new(status(401))));
        assert_eq!([&lost, &stopped].map(|why| Verdict::Default.is_stop(why)), [false, true]);
        assert_eq!([&lost, &stopped].map(|why| Verdict::Retry.is_stop(why)), [false, false]);
        assert_eq!([&lost, &stopped].map(|why| Verdict::Stop.is_stop(why)), [true, true]);
    }

    #[test]
    fn each_text_of_a_reason_is_printed_once() {
        let reason = Reason::Lost(Arc::new(Error::Protocol(ProtocolError::EofWithoutClose)));
        assert_eq!(reason.to_string(), "connection lost");
        assert_eq!(
            format!("{reason:#}"),
            "connection lost: peer disconnected: transport ended without a close frame"
        );
        let closed = Reason::Closed(Some(CloseFrame::from_static(CloseCode::TRY_AGAIN_LATER, "a\nb")));
        assert!(!closed.to_string().contains('\n'), "{closed}");
    }
}
