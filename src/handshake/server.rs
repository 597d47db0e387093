//! What a server accepts: data, no I/O.

use std::time::Duration;

use crate::proto::Config;

/// What a server accepts, and within which limits.
///
/// It is made once and serves any number of connections. [`receive`](Server::receive) reads a request from a transport;
/// [`respond`](super::respond) judges one that another HTTP library has read.
///
/// ```
/// use std::time::Duration;
/// use fullduplex::{Config, Server};
///
/// let server = Server::new(Config::default())
///     .allow_origins(["https://example.com"])
///     .subprotocols(["chat.v2", "chat.v1"])
///     .handshake_timeout(Duration::from_secs(5));
/// assert_eq!(server.config().handshake_timeout, Some(Duration::from_secs(5)));
/// ```
#[derive(Debug, Clone, Default)]
pub struct Server {
    config: Config,
    origins: Option<Box<[Box<str>]>>,
    subprotocols: Box<[Box<str>]>,
}

impl Server {
    /// A server that takes requests of any origin, and knows no subprotocol.
    pub fn new(config: Config) -> Self {
        Self { config, ..Self::default() }
    }

    /// Accepts requests from web pages of these origins alone; others are rejected with 403.
    ///
    /// **This is needed wherever a browser sends credentials along by itself**: cookies, HTTP authentication, client
    /// certificates, or an address inside a private network. A page of any site may open a WebSocket connection to any
    /// server, and the same-origin policy does not stop it: without this list such a page acts as its visitor. It is not needed where
    /// each connection proves itself by what a foreign page cannot know, such as a token in the first message.
    ///
    /// An origin is written as browsers do, `https://example.com` or `https://example.com:8443`: scheme, host, the port
    /// unless it is the default. Pages without an origin of their own say `null`. A request without `Origin` passes:
    /// every browser sends one with a WebSocket request, and other clients can write there what they like
    /// (RFC 6455 section 10.2).
    pub fn allow_origins<I>(mut self, origins: I) -> Self
    where
        I: IntoIterator,
        I::Item: AsRef<str>,
    {
        let origins = origins.into_iter().map(|origin| origin.as_ref().trim_end_matches('/').into());
        self.origins = Some(origins.collect());
        self
    }

    /// Sets the subprotocols that this server speaks, the one it likes best first.
    ///
    /// Of those that a client offers, the first in this list is chosen. Where there is none in common, the connection is
    /// accepted without one (RFC 6455 section 4.2.2); whoever wants to refuse looks at
    /// [`WebSocket::subprotocol`](crate::WebSocket). Only tokens can ever be offered, and so be chosen.
    pub fn subprotocols<I>(mut self, subprotocols: I) -> Self
    where
        I: IntoIterator,
        I::Item: AsRef<str>,
    {
        self.subprotocols = subprotocols.into_iter().map(|name| name.as_ref().into()).collect();
        self
    }

    /// Sets how long the opening handshake may take; `None`: for ever.
    pub fn handshake_timeout(mut self, timeout: impl Into<Option<Duration>>) -> Self {
        self.config = self.config.handshake_timeout(timeout);
        self
    }

    /// The limits and deadlines of the handshake and of the connections that come out of it.
    pub fn config(&self) -> &Config {
        &self.config
    }

    pub(super) fn known_subprotocols(&self) -> &[Box<str>] {
        &self.subprotocols
    }

    /// Whether a request of this origin may be accepted. An origin is ASCII in lower case as browsers write it
    /// (RFC 6454 section 6.2), so that comparing in any case adds nothing but tolerance for the list.
    pub(super) fn allows_origin(&self, origin: &[u8]) -> bool {
        let Some(origins) = &self.origins else { return true };
        origins.iter().any(|allowed| allowed.as_bytes().eq_ignore_ascii_case(origin))
    }
}
