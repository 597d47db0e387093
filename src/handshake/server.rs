//! The settings of a server. No I/O.

use std::{fmt, sync::Arc, time::Duration};

use super::{headers::is_token, invalid::InvalidHandshake, origin, respond::HostPort};
use crate::proto::Config;

/// The settings of a server: origins, subprotocols, limits and deadlines.
///
/// One value serves any number of connections. [`read_request`](Server::read_request) reads a
/// request from a transport; [`respond`](super::respond) validates one that another HTTP library
/// has read.
///
/// The first invalid setting, such as an origin that no browser sends, is stored as an error.
/// [`check`](Self::check) returns it. While there is one, no request is accepted.
///
/// ```
/// use std::time::Duration;
/// use fullduplex::{Config, Server};
///
/// let server = Server::new(Config::default())
///     .allow_origins(["https://example.com"])
///     .subprotocols(["chat.v2", "chat.v1"])
///     .handshake_timeout(Duration::from_secs(5));
/// assert_eq!(server.check(), Ok(()));
/// ```
#[derive(Debug, Clone, Default)]
pub struct Server {
    config: Config,
    origins: Origins,
    subprotocols: Box<[Box<str>]>,
    bearer_prefix: Option<Box<str>>,
    invalid: Option<InvalidHandshake>,
}

/// The origins that are accepted.
#[derive(Clone, Default)]
enum Origins {
    #[default]
    Any,
    Listed(Box<[Box<str>]>),
    /// That of the host that the request is for, and these.
    SameHostOr(Box<[Box<str>]>),
    Predicate(Arc<dyn Fn(&str) -> bool + Send + Sync>),
}

impl fmt::Debug for Origins {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Any => f.write_str("Any"),
            Self::Listed(origins) => origins.fmt(f),
            Self::SameHostOr(origins) => f.debug_tuple("SameHostOr").field(origins).finish(),
            Self::Predicate(_) => f.write_str("Predicate"),
        }
    }
}

impl Server {
    /// Creates a server that accepts any origin, without subprotocols.
    pub fn new(config: Config) -> Self {
        Self { config, ..Self::default() }
    }

    /// Replaces the configuration of the handshake and of the connections.
    pub fn with_config(mut self, config: Config) -> Self {
        self.config = config;
        self
    }

    /// Accepts only requests from web pages of these origins.
    ///
    /// Other origins are rejected with status 403.
    ///
    /// **This is required if access depends on something that a browser sends by itself**: cookies,
    /// HTTP authentication, client certificates, or an address inside a private network. A page of
    /// any site can open a WebSocket connection to any server, and the same-origin policy does not
    /// prevent it: without this list, such a page acts with the rights of its visitor. It is not
    /// required if each connection is authenticated by something that a foreign page cannot know,
    /// such as a token in the first message.
    ///
    /// An origin is written as browsers send it, such as `https://example.com` or
    /// `https://example.com:8443`: scheme, host, and the port unless it is the default. Pages with
    /// an opaque origin send `null`. Case, a default port and a trailing slash are normalized.
    /// Anything else, such as `*` or `example.com`, would match no page, and is an error that
    /// [`check`](Self::check) returns. To accept pages of any origin, set no list.
    ///
    /// A request without `Origin` is accepted: every browser sends `Origin` with a WebSocket
    /// request, and other clients can send any value (RFC 6455 section 10.2).
    pub fn allow_origins<I>(mut self, origins: I) -> Self
    where
        I: IntoIterator,
        I::Item: AsRef<str>,
    {
        self.origins = Origins::Listed(self.normalized(origins));
        self
    }

    /// Accepts only requests from web pages whose origin a function accepts.
    ///
    /// Origins for which it returns `false` are rejected with status 403.
    ///
    /// Use it for rules that a list cannot express, such as all subdomains of a domain. It replaces
    /// the list of [`allow_origins`](Self::allow_origins), whose docs say when such a rule is
    /// required.
    ///
    /// The function is called once for each request that has an `Origin`, with its value as the
    /// browser sent it: `null`, or `scheme://host[:port]` in lower case and without a default port
    /// (RFC 6454 section 6.2). Clients other than browsers can send anything there, so compare
    /// whole host names: `ends_with("example.com")` also matches `https://evil-example.com`. It
    /// must not block.
    ///
    /// ```
    /// use fullduplex::Server;
    ///
    /// let server = Server::default().allow_origins_by(|origin| {
    ///     origin.strip_prefix("https://").is_some_and(|host| host == "example.com" || host.ends_with(".example.com"))
    /// });
    /// ```
    pub fn allow_origins_by<F>(mut self, is_allowed: F) -> Self
    where
        F: Fn(&str) -> bool + Send + Sync + 'static,
    {
        self.origins = Origins::Predicate(Arc::new(is_allowed));
        self
    }

    /// Accepts only requests from web pages of the host that the request is for.
    ///
    /// The host and port of `Origin` must be those of `Host`; other origins are rejected with
    /// status 403. The scheme is not compared, because behind a proxy that ends TLS it is not
    /// known. A proxy in front has to pass `Host` unchanged. It replaces the list of
    /// [`allow_origins`](Self::allow_origins), whose docs say when such a rule is required.
    ///
    /// A page whose name an attacker resolves to the address of this server (DNS rebinding) has
    /// that name in both fields. A server in a private network that is reached without TLS
    /// therefore needs a list.
    ///
    /// ```
    /// use fullduplex::{Server, handshake::respond};
    /// use http::Request;
    ///
    /// let server = Server::default().same_origin();
    /// # let request = |origin| Request::get("/").header("Host", "example.com:8443").header("Upgrade", "websocket")
    /// #     .header("Connection", "Upgrade").header("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ==")
    /// #     .header("Sec-WebSocket-Version", "13").header("Origin", origin).body(()).map(|request| request.into_parts().0);
    /// assert!(respond(&request("https://example.com:8443")?, &server).is_ok());
    /// assert!(respond(&request("https://other.example")?, &server).is_err());
    /// # Ok::<(), http::Error>(())
    /// ```
    pub fn same_origin(mut self) -> Self {
        self.origins = Origins::SameHostOr(Box::default());
        self
    }

    /// Accepts only requests from web pages of the host that the request is for, or of these origins.
    ///
    /// This is [`same_origin`](Self::same_origin) with exceptions, which are written as for
    /// [`allow_origins`](Self::allow_origins). It replaces the rules of both.
    ///
    /// ```
    /// use fullduplex::{Server, handshake::respond};
    /// use http::Request;
    ///
    /// let server = Server::default().same_origin_or(["https://app.example"]);
    /// # let request = |origin| Request::get("/").header("Host", "example.com:8443").header("Upgrade", "websocket")
    /// #     .header("Connection", "Upgrade").header("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ==")
    /// #     .header("Sec-WebSocket-Version", "13").header("Origin", origin).body(()).map(|request| request.into_parts().0);
    /// assert!(respond(&request("https://example.com:8443")?, &server).is_ok());
    /// assert!(respond(&request("https://app.example")?, &server).is_ok());
    /// assert!(respond(&request("https://other.example")?, &server).is_err());
    /// # Ok::<(), http::Error>(())
    /// ```
    pub fn same_origin_or<I>(mut self, origins: I) -> Self
    where
        I: IntoIterator,
        I::Item: AsRef<str>,
    {
        self.origins = Origins::SameHostOr(self.normalized(origins));
        self
    }

    /// Accepts requests from web pages of any origin, which is the default.
    ///
    /// See [`allow_origins`](Self::allow_origins) for when that is safe.
    pub fn any_origin(mut self) -> Self {
        self.origins = Origins::Any;
        self
    }

    /// Sets the supported subprotocols, in order of preference.
    ///
    /// The first in this list that the client offers is chosen. Without a common subprotocol, the
    /// connection is accepted without one (RFC 6455 section 4.2.2); to refuse it, look at
    /// [`WebSocket::subprotocol`](crate::WebSocket). A name that is not a token, which no client
    /// can offer, is an error that [`check`](Self::check) returns.
    pub fn subprotocols<I>(mut self, subprotocols: I) -> Self
    where
        I: IntoIterator,
        I::Item: AsRef<str>,
    {
        let mut known = Vec::new();
        for name in subprotocols {
            match name.as_ref() {
                name if is_token(name) => known.push(name.into()),
                name => self.fail(InvalidHandshake::Subprotocol(name.into())),
            }
        }
        self.subprotocols = known.into();
        self
    }

    /// Sets the prefix of subprotocols that are bearer tokens.
    ///
    /// Browsers cannot set `Authorization` on a WebSocket request. A page offers its token as a
    /// subprotocol instead, beside those that it speaks. The token is removed from the offer before
    /// anything else sees it: it is never selected, never part of the response, and not in the
    /// request that is shown.
    /// [`IncomingRequest::bearer_token`](crate::IncomingRequest::bearer_token) returns it. The
    /// application verifies it, and rejects the request with status 401 if it is missing or wrong.
    ///
    /// The page must offer a subprotocol besides, and this server support it, because a browser
    /// fails a connection for which none of its subprotocols was selected:
    ///
    /// ```js
    /// new WebSocket("wss://example.com/", ["chat.v1", "bearer." + token])
    /// ```
    ///
    /// A token consists of the characters of RFC 9110 section 5.6.2, as base64url and JSON Web
    /// Tokens do. A request with two tokens or an empty one is rejected with status 400. A prefix
    /// that is not a token itself is an error that [`check`](Self::check) returns.
    ///
    /// With another HTTP library, call [`take_bearer_token`](super::take_bearer_token);
    /// [`respond`](super::respond) ignores tokens.
    ///
    /// ```
    /// use fullduplex::{Server, handshake::respond};
    /// use http::Request;
    ///
    /// let (request, ()) = Request::get("/")
    ///     .header("Host", "example.com")
    ///     .header("Upgrade", "websocket")
    ///     .header("Connection", "Upgrade")
    ///     .header("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ==")
    ///     .header("Sec-WebSocket-Version", "13")
    ///     .header("Sec-WebSocket-Protocol", "bearer.c2VjcmV0, chat.v1")
    ///     .body(())?
    ///     .into_parts();
    /// let server = Server::default().subprotocols(["chat.v1"]).bearer_prefix("bearer.");
    /// let (response, _negotiated) = respond(&request, &server)?;
    /// assert_eq!(response.headers()["sec-websocket-protocol"], "chat.v1");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn bearer_prefix(mut self, prefix: impl AsRef<str>) -> Self {
        match prefix.as_ref() {
            prefix if is_token(prefix) => self.bearer_prefix = Some(prefix.into()),
            prefix => self.fail(InvalidHandshake::Subprotocol(prefix.into())),
        }
        self
    }

    /// Sets the deadline of the opening handshake; `None` disables it.
    pub fn handshake_timeout(mut self, timeout: impl Into<Option<Duration>>) -> Self {
        self.config = self.config.handshake_timeout(timeout);
        self
    }

    /// Returns origins as browsers send them.
    fn normalized<I>(&mut self, origins: I) -> Box<[Box<str>]>
    where
        I: IntoIterator,
        I::Item: AsRef<str>,
    {
        let mut normalized = Vec::new();
        for entry in origins {
            match origin::normalize(entry.as_ref()) {
                Some(origin) => normalized.push(origin),
                None => self.fail(InvalidHandshake::Origin(entry.as_ref().into())),
            }
        }
        normalized.into()
    }

    /// Stores the first error.
    fn fail(&mut self, error: InvalidHandshake) {
        self.invalid.get_or_insert(error);
    }

    /// Validates the settings.
    ///
    /// A program that calls it before it listens finds an error before the first client does.
    ///
    /// # Errors
    /// Returns the first invalid setting. [`read_request`](Server::read_request) returns it before
    /// it reads, and [`respond`](super::respond) answers with status 500.
    ///
    /// ```
    /// use fullduplex::{Server, handshake::InvalidHandshake};
    ///
    /// assert_eq!(Server::default().allow_origins(["HTTPS://Example.com:443/"]).check(), Ok(()));
    /// let wildcard = Server::default().allow_origins(["*"]);
    /// assert_eq!(wildcard.check(), Err(&InvalidHandshake::Origin("*".into())));
    /// ```
    pub fn check(&self) -> Result<(), &InvalidHandshake> {
        self.invalid.as_ref().map_or(Ok(()), Err)
    }

    /// Returns the configuration of the handshake and of the connections.
    pub fn config(&self) -> &Config {
        &self.config
    }

    pub(crate) fn known_bearer_prefix(&self) -> Option<&str> {
        self.bearer_prefix.as_deref()
    }

    pub(super) fn known_subprotocols(&self) -> &[Box<str>] {
        &self.subprotocols
    }

    /// Returns whether a request of this origin, for this host, may be accepted.
    ///
    /// The listed origins are serialized as in RFC 6454 section 6.2, as those that browsers send.
    pub(super) fn allows_origin(&self, origin: &[u8], host: HostPort<'_>) -> bool {
        match &self.origins {
            Origins::Any => true,
            Origins::Listed(origins) => is_listed(origins, origin),
            Origins::SameHostOr(origins) => {
                str::from_utf8(origin).is_ok_and(|origin| origin::is_of_host(origin, host))
                    || is_listed(origins, origin)
            }
            // An origin is ASCII (RFC 6454 section 6.2).
            Origins::Predicate(is_allowed) => {
                origin.is_ascii() && str::from_utf8(origin).is_ok_and(|origin| is_allowed(origin))
            }
        }
    }
}

fn is_listed(origins: &[Box<str>], origin: &[u8]) -> bool {
    origins.iter().any(|listed| listed.as_bytes() == origin)
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOST: HostPort<'_> = ("example.com", None);

    #[test]
    fn check_returns_the_first_invalid_setting() {
        use InvalidHandshake::{Origin, Subprotocol};
        for (server, error) in [
            (Server::default().allow_origins(["https://a", "*", "b"]), Origin("*".into())),
            (Server::default().allow_origins(["a"]).allow_origins(["https://a"]), Origin("a".into())),
            (Server::default().same_origin_or(["https://a", "a"]).same_origin(), Origin("a".into())),
            (Server::default().subprotocols(["a", "b c"]), Subprotocol("b c".into())),
            (Server::default().subprotocols([""]).allow_origins(["*"]), Subprotocol("".into())),
            (Server::default().bearer_prefix("bearer "), Subprotocol("bearer ".into())),
            (Server::default().bearer_prefix(""), Subprotocol("".into())),
        ] {
            assert_eq!(server.check(), Err(&error));
        }
    }

    #[test]
    fn a_function_is_called_with_the_origin_as_sent_if_it_is_ascii() {
        let server = Server::default()
            .allow_origins(["https://list.example"])
            .allow_origins_by(|origin| origin.ends_with(".example.com"));
        for (origin, allowed) in [
            (&b"https://a.example.com"[..], true),
            (b"https://list.example", false),
            (b"null", false),
            (b"", false),
            ("https://\u{e4}.example.com".as_bytes(), false),
            (b"https://\xFF.example.com", false),
        ] {
            assert_eq!(server.clone().allows_origin(origin, HOST), allowed, "{}", origin.escape_ascii());
        }
        fn assert_shared<T: Send + Sync + Clone + std::fmt::Debug>(_: &T) {}
        assert_shared(&server);
        assert!(format!("{server:?}").contains("origins: Predicate"));
        assert!(server.allow_origins(["https://list.example"]).allows_origin(b"https://list.example", HOST));
    }

    #[test]
    fn the_same_origin_has_exceptions_until_a_rule_replaces_it() {
        let allowed = |server: &Server| {
            let origins = ["https://example.com", "https://a.example:8443", "https://b.example", "null"];
            origins.map(|origin| server.allows_origin(origin.as_bytes(), HOST))
        };
        let server = Server::default().same_origin_or(["HTTPS://A.example:8443/", "https://b.example:443"]);
        assert_eq!((server.check(), allowed(&server)), (Ok(()), [true, true, true, false]));
        assert_eq!(allowed(&server.clone().same_origin()), [true, false, false, false]);
        assert_eq!(allowed(&server.clone().allow_origins(["null"])), [false, false, false, true]);
        assert_eq!(allowed(&server.same_origin_or(["null"])), [true, false, false, true]);
    }

    #[test]
    fn an_empty_list_of_origins_allows_none() {
        let server = Server::default().allow_origins([""; 0]);
        assert_eq!((server.check(), server.allows_origin(b"null", HOST)), (Ok(()), false));
    }
}
