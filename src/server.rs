//! The opening handshake of a server, over a transport.

use tokio::io::{AsyncRead, AsyncWrite};

use crate::{
    AnyRequest, IncomingRequest, WebSocket,
    any_request::{HttpRequest, HttpRequestState, RejectedRequest, RejectedRequestState},
    error::Error,
    handshake::{HeadScanner, Rejection, Server, asks_for_websocket, request, respond},
    incoming_request::IncomingState,
    opening::{Deadline, HeadReader},
    request_parts::{RequestBytes, refuse_by},
};

/// Accepts a WebSocket connection, with the defaults: any origin, no subprotocol, and
/// [10 seconds](crate::Config::handshake_timeout) for reading the request and writing the response.
///
/// Servers that browsers reach with cookies need [`Server::allow_origins`].
///
/// The listener's own `accept` fails when the process has no file descriptors left, which any peer
/// can cause by opening connections. A server must survive that: it pauses, and accepts again.
///
/// # Errors
/// As [`Server::read_request`] and [`IncomingRequest::accept`].
///
/// # Panics
/// Outside a tokio runtime, or in one whose timers are not enabled.
///
/// # Cancel safety
/// Dropping the future drops the transport, which closes the connection.
///
/// ```no_run
/// use std::time::Duration;
/// use fullduplex::Error;
/// use tokio::net::{TcpListener, TcpStream};
///
/// async fn serve(listener: TcpListener) {
///     loop {
///         match listener.accept().await {
///             Ok((tcp, peer)) => {
///                 tokio::spawn(async move {
///                     if let Err(error) = connection(tcp).await {
///                         eprintln!("{peer}: {error}");
///                     }
///                 });
///             }
///             // No file descriptors left, for example: some become free when connections end.
///             Err(error) => {
///                 eprintln!("accept: {error}");
///                 tokio::time::sleep(Duration::from_millis(100)).await;
///             }
///         }
///     }
/// }
///
/// async fn connection(tcp: TcpStream) -> Result<(), Error> {
///     let mut ws = fullduplex::accept(tcp).await?;
///     while let Some(message) = ws.recv().await? {
///         println!("{message:?}");
///     }
///     Ok(())
/// }
/// ```
pub async fn accept<S: AsyncRead + AsyncWrite + Unpin>(io: S) -> Result<WebSocket<S>, Error> {
    // Boxed, so that what the handshake needs does not make the task larger for as long as the
    // connection lasts.
    Box::pin(async move {
        let server = Server::default();
        let deadline = Deadline::handshake(server.config());
        let request = read_request(&server, io, deadline).await?;
        request.open(deadline).await
    })
    .await
}

impl Server {
    /// Reads a request and checks it. What to do with it is up to the caller: [`IncomingRequest`].
    ///
    /// A request that does not open a WebSocket connection is answered at once, as RFC 6455 section
    /// 4.2.2 and HTTP have it. The time for all that, from the first byte to the last, is
    /// [`handshake_timeout`](crate::Config::handshake_timeout); accepting or rejecting what was
    /// received has as much again.
    ///
    /// The transport is a TCP stream, a TLS stream, whatever carries bytes both ways; `TCP_NODELAY`
    /// is for the caller to set.
    ///
    /// # Errors
    /// [`Error::InvalidHandshake`], before anything is read, for what [`check`](Self::check) tells:
    /// the transport is dropped. [`Error::Rejected`] where the request was turned away,
    /// [`Error::Timeout`], [`Error::Transport`] where the transport failed or ended.
    ///
    /// # Panics
    /// Outside a tokio runtime, or in one whose timers are not enabled.
    ///
    /// # Cancel safety
    /// Dropping the future drops the transport, which closes the connection.
    ///
    /// ```
    /// use fullduplex::{Server, handshake::Rejection};
    /// use http::Response;
    ///
    /// # fn user_of(request: &http::Request<()>) -> Option<u32> { None }
    /// # async fn serve(server: &Server, tcp: tokio::net::TcpStream) -> Result<(), Box<dyn std::error::Error>> {
    /// let request = server.read_request(tcp).await?;
    /// match user_of(request.request()) {
    ///     Some(_user) => drop(request.accept().await?),
    ///     None => request.reject(Response::builder().status(401).body("who are you?")?).await?,
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub async fn read_request<S: AsyncRead + AsyncWrite + Unpin>(
        &self,
        io: S,
    ) -> Result<IncomingRequest<S>, Error> {
        Box::pin(read_request(self, io, Deadline::handshake(self.config()))).await
    }

    /// Reads a request of any kind, for a server that answers HTTP requests on the same port.
    ///
    /// As [`read_request`](Self::read_request), except that nothing is answered: what does not open
    /// a WebSocket connection is returned, with the bytes that were read and the transport. It can
    /// be answered, handed to another HTTP library, or dropped, which closes the connection. Only
    /// its head has to be well-formed.
    ///
    /// # Errors
    /// [`Error::InvalidHandshake`], before anything is read, for what [`check`](Self::check)
    /// returns: the transport is dropped. [`Error::Timeout`] where no head was complete within
    /// [`handshake_timeout`](crate::Config::handshake_timeout), and [`Error::Transport`] where the
    /// transport failed or ended.
    ///
    /// # Panics
    /// Outside a tokio runtime, or in one whose timers are not enabled.
    ///
    /// # Cancel safety
    /// Dropping the future drops the transport, which closes the connection.
    ///
    /// ```
    /// use fullduplex::{AnyRequest, Server};
    /// use http::Response;
    ///
    /// # async fn serve(server: &Server, tcp: tokio::net::TcpStream) -> Result<(), fullduplex::Error> {
    /// match server.read_any_request(tcp).await? {
    ///     AnyRequest::WebSocket(request) => drop(request.accept().await?),
    ///     AnyRequest::Http(request) if request.request().uri().path() == "/health" => {
    ///         request.respond(Response::new("ok\n")).await?;
    ///     }
    ///     AnyRequest::Http(request) => request.refuse().await?, // 426, or 405
    ///     AnyRequest::Rejected(rejected) => rejected.refuse().await?,
    ///     _ => {}
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub async fn read_any_request<S: AsyncRead + AsyncWrite + Unpin>(
        &self,
        io: S,
    ) -> Result<AnyRequest<S>, Error> {
        Box::pin(read_any_request(self, io, Deadline::handshake(self.config()))).await
    }
}

async fn read_request<S: AsyncRead + AsyncWrite + Unpin>(
    server: &Server,
    io: S,
    deadline: Deadline,
) -> Result<IncomingRequest<S>, Error> {
    let (mut io, rejection) = match read_any_request(server, io, deadline).await? {
        AnyRequest::WebSocket(request) => return Ok(request),
        AnyRequest::Http(HttpRequest { io, state }) => (io, state.rejection),
        AnyRequest::Rejected(RejectedRequest { io, state }) => (io, state.rejection),
    };
    // That the request was refused is the news, whether or not the client still listens.
    let _ = refuse_by(&mut io, rejection.clone(), deadline).await;
    Err(Error::Rejected(Box::new(rejection)))
}

async fn read_any_request<S: AsyncRead + AsyncWrite + Unpin>(
    server: &Server,
    mut io: S,
    deadline: Deadline,
) -> Result<AnyRequest<S>, Error> {
    server.check().map_err(Clone::clone)?;
    let (mut reader, config) = (HeadReader::new(), server.config());
    let find = async { Ok(reader.find(&mut io, HeadScanner::request(config)).await?) };
    let end = deadline.run(find).await?;
    let bytes = reader.into_received();
    let timeout = config.handshake_timeout;
    let rejected = |io, bytes, rejection| {
        let received = RequestBytes { bytes, head_len: 0 };
        let state = RejectedRequestState { rejection, request: None, received, timeout };
        Ok(AnyRequest::Rejected(RejectedRequest { io, state: Box::new(state) }))
    };
    let end = match end {
        Ok(end) => end,
        Err(error) => return rejected(io, bytes, Rejection::from(error)),
    };
    let request = match request::parse_scanned(&bytes[..end.len], end) {
        Ok(request) => request,
        Err(rejection) => return rejected(io, bytes, rejection),
    };
    let received = RequestBytes { bytes, head_len: end.len };
    let answer =
        respond::validate(request.method(), request.uri(), request.version(), request.headers(), server);
    Ok(match answer {
        Ok((response, negotiated)) => {
            let state = IncomingState { request, received, response, negotiated, config: config.clone() };
            AnyRequest::WebSocket(IncomingRequest { io, state: Box::new(state) })
        }
        Err(rejection) if asks_for_websocket(request.version(), request.headers()) => {
            let state = RejectedRequestState { rejection, request: Some(request), received, timeout };
            AnyRequest::Rejected(RejectedRequest { io, state: Box::new(state) })
        }
        Err(rejection) => {
            let state = HttpRequestState { request, received, rejection, timeout };
            AnyRequest::Http(HttpRequest { io, state: Box::new(state) })
        }
    })
}
