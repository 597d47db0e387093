//! What a server has received where it is not only WebSocket requests that it answers.

use std::{fmt, time::Duration};

use bytes::Bytes;
use http::{Request, Response};
use tokio::io::{AsyncRead, AsyncWrite};

use crate::{
    IncomingRequest,
    error::Error,
    handshake::{Rejection, encode::ContentMode},
    replay::{Redacted, Replay},
    request_parts::{RequestBytes, RequestParts, answer, refuse},
};

/// What [`Server::read_any_request`](crate::Server::read_any_request) has received.
///
/// Dropping it closes the connection without an answer.
#[derive(Debug)]
#[non_exhaustive]
#[must_use = "a request that is dropped gets no answer"]
pub enum AnyRequest<S> {
    /// A request that can open a WebSocket connection.
    WebSocket(IncomingRequest<S>),
    /// A well-formed request that does not ask for a WebSocket connection: no `Upgrade: websocket`,
    /// or HTTP/1.0.
    Http(HttpRequest<S>),
    /// A request for a WebSocket connection that cannot open one, or bytes that are not a request
    /// at all.
    Rejected(RejectedRequest<S>),
}

/// A rejected request taken apart: see [`RejectedRequest::into_parts`].
#[non_exhaustive]
pub struct RejectedRequestParts<S> {
    /// Why it was rejected.
    pub rejection: Rejection,
    /// The request; `None` where the bytes are not the head of one.
    pub request: Option<Request<()>>,
    /// Everything that was read from the transport.
    pub received: Bytes,
    /// The transport.
    pub io: S,
}

/// Shows how many bytes were received, and not the bytes: they hold credentials.
impl<S: fmt::Debug> fmt::Debug for RejectedRequestParts<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { rejection, request, received, io } = self;
        f.debug_struct("RejectedRequestParts")
            .field("rejection", rejection)
            .field("request", request)
            .field("received", &Redacted(received))
            .field("io", io)
            .finish()
    }
}

/// A request that does not ask for a WebSocket connection: for a page, a health check, metrics.
///
/// Only its head was read, and found well-formed: any method, HTTP/1.0 and HTTP/1.1, with or
/// without a body, without `Host`. Dropping it closes the connection without an answer.
#[derive(Debug)]
#[must_use = "a request that is dropped gets no answer"]
pub struct HttpRequest<S> {
    pub(crate) io: S,
    pub(crate) state: Box<HttpRequestState>,
}

#[derive(Debug)]
pub(crate) struct HttpRequestState {
    pub(crate) request: Request<()>,
    pub(crate) received: RequestBytes,
    pub(crate) rejection: Rejection,
    pub(crate) timeout: Option<Duration>,
}

impl<S> HttpRequest<S> {
    /// Returns the request: its method, its target, its header fields.
    pub fn request(&self) -> &Request<()> {
        &self.state.request
    }

    /// Returns why the request does not open a WebSocket connection, which is what
    /// [`refuse`](Self::refuse) answers.
    pub fn rejection(&self) -> &Rejection {
        &self.state.rejection
    }

    /// Returns the transport.
    pub fn get_ref(&self) -> &S {
        &self.io
    }

    /// Takes the request apart: the request, the bytes that were read, and the transport.
    pub fn into_parts(self) -> RequestParts<S> {
        let HttpRequestState { request, received, .. } = *self.state;
        received.into_parts(request, self.io)
    }

    /// Returns the transport as if nothing had been read from it, for another HTTP library.
    pub fn into_replay(self) -> Replay<S> {
        Replay::new(self.state.received.bytes, self.io)
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> HttpRequest<S> {
    /// Answers with a response, and closes the connection.
    ///
    /// `Content-Length`, `Connection: close` and, unless the response has one, `Date` are set. The
    /// response to a HEAD request is sent without its body. A body of the request is not read,
    /// except for up to 64 KiB that are discarded. All of it may take as long as
    /// [`handshake_timeout`](crate::Config::handshake_timeout), counted from here; once the
    /// response is sent, at most one second is spent on waiting for the client to close.
    ///
    /// # Errors
    /// [`Error::InvalidHandshake`] for a status of 1xx, or of 600 and more: the client is answered
    /// 500 instead. [`Error::Transport`] and [`Error::Timeout`].
    ///
    /// # Cancel safety
    /// Dropping the future drops the transport, which closes the connection; the response may be
    /// cut short.
    ///
    /// ```
    /// # async fn serve(request: fullduplex::HttpRequest<tokio::net::TcpStream>) -> Result<(), fullduplex::Error> {
    /// match request.request().uri().path() {
    ///     "/health" => request.respond(http::Response::new("ok\n")).await,
    ///     _ => request.refuse().await,
    /// }
    /// # }
    /// ```
    pub async fn respond<B: Into<Bytes>>(mut self, response: Response<B>) -> Result<(), Error> {
        let content = ContentMode::answering(self.state.request.method());
        answer(&mut self.io, response.map(Into::into), content, self.state.timeout).await
    }

    /// Answers as [`Server::read_request`](crate::Server::read_request) does, and closes the
    /// connection: 426 for a GET that lacks `Upgrade: websocket`, 405 for another method.
    ///
    /// # Errors
    /// [`Error::Transport`] and [`Error::Timeout`].
    ///
    /// # Cancel safety
    /// As [`respond`](Self::respond).
    pub async fn refuse(mut self) -> Result<(), Error> {
        refuse(&mut self.io, self.state.rejection, self.state.timeout).await
    }
}

/// A request that does not open a WebSocket connection although it asks for one, or bytes that are
/// not a request.
///
/// Dropping it closes the connection without an answer.
#[derive(Debug)]
#[must_use = "a request that is dropped gets no answer"]
pub struct RejectedRequest<S> {
    pub(crate) io: S,
    pub(crate) state: Box<RejectedRequestState>,
}

#[derive(Debug)]
pub(crate) struct RejectedRequestState {
    pub(crate) rejection: Rejection,
    pub(crate) request: Option<Request<()>>,
    pub(crate) received: RequestBytes,
    pub(crate) timeout: Option<Duration>,
}

impl<S> RejectedRequest<S> {
    /// Returns why it was rejected, and with which status [`refuse`](Self::refuse) answers.
    pub fn rejection(&self) -> &Rejection {
        &self.state.rejection
    }

    /// Returns the request; `None` where the bytes are not the head of one.
    pub fn request(&self) -> Option<&Request<()>> {
        self.state.request.as_ref()
    }

    /// Returns the transport.
    pub fn get_ref(&self) -> &S {
        &self.io
    }

    /// Takes it apart: why it was rejected, the request if there is one, the bytes that were read,
    /// and the transport.
    pub fn into_parts(self) -> RejectedRequestParts<S> {
        let RejectedRequestState { rejection, request, received, .. } = *self.state;
        RejectedRequestParts { rejection, request, received: received.bytes, io: self.io }
    }

    /// Returns the transport as if nothing had been read from it.
    pub fn into_replay(self) -> Replay<S> {
        Replay::new(self.state.received.bytes, self.io)
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> RejectedRequest<S> {
    /// Answers as [`rejection`](Self::rejection) says, and closes the connection.
    ///
    /// # Errors
    /// [`Error::Transport`] and [`Error::Timeout`].
    ///
    /// # Cancel safety
    /// Dropping the future drops the transport, which closes the connection; the response may be
    /// cut short.
    pub async fn refuse(mut self) -> Result<(), Error> {
        refuse(&mut self.io, self.state.rejection, self.state.timeout).await
    }

    /// Answers with a response of the application, and closes the connection, as
    /// [`HttpRequest::respond`] does.
    ///
    /// # Errors
    /// As [`HttpRequest::respond`].
    ///
    /// # Cancel safety
    /// Dropping the future drops the transport, which closes the connection; the response may be
    /// cut short.
    pub async fn respond<B: Into<Bytes>>(mut self, response: Response<B>) -> Result<(), Error> {
        let RejectedRequestState { rejection, timeout, .. } = *self.state;
        answer(&mut self.io, response.map(Into::into), rejection.content(), timeout).await
    }
}
