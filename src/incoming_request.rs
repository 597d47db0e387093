//! A request that can open a WebSocket connection, and how a server answers it.

use std::fmt;

use bytes::Bytes;
use http::{Request, Response};
use tokio::io::{AsyncRead, AsyncWrite};

use crate::{
    Config, Role, WebSocket,
    error::Error,
    handshake::{
        BearerToken, InvalidHandshake, Negotiated, Rejection, encode::ContentMode, encode_response,
        extend_response,
    },
    opening::{Deadline, write},
    replay::Replay,
    request_parts::{RedactedRequest, RequestBytes, RequestParts, answer, refuse_by},
    trace::HandshakeTrace,
};

/// A valid request for a WebSocket connection, to be accepted or rejected.
///
/// Dropping it closes the connection without an answer.
#[must_use = "a request that is neither accepted nor rejected gets no answer"]
pub struct IncomingRequest<S> {
    pub(crate) io: S,
    pub(crate) state: Box<IncomingState>,
}

/// Redacted, as [`RequestParts`] is.
impl<S: fmt::Debug> fmt::Debug for IncomingRequest<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("IncomingRequest")
            .field("io", &self.io)
            .field("request", &RedactedRequest(&self.state.request))
            .finish_non_exhaustive()
    }
}

pub(crate) struct IncomingState {
    pub(crate) request: Request<()>,
    pub(crate) token: Option<BearerToken>,
    pub(crate) received: RequestBytes,
    pub(crate) response: Response<()>,
    pub(crate) negotiated: Negotiated,
    pub(crate) config: Config,
    pub(crate) trace: Option<HandshakeTrace>,
}

impl<S> IncomingRequest<S> {
    /// Returns the request, with its target and its header fields.
    ///
    /// ```
    /// # fn room<S>(request: &fullduplex::IncomingRequest<S>) -> &str {
    /// request.request().uri().path()
    /// # }
    /// ```
    pub fn request(&self) -> &Request<()> {
        &self.state.request
    }

    /// Returns the bearer token that the client has sent as a subprotocol.
    ///
    /// `None` if there is none, or if [`Server::bearer_prefix`](crate::Server::bearer_prefix) is not
    /// set. [`request`](Self::request) does not contain the token; [`into_parts`](Self::into_parts)
    /// and [`into_replay`](Self::into_replay) return the bytes of the request, which do.
    ///
    /// ```
    /// # async fn example(tcp: tokio::net::TcpStream) -> Result<(), Box<dyn std::error::Error>> {
    /// # fn is_valid(_token: &str) -> bool { true }
    /// use fullduplex::{Config, Server};
    /// use http::Response;
    ///
    /// let server = Server::new(Config::default()).subprotocols(["chat.v1"]).bearer_prefix("bearer.");
    /// let request = server.read_request(tcp).await?;
    /// match request.bearer_token() {
    ///     Some(token) if is_valid(token) => drop(request.accept().await?),
    ///     _ => request.reject(Response::builder().status(401).body("log in")?).await?,
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub fn bearer_token(&self) -> Option<&str> {
        self.state.token.as_ref().map(BearerToken::as_str)
    }

    /// Returns the transport.
    pub fn get_ref(&self) -> &S {
        &self.io
    }

    /// Returns the request, the bytes that were read, and the transport, without an answer.
    ///
    /// ```
    /// # fn hand_over(request: fullduplex::IncomingRequest<tokio::net::TcpStream>) {
    /// let parts = request.into_parts();
    /// assert!(parts.head.ends_with(b"\r\n\r\n"));
    /// let (tcp, behind_the_head) = (parts.io, parts.unread);
    /// # }
    /// ```
    pub fn into_parts(self) -> RequestParts<S> {
        let IncomingState { request, received, .. } = *self.state;
        received.into_parts(request, self.io)
    }

    /// Returns a transport that yields the request again, for another HTTP library.
    pub fn into_replay(self) -> Replay<S> {
        Replay::new(self.state.received.bytes, self.io)
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> IncomingRequest<S> {
    /// Accepts the request and opens the connection.
    ///
    /// Writing the response is limited by [`handshake_timeout`](Config::handshake_timeout), counted
    /// from this call.
    ///
    /// # Errors
    /// [`Error::Transport`] and [`Error::Timeout`] if the response was not written.
    ///
    /// # Cancel safety
    /// Dropping the future drops the transport, which closes the connection.
    ///
    /// ```
    /// # async fn serve(request: fullduplex::IncomingRequest<tokio::net::TcpStream>) -> Result<(), fullduplex::Error> {
    /// let ws = request.accept().await?;
    /// # Ok(())
    /// # }
    /// ```
    pub async fn accept(self) -> Result<WebSocket<S>, Error> {
        let deadline = Deadline::handshake(&self.state.config);
        Box::pin(self.open(deadline)).await
    }

    /// Accepts the request, with header fields and a subprotocol of the application.
    ///
    /// The fields of `response`, such as `Set-Cookie`, are added to the 101.
    /// `Sec-WebSocket-Protocol` in it selects one of the offered subprotocols.
    ///
    /// # Errors
    /// [`Error::InvalidHandshake`] if `response` has a field that is reserved for the handshake, a
    /// subprotocol that was not offered, or a status other than 101 (or 200, the default of
    /// `http::Response`): the client receives status 500, and the connection is closed as by
    /// [`reject`](Self::reject). Otherwise those of [`accept`](Self::accept).
    ///
    /// # Cancel safety
    /// Dropping the future drops the transport, which closes the connection.
    ///
    /// ```
    /// # async fn serve(request: fullduplex::IncomingRequest<tokio::net::TcpStream>) -> Result<(), Box<dyn std::error::Error>> {
    /// let response = http::Response::builder().header("Set-Cookie", "seen=1").body(())?;
    /// let ws = request.accept_with(response).await?;
    /// # Ok(())
    /// # }
    /// ```
    pub async fn accept_with(mut self, response: Response<()>) -> Result<WebSocket<S>, Error> {
        let IncomingState { request, response: answer, negotiated, .. } = &mut *self.state;
        match extend_response(answer, negotiated, request.headers(), response) {
            Ok(()) => self.accept().await,
            Err(error) => Err(Box::pin(self.fail(error)).await),
        }
    }

    pub(crate) async fn open(mut self, deadline: Deadline) -> Result<WebSocket<S>, Error> {
        let response = encode_response(&self.state.response);
        let written = deadline.run(write(&mut self.io, &response)).await;
        let IncomingState { request, received, config, negotiated, trace, .. } = *self.state;
        if let Some(trace) = trace {
            match &written {
                Ok(()) => trace.opened(),
                Err(error) => trace.failed(error),
            }
        }
        written?;
        let RequestBytes { mut bytes, head_len } = received;
        let unread = bytes.split_off(head_len);
        let ws = WebSocket::from_raw(self.io, unread, Role::Server, &config, negotiated);
        ws.events().path(request.uri().path());
        Ok(ws)
    }

    /// Rejects the request with the given response, and closes the connection.
    ///
    /// `Content-Length`, `Connection: close` and, if it is missing, `Date` are set. The call is
    /// limited by [`handshake_timeout`](Config::handshake_timeout), counted from this call. After
    /// the response is written, it waits for the client to close for at most one second.
    ///
    /// # Errors
    /// [`Error::InvalidHandshake`] for a status of 1xx or above 599: the client receives status 500
    /// instead. [`Error::Transport`] and [`Error::Timeout`] if the response was not written.
    ///
    /// # Cancel safety
    /// Dropping the future drops the transport, which closes the connection; the response may be
    /// cut short.
    ///
    /// ```
    /// # async fn serve(request: fullduplex::IncomingRequest<tokio::net::TcpStream>) -> Result<(), Box<dyn std::error::Error>> {
    /// request.reject(http::Response::builder().status(404).body("no such room")?).await?;
    /// # Ok(())
    /// # }
    /// ```
    pub async fn reject<B: Into<Bytes>>(mut self, response: Response<B>) -> Result<(), Error> {
        let timeout = self.state.config.handshake_timeout;
        if let Some(trace) = &self.state.trace {
            trace.refused(response.status());
        }
        answer(&mut self.io, response.map(Into::into), ContentMode::Sent, timeout).await
    }

    /// Answers with status 500, and returns the error.
    async fn fail(mut self, error: InvalidHandshake) -> Error {
        let error = Error::from(error);
        if let Some(trace) = &self.state.trace {
            trace.failed(&error);
        }
        // The error of the application is the one to report, even if writing the response fails
        // too.
        let _ =
            refuse_by(&mut self.io, Rejection::server_error(), Deadline::handshake(&self.state.config)).await;
        error
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};

    use crate::Server;

    const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
        Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n";

    #[tokio::test]
    async fn row_14_bytes_directly_after_the_request_are_kept_in_order() {
        for filler in [0, 100, 5000] {
            let behind = [&b"\x81\x85abcdhello"[..], &vec![b'x'; filler], REQUEST].concat();
            let (mut near, io) = duplex(1 << 16);
            near.write_all(&[REQUEST, &behind].concat()).await.expect("fits");
            near.shutdown().await.expect("open");
            let mut request = Server::default().read_request(io).await.expect("a valid request");
            let received = &request.state.received;
            let mut kept = received.bytes[received.head_len..].to_vec();
            assert!(!kept.is_empty());
            request.io.read_to_end(&mut kept).await.expect("open");
            assert_eq!(kept, behind);
        }
    }
}
