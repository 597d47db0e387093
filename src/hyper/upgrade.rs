//! A connection that is open once hyper has sent the response.

use std::{
    any::type_name,
    fmt, io,
    pin::Pin,
    task::{Context, Poll, ready},
};

use ::hyper::upgrade::{OnUpgrade, Upgraded};
use bytes::Bytes;
use tokio::{
    io::{AsyncRead, AsyncWrite, DuplexStream},
    time::{Sleep, sleep},
};

use super::stream::{UpgradedStream, bare};
use crate::{
    Config, Error, Rejection, Role, Timeout, WebSocket,
    handshake::{BearerToken, Negotiated},
    trace::HandshakeTrace,
};

/// A WebSocket connection that opens once the response has been sent.
///
/// Returned by [`upgrade`](super::upgrade). Awaiting it returns the connection, over an
/// [`UpgradedStream`].
///
/// # Errors
/// [`Error::Transport`] if the connection ended before the response was sent, or if it is not
/// served with upgrades; [`Error::Timeout`] after
/// [`handshake_timeout`](Config::handshake_timeout), counted from the first poll.
///
/// # Panics
/// Panics outside a tokio runtime, or if the timers of the runtime are not enabled.
///
/// # Cancel safety
/// Dropping it closes the connection, once the response has been sent.
#[must_use = "dropping it closes the connection"]
pub struct Upgrade {
    origin: Origin,
    config: Box<Config>,
    negotiated: Negotiated,
    trace: UpgradeTrace,
    pub(super) token: Option<BearerToken>,
    /// Boxed, because it needs a fixed place. `None` until the first poll.
    deadline: Option<Pin<Box<Sleep>>>,
}

/// Where the transport comes from.
pub(crate) enum Origin {
    Hyper(OnUpgrade),
    /// In a test: there is no connection to upgrade.
    Memory(DuplexStream),
}

impl Upgrade {
    pub(crate) fn new(origin: Origin, config: Config, negotiated: Negotiated, trace: UpgradeTrace) -> Self {
        Self { origin, config: Box::new(config), negotiated, trace, token: None, deadline: None }
    }

    /// Returns the bearer token that the client has sent as a subprotocol.
    ///
    /// `None` if there is none, or if [`Server::bearer_prefix`](crate::Server::bearer_prefix) is not
    /// set. It was removed from the header fields of the request.
    pub fn bearer_token(&self) -> Option<&str> {
        self.token.as_ref().map(BearerToken::as_str)
    }

    /// Returns the subprotocol agreed on, if any.
    pub fn subprotocol(&self) -> Option<&str> {
        self.negotiated.subprotocol()
    }

    /// Returns the connection over its transport, which must be of the type `S`.
    ///
    /// That is the stream that the server passed to hyper, inside of a `TokioIo`. Awaiting the
    /// `Upgrade` itself finds TCP streams and the TLS streams of tokio-rustls without this; any
    /// other transport is then used through hyper's `Upgraded`, which calls it dynamically.
    ///
    /// # Errors
    /// Those of awaiting the `Upgrade`, and [`Error::Transport`] of the kind
    /// [`Unsupported`](io::ErrorKind::Unsupported) if the transport is not an `S`. The connection
    /// is then closed.
    ///
    /// # Panics
    /// As awaiting the `Upgrade`.
    ///
    /// # Cancel safety
    /// As dropping the `Upgrade`.
    ///
    /// ```no_run
    /// # async fn run(upgrade: fullduplex::hyper::Upgrade) -> Result<(), fullduplex::Error> {
    /// let ws = upgrade.over::<tokio::net::UnixStream>().await?;
    /// # Ok(())
    /// # }
    /// ```
    pub async fn over<S>(mut self) -> Result<WebSocket<S>, Error>
    where
        S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        let upgraded = match std::future::poll_fn(|cx| self.poll_transport(cx)).await? {
            Transport::Upgraded(upgraded) => bare::<S>(upgraded).ok(),
            Transport::Memory(_) => None,
        };
        let (io, unread) = upgraded.ok_or_else(|| {
            let message = format!("the transport of the upgraded connection is not a {}", type_name::<S>());
            io::Error::new(io::ErrorKind::Unsupported, message)
        })?;
        Ok(self.open(io, unread))
    }

    fn poll_transport(&mut self, cx: &mut Context<'_>) -> Poll<Result<Transport, Error>> {
        let transport = ready!(self.poll_upgraded(cx));
        match &transport {
            Ok(_) => self.trace.handshake.opened(),
            Err(error) => self.trace.handshake.failed(error),
        }
        Poll::Ready(transport)
    }

    fn poll_upgraded(&mut self, cx: &mut Context<'_>) -> Poll<Result<Transport, Error>> {
        let on_upgrade = match &mut self.origin {
            Origin::Hyper(on_upgrade) => on_upgrade,
            Origin::Memory(io) => {
                // Replaced by one that is closed: a future is not polled after it is ready.
                let io = std::mem::replace(io, tokio::io::duplex(1).0);
                return Poll::Ready(Ok(Transport::Memory(io)));
            }
        };
        if let Poll::Ready(upgraded) = Pin::new(on_upgrade).poll(cx) {
            let kind = |error: &::hyper::Error| match error.is_canceled() {
                true => io::ErrorKind::ConnectionAborted,
                false => io::ErrorKind::Other,
            };
            return Poll::Ready(match upgraded {
                Ok(upgraded) => Ok(Transport::Upgraded(upgraded)),
                Err(error) => Err(Error::Transport(io::Error::new(kind(&error), error))),
            });
        }
        let Some(limit) = self.config.handshake_timeout else { return Poll::Pending };
        let deadline = self.deadline.get_or_insert_with(|| Box::pin(sleep(limit)));
        ready!(deadline.as_mut().poll(cx));
        Poll::Ready(Err(Error::Timeout(Timeout::Handshake)))
    }

    fn open<S>(&mut self, io: S, unread: Bytes) -> WebSocket<S> {
        let negotiated = std::mem::take(&mut self.negotiated);
        let ws = WebSocket::from_raw(io, unread, Role::Server, &self.config, negotiated);
        ws.events().path(&self.trace.path);
        ws
    }
}

/// The span of the opening handshake, and the path of the request for that of the connection.
pub(crate) struct UpgradeTrace {
    handshake: HandshakeTrace,
    path: Box<str>,
}

impl UpgradeTrace {
    pub(crate) fn new(path: &str) -> Self {
        let handshake = HandshakeTrace::server();
        handshake.path(path);
        Self { handshake, path: path.into() }
    }

    pub(crate) fn rejected(&self, rejection: &Rejection) {
        self.handshake.rejected(rejection);
    }
}

enum Transport {
    Upgraded(Upgraded),
    Memory(DuplexStream),
}

impl Future for Upgrade {
    type Output = Result<WebSocket<UpgradedStream>, Error>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let (io, unread) = match ready!(self.poll_transport(cx))? {
            Transport::Upgraded(upgraded) => UpgradedStream::new(upgraded),
            Transport::Memory(io) => (UpgradedStream::memory(io), Bytes::new()),
        };
        let ws = self.open(io, unread);
        ws.events().peer(|| ws.get_ref().tcp()?.peer_addr().ok());
        Poll::Ready(Ok(ws))
    }
}

impl fmt::Debug for Upgrade {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Upgrade").field("negotiated", &self.negotiated).finish_non_exhaustive()
    }
}
