//! A proxy: its protocol, its address, and the credentials for it.

use std::{fmt, str::FromStr};

use super::InvalidProxy;
use crate::handshake::target::{Authority, UserInfo, bracketed, is_forbidden};

/// The maximum length of a user, a password or a host name in SOCKS, in bytes.
///
/// RFC 1928 section 5 and RFC 1929 section 2: their lengths are single bytes. SOCKS4 has no limit;
/// this one limits the request.
pub(super) const MAX_SOCKS_FIELD: usize = 255;

/// The protocol of a proxy.
///
/// ```
/// use fullduplex::proxy::{Proxy, ProxyKind};
///
/// assert_eq!("proxy.example:3128".parse::<Proxy>()?.kind(), ProxyKind::Http);
/// assert_eq!("socks4a://proxy.example".parse::<Proxy>()?.kind(), ProxyKind::Socks4);
/// # Ok::<(), fullduplex::proxy::InvalidProxy>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ProxyKind {
    /// CONNECT over HTTP/1.1 (RFC 9110 section 9.3.6).
    Http,
    /// CONNECT over HTTP/1.1 over TLS.
    Https,
    /// SOCKS5 (RFC 1928), with names that the proxy resolves.
    Socks5,
    /// SOCKS4a, with names that the proxy resolves. It has no IPv6 addresses.
    Socks4,
}

impl ProxyKind {
    /// Returns the scheme that states this protocol in a URI.
    ///
    /// It is the one with which other programs let the proxy resolve names too.
    ///
    /// ```
    /// use fullduplex::proxy::{Proxy, ProxyKind};
    ///
    /// let proxy: Proxy = "socks5://proxy.example".parse()?;
    /// assert_eq!(proxy.kind(), ProxyKind::Socks5);
    /// assert_eq!(proxy.kind().scheme(), "socks5h");
    /// # Ok::<(), fullduplex::proxy::InvalidProxy>(())
    /// ```
    pub const fn scheme(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
            Self::Socks5 => "socks5h",
            Self::Socks4 => "socks4a",
        }
    }

    fn of_scheme(scheme: &str) -> Option<Self> {
        Some(match &*scheme.to_ascii_lowercase() {
            "http" => Self::Http,
            "https" => Self::Https,
            "socks5" | "socks5h" => Self::Socks5,
            "socks4" | "socks4a" => Self::Socks4,
            _ => return None,
        })
    }

    const fn default_port(self) -> u16 {
        match self {
            Self::Http => 80,
            Self::Https => 443,
            Self::Socks5 | Self::Socks4 => 1080,
        }
    }
}

/// A proxy: its protocol, its address, and the credentials for it.
///
/// Parsed from `scheme://user:password@host:port`, of which only the host is required. Without a
/// scheme, the proxy is an HTTP proxy; the module lists the [schemes](super#protocols). The default
/// ports are 80 for `http`, 443 for `https`, and 1080 for SOCKS. User and password are
/// percent-encoded.
///
/// Neither `Display` nor `Debug` shows the user and the password.
///
/// ```
/// use fullduplex::proxy::{Proxy, ProxyKind};
///
/// let proxy: Proxy = "https://user:p%40ss@[2001:db8::1]:8443".parse()?;
/// assert_eq!(proxy.kind(), ProxyKind::Https);
/// assert_eq!((proxy.host(), proxy.port()), ("2001:db8::1", 8443));
/// assert!(proxy.has_credentials());
/// assert_eq!(proxy.to_string(), "https://[2001:db8::1]:8443");
///
/// assert_eq!("proxy.example".parse::<Proxy>()?.to_string(), "http://proxy.example:80");
/// # Ok::<(), fullduplex::proxy::InvalidProxy>(())
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct Proxy {
    kind: ProxyKind,
    host: Box<str>,
    port: u16,
    credentials: Option<UserInfo>,
}

impl Proxy {
    /// Parses a proxy; `default` is the protocol if there is no scheme.
    pub(super) fn parse(uri: &str, default: ProxyKind) -> Result<Self, InvalidProxy> {
        if uri.bytes().any(is_forbidden) {
            return Err(InvalidProxy::Character);
        }
        let (kind, rest) = match uri.split_once("://") {
            Some((scheme, rest)) => (ProxyKind::of_scheme(scheme).ok_or(InvalidProxy::Scheme)?, rest),
            None => (default, uri),
        };
        let (authority, path) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
        // What follows the address would be ignored, and may be a part of an unencoded password.
        if !matches!(path, "" | "/") {
            return Err(InvalidProxy::Path);
        }
        let Authority { userinfo, host, port } =
            Authority::parse(authority).map_err(InvalidProxy::of_authority)?;
        let proxy = Self { kind, host, port: port.unwrap_or(kind.default_port()), credentials: None };
        match userinfo {
            Some(credentials) => proxy.with(credentials),
            None => Ok(proxy),
        }
    }

    /// Sets the user and the password, which are not percent-encoded.
    ///
    /// They replace those of the URI. A SOCKS4 proxy has a user only: its password is empty.
    ///
    /// # Errors
    /// Fails if the protocol of the proxy cannot express them:
    /// [`CredentialCharacter`](InvalidProxy::CredentialCharacter),
    /// [`CredentialLength`](InvalidProxy::CredentialLength), [`Password`](InvalidProxy::Password).
    ///
    /// ```
    /// use fullduplex::proxy::{InvalidProxy, Proxy};
    ///
    /// let proxy: Proxy = "http://proxy.example:3128".parse()?;
    /// let proxy = proxy.credentials("user", "p@ss")?;
    /// assert!(proxy.has_credentials());
    /// assert_eq!(proxy.credentials("us:er", ""), Err(InvalidProxy::CredentialCharacter));
    /// # Ok::<(), InvalidProxy>(())
    /// ```
    pub fn credentials(
        self,
        user: impl AsRef<[u8]>,
        password: impl AsRef<[u8]>,
    ) -> Result<Self, InvalidProxy> {
        self.with(UserInfo { user: user.as_ref().to_vec(), password: password.as_ref().to_vec() })
    }

    fn with(self, credentials: UserInfo) -> Result<Self, InvalidProxy> {
        check(self.kind, &credentials)?;
        Ok(Self { credentials: Some(credentials), ..self })
    }

    /// Returns the protocol.
    pub fn kind(&self) -> ProxyKind {
        self.kind
    }

    /// Returns the host of the proxy, in lower case.
    ///
    /// A name or an address; an IPv6 address has no brackets.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// Returns the port of the proxy; the default of the scheme if the URI has none.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Returns whether the connection to the proxy itself is encrypted, with TLS.
    ///
    /// ```
    /// use fullduplex::proxy::Proxy;
    ///
    /// assert!("https://proxy.example".parse::<Proxy>()?.is_secure());
    /// assert!(!"proxy.example:443".parse::<Proxy>()?.is_secure());
    /// # Ok::<(), fullduplex::proxy::InvalidProxy>(())
    /// ```
    pub fn is_secure(&self) -> bool {
        self.kind == ProxyKind::Https
    }

    /// Returns whether there is a user, with or without a password.
    pub fn has_credentials(&self) -> bool {
        self.credentials.is_some()
    }

    /// Returns the credentials, which only the code that sends them may see.
    pub(super) fn userinfo(&self) -> Option<&UserInfo> {
        self.credentials.as_ref()
    }
}

/// Checks that a protocol can express these credentials.
fn check(kind: ProxyKind, UserInfo { user, password }: &UserInfo) -> Result<(), InvalidProxy> {
    match kind {
        ProxyKind::Http | ProxyKind::Https => {
            // RFC 7617 section 2: no control characters in either, no colon in the user.
            if user.contains(&b':') || user.iter().chain(password).any(u8::is_ascii_control) {
                return Err(InvalidProxy::CredentialCharacter);
            }
        }
        ProxyKind::Socks5 => {
            // RFC 1929 section 2: 1 to 255 bytes each.
            if [user, password].iter().any(|text| text.is_empty() || text.len() > MAX_SOCKS_FIELD) {
                return Err(InvalidProxy::CredentialLength);
            }
        }
        ProxyKind::Socks4 => {
            if !password.is_empty() {
                return Err(InvalidProxy::Password);
            }
            // A NUL ends the user ID in the request.
            if user.contains(&0) {
                return Err(InvalidProxy::CredentialCharacter);
            }
            if user.len() > MAX_SOCKS_FIELD {
                return Err(InvalidProxy::CredentialLength);
            }
        }
    }
    Ok(())
}

impl FromStr for Proxy {
    type Err = InvalidProxy;

    fn from_str(uri: &str) -> Result<Self, InvalidProxy> {
        Self::parse(uri, ProxyKind::Http)
    }
}

impl TryFrom<&str> for Proxy {
    type Error = InvalidProxy;

    fn try_from(uri: &str) -> Result<Self, InvalidProxy> {
        uri.parse()
    }
}

impl TryFrom<String> for Proxy {
    type Error = InvalidProxy;

    fn try_from(uri: String) -> Result<Self, InvalidProxy> {
        uri.parse()
    }
}

impl TryFrom<&String> for Proxy {
    type Error = InvalidProxy;

    fn try_from(uri: &String) -> Result<Self, InvalidProxy> {
        uri.parse()
    }
}

impl From<&Proxy> for Proxy {
    fn from(proxy: &Proxy) -> Self {
        proxy.clone()
    }
}

/// Formats the URI with its port, and without user and password, for logs.
impl fmt::Display for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}:{}", self.kind.scheme(), bracketed(&self.host), self.port)
    }
}

impl fmt::Debug for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Proxy({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn proxy(uri: &str) -> Proxy {
        uri.parse().unwrap_or_else(|error| panic!("{uri}: {error}"))
    }

    fn user_and_password(uri: &str) -> (Vec<u8>, Vec<u8>) {
        let UserInfo { user, password } = proxy(uri).credentials.expect("credentials");
        (user, password)
    }

    #[test]
    fn a_uri_names_protocol_host_and_port() {
        for (uri, shown) in [
            ("proxy", "http://proxy:80"),
            ("proxy:3128", "http://proxy:3128"),
            ("192.0.2.1:3128/", "http://192.0.2.1:3128"),
            ("[2001:DB8::1]:3128", "http://[2001:db8::1]:3128"),
            ("http://proxy", "http://proxy:80"),
            ("HTTPS://Proxy.Example/", "https://proxy.example:443"),
            ("https://[::1]", "https://[::1]:443"),
            ("socks5://proxy", "socks5h://proxy:1080"),
            ("socks5h://proxy:9050", "socks5h://proxy:9050"),
            ("socks4://proxy", "socks4a://proxy:1080"),
            ("SOCKS4A://proxy:", "socks4a://proxy:1080"),
            ("@proxy", "http://proxy:80"),
        ] {
            let proxy = proxy(uri);
            assert_eq!((proxy.to_string(), proxy.has_credentials()), (shown.to_owned(), false), "{uri}");
            assert_eq!(proxy.is_secure(), shown.starts_with("https"), "{uri}");
        }
        assert_eq!(proxy("[::1]:3128").host(), "::1");
    }

    #[test]
    fn an_invalid_uri_is_refused() {
        use InvalidProxy::*;
        for (uri, error) in [
            ("", Host),
            ("http://", Host),
            ("http://:80", Host),
            ("://proxy", Scheme),
            ("ws://proxy", Scheme),
            ("socks://proxy", Scheme),
            ("socks5 ://proxy", Character),
            ("http:proxy:80", Port),
            ("proxy:0", Port),
            ("proxy:65536", Port),
            ("proxy:+1", Port),
            ("::1", Host),
            ("[::1", Host),
            ("[::1]80", Port),
            ("gr\u{fc}ezi.example", NotPunycode),
            ("proxy/path", Path),
            ("proxy?query", Path),
            ("proxy#fragment", Path),
            ("http://user:pass/word@proxy", Path),
            ("http://user:pass#word@proxy", Path),
            ("http://u@v@proxy", UserInfo),
            ("http://u%4@proxy", UserInfo),
            ("http://gr\u{fc}ezi@proxy", UserInfo),
            ("proxy\r\nX: y", Character),
            ("proxy\\@evil", Character),
            ("proxy\0", Character),
        ] {
            assert_eq!(uri.parse::<Proxy>(), Err(error), "{uri:?}");
        }
    }

    #[test]
    fn user_and_password_are_percent_decoded_to_bytes() {
        let both = |user: &[u8], password: &[u8]| (user.to_vec(), password.to_vec());
        assert_eq!(user_and_password("http://us%65r:p%40:%C3@proxy"), both(b"user", b"p@:\xC3"));
        assert_eq!(user_and_password("user@proxy"), both(b"user", b""));
        assert_eq!(user_and_password("http://:@proxy"), both(b"", b""));
        assert_eq!(user_and_password("socks5://u%3A%00:p%00@proxy"), both(b"u:\0", b"p\0"));
        assert_eq!(user_and_password("socks4://u%3Av@proxy"), both(b"u:v", b""));
    }

    #[test]
    fn credentials_that_the_protocol_cannot_express_are_refused() {
        use InvalidProxy::*;
        for (uri, error) in [
            ("http://u%3Av:w@proxy", CredentialCharacter),
            ("https://u%00:w@proxy", CredentialCharacter),
            ("http://u:%0A@proxy", CredentialCharacter),
            ("http://u:%7F@proxy", CredentialCharacter),
            ("socks5://user@proxy", CredentialLength),
            ("socks5://:password@proxy", CredentialLength),
            ("socks4://u%00@proxy", CredentialCharacter),
            ("socks4://user:password@proxy", Password),
        ] {
            assert_eq!(uri.parse::<Proxy>(), Err(error), "{uri}");
        }
    }

    #[test]
    fn credentials_of_socks_have_at_most_255_bytes() {
        let (fits, long) = (vec![b'a'; 255], vec![b'a'; 256]);
        let error = Err(InvalidProxy::CredentialLength);
        assert!(proxy("socks5://proxy").credentials(&fits, &fits).is_ok());
        assert_eq!(proxy("socks5://proxy").credentials(&long, &fits), error);
        assert_eq!(proxy("socks5://proxy").credentials(&fits, &long), error);
        assert!(proxy("socks4://proxy").credentials(&fits, "").is_ok());
        assert_eq!(proxy("socks4://proxy").credentials(&long, ""), error);
        assert!(proxy("http://proxy").credentials(&long, &long).is_ok());
    }

    #[test]
    fn credentials_of_the_caller_replace_those_of_the_uri() {
        let proxy = proxy("http://a:b@proxy").credentials("c@", "d:").expect("valid");
        assert_eq!(proxy, "http://c%40:d%3A@proxy".parse().expect("valid"));
    }

    #[test]
    fn row_66_no_output_shows_user_or_password() {
        let proxy = proxy("http://secret:secret@proxy");
        let shown = format!("{proxy} {proxy:?} {:?}", proxy.clone().credentials("secret:", "secret"));
        assert_eq!(shown, "http://proxy:80 Proxy(http://proxy:80) Err(CredentialCharacter)");
    }
}
