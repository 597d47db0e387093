//! The transport of a client connection.

use std::fmt;

use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
};

#[cfg(feature = "proxy")]
use crate::Replay;
use crate::delegate::delegate_io;
#[cfg(feature = "tls")]
use crate::tls::TlsStream;

/// The transport of a connection that [`connect`](crate::connect) has opened.
///
/// It is a TCP stream, one inside TLS, or any stream of a
/// [connector](crate::Client::connector). The fields are private: other kinds of transport can be
/// added without a new type.
pub struct ClientStream {
    inner: Inner,
}

enum Inner {
    Tcp(TcpStream),
    #[cfg(feature = "tls")]
    Tls(Box<TlsStream<ClientStream>>),
    /// A tunnel, through which the target has sent something already.
    #[cfg(feature = "proxy")]
    Tunnel(Box<Replay<ClientStream>>),
    Other(Box<dyn Transport>),
}

/// A stream of any type.
trait Transport: AsyncRead + AsyncWrite + Send + Sync + Unpin {}

impl<S: AsyncRead + AsyncWrite + Send + Sync + Unpin> Transport for S {}

impl ClientStream {
    pub(crate) fn tcp_stream(inner: TcpStream) -> Self {
        Self { inner: Inner::Tcp(inner) }
    }

    #[cfg(feature = "tls")]
    pub(crate) fn tls_stream(inner: TlsStream<Self>) -> Self {
        Self { inner: Inner::Tls(Box::new(inner)) }
    }

    #[cfg(feature = "proxy")]
    pub(crate) fn replay(early: bytes::Bytes, inner: Self) -> Self {
        Self { inner: Inner::Tunnel(Box::new(Replay::new(early, inner))) }
    }

    /// Wraps a stream of any type, for a [connector](crate::Client::connector).
    pub(crate) fn other(inner: impl AsyncRead + AsyncWrite + Send + Sync + Unpin + 'static) -> Self {
        Self { inner: Inner::Other(Box::new(inner)) }
    }

    /// Returns the TCP stream, also if it is inside TLS. With a proxy, it leads to the proxy.
    ///
    /// `None` if a [connector](crate::Client::connector) has returned another type of stream.
    ///
    /// ```
    /// # fn peer(ws: &fullduplex::WebSocket<fullduplex::ClientStream>) -> Option<std::net::SocketAddr> {
    /// ws.get_ref().tcp()?.peer_addr().ok()
    /// # }
    /// ```
    pub fn tcp(&self) -> Option<&TcpStream> {
        match &self.inner {
            Inner::Tcp(tcp) => Some(tcp),
            #[cfg(feature = "tls")]
            Inner::Tls(tls) => tls.get_ref().tcp(),
            #[cfg(feature = "proxy")]
            Inner::Tunnel(tunnel) => tunnel.get_ref().tcp(),
            Inner::Other(_) => None,
        }
    }

    /// Returns the TLS stream, which has the certificate of the server.
    ///
    /// `None` if the connection is not encrypted by this crate.
    #[cfg(feature = "tls")]
    #[cfg_attr(docsrs, doc(cfg(feature = "tls")))]
    pub fn tls(&self) -> Option<&TlsStream<Self>> {
        match &self.inner {
            Inner::Tls(tls) => Some(tls),
            _ => None,
        }
    }
}

impl fmt::Debug for ClientStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.inner {
            Inner::Tcp(tcp) => f.debug_tuple("ClientStream").field(tcp).finish(),
            #[cfg(feature = "tls")]
            Inner::Tls(tls) => f.debug_tuple("ClientStream").field(tls).finish(),
            #[cfg(feature = "proxy")]
            Inner::Tunnel(tunnel) => f.debug_tuple("ClientStream").field(tunnel).finish(),
            Inner::Other(_) => f.debug_struct("ClientStream").finish_non_exhaustive(),
        }
    }
}

delegate_io!(
    ClientStream,
    Inner {
        Tcp,
        #[cfg(feature = "tls")]
        Tls,
        #[cfg(feature = "proxy")]
        Tunnel,
        Other
    }
);
