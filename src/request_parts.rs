//! The bytes and parts of a request, and responses that end the connection.

use std::{fmt, time::Duration};

use bytes::Bytes;
use http::{Request, Response, header};
use tokio::io::{AsyncRead, AsyncWrite};

use crate::{
    error::{Error, Timeout},
    handshake::{
        Rejection,
        encode::{ContentMode, check_final},
    },
    opening::{Deadline, encode_last, write_last},
    replay::Redacted,
};

/// The bytes that were read from a transport: the head of a request, and what follows it.
pub(crate) struct RequestBytes {
    pub(crate) bytes: Bytes,
    /// The length of the head, in bytes.
    pub(crate) head_len: usize,
}

impl RequestBytes {
    pub(crate) fn into_parts<S>(mut self, request: Request<()>, io: S) -> RequestParts<S> {
        let unread = self.bytes.split_off(self.head_len);
        RequestParts { request, head: self.bytes, unread, io }
    }
}

impl fmt::Debug for RequestBytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Redacted(&self.bytes).fmt(f)
    }
}

/// Prints a request without its secrets: browsers can set no header fields for a WebSocket, so tokens
/// are in the query of the target and among the subprotocols.
pub(crate) struct RedactedRequest<'a>(pub(crate) &'a Request<()>);

impl fmt::Debug for RedactedRequest<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut headers = self.0.headers().clone();
        if let header::Entry::Occupied(mut subprotocols) = headers.entry(header::SEC_WEBSOCKET_PROTOCOL) {
            subprotocols.iter_mut().for_each(|value| value.set_sensitive(true));
        }
        f.debug_struct("Request")
            .field("method", self.0.method())
            .field("path", &self.0.uri().path())
            .field("version", &self.0.version())
            .field("headers", &headers)
            .finish_non_exhaustive()
    }
}

/// The parts of a request and its transport.
///
/// Returned by [`HttpRequest::into_parts`](crate::HttpRequest::into_parts) and
/// [`IncomingRequest::into_parts`](crate::IncomingRequest::into_parts).
#[non_exhaustive]
pub struct RequestParts<S> {
    /// The request. Its body, if it has one, is not read.
    pub request: Request<()>,
    /// The head of the request as received, including the empty line that ends it.
    pub head: Bytes,
    /// The bytes that were read after the head.
    pub unread: Bytes,
    /// The transport.
    pub io: S,
}

/// Redacted: prints only the numbers of bytes, and no query or subprotocol, as they can contain
/// credentials.
impl<S: fmt::Debug> fmt::Debug for RequestParts<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { request, head, unread, io } = self;
        f.debug_struct("RequestParts")
            .field("request", &RedactedRequest(request))
            .field("head", &Redacted(head))
            .field("unread", &Redacted(unread))
            .field("io", io)
            .finish()
    }
}

/// Sends a response of the application and closes the connection.
pub(crate) async fn answer<S: AsyncRead + AsyncWrite + Unpin>(
    io: &mut S,
    response: Response<Bytes>,
    content: ContentMode,
    timeout: Option<Duration>,
) -> Result<(), Error> {
    match check_final(response.status()) {
        Ok(()) => {
            let deadline = Deadline::after(timeout, Timeout::Handshake);
            Box::pin(write_last(io, &encode_last(response, content), deadline)).await
        }
        Err(error) => {
            // The error of the application is the one to report, even if writing the response fails
            // too.
            let _ = refuse(io, Rejection::server_error(), timeout).await;
            Err(error.into())
        }
    }
}

/// Sends the response of a rejection and closes the connection.
pub(crate) async fn refuse<S: AsyncRead + AsyncWrite + Unpin>(
    io: &mut S,
    rejection: Rejection,
    timeout: Option<Duration>,
) -> Result<(), Error> {
    refuse_by(io, rejection, Deadline::after(timeout, Timeout::Handshake)).await
}

/// Sends the response of a rejection by the given deadline, and closes the connection.
pub(crate) async fn refuse_by<S: AsyncRead + AsyncWrite + Unpin>(
    io: &mut S,
    rejection: Rejection,
    deadline: Deadline,
) -> Result<(), Error> {
    let content = rejection.content();
    Box::pin(write_last(io, &encode_last(rejection.into_response(), content), deadline)).await
}
