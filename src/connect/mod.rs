//! Connects to a server: name lookup, TCP, proxies, TLS, redirects.

mod dial;
mod redirect;
mod settings;
mod stream;

use std::borrow::Cow;

use http::Response;
pub use stream::ClientStream;

use self::settings::Dialing;
#[cfg(feature = "proxy")]
use crate::proxy::{self, Proxy};
#[cfg(feature = "tls")]
use crate::tls::TlsConnector;
use crate::{
    Client, Config, Error, Target, WebSocket,
    client::{perform_handshake, target_of},
    error::Timeout,
    handshake::{InvalidHandshake, RedirectFault, ResponseError, TargetError},
    opening::Deadline,
    trace::HandshakeTrace,
};

/// An open connection, and the response that has opened it.
type Opened = (WebSocket<ClientStream>, Response<()>);

/// Connects to a `ws://` or `wss://` URI with the default settings.
///
/// `wss://` needs the feature `tls`. Connections to the same host are not serialized: see
/// [`Client::connect`].
///
/// # Errors
/// Those of [`Client::connect`].
///
/// # Panics
/// Panics outside a tokio runtime, or if the I/O or the timers of the runtime are not enabled.
///
/// # Cancel safety
/// Dropping the future closes the connection, if there is one already.
///
/// ```
/// # async fn run() -> Result<(), fullduplex::Error> {
/// let (ws, response) = fullduplex::connect("ws://localhost:9001/chat").await?;
/// println!("{:?}", response.headers());
/// # Ok(())
/// # }
/// ```
pub async fn connect<T>(target: T) -> Result<(WebSocket<ClientStream>, Response<()>), Error>
where
    T: TryInto<Target>,
    T::Error: Into<TargetError>,
{
    let target = target_of(target)?;
    // Boxed: the state of the handshake would otherwise enlarge the task for the whole life of the
    // connection.
    Box::pin(async move { open(&Client::default(), target).await }).await
}

impl Client {
    /// Connects to a `ws://` or `wss://` URI and opens a WebSocket connection.
    ///
    /// The path and query of the target become the request target. A user and a password in it are
    /// sent as `Authorization: Basic`, unless [`header`](Self::header) has set `Authorization`;
    /// they are not part of the request target or of `Host`. Over `ws://`, anyone who can read the
    /// traffic can read these credentials.
    ///
    /// The addresses of a host are dialed as RFC 8305 (Happy Eyeballs) recommends: those of IPv6
    /// and IPv4 in turn, the next one when an attempt has failed and at the latest after 250 ms.
    /// `TCP_NODELAY` is set. All of this is limited by
    /// [`connect_timeout`](Self::connect_timeout), and the handshake that follows by
    /// [`handshake_timeout`](crate::Config::handshake_timeout). Redirects are not followed unless
    /// [`max_redirects`](Self::max_redirects) is set, and proxy settings of the environment are
    /// ignored by default.
    ///
    /// RFC 6455 section 4.1 allows a client one connection per IP address in the CONNECTING state.
    /// This crate does not enforce that: it keeps no state that connections share, and each call
    /// dials at once. A program that opens many connections to one host serializes the calls
    /// itself, for example with a mutex per host.
    ///
    /// Returns the connection, and the 101 response of the server.
    ///
    /// # Errors
    /// [`Error::InvalidHandshake`], before anything is dialed, if the target is not a `ws://` or
    /// `wss://` URI, if it is `wss://` and the crate was built without the feature `tls`, or if
    /// [`check`](Self::check) fails. [`Error::Response`] if the server did not open the connection;
    /// [`Error::response`] has the status, the header fields and the beginning of the body.
    /// [`Error::Transport`] and [`Error::Timeout`] if the transport failed or a deadline passed.
    /// With the features of these names, `Error::Tls` if the TLS handshake failed, for example because
    /// the certificate is not valid, and `Error::Proxy` if a proxy did not open a tunnel.
    ///
    /// # Panics
    /// Panics outside a tokio runtime, or if the I/O or the timers of the runtime are not enabled.
    ///
    /// # Cancel safety
    /// Dropping the future closes the connection, if there is one already.
    ///
    /// ```
    /// # async fn run() -> Result<(), fullduplex::Error> {
    /// let client = fullduplex::Client::default().header("Authorization", "Bearer 0123").subprotocol("chat");
    /// match client.connect("ws://localhost:9001/chat").await {
    ///     Ok((ws, _response)) => println!("subprotocol: {:?}", ws.subprotocol()),
    ///     Err(error) if error.response().is_some_and(|response| response.status() == 401) => {
    ///         println!("log in first");
    ///     }
    ///     Err(error) => return Err(error),
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub async fn connect<T>(&self, target: T) -> Result<(WebSocket<ClientStream>, Response<()>), Error>
    where
        T: TryInto<Target>,
        T::Error: Into<TargetError>,
    {
        let target = target_of(target)?;
        Box::pin(async move { open(self, target).await }).await
    }
}

/// Opens a connection to a target, or to the one that it redirects to.
async fn open(client: &Client, target: Target) -> Result<Opened, Error> {
    let dialing = client.dialing();
    let (mut client, mut target, mut left) = (Cow::Borrowed(client), target, dialing.max_redirects);
    loop {
        let response = match open_once(&client, &target, &dialing).await {
            Err(Error::Response(error)) if dialing.max_redirects > 0 => match *error {
                ResponseError::Status(response) if redirect::is_redirect(response.status()) => response,
                other => return Err(other.into()),
            },
            other => return other,
        };
        if left == 0 {
            return Err(redirect::not_followed(response, RedirectFault::TooMany));
        }
        left -= 1;
        target = redirect::follow(client.to_mut(), &target, response)?;
    }
}

async fn open_once(client: &Client, target: &Target, dialing: &Dialing) -> Result<Opened, Error> {
    // Errors of the caller are returned before anything is dialed.
    client.check().map_err(Clone::clone)?;
    let trace = HandshakeTrace::client(target);
    let opened = reach_and_open(client, target, dialing).await.inspect_err(|error| trace.failed(error))?;
    trace.opened();
    opened.0.events().server(target, || opened.0.get_ref().tcp()?.peer_addr().ok());
    Ok(opened)
}

async fn reach_and_open(client: &Client, target: &Target, dialing: &Dialing) -> Result<Opened, Error> {
    // RFC 6455 section 4.1, 2: one connection per IP address in the CONNECTING state. Not enforced:
    // that needs state shared by all connections of the process; the docs leave it to the caller.
    let io = reach_target(client, target, dialing, Http::One).await?;
    perform_handshake(client, target, io).await
}

/// The version of HTTP to speak over a transport.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Http {
    One,
    #[cfg(feature = "http2")]
    Two,
}

/// Opens the transport of HTTP/2 to a target.
#[cfg(feature = "http2")]
pub(crate) async fn reach_http2(client: &Client, target: &Target) -> Result<ClientStream, Error> {
    // Errors of the caller are returned before anything is dialed.
    client.check().map_err(Clone::clone)?;
    reach_target(client, target, &client.dialing(), Http::Two).await
}

/// Opens the transport to a target, until the deadline.
async fn reach_target(
    client: &Client,
    target: &Target,
    dialing: &Dialing,
    http: Http,
) -> Result<ClientStream, Error> {
    // RFC 6455 section 4.1, 5: wss:// requires a TLS handshake first.
    if target.is_secure() && cfg!(not(feature = "tls")) {
        return Err(InvalidHandshake::TlsUnavailable.into());
    }
    let deadline = Deadline::after(dialing.connect_timeout, Timeout::Connect);
    deadline.run(transport(target, client.config(), dialing, http, deadline)).await
}

/// Opens the transport to a target.
#[cfg_attr(
    not(all(feature = "proxy", feature = "tls")),
    expect(unused_variables, reason = "for a tunnel, or for TLS")
)]
async fn transport(
    target: &Target,
    config: &Config,
    dialing: &Dialing,
    http: Http,
    deadline: Deadline,
) -> Result<ClientStream, Error> {
    #[cfg(feature = "proxy")]
    let io = match dialing.proxy.select(target)? {
        Some(proxy) => tunnel(&proxy, target, config, dialing, deadline).await?,
        None => reach(target.host(), target.port(), dialing).await?,
    };
    #[cfg(not(feature = "proxy"))]
    let io = reach(target.host(), target.port(), dialing).await?;
    #[cfg(feature = "tls")]
    if target.is_secure() {
        let tls = match http {
            Http::One => tls(dialing)?,
            #[cfg(feature = "http2")]
            Http::Two => tls(dialing)?.for_http2(),
        };
        return Ok(ClientStream::tls_stream(tls.connect(target.host(), io).await?));
    }
    Ok(io)
}

/// Opens a tunnel to a target, by a proxy.
#[cfg(feature = "proxy")]
async fn tunnel(
    proxy: &Proxy,
    target: &Target,
    config: &Config,
    dialing: &Dialing,
    deadline: Deadline,
) -> Result<ClientStream, Error> {
    // Refused before anything is dialed.
    if proxy.is_secure() && cfg!(not(feature = "tls")) {
        return Err(InvalidHandshake::TlsUnavailable.into());
    }
    let reached = reach(proxy.host(), proxy.port(), dialing).await;
    let mut io = reached.map_err(|error| match error {
        Error::Transport(error) => {
            Error::Transport(std::io::Error::new(error.kind(), format!("proxy {proxy}: {error}")))
        }
        other => other,
    })?;
    #[cfg(feature = "tls")]
    if proxy.is_secure() {
        let tls = tls(dialing)?.without_server_name();
        io = ClientStream::tls_stream(tls.connect(proxy.host(), io).await?);
    }
    let early = proxy::tunnel(proxy, target, config, deadline, &mut io).await?;
    // The TLS stream of the proxy is inside of the tunnel: it is not that of the server.
    let is_bare = early.is_empty() && !proxy.is_secure();
    Ok(if is_bare { io } else { ClientStream::replay(early, io) })
}

#[cfg(feature = "tls")]
fn tls(dialing: &Dialing) -> Result<TlsConnector, Error> {
    Ok(match &dialing.tls {
        Some(tls) => tls.clone(),
        None => TlsConnector::shared()?,
    })
}

/// Opens a stream to a host and port.
async fn reach(host: &str, port: u16, dialing: &Dialing) -> Result<ClientStream, Error> {
    match &dialing.connector {
        Some(connector) => Ok(connector.connect(host.to_owned(), port).await?),
        None => Ok(ClientStream::tcp_stream(dial::dial(host, port, dialing).await?)),
    }
}
