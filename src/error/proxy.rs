//! The errors of opening a tunnel through a proxy.

use std::{fmt, io};

use bytes::Bytes;
use http::Response;

use super::InvalidProxy;
use crate::handshake::HeadError;

/// The reason why a proxy did not open a tunnel.
///
/// The proxy refused or sent an invalid answer, or the caller asked for something invalid: the last
/// three variants.
///
/// Neither `Display` nor `Debug` shows the body of a response, or the value of a field with
/// credentials.
///
/// ```
/// use fullduplex::proxy::{ProxyError, Socks5Reply};
///
/// let error = ProxyError::Socks5(Socks5Reply::HOST_UNREACHABLE);
/// assert_eq!(error.to_string(), "proxy refused the tunnel: SOCKS5 reply 4 (host unreachable)");
/// ```
#[derive(thiserror::Error)]
#[non_exhaustive]
pub enum ProxyError {
    /// An HTTP proxy answered with another status than 2xx, such as 407.
    ///
    /// Contains the response, with the first 16 KiB of its body.
    #[error("proxy refused the tunnel: {}", .0.status())]
    Refused(Box<Response<Bytes>>),
    /// The input is not the head of an HTTP/1.1 response, or exceeds a limit.
    #[error("invalid response of the proxy")]
    Head(#[from] HeadError),
    /// An HTTP proxy sent too many interim responses (1xx).
    #[error("invalid response of the proxy: too many interim responses")]
    TooManyInterim,
    /// A SOCKS5 proxy refused the request.
    #[error("proxy refused the tunnel: SOCKS5 reply {0}")]
    Socks5(Socks5Reply),
    /// A SOCKS4 proxy refused the request.
    #[error("proxy refused the tunnel: SOCKS4 reply {0}")]
    Socks4(Socks4Reply),
    /// A SOCKS5 proxy accepts none of the authentication methods that were offered.
    ///
    /// It may require a user and a password, and the [`Proxy`](crate::proxy::Proxy) has none.
    #[error("proxy refused the tunnel: it accepts none of the offered authentication methods")]
    NoAcceptableMethod,
    /// A SOCKS5 proxy selected an authentication method that was not offered.
    #[error("invalid reply of the proxy: authentication method {0} was not offered")]
    MethodNotOffered(u8),
    /// A SOCKS5 proxy rejected the user or the password.
    #[error("proxy refused the tunnel: it rejected the user or password")]
    CredentialsRejected,
    /// A reply begins with another version number than its protocol requires.
    ///
    /// The peer is probably not a SOCKS proxy, or one of another version.
    #[error("invalid reply of the proxy: version {received} instead of {expected}")]
    Version {
        /// The version that the reply must have.
        expected: u8,
        /// The first byte of the reply.
        received: u8,
    },
    /// A SOCKS5 reply contains an address of an unknown type.
    #[error("invalid reply of the proxy: address type {0} is unknown")]
    AddressType(u8),
    /// The proxy ended the transport before the tunnel was open.
    #[error("proxy closed the connection before the tunnel was open")]
    UnexpectedEof,
    /// The host name of the target is longer than 255 bytes, the maximum of SOCKS.
    #[error("proxy cannot be asked for a host name of {0} bytes: SOCKS allows 255")]
    HostTooLong(usize),
    /// The target is an IPv6 address, and the proxy is a SOCKS4 proxy.
    #[error("proxy cannot be asked for an IPv6 address: SOCKS4 has only IPv4")]
    Ipv6Unsupported,
    /// The caller supplied an invalid proxy, or the environment contains one.
    #[error("invalid proxy: {0}")]
    Invalid(InvalidProxy),
}

impl ProxyError {
    /// Returns the response of an HTTP proxy that refused, from [`Refused`](Self::Refused).
    ///
    /// ```
    /// use fullduplex::proxy::ProxyError;
    /// use http::Response;
    ///
    /// let response = Response::builder().status(407).body("log in".into())?;
    /// let error = ProxyError::Refused(Box::new(response));
    /// assert_eq!(error.to_string(), "proxy refused the tunnel: 407 Proxy Authentication Required");
    /// assert_eq!(error.response().expect("it has answered").body(), "log in");
    /// # Ok::<(), http::Error>(())
    /// ```
    pub fn response(&self) -> Option<&Response<Bytes>> {
        match self {
            Self::Refused(response) => Some(response),
            _ => None,
        }
    }

    /// Returns the kind of an [`io::Error`] that wraps this error.
    pub(super) fn kind(&self) -> io::ErrorKind {
        match self {
            Self::UnexpectedEof => io::ErrorKind::UnexpectedEof,
            Self::HostTooLong(_) | Self::Ipv6Unsupported | Self::Invalid(_) => io::ErrorKind::InvalidInput,
            _ => io::ErrorKind::InvalidData,
        }
    }
}

impl fmt::Debug for ProxyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused(response) => f
                .debug_struct("Refused")
                .field("status", &response.status())
                .field("headers", response.headers())
                .field("body", &format_args!("[{} bytes]", response.body().len()))
                .finish(),
            Self::Head(error) => f.debug_tuple("Head").field(error).finish(),
            Self::TooManyInterim => f.write_str("TooManyInterim"),
            Self::Socks5(reply) => f.debug_tuple("Socks5").field(reply).finish(),
            Self::Socks4(reply) => f.debug_tuple("Socks4").field(reply).finish(),
            Self::NoAcceptableMethod => f.write_str("NoAcceptableMethod"),
            Self::MethodNotOffered(method) => f.debug_tuple("MethodNotOffered").field(method).finish(),
            Self::CredentialsRejected => f.write_str("CredentialsRejected"),
            Self::Version { expected, received } => {
                f.debug_struct("Version").field("expected", expected).field("received", received).finish()
            }
            Self::AddressType(kind) => f.debug_tuple("AddressType").field(kind).finish(),
            Self::UnexpectedEof => f.write_str("UnexpectedEof"),
            Self::HostTooLong(len) => f.debug_tuple("HostTooLong").field(len).finish(),
            Self::Ipv6Unsupported => f.write_str("Ipv6Unsupported"),
            Self::Invalid(error) => f.debug_tuple("Invalid").field(error).finish(),
        }
    }
}

/// The reply of a SOCKS5 proxy that refused a request (RFC 1928 section 6).
///
/// The type holds any number. `Display` adds the meaning, if RFC 1928 defines one.
///
/// ```
/// use fullduplex::proxy::Socks5Reply;
///
/// assert_eq!(Socks5Reply::from(2), Socks5Reply::NOT_ALLOWED);
/// assert_eq!(Socks5Reply::NOT_ALLOWED.to_string(), "2 (connection not allowed by the rules)");
/// assert_eq!(Socks5Reply::from(200).to_string(), "200");
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Socks5Reply(u8);

impl Socks5Reply {
    /// 1: the proxy failed.
    pub const GENERAL_FAILURE: Self = Self(1);
    /// 2: the rules of the proxy do not allow the connection.
    pub const NOT_ALLOWED: Self = Self(2);
    /// 3: the network of the target is unreachable.
    pub const NETWORK_UNREACHABLE: Self = Self(3);
    /// 4: the target is unreachable; often also a name without an address.
    pub const HOST_UNREACHABLE: Self = Self(4);
    /// 5: the target refused the connection.
    pub const CONNECTION_REFUSED: Self = Self(5);
    /// 6: the time to live expired, or the target did not respond.
    pub const TTL_EXPIRED: Self = Self(6);
    /// 7: the proxy does not support the command CONNECT.
    pub const COMMAND_NOT_SUPPORTED: Self = Self(7);
    /// 8: the proxy does not support this type of address.
    pub const ADDRESS_TYPE_NOT_SUPPORTED: Self = Self(8);

    /// Returns the number.
    pub const fn get(self) -> u8 {
        self.0
    }
}

impl From<u8> for Socks5Reply {
    fn from(code: u8) -> Self {
        Self(code)
    }
}

impl fmt::Display for Socks5Reply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let meaning = match *self {
            Self::GENERAL_FAILURE => "general failure",
            Self::NOT_ALLOWED => "connection not allowed by the rules",
            Self::NETWORK_UNREACHABLE => "network unreachable",
            Self::HOST_UNREACHABLE => "host unreachable",
            Self::CONNECTION_REFUSED => "connection refused",
            Self::TTL_EXPIRED => "time to live expired",
            Self::COMMAND_NOT_SUPPORTED => "command not supported",
            Self::ADDRESS_TYPE_NOT_SUPPORTED => "address type not supported",
            Self(code) => return write!(f, "{code}"),
        };
        write!(f, "{} ({meaning})", self.0)
    }
}

/// The reply of a SOCKS4 proxy that refused a request.
///
/// The type holds any number. `Display` adds the meaning, if the protocol defines one.
///
/// ```
/// use fullduplex::proxy::Socks4Reply;
///
/// assert_eq!(Socks4Reply::from(91), Socks4Reply::REJECTED);
/// assert_eq!(Socks4Reply::REJECTED.to_string(), "91 (rejected or failed)");
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Socks4Reply(u8);

impl Socks4Reply {
    /// 91: the proxy rejected the request, or could not connect.
    pub const REJECTED: Self = Self(91);
    /// 92: the proxy requires an identd on the client, and cannot connect to it.
    pub const IDENTD_UNREACHABLE: Self = Self(92);
    /// 93: the identd on the client reports another user.
    pub const IDENTD_MISMATCH: Self = Self(93);

    /// Returns the number.
    pub const fn get(self) -> u8 {
        self.0
    }
}

impl From<u8> for Socks4Reply {
    fn from(code: u8) -> Self {
        Self(code)
    }
}

impl fmt::Display for Socks4Reply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let meaning = match *self {
            Self::REJECTED => "rejected or failed",
            Self::IDENTD_UNREACHABLE => "identd is unreachable",
            Self::IDENTD_MISMATCH => "identd reports another user",
            Self(code) => return write!(f, "{code}"),
        };
        write!(f, "{} ({meaning})", self.0)
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn row_66_debug_output_of_a_refusal_hides_its_body_and_its_challenge() {
        let mut challenge = HeaderValue::from_static("Digest nonce=secret");
        challenge.set_sensitive(true);
        let response = Response::builder()
            .status(407)
            .header("proxy-authenticate", challenge)
            .body(Bytes::from_static(b"secret"))
            .expect("valid");
        let shown = format!("{:?}", ProxyError::Refused(Box::new(response)));
        assert_eq!(
            shown,
            "Refused { status: 407, headers: {\"proxy-authenticate\": Sensitive}, body: [6 bytes] }"
        );
    }

    #[test]
    fn each_defined_reply_has_a_meaning_and_others_have_a_number() {
        for code in 0..=255 {
            let number = code.to_string();
            let (five, four) = (Socks5Reply::from(code).to_string(), Socks4Reply::from(code).to_string());
            assert!(five.starts_with(&number) && four.starts_with(&number), "{five} {four}");
            assert_eq!(five != number, (1..=8).contains(&code), "{five}");
            assert_eq!(four != number, (91..=93).contains(&code), "{four}");
            assert_eq!((Socks5Reply::from(code).get(), Socks4Reply::from(code).get()), (code, code));
        }
    }

    #[test]
    fn the_kind_of_an_io_error_says_who_erred() {
        for (error, kind) in [
            (ProxyError::UnexpectedEof, io::ErrorKind::UnexpectedEof),
            (ProxyError::HostTooLong(256), io::ErrorKind::InvalidInput),
            (ProxyError::Ipv6Unsupported, io::ErrorKind::InvalidInput),
            (ProxyError::Invalid(InvalidProxy::Port), io::ErrorKind::InvalidInput),
            (ProxyError::CredentialsRejected, io::ErrorKind::InvalidData),
        ] {
            assert_eq!(error.kind(), kind, "{error}");
        }
    }
}
