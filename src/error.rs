//! What can go wrong on a connection, and whose fault it is.

use std::{fmt, io};

use bytes::Bytes;
use http::Response;

use crate::handshake::{InvalidHandshake, Rejection, ResponseError};
use crate::proto::{CloseCode, InvalidClose, ProtocolError, SendError};

/// Which deadline passed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
#[non_exhaustive]
pub enum Timeout {
    /// The host was not looked up and dialed within [`connect_timeout`](crate::Client::connect_timeout).
    #[error("connect")]
    Connect,
    /// The opening handshake was not complete within [`handshake_timeout`](crate::Config::handshake_timeout).
    #[error("opening handshake")]
    Handshake,
    /// The transport took nothing for [`write_timeout`](crate::Config::write_timeout).
    #[error("write")]
    Write,
    /// Our Close was not out within [`close_timeout`](crate::Config::close_timeout).
    #[error("close")]
    Close,
    /// A keep-alive ping was not answered within [`pong_timeout`](crate::Config::pong_timeout).
    #[error("pong")]
    Pong,
    /// Neither message nor pong came for [`idle_timeout`](crate::Config::idle_timeout).
    #[error("idle")]
    Idle,
    /// A message had not ended [`message_timeout`](crate::Config::message_timeout) after its first byte.
    #[error("message")]
    Message,
}

/// What ended a connection, or kept a call from doing its work: it says who erred.
///
/// A clean close is no error, and neither is a handshake that chose no subprotocol. What ends a connection is reported
/// once; after that, receiving returns `Ok(None)` and sending [`Error::Closed`].
///
/// # Display and source
/// What caused a [`Protocol`](Self::Protocol) or [`Transport`](Self::Transport) error is its
/// [`source`](std::error::Error::source), and not part of its message; the other variants include the message of the error
/// inside, and return the source of that. So programs that print the chain of sources print each text once. `{error:#}`
/// formats the whole chain in one line.
///
/// ```
/// use fullduplex::{Error, proto::ProtocolError};
///
/// let error = Error::Protocol(ProtocolError::UnmaskedFrame);
/// assert_eq!(format!("{error}"), "peer broke the protocol");
/// assert_eq!(format!("{error:#}"), "peer broke the protocol: frame from a client is not masked");
/// ```
///
/// # Over `AsyncRead` and `AsyncWrite`
/// [`MessageReader`](crate::MessageReader) and [`MessageWriter`](crate::MessageWriter) wrap their errors in an
/// [`io::Error`]. Converting that back returns the same error, so `tokio::io::copy(..).await?` keeps its close code:
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
    /// The peer erred: it broke the protocol, or a limit. Or it is gone without a Close, which is
    /// [`ProtocolError::EofWithoutClose`]; see [`is_disconnect`](Self::is_disconnect).
    Protocol(ProtocolError),
    /// The caller erred: it wants to send what cannot be sent.
    Send(SendError),
    /// The caller erred: it wants to close with what cannot be sent.
    InvalidClose(InvalidClose),
    /// The connection is closing or closed: nothing can be sent, and a message that is read in parts has no end.
    Closed,
    /// The transport failed.
    Transport(io::Error),
    /// The peer's request does not open a connection: it got the response that says so.
    Rejected(Box<Rejection>),
    /// The peer's response does not open a connection: it refused, or it erred.
    Response(Box<ResponseError>),
    /// The caller wants an opening handshake that cannot be: nothing of it was sent; a client whose request waits for an
    /// answer is told 500.
    Invalid(Box<InvalidHandshake>),
    /// A deadline passed.
    Timeout(Timeout),
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Protocol(ProtocolError::EofWithoutClose) => f.write_str("peer is gone"),
            Self::Protocol(_) => f.write_str("peer broke the protocol"),
            Self::Send(error) => write!(f, "cannot send: {error}"),
            Self::InvalidClose(error) => write!(f, "cannot close: {error}"),
            Self::Closed => f.write_str("connection closed"),
            Self::Transport(_) => f.write_str("transport failed"),
            Self::Rejected(error) => write!(f, "{error}"),
            Self::Response(error) => write!(f, "{error}"),
            Self::Invalid(error) => write!(f, "{error}"),
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
            Self::Invalid(error) => error.source(),
            Self::Closed | Self::Timeout(_) => None,
        }
    }
}

impl Error {
    /// The close code that tells the peer of this error, in a Close that goes out if the stream still takes it and no
    /// other was sent before; `None` where the peer is told nothing.
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

    /// Whether the peer of an open connection is just gone, or has stopped to respond: it erred in nothing that it sent.
    ///
    /// Servers see this all the time, whenever a client loses its network or is killed, and need not log it as a fault.
    /// A client may connect again. True for:
    ///
    /// - the end of the stream without a Close: [`ProtocolError::EofWithoutClose`];
    /// - [`Error::Transport`] of one of the kinds [`ConnectionReset`](io::ErrorKind::ConnectionReset),
    ///   [`ConnectionAborted`](io::ErrorKind::ConnectionAborted), [`BrokenPipe`](io::ErrorKind::BrokenPipe),
    ///   [`UnexpectedEof`](io::ErrorKind::UnexpectedEof), [`NotConnected`](io::ErrorKind::NotConnected), and
    ///   [`TimedOut`](io::ErrorKind::TimedOut), by which the system reports that the peer acknowledges nothing;
    /// - the timeouts of an open connection: [`Timeout::Pong`], [`Timeout::Idle`], [`Timeout::Write`] and
    ///   [`Timeout::Close`].
    ///
    /// Also true if the stream ends in one of these ways during the opening handshake. False for a broken protocol and for
    /// [`Timeout::Message`], by which the peer erred; for a refused or timed out opening handshake; and for
    /// [`Error::Closed`], which does not say why.
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
            Self::Timeout(timeout) => {
                matches!(timeout, Timeout::Pong | Timeout::Idle | Timeout::Write | Timeout::Close)
            }
            _ => false,
        }
    }

    /// Returns the response of a server that refused to open a connection: its status, its header fields, and the first
    /// 16 KiB of its body.
    ///
    /// `None` for any other error, a 101 that breaks the rules of the opening handshake included. `Debug` of the response
    /// hides the values of `Set-Cookie` and other fields with credentials, and shows the body.
    ///
    /// ```
    /// use fullduplex::{Client, Error};
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() {
    /// # let (mut server, io) = tokio::io::duplex(1024);
    /// # use tokio::io::AsyncWriteExt;
    /// # server.write_all(b"HTTP/1.1 429 Slow down\r\nRetry-After: 9\r\nContent-Length: 0\r\n\r\n").await.expect("fits");
    /// let error = Client::default().handshake("ws://example.com/", io).await.expect_err("the server is busy");
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
}

impl From<ResponseError> for Error {
    fn from(error: ResponseError) -> Self {
        Self::Response(Box::new(error))
    }
}

impl From<InvalidHandshake> for Error {
    fn from(error: InvalidHandshake) -> Self {
        Self::Invalid(Box::new(error))
    }
}

impl From<InvalidClose> for Error {
    fn from(error: InvalidClose) -> Self {
        Self::InvalidClose(error)
    }
}

/// [`Error::Transport`], unless the [`io::Error`] was made of an [`Error`]: that comes back as it was.
impl From<io::Error> for Error {
    fn from(error: io::Error) -> Self {
        error.downcast().unwrap_or_else(Self::Transport)
    }
}

/// For [`AsyncRead`](tokio::io::AsyncRead) and [`AsyncWrite`](tokio::io::AsyncWrite), whose errors are of this type. An
/// [`Error::Transport`] is unwrapped, any other is the inner error; `Error::from` takes it out again.
impl From<Error> for io::Error {
    fn from(error: Error) -> Self {
        let kind = match error {
            Error::Transport(error) => return error,
            Error::Protocol(ProtocolError::EofWithoutClose) => io::ErrorKind::UnexpectedEof,
            Error::Protocol(_) | Error::Rejected(_) | Error::Response(_) => io::ErrorKind::InvalidData,
            Error::Send(_) | Error::InvalidClose(_) | Error::Invalid(_) => io::ErrorKind::InvalidInput,
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

    #[test]
    fn an_error_takes_at_most_twenty_four_bytes() {
        assert!(size_of::<Error>() <= 24);
    }

    /// The texts of an error and of its sources, as programs print chains.
    fn chain(error: &dyn std::error::Error) -> Vec<String> {
        std::iter::successors(Some(error), |error| error.source()).map(ToString::to_string).collect()
    }

    /// One of each kind, with the texts of its chain.
    fn examples() -> Vec<(Error, Vec<&'static str>)> {
        let reset = io::Error::new(io::ErrorKind::ConnectionReset, "the line is cut");
        let rejection = Rejection::server_error();
        vec![
            (
                Error::Protocol(ProtocolError::MaskedFrame),
                vec!["peer broke the protocol", "frame from a server is masked"],
            ),
            (
                Error::Protocol(ProtocolError::EofWithoutClose),
                vec!["peer is gone", "transport ended without a close frame"],
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
                vec!["request rejected with 500 Internal Server Error: the server erred"],
            ),
            (ResponseError::Upgrade.into(), vec!["101 without Upgrade: websocket"]),
            (Error::Timeout(Timeout::Pong), vec!["pong timeout"]),
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
    fn an_error_that_went_through_io_is_the_same_again() {
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

    #[test]
    fn a_peer_that_is_gone_is_no_peer_that_erred() {
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
