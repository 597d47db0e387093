//! What both ends agree on: a subprotocol, and extensions.

use http::{HeaderMap, header::SEC_WEBSOCKET_PROTOCOL};

use super::headers::token_list;

/// What the opening handshake agreed on: a subprotocol, and extensions.
///
/// It is as large as a pointer, and takes nothing from the heap where nothing was agreed on.
///
/// ```
/// use fullduplex::handshake::Negotiated;
///
/// assert_eq!(Negotiated::default().subprotocol(), None);
/// assert_eq!(Negotiated::with_subprotocol("chat.v2").subprotocol(), Some("chat.v2"));
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Negotiated {
    agreed: Option<Box<Agreed>>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Agreed {
    subprotocol: Box<str>,
}

impl Negotiated {
    /// An agreement on this subprotocol, and on no extension.
    pub fn with_subprotocol(name: &str) -> Self {
        Self { agreed: Some(Box::new(Agreed { subprotocol: name.into() })) }
    }

    /// Whether nothing was agreed on, neither a subprotocol nor an extension.
    pub fn is_empty(&self) -> bool {
        self.agreed.is_none()
    }

    /// The subprotocol; `None` where none was chosen, which is no error (RFC 6455 section 4.2.2).
    pub fn subprotocol(&self) -> Option<&str> {
        self.agreed.as_deref().map(|agreed| &*agreed.subprotocol)
    }

    /// The extensions, as `Sec-WebSocket-Extensions` of the response lists them (RFC 6455 section 9.1); empty for none.
    ///
    /// This version declines every extension.
    pub fn extensions(&self) -> &str {
        ""
    }
}

/// The subprotocols that a client offers, in its order of preference.
///
/// `None` where what it sent is no list of tokens.
///
/// ```
/// use fullduplex::handshake::offered_subprotocols;
/// use http::{HeaderMap, HeaderValue, header::SEC_WEBSOCKET_PROTOCOL};
///
/// let mut headers = HeaderMap::new();
/// headers.append(SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static("chat.v2, chat.v1"));
/// assert_eq!(offered_subprotocols(&headers), Some(vec!["chat.v2", "chat.v1"]));
/// ```
pub fn offered_subprotocols(headers: &HeaderMap) -> Option<Vec<&str>> {
    token_list(headers, &SEC_WEBSOCKET_PROTOCOL)
}

/// The first of the server's subprotocols that the client offers. Names are compared as they stand: their case counts.
pub(super) fn choose_subprotocol(supported: &[Box<str>], offered: &[&str]) -> Negotiated {
    let chosen = supported.iter().find(|name| offered.contains(&&***name));
    chosen.map_or_else(Negotiated::default, |name| Negotiated::with_subprotocol(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn choose(supported: &[&str], offered: &[&str]) -> Negotiated {
        let supported: Vec<Box<str>> = supported.iter().map(|&name| name.into()).collect();
        choose_subprotocol(&supported, offered)
    }

    #[test]
    fn the_servers_order_of_preference_decides() {
        assert_eq!(choose(&["b", "a"], &["a", "b"]).subprotocol(), Some("b"));
    }

    #[test]
    fn no_common_subprotocol_is_no_error() {
        assert!(choose(&["A"], &["a"]).is_empty());
        assert!(choose(&[], &["a"]).is_empty());
    }

    #[test]
    fn it_is_as_large_as_a_pointer() {
        assert_eq!(size_of::<Negotiated>(), size_of::<usize>());
    }
}
