//! The head of the request that began a session.

use std::{borrow::Cow, fmt, net::SocketAddr, sync::Arc, time::SystemTime};

use axum::{
    extract::ConnectInfo,
    http::{request::Parts, uri::Scheme},
};

use super::query::Transport;

/// The request that began a session: its target, its header fields, when it arrived and from where.
///
/// It is kept if [`Settings::keep_handshake`](super::Settings::keep_handshake) is set. It takes about 150
/// bytes more than the text of the head, which is copied into one allocation: the buffer of the request is
/// not kept. Clones share it.
#[derive(Clone)]
pub struct Handshake(Arc<Inner>);

struct Inner {
    /// The target and a line feed, then for each field its name, a colon, its value, and a line feed. None
    /// of these has a line feed in it, and no name a colon.
    text: Box<[u8]>,
    time: SystemTime,
    address: Option<SocketAddr>,
    is_secure: bool,
    transport: Transport,
}

/// An extension of requests that arrived over TLS, for listeners of HTTP/1.1 that know it.
///
/// ```
/// use axum::{Extension, Router};
/// use socketio::engine::Secure;
///
/// let app: Router = Router::new().layer(Extension(Secure));
/// # let _ = app;
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Secure;

impl Handshake {
    /// Copies the head of a request; `None` if it is longer than `max` bytes.
    pub(super) fn new(parts: &Parts, transport: Transport, max: usize) -> Option<Self> {
        let target = parts.uri.path_and_query().map_or("/", |target| target.as_str());
        let fields = parts.headers.iter().map(|(name, value)| name.as_str().len() + value.len() + 2);
        let len = target.len() + 1 + fields.sum::<usize>();
        if len > max {
            return None;
        }
        let mut text = Vec::with_capacity(len);
        text.extend(target.as_bytes());
        text.push(b'\n');
        for (name, value) in &parts.headers {
            for part in [name.as_str().as_bytes(), b":", value.as_bytes(), b"\n"] {
                text.extend(part);
            }
        }
        let address = parts.extensions.get::<ConnectInfo<SocketAddr>>().map(|info| info.0);
        let is_secure =
            parts.uri.scheme() == Some(&Scheme::HTTPS) || parts.extensions.get::<Secure>().is_some();
        let text = text.into();
        Some(Self(Arc::new(Inner { text, time: SystemTime::now(), address, is_secure, transport })))
    }

    /// Returns the path and the query of the request.
    pub fn target(&self) -> &str {
        self.lines().next().and_then(|target| std::str::from_utf8(target).ok()).unwrap_or_default()
    }

    /// Returns the value of a parameter in the query, decoded: that of the first with this name.
    pub fn query(&self, name: &str) -> Option<Cow<'_, str>> {
        let (_, query) = self.target().split_once('?')?;
        let pairs = query.split('&').map(|pair| pair.split_once('=').unwrap_or((pair, "")));
        pairs.filter(|(found, _)| decode(found) == name).map(|(_, value)| decode(value)).next()
    }

    /// Returns the value of a header field, if it is text: that of the first with this name. The name is
    /// in lower case.
    pub fn header(&self, name: &str) -> Option<&str> {
        let (_, value) = self.headers().find(|(found, _)| *found == name)?;
        std::str::from_utf8(value).ok()
    }

    /// Returns the header fields, with their names in lower case.
    pub fn headers(&self) -> impl Iterator<Item = (&str, &[u8])> {
        self.lines().skip(1).filter_map(|line| {
            let colon = line.iter().position(|byte| *byte == b':')?;
            Some((std::str::from_utf8(&line[..colon]).ok()?, &line[colon + 1..]))
        })
    }

    /// Returns the address of the client, or of a proxy before the server.
    ///
    /// It is known if the program serves
    /// [`into_make_service_with_connect_info::<SocketAddr>()`](axum::Router::into_make_service_with_connect_info).
    pub fn address(&self) -> Option<SocketAddr> {
        self.0.address
    }

    /// Returns when the request arrived.
    pub fn time(&self) -> SystemTime {
        self.0.time
    }

    /// Returns whether the request arrived over TLS, as far as the server knows: by the scheme of HTTP/2, or
    /// by [`Secure`].
    pub fn is_secure(&self) -> bool {
        self.0.is_secure
    }

    /// Returns the transport with which the session began.
    pub fn transport(&self) -> Transport {
        self.0.transport
    }

    fn lines(&self) -> impl Iterator<Item = &[u8]> {
        self.0.text.split(|byte| *byte == b'\n')
    }
}

/// Redacted, because heads have passwords and cookies in them.
impl fmt::Debug for Handshake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Handshake")
            .field("len", &self.0.text.len())
            .field("address", &self.0.address)
            .field("transport", &self.0.transport)
            .finish_non_exhaustive()
    }
}

/// Decodes a name or a value of a query. What is no text becomes U+FFFD.
fn decode(text: &str) -> Cow<'_, str> {
    if !text.contains(['%', '+']) {
        return Cow::Borrowed(text);
    }
    let (bytes, mut decoded, mut at) = (text.as_bytes(), Vec::with_capacity(text.len()), 0);
    while at < bytes.len() {
        let digits = bytes.get(at + 1..at + 3).filter(|digits| digits.iter().all(u8::is_ascii_hexdigit));
        let byte = digits.and_then(|digits| u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok());
        match (bytes[at], byte) {
            (b'%', Some(byte)) => {
                decoded.push(byte);
                at += 3;
                continue;
            }
            (b'+', _) => decoded.push(b' '),
            (other, _) => decoded.push(other),
        }
        at += 1;
    }
    Cow::Owned(String::from_utf8_lossy(&decoded).into_owned())
}

#[cfg(test)]
mod tests {
    use axum::http::Request;

    use super::*;

    fn parts(uri: &str) -> Parts {
        let request = Request::builder().uri(uri).header("Cookie", "a=b: c").header("X-Empty", "");
        request.body(()).expect("valid").into_parts().0
    }

    #[test]
    fn a_head_is_kept_in_one_piece() {
        let head = Handshake::new(&parts("/socket.io/?a=b%20c&d=%C3%BC%2&a=2&e"), Transport::Polling, 1000);
        let head = head.expect("short");
        assert_eq!(head.target(), "/socket.io/?a=b%20c&d=%C3%BC%2&a=2&e");
        assert_eq!(head.query("a").as_deref(), Some("b c"));
        assert_eq!(head.query("d").as_deref(), Some("ü%2"));
        assert_eq!((head.query("e").as_deref(), head.query("f")), (Some(""), None));
        assert_eq!(head.header("cookie"), Some("a=b: c"));
        assert_eq!((head.header("x-empty"), head.header("host")), (Some(""), None));
        assert_eq!(head.headers().count(), 2);
        assert_eq!((head.address(), head.is_secure()), (None, false));
        assert!(!format!("{head:?}").contains("a=b"));
    }

    #[test]
    fn a_head_is_limited() {
        let parts = parts("/");
        let len = "/\ncookie:a=b: c\nx-empty:\n".len();
        assert!(Handshake::new(&parts, Transport::WebSocket, len).is_some());
        assert!(Handshake::new(&parts, Transport::WebSocket, len - 1).is_none());
    }

    #[test]
    fn requests_over_tls_are_recognized() {
        let head = |parts: &Parts| Handshake::new(parts, Transport::Polling, 1000).expect("short");
        assert!(head(&parts("https://a.example/")).is_secure());
        let mut parts = parts("/");
        parts.extensions.insert(Secure);
        let address = SocketAddr::from(([127, 0, 0, 1], 80));
        parts.extensions.insert(ConnectInfo(address));
        assert!(head(&parts).is_secure());
        assert_eq!(head(&parts).address(), Some(address));
    }
}
