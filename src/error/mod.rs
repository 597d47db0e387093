//! The errors of connections and of opening them.

#[cfg(feature = "proxy")]
mod invalid_proxy;
#[cfg(feature = "proxy")]
mod proxy;
#[cfg(feature = "tls")]
mod tls;

use std::{fmt, io};

use bytes::Bytes;
use http::Response;
#[cfg(feature = "tls")]
pub use tls::TlsError;

use crate::handshake::{InvalidHandshake, Rejection, ResponseError};
use crate::proto::{CloseCode, InvalidClose, ProtocolError, SendError};
#[cfg(feature = "serde")]
use crate::proto::{JsonError, JsonErrorKind};

#[cfg(feature = "proxy")]
pub use {
    invalid_proxy::InvalidProxy,
    proxy::{ProxyError, Socks4Reply, Socks5Reply},
};

/// A deadline that passed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, thiserror::Error)]
#[non_exhaustive]
pub enum Timeout {
    /// Reaching the server took longer than
    /// [`connect_timeout`](crate::Client::connect_timeout).
    #[error("connect")]
    Connect,
    /// The opening handshake took longer than
    /// [`handshake_timeout`](crate::Config::handshake_timeout), or a proxy took longer than that to
    /// open a tunnel.
    #[error("opening handshake")]
    Handshake,
    /// The transport accepted no bytes for [`write_timeout`](crate::Config::write_timeout), or fewer
    /// than [`min_write_rate`](crate::Config::min_write_rate) requires.
    #[error("write")]
    Write,
    /// The Close was not written within [`close_timeout`](crate::Config::close_timeout) or
    /// [`total_close_timeout`](crate::Config::total_close_timeout).
    #[error("close")]
    Close,
    /// A keep-alive ping was not answered within [`pong_timeout`](crate::Config::pong_timeout).
    #[error("pong")]
    Pong,
    /// Neither a message nor a pong was received for [`idle_timeout`](crate::Config::idle_timeout).
    #[error("idle")]
    Idle,
    /// A message was incomplete [`message_timeout`](crate::Config::message_timeout) after its first
    /// byte.
    #[error("message")]
    Message,
    /// The connection was open at the deadline of a graceful shutdown.
    #[cfg(feature = "serve")]
    #[cfg_attr(docsrs, doc(cfg(feature = "serve")))]
    #[error("shutdown")]
    Shutdown,
}

/// An error of a connection or of a call, by who caused it.
///
/// A clean close is not an error, and neither is a handshake without a common subprotocol. An error
/// that ends a connection is returned once; after that, receiving returns `Ok(None)` and sending
/// fails with [`Error::Closed`].
///
/// # Display and source
/// The cause of a [`Protocol`](Self::Protocol) or [`Transport`](Self::Transport) error is its
/// [`source`](std::error::Error::source), and not part of its message. The other variants include
/// the message of the inner error, and return the source of that. A program that prints the chain
/// of sources therefore prints each text once. `{error:#}` formats the whole chain in one line.
///
/// ```
/// use fullduplex::{Error, proto::ProtocolError};
///
/// let error = Error::Protocol(ProtocolError::UnmaskedFrame);
/// assert_eq!(format!("{error}"), "peer violated the protocol");
/// assert_eq!(format!("{error:#}"), "peer violated the protocol: frame from a client is not masked");
/// ```
///
/// # Over `AsyncRead` and `AsyncWrite`
/// [`MessageReader`](crate::MessageReader), [`MessageWriter`](crate::MessageWriter) and
/// [`ByteStream`](crate::ByteStream) wrap their errors in an [`io::Error`]. Converting that back
/// returns the same error, so `tokio::io::copy(..).await?` keeps its close code:
///
/// ```
/// use std::{fmt, io};
/// use fullduplex::{CloseCode, Error, proto::ProtocolError};
///
/// let wrapped = io::Error::from(Error::Protocol(ProtocolError::InvalidUtf8));
/// assert_eq!(Error::from(wrapped).close_code(), Some(CloseCode::INVALID_PAYLOAD));
/// ```
#[derive(Debug)]
#[non_exhaustive]
pub enum Error {
    /// The peer violated the protocol or a limit, or the stream ended without a Close.
    ///
    /// The latter is [`ProtocolError::EofWithoutClose`]; see
    /// [`is_disconnect`](Self::is_disconnect).
    Protocol(ProtocolError),
    /// The caller tried to send something that cannot be sent.
    Send(SendError),
    /// The caller tried to close with a code or reason that cannot be sent.
    InvalidClose(InvalidClose),
    /// The connection is closing or closed.
    ///
    /// Nothing can be sent, and a message that is read in parts remains incomplete.
    Closed,
    /// The transport failed.
    Transport(io::Error),
    /// The request of the client was rejected, and answered with an error status.
    Rejected(Box<Rejection>),
    /// The response of the server does not open a connection: the server refused or violated the
    /// protocol.
    Response(Box<ResponseError>),
    /// The caller supplied an invalid configuration of the opening handshake.
    ///
    /// Nothing of it was sent. If a request was already received, the client is answered with
    /// status 500.
    InvalidHandshake(Box<InvalidHandshake>),
    /// The TLS handshake failed, or the TLS settings are invalid.
    #[cfg(feature = "tls")]
    #[cfg_attr(docsrs, doc(cfg(feature = "tls")))]
    Tls(Box<TlsError>),
    /// The proxy did not open a tunnel to the server: it refused or violated its protocol, or the
    /// caller supplied an invalid proxy.
    #[cfg(feature = "proxy")]
    Proxy(Box<ProxyError>),
    /// A value cannot be serialized as JSON, which is the caller's fault, or the peer's message
    /// cannot be parsed. Neither ends the connection.
    #[cfg(feature = "serde")]
    #[cfg_attr(docsrs, doc(cfg(feature = "serde")))]
    Json(JsonError),
    /// A deadline passed.
    Timeout(Timeout),
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Protocol(ProtocolError::EofWithoutClose) => f.write_str("peer disconnected"),
            Self::Protocol(_) => f.write_str("peer violated the protocol"),
            Self::Send(error) => write!(f, "cannot send: {error}"),
            Self::InvalidClose(error) => write!(f, "cannot close: {error}"),
            Self::Closed => f.write_str("connection closed"),
            Self::Transport(_) => f.write_str("transport failed"),
            Self::Rejected(error) => write!(f, "{error}"),
            Self::Response(error) => write!(f, "{error}"),
            Self::InvalidHandshake(error) => write!(f, "invalid handshake configuration: {error}"),
            #[cfg(feature = "tls")]
            Self::Tls(error) => write!(f, "{error}"),
            #[cfg(feature = "proxy")]
            Self::Proxy(error) => write!(f, "{error}"),
            #[cfg(feature = "serde")]
            Self::Json(error) if error.kind() == JsonErrorKind::Serialize => {
                write!(f, "cannot send: {error}")
            }
            #[cfg(feature = "serde")]
            Self::Json(error) => write!(f, "{error}"),
            Self::Timeout(timeout) => write!(f, "{timeout} timeout"),
        }?;
        let mut cause = std::error::Error::source(self).filter(|_| f.alternate());
        while let Some(error) = cause {
            write!(f, ": {error}")?;
            cause = error.source();
        }
        Ok(())
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Protocol(error) => Some(error),
            Self::Transport(error) => Some(error),
            Self::Send(error) => error.source(),
            Self::InvalidClose(error) => error.source(),
            Self::Rejected(error) => error.source(),
            Self::Response(error) => error.source(),
            Self::InvalidHandshake(error) => error.source(),
            #[cfg(feature = "tls")]
            Self::Tls(error) => error.source(),
            #[cfg(feature = "proxy")]
            Self::Proxy(error) => error.source(),
            // Its source may contain payload data.
            #[cfg(feature = "serde")]
            Self::Json(_) => None,
            Self::Closed | Self::Timeout(_) => None,
        }
    }
}

impl Error {
    /// Returns the close code that is sent to the peer for this error.
    ///
    /// `None` if no Close is sent. The Close is written if the stream accepts it and no other Close
    /// was sent before.
    ///
    /// ```
    /// use fullduplex::{CloseCode, Error, proto::ProtocolError};
    ///
    /// let error = Error::Protocol(ProtocolError::InvalidUtf8);
    /// assert_eq!(error.close_code(), Some(CloseCode::INVALID_PAYLOAD));
    /// ```
    pub fn close_code(&self) -> Option<CloseCode> {
        match self {
            Self::Protocol(error) => error.close_frame().map(|frame| frame.code()),
            Self::Timeout(Timeout::Pong) => Some(CloseCode::INTERNAL_ERROR),
            Self::Timeout(Timeout::Idle) => Some(CloseCode::GOING_AWAY),
            Self::Timeout(Timeout::Message) => Some(CloseCode::POLICY_VIOLATION),
            _ => None,
        }
    }

    /// Returns whether the peer disappeared or stopped responding, without a protocol violation.
    ///
    /// This is common: a client loses its network, or its process is killed. A server need not log
    /// it as a fault, and a client may connect again. Returns `true` for:
    ///
    /// - the end of the stream without a Close: [`ProtocolError::EofWithoutClose`];
    /// - [`Error::Transport`] of one of the kinds
    ///   [`ConnectionReset`](io::ErrorKind::ConnectionReset),
    ///   [`ConnectionAborted`](io::ErrorKind::ConnectionAborted),
    ///   [`BrokenPipe`](io::ErrorKind::BrokenPipe),
    ///   [`UnexpectedEof`](io::ErrorKind::UnexpectedEof),
    ///   [`NotConnected`](io::ErrorKind::NotConnected), and [`TimedOut`](io::ErrorKind::TimedOut),
    ///   with which the system reports that the peer does not acknowledge data;
    /// - the timeouts of an open connection: [`Timeout::Pong`], [`Timeout::Idle`],
    ///   [`Timeout::Write`], [`Timeout::Close`] and, with the feature `serve`, `Timeout::Shutdown`.
    ///
    /// Also returns `true` if the stream ends in one of these ways during the opening handshake, or
    /// while a proxy opens a tunnel.
    /// Returns `false` for a protocol violation and for [`Timeout::Message`], which are faults of
    /// the peer; for an opening handshake that was refused or timed out; and for
    /// [`Error::Closed`], which does not state a cause.
    ///
    /// ```
    /// use fullduplex::{Error, proto::ProtocolError};
    ///
    /// assert!(Error::Protocol(ProtocolError::EofWithoutClose).is_disconnect());
    /// assert!(!Error::Protocol(ProtocolError::InvalidUtf8).is_disconnect());
    /// ```
    pub fn is_disconnect(&self) -> bool {
        use io::ErrorKind::{
            BrokenPipe, ConnectionAborted, ConnectionReset, NotConnected, TimedOut, UnexpectedEof,
        };
        match self {
            Self::Protocol(error) => *error == ProtocolError::EofWithoutClose,
            Self::Transport(error) => matches!(
                error.kind(),
                BrokenPipe | ConnectionAborted | ConnectionReset | NotConnected | TimedOut | UnexpectedEof
            ),
            #[cfg(feature = "serve")]
            Self::Timeout(Timeout::Shutdown) => true,
            Self::Timeout(timeout) => {
                matches!(timeout, Timeout::Pong | Timeout::Idle | Timeout::Write | Timeout::Close)
            }
            #[cfg(feature = "proxy")]
            Self::Proxy(error) => matches!(**error, ProxyError::UnexpectedEof),
            _ => false,
        }
    }

    /// Returns whether the transport failed, or TLS in it.
    pub(crate) fn is_transport(&self) -> bool {
        match self {
            #[cfg(feature = "tls")]
            Self::Tls(_) => true,
            Self::Transport(_) => true,
            _ => false,
        }
    }

    /// Returns the response of a server that refused to open a connection.
    ///
    /// It has the status, the header fields, and the first 16 KiB of the body.
    ///
    /// `None` for any other error, including an invalid 101. `Debug` of the response hides the
    /// values of `Set-Cookie` and other fields with credentials, and shows the body.
    ///
    /// ```
    /// use fullduplex::{Client, Error};
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() {
    /// # let (mut server, io) = tokio::io::duplex(1024);
    /// # use tokio::io::AsyncWriteExt;
    /// # server.write_all(b"HTTP/1.1 429 Slow down\r\nRetry-After: 9\r\nContent-Length: 0\r\n\r\n").await.expect("fits");
    /// let error = Client::default().handshake("ws://example.com/", io).await.expect_err("status 429");
    /// let response = error.response().expect("it has answered");
    /// assert_eq!(response.status(), 429);
    /// assert_eq!(response.headers()["retry-after"], "9");
    /// # }
    /// ```
    pub fn response(&self) -> Option<&Response<Bytes>> {
        match self {
            Self::Response(error) => error.response(),
            _ => None,
        }
    }

    /// Returns the response of an HTTP proxy that refused to open a tunnel.
    ///
    /// It has the status, the header fields, and the first 16 KiB of the body, like a
    /// [`response`](Self::response) of the server, for which this returns `None`.
    ///
    /// ```
    /// use fullduplex::{Config, Error, proxy::Proxy};
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let (mut peer, io) = tokio::io::duplex(1024);
    /// # use tokio::io::AsyncWriteExt;
    /// # peer.write_all(b"HTTP/1.1 407 No\r\nProxy-Authenticate: Basic realm=\"a\"\r\nContent-Length: 0\r\n\r\n").await?;
    /// let proxy: Proxy = "http://proxy.example:3128".parse()?;
    /// let error = proxy.tunnel("wss://example.com/", &Config::new(), io).await.expect_err("status 407");
    /// let response = error.proxy_response().expect("it has answered");
    /// assert_eq!(response.status(), 407);
    /// assert_eq!(response.headers()["proxy-authenticate"], "Basic realm=\"a\"");
    /// # Ok(())
    /// # }
    /// ```
    #[cfg(feature = "proxy")]
    pub fn proxy_response(&self) -> Option<&Response<Bytes>> {
        match self {
            Self::Proxy(error) => error.response(),
            _ => None,
        }
    }
}

impl From<ResponseError> for Error {
    fn from(error: ResponseError) -> Self {
        Self::Response(Box::new(error))
    }
}

impl From<InvalidHandshake> for Error {
    fn from(error: InvalidHandshake) -> Self {
        Self::InvalidHandshake(Box::new(error))
    }
}

#[cfg(feature = "tls")]
impl From<TlsError> for Error {
    fn from(error: TlsError) -> Self {
        Self::Tls(Box::new(error))
    }
}

#[cfg(feature = "proxy")]
impl From<ProxyError> for Error {
    fn from(error: ProxyError) -> Self {
        Self::Proxy(Box::new(error))
    }
}

#[cfg(feature = "proxy")]
impl From<InvalidProxy> for Error {
    fn from(error: InvalidProxy) -> Self {
        ProxyError::Invalid(error).into()
    }
}

#[cfg(feature = "serde")]
impl From<JsonError> for Error {
    fn from(error: JsonError) -> Self {
        Self::Json(error)
    }
}

impl From<InvalidClose> for Error {
    fn from(error: InvalidClose) -> Self {
        Self::InvalidClose(error)
    }
}

/// Returns [`Error::Transport`], or the [`Error`] that the [`io::Error`] wraps.
impl From<io::Error> for Error {
    fn from(error: io::Error) -> Self {
        error.downcast().unwrap_or_else(Self::Transport)
    }
}

/// Wraps the error, for [`AsyncRead`](tokio::io::AsyncRead) and
/// [`AsyncWrite`](tokio::io::AsyncWrite).
///
/// An [`Error::Transport`] is returned unwrapped. `Error::from` unwraps any other.
impl From<Error> for io::Error {
    fn from(error: Error) -> Self {
        let kind = match error {
            Error::Transport(error) => return error,
            Error::Protocol(ProtocolError::EofWithoutClose) => io::ErrorKind::UnexpectedEof,
            Error::Protocol(_) | Error::Rejected(_) | Error::Response(_) => io::ErrorKind::InvalidData,
            Error::Send(_) | Error::InvalidClose(_) | Error::InvalidHandshake(_) => {
                io::ErrorKind::InvalidInput
            }
            #[cfg(feature = "tls")]
            Error::Tls(_) => io::ErrorKind::InvalidData,
            #[cfg(feature = "proxy")]
            Error::Proxy(ref error) => error.kind(),
            #[cfg(feature = "serde")]
            Error::Json(ref error) if error.kind() == JsonErrorKind::Serialize => io::ErrorKind::InvalidInput,
            #[cfg(feature = "serde")]
            Error::Json(_) => io::ErrorKind::InvalidData,
            Error::Closed => io::ErrorKind::BrokenPipe,
            Error::Timeout(_) => io::ErrorKind::TimedOut,
        };
        Self::new(kind, error)
    }
}

impl From<SendError> for Error {
    fn from(error: SendError) -> Self {
        match error {
            SendError::Closing => Self::Closed,
            other => Self::Send(other),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    #[cfg(feature = "proxy")]
    use crate::handshake::HeadError;

    #[test]
    fn an_error_takes_at_most_twenty_four_bytes() {
        assert!(size_of::<Error>() <= 24);
    }

    /// Returns the texts of an error and of its sources, as programs print them.
    fn chain(error: &dyn std::error::Error) -> Vec<String> {
        std::iter::successors(Some(error), |error| error.source()).map(ToString::to_string).collect()
    }

    /// Returns one error of each kind, with the texts of its chain.
    fn examples() -> Vec<(Error, Vec<&'static str>)> {
        let reset = io::Error::new(io::ErrorKind::ConnectionReset, "the line is cut");
        let rejection = Rejection::server_error();
        vec![
            (
                Error::Protocol(ProtocolError::MaskedFrame),
                vec!["peer violated the protocol", "frame from a server is masked"],
            ),
            (
                Error::Protocol(ProtocolError::EofWithoutClose),
                vec!["peer disconnected", "transport ended without a close frame"],
            ),
            (
                Error::Send(SendError::PingTooLong(200)),
                vec!["cannot send: ping payload of 200 bytes, at most 125 fit"],
            ),
            (
                Error::InvalidClose(InvalidClose::ReasonTooLong(200)),
                vec!["cannot close: close reason of 200 bytes, at most 123 fit"],
            ),
            (Error::Closed, vec!["connection closed"]),
            (Error::Transport(reset), vec!["transport failed", "the line is cut"]),
            (
                Error::Rejected(Box::new(rejection)),
                vec!["request rejected with 500 Internal Server Error: internal server error"],
            ),
            (ResponseError::Upgrade.into(), vec!["invalid response: Upgrade is not websocket"]),
            (
                InvalidHandshake::TlsUnavailable.into(),
                vec!["invalid handshake configuration: wss:// requires TLS, which is not available"],
            ),
            (Error::Timeout(Timeout::Pong), vec!["pong timeout"]),
            #[cfg(feature = "serde")]
            (
                crate::Message::from("[").parse_json::<u8>().expect_err("not a number").into(),
                vec!["peer sent JSON of another type, at line 1, column 0"],
            ),
            #[cfg(feature = "proxy")]
            (
                ProxyError::Head(HeadError::NotHttp).into(),
                vec!["invalid response of the proxy", "not HTTP/1.1"],
            ),
            #[cfg(feature = "proxy")]
            (
                InvalidProxy::Variable { name: "all_proxy", reason: Box::new(InvalidProxy::Port) }.into(),
                vec![
                    "invalid proxy: environment variable all_proxy: port of the proxy is not a number from 1 to 65535",
                ],
            ),
            #[cfg(feature = "proxy")]
            (
                ProxyError::CredentialsRejected.into(),
                vec!["proxy refused the tunnel: it rejected the user or password"],
            ),
        ]
    }

    #[test]
    fn each_text_of_a_chain_is_printed_once() {
        for (error, texts) in examples() {
            assert_eq!(chain(&error), texts);
            assert_eq!(format!("{error:#}"), texts.join(": "));
        }
    }

    #[test]
    fn row_77_an_error_converted_to_io_error_and_back_is_unchanged() {
        for (error, texts) in examples() {
            let (shown, code) = (format!("{error:?}"), error.close_code());
            let back = Error::from(io::Error::from(error));
            assert_eq!(
                (chain(&back), format!("{back:?}"), back.close_code()),
                (texts.iter().map(ToString::to_string).collect(), shown, code)
            );
        }
        let foreign = io::Error::other("not ours");
        assert!(matches!(Error::from(foreign), Error::Transport(_)));
    }

    #[cfg(feature = "proxy")]
    #[test]
    fn a_proxy_that_vanished_is_a_disconnect_and_one_that_refused_is_not() {
        assert!(Error::from(ProxyError::UnexpectedEof).is_disconnect());
        assert!(!Error::from(ProxyError::CredentialsRejected).is_disconnect());
    }

    #[test]
    fn a_disconnect_is_not_a_protocol_violation() {
        let gone = [
            io::ErrorKind::ConnectionReset,
            io::ErrorKind::ConnectionAborted,
            io::ErrorKind::BrokenPipe,
            io::ErrorKind::UnexpectedEof,
            io::ErrorKind::NotConnected,
            io::ErrorKind::TimedOut,
        ];
        for kind in gone {
            assert!(Error::Transport(kind.into()).is_disconnect(), "{kind}");
        }
        for timeout in [Timeout::Pong, Timeout::Idle, Timeout::Write, Timeout::Close] {
            assert!(Error::Timeout(timeout).is_disconnect(), "{timeout}");
        }
        assert!(Error::Protocol(ProtocolError::EofWithoutClose).is_disconnect());
        let others = [
            Error::Transport(io::ErrorKind::ConnectionRefused.into()),
            Error::Transport(io::ErrorKind::WriteZero.into()),
            Error::Protocol(ProtocolError::InvalidUtf8),
            Error::Timeout(Timeout::Connect),
            Error::Timeout(Timeout::Handshake),
            Error::Timeout(Timeout::Message),
            Error::Closed,
            Error::Send(SendError::MessageOpen),
        ];
        for other in others {
            assert!(!other.is_disconnect(), "{other}");
        }
    }
}
