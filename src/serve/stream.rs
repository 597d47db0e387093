//! The transport of a connection that a `Serve` has accepted.

use std::fmt;

use tokio::net::TcpStream;

use crate::delegate::delegate_io;
#[cfg(feature = "tls")]
use crate::tls::TlsStream;

/// The transport of a connection that a [`Serve`](super::Serve) has accepted: a TCP stream, or one
/// inside TLS.
pub struct ServerStream {
    inner: Inner,
}

enum Inner {
    Tcp(TcpStream),
    #[cfg(feature = "tls")]
    Tls(Box<TlsStream<TcpStream>>),
}

impl ServerStream {
    pub(super) fn plain(tcp: TcpStream) -> Self {
        Self { inner: Inner::Tcp(tcp) }
    }

    #[cfg(feature = "tls")]
    pub(super) fn secure(tls: TlsStream<TcpStream>) -> Self {
        Self { inner: Inner::Tls(Box::new(tls)) }
    }

    /// Returns the TCP stream, also if it is inside TLS.
    pub fn tcp(&self) -> &TcpStream {
        match &self.inner {
            Inner::Tcp(tcp) => tcp,
            #[cfg(feature = "tls")]
            Inner::Tls(tls) => tls.get_ref(),
        }
    }

    /// Returns the TLS stream, which has the certificate of the client; `None` without TLS.
    #[cfg(feature = "tls")]
    #[cfg_attr(docsrs, doc(cfg(feature = "tls")))]
    pub fn tls(&self) -> Option<&TlsStream<TcpStream>> {
        match &self.inner {
            Inner::Tls(tls) => Some(tls),
            Inner::Tcp(_) => None,
        }
    }
}

impl fmt::Debug for ServerStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.inner {
            Inner::Tcp(tcp) => f.debug_tuple("ServerStream").field(tcp).finish(),
            #[cfg(feature = "tls")]
            Inner::Tls(tls) => f.debug_tuple("ServerStream").field(tls).finish(),
        }
    }
}

delegate_io!(
    ServerStream,
    Inner {
        Tcp,
        #[cfg(feature = "tls")]
        Tls
    }
);
