//! WebSocket connections over HTTP/2, for clients (RFC 8441).
//!
//! Many connections share one transport: one TCP connection, and one TLS session.
//! [`Client::http2`] opens the transport, and [`Http2::connect`] opens a connection on it, as a
//! stream of HTTP/2:
//!
//! ```no_run
//! use fullduplex::{Client, Error};
//!
//! # async fn run() -> Result<(), Error> {
//! let http2 = Client::default().http2("wss://example.com").await?; // `wss` needs the feature `tls`
//! let (mut chat, _response) = http2.connect("wss://example.com/chat").await?;
//! let (mut news, _response) = http2.connect("wss://example.com/news").await?;
//! chat.send("hello").await?;
//! # Ok(())
//! # }
//! ```
//!
//! The server must allow it: it sets `SETTINGS_ENABLE_CONNECT_PROTOCOL` (RFC 8441 section 3). For
//! servers, see the modules [`hyper`](crate::hyper) and `axum`.
//!
//! # Flow control
//! Each stream has a window of its own (RFC 9113 section 5.2). A connection whose messages are not
//! received holds at most 256 KiB of its peer's data, and does not hold up the others, until 64 of
//! them hold that much: all streams share a window of 16 MiB. If the peer grants no window, sending
//! waits, as it does with TCP, and `write_timeout` applies.

mod stream;

use std::{
    fmt,
    future::poll_fn,
    io,
    pin::{Pin, pin},
    task::Poll,
};

use ::http::Response;
use bytes::Bytes;
use h2::{
    Ping, PingPong, Reason,
    client::{self, Connection, SendRequest},
    ext::Protocol,
};
pub use stream::Http2Stream;
use tokio::io::{AsyncRead, AsyncWrite};

use crate::{
    Client, Error, InvalidHandshake, ResponseError, Role, Target, TargetError, WebSocket, client::target_of,
    connect, handshake::BodyReader, opening::Deadline, trace::HandshakeTrace,
};

/// How much a peer may send on one stream, and on all of them, before it is received, in bytes.
const STREAM_WINDOW: u32 = 256 << 10;
const CONNECTION_WINDOW: u32 = 16 << 20;

/// How much of what is sent on a stream is buffered, in bytes.
const SEND_BUFFER: usize = 256 << 10;

/// A transport on which a client opens WebSocket connections over HTTP/2.
///
/// Returned by [`Client::http2`]. Clones share the transport, which closes once all of them and all
/// connections are dropped.
#[derive(Clone)]
pub struct Http2 {
    client: Client,
    /// The scheme, host and port of all connections.
    target: Target,
    requests: SendRequest<Bytes>,
}

impl Client {
    /// Connects to a server of HTTP/2, for any number of WebSocket connections.
    ///
    /// The transport is opened as by [`connect`](Self::connect), also by a proxy. With `wss://`,
    /// TLS offers `h2` alone. With `ws://`, the server has to expect HTTP/2 at once (prior
    /// knowledge, RFC 9113 section 3.3). The path of the target is not used. Redirects are not
    /// followed.
    ///
    /// Spawns a task that drives the transport until it ends.
    ///
    /// # Errors
    /// Those of [`connect`](Self::connect) about the target and the transport.
    /// [`Error::Response`] with [`ResponseError::Http2`] if the server does not speak HTTP/2, or
    /// does not allow WebSocket connections over it.
    ///
    /// # Panics
    /// Panics outside a tokio runtime, or if the I/O or the timers of the runtime are not enabled.
    ///
    /// # Cancel safety
    /// Dropping the future closes the transport, if there is one already.
    ///
    /// See the [module](crate::http2) for an example.
    pub async fn http2<T>(&self, target: T) -> Result<Http2, Error>
    where
        T: TryInto<Target>,
        T::Error: Into<TargetError>,
    {
        let target = target_of(target)?;
        Box::pin(async move {
            let io = connect::reach_http2(self, &target).await?;
            #[cfg(feature = "tls")]
            if let Some(tls) = io.tls()
                && tls.alpn_protocol() != Some(crate::tls::HTTP_2)
            {
                return Err(ResponseError::Http2.into());
            }
            open(self, target, io).await
        })
        .await
    }

    /// Begins HTTP/2 over an existing transport, for any number of WebSocket connections.
    ///
    /// Like [`http2`](Self::http2); nothing is dialed. With `wss://`, the caller must ensure that
    /// the transport is encrypted, and that the server has agreed on HTTP/2.
    ///
    /// # Errors
    /// Those of [`http2`](Self::http2), except those of dialing and TLS.
    ///
    /// # Panics
    /// Panics outside a tokio runtime, or if the timers of the runtime are not enabled.
    ///
    /// # Cancel safety
    /// Dropping the future drops the transport, which closes the connection.
    ///
    /// ```
    /// # async fn run(io: tokio::net::UnixStream) -> Result<(), fullduplex::Error> {
    /// let http2 = fullduplex::Client::default().http2_over("ws://localhost", io).await?;
    /// # Ok(())
    /// # }
    /// ```
    pub async fn http2_over<T, S>(&self, target: T, io: S) -> Result<Http2, Error>
    where
        T: TryInto<Target>,
        T::Error: Into<TargetError>,
        S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        let target = target_of(target)?;
        self.check().map_err(Clone::clone)?;
        Box::pin(open(self, target, io)).await
    }
}

async fn open<S>(client: &Client, target: Target, io: S) -> Result<Http2, Error>
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let deadline = Deadline::handshake(client.config());
    let preface = async {
        client::Builder::new()
            .initial_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW)
            .max_send_buffer_size(SEND_BUFFER)
            .enable_push(false)
            .handshake::<_, Bytes>(io)
            .await
            .map_err(failed)
    };
    let (requests, mut connection) = deadline.run(preface).await?;
    let ping = connection.ping_pong().expect("called once");
    deadline.run(settings_received(&mut connection, ping)).await?;
    // Each stream reports the error of the transport.
    tokio::spawn(async move { _ = connection.await });
    // RFC 8441 section 3: only after the server has allowed it.
    if !requests.is_extended_connect_protocol_enabled() {
        return Err(ResponseError::Http2.into());
    }
    Ok(Http2 { client: client.clone(), target, requests })
}

/// Drives the transport until the settings of the server have been received.
///
/// RFC 9113 section 3.4: they are the first frame that it sends, so they precede any pong.
async fn settings_received<S>(connection: &mut Connection<S, Bytes>, mut ping: PingPong) -> Result<(), Error>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let mut pong = pin!(ping.ping(Ping::opaque()));
    poll_fn(|cx| match Pin::new(&mut *connection).poll(cx) {
        Poll::Pending => pong.as_mut().poll(cx).map(|pong| pong.map(drop)).map_err(failed),
        Poll::Ready(Ok(())) => Poll::Ready(Err(Error::Transport(io::ErrorKind::UnexpectedEof.into()))),
        Poll::Ready(Err(error)) if error.is_io() => Poll::Ready(Err(failed(error))),
        // The peer has sent something else than HTTP/2.
        Poll::Ready(Err(_)) => Poll::Ready(Err(ResponseError::Http2.into())),
    })
    .await
}

impl Http2 {
    /// Opens a WebSocket connection on a new stream.
    ///
    /// The target must have the scheme, host and port of the transport. If the server limits the
    /// number of streams and that is reached, this waits until another connection ends.
    ///
    /// Returns the connection, and the response that opened it.
    ///
    /// # Errors
    /// [`Error::InvalidHandshake`] if the target is not a valid URI or belongs to another server,
    /// [`Error::Response`] if the server did not open the connection,
    /// [`Error::Transport`] and [`Error::Timeout`] if the transport failed or
    /// [`handshake_timeout`](crate::Config::handshake_timeout) has passed.
    ///
    /// # Panics
    /// Panics outside a tokio runtime, or if the timers of the runtime are not enabled.
    ///
    /// # Cancel safety
    /// Dropping the future resets the stream, if there is one already.
    ///
    /// See the [module](self) for an example.
    pub async fn connect<T>(&self, target: T) -> Result<(WebSocket<Http2Stream>, Response<()>), Error>
    where
        T: TryInto<Target>,
        T::Error: Into<TargetError>,
    {
        let target = target_of(target)?;
        Box::pin(async move {
            let trace = HandshakeTrace::client(&target);
            let opened = self.open_stream(&target).await.inspect_err(|error| trace.failed(error))?;
            trace.opened();
            opened.0.events().server(&target, || None);
            Ok(opened)
        })
        .await
    }

    async fn open_stream(&self, target: &Target) -> Result<(WebSocket<Http2Stream>, Response<()>), Error> {
        let origin = |target: &Target| (target.is_secure(), target.host().to_owned(), target.port());
        if origin(target) != origin(&self.target) {
            return Err(InvalidHandshake::OtherServer.into());
        }
        let mut request = self.client.request_http2(target)?;
        request.extensions_mut().insert(Protocol::from_static("websocket"));
        let deadline = Deadline::handshake(self.client.config());
        let exchange = async {
            let mut requests = self.requests.clone().ready().await.map_err(failed)?;
            let (response, send) = requests.send_request(request, false).map_err(failed)?;
            Ok((response.await.map_err(failed)?, send))
        };
        let (response, send) = deadline.run(exchange).await?;
        let (parts, receive) = response.into_parts();
        let response = Response::from_parts(parts, ());
        let mut io = Http2Stream::new(send, receive);
        match self.client.verify_http2(&response) {
            Ok(negotiated) => {
                let config = self.client.config();
                Ok((WebSocket::from_raw(io, Bytes::new(), Role::Client, config, negotiated), response))
            }
            Err(ResponseError::Status(_)) => {
                let refused = read_refusal(response, &mut io, deadline).await;
                Err(ResponseError::Status(Box::new(refused)).into())
            }
            Err(error) => Err(error.into()),
        }
    }
}

/// Reads the body of a refusal until the deadline.
///
/// Errors are ignored: the response is reported with the part of the body that was read.
async fn read_refusal(response: Response<()>, io: &mut Http2Stream, deadline: Deadline) -> Response<Bytes> {
    let (parts, ()) = response.into_parts();
    let mut body = BodyReader::new(&parts);
    let rest = async {
        while !body.is_done() {
            match io.chunk().await? {
                Some(chunk) => body.receive(&chunk),
                None => break,
            }
        }
        Ok(())
    };
    let _ = deadline.run(rest).await;
    Response::from_parts(parts, body.into_body())
}

/// Converts an error of the HTTP/2 connection or of a stream.
fn failed(error: h2::Error) -> Error {
    Error::Transport(stream_error(error))
}

fn stream_error(error: h2::Error) -> io::Error {
    if error.is_io() {
        let error = error.into_io().unwrap_or_else(|| io::ErrorKind::Other.into());
        // The transport ends within a frame: so says the codec of h2, without a kind of its own.
        let is_cut = error.kind() == io::ErrorKind::Other && error.to_string() == "bytes remaining on stream";
        return if is_cut { io::Error::new(io::ErrorKind::UnexpectedEof, error) } else { error };
    }
    // RFC 8441 section 5: RST_STREAM is to a stream what a reset is to a TCP connection.
    let kind = match error.reason() {
        Some(Reason::REFUSED_STREAM) => io::ErrorKind::ConnectionRefused,
        _ if error.is_reset() => io::ErrorKind::ConnectionReset,
        _ if error.is_go_away() => io::ErrorKind::ConnectionAborted,
        _ => io::ErrorKind::Other,
    };
    io::Error::new(kind, error)
}

impl fmt::Debug for Http2 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Http2").field("target", &self.target).finish_non_exhaustive()
    }
}
