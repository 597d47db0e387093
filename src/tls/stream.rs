//! A stream inside TLS.

use std::{
    io::{self, IoSlice},
    pin::Pin,
    task::{Context, Poll},
};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_rustls::rustls::{CommonState, HandshakeKind, pki_types::CertificateDer};

use super::{failure::stream_error, read_ahead::ReadAhead};

/// A stream inside TLS, of a client or of a server.
#[derive(Debug)]
pub struct TlsStream<S> {
    inner: Inner<S>,
}

#[derive(Debug)]
enum Inner<S> {
    Own(tokio_rustls::TlsStream<ReadAhead<S>>),
    /// Of a server that uses tokio-rustls itself.
    #[cfg(feature = "hyper")]
    Rustls(tokio_rustls::TlsStream<S>),
}

/// Evaluates an expression for the stream of tokio-rustls, of either type.
macro_rules! either {
    ($inner:expr, $stream:ident => $result:expr) => {
        match $inner {
            Inner::Own($stream) => $result,
            #[cfg(feature = "hyper")]
            Inner::Rustls($stream) => $result,
        }
    };
}

/// A TLS stream of a server that uses tokio-rustls itself.
#[cfg(feature = "hyper")]
pub(crate) type RustlsStream = tokio_rustls::server::TlsStream<tokio::net::TcpStream>;

#[cfg(feature = "hyper")]
impl From<RustlsStream> for TlsStream<tokio::net::TcpStream> {
    fn from(inner: RustlsStream) -> Self {
        Self { inner: Inner::Rustls(inner.into()) }
    }
}

impl<S> TlsStream<S> {
    pub(super) fn new(inner: tokio_rustls::TlsStream<ReadAhead<S>>) -> Self {
        Self { inner: Inner::Own(inner) }
    }

    /// Returns the transport.
    pub fn get_ref(&self) -> &S {
        match &self.inner {
            Inner::Own(stream) => stream.get_ref().0.get_ref(),
            #[cfg(feature = "hyper")]
            Inner::Rustls(stream) => stream.get_ref().0,
        }
    }

    fn session(&self) -> &CommonState {
        either!(&self.inner, stream => stream.get_ref().1)
    }

    /// Returns the certificates that the peer has presented, its own first; `None` if it has not.
    pub fn peer_certificates(&self) -> Option<&[CertificateDer<'static>]> {
        self.session().peer_certificates()
    }

    /// Returns the ALPN protocol that was agreed on; `None` if the peer does not use ALPN.
    pub fn alpn_protocol(&self) -> Option<&[u8]> {
        self.session().alpn_protocol()
    }

    /// Returns the host name that the client has requested (SNI); always `None` for a client.
    pub fn server_name(&self) -> Option<&str> {
        either!(&self.inner, stream => match stream {
            tokio_rustls::TlsStream::Server(server) => server.get_ref().1.server_name(),
            tokio_rustls::TlsStream::Client(_) => None,
        })
    }

    /// Returns whether the handshake has resumed an earlier session.
    pub fn is_resumed(&self) -> bool {
        self.session().handshake_kind() == Some(HandshakeKind::Resumed)
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for TlsStream<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        either!(&mut self.inner, stream => Pin::new(stream).poll_read(cx, buffer)).map_err(stream_error)
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for TlsStream<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        either!(&mut self.inner, stream => Pin::new(stream).poll_write(cx, bytes)).map_err(stream_error)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        either!(&mut self.inner, stream => Pin::new(stream).poll_flush(cx)).map_err(stream_error)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        either!(&mut self.inner, stream => Pin::new(stream).poll_shutdown(cx)).map_err(stream_error)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        either!(&mut self.inner, stream => Pin::new(stream).poll_write_vectored(cx, slices))
            .map_err(stream_error)
    }

    fn is_write_vectored(&self) -> bool {
        either!(&self.inner, stream => stream.is_write_vectored())
    }
}
