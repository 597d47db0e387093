//! The negotiated subprotocol and extensions.

use http::{HeaderMap, header::SEC_WEBSOCKET_PROTOCOL};

use super::headers::token_list;
#[cfg(feature = "deflate")]
use crate::proto::DeflateParams;

/// The result of the opening handshake: a subprotocol, and extensions.
///
/// It has the size of a pointer, and allocates only if something was negotiated.
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

#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Agreed {
    subprotocol: Option<Box<str>>,
    extensions: Box<str>,
    #[cfg(feature = "deflate")]
    deflate: Option<DeflateParams>,
}

impl Negotiated {
    /// Creates a result with this subprotocol, and without extensions.
    pub fn with_subprotocol(name: &str) -> Self {
        let mut negotiated = Self::default();
        negotiated.set_subprotocol(name);
        negotiated
    }

    /// Adds permessage-deflate with the given parameters.
    ///
    /// ```
    /// use fullduplex::{Deflate, handshake::Negotiated, proto::DeflateParams};
    ///
    /// let params = DeflateParams::from(Deflate::new().context_takeover(true).client_max_window_bits(12));
    /// let negotiated = Negotiated::with_subprotocol("chat").with_deflate(params);
    /// assert_eq!((negotiated.subprotocol(), negotiated.deflate()), (Some("chat"), Some(params)));
    /// assert_eq!(negotiated.extensions(), "permessage-deflate; client_max_window_bits=12");
    /// ```
    #[cfg(feature = "deflate")]
    pub fn with_deflate(self, params: DeflateParams) -> Self {
        self.with_deflate_as(params, params.to_string())
    }

    /// Adds permessage-deflate, with the text of the response.
    #[cfg(feature = "deflate")]
    pub(super) fn with_deflate_as(mut self, params: DeflateParams, answer: String) -> Self {
        let agreed = self.agreed.get_or_insert_default();
        agreed.deflate = Some(params);
        agreed.extensions = answer.into();
        self
    }

    pub(super) fn set_subprotocol(&mut self, name: &str) {
        self.agreed.get_or_insert_default().subprotocol = Some(name.into());
    }

    /// Returns whether neither a subprotocol nor an extension was negotiated.
    pub fn is_empty(&self) -> bool {
        self.agreed.is_none()
    }

    /// Returns the subprotocol.
    ///
    /// `None` if none was chosen, which is not an error (RFC 6455 section 4.2.2).
    pub fn subprotocol(&self) -> Option<&str> {
        self.agreed.as_deref()?.subprotocol.as_deref()
    }

    /// Returns the extensions, in the format of `Sec-WebSocket-Extensions`.
    ///
    /// RFC 6455 section 9.1. Empty if there are none.
    pub fn extensions(&self) -> &str {
        self.agreed.as_deref().map_or("", |agreed| &agreed.extensions)
    }

    /// Returns the parameters of permessage-deflate; `None` if it was not negotiated.
    #[cfg(feature = "deflate")]
    pub fn deflate(&self) -> Option<DeflateParams> {
        self.agreed.as_deref()?.deflate
    }
}

/// Returns the subprotocols that a client offers, in its order of preference.
///
/// `None` if the value is not a list of tokens, or an empty one (RFC 6455 section 4.3: `1#token`).
/// Returns an empty list for a request without the field.
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

/// Chooses the first supported subprotocol that the client offers.
///
/// Names are compared case-sensitively.
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
    fn the_first_supported_subprotocol_is_chosen() {
        assert_eq!(choose(&["b", "a"], &["a", "b"]).subprotocol(), Some("b"));
    }

    #[test]
    fn no_common_subprotocol_is_not_an_error() {
        assert!(choose(&["A"], &["a"]).is_empty());
        assert!(choose(&[], &["a"]).is_empty());
    }

    #[test]
    fn negotiated_has_the_size_of_a_pointer() {
        assert_eq!(size_of::<Negotiated>(), size_of::<usize>());
    }
}
