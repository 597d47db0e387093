//! The settings of a client, its request, and the validation of the response.

use std::time::Duration;

use base64::{Engine, engine::general_purpose::STANDARD};
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode, header};

use super::{
    accept_key,
    bearer::OfferedToken,
    deflate,
    encode::encode_fields,
    headers::{Single, extensions, has_token, is_credential, is_token, single},
    invalid::{InvalidHandshake, is_reserved},
    negotiate::Negotiated,
    response::{Fault, ResponseError},
    target::Target,
};
use crate::proto::Config;

/// The settings of a client: header fields, subprotocols, limits and deadlines.
///
/// One value opens any number of connections, with [`connect`](Client::connect) or, over an
/// existing transport, with [`handshake`](Client::handshake).
///
/// The first invalid setting is stored as an error. [`check`](Self::check) returns it, and so does
/// every attempt to connect, before anything is dialed or sent.
///
/// ```
/// use std::time::Duration;
/// use fullduplex::{Client, Config};
///
/// let client = Client::new(Config::default())
///     .header("Authorization", "Bearer 0123")
///     .subprotocol("chat.v2")
///     .subprotocol("chat.v1")
///     .handshake_timeout(Duration::from_secs(3));
/// assert_eq!(client.check(), Ok(()));
/// ```
#[derive(Debug, Clone)]
pub struct Client {
    config: Config,
    headers: HeaderMap,
    subprotocols: Vec<Box<str>>,
    bearer: Option<OfferedToken>,
    invalid: Option<InvalidHandshake>,
    /// Settings of upper floors, which this one stores and does not read.
    extensions: http::Extensions,
}

impl Client {
    /// Creates a client without subprotocols.
    pub fn new(config: Config) -> Self {
        Self {
            config,
            headers: HeaderMap::new(),
            subprotocols: Vec::new(),
            bearer: None,
            invalid: None,
            extensions: http::Extensions::new(),
        }
    }

    /// Adds a header field, such as `Authorization`, `Cookie` or `Origin`.
    ///
    /// Fields that are reserved for the handshake cannot be set: `Host`, `Upgrade`, `Connection`
    /// and `Sec-WebSocket-*`. Fields that describe a body cannot be set either, as the request has
    /// none.
    pub fn header<N, V>(mut self, name: N, value: V) -> Self
    where
        N: TryInto<HeaderName>,
        V: TryInto<HeaderValue>,
    {
        let Ok(name) = name.try_into() else { return self.fail(InvalidHandshake::HeaderName) };
        if is_reserved(&name) || name == header::SEC_WEBSOCKET_PROTOCOL {
            return self.fail(InvalidHandshake::ReservedHeader(name));
        }
        let Ok(mut value) = value.try_into() else { return self.fail(InvalidHandshake::value_of(name)) };
        // Hidden in `Debug` output, which ends up in logs. A value that the caller marked stays
        // marked.
        if is_credential(&name) {
            value.set_sensitive(true);
        }
        match self.headers.try_append(&name, value) {
            Ok(_) => self,
            Err(_) => self.fail(InvalidHandshake::value_of(name)),
        }
    }

    /// Adds header fields, each as by [`header`](Self::header).
    ///
    /// A name may occur more than once.
    ///
    /// ```
    /// use fullduplex::Client;
    /// use http::{HeaderMap, HeaderValue, header};
    ///
    /// let mut headers = HeaderMap::new();
    /// headers.insert(header::USER_AGENT, HeaderValue::from_static("example/1.0"));
    /// headers.append(header::COOKIE, HeaderValue::from_static("id=0123"));
    /// assert_eq!(Client::default().headers(headers).check(), Ok(()));
    /// ```
    pub fn headers(mut self, headers: HeaderMap) -> Self {
        let mut last = None;
        for (name, value) in headers {
            last = name.or(last);
            if let Some(name) = &last {
                self = self.header(name.clone(), value);
            }
        }
        self
    }

    /// Adds a subprotocol to the offer, after those added before.
    ///
    /// The client prefers the first.
    pub fn subprotocol(mut self, name: impl AsRef<str>) -> Self {
        let name: Box<str> = name.as_ref().into();
        // RFC 6455 section 4.1, 10: each is a token, and occurs once.
        if !is_token(&name) {
            return self.fail(InvalidHandshake::Subprotocol(name));
        }
        if self.subprotocols.contains(&name) {
            return self.fail(InvalidHandshake::DuplicateSubprotocol(name));
        }
        self.subprotocols.push(name);
        self
    }

    /// Offers a bearer token as a subprotocol, after the others.
    ///
    /// For servers that expect the token there, because browsers cannot set `Authorization`:
    /// [`Server::bearer_prefix`](super::Server::bearer_prefix). Prefix and token are joined.
    /// Otherwise use [`header`](Self::header) with `Authorization`.
    ///
    /// Debug output does not show the token. It is not sent after a redirect to another origin. A
    /// server that selects it as the subprotocol violates the protocol.
    ///
    /// ```
    /// use fullduplex::Client;
    ///
    /// let client = Client::default().subprotocol("chat.v1").bearer_token("bearer.", "c2VjcmV0");
    /// let request = client.request(&"ws://example.com/".parse()?, *b"the sample nonce")?;
    /// assert!(String::from_utf8(request)?.contains("\r\nSec-WebSocket-Protocol: chat.v1, bearer.c2VjcmV0\r\n"));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn bearer_token(mut self, prefix: impl AsRef<str>, token: impl AsRef<str>) -> Self {
        self.bearer = OfferedToken::new(prefix.as_ref(), token.as_ref());
        if self.bearer.is_none() { self.fail(InvalidHandshake::BearerToken) } else { self }
    }

    /// Sets the deadline of the opening handshake; `None` disables it.
    ///
    /// It starts when the transport is connected.
    pub fn handshake_timeout(mut self, timeout: impl Into<Option<Duration>>) -> Self {
        self.config = self.config.handshake_timeout(timeout);
        self
    }

    /// Stores the first error.
    fn fail(mut self, error: InvalidHandshake) -> Self {
        self.invalid.get_or_insert(error);
        self
    }

    /// Validates the settings.
    ///
    /// # Errors
    /// Returns the first invalid setting.
    pub fn check(&self) -> Result<(), &InvalidHandshake> {
        self.invalid.as_ref().map_or(Ok(()), Err)
    }

    /// Returns the configuration of the handshake and of the connections.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// Returns the header fields that the program has set.
    pub(super) fn own_headers(&self) -> &HeaderMap {
        &self.headers
    }

    /// Returns the value of `Sec-WebSocket-Protocol`, with the bearer token; `None` without any.
    pub(super) fn subprotocol_offer(&self) -> Option<String> {
        let token = self.bearer.as_ref().map(OfferedToken::as_str);
        let offered: Vec<&str> = self.subprotocols.iter().map(|name| &**name).chain(token).collect();
        (!offered.is_empty()).then(|| offered.join(", "))
    }

    /// Returns whether the offer contains a bearer token.
    pub(super) fn offers_token(&self) -> bool {
        self.bearer.is_some()
    }

    /// Returns the settings of upper floors.
    pub(crate) fn extensions(&self) -> &http::Extensions {
        &self.extensions
    }

    /// Returns the settings of upper floors, to change them.
    pub(crate) fn extensions_mut(&mut self) -> &mut http::Extensions {
        &mut self.extensions
    }

    /// Removes the bearer token and the header fields with credentials, before a request to another
    /// origin.
    pub(crate) fn remove_credentials(&mut self) {
        self.bearer = None;
        let names: Vec<_> = self.headers.keys().cloned().collect();
        for name in names {
            if self.headers.get_all(&name).iter().any(HeaderValue::is_sensitive) {
                self.headers.remove(name);
            }
        }
    }

    /// Encodes the request.
    ///
    /// RFC 6455 section 4.1. The nonce must be random, and used for one request only.
    ///
    /// # Errors
    /// Returns the error of [`check`](Self::check).
    ///
    /// ```
    /// use fullduplex::Client;
    ///
    /// let request = Client::default().subprotocol("chat").request(&"ws://example.com/a".parse()?, *b"the sample nonce")?;
    /// assert_eq!(
    ///     String::from_utf8(request)?,
    ///     "GET /a HTTP/1.1\r\n\
    ///      Host: example.com\r\n\
    ///      Upgrade: websocket\r\n\
    ///      Connection: Upgrade\r\n\
    ///      Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
    ///      Sec-WebSocket-Version: 13\r\n\
    ///      Sec-WebSocket-Protocol: chat\r\n\
    ///      \r\n"
    /// );
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn request(&self, target: &Target, nonce: [u8; 16]) -> Result<Vec<u8>, InvalidHandshake> {
        self.check().map_err(Clone::clone)?;
        let mut request = format!(
            "GET {} HTTP/1.1\r\nHost: {}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Key: {}\r\nSec-WebSocket-Version: 13\r\n",
            target.path_and_query(),
            target.host_header(),
            STANDARD.encode(nonce),
        );
        if let Some(offer) = self.subprotocol_offer() {
            request += &format!("Sec-WebSocket-Protocol: {offer}\r\n");
        }
        if let Some(offer) = deflate::offer(&self.config) {
            request += &format!("Sec-WebSocket-Extensions: {offer}\r\n");
        }
        match target.authorization() {
            // A field that the program set explicitly takes precedence.
            Some(credentials) if !self.headers.contains_key(header::AUTHORIZATION) => {
                request += &format!("Authorization: {credentials}\r\n");
            }
            _ => {}
        }
        let mut request = request.into_bytes();
        encode_fields(&self.headers, &mut request);
        request.extend_from_slice(b"\r\n");
        Ok(request)
    }

    /// Validates the response to [`request`](Self::request).
    ///
    /// Checks every rule of RFC 6455 section 4.1.
    ///
    /// # Errors
    /// Fails if the response does not open a WebSocket connection. The body in
    /// [`ResponseError::Status`] is empty, as it was not read yet.
    ///
    /// ```
    /// use fullduplex::Client;
    /// use http::Response;
    ///
    /// let response = Response::builder()
    ///     .status(101)
    ///     .header("Upgrade", "websocket")
    ///     .header("Connection", "Upgrade")
    ///     .header("Sec-WebSocket-Accept", "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=")
    ///     .body(())?;
    /// let negotiated = Client::default().verify(&response, *b"the sample nonce")?;
    /// assert_eq!(negotiated.subprotocol(), None);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn verify(&self, response: &Response<()>, nonce: [u8; 16]) -> Result<Negotiated, ResponseError> {
        let headers = response.headers();
        // RFC 6455 section 4.1, response, 1: any other status is handled as HTTP defines.
        if response.status() != StatusCode::SWITCHING_PROTOCOLS {
            return Err(ResponseError::Status(Box::new(response.clone().map(|()| Bytes::new()))));
        }
        // 2: the value of Upgrade is websocket.
        match single(headers, &header::UPGRADE) {
            Single::Once(value) if value.eq_ignore_ascii_case(b"websocket") => {}
            _ => return Err(ResponseError::Upgrade),
        }
        // 3: Connection contains the token Upgrade.
        if !has_token(headers, &header::CONNECTION, "upgrade") {
            return Err(ResponseError::Connection);
        }
        // 4: Sec-WebSocket-Accept proves that a WebSocket server has read the key.
        let expected = accept_key(STANDARD.encode(nonce).as_bytes());
        match single(headers, &header::SEC_WEBSOCKET_ACCEPT) {
            Single::Once(value) if value == expected.as_bytes() => {}
            Single::Once(_) => return Err(ResponseError::Accept(Fault::Wrong)),
            Single::Missing => return Err(ResponseError::Accept(Fault::Missing)),
            Single::Duplicate => return Err(ResponseError::Accept(Fault::Duplicate)),
        }
        self.verify_negotiated(headers)
    }

    /// Validates what the server has chosen of the offers.
    pub(super) fn verify_negotiated(&self, headers: &HeaderMap) -> Result<Negotiated, ResponseError> {
        // RFC 6455 section 4.1, response, 5: only extensions that were offered.
        let mut negotiated = extensions(headers)
            .map_err(|_| Fault::Malformed)
            .and_then(|answer| deflate::verify_answer(&answer, &self.config))
            .map_err(ResponseError::Extension)?;
        // 6: only a subprotocol that was offered.
        match single(headers, &header::SEC_WEBSOCKET_PROTOCOL) {
            Single::Missing => {}
            Single::Once(value) => match self.subprotocols.iter().find(|name| name.as_bytes() == value) {
                Some(name) => negotiated.set_subprotocol(name),
                None => return Err(ResponseError::Subprotocol(Fault::Wrong)),
            },
            Single::Duplicate => return Err(ResponseError::Subprotocol(Fault::Duplicate)),
        }
        Ok(negotiated)
    }
}

impl Default for Client {
    fn default() -> Self {
        Self::new(Config::default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NONCE: [u8; 16] = *b"the sample nonce";

    fn request(client: &Client, target: &str) -> String {
        let target = target.parse().expect("valid target");
        String::from_utf8(client.request(&target, NONCE).expect("valid request")).expect("text")
    }

    #[test]
    fn credentials_of_the_target_are_sent_unless_authorization_is_set() {
        let target = "ws://user:pw@example.com/";
        assert!(request(&Client::default(), target).contains("\r\nAuthorization: Basic dXNlcjpwdw==\r\n"));
        let own = request(&Client::default().header("Authorization", "Bearer x"), target);
        assert!(own.ends_with("\r\nauthorization: Bearer x\r\n\r\n"));
        assert!(!own.contains("Basic"));
    }

    #[test]
    fn credentials_are_hidden_in_debug_output() {
        let client = Client::default().header("Authorization", "Bearer secret").header("cookie", "id=secret");
        assert!(!format!("{client:?}").contains("secret"));
        assert!(request(&client, "ws://a").contains("authorization: Bearer secret\r\ncookie: id=secret\r\n"));
    }

    #[test]
    fn a_value_marked_sensitive_by_the_caller_stays_marked() {
        let mut value = HeaderValue::from_static("secret");
        value.set_sensitive(true);
        let client = Client::default().header("x-api-key", value).header("x-public", "shown");
        let shown = format!("{client:?}");
        assert!(!shown.contains("secret") && shown.contains("shown"), "{shown}");
        assert!(request(&client, "ws://a").contains("\r\nx-api-key: secret\r\n"));
    }

    #[test]
    fn a_map_of_fields_is_added_in_order_and_validated() {
        let map = |fields: &[(&'static str, &'static str)]| {
            let mut map = HeaderMap::new();
            for (name, value) in fields {
                map.append(HeaderName::from_static(name), HeaderValue::from_static(value));
            }
            map
        };
        let fields = map(&[("a", "1"), ("cookie", "secret"), ("a", "2")]);
        let client = Client::default().header("a", "0").headers(fields);
        assert!(request(&client, "ws://a").ends_with("\r\na: 0\r\na: 1\r\na: 2\r\ncookie: secret\r\n\r\n"));
        assert!(!format!("{client:?}").contains("secret"));
        let client = Client::default().headers(map(&[("a", "1"), ("upgrade", "h2c")]));
        assert_eq!(client.check(), Err(&InvalidHandshake::ReservedHeader(header::UPGRADE)));
    }

    #[test]
    fn a_bearer_token_is_the_last_subprotocol_and_never_shown_or_selected() {
        let client = Client::default().bearer_token("bearer.", "hunter2").subprotocol("a");
        assert!(request(&client, "ws://a").contains("\r\nSec-WebSocket-Protocol: a, bearer.hunter2\r\n"));
        let alone = Client::default().bearer_token("bearer.", "hunter2");
        assert!(request(&alone, "ws://a").contains("\r\nSec-WebSocket-Protocol: bearer.hunter2\r\n"));
        assert!(!format!("{client:?}").contains("hunter2"));
        let echoing = Response::builder()
            .status(101)
            .header("Upgrade", "websocket")
            .header("Connection", "Upgrade")
            .header("Sec-WebSocket-Accept", "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=")
            .header("Sec-WebSocket-Protocol", "bearer.hunter2")
            .body(())
            .expect("valid");
        let error = client.verify(&echoing, NONCE).expect_err("a token is not a subprotocol");
        assert_eq!(error.to_string(), ResponseError::Subprotocol(Fault::Wrong).to_string());
        let mut elsewhere = client.clone();
        elsewhere.remove_credentials();
        assert!(!request(&elsewhere, "ws://b").contains("hunter2"));
        for (prefix, token) in [("bearer.", "no/token="), ("bearer.", ""), ("", "abc")] {
            let client = Client::default().bearer_token(prefix, token);
            assert_eq!(client.check(), Err(&InvalidHandshake::BearerToken));
        }
    }

    /// RFC 6455 section 4.1, with erratum 3150.
    #[test]
    fn the_key_is_the_nonce_in_base64_without_stray_bits() {
        let nonce = [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16];
        let target = "ws://a".parse().expect("valid");
        let request = Client::default().request(&target, nonce).expect("valid");
        let request = String::from_utf8(request).expect("text");
        assert!(request.contains("\r\nSec-WebSocket-Key: AQIDBAUGBwgJCgsMDQ4PEA==\r\n"), "{request}");
    }

    #[test]
    fn subprotocols_are_sent_in_one_field_in_order() {
        let client = Client::default().subprotocol("b").subprotocol("a");
        assert!(request(&client, "ws://a").contains("\r\nSec-WebSocket-Protocol: b, a\r\n"));
    }

    #[test]
    fn check_returns_the_first_invalid_setting() {
        use InvalidHandshake::*;
        for (client, error) in [
            (Client::default().header("a b", "c").header("host", "x"), HeaderName),
            (Client::default().header("a", "b\0"), HeaderValue("a".into())),
            (Client::default().header("Host", "b"), ReservedHeader(header::HOST)),
            (Client::default().header("Content-Length", 1), ReservedHeader(header::CONTENT_LENGTH)),
            (
                Client::default().header("sec-websocket-protocol", "a"),
                ReservedHeader(header::SEC_WEBSOCKET_PROTOCOL),
            ),
            (
                Client::default().header("Sec-WebSocket-Anything", "a"),
                ReservedHeader(header::HeaderName::from_static("sec-websocket-anything")),
            ),
            (Client::default().subprotocol("a, b"), Subprotocol("a, b".into())),
            (Client::default().subprotocol(""), Subprotocol("".into())),
            (Client::default().subprotocol("a").subprotocol("a"), DuplicateSubprotocol("a".into())),
        ] {
            assert_eq!(client.check(), Err(&error));
            let target = "ws://a".parse().expect("valid");
            assert_eq!(client.request(&target, NONCE), Err(error));
        }
    }

    /// Verifies the 101 of the example in the RFC, with the given fields replaced.
    fn verify(client: &Client, fields: &[(&'static str, &'static str)]) -> Result<Negotiated, ResponseError> {
        let mut response = Response::new(());
        *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
        let headers = response.headers_mut();
        let example = [
            ("upgrade", "websocket"),
            ("connection", "Upgrade"),
            ("sec-websocket-accept", "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="),
        ];
        for (name, value) in example.iter().filter(|(name, _)| fields.iter().all(|(other, _)| name != other))
        {
            headers.append(*name, HeaderValue::from_static(value));
        }
        for (name, value) in fields.iter().filter(|(_, value)| *value != "-") {
            headers.append(*name, HeaderValue::from_static(value));
        }
        client.verify(&response, NONCE)
    }

    /// RFC 6455 section 4.1.
    #[test]
    fn upgrade_and_connection_are_compared_case_insensitively() {
        let client = Client::default();
        assert!(verify(&client, &[("upgrade", "WebSocket"), ("connection", "keep-alive, UPGRADE")]).is_ok());
        for value in ["-", "websocket, h2c", "h2c", ""] {
            assert!(matches!(verify(&client, &[("upgrade", value)]), Err(ResponseError::Upgrade)), "{value}");
        }
        for value in ["-", "close", "upgraded"] {
            let result = verify(&client, &[("connection", value)]);
            assert!(matches!(result, Err(ResponseError::Connection)), "{value}");
        }
    }

    /// RFC 6455 section 4.1.
    #[test]
    fn the_subprotocol_must_have_been_offered() {
        let client = Client::default().subprotocol("a").subprotocol("b");
        let chosen = |fields: &[(&'static str, &'static str)]| {
            verify(&client, fields).map(|negotiated| negotiated.subprotocol().map(str::to_owned))
        };
        assert_eq!(chosen(&[("sec-websocket-protocol", "b")]).expect("offered"), Some("b".into()));
        assert_eq!(chosen(&[]).expect("choosing none is allowed"), None);
        for value in ["c", "B", "a, b", ""] {
            let result = chosen(&[("sec-websocket-protocol", value)]);
            assert!(matches!(result, Err(ResponseError::Subprotocol(Fault::Wrong))), "{value}");
        }
    }

    #[test]
    fn the_deadline_of_the_opening_handshake_is_set_and_nothing_else() {
        let client = Client::default().subprotocol("a").handshake_timeout(Duration::from_secs(3));
        assert_eq!(client.config().handshake_timeout, Some(Duration::from_secs(3)));
        assert!(request(&client, "ws://a").contains("\r\nSec-WebSocket-Protocol: a\r\n"));
    }
}
