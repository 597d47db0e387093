//! The rules for an opening handshake, read from the RFCs alone, for the heads that hyper has
//! parsed. The rows of the tables in `fuzz/README.md` have the names of the rules.

use http::{HeaderMap, Method, Request, Response, Uri, Version};

/// The only origin that the server allows.
pub(crate) const ORIGIN: &str = "https://example.com";

/// A rule that a head breaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Rule {
    HttpVersion,
    Method,
    Target,
    Host,
    Authority,
    Body,
    Upgrade,
    Connection,
    Key,
    Version,
    Origin,
    Subprotocols,
    Extensions,
    Status,
    Accept,
}

/// Returns the rules that a request breaks.
#[allow(dead_code, reason = "used by one of the targets")]
pub(crate) fn broken_by_request(request: &Request<()>) -> Vec<Rule> {
    let (headers, uri) = (request.headers(), request.uri());
    let host = once(headers, "host").and_then(host);
    let rules = [
        (Rule::HttpVersion, request.version() == Version::HTTP_11),
        (Rule::Method, request.method() == Method::GET),
        (Rule::Target, is_path_or_absolute(uri)),
        (Rule::Host, host.is_some()),
        (Rule::Authority, host.is_none_or(|host| is_of_host(uri, host))),
        (Rule::Body, has_no_body(headers)),
        (Rule::Upgrade, list_has(headers, "upgrade", "websocket")),
        (Rule::Connection, list_has(headers, "connection", "upgrade")),
        (Rule::Key, once(headers, "sec-websocket-key").is_some_and(is_key)),
        (Rule::Version, once(headers, "sec-websocket-version") == Some(b"13")),
        (
            Rule::Origin,
            values(headers, "origin").is_empty() || once(headers, "origin") == Some(ORIGIN.as_bytes()),
        ),
        (Rule::Subprotocols, is_list_of_tokens(headers, "sec-websocket-protocol")),
        (
            Rule::Extensions,
            values(headers, "sec-websocket-extensions").iter().all(|line| is_extensions(line)),
        ),
    ];
    rules.into_iter().filter(|(_, kept)| !kept).map(|(rule, _)| rule).collect()
}

/// Returns the rules that a response breaks, for a client that has offered nothing, and whose key
/// is answered with `accept`.
#[allow(dead_code, reason = "used by one of the targets")]
pub(crate) fn broken_by_response(response: &Response<()>, accept: &str) -> Vec<Rule> {
    let headers = response.headers();
    let rules = [
        (Rule::HttpVersion, response.version() == Version::HTTP_11),
        (Rule::Status, response.status() == 101),
        (Rule::Upgrade, once(headers, "upgrade").is_some_and(|it| it.eq_ignore_ascii_case(b"websocket"))),
        (Rule::Connection, list_has(headers, "connection", "upgrade")),
        (Rule::Accept, once(headers, "sec-websocket-accept") == Some(accept.as_bytes())),
        (Rule::Subprotocols, values(headers, "sec-websocket-protocol").is_empty()),
        (Rule::Extensions, values(headers, "sec-websocket-extensions").is_empty()),
    ];
    rules.into_iter().filter(|(_, kept)| !kept).map(|(rule, _)| rule).collect()
}

fn values<'a>(headers: &'a HeaderMap, name: &str) -> Vec<&'a [u8]> {
    headers.get_all(name).iter().map(|value| value.as_bytes()).collect()
}

/// Returns the value of a field that occurs once.
fn once<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a [u8]> {
    match values(headers, name)[..] {
        [value] => Some(value),
        _ => None,
    }
}

fn is_path_or_absolute(uri: &Uri) -> bool {
    matches!(uri.scheme_str(), None | Some("http" | "https" | "ws" | "wss")) && uri.path().starts_with('/')
}

/// Parses a host and a port (RFC 3986 section 3.2).
fn host(value: &[u8]) -> Option<(&str, Option<u16>)> {
    let text = str::from_utf8(value).ok()?;
    let end = match text.strip_prefix('[') {
        Some(address) => {
            let (address, _) = address.split_once(']')?;
            let is_address = address.bytes().all(|byte| byte.is_ascii_hexdigit() || b":.".contains(&byte));
            (is_address && !address.is_empty()).then_some(address.len() + 2)?
        }
        None => text.find(':').unwrap_or(text.len()),
    };
    let (host, port) = text.split_at(end);
    let port = match port {
        "" | ":" => None,
        port => Some(port.strip_prefix(':').filter(|port| is_all(port, |byte| byte.is_ascii_digit()))?),
    };
    let is_host = host.starts_with('[') || is_reg_name(host);
    (is_host && !host.is_empty()).then_some((host, port.map(str::parse).transpose().ok()?))
}

/// RFC 3986 section 3.2.2, without percent-encoding: see the table.
fn is_reg_name(text: &str) -> bool {
    is_all(text, |byte| byte.is_ascii_alphanumeric() || b"-._~!$&'()*+,;=".contains(&byte))
}

fn is_of_host(uri: &Uri, (own, port): (&str, Option<u16>)) -> bool {
    let Some(authority) = uri.authority() else { return true };
    let default = if matches!(uri.scheme_str(), Some("https" | "wss")) { 443 } else { 80 };
    host(authority.as_str().as_bytes()).is_some_and(|(other, other_port)| {
        own.eq_ignore_ascii_case(other) && port.unwrap_or(default) == other_port.unwrap_or(default)
    })
}

fn has_no_body(headers: &HeaderMap) -> bool {
    let lengths = values(headers, "content-length");
    values(headers, "transfer-encoding").is_empty() && (lengths.is_empty() || lengths == [b"0"])
}

/// RFC 4648 section 4: 16 bytes are 22 digits and two of padding.
fn is_key(value: &[u8]) -> bool {
    let is_digit = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/');
    matches!(value.strip_suffix(b"=="), Some(digits) if digits.len() == 22 && digits.iter().all(is_digit))
}

/// Splits the lines of a field at commas.
fn elements<'a>(headers: &'a HeaderMap, name: &str) -> Vec<&'a [u8]> {
    let lines = values(headers, name).into_iter();
    lines.flat_map(|line| line.split(|byte| *byte == b',')).map(<[u8]>::trim_ascii).collect()
}

fn list_has(headers: &HeaderMap, name: &str, token: &str) -> bool {
    elements(headers, name).iter().any(|element| element.eq_ignore_ascii_case(token.as_bytes()))
}

/// Returns whether a field, if it is there, has at least one element, and only tokens.
fn is_list_of_tokens(headers: &HeaderMap, name: &str) -> bool {
    let elements = elements(headers, name);
    let mut tokens = elements.iter().filter(|element| !element.is_empty()).peekable();
    elements.is_empty() || tokens.peek().is_some() && tokens.all(|element| is_token(element))
}

/// RFC 6455 section 9.1: the `extension-list` of a line.
fn is_extensions(line: &[u8]) -> bool {
    let mut elements = line
        .split(|byte| *byte == b',')
        .map(<[u8]>::trim_ascii)
        .filter(|element| !element.is_empty())
        .peekable();
    elements.peek().is_some() && elements.all(is_extension)
}

fn is_extension(element: &[u8]) -> bool {
    let mut pieces = element.split(|byte| *byte == b';').map(<[u8]>::trim_ascii);
    pieces.next().is_some_and(is_token) && pieces.all(is_parameter)
}

fn is_parameter(piece: &[u8]) -> bool {
    let Some(equals) = piece.iter().position(|byte| *byte == b'=') else { return is_token(piece) };
    let (name, value) = (piece[..equals].trim_ascii(), piece[equals + 1..].trim_ascii());
    let quoted = value.strip_prefix(b"\"").and_then(|value| value.strip_suffix(b"\""));
    is_token(name) && is_token(quoted.unwrap_or(value))
}

/// RFC 9110 section 5.6.2.
fn is_token(text: &[u8]) -> bool {
    !text.is_empty()
        && text.iter().all(|byte| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(byte))
}

fn is_all(text: &str, is_allowed: impl Fn(u8) -> bool) -> bool {
    text.bytes().all(is_allowed)
}
