//! Normalizes the origins of a server to the form that browsers send.

use std::net::{Ipv4Addr, Ipv6Addr};

use super::respond::{HostPort, host_and_port};

/// Converts an entry to the form of an `Origin` field.
///
/// The result is in lower case, without a default port and a trailing slash.
///
/// RFC 6454 section 6.2. `None` for an entry that no browser sends and that would match nothing: a
/// wildcard, a host without a scheme, a path.
pub(super) fn normalize(entry: &str) -> Option<Box<str>> {
    let entry = entry.to_ascii_lowercase();
    // RFC 6454 section 4, 4: the origin of a page in a file is up to the browser; both of these
    // occur.
    if matches!(&*entry, "null" | "file://") {
        return Some(entry.into());
    }
    let (scheme, rest) = entry.split_once("://")?;
    // Pages are not loaded over WebSocket: the scheme of an origin is that of HTTP or of an
    // application.
    if !is_scheme(scheme) || matches!(scheme, "ws" | "wss" | "file") {
        return None;
    }
    let authority = rest.strip_suffix('/').unwrap_or(rest);
    let (host, port) = match authority.rsplit_once(':') {
        // The colon is part of an IPv6 address.
        Some(_) if authority.ends_with(']') => (authority, ""),
        Some((host, port)) => (host, port),
        None => (authority, ""),
    };
    let (host, port) = (normalize_host(host)?, parse_port(port)?);
    let default = match scheme {
        "http" => Some(80),
        "https" => Some(443),
        _ => None,
    };
    Some(match port.filter(|_| port != default) {
        Some(port) => format!("{scheme}://{host}:{port}").into(),
        None => format!("{scheme}://{host}").into(),
    })
}

/// Returns whether an `Origin` field names this host and port.
///
/// A missing port is the default port of the origin's scheme. RFC 6454 section 5, without the
/// scheme of the server, which may be unknown.
pub(super) fn is_of_host(origin: &str, (host, port): HostPort<'_>) -> bool {
    let Some((scheme, authority)) = origin.split_once("://") else { return false };
    let default = match scheme {
        "http" => 80,
        "https" => 443,
        _ => return false,
    };
    host_and_port(authority).is_some_and(|(own_host, own_port)| {
        own_host.eq_ignore_ascii_case(host) && own_port.unwrap_or(default) == port.unwrap_or(default)
    })
}

/// Returns whether the text is a URI scheme (RFC 3986 section 3.1).
fn is_scheme(text: &str) -> bool {
    text.starts_with(|first: char| first.is_ascii_alphabetic())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte))
}

fn normalize_host(host: &str) -> Option<String> {
    if let Some(address) = host.strip_prefix('[') {
        let address: Ipv6Addr = address.strip_suffix(']')?.parse().ok()?;
        return Some(match (address.to_ipv4_mapped(), address.segments()) {
            // Browsers write the last two groups in hexadecimal, as the others.
            (Some(_), [.., high, low]) => format!("[::ffff:{high:x}:{low:x}]"),
            (None, _) => format!("[{address}]"),
        });
    }
    let last = host.strip_suffix('.').unwrap_or(host).rsplit('.').next()?;
    let is_name = host.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._".contains(&byte));
    // Browsers parse a host whose last label is a number as an IPv4 address, and write four parts.
    let is_number = last.bytes().all(|byte| byte.is_ascii_digit());
    (is_name && (!is_number || host.parse::<Ipv4Addr>().is_ok())).then(|| host.to_owned())
}

/// Parses the port; `Some(None)` if there is none.
fn parse_port(text: &str) -> Option<Option<u16>> {
    match text {
        "" => Some(None),
        // Parsing as `u16` alone would accept a sign.
        _ if text.bytes().all(|byte| byte.is_ascii_digit()) => text.parse().ok().map(Some),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 6454 section 6.2.
    #[test]
    fn an_entry_is_normalized_as_browsers_send_it() {
        for (entry, sent) in [
            ("https://example.com", "https://example.com"),
            ("HTTPS://Example.COM", "https://example.com"),
            ("https://example.com/", "https://example.com"),
            ("https://example.com:443", "https://example.com"),
            ("http://example.com:80/", "http://example.com"),
            ("http://example.com:443", "http://example.com:443"),
            ("http://localhost:03000", "http://localhost:3000"),
            ("http://localhost:", "http://localhost"),
            ("http://192.0.2.1:8080", "http://192.0.2.1:8080"),
            ("https://[2001:DB8:0::1]:8443", "https://[2001:db8::1]:8443"),
            ("http://[::ffff:192.0.2.1]", "http://[::ffff:c000:201]"),
            ("chrome-extension://abcdef", "chrome-extension://abcdef"),
            ("tauri://localhost", "tauri://localhost"),
            ("null", "null"),
            ("file://", "file://"),
        ] {
            assert_eq!(normalize(entry).as_deref(), Some(sent), "{entry}");
        }
    }

    /// RFC 6454 section 6.2.
    #[test]
    fn an_entry_that_no_browser_sends_is_refused() {
        for entry in [
            "",
            "*",
            "example.com",
            "example.com:443",
            "//example.com",
            "://example.com",
            "https:example.com",
            "https://",
            "https:///",
            "https://*",
            "https://*.example.com",
            "https://example.com/app",
            "https://example.com//",
            "https://example.com?a",
            "https://example.com#a",
            "https://user@example.com",
            "https://example.com:*",
            "https://example.com:+80",
            "https://example.com:65536",
            "https://exämple.com",
            "https://a b",
            "https://a, https://b",
            "https://127.1",
            "https://2001:db8::1",
            "https://[example.com]",
            "https://[::1",
            "https://[::1]a",
            "wss://example.com",
            "file:///home",
            "1http://example.com",
        ] {
            assert_eq!(normalize(entry), None, "{entry}");
        }
    }

    #[test]
    fn an_origin_of_the_same_host_has_its_port() {
        for (origin, host, port, same) in [
            ("http://a", "a", None, true),
            ("https://a", "a", None, true),
            ("https://a", "A", Some(443), true),
            ("http://a:8080", "a", Some(8080), true),
            ("https://[::1]:8443", "[::1]", Some(8443), true),
            ("http://a", "a", Some(443), false),
            ("http://a:8080", "a", None, false),
            ("http://b", "a", None, false),
            ("http://a.b", "a", None, false),
            ("http://user@a", "a", None, false),
            ("http://a/", "a", None, false),
            ("null", "a", None, false),
            ("a", "a", None, false),
            ("file://", "", None, false),
            ("chrome-extension://a", "a", None, false),
        ] {
            assert_eq!(is_of_host(origin, (host, port)), same, "{origin} for {host}");
        }
    }
}
