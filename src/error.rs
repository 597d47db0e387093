//! What can go wrong on a connection, and whose fault it is.

use std::io;

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
/// Its message says all there is to say, causes included; it has no [`source`](std::error::Error::source).
///
/// A clean close is no error, and neither is a handshake that chose no subprotocol. What ends a connection is told
/// once; after that, receiving gives `Ok(None)` and sending [`Error::Closed`].
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The peer erred: it broke the protocol, or a limit.
    #[error("peer broke the protocol: {0}")]
    Protocol(ProtocolError),
    /// The caller erred: it wants to send what cannot be sent.
    #[error("cannot send: {0}")]
    Send(SendError),
    /// The caller erred: it wants to close with what cannot be sent.
    #[error("cannot close: {0}")]
    Close(InvalidClose),
    /// The connection is closing or closed: nothing can be sent, and a message that is read in parts has no end.
    #[error("connection closed")]
    Closed,
    /// The transport failed.
    #[error("transport: {0}")]
    Transport(io::Error),
    /// The peer's request does not open a connection: it got the response that says so.
    #[error(transparent)]
    Rejected(Box<Rejection>),
    /// The peer's response does not open a connection: it refused, or it erred.
    #[error(transparent)]
    Response(Box<ResponseError>),
    /// The caller wants an opening handshake that cannot be: nothing of it was sent; a client whose request waits for an
    /// answer is told 500.
    #[error(transparent)]
    Invalid(Box<InvalidHandshake>),
    /// A deadline passed.
    #[error("{0} timeout")]
    Timeout(Timeout),
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
        Self::Close(error)
    }
}

impl From<io::Error> for Error {
    fn from(error: io::Error) -> Self {
        Self::Transport(error)
    }
}

/// For those who read or write a message as bytes: what is inside can be taken out again by
/// [`downcast`](io::Error::downcast).
impl From<Error> for io::Error {
    fn from(error: Error) -> Self {
        let kind = match error {
            Error::Transport(error) => return error,
            Error::Protocol(_) | Error::Rejected(_) | Error::Response(_) => io::ErrorKind::InvalidData,
            Error::Send(_) | Error::Close(_) | Error::Invalid(_) => io::ErrorKind::InvalidInput,
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
}
