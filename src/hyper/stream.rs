//! The transport of a connection that hyper has upgraded.

use std::fmt;

use ::hyper::upgrade::Upgraded;
use bytes::Bytes;
use hyper_util::{rt::TokioIo, server::conn::auto};
use tokio::{
    io::{AsyncRead, AsyncWrite, DuplexStream},
    net::TcpStream,
};

use super::over_hyper::OverHyper;
use crate::delegate::delegate_io;
#[cfg(feature = "tls")]
use crate::tls::{RustlsStream, TlsStream};

/// The transport of a connection that hyper has upgraded.
///
/// It is the TCP stream itself, or the TLS stream over it, if hyper returns one of these. Reads and
/// writes then do not pass through hyper, and writes stay vectored. Anything else, such as a stream
/// of HTTP/2, is used through hyper's `Upgraded`.
pub struct UpgradedStream {
    inner: Inner,
}

enum Inner {
    Tcp(TcpStream),
    #[cfg(feature = "tls")]
    Tls(Box<TlsStream<TcpStream>>),
    /// In a test.
    Memory(DuplexStream),
    Other(Box<OverHyper>),
}

/// Returns the transport that the server passed to hyper, if it is an `S`, and what was read from
/// it.
pub(super) fn bare<S>(upgraded: Upgraded) -> Result<(S, Bytes), Upgraded>
where
    S: AsyncRead + AsyncWrite + Unpin + 'static,
{
    match upgraded.downcast::<TokioIo<S>>() {
        Ok(parts) => Ok((parts.io.into_inner(), parts.read_buf)),
        // `auto::Builder`, which `axum::serve` uses, wraps it.
        Err(upgraded) => auto::upgrade::downcast::<TokioIo<S>>(upgraded)
            .map(|parts| (parts.io.into_inner(), parts.read_buf)),
    }
}

impl UpgradedStream {
    /// Returns the stream, and the bytes that were read from it already.
    pub(super) fn new(upgraded: Upgraded) -> (Self, Bytes) {
        let upgraded = match bare::<TcpStream>(upgraded) {
            Ok((tcp, unread)) => return (Self { inner: Inner::Tcp(tcp) }, unread),
            Err(upgraded) => upgraded,
        };
        #[cfg(feature = "tls")]
        let upgraded = match bare::<TlsStream<TcpStream>>(upgraded) {
            Ok((tls, unread)) => return (Self { inner: Inner::Tls(Box::new(tls)) }, unread),
            Err(upgraded) => upgraded,
        };
        #[cfg(feature = "tls")]
        let upgraded = match bare::<RustlsStream>(upgraded) {
            Ok((tls, unread)) => return (Self { inner: Inner::Tls(Box::new(tls.into())) }, unread),
            Err(upgraded) => upgraded,
        };
        // `Upgraded` returns what was read by itself.
        (Self { inner: Inner::Other(Box::new(OverHyper::new(upgraded))) }, Bytes::new())
    }

    pub(super) fn memory(io: DuplexStream) -> Self {
        Self { inner: Inner::Memory(io) }
    }

    /// Returns the TCP stream, also if it is inside TLS.
    ///
    /// `None` for a stream of HTTP/2, and for a transport of another type.
    ///
    /// ```
    /// # fn peer(ws: &fullduplex::WebSocket<fullduplex::hyper::UpgradedStream>) -> Option<std::net::SocketAddr> {
    /// ws.get_ref().tcp()?.peer_addr().ok()
    /// # }
    /// ```
    pub fn tcp(&self) -> Option<&TcpStream> {
        match &self.inner {
            Inner::Tcp(tcp) => Some(tcp),
            #[cfg(feature = "tls")]
            Inner::Tls(tls) => Some(tls.get_ref()),
            Inner::Memory(_) | Inner::Other(_) => None,
        }
    }

    /// Returns the TLS stream, which has the certificate of the client, if it presented one.
    ///
    /// `None` if the connection is not encrypted by tokio-rustls, or is a stream of HTTP/2.
    #[cfg(feature = "tls")]
    #[cfg_attr(docsrs, doc(cfg(feature = "tls")))]
    pub fn tls(&self) -> Option<&TlsStream<TcpStream>> {
        match &self.inner {
            Inner::Tls(tls) => Some(tls),
            _ => None,
        }
    }
}

impl fmt::Debug for UpgradedStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut tuple = f.debug_tuple("UpgradedStream");
        match &self.inner {
            Inner::Tcp(tcp) => tuple.field(tcp),
            #[cfg(feature = "tls")]
            Inner::Tls(tls) => tuple.field(tls),
            Inner::Memory(io) => tuple.field(io),
            Inner::Other(other) => tuple.field(other),
        };
        tuple.finish()
    }
}

delegate_io!(
    UpgradedStream,
    Inner {
        Tcp,
        #[cfg(feature = "tls")]
        Tls,
        Memory,
        Other
    }
);
