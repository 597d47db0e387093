//! The server side of the opening handshake, over a transport.

use tokio::io::{AsyncRead, AsyncWrite};

use crate::{
    AnyRequest, IncomingRequest, WebSocket,
    any_request::{HttpRequest, HttpRequestState, RejectedRequest, RejectedRequestState},
    error::Error,
    handshake::{HeadScanner, Rejection, Server, asks_for_websocket, request, respond, take_bearer_token},
    incoming_request::IncomingState,
    opening::{Deadline, HeadReader},
    request_parts::{RequestBytes, refuse_by},
    trace::HandshakeTrace,
};

/// Accepts a WebSocket connection with the default settings.
///
/// The defaults are any origin, no subprotocol, and [10 seconds](crate::Config::handshake_timeout)
/// for reading the request and writing the response.
///
/// Servers that browsers reach with cookies need [`Server::allow_origins`].
///
/// The `accept` of the listener fails when the process has no file descriptors left, which any peer
/// can cause by opening connections. A server has to handle that error: pause, then accept again.
///
/// # Errors
/// Those of [`Server::read_request`] and [`IncomingRequest::accept`].
///
/// # Panics
/// Panics outside a tokio runtime, or if the timers of the runtime are not enabled.
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
    // Boxed: the state of the handshake would otherwise enlarge the task for the whole life of the
    // connection.
    Box::pin(async move {
        let server = Server::default();
        let deadline = Deadline::handshake(server.config());
        let request = read_request(&server, io, deadline).await?;
        request.open(deadline).await
    })
    .await
}

impl Server {
    /// Reads a request that opens a WebSocket connection.
    ///
    /// The caller then accepts or rejects the returned [`IncomingRequest`].
    ///
    /// A request that does not open a WebSocket connection is answered with an error status, as RFC
    /// 6455 section 4.2.2 and HTTP require, and [`Error::Rejected`] is returned. Reading the
    /// request and writing that answer are limited by one
    /// [`handshake_timeout`](crate::Config::handshake_timeout); accepting or rejecting the request
    /// has the same time again.
    ///
    /// The transport is any byte stream, such as a TCP or TLS stream. `TCP_NODELAY` is not changed:
    /// set it before the call.
    ///
    /// # Errors
    /// [`Error::InvalidHandshake`], before anything is read, if [`check`](Self::check) fails.
    /// [`Error::Rejected`] if the request was rejected, [`Error::Timeout`] if the time is over, and
    /// [`Error::Transport`] if the transport failed or ended. On any error the transport is
    /// dropped.
    ///
    /// # Panics
    /// Panics outside a tokio runtime, or if the timers of the runtime are not enabled.
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

    /// Reads a request of any kind.
    ///
    /// Use it in a server that answers HTTP requests on the same port. Unlike
    /// [`read_request`](Self::read_request), this method answers nothing: a request that does not
    /// open a WebSocket connection is returned, with the bytes that were read and the transport. It
    /// can be answered, passed to another HTTP library, or dropped, which closes the connection.
    /// Bytes that are not a request are returned as [`AnyRequest::Rejected`].
    ///
    /// # Errors
    /// [`Error::InvalidHandshake`], before anything is read, if [`check`](Self::check) fails.
    /// [`Error::Timeout`] if no request head was complete within
    /// [`handshake_timeout`](crate::Config::handshake_timeout), and [`Error::Transport`] if the
    /// transport failed or ended. On any error the transport is dropped.
    ///
    /// # Panics
    /// Panics outside a tokio runtime, or if the timers of the runtime are not enabled.
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
    let trace = HandshakeTrace::server();
    let (mut io, rejection) = match read_traced(server, io, deadline, &trace).await? {
        AnyRequest::WebSocket(mut request) => {
            request.state.trace = Some(trace);
            return Ok(request);
        }
        AnyRequest::Http(HttpRequest { io, state }) => {
            trace.rejected(&state.rejection);
            (io, state.rejection)
        }
        AnyRequest::Rejected(RejectedRequest { io, state }) => (io, state.rejection),
    };
    // The rejection is the error to report, even if writing the response fails as well.
    let _ = refuse_by(&mut io, rejection.clone(), deadline).await;
    Err(Error::Rejected(Box::new(rejection)))
}

async fn read_any_request<S: AsyncRead + AsyncWrite + Unpin>(
    server: &Server,
    io: S,
    deadline: Deadline,
) -> Result<AnyRequest<S>, Error> {
    let trace = HandshakeTrace::server();
    let mut request = read_traced(server, io, deadline, &trace).await?;
    if let AnyRequest::WebSocket(request) = &mut request {
        request.state.trace = Some(trace);
    }
    Ok(request)
}

/// Reads a request, and emits what becomes of it.
async fn read_traced<S: AsyncRead + AsyncWrite + Unpin>(
    server: &Server,
    io: S,
    deadline: Deadline,
    trace: &HandshakeTrace,
) -> Result<AnyRequest<S>, Error> {
    let request = read(server, io, deadline).await.inspect_err(|error| trace.failed(error))?;
    match &request {
        AnyRequest::WebSocket(request) => trace.path(request.request().uri().path()),
        // The program may answer it, so that it is not rejected yet.
        AnyRequest::Http(request) => trace.path(request.request().uri().path()),
        AnyRequest::Rejected(RejectedRequest { state, .. }) => {
            if let Some(request) = &state.request {
                trace.path(request.uri().path());
            }
            trace.rejected(&state.rejection);
        }
    }
    Ok(request)
}

async fn read<S: AsyncRead + AsyncWrite + Unpin>(
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
    let mut request = match request::parse_scanned(&bytes[..end.len], end) {
        Ok(request) => request,
        Err(rejection) => return rejected(io, bytes, rejection),
    };
    let received = RequestBytes { bytes, head_len: end.len };
    let answer =
        respond::validate(request.method(), request.uri(), request.version(), request.headers(), server);
    // Removed from all requests: one that is rejected may be shown too.
    let token = server.known_bearer_prefix().map(|prefix| take_bearer_token(request.headers_mut(), prefix));
    // An invalid token was rejected above.
    let token = token.and_then(|token| token.ok().flatten());
    Ok(match answer {
        Ok((response, negotiated)) => {
            let state = IncomingState {
                request,
                token,
                received,
                response,
                negotiated,
                config: config.clone(),
                trace: None,
            };
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
