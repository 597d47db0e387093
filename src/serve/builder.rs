//! How a `Serve` is configured.

use std::{fmt, future::Future, hash::Hash, io, net::SocketAddr, pin::Pin, sync::Arc};

use bytes::Bytes;
use http::Response;
use tokio::net::{TcpListener, ToSocketAddrs};

use super::{
    accept::{self, Shared},
    failure::Failure,
    incoming::{Decision, Incoming},
    limits::{KeyLimit, per_key},
    metrics::Metrics,
    session::Session,
    shutdown::Shutdown,
    stream::ServerStream,
};
#[cfg(feature = "tls")]
use crate::tls::TlsAcceptor;
use crate::{Error, Server};

type BoxFuture<T> = Pin<Box<dyn Future<Output = T> + Send>>;
type Decide = Box<dyn Fn(Incoming) -> BoxFuture<Decision> + Send + Sync>;
type Respond = Box<dyn Fn(Incoming) -> BoxFuture<Response<Bytes>> + Send + Sync>;
type Report = Box<dyn Fn(Failure) + Send + Sync>;

/// Accepts connections of a listener, and runs a handler for each.
///
/// It survives errors of accepting, sets `TCP_NODELAY`, and opens each connection in a task of its
/// own: the loop never waits for a peer. The handler receives the open connection and the request.
///
/// ```no_run
/// use fullduplex::{Error, serve::Serve};
///
/// #[tokio::main]
/// async fn main() -> Result<(), Error> {
///     Serve::bind("127.0.0.1:9001").await?
///         .run(|mut ws, _request| async move {
///             while let Some(message) = ws.recv().await? {
///                 ws.feed(message).await?;
///             }
///             Ok(())
///         })
///         .await
/// }
/// ```
///
/// # Limits
/// | limit | default | beyond it |
/// |---|---|---|
/// | [`max_connections`](Self::max_connections), open or opening | 10,000 | refused |
/// | [`max_handshakes`](Self::max_handshakes) under way | 1,000 | refused |
/// | [`max_connections_per`](Self::max_connections_per) key | off | 503 |
///
/// A connection that is refused is answered with status 503 and `Retry-After: 10`, and closed. With
/// TLS, which would take a handshake first, and while 64 others are being answered, it is dropped.
#[must_use = "nothing is accepted before `run` is called"]
pub struct Serve {
    listener: TcpListener,
    settings: Settings,
}

/// What a `Serve` does with connections.
pub(super) struct Settings {
    pub(super) server: Server,
    #[cfg(feature = "tls")]
    pub(super) tls: Option<TlsAcceptor>,
    pub(super) shutdown: Option<Shutdown>,
    pub(super) metrics: Option<Metrics>,
    pub(super) proxy_protocol: bool,
    pub(super) max_connections: usize,
    pub(super) max_handshakes: usize,
    pub(super) per_key: Option<Arc<dyn KeyLimit>>,
    pub(super) decide: Option<Decide>,
    pub(super) respond: Option<Respond>,
    pub(super) report: Option<Report>,
}

impl fmt::Debug for Serve {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Serve")
            .field("listener", &self.listener)
            .field("server", &self.settings.server)
            .field("proxy_protocol", &self.settings.proxy_protocol)
            .field("max_connections", &self.settings.max_connections)
            .field("max_handshakes", &self.settings.max_handshakes)
            .finish_non_exhaustive()
    }
}

impl Serve {
    /// Creates a server for the connections of a listener.
    pub fn new(listener: TcpListener) -> Self {
        let settings = Settings {
            server: Server::default(),
            #[cfg(feature = "tls")]
            tls: None,
            shutdown: None,
            metrics: None,
            proxy_protocol: false,
            max_connections: 10_000,
            max_handshakes: 1000,
            per_key: None,
            decide: None,
            respond: None,
            report: None,
        };
        Self { listener, settings }
    }

    /// Creates a server that listens on an address.
    ///
    /// # Errors
    /// Returns the error of [`TcpListener::bind`].
    ///
    /// # Cancel safety
    /// Dropping the future creates nothing.
    pub async fn bind(address: impl ToSocketAddrs) -> io::Result<Self> {
        Ok(Self::new(TcpListener::bind(address).await?))
    }

    /// Sets the origins, subprotocols, limits and deadlines of connections.
    pub fn server(mut self, server: Server) -> Self {
        self.settings.server = server;
        self
    }

    /// Serves `wss://`; `None` disables TLS.
    #[cfg(feature = "tls")]
    #[cfg_attr(docsrs, doc(cfg(feature = "tls")))]
    pub fn tls(mut self, acceptor: impl Into<Option<TlsAcceptor>>) -> Self {
        self.settings.tls = acceptor.into();
        self
    }

    /// Stops and closes all connections when this shutdown begins.
    ///
    /// [`run`](Self::run) then returns, and [`Shutdown::wait`] waits for the connections. Opening
    /// handshakes that are under way are dropped.
    ///
    /// ```no_run
    /// use std::time::Duration;
    /// use fullduplex::{CloseCode, Error, serve::{Serve, Shutdown}};
    ///
    /// # async fn run() -> Result<(), Error> {
    /// let shutdown = Shutdown::new();
    /// let stopping = shutdown.clone();
    /// tokio::spawn(async move {
    ///     tokio::signal::ctrl_c().await.ok();
    ///     stopping.begin(CloseCode::GOING_AWAY, "the server stops")
    /// });
    /// Serve::bind("127.0.0.1:9001").await?
    ///     .shutdown(&shutdown)
    ///     .run(|mut ws, _request| async move {
    ///         while let Some(message) = ws.recv().await? {
    ///             ws.feed(message).await?;
    ///         }
    ///         Ok(())
    ///     })
    ///     .await?;
    /// println!("{:?}", shutdown.wait(Duration::from_secs(10)).await);
    /// # Ok(())
    /// # }
    /// ```
    pub fn shutdown(mut self, shutdown: &Shutdown) -> Self {
        self.settings.shutdown = Some(shutdown.clone());
        self
    }

    /// Counts connections and refusals in these metrics.
    ///
    /// Errors that the handler returns are counted by their kind. Messages and bytes are counted if
    /// [`Config::stats`](crate::Config::stats) is enabled.
    pub fn metrics(mut self, metrics: &Metrics) -> Self {
        self.settings.metrics = Some(metrics.clone());
        self
    }

    /// Requires a header of the PROXY protocol, version 1 or 2, from each connection.
    ///
    /// The address that it contains is the [peer](Incoming::peer). It precedes TLS, and has to
    /// arrive within [`handshake_timeout`](crate::Config::handshake_timeout). A connection without
    /// a valid header is dropped. Enable this only for a port that the proxy alone can reach: any
    /// other peer could claim any address.
    pub fn proxy_protocol(mut self, required: bool) -> Self {
        self.settings.proxy_protocol = required;
        self
    }

    /// Sets how many connections may be open or opening; 10,000 by default.
    pub fn max_connections(mut self, limit: usize) -> Self {
        self.settings.max_connections = limit;
        self
    }

    /// Sets how many opening handshakes may be under way; 1,000 by default.
    ///
    /// Each ends after [`handshake_timeout`](crate::Config::handshake_timeout), so peers that are
    /// slow on purpose occupy their places for that long. They do not delay others.
    pub fn max_handshakes(mut self, limit: usize) -> Self {
        self.settings.max_handshakes = limit;
        self
    }

    /// Sets how many connections may be open for each key that a function returns for a request.
    ///
    /// The key may be an address, a user or a room. There is no such limit by default, because all
    /// connections that a load balancer relays come from its address. A host often has a whole /64
    /// of IPv6 addresses, so a limit for each peer has to mask them, as
    /// [`Incoming::network`] does. A connection counts from its request to the end of its handler.
    ///
    /// ```no_run
    /// use fullduplex::serve::{Incoming, Serve};
    ///
    /// # async fn run() -> std::io::Result<()> {
    /// let serve = Serve::bind("[::]:9001").await?.max_connections_per(20, Incoming::network);
    /// # Ok(())
    /// # }
    /// ```
    pub fn max_connections_per<K, F>(mut self, limit: usize, key: F) -> Self
    where
        K: Hash + Eq + Clone + Send + Sync + 'static,
        F: Fn(&Incoming) -> K + Send + Sync + 'static,
    {
        self.settings.per_key = Some(per_key(limit, key));
        self
    }

    /// Sets a function that accepts or rejects each valid request for a connection.
    ///
    /// It can check a token, select a subprotocol, or attach data for the handler. Without it, every
    /// valid request is accepted.
    ///
    /// ```no_run
    /// use fullduplex::serve::Serve;
    /// use http::StatusCode;
    ///
    /// # async fn is_valid(token: Option<&str>) -> bool { token.is_some() }
    /// # async fn run() -> std::io::Result<()> {
    /// let serve = Serve::bind("127.0.0.1:9001").await?.decide(|request| async move {
    ///     match is_valid(request.header("authorization")).await {
    ///         true => request.accept(),
    ///         false => request.refuse(StatusCode::UNAUTHORIZED, "a token, please"),
    ///     }
    /// });
    /// # Ok(())
    /// # }
    /// ```
    pub fn decide<F, Fut>(mut self, decide: F) -> Self
    where
        F: Fn(Incoming) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Decision> + Send + 'static,
    {
        self.settings.decide = Some(Box::new(move |incoming| Box::pin(decide(incoming))));
        self
    }

    /// Sets a function that answers requests which do not ask for a WebSocket connection.
    ///
    /// Such requests are for pages, health checks or metrics. Without it, they are refused with
    /// status 426 or 405. See [`HttpRequest::respond`](crate::HttpRequest::respond).
    ///
    /// ```no_run
    /// use fullduplex::serve::Serve;
    /// use http::{Response, StatusCode};
    ///
    /// # async fn run() -> std::io::Result<()> {
    /// let serve = Serve::bind("127.0.0.1:9001").await?.on_http(|request| async move {
    ///     let mut response = Response::new("ok\n");
    ///     if request.path() != "/health" {
    ///         *response.status_mut() = StatusCode::NOT_FOUND;
    ///     }
    ///     response
    /// });
    /// # Ok(())
    /// # }
    /// ```
    pub fn on_http<F, Fut, B>(mut self, respond: F) -> Self
    where
        F: Fn(Incoming) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Response<B>> + Send + 'static,
        B: Into<Bytes>,
    {
        self.settings.respond = Some(Box::new(move |incoming| {
            let responding = respond(incoming);
            Box::pin(async move { responding.await.map(Into::into) })
        }));
        self
    }

    /// Sets a function that is called for everything that goes wrong, to log it.
    ///
    /// It must not block.
    ///
    /// ```no_run
    /// # use fullduplex::serve::Serve;
    /// # async fn run() -> std::io::Result<()> {
    /// let serve = Serve::bind("127.0.0.1:9001").await?.on_failure(|failure| {
    ///     if !failure.is_disconnect() {
    ///         eprintln!("{failure:#}");
    ///     }
    /// });
    /// # Ok(())
    /// # }
    /// ```
    pub fn on_failure(mut self, report: impl Fn(Failure) + Send + Sync + 'static) -> Self {
        self.settings.report = Some(Box::new(report));
        self
    }

    /// Returns the address that the listener is bound to.
    ///
    /// # Errors
    /// Returns the error of [`TcpListener::local_addr`].
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Accepts connections until the [shutdown](Self::shutdown) begins, or for ever.
    ///
    /// Each open connection is passed to the handler with its request, in a task of its own. A
    /// handler that returns an error, or panics, ends its own connection and nothing else.
    ///
    /// # Errors
    /// Returns [`Error::InvalidHandshake`], before anything is accepted, if
    /// [`Server::check`] fails. Everything that goes wrong later is passed to
    /// [`on_failure`](Self::on_failure).
    ///
    /// # Panics
    /// Panics outside a tokio runtime, or if the timers of the runtime are not enabled.
    ///
    /// # Cancel safety
    /// Dropping the future closes the listener. Open connections continue.
    pub async fn run<F, Fut>(self, handler: F) -> Result<(), Error>
    where
        F: Fn(Session<ServerStream>, Incoming) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<(), Error>> + Send + 'static,
    {
        self.settings.server.check().map_err(Clone::clone)?;
        accept::all(&self.listener, Arc::new(Shared::new(self.settings, handler))).await;
        Ok(())
    }
}
