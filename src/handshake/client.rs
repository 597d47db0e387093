//! What a client asks for, its request, and what it demands of the response.

use std::{net::SocketAddr, time::Duration};

use base64::{Engine, engine::general_purpose::STANDARD};
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode, header};

use super::{
    accept_key, deflate,
    encode::encode_fields,
    headers::{Single, extensions, has_token, is_credential, is_token, single},
    invalid::{InvalidHandshake, is_reserved},
    negotiate::Negotiated,
    response::{Fault, ResponseError},
    target::Target,
};
use crate::proto::Config;

/// What a client asks for, and within which limits.
///
/// It is made once and opens any number of connections, with [`connect`](Client::connect) or over a
/// transport of the caller's own with [`handshake`](Client::handshake).
///
/// What cannot stand in a request is kept as an error, which [`check`](Self::check) tells and every
/// attempt to connect returns before it does anything.
///
/// ```
/// use std::{net::SocketAddr, time::Duration};
/// use fullduplex::{Client, Config};
///
/// let client = Client::new(Config::default())
///     .header("Authorization", "Bearer 0123")
///     .subprotocol("chat.v2")
///     .subprotocol("chat.v1")
///     .connect_timeout(Duration::from_secs(3));
/// assert_eq!(client.check(), Ok(()));
/// ```
#[derive(Debug, Clone)]
pub struct Client {
    config: Config,
    headers: HeaderMap,
    subprotocols: Vec<Box<str>>,
    connect_timeout: Option<Duration>,
    local_address: Option<SocketAddr>,
    invalid: Option<InvalidHandshake>,
}

impl Client {
    /// A client that asks for no subprotocol, and gives up dialing after 10 seconds.
    pub fn new(config: Config) -> Self {
        Self {
            config,
            headers: HeaderMap::new(),
            subprotocols: Vec::new(),
            connect_timeout: Some(Duration::from_secs(10)),
            local_address: None,
            invalid: None,
        }
    }

    /// Adds a header field: `Authorization`, `Cookie`, `Origin`, whatever the server wants to see.
    ///
    /// The fields that the handshake writes itself cannot be set: `Host`, `Upgrade`, `Connection`
    /// and `Sec-WebSocket-*`; nor those of a body, which the request has not.
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
        // Not to be shown by `Debug`, where it would end up in a log. What the caller marked stays
        // so.
        if is_credential(&name) {
            value.set_sensitive(true);
        }
        match self.headers.try_append(&name, value) {
            Ok(_) => self,
            Err(_) => self.fail(InvalidHandshake::value_of(name)),
        }
    }

    /// Adds header fields, each as [`header`](Self::header) does; a name may be there more than
    /// once.
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

    /// Sets the local address that [`connect`](Self::connect) dials from; port 0 lets the system
    /// choose one.
    ///
    /// Only addresses of the host that are of the same family, IPv4 or IPv6, are dialed. Without
    /// it, the system chooses.
    ///
    /// ```
    /// use std::net::Ipv4Addr;
    /// use fullduplex::Client;
    ///
    /// let client = Client::default().local_address((Ipv4Addr::LOCALHOST, 0));
    /// # let _ = client;
    /// ```
    pub fn local_address(mut self, address: impl Into<SocketAddr>) -> Self {
        self.local_address = Some(address.into());
        self
    }

    /// Offers a subprotocol, after those that were offered before: the one liked best comes first.
    pub fn subprotocol(mut self, name: impl AsRef<str>) -> Self {
        let name: Box<str> = name.as_ref().into();
        // RFC 6455 section 4.1, 10: each is a token, and stands there once.
        if !is_token(&name) {
            return self.fail(InvalidHandshake::Subprotocol(name));
        }
        if self.subprotocols.contains(&name) {
            return self.fail(InvalidHandshake::DuplicateSubprotocol(name));
        }
        self.subprotocols.push(name);
        self
    }

    /// Sets how long looking the host up and dialing it may take; `None`: for ever.
    pub fn connect_timeout(mut self, timeout: impl Into<Option<Duration>>) -> Self {
        self.connect_timeout = timeout.into();
        self
    }

    /// Sets how long the opening handshake may take once the transport stands; `None`: for ever.
    pub fn handshake_timeout(mut self, timeout: impl Into<Option<Duration>>) -> Self {
        self.config = self.config.handshake_timeout(timeout);
        self
    }

    /// Keeps the first error.
    fn fail(mut self, error: InvalidHandshake) -> Self {
        self.invalid.get_or_insert(error);
        self
    }

    /// Whether everything that was set can stand in a request.
    ///
    /// # Errors
    /// The first thing that cannot.
    pub fn check(&self) -> Result<(), &InvalidHandshake> {
        self.invalid.as_ref().map_or(Ok(()), Err)
    }

    /// The limits and deadlines of the handshake and of the connections that come out of it.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// How long looking the host up and dialing it may take: what
    /// [`connect_timeout`](Self::connect_timeout) has set.
    pub fn get_connect_timeout(&self) -> Option<Duration> {
        self.connect_timeout
    }

    /// Returns the local address to dial from: what [`local_address`](Self::local_address) has set.
    pub fn get_local_address(&self) -> Option<SocketAddr> {
        self.local_address
    }

    /// The request, as it goes over the wire.
    ///
    /// RFC 6455 section 4.1. The nonce must be random and used once.
    ///
    /// # Errors
    /// Something was set that cannot stand in a request.
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
        if !self.subprotocols.is_empty() {
            request += &format!("Sec-WebSocket-Protocol: {}\r\n", self.subprotocols.join(", "));
        }
        if let Some(offer) = deflate::offer(&self.config) {
            request += &format!("Sec-WebSocket-Extensions: {offer}\r\n");
        }
        match target.authorization() {
            // What the program sets by hand is what it means.
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

    /// Checks a response to [`request`](Self::request) against every rule of RFC 6455 section 4.1.
    ///
    /// # Errors
    /// The response does not open a WebSocket connection. [`ResponseError::Status`] has no body
    /// here: it is not read yet.
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
        // RFC 6455 section 4.1, response, 1: any other status is HTTP's own business.
        if response.status() != StatusCode::SWITCHING_PROTOCOLS {
            return Err(ResponseError::Status(Box::new(response.clone().map(|()| Bytes::new()))));
        }
        // 2: Upgrade is websocket and nothing else.
        match single(headers, &header::UPGRADE) {
            Single::Once(value) if value.eq_ignore_ascii_case(b"websocket") => {}
            _ => return Err(ResponseError::Upgrade),
        }
        // 3: Connection names Upgrade.
        if !has_token(headers, &header::CONNECTION, "upgrade") {
            return Err(ResponseError::Connection);
        }
        // 4: whoever wrote the response has read our key, as a WebSocket server does.
        let expected = accept_key(STANDARD.encode(nonce).as_bytes());
        match single(headers, &header::SEC_WEBSOCKET_ACCEPT) {
            Single::Once(value) if value == expected.as_bytes() => {}
            Single::Once(_) => return Err(ResponseError::Accept(Fault::Wrong)),
            Single::Missing => return Err(ResponseError::Accept(Fault::Missing)),
            Single::Duplicate => return Err(ResponseError::Accept(Fault::Duplicate)),
        }
        // 5: no extension that was not offered.
        let mut negotiated = extensions(headers)
            .map_err(|_| Fault::Malformed)
            .and_then(|answer| deflate::verify_answer(&answer, &self.config))
            .map_err(ResponseError::Extension)?;
        // 6: no subprotocol that was not offered.
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
    fn credentials_of_the_target_are_sent_unless_the_program_sets_its_own() {
        let target = "ws://user:pw@example.com/";
        assert!(request(&Client::default(), target).contains("\r\nAuthorization: Basic dXNlcjpwdw==\r\n"));
        let own = request(&Client::default().header("Authorization", "Bearer x"), target);
        assert!(own.ends_with("\r\nauthorization: Bearer x\r\n\r\n"));
        assert!(!own.contains("Basic"));
    }

    #[test]
    fn credentials_do_not_show_in_debug_output() {
        let client = Client::default().header("Authorization", "Bearer secret").header("cookie", "id=secret");
        assert!(!format!("{client:?}").contains("secret"));
        assert!(request(&client, "ws://a").contains("authorization: Bearer secret\r\ncookie: id=secret\r\n"));
    }

    #[test]
    fn a_value_that_the_caller_marked_sensitive_stays_so() {
        let mut value = HeaderValue::from_static("secret");
        value.set_sensitive(true);
        let client = Client::default().header("x-api-key", value).header("x-public", "shown");
        let shown = format!("{client:?}");
        assert!(!shown.contains("secret") && shown.contains("shown"), "{shown}");
        assert!(request(&client, "ws://a").contains("\r\nx-api-key: secret\r\n"));
    }

    #[test]
    fn a_map_of_fields_is_added_in_order_and_judged_as_single_ones_are() {
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
    fn subprotocols_stand_in_one_field_in_order() {
        let client = Client::default().subprotocol("b").subprotocol("a");
        assert!(request(&client, "ws://a").contains("\r\nSec-WebSocket-Protocol: b, a\r\n"));
    }

    #[test]
    fn the_first_thing_that_cannot_be_sent_is_told() {
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

    /// The 101 of the RFC's example, with these fields in place of its own.
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

    #[test]
    fn section_4_1_upgrade_and_connection_are_compared_in_any_case() {
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

    #[test]
    fn section_4_1_the_subprotocol_is_one_that_was_offered() {
        let client = Client::default().subprotocol("a").subprotocol("b");
        let chosen = |fields: &[(&'static str, &'static str)]| {
            verify(&client, fields).map(|negotiated| negotiated.subprotocol().map(str::to_owned))
        };
        assert_eq!(chosen(&[("sec-websocket-protocol", "b")]).expect("offered"), Some("b".into()));
        assert_eq!(chosen(&[]).expect("none is fine"), None);
        for value in ["c", "B", "a, b", ""] {
            let result = chosen(&[("sec-websocket-protocol", value)]);
            assert!(matches!(result, Err(ResponseError::Subprotocol(Fault::Wrong))), "{value}");
        }
    }
}
