//! What a server accepts: data, no I/O.

use std::{fmt, sync::Arc, time::Duration};

use super::{headers::is_token, invalid::InvalidHandshake, origin};
use crate::proto::Config;

/// What a server accepts, and within which limits.
///
/// It is made once and serves any number of connections. [`read_request`](Server::read_request)
/// reads a request from a transport; [`respond`](super::respond) judges one that another HTTP
/// library has read.
///
/// What could never come to anything, such as an origin that no browser sends, is kept as an error,
/// which [`check`](Self::check) tells; where there is one, no request is accepted.
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
    invalid: Option<InvalidHandshake>,
}

/// Which origins are accepted.
#[derive(Clone, Default)]
enum Origins {
    #[default]
    Any,
    Listed(Box<[Box<str>]>),
    Predicate(Arc<dyn Fn(&str) -> bool + Send + Sync>),
}

impl fmt::Debug for Origins {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Any => f.write_str("Any"),
            Self::Listed(origins) => origins.fmt(f),
            Self::Predicate(_) => f.write_str("Predicate"),
        }
    }
}

impl Server {
    /// A server that takes requests of any origin, and knows no subprotocol.
    pub fn new(config: Config) -> Self {
        Self { config, ..Self::default() }
    }

    /// Accepts requests from web pages of these origins alone; others are rejected with 403.
    ///
    /// **This is needed wherever a browser sends credentials along by itself**: cookies, HTTP
    /// authentication, client certificates, or an address inside a private network. A page of any
    /// site may open a WebSocket connection to any server, and the same-origin policy does not stop
    /// it: without this list such a page acts as its visitor. It is not needed where each
    /// connection proves itself by what a foreign page cannot know, such as a token in the first
    /// message.
    ///
    /// An origin is written as browsers do, `https://example.com` or `https://example.com:8443`:
    /// scheme, host, the port unless it is the default. Pages without an origin of their own say
    /// `null`. Case, a default port and a slash at the end are put right. Anything else, `*` and
    /// `example.com` among it, would turn every page away, and is an error that
    /// [`check`](Self::check) tells; to accept pages of any origin, set no list.
    ///
    /// A request without `Origin` passes: every browser sends one with a WebSocket request, and
    /// other clients can write there what they like (RFC 6455 section 10.2).
    pub fn allow_origins<I>(mut self, origins: I) -> Self
    where
        I: IntoIterator,
        I::Item: AsRef<str>,
    {
        let mut allowed = Vec::new();
        for entry in origins {
            match origin::normalize(entry.as_ref()) {
                Some(origin) => allowed.push(origin),
                None => self.fail(InvalidHandshake::Origin(entry.as_ref().into())),
            }
        }
        self.origins = Origins::Listed(allowed.into());
        self
    }

    /// Accepts requests from web pages of the origins for which a function returns `true`; others
    /// are rejected with 403.
    ///
    /// For rules that no list can state, such as all subdomains of a domain. Replaces what
    /// [`allow_origins`](Self::allow_origins) has set, where it is explained when such a rule is
    /// needed.
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

    /// Sets the subprotocols that this server speaks, the one it likes best first.
    ///
    /// Of those that a client offers, the first in this list is chosen. Where there is none in
    /// common, the connection is accepted without one (RFC 6455 section 4.2.2); whoever wants to
    /// refuse looks at [`WebSocket::subprotocol`](crate::WebSocket). A name that is no token, which
    /// no client can offer, is an error that [`check`](Self::check) tells.
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

    /// Sets how long the opening handshake may take; `None`: for ever.
    pub fn handshake_timeout(mut self, timeout: impl Into<Option<Duration>>) -> Self {
        self.config = self.config.handshake_timeout(timeout);
        self
    }

    /// Keeps the first error.
    fn fail(&mut self, error: InvalidHandshake) {
        self.invalid.get_or_insert(error);
    }

    /// Whether everything that was set can come to something. A program that asks before it listens
    /// finds out before the first client does.
    ///
    /// # Errors
    /// The first thing that cannot. [`read_request`](Server::read_request) returns it before it
    /// reads, and [`respond`](super::respond) answers 500.
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

    /// The limits and deadlines of the handshake and of the connections that come out of it.
    pub fn config(&self) -> &Config {
        &self.config
    }

    pub(super) fn known_subprotocols(&self) -> &[Box<str>] {
        &self.subprotocols
    }

    /// Whether a request of this origin may be accepted. Both sides are written as RFC 6454 section
    /// 6.2 has it.
    pub(super) fn allows_origin(&self, origin: &[u8]) -> bool {
        match &self.origins {
            Origins::Any => true,
            Origins::Listed(origins) => origins.iter().any(|allowed| allowed.as_bytes() == origin),
            // An origin is ASCII (RFC 6454 section 6.2).
            Origins::Predicate(is_allowed) => {
                origin.is_ascii() && str::from_utf8(origin).is_ok_and(|origin| is_allowed(origin))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_thing_that_can_come_to_nothing_is_told() {
        use InvalidHandshake::{Origin, Subprotocol};
        for (server, error) in [
            (Server::default().allow_origins(["https://a", "*", "b"]), Origin("*".into())),
            (Server::default().allow_origins(["a"]).allow_origins(["https://a"]), Origin("a".into())),
            (Server::default().subprotocols(["a", "b c"]), Subprotocol("b c".into())),
            (Server::default().subprotocols([""]).allow_origins(["*"]), Subprotocol("".into())),
        ] {
            assert_eq!(server.check(), Err(&error));
        }
    }

    #[test]
    fn a_function_judges_the_origin_as_it_was_sent_and_no_bytes_beyond_ascii() {
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
            assert_eq!(server.clone().allows_origin(origin), allowed, "{}", origin.escape_ascii());
        }
        fn assert_shared<T: Send + Sync + Clone + std::fmt::Debug>(_: &T) {}
        assert_shared(&server);
        assert!(format!("{server:?}").contains("origins: Predicate"));
        assert!(server.allow_origins(["https://list.example"]).allows_origin(b"https://list.example"));
    }

    #[test]
    fn no_origin_at_all_may_be_welcome() {
        let server = Server::default().allow_origins([""; 0]);
        assert_eq!((server.check(), server.allows_origin(b"null")), (Ok(()), false));
    }
}
