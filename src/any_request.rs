//! The requests of a server that answers HTTP requests on the same port.

use std::{fmt, time::Duration};

use bytes::Bytes;
use http::{Request, Response};
use tokio::io::{AsyncRead, AsyncWrite};

use crate::{
    IncomingRequest,
    error::Error,
    handshake::{Rejection, encode::ContentMode},
    replay::{Redacted, Replay},
    request_parts::{RedactedRequest, RequestBytes, RequestParts, answer, refuse},
};

/// A request of any kind, returned by
/// [`Server::read_any_request`](crate::Server::read_any_request).
///
/// Dropping it closes the connection without an answer.
#[derive(Debug)]
#[non_exhaustive]
#[must_use = "a request that is dropped gets no answer"]
pub enum AnyRequest<S> {
    /// A request that can open a WebSocket connection.
    WebSocket(IncomingRequest<S>),
    /// A well-formed request that does not ask for a WebSocket connection: it has no
    /// `Upgrade: websocket`, or it is HTTP/1.0.
    Http(HttpRequest<S>),
    /// An invalid request for a WebSocket connection, or bytes that are not a request.
    Rejected(RejectedRequest<S>),
}

/// The parts of a rejected request, returned by [`RejectedRequest::into_parts`].
#[non_exhaustive]
pub struct RejectedRequestParts<S> {
    /// Why it was rejected.
    pub rejection: Rejection,
    /// The request; `None` if the bytes are not the head of a request.
    pub request: Option<Request<()>>,
    /// All bytes that were read from the transport.
    pub received: Bytes,
    /// The transport.
    pub io: S,
}

/// Redacted: prints only the number of bytes, as they can contain credentials.
impl<S: fmt::Debug> fmt::Debug for RejectedRequestParts<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { rejection, request, received, io } = self;
        f.debug_struct("RejectedRequestParts")
            .field("rejection", rejection)
            .field("request", &request.as_ref().map(RedactedRequest))
            .field("received", &Redacted(received))
            .field("io", io)
            .finish()
    }
}

/// A request that does not ask for a WebSocket connection, such as for a page or a health check.
///
/// Only the head was read. It is well-formed HTTP/1.0 or HTTP/1.1 of any method; nothing else was
/// checked, such as `Host` or a body.
///
/// Dropping it closes the connection without an answer.
#[must_use = "a request that is dropped gets no answer"]
pub struct HttpRequest<S> {
    pub(crate) io: S,
    pub(crate) state: Box<HttpRequestState>,
}

/// Redacted, as [`RequestParts`] is.
impl<S: fmt::Debug> fmt::Debug for HttpRequest<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HttpRequest")
            .field("io", &self.io)
            .field("request", &RedactedRequest(&self.state.request))
            .finish_non_exhaustive()
    }
}

pub(crate) struct HttpRequestState {
    pub(crate) request: Request<()>,
    pub(crate) received: RequestBytes,
    pub(crate) rejection: Rejection,
    pub(crate) timeout: Option<Duration>,
}

impl<S> HttpRequest<S> {
    /// Returns the request, with its method, target and header fields.
    pub fn request(&self) -> &Request<()> {
        &self.state.request
    }

    /// Returns why the request does not open a WebSocket connection: the answer of
    /// [`refuse`](Self::refuse).
    pub fn rejection(&self) -> &Rejection {
        &self.state.rejection
    }

    /// Returns the transport.
    pub fn get_ref(&self) -> &S {
        &self.io
    }

    /// Returns the request, the bytes that were read, and the transport.
    pub fn into_parts(self) -> RequestParts<S> {
        let HttpRequestState { request, received, .. } = *self.state;
        received.into_parts(request, self.io)
    }

    /// Returns a transport that yields the request again, for another HTTP library.
    pub fn into_replay(self) -> Replay<S> {
        Replay::new(self.state.received.bytes, self.io)
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> HttpRequest<S> {
    /// Sends a response, and closes the connection.
    ///
    /// `Content-Length`, `Connection: close` and, if it is missing, `Date` are set. The response to
    /// a HEAD request is sent without its body.
    ///
    /// The call is limited by [`handshake_timeout`](crate::Config::handshake_timeout), counted from
    /// this call. After the response is written, it waits for the client to close for at most one
    /// second, and discards up to 64 KiB of input such as a request body.
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

    /// Sends the answer of [`Server::read_request`](crate::Server::read_request), and closes the
    /// connection.
    ///
    /// The answer is 505 for HTTP/1.0, 405 for a method other than GET, and 426 or 400 otherwise:
    /// see [`rejection`](Self::rejection).
    ///
    /// # Errors
    /// [`Error::Transport`] and [`Error::Timeout`] if the response was not written.
    ///
    /// # Cancel safety
    /// Dropping the future drops the transport, which closes the connection; the response may be
    /// cut short.
    pub async fn refuse(mut self) -> Result<(), Error> {
        refuse(&mut self.io, self.state.rejection, self.state.timeout).await
    }
}

/// An invalid request for a WebSocket connection, or bytes that are not a request.
///
/// Dropping it closes the connection without an answer.
#[must_use = "a request that is dropped gets no answer"]
pub struct RejectedRequest<S> {
    pub(crate) io: S,
    pub(crate) state: Box<RejectedRequestState>,
}

/// Redacted, as [`RejectedRequestParts`] is.
impl<S: fmt::Debug> fmt::Debug for RejectedRequest<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RejectedRequest")
            .field("io", &self.io)
            .field("rejection", &self.state.rejection)
            .field("request", &self.state.request.as_ref().map(RedactedRequest))
            .finish_non_exhaustive()
    }
}

pub(crate) struct RejectedRequestState {
    pub(crate) rejection: Rejection,
    pub(crate) request: Option<Request<()>>,
    pub(crate) received: RequestBytes,
    pub(crate) timeout: Option<Duration>,
}

impl<S> RejectedRequest<S> {
    /// Returns why the request was rejected: the answer of [`refuse`](Self::refuse).
    pub fn rejection(&self) -> &Rejection {
        &self.state.rejection
    }

    /// Returns the request; `None` if the bytes are not the head of a request.
    pub fn request(&self) -> Option<&Request<()>> {
        self.state.request.as_ref()
    }

    /// Returns the transport.
    pub fn get_ref(&self) -> &S {
        &self.io
    }

    /// Returns the rejection, the request, the bytes that were read, and the transport.
    pub fn into_parts(self) -> RejectedRequestParts<S> {
        let RejectedRequestState { rejection, request, received, .. } = *self.state;
        RejectedRequestParts { rejection, request, received: received.bytes, io: self.io }
    }

    /// Returns a transport that yields the bytes again, for another library.
    pub fn into_replay(self) -> Replay<S> {
        Replay::new(self.state.received.bytes, self.io)
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> RejectedRequest<S> {
    /// Sends the response of [`rejection`](Self::rejection), and closes the connection.
    ///
    /// # Errors
    /// [`Error::Transport`] and [`Error::Timeout`] if the response was not written.
    ///
    /// # Cancel safety
    /// Dropping the future drops the transport, which closes the connection; the response may be
    /// cut short.
    pub async fn refuse(mut self) -> Result<(), Error> {
        refuse(&mut self.io, self.state.rejection, self.state.timeout).await
    }

    /// Sends a response of the application, and closes the connection.
    ///
    /// See [`HttpRequest::respond`].
    ///
    /// # Errors
    /// Those of [`HttpRequest::respond`].
    ///
    /// # Cancel safety
    /// Dropping the future drops the transport, which closes the connection; the response may be
    /// cut short.
    pub async fn respond<B: Into<Bytes>>(mut self, response: Response<B>) -> Result<(), Error> {
        let RejectedRequestState { rejection, timeout, .. } = *self.state;
        answer(&mut self.io, response.map(Into::into), rejection.content(), timeout).await
    }
}
