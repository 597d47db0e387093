//! The client side of the opening handshake, over a transport.

use http::{Response, StatusCode};
use rand::Rng;
use tokio::io::{AsyncRead, AsyncWrite};

use crate::{
    Role, WebSocket,
    dial::{ClientStream, dial},
    error::{Error, Timeout},
    handshake::{Client, InvalidHandshake, Negotiated, ResponseError, Target, TargetError},
    opening::{Deadline, HeadReader, read_refusal, read_response, write},
};

/// Connects to a `ws://` URI with the default settings.
///
/// Connections to the same host are not serialized: see [`Client::connect`].
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
    Box::pin(async move { open(&Client::default(), &target).await }).await
}

impl Client {
    /// Connects to a `ws://` URI and opens a WebSocket connection.
    ///
    /// The path and query of the target become the request target. A user and a password in it are
    /// sent as `Authorization: Basic`, unless [`header`](Self::header) has set `Authorization`;
    /// they are not part of the request target or of `Host`. Over `ws://`, anyone who can read the
    /// traffic can read these credentials.
    ///
    /// Name lookup and dialing are limited by [`connect_timeout`](Self::connect_timeout), and the
    /// handshake that follows by [`handshake_timeout`](crate::Config::handshake_timeout). The
    /// addresses of a host are dialed one after the other, from
    /// [`local_address`](Self::local_address) if it is set. `TCP_NODELAY` is set. Redirects are not
    /// followed, and proxy settings of the environment are ignored.
    ///
    /// RFC 6455 section 4.1 allows a client one connection per IP address in the CONNECTING state.
    /// This crate does not enforce that: it keeps no state that connections share, and each call
    /// dials at once. A program that opens many connections to one host serializes the calls
    /// itself, for example with a mutex per host.
    ///
    /// Returns the connection, and the 101 response of the server.
    ///
    /// # Errors
    /// [`Error::InvalidHandshake`], before anything is dialed, if the target is not a `ws://` URI
    /// or if [`check`](Self::check) fails. [`Error::Response`] if the server did not open the
    /// connection; [`Error::response`] has the status, the header fields and the beginning of the
    /// body. [`Error::Transport`] and [`Error::Timeout`] if the transport failed or a deadline
    /// passed.
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
        Box::pin(async move { open(self, &target).await }).await
    }

    /// Opens a WebSocket connection over an existing transport.
    ///
    /// The transport is any byte stream, such as a Unix socket, a TLS stream or a tunnel.
    ///
    /// The target supplies the request target and `Host`; nothing is dialed. With `wss://`, the
    /// caller must ensure that the transport is encrypted.
    ///
    /// # Errors
    /// Those of [`connect`](Self::connect), except that a `wss://` target is valid.
    ///
    /// # Panics
    /// Panics outside a tokio runtime, or if the timers of the runtime are not enabled.
    ///
    /// # Cancel safety
    /// Dropping the future drops the transport, which closes the connection.
    ///
    /// ```
    /// # async fn run(unix: tokio::io::DuplexStream) -> Result<(), fullduplex::Error> {
    /// let (ws, response) = fullduplex::Client::default().handshake("ws://localhost/events", unix).await?;
    /// # Ok(())
    /// # }
    /// ```
    pub async fn handshake<T, S>(&self, target: T, io: S) -> Result<(WebSocket<S>, Response<()>), Error>
    where
        T: TryInto<Target>,
        T::Error: Into<TargetError>,
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let target = target_of(target)?;
        Box::pin(async move { perform_handshake(self, &target, io).await }).await
    }
}

pub(crate) fn target_of<T>(target: T) -> Result<Target, InvalidHandshake>
where
    T: TryInto<Target>,
    T::Error: Into<TargetError>,
{
    target.try_into().map_err(|error| InvalidHandshake::Target(error.into()))
}

async fn open(client: &Client, target: &Target) -> Result<(WebSocket<ClientStream>, Response<()>), Error> {
    // Errors of the caller are returned before anything is dialed.
    client.check().map_err(Clone::clone)?;
    // RFC 6455 section 4.1, 5: wss:// requires a TLS handshake first, which this build cannot do.
    if target.is_secure() {
        return Err(InvalidHandshake::TlsUnavailable.into());
    }
    // RFC 6455 section 4.1, 2: one connection per IP address in the CONNECTING state. Not enforced:
    // that needs state shared by all connections of the process; the docs leave it to the caller.
    let deadline = Deadline::after(client.get_connect_timeout(), Timeout::Connect);
    let tcp = deadline
        .run(async { Ok(dial(target.host(), target.port(), client.get_local_address()).await?) })
        .await?;
    perform_handshake(client, target, ClientStream::plain(tcp)).await
}

async fn perform_handshake<S: AsyncRead + AsyncWrite + Unpin>(
    client: &Client,
    target: &Target,
    mut io: S,
) -> Result<(WebSocket<S>, Response<()>), Error> {
    // RFC 6455 section 4.1, 7: a nonce of 16 bytes, chosen at random for each connection.
    let mut nonce = [0; 16];
    rand::rng().fill_bytes(&mut nonce);
    let request = client.request(target, nonce)?;
    let deadline = Deadline::handshake(client.config());
    let mut reader = HeadReader::new();
    let exchange = async {
        write(&mut io, &request).await?;
        Ok(read_response(&mut io, &mut reader, client.config()).await?)
    };
    let response = deadline.run(exchange).await?;
    if response.status() != StatusCode::SWITCHING_PROTOCOLS {
        let refused = read_refusal(response, &mut io, reader, deadline).await;
        return Err(ResponseError::Status(Box::new(refused)).into());
    }
    let negotiated: Negotiated = client.verify(&response, nonce)?;
    let ws = WebSocket::from_raw(io, reader.into_unread(), Role::Client, client.config(), negotiated);
    Ok((ws, response))
}
