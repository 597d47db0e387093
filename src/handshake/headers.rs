//! Parses values of header fields: token lists and `Sec-WebSocket-Extensions`.

use http::{HeaderMap, HeaderName, header};

/// Returns whether the text is a token (RFC 9110 section 5.6.2).
///
/// A token has one or more characters, without separators and control characters.
///
/// ```
/// use fullduplex::handshake::is_token;
///
/// assert!(is_token("chat.v2"));
/// assert!(!is_token("chat v2") && !is_token("a,b") && !is_token(""));
/// ```
pub fn is_token(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(is_token_byte)
}

/// Returns whether a token can contain this byte (RFC 9110 section 5.6.2).
pub(super) fn is_token_byte(byte: u8) -> bool {
    TOKEN_BYTES[usize::from(byte)]
}

/// The bytes that a token can contain, as a table: it is read for each byte of methods and names.
const TOKEN_BYTES: [bool; 256] = {
    let mut table = [false; 256];
    let allowed = b"!#$%&'*+-.^_`|~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
    let mut index = 0;
    while index < allowed.len() {
        table[allowed[index] as usize] = true;
        index += 1;
    }
    table
};

/// Returns whether a token list contains this token, ignoring case.
///
/// The list can be split over several lines.
pub(crate) fn has_token(headers: &HeaderMap, name: &HeaderName, token: &str) -> bool {
    headers
        .get_all(name)
        .iter()
        .flat_map(|value| value.as_bytes().split(|&byte| byte == b','))
        .any(|element| element.trim_ascii().eq_ignore_ascii_case(token.as_bytes()))
}

/// Returns the elements of a token list, in order, over all its lines.
///
/// Empty elements are ignored (RFC 9110 section 5.6.1.2).
///
/// `None` if an element is not a token, or if the field is present without elements: RFC 6455
/// section 4.3 defines these lists as `1#token`.
pub(crate) fn token_list<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<Vec<&'a str>> {
    let mut tokens = Vec::new();
    for value in headers.get_all(name) {
        for element in value.to_str().ok()?.split(',') {
            match element.trim_ascii() {
                "" => {}
                token if is_token(token) => tokens.push(token),
                _ => return None,
            }
        }
    }
    let is_empty = tokens.is_empty() && headers.contains_key(name);
    (!is_empty).then_some(tokens)
}

/// The value of a field that must occur at most once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Single<'a> {
    Missing,
    Once(&'a [u8]),
    Duplicate,
}

/// Returns the value of a field that must occur at most once.
pub(crate) fn single<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Single<'a> {
    let mut values = headers.get_all(name).iter();
    match (values.next(), values.next()) {
        (None, _) => Single::Missing,
        (Some(value), None) => Single::Once(value.as_bytes()),
        (Some(_), Some(_)) => Single::Duplicate,
    }
}

/// Returns whether a field contains credentials, or asks for them, and must not appear in logs.
pub(crate) fn is_credential(name: &HeaderName) -> bool {
    const OTHERS: [&str; 4] =
        ["authentication-info", "proxy-authentication-info", "x-api-key", "x-auth-token"];
    let known = [
        header::AUTHORIZATION,
        header::COOKIE,
        header::PROXY_AUTHENTICATE,
        header::PROXY_AUTHORIZATION,
        header::SET_COOKIE,
        header::WWW_AUTHENTICATE,
    ];
    known.contains(name) || OTHERS.contains(&name.as_str())
}

/// An element of `Sec-WebSocket-Extensions`: an offer of a client, or an extension that a server
/// accepted.
///
/// RFC 6455 section 9.1.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Extension<'a> {
    name: &'a str,
    params: Vec<(&'a str, Option<&'a str>)>,
}

impl<'a> Extension<'a> {
    /// Returns the name. Names are compared case-insensitively.
    pub fn name(&self) -> &'a str {
        self.name
    }

    /// Returns the parameters in order, including duplicates.
    ///
    /// The value is `None` for a parameter without one. A quoted value is returned without its
    /// quotes.
    pub fn params(&self) -> &[(&'a str, Option<&'a str>)] {
        &self.params
    }
}

/// A value of `Sec-WebSocket-Extensions` violates the grammar.
///
/// RFC 6455 section 9.1: the recipient fails the connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("malformed list of extensions")]
#[non_exhaustive]
pub struct MalformedExtensions;

/// Parses the value of one `Sec-WebSocket-Extensions` field, in one pass.
///
/// ```text
/// list      = 1#( token *( ";" param ) )
/// param     = token [ "=" ( token | quoted token ) ]
/// ```
///
/// # Errors
/// Fails for a value that does not match this grammar, and for an empty list.
///
/// ```
/// use fullduplex::handshake::parse_extensions;
///
/// let offers = parse_extensions(r#"permessage-deflate; client_max_window_bits; a="8", x-frob"#)?;
/// assert_eq!(offers[0].name(), "permessage-deflate");
/// assert_eq!(offers[0].params(), [("client_max_window_bits", None), ("a", Some("8"))]);
/// assert_eq!(offers[1].name(), "x-frob");
/// # Ok::<(), fullduplex::handshake::MalformedExtensions>(())
/// ```
pub fn parse_extensions(value: &str) -> Result<Vec<Extension<'_>>, MalformedExtensions> {
    let mut rest = Cursor { rest: value };
    let mut extensions = Vec::new();
    loop {
        rest.skip_space();
        // RFC 2616 section 2.1, whose list rule RFC 6455 uses: empty elements are allowed and
        // ignored.
        if rest.take(b',') {
            continue;
        }
        if rest.rest.is_empty() {
            break;
        }
        let name = rest.token()?;
        let mut params = Vec::new();
        rest.skip_space();
        while rest.take(b';') {
            params.push(rest.param()?);
            rest.skip_space();
        }
        extensions.push(Extension { name, params });
        if !rest.rest.is_empty() && !rest.take(b',') {
            return Err(MalformedExtensions);
        }
    }
    if extensions.is_empty() { Err(MalformedExtensions) } else { Ok(extensions) }
}

/// The input that is not parsed yet. Each step consumes its front, which makes parsing linear.
struct Cursor<'a> {
    rest: &'a str,
}

impl<'a> Cursor<'a> {
    fn skip_space(&mut self) {
        self.rest = self.rest.trim_start_matches([' ', '\t']);
    }

    fn take(&mut self, byte: u8) -> bool {
        match self.rest.strip_prefix(char::from(byte)) {
            Some(rest) => {
                self.rest = rest;
                true
            }
            None => false,
        }
    }

    fn token(&mut self) -> Result<&'a str, MalformedExtensions> {
        let len = self.rest.bytes().take_while(|&byte| is_token_byte(byte)).count();
        // Token bytes are ASCII, so `len` is a character boundary.
        match self.rest.split_at_checked(len) {
            Some((token, rest)) if len > 0 => {
                self.rest = rest;
                Ok(token)
            }
            _ => Err(MalformedExtensions),
        }
    }

    fn param(&mut self) -> Result<(&'a str, Option<&'a str>), MalformedExtensions> {
        self.skip_space();
        let name = self.token()?;
        self.skip_space();
        if !self.take(b'=') {
            return Ok((name, None));
        }
        self.skip_space();
        if !self.take(b'"') {
            return Ok((name, Some(self.token()?)));
        }
        // RFC 6455 section 9.1: the content of a quoted value must be a token: it has no escape and
        // no space.
        let value = self.token()?;
        if self.take(b'"') { Ok((name, Some(value))) } else { Err(MalformedExtensions) }
    }
}

/// Parses the extensions of all lines of `Sec-WebSocket-Extensions`.
pub(crate) fn extensions(headers: &HeaderMap) -> Result<Vec<Extension<'_>>, MalformedExtensions> {
    let mut all = Vec::new();
    for value in headers.get_all(header::SEC_WEBSOCKET_EXTENSIONS) {
        all.append(&mut parse_extensions(value.to_str().map_err(|_| MalformedExtensions)?)?);
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use http::header::{CONNECTION, SEC_WEBSOCKET_PROTOCOL};

    use super::*;

    fn headers(name: &HeaderName, values: &[&'static str]) -> HeaderMap {
        values.iter().map(|value| (name.clone(), http::HeaderValue::from_static(value))).collect()
    }

    #[test]
    fn a_token_is_found_on_any_line_ignoring_case() {
        let headers = headers(&CONNECTION, &["keep-alive,  UPgrade ", "x"]);
        assert!(has_token(&headers, &CONNECTION, "upgrade"));
        assert!(has_token(&headers, &CONNECTION, "X"));
        assert!(!has_token(&headers, &CONNECTION, "up"));
        assert!(!has_token(&headers, &CONNECTION, "keep"));
    }

    #[test]
    fn a_token_list_keeps_order_over_lines_and_skips_empty_elements() {
        let fine = headers(&SEC_WEBSOCKET_PROTOCOL, &["b,, a", "c"]);
        assert_eq!(token_list(&fine, &SEC_WEBSOCKET_PROTOCOL), Some(vec!["b", "a", "c"]));
        assert_eq!(token_list(&HeaderMap::new(), &SEC_WEBSOCKET_PROTOCOL), Some(vec![]));
        for broken in [&["a b"][..], &[""], &[","], &[" ", ", ,"]] {
            let broken = headers(&SEC_WEBSOCKET_PROTOCOL, broken);
            assert_eq!(token_list(&broken, &SEC_WEBSOCKET_PROTOCOL), None);
        }
    }

    #[test]
    fn space_may_surround_every_separator() {
        let offers = parse_extensions(" a ; b = c\t;d=\"e\" ,\t, f ").expect("well-formed");
        assert_eq!(offers.len(), 2);
        assert_eq!(offers[0].params(), [("b", Some("c")), ("d", Some("e"))]);
        assert_eq!(offers[1], Extension { name: "f", params: vec![] });
    }

    #[test]
    fn a_value_that_violates_the_grammar_is_refused() {
        for value in [
            "",
            ",",
            " ",
            ";",
            "a;",
            "a;;b",
            "a b",
            "a=b",
            "a;b=",
            "a;b=;c",
            "a;=c",
            "a;b=\"",
            "a;b=\"\"",
            "a;b=\"c",
            "a;b=\"c d\"",
            "a;b=\"c\\d\"",
            "a;b=c\"",
            "a;b=c d",
            "\"a\"",
            "ä",
            "a;b=\"ä\"",
        ] {
            assert_eq!(parse_extensions(value), Err(MalformedExtensions), "{value:?}");
        }
    }

    proptest::proptest! {
        #[test]
        fn parsed_extensions_can_be_written_and_parsed_again(value in "[ab,;=\" \\\\é]{0,24}") {
            let Ok(offers) = parse_extensions(&value) else { return Ok(()) };
            let written: Vec<String> = offers
                .iter()
                .map(|offer| {
                    let params = offer.params().iter().map(|(name, value)| match value {
                        Some(value) => format!(";{name}={value}"),
                        None => format!(";{name}"),
                    });
                    offer.name().to_owned() + &params.collect::<String>()
                })
                .collect();
            let written = written.join(",");
            proptest::prop_assert_eq!(parse_extensions(&written).expect("well-formed"), offers);
        }
    }
}
