//! Bearer tokens among the subprotocols that a client offers.

use std::fmt;

use http::{HeaderMap, HeaderValue, header::SEC_WEBSOCKET_PROTOCOL};

use super::{headers::is_token, negotiate::offered_subprotocols, rejection::Rejection};

/// A bearer token that a client has sent as a subprotocol.
///
/// Debug output does not show it. It is not `PartialEq`: compare secrets in constant time, for
/// example with the crate `subtle`.
#[derive(Clone)]
pub struct BearerToken(Box<str>);

impl BearerToken {
    /// Returns the token, without the prefix.
    ///
    /// It is a token as RFC 9110 section 5.6.2 defines it, which includes base64url and JSON Web
    /// Tokens.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for BearerToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("BearerToken(redacted)")
    }
}

/// Removes the bearer token from the subprotocols that a client offers, and returns it.
///
/// A client that cannot set `Authorization`, such as a browser, offers a subprotocol that consists
/// of a prefix and the token, and beside it those that it speaks:
///
/// ```js
/// new WebSocket("wss://example.com/", ["chat.v1", "bearer." + token])
/// ```
///
/// This function is for servers on another HTTP library, before they call
/// [`respond`](super::respond). [`Server::bearer_prefix`](super::Server::bearer_prefix) does the
/// same for [`read_request`](crate::Server::read_request).
///
/// Returns `None`, and changes nothing, if no offered subprotocol begins with the prefix. It is
/// compared case-sensitively. What remains of the offer is one field; if nothing remains, the field
/// is removed.
///
/// # Errors
/// Status 400 if the field is not a list of tokens, if nothing follows the prefix, and if there are
/// two tokens. The values of the field are then marked as sensitive, so that Debug output hides
/// them. A missing token is the application's to refuse, with status 401.
///
/// ```
/// use fullduplex::handshake::take_bearer_token;
/// use http::{HeaderMap, HeaderValue, header::SEC_WEBSOCKET_PROTOCOL};
///
/// let mut headers = HeaderMap::new();
/// headers.insert(SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static("chat.v1, bearer.c2VjcmV0"));
/// let token = take_bearer_token(&mut headers, "bearer.")?.expect("a token");
/// assert_eq!(token.as_str(), "c2VjcmV0");
/// assert_eq!(headers[SEC_WEBSOCKET_PROTOCOL], "chat.v1");
/// # Ok::<(), fullduplex::handshake::Rejection>(())
/// ```
pub fn take_bearer_token(headers: &mut HeaderMap, prefix: &str) -> Result<Option<BearerToken>, Rejection> {
    match parse(headers, prefix) {
        Ok((None, _)) => Ok(None),
        Ok((Some(token), rest)) => {
            match rest {
                Some(rest) => _ = headers.insert(SEC_WEBSOCKET_PROTOCOL, rest),
                None => _ = headers.remove(SEC_WEBSOCKET_PROTOCOL),
            }
            Ok(Some(token))
        }
        Err(rejection) => {
            if let http::header::Entry::Occupied(mut values) = headers.entry(SEC_WEBSOCKET_PROTOCOL) {
                values.iter_mut().for_each(|value| value.set_sensitive(true));
            }
            Err(rejection)
        }
    }
}

/// Returns the token, and the value of the field without it.
fn parse(headers: &HeaderMap, prefix: &str) -> Result<(Option<BearerToken>, Option<HeaderValue>), Rejection> {
    let offered = offered(headers)?;
    let (token, rest) = split(offered, prefix)?;
    let token = token.map(|token| BearerToken(token.into()));
    if rest.is_empty() {
        return Ok((token, None));
    }
    // Tokens and commas are valid in a value.
    let rest = HeaderValue::try_from(rest.join(", ")).map_err(|_| malformed())?;
    Ok((token, Some(rest)))
}

/// Returns the offered subprotocols.
pub(super) fn offered(headers: &HeaderMap) -> Result<Vec<&str>, Rejection> {
    offered_subprotocols(headers).ok_or(malformed())
}

fn malformed() -> Rejection {
    Rejection::bad_request("malformed Sec-WebSocket-Protocol")
}

/// Splits the offer into the token and the subprotocols.
pub(super) fn split<'a>(
    mut offered: Vec<&'a str>,
    prefix: &str,
) -> Result<(Option<&'a str>, Vec<&'a str>), Rejection> {
    let mut token = None;
    let mut twice = false;
    offered.retain(|name| match name.strip_prefix(prefix) {
        Some(rest) => {
            twice |= token.replace(rest).is_some();
            false
        }
        None => true,
    });
    match token {
        // The server must not choose between two identities.
        _ if twice => Err(Rejection::bad_request("duplicate bearer token")),
        Some("") => Err(Rejection::bad_request("empty bearer token")),
        token => Ok((token, offered)),
    }
}

/// A bearer token that a client offers, with its prefix. Debug output does not show it.
#[derive(Clone)]
pub(super) struct OfferedToken(Box<str>);

impl OfferedToken {
    /// Joins prefix and token; `None` if either is empty or not a token.
    pub(super) fn new(prefix: &str, token: &str) -> Option<Self> {
        (is_token(prefix) && is_token(token)).then(|| Self([prefix, token].concat().into()))
    }

    pub(super) fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for OfferedToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("redacted")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(values: &[&'static str]) -> HeaderMap {
        values.iter().map(|value| (SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static(value))).collect()
    }

    #[test]
    fn the_token_is_removed_wherever_it_is_and_the_order_is_kept() {
        for (values, token, rest) in [
            (&["bearer.abc"][..], Some("abc"), &[][..]),
            (&["bearer.abc, v1, v2"], Some("abc"), &["v1, v2"]),
            (&["v2, bearer.a.b-c_d~e, v1"], Some("a.b-c_d~e"), &["v2, v1"]),
            (&["v2", "v1,, bearer.abc ,"], Some("abc"), &["v2, v1"]),
            (&["v2", "v1"], None, &["v2", "v1"]),
            (&["Bearer.abc"], None, &["Bearer.abc"]),
            (&["xbearer.abc"], None, &["xbearer.abc"]),
            (&[], None, &[]),
        ] {
            let mut headers = headers(values);
            let taken = take_bearer_token(&mut headers, "bearer.").expect("valid");
            assert_eq!(taken.as_ref().map(BearerToken::as_str), token, "{values:?}");
            let left: Vec<_> = headers.get_all(SEC_WEBSOCKET_PROTOCOL).iter().collect();
            assert_eq!(left, rest, "{values:?}");
        }
    }

    #[test]
    fn two_tokens_an_empty_one_and_a_malformed_list_are_refused_and_hidden() {
        for (values, reason) in [
            (&["bearer.abc, bearer.def"][..], "duplicate bearer token"),
            (&["bearer.abc", "v1", "bearer.abc"], "duplicate bearer token"),
            (&["bearer., bearer.abc"], "duplicate bearer token"),
            (&["bearer.abc, bearer."], "duplicate bearer token"),
            (&["v1, bearer."], "empty bearer token"),
            (&["bearer.abc def"], "malformed Sec-WebSocket-Protocol"),
            (&["bearer.abc="], "malformed Sec-WebSocket-Protocol"),
            (&[""], "malformed Sec-WebSocket-Protocol"),
        ] {
            let mut headers = headers(values);
            let rejection = take_bearer_token(&mut headers, "bearer.").expect_err("refused");
            assert_eq!((rejection.status().as_u16(), rejection.reason()), (400, reason), "{values:?}");
            let shown = format!("{headers:?} {rejection:?}");
            assert!(!shown.contains("abc"), "{shown}");
        }
    }

    #[test]
    fn debug_output_does_not_show_the_token() {
        let taken = take_bearer_token(&mut headers(&["bearer.abc"]), "bearer.").expect("valid");
        assert_eq!(format!("{taken:?}"), "Some(BearerToken(redacted))");
        let offered = OfferedToken::new("bearer.", "abc").expect("tokens");
        assert_eq!((format!("{offered:?}").as_str(), offered.as_str()), ("redacted", "bearer.abc"));
        for (prefix, token) in [("", "abc"), ("bearer.", ""), ("bearer.", "a b"), ("bearer ", "abc")] {
            assert!(OfferedToken::new(prefix, token).is_none());
        }
    }
}
