//! The errors of an invalid proxy.

use std::convert::Infallible;

use crate::handshake::TargetError;

/// The reason why a string is not a valid proxy.
///
/// No variant contains a part of the string, which can contain a password.
///
/// ```
/// use fullduplex::proxy::{InvalidProxy, Proxy};
///
/// assert_eq!("ftp://proxy.example".parse::<Proxy>(), Err(InvalidProxy::Scheme));
/// assert_eq!("socks4://user:password@proxy.example".parse::<Proxy>(), Err(InvalidProxy::Password));
/// ```
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidProxy {
    /// The URI contains a space, a backslash, or a control character such as CR, LF or NUL.
    #[error("invalid character in proxy URI: space, backslash or control character")]
    Character,
    /// The scheme is not one of `http`, `https`, `socks5h`, `socks5`, `socks4a` and `socks4`.
    #[error("proxy scheme is not http, https, socks5h or socks4a")]
    Scheme,
    /// The host is missing, or is neither a name nor an address.
    #[error("missing or malformed host of the proxy")]
    Host,
    /// The host contains characters beyond ASCII.
    #[error("international host name of the proxy is not in punycode (xn--...)")]
    NotPunycode,
    /// The port is not a number from 1 to 65,535.
    #[error("port of the proxy is not a number from 1 to 65535")]
    Port,
    /// The URI has a path other than `/`, a query or a fragment.
    #[error("proxy URI has a path, a query or a fragment")]
    Path,
    /// The user or password contains a character that must be encoded, such as `@`, or an invalid
    /// `%`.
    #[error("unencoded character in user or password of the proxy; write @ as %40")]
    UserInfo,
    /// The user or password contains a character that the protocol cannot express.
    ///
    /// For HTTP, these are a colon in the user and control characters (RFC 7617 section 2); for
    /// SOCKS4, NUL.
    #[error("user or password contains a character that the protocol of the proxy does not allow")]
    CredentialCharacter,
    /// The user or password has a length that SOCKS cannot express.
    ///
    /// For SOCKS5, both have 1 to 255 bytes (RFC 1929 section 2); for SOCKS4, the user has at most
    /// 255.
    #[error("user or password of a SOCKS proxy is empty or longer than 255 bytes")]
    CredentialLength,
    /// The proxy is a SOCKS4 proxy, and there is a password, which that protocol does not have.
    #[error("SOCKS4 has no password")]
    Password,
    /// A variable of the environment is not a valid proxy.
    #[error("environment variable {name}: {reason}")]
    Variable {
        /// The name of the variable.
        name: &'static str,
        /// The reason.
        reason: Box<InvalidProxy>,
    },
}

impl From<Infallible> for InvalidProxy {
    fn from(never: Infallible) -> Self {
        match never {}
    }
}

impl InvalidProxy {
    /// Returns the error for an invalid authority.
    pub(crate) fn of_authority(error: TargetError) -> Self {
        match error {
            TargetError::NotPunycode => Self::NotPunycode,
            TargetError::Port => Self::Port,
            TargetError::UserInfo => Self::UserInfo,
            _ => Self::Host,
        }
    }
}
