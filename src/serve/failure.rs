//! What goes wrong in a `Serve`, for the log of the program.

use std::{fmt, io, net::SocketAddr};

use super::{metrics::Refusal, proxy_header::InvalidProxyHeader};
use crate::Error;

/// Something that went wrong in a [`Serve`](super::Serve), passed to the closure of
/// [`on_failure`](super::Serve::on_failure).
///
/// `{:#}` prints it in one line, with the address of the peer and all sources.
#[derive(Debug)]
#[non_exhaustive]
pub enum Failure {
    /// No connection could be accepted. The process may have no file descriptors left.
    Accept(io::Error),
    /// A connection was refused because of a limit.
    Refused {
        /// The address of the peer.
        peer: SocketAddr,
        /// The limit.
        refusal: Refusal,
    },
    /// A connection did not begin with a valid header of the PROXY protocol.
    ProxyHeader {
        /// The address of the proxy.
        peer: SocketAddr,
        /// What is invalid.
        error: InvalidProxyHeader,
    },
    /// A connection could not be opened, or a request not be answered.
    Opening {
        /// The address of the peer.
        peer: SocketAddr,
        /// Why not.
        error: Error,
    },
    /// The handler of an open connection returned an error.
    Connection {
        /// The address of the peer.
        peer: SocketAddr,
        /// The error.
        error: Error,
    },
}

impl Failure {
    /// Returns whether the peer only disappeared, which servers need not log as a fault.
    ///
    /// See [`Error::is_disconnect`].
    pub fn is_disconnect(&self) -> bool {
        match self {
            Self::Opening { error, .. } | Self::Connection { error, .. } => error.is_disconnect(),
            Self::Accept(_) | Self::Refused { .. } | Self::ProxyHeader { .. } => false,
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Accept(error) => write!(f, "accept: {error}"),
            Self::Refused { peer, refusal } => {
                let limit = match refusal {
                    Refusal::Handshakes => "too many opening handshakes",
                    Refusal::ConnectionsPerKey => "too many connections of its kind",
                    _ => "too many connections",
                };
                write!(f, "{peer}: refused, {limit}")
            }
            Self::ProxyHeader { peer, error } => write!(f, "{peer}: {error}"),
            Self::Opening { peer, error } | Self::Connection { peer, error } => {
                write!(f, "{peer}: ")?;
                error.fmt(f)
            }
        }
    }
}

impl std::error::Error for Failure {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Accept(error) => error.source(),
            Self::Refused { .. } | Self::ProxyHeader { .. } => None,
            Self::Opening { error, .. } | Self::Connection { error, .. } => error.source(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ProtocolError;

    #[test]
    fn a_failure_is_printed_in_one_line_with_its_peer() {
        let peer = ([192, 0, 2, 1], 80).into();
        for (failure, text) in [
            (Failure::Accept(io::Error::other("no descriptors")), "accept: no descriptors"),
            (
                Failure::Refused { peer, refusal: Refusal::Handshakes },
                "192.0.2.1:80: refused, too many opening handshakes",
            ),
            (
                Failure::ProxyHeader { peer, error: InvalidProxyHeader::Missing },
                "192.0.2.1:80: no header of the PROXY protocol",
            ),
            (
                Failure::Connection { peer, error: Error::Protocol(ProtocolError::InvalidUtf8) },
                "192.0.2.1:80: peer violated the protocol: text is not valid UTF-8",
            ),
        ] {
            assert!(!failure.is_disconnect());
            assert_eq!(format!("{failure:#}"), text);
        }
        let gone = Failure::Connection { peer, error: Error::Protocol(ProtocolError::EofWithoutClose) };
        assert!(gone.is_disconnect());
    }
}
