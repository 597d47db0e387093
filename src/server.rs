//! The opening handshake of a server, over a transport.

use bytes::Bytes;
use http::{Request, Response};
use tokio::io::{AsyncRead, AsyncWrite};

use crate::{
    Config, Role, WebSocket,
    error::{Error, Timeout},
    handshake::{
        Content, HeadScanner, InvalidHandshake, Negotiated, Rejection, Server, check_final, encode_response,
        extend_response, request, respond,
    },
    opening::{Deadline, HeadReader, encode_last, write, write_last},
};

/// Accepts a WebSocket connection, with the defaults: any origin, no subprotocol, and
/// [10 seconds](Config::handshake_timeout) for reading the request and writing the response.
///
/// Servers that browsers reach with cookies need [`Server::allow_origins`].
///
/// # Errors
/// As [`Server::receive`] and [`Pending::accept`].
///
/// # Panics
/// Outside a tokio runtime, or in one whose timers are not enabled.
///
/// # Cancel safety
/// Dropping the future drops the transport, which closes the connection.
///
/// ```
/// # async fn serve(tcp: tokio::net::TcpStream) -> Result<(), fullduplex::Error> {
/// let ws = fullduplex::accept(tcp).await?;
/// # Ok(())
/// # }
/// ```
pub async fn accept<S: AsyncRead + AsyncWrite + Unpin>(io: S) -> Result<WebSocket<S>, Error> {
    // Boxed, so that what the handshake needs does not make the task larger for as long as the connection lasts.
    Box::pin(async move {
        let server = Server::default();
        let deadline = deadline(server.config());
        let pending = receive(&server, io, deadline).await?;
        pending.open(deadline).await
    })
    .await
}

impl Server {
    /// Reads a request and checks it. What to do with it is up to the caller: [`Pending`].
    ///
    /// A request that does not open a WebSocket connection is answered at once, as RFC 6455 section 4.2.2 and HTTP have
    /// it. The time for all that, from the first byte to the last, is [`handshake_timeout`](Config::handshake_timeout);
    /// accepting or rejecting what was received has as much again.
    ///
    /// The transport is a TCP stream, a TLS stream, whatever carries bytes both ways; `TCP_NODELAY` is for the caller to
    /// set.
    ///
    /// # Errors
    /// [`Error::Invalid`], before anything is read, for what [`check`](Self::check) tells: the transport is dropped.
    /// [`Error::Rejected`] where the request was turned away, [`Error::Timeout`], [`Error::Transport`] where the
    /// transport failed or ended.
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
    /// let pending = server.receive(tcp).await?;
    /// match user_of(pending.request()) {
    ///     Some(_user) => drop(pending.accept().await?),
    ///     None => pending.reject(Response::builder().status(401).body("who are you?")?).await?,
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub async fn receive<S: AsyncRead + AsyncWrite + Unpin>(&self, io: S) -> Result<Pending<S>, Error> {
        Box::pin(receive(self, io, deadline(self.config()))).await
    }
}

/// Until when the opening handshake, or what is left of it, has to be done.
fn deadline(config: &Config) -> Deadline {
    Deadline::after(config.handshake_timeout, Timeout::Handshake)
}

async fn receive<S: AsyncRead + AsyncWrite + Unpin>(
    server: &Server,
    mut io: S,
    deadline: Deadline,
) -> Result<Pending<S>, Error> {
    server.check().map_err(Clone::clone)?;
    match deadline.run(read_request(server, &mut io)).await? {
        Ok(state) => Ok(Pending { io, state }),
        Err(rejection) => {
            // That the request was refused is the news, whether or not the client still listens.
            let response = encode_last(rejection.clone().into_response(), rejection.content());
            let _ = write_last(&mut io, &response, deadline).await;
            Err(Error::Rejected(Box::new(rejection)))
        }
    }
}

async fn read_request<S: AsyncRead + Unpin>(
    server: &Server,
    io: &mut S,
) -> Result<Result<Box<State>, Rejection>, Error> {
    let mut reader = HeadReader::new();
    let (head, end) = match reader.read(io, HeadScanner::request(server.config())).await? {
        Ok(head) => head,
        Err(error) => return Ok(Err(error.into())),
    };
    let request = match request::parse_scanned(&head, end) {
        Ok(request) => request,
        Err(rejection) => return Ok(Err(rejection)),
    };
    let answer =
        respond::validate(request.method(), request.uri(), request.version(), request.headers(), server);
    Ok(answer.map(|(response, negotiated)| {
        let (unread, config) = (reader.into_unread(), server.config().clone());
        Box::new(State { request, response, negotiated, unread, config })
    }))
}

/// A request that would open a WebSocket connection, and waits for the server's decision.
///
/// Dropping it closes the connection without an answer.
#[derive(Debug)]
#[must_use = "a request that is neither accepted nor rejected gets no answer"]
pub struct Pending<S> {
    io: S,
    state: Box<State>,
}

#[derive(Debug)]
struct State {
    request: Request<()>,
    response: Response<()>,
    negotiated: Negotiated,
    unread: Bytes,
    config: Config,
}

impl<S> Pending<S> {
    /// The request: its path, its header fields.
    ///
    /// ```
    /// # fn room<S>(pending: &fullduplex::Pending<S>) -> &str {
    /// pending.request().uri().path()
    /// # }
    /// ```
    pub fn request(&self) -> &Request<()> {
        &self.state.request
    }

    /// The transport.
    pub fn get_ref(&self) -> &S {
        &self.io
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Pending<S> {
    /// Opens the connection. Writing the response may take as long as
    /// [`handshake_timeout`](Config::handshake_timeout), counted from here.
    ///
    /// # Errors
    /// [`Error::Transport`] and [`Error::Timeout`].
    ///
    /// # Cancel safety
    /// Dropping the future drops the transport, which closes the connection.
    ///
    /// ```
    /// # async fn serve(pending: fullduplex::Pending<tokio::net::TcpStream>) -> Result<(), fullduplex::Error> {
    /// let ws = pending.accept().await?;
    /// # Ok(())
    /// # }
    /// ```
    pub async fn accept(self) -> Result<WebSocket<S>, Error> {
        let deadline = deadline(&self.state.config);
        Box::pin(self.open(deadline)).await
    }

    /// Opens the connection with a response that says more: header fields such as `Set-Cookie`, and, in
    /// `Sec-WebSocket-Protocol`, which of the offered subprotocols to speak.
    ///
    /// # Errors
    /// [`Error::Invalid`] where the response has a field that the handshake writes itself, a subprotocol that was not
    /// offered, or a status of its own: the client is answered 500, and the connection closed, as in
    /// [`reject`](Self::reject). [`Error::Transport`] and [`Error::Timeout`] as in [`accept`](Self::accept).
    ///
    /// # Cancel safety
    /// Dropping the future drops the transport, which closes the connection.
    ///
    /// ```
    /// # async fn serve(pending: fullduplex::Pending<tokio::net::TcpStream>) -> Result<(), Box<dyn std::error::Error>> {
    /// let response = http::Response::builder().header("Set-Cookie", "seen=1").body(())?;
    /// let ws = pending.accept_with(response).await?;
    /// # Ok(())
    /// # }
    /// ```
    pub async fn accept_with(mut self, response: Response<()>) -> Result<WebSocket<S>, Error> {
        let State { request, response: answer, negotiated, .. } = &mut *self.state;
        match extend_response(answer, negotiated, request.headers(), response) {
            Ok(()) => self.accept().await,
            Err(error) => Err(Box::pin(self.fail(error)).await),
        }
    }

    async fn open(mut self, deadline: Deadline) -> Result<WebSocket<S>, Error> {
        let response = encode_response(&self.state.response);
        deadline.run(write(&mut self.io, &response)).await?;
        let State { unread, config, negotiated, .. } = *self.state;
        Ok(WebSocket::from_raw(self.io, unread, Role::Server, &config, negotiated))
    }

    /// Turns the request away with a response of the application's own, and closes the connection.
    ///
    /// `Content-Length` and `Connection: close` are set. All of it may take as long as
    /// [`handshake_timeout`](Config::handshake_timeout), counted from here; once the response is out, at most a second
    /// is spent on waiting for the client to close.
    ///
    /// # Errors
    /// [`Error::Invalid`] for a status of 1xx, or of 600 and more: the client is answered 500 in its place.
    /// [`Error::Transport`] and [`Error::Timeout`].
    ///
    /// # Cancel safety
    /// Dropping the future drops the transport, which closes the connection; the response may be cut short.
    ///
    /// ```
    /// # async fn serve(pending: fullduplex::Pending<tokio::net::TcpStream>) -> Result<(), Box<dyn std::error::Error>> {
    /// pending.reject(http::Response::builder().status(404).body("no such room")?).await?;
    /// # Ok(())
    /// # }
    /// ```
    pub async fn reject<B: Into<Bytes>>(mut self, response: Response<B>) -> Result<(), Error> {
        match check_final(response.status()) {
            Ok(()) => {
                let response = encode_last(response.map(Into::into), Content::Sent);
                let deadline = deadline(&self.state.config);
                Box::pin(write_last(&mut self.io, &response, deadline)).await
            }
            Err(error) => Err(Box::pin(self.fail(error)).await),
        }
    }

    /// Tells the client that the server erred, and gives back how.
    async fn fail(mut self, error: InvalidHandshake) -> Error {
        let deadline = deadline(&self.state.config);
        // That the application erred is the news, whether or not the client still listens.
        let response = encode_last(Rejection::server_error().into_response(), Content::Sent);
        let _ = write_last(&mut self.io, &response, deadline).await;
        error.into()
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};

    use super::*;

    const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
        Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n";

    #[tokio::test]
    async fn row_14_what_comes_right_behind_the_request_is_kept_in_order() {
        for filler in [0, 100, 5000] {
            let behind = [&b"\x81\x85abcdhello"[..], &vec![b'x'; filler], REQUEST].concat();
            let (mut near, io) = duplex(1 << 16);
            near.write_all(&[REQUEST, &behind].concat()).await.expect("fits");
            near.shutdown().await.expect("open");
            let mut pending = Server::default().receive(io).await.expect("a valid request");
            let mut kept = pending.state.unread.to_vec();
            assert!(!kept.is_empty());
            pending.io.read_to_end(&mut kept).await.expect("open");
            assert_eq!(kept, behind);
        }
    }
}
