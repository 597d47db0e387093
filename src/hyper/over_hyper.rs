//! A stream that is used through hyper, and its errors.

use std::{
    error, io,
    io::ErrorKind,
    pin::Pin,
    task::{Context, Poll},
};

use ::hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// A stream that is used through hyper. Its errors have the kind of their cause, as those of a socket
/// have: hyper returns most of them as [`ErrorKind::Other`].
#[derive(Debug)]
pub(super) struct OverHyper(TokioIo<Upgraded>);

impl OverHyper {
    pub(super) fn new(upgraded: Upgraded) -> Self {
        Self(TokioIo::new(upgraded))
    }
}

impl AsyncRead for OverHyper {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, buffer).map_err(with_kind)
    }
}

impl AsyncWrite for OverHyper {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, bytes).map_err(with_kind)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx).map_err(with_kind)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx).map_err(with_kind)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write_vectored(cx, slices).map_err(with_kind)
    }

    fn is_write_vectored(&self) -> bool {
        self.0.is_write_vectored()
    }
}

/// Returns the error with the kind of its cause, if that is known.
fn with_kind(error: io::Error) -> io::Error {
    match kind_of_io(&error).or_else(|| kind_of_cause(&error)) {
        Some(kind) if kind != error.kind() => io::Error::new(kind, error),
        _ => error,
    }
}

fn kind_of_io(error: &io::Error) -> Option<ErrorKind> {
    match error.kind() {
        // A transport of HTTP/2 ends within a frame: so says its codec, without a kind of its own.
        ErrorKind::Other if error.to_string() == "bytes remaining on stream" => {
            Some(ErrorKind::UnexpectedEof)
        }
        ErrorKind::Other => None,
        kind => Some(kind),
    }
}

fn kind_of_cause(error: &io::Error) -> Option<ErrorKind> {
    let mut cause = error.get_ref().map(|cause| cause as &(dyn error::Error + 'static));
    while let Some(inner) = cause {
        let io = inner.downcast_ref().and_then(kind_of_io);
        if let Some(kind) = io.or_else(|| kind_of_http2(inner)) {
            return Some(kind);
        }
        cause = inner.source();
    }
    None
}

#[cfg(feature = "http2")]
fn kind_of_http2(error: &(dyn error::Error + 'static)) -> Option<ErrorKind> {
    let error: &h2::Error = error.downcast_ref()?;
    match error.get_io() {
        Some(io) => kind_of_io(io),
        None if error.is_go_away() => Some(ErrorKind::ConnectionAborted),
        // RFC 8441 section 5: RST_STREAM is to a stream what a reset is to a TCP connection.
        None => error.reason().map(|_| ErrorKind::ConnectionReset),
    }
}

#[cfg(not(feature = "http2"))]
fn kind_of_http2(_: &(dyn error::Error + 'static)) -> Option<ErrorKind> {
    None
}
