//! The target of a client: a parsed `ws://` or `wss://` URI.

use std::{borrow::Cow, convert::Infallible, fmt, net::Ipv6Addr, str::FromStr};

use base64::{Engine, engine::general_purpose::STANDARD};

/// The reason why a string is not a valid target.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TargetError {
    /// The URI contains a space, a backslash, or a control character such as CR, LF or NUL.
    #[error("invalid character in URI: space, backslash or control character")]
    Character,
    /// The scheme is neither `ws` nor `wss`.
    #[error("URI scheme is not ws or wss")]
    Scheme,
    /// The URI has a fragment, which RFC 6455 section 3 forbids.
    #[error("URI has a fragment; write # as %23")]
    Fragment,
    /// The host is missing, or is neither a name nor an address.
    #[error("missing or malformed host")]
    Host,
    /// The host contains characters beyond ASCII.
    #[error("international host name is not in punycode (xn--...)")]
    NotPunycode,
    /// The port is not a number from 1 to 65,535.
    #[error("port is not a number from 1 to 65535")]
    Port,
    /// The user or password contains a character that must be encoded, such as `@`, or an invalid
    /// `%`.
    #[error("unencoded character in user or password; write @ as %40")]
    UserInfo,
    /// The path or query contains a character that must be encoded.
    ///
    /// These are characters beyond ASCII, ``"<>[]^`{|}``, and a `%` without two hexadecimal digits.
    #[error("unencoded character in path or query; write % as %25")]
    Path,
}

impl From<Infallible> for TargetError {
    fn from(never: Infallible) -> Self {
        match never {}
    }
}

/// The target of a client: a parsed `ws://` or `wss://` URI.
///
/// RFC 6455 section 3. Every value can be dialed and written into a request without further checks:
/// its parts contain only characters that RFC 3986 allows there.
///
/// ```
/// use fullduplex::Target;
///
/// let target: Target = "ws://[::1]:9001/chat?room=1".parse()?;
/// assert_eq!((target.host(), target.port()), ("::1", 9001));
/// assert_eq!(target.host_header(), "[::1]:9001");
/// assert_eq!(target.path_and_query(), "/chat?room=1");
///
/// assert!("wss://example.com/#top".parse::<Target>().is_err());
/// assert!("wss://example.com:99999/".parse::<Target>().is_err());
/// # Ok::<(), fullduplex::handshake::TargetError>(())
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct Target {
    secure: bool,
    host: Box<str>,
    port: u16,
    path_and_query: Box<str>,
    authorization: Option<Box<str>>,
}

impl Target {
    /// Returns whether the scheme is `wss`: WebSocket over TLS.
    pub fn is_secure(&self) -> bool {
        self.secure
    }

    /// Returns the host to dial, in lower case.
    ///
    /// A name or an address; an IPv6 address has no brackets.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// Returns the port to dial; 80 or 443 if the URI has none.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Returns the value of the `Host` field.
    ///
    /// It has brackets around an IPv6 address, and the port unless it is the default of the scheme.
    pub fn host_header(&self) -> String {
        let host = bracketed(&self.host);
        // RFC 6455 section 4.1: a default port is omitted.
        if self.port == default_port(self.secure) { host.into() } else { format!("{host}:{}", self.port) }
    }

    /// Returns the path and query for the request line; at least `/`.
    pub fn path_and_query(&self) -> &str {
        &self.path_and_query
    }

    /// Returns the value of `Authorization` for the user and password of the URI.
    ///
    /// The scheme is Basic (RFC 7617). `None` if the URI has no user.
    pub fn authorization(&self) -> Option<&str> {
        self.authorization.as_deref()
    }

    pub(super) fn copy_authorization(&mut self, from: &Self) {
        self.authorization.clone_from(&from.authorization);
    }
}

impl FromStr for Target {
    type Err = TargetError;

    fn from_str(uri: &str) -> Result<Self, TargetError> {
        if uri.bytes().any(is_forbidden) {
            return Err(TargetError::Character);
        }
        let (scheme, rest) = uri.split_once("://").ok_or(TargetError::Scheme)?;
        let secure = match scheme {
            _ if scheme.eq_ignore_ascii_case("ws") => false,
            _ if scheme.eq_ignore_ascii_case("wss") => true,
            _ => return Err(TargetError::Scheme),
        };
        // RFC 6455 section 3: fragment identifiers must not be used.
        if rest.contains('#') {
            return Err(TargetError::Fragment);
        }
        let (authority, path) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
        let Authority { userinfo, host, port } = Authority::parse(authority)?;
        Ok(Self {
            secure,
            host,
            port: port.unwrap_or(default_port(secure)),
            path_and_query: parse_path(path)?,
            authorization: userinfo.map(authorization_of).transpose()?,
        })
    }
}

const fn default_port(secure: bool) -> u16 {
    if secure { 443 } else { 80 }
}

/// Returns whether a URI must not contain this byte in any part.
pub(crate) fn is_forbidden(byte: u8) -> bool {
    // Browsers parse a backslash as `/`, other clients as part of the user. The two readings can
    // name different hosts.
    byte <= b' ' || byte == 0x7F || byte == b'\\'
}

/// Returns a host as URIs contain it: with brackets around an IPv6 address.
pub(crate) fn bracketed(host: &str) -> Cow<'_, str> {
    if host.contains(':') { Cow::Owned(format!("[{host}]")) } else { Cow::Borrowed(host) }
}

/// The authority of a URI (RFC 3986 section 3.2).
pub(crate) struct Authority {
    pub(crate) userinfo: Option<UserInfo>,
    /// In lower case; an IPv6 address has no brackets.
    pub(crate) host: Box<str>,
    pub(crate) port: Option<u16>,
}

impl Authority {
    pub(crate) fn parse(text: &str) -> Result<Self, TargetError> {
        let (userinfo, host_and_port) = match text.rsplit_once('@') {
            Some((userinfo, host_and_port)) => (Some(userinfo), host_and_port),
            None => (None, text),
        };
        let (host, port) = parse_host_and_port(host_and_port)?;
        let userinfo = userinfo.filter(|text| !text.is_empty()).map(UserInfo::parse).transpose()?;
        Ok(Self { userinfo, host, port })
    }
}

fn parse_host_and_port(text: &str) -> Result<(Box<str>, Option<u16>), TargetError> {
    if !text.is_ascii() {
        return Err(TargetError::NotPunycode);
    }
    let (host, port) = match text.strip_prefix('[') {
        Some(text) => {
            let (host, port) = text.split_once(']').ok_or(TargetError::Host)?;
            host.parse::<Ipv6Addr>().map_err(|_| TargetError::Host)?;
            match port.strip_prefix(':') {
                Some(port) => (host, port),
                None if port.is_empty() => (host, ""),
                None => return Err(TargetError::Port),
            }
        }
        None => {
            let (host, port) = text.split_once(':').unwrap_or((text, ""));
            // RFC 3986 allows more, such as `%`, but names on the network do not contain it.
            // Encoding in a host only obscures it.
            let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
            if host.is_empty() || !host.bytes().all(allowed) {
                return Err(TargetError::Host);
            }
            (host, port)
        }
    };
    Ok((host.to_ascii_lowercase().into(), parse_port(port)?))
}

/// Parses the port; `None` if it is empty, which means the default (RFC 3986 section 3.2.3).
fn parse_port(text: &str) -> Result<Option<u16>, TargetError> {
    if text.is_empty() {
        return Ok(None);
    }
    // Parsing as `u16` alone would accept a sign.
    if !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(TargetError::Port);
    }
    match text.parse() {
        Ok(0) | Err(_) => Err(TargetError::Port),
        Ok(port) => Ok(Some(port)),
    }
}

/// Parses the resource name (RFC 6455 section 3): the path, `/` if it is empty, and the query.
fn parse_path(text: &str) -> Result<Box<str>, TargetError> {
    // RFC 3986 sections 3.3 and 3.4: pchar, and the delimiters of the parts.
    if !is_encoded(text, b":@/?") {
        return Err(TargetError::Path);
    }
    Ok(if text.starts_with('/') { text.into() } else { format!("/{text}").into() })
}

/// Returns whether a part of a URI is correctly percent-encoded.
///
/// `more` lists the bytes that this part allows besides those allowed in every part.
fn is_encoded(text: &str, more: &[u8]) -> bool {
    // RFC 3986 sections 2.2 and 2.3: unreserved and sub-delims.
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~!$&'()*+,;=".contains(&byte);
    let mut bytes = text.bytes();
    let is_digit =
        |bytes: &mut std::str::Bytes<'_>| bytes.next().is_some_and(|byte| byte.is_ascii_hexdigit());
    while let Some(byte) = bytes.next() {
        let fine = match byte {
            b'%' => is_digit(&mut bytes) && is_digit(&mut bytes),
            byte => plain(byte) || more.contains(&byte),
        };
        if !fine {
            return false;
        }
    }
    true
}

/// The user and password of a URI, decoded.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct UserInfo {
    pub(crate) user: Vec<u8>,
    pub(crate) password: Vec<u8>,
}

impl UserInfo {
    /// Parses a user and a password, which a colon separates.
    fn parse(text: &str) -> Result<Self, TargetError> {
        // RFC 3986 section 3.2.1. With a second `@` or a bracket, the host is ambiguous.
        if !is_encoded(text, b":") {
            return Err(TargetError::UserInfo);
        }
        let (user, password) = text.split_once(':').unwrap_or((text, ""));
        Ok(Self { user: percent_decode(user)?, password: percent_decode(password)? })
    }

    /// Returns the value of `Authorization` with the scheme Basic (RFC 7617 section 2).
    pub(crate) fn basic(&self) -> String {
        format!("Basic {}", STANDARD.encode([&self.user[..], b":", &self.password[..]].concat()))
    }
}

fn authorization_of(userinfo: UserInfo) -> Result<Box<str>, TargetError> {
    // RFC 7617 section 2: a user name must not contain a colon, which separates it from the
    // password.
    if userinfo.user.contains(&b':') {
        return Err(TargetError::UserInfo);
    }
    Ok(userinfo.basic().into())
}

fn percent_decode(text: &str) -> Result<Vec<u8>, TargetError> {
    let mut decoded = Vec::with_capacity(text.len());
    let mut bytes = text.bytes();
    let digit = |byte: Option<u8>| byte.and_then(|byte| char::from(byte).to_digit(16));
    while let Some(byte) = bytes.next() {
        decoded.push(match byte {
            b'%' => match (digit(bytes.next()), digit(bytes.next())) {
                (Some(high), Some(low)) => (high * 16 + low) as u8,
                _ => return Err(TargetError::UserInfo),
            },
            byte => byte,
        });
    }
    Ok(decoded)
}

impl TryFrom<&str> for Target {
    type Error = TargetError;

    fn try_from(uri: &str) -> Result<Self, TargetError> {
        uri.parse()
    }
}

impl TryFrom<String> for Target {
    type Error = TargetError;

    fn try_from(uri: String) -> Result<Self, TargetError> {
        uri.parse()
    }
}

impl TryFrom<&String> for Target {
    type Error = TargetError;

    fn try_from(uri: &String) -> Result<Self, TargetError> {
        uri.parse()
    }
}

/// Converts a [`Uri`](http::Uri), which has no fragment: to reject one, parse the string instead.
impl TryFrom<http::Uri> for Target {
    type Error = TargetError;

    fn try_from(uri: http::Uri) -> Result<Self, TargetError> {
        uri.to_string().parse()
    }
}

impl TryFrom<&http::Uri> for Target {
    type Error = TargetError;

    fn try_from(uri: &http::Uri) -> Result<Self, TargetError> {
        uri.to_string().parse()
    }
}

impl From<&Target> for Target {
    fn from(target: &Target) -> Self {
        target.clone()
    }
}

/// Formats the URI without user and password, for logs. A query can still contain a secret.
impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.secure { "wss" } else { "ws" };
        write!(f, "{scheme}://{}{}", self.host_header(), self.path_and_query)
    }
}

impl fmt::Debug for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Target({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target(uri: &str) -> Target {
        uri.parse().unwrap_or_else(|error| panic!("{uri}: {error}"))
    }

    #[test]
    fn a_default_port_is_dialed_and_omitted_from_host() {
        for (uri, port, header) in [
            ("ws://example.com/", 80, "example.com"),
            ("wss://example.com/", 443, "example.com"),
            ("WSS://Example.COM:443/", 443, "example.com"),
            ("ws://example.com:443/", 443, "example.com:443"),
            ("ws://example.com:/", 80, "example.com"),
            ("ws://192.0.2.1:8080", 8080, "192.0.2.1:8080"),
            ("wss://[2001:DB8::1]", 443, "[2001:db8::1]"),
        ] {
            let target = target(uri);
            assert_eq!((target.port(), &*target.host_header()), (port, header), "{uri}");
        }
    }

    #[test]
    fn the_host_to_dial_has_no_brackets() {
        assert_eq!(target("ws://[::1]:8080/").host(), "::1");
    }

    #[test]
    fn the_resource_name_begins_with_a_slash() {
        for (uri, path) in [
            ("ws://a", "/"),
            ("ws://a/", "/"),
            ("ws://a?b=c", "/?b=c"),
            ("ws://a/b?c=d/@e", "/b?c=d/@e"),
            ("ws://a//b:99999", "//b:99999"),
        ] {
            assert_eq!(target(uri).path_and_query(), path, "{uri}");
        }
    }

    #[test]
    fn an_invalid_websocket_uri_is_refused() {
        use TargetError::*;
        for (uri, error) in [
            ("", Scheme),
            ("example.com", Scheme),
            ("/chat", Scheme),
            ("http://example.com/", Scheme),
            ("ws:/example.com/", Scheme),
            ("ws://example.com/#top", Fragment),
            ("ws://example.com#", Fragment),
            ("ws://", Host),
            ("ws:///path", Host),
            ("ws://:80/", Host),
            ("ws://a%62c/", Host),
            ("ws://[::1/", Host),
            ("ws://[127.0.0.1]/", Host),
            ("ws://[fe80::1%25eth0]/", Host),
            ("ws://[::1]8080/", Port),
            ("ws://a:99999/", Port),
            ("ws://a:0/", Port),
            ("ws://a:+80/", Port),
            ("ws://::1/", Host),
            ("ws://a:80:80/", Port),
            ("ws://grüezi.example/", NotPunycode),
            ("ws://a/grüezi", Path),
            ("ws://a/%", Path),
            ("ws://a/%4", Path),
            ("ws://a/?%4g", Path),
            ("ws://u@v@a/", UserInfo),
            ("ws://[x]@evil.example/", UserInfo),
            ("ws://grüezi@a/", UserInfo),
            ("ws://u%4@a/", UserInfo),
            ("ws://u%3Av:w@a/", UserInfo),
        ] {
            assert_eq!(uri.parse::<Target>(), Err(error), "{uri}");
        }
    }

    #[test]
    fn unencoded_characters_are_refused_and_others_are_kept() {
        for byte in "\"<>[]^`{|}".chars() {
            for (uri, error) in [
                (format!("ws://a/{byte}"), TargetError::Path),
                (format!("ws://a?{byte}"), TargetError::Path),
                (format!("ws://{byte}@a/"), TargetError::UserInfo),
                (format!("ws://u:{byte}@a/"), TargetError::UserInfo),
                (format!("ws://a{byte}/"), TargetError::Host),
            ] {
                assert_eq!(uri.parse::<Target>(), Err(error), "{uri}");
            }
        }
        let plain = "/AZaz09-._~!$&'()*+,;=:@%4f%C3/?/?:@!";
        assert_eq!(target(&format!("ws://a{plain}")).path_and_query(), plain);
        assert!(target("ws://AZaz09-._~!$&'()*+,;=:%4f%C3::@a/").authorization().is_some());
    }

    #[test]
    fn spaces_backslashes_and_control_characters_are_refused_anywhere() {
        for byte in ['\r', '\n', '\0', ' ', '\t', '\x7F', '\\'] {
            for uri in [
                format!("ws://a{byte}b/"),
                format!("ws://a/{byte}"),
                format!("{byte}ws://a/"),
                format!("wss://good.example{byte}@evil.example/"),
            ] {
                assert_eq!(uri.parse::<Target>(), Err(TargetError::Character), "{uri:?}");
            }
        }
    }

    #[test]
    fn user_and_password_appear_only_in_basic_authorization() {
        let target = target("ws://us%65r:p%40ss:w@example.com/");
        // base64 of "user:p@ss:w"
        assert_eq!(target.authorization(), Some("Basic dXNlcjpwQHNzOnc="));
        assert_eq!(target.host_header(), "example.com");
        assert_eq!(format!("{target} {target:?}"), "ws://example.com/ Target(ws://example.com/)");
    }

    #[test]
    fn an_http_uri_is_parsed_from_its_display() {
        let uri = http::Uri::from_static("ws://example.com:81/a?b");
        assert_eq!(Target::try_from(uri), Ok(target("ws://example.com:81/a?b")));
        assert_eq!(Target::try_from(http::Uri::from_static("/a")), Err(TargetError::Scheme));
    }
}
