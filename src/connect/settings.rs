//! How a client reaches a server.

use std::{
    fmt,
    future::Future,
    io,
    net::{IpAddr, SocketAddr},
    pin::Pin,
    sync::Arc,
    time::Duration,
};

use tokio::io::{AsyncRead, AsyncWrite};

use super::stream::ClientStream;
use crate::Client;
#[cfg(feature = "tls")]
use crate::tls::TlsConnector;
#[cfg(feature = "proxy")]
use crate::{Error, Target, proxy::Proxy};

/// The settings of a client that are about the transport.
#[derive(Debug, Clone)]
pub(super) struct Dialing {
    pub(super) connect_timeout: Option<Duration>,
    pub(super) local_address: Option<SocketAddr>,
    pub(super) max_redirects: u8,
    pub(super) resolver: Option<Resolver>,
    pub(super) connector: Option<Connector>,
    #[cfg(feature = "tls")]
    pub(super) tls: Option<TlsConnector>,
    #[cfg(feature = "proxy")]
    pub(super) proxy: ProxyChoice,
}

/// Which proxy to use, if any.
#[cfg(feature = "proxy")]
#[derive(Debug, Clone, Default)]
pub(super) enum ProxyChoice {
    #[default]
    None,
    One(Box<Proxy>),
    Environment,
}

#[cfg(feature = "proxy")]
impl ProxyChoice {
    /// Returns the proxy for a target.
    pub(super) fn select(&self, target: &Target) -> Result<Option<Proxy>, Error> {
        match self {
            Self::None => Ok(None),
            Self::One(proxy) => Ok(Some((**proxy).clone())),
            Self::Environment => Ok(Proxy::from_environment(target)?),
        }
    }
}

impl Default for Dialing {
    fn default() -> Self {
        Self {
            connect_timeout: Some(Duration::from_secs(10)),
            local_address: None,
            max_redirects: 0,
            resolver: None,
            connector: None,
            #[cfg(feature = "tls")]
            tls: None,
            #[cfg(feature = "proxy")]
            proxy: ProxyChoice::None,
        }
    }
}

type BoxFuture<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// Resolves host names.
#[derive(Clone)]
pub(super) struct Resolver(Arc<dyn Fn(String) -> BoxFuture<io::Result<Vec<IpAddr>>> + Send + Sync>);

impl Resolver {
    pub(super) fn resolve(&self, host: String) -> BoxFuture<io::Result<Vec<IpAddr>>> {
        (self.0)(host)
    }
}

impl fmt::Debug for Resolver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Resolver")
    }
}

/// Opens transports.
#[derive(Clone)]
pub(super) struct Connector(Arc<dyn Fn(String, u16) -> BoxFuture<io::Result<ClientStream>> + Send + Sync>);

impl Connector {
    pub(super) fn connect(&self, host: String, port: u16) -> BoxFuture<io::Result<ClientStream>> {
        (self.0)(host, port)
    }
}

impl fmt::Debug for Connector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Connector")
    }
}

/// # Reaching the server
impl Client {
    /// Sets the deadline for reaching the server; `None` disables it. The default is 10 seconds.
    ///
    /// It covers name lookup, the TCP connection, a proxy and the TLS handshake. The opening handshake that
    /// follows has its own: [`handshake_timeout`](Self::handshake_timeout).
    pub fn connect_timeout(self, timeout: impl Into<Option<Duration>>) -> Self {
        let timeout = timeout.into();
        self.set_dialing(|dialing| dialing.connect_timeout = timeout)
    }

    /// Sets the local address that [`connect`](Self::connect) binds to.
    ///
    /// With port 0, the system chooses the port.
    ///
    /// Only addresses of the host that are of the same family, IPv4 or IPv6, are dialed. By
    /// default, the system chooses the local address.
    ///
    /// ```
    /// use std::net::Ipv4Addr;
    /// use fullduplex::Client;
    ///
    /// let client = Client::default().local_address((Ipv4Addr::LOCALHOST, 0));
    /// # let _ = client;
    /// ```
    pub fn local_address(self, address: impl Into<SocketAddr>) -> Self {
        let address = address.into();
        self.set_dialing(|dialing| dialing.local_address = Some(address))
    }

    /// Sets how many redirects are followed. The default is none.
    ///
    /// A response with status 301, 302, 303, 307 or 308 leads to the target in its `Location`,
    /// which may be relative; `http` and `https` in it mean `ws` and `wss`. Each hop has the
    /// deadlines of a connection of its own.
    ///
    /// At another origin (scheme, host or port), header fields with credentials are not sent:
    /// `Authorization`, `Cookie`, and every value that is
    /// [marked as sensitive](http::HeaderValue::set_sensitive). A redirect from `wss` to `ws` is
    /// not followed. [`ResponseError::Redirect`](crate::ResponseError::Redirect) reports a redirect
    /// that is not followed once this is set.
    ///
    /// ```
    /// use fullduplex::Client;
    ///
    /// let client = Client::default().max_redirects(5);
    /// # let _ = client;
    /// ```
    pub fn max_redirects(self, limit: u8) -> Self {
        self.set_dialing(|dialing| dialing.max_redirects = limit)
    }

    /// Sets the function that resolves host names, in place of the system's resolver.
    ///
    /// It returns the addresses of a host, the preferred first. It is not called for a host that is
    /// an address.
    ///
    /// ```
    /// use std::net::{IpAddr, Ipv4Addr};
    /// use fullduplex::Client;
    ///
    /// let client = Client::default().resolver(|host| async move {
    ///     match host.strip_suffix(".test") {
    ///         Some(_) => Ok(vec![IpAddr::from(Ipv4Addr::LOCALHOST)]),
    ///         None => Err(std::io::Error::other("not a test host")),
    ///     }
    /// });
    /// # let _ = client;
    /// ```
    pub fn resolver<R, F>(self, resolve: R) -> Self
    where
        R: Fn(String) -> F + Send + Sync + 'static,
        F: Future<Output = io::Result<Vec<IpAddr>>> + Send + 'static,
    {
        let resolver = Resolver(Arc::new(move |host| Box::pin(resolve(host))));
        self.set_dialing(|dialing| dialing.resolver = Some(resolver))
    }

    /// Sets the function that opens the transport, in place of name lookup and TCP.
    ///
    /// It is called with the host and port of the target, and returns any byte stream, such as a
    /// Unix socket or a tunnel. For a `wss://` target, TLS is added over it.
    ///
    /// ```
    /// use fullduplex::Client;
    /// # #[cfg(unix)]
    /// use tokio::net::UnixStream;
    ///
    /// # #[cfg(unix)]
    /// let client = Client::default()
    ///     .connector(|_host, _port| async { UnixStream::connect("/run/app.sock").await });
    /// # #[cfg(unix)]
    /// # let _ = client;
    /// ```
    pub fn connector<C, F, S>(self, connect: C) -> Self
    where
        C: Fn(String, u16) -> F + Send + Sync + 'static,
        F: Future<Output = io::Result<S>> + Send + 'static,
        S: AsyncRead + AsyncWrite + Send + Sync + Unpin + 'static,
    {
        let connector = Connector(Arc::new(move |host, port| {
            let connecting = connect(host, port);
            Box::pin(async { Ok(ClientStream::other(connecting.await?)) })
        }));
        self.set_dialing(|dialing| dialing.connector = Some(connector))
    }

    /// Sets the TLS settings for `wss://` targets.
    ///
    /// By default, certificates are verified as by [`TlsConnector::new`].
    ///
    /// ```
    /// use fullduplex::{Client, TlsConnector};
    ///
    /// # fn run(authority: &[u8]) -> Result<(), fullduplex::TlsError> {
    /// let tls = TlsConnector::builder().only_roots(authority).build()?;
    /// let client = Client::default().tls(tls);
    /// # let _ = client;
    /// # Ok(())
    /// # }
    /// ```
    #[cfg(feature = "tls")]
    #[cfg_attr(docsrs, doc(cfg(feature = "tls")))]
    pub fn tls(self, connector: TlsConnector) -> Self {
        self.set_dialing(|dialing| dialing.tls = Some(connector))
    }

    /// Sets the proxy through which every target is reached; `None` for none, which is the default.
    ///
    /// The proxy resolves the name of the target. The addresses of the proxy itself are dialed as
    /// those of a target would be, and a [connector](Self::connector) is called for the proxy. For
    /// a `wss://` target, TLS is spoken with the target, through the tunnel.
    ///
    /// ```
    /// use fullduplex::{Client, proxy::Proxy};
    ///
    /// # fn run() -> Result<(), fullduplex::proxy::InvalidProxy> {
    /// let proxy: Proxy = "http://user:password@proxy.example:3128".parse()?;
    /// let client = Client::default().proxy(proxy);
    /// # let _ = client;
    /// # Ok(())
    /// # }
    /// ```
    #[cfg(feature = "proxy")]
    #[cfg_attr(docsrs, doc(cfg(feature = "proxy")))]
    pub fn proxy(self, proxy: impl Into<Option<Proxy>>) -> Self {
        let choice = match proxy.into() {
            Some(proxy) => ProxyChoice::One(Box::new(proxy)),
            None => ProxyChoice::None,
        };
        self.set_dialing(|dialing| dialing.proxy = choice)
    }

    /// Selects the proxy for each target from the environment: see [`Proxy::from_environment`].
    ///
    /// An invalid variable is an [`Error::Proxy`] when connecting.
    #[cfg(feature = "proxy")]
    #[cfg_attr(docsrs, doc(cfg(feature = "proxy")))]
    pub fn proxy_from_environment(self) -> Self {
        self.set_dialing(|dialing| dialing.proxy = ProxyChoice::Environment)
    }

    /// Returns the deadline for reaching the server: see
    /// [`connect_timeout`](Self::connect_timeout).
    pub fn get_connect_timeout(&self) -> Option<Duration> {
        self.dialing().connect_timeout
    }

    /// Returns the local address to bind to: see [`local_address`](Self::local_address).
    pub fn get_local_address(&self) -> Option<SocketAddr> {
        self.dialing().local_address
    }

    /// Changes the settings.
    fn set_dialing(mut self, set: impl FnOnce(&mut Dialing)) -> Self {
        set(self.extensions_mut().get_or_insert_default::<Dialing>());
        self
    }

    /// Returns a copy of the settings.
    pub(super) fn dialing(&self) -> Dialing {
        self.extensions().get::<Dialing>().cloned().unwrap_or_default()
    }
}
