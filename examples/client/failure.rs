//! How the client ends, and its exit status.

use std::{fmt, io};

use fullduplex::{CloseCode, CloseFrame, Error};

/// Why the client does not end with status 0.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The connection could not be opened.
    Opening(Error),
    /// An open connection failed.
    Open(Error),
    /// The server closed with the code of an error.
    Closed,
    #[cfg(feature = "reconnect")]
    GivenUp(fullduplex::reconnect::Reason),
}

impl Failure {
    pub(crate) fn exit_status(&self) -> i32 {
        match self {
            Self::Opening(error) => of_opening(error),
            Self::Open(_) => 1,
            Self::Closed => 6,
            #[cfg(feature = "reconnect")]
            Self::GivenUp(reason) => match (reason.error(), reason.close_code()) {
                (Some(error), _) => of_opening(error),
                (None, Some(_)) => 6,
                (None, None) => 1,
            },
        }
    }

    /// Returns whether a Close of the server is a failure.
    pub(crate) fn of_close(frame: Option<&CloseFrame>) -> Option<Self> {
        let clean = [CloseCode::NORMAL, CloseCode::GOING_AWAY];
        frame.is_some_and(|frame| !clean.contains(&frame.code())).then_some(Self::Closed)
    }
}

fn of_opening(error: &Error) -> i32 {
    match error {
        Error::InvalidHandshake(_) => 2,
        Error::Response(_) => 4,
        #[cfg(feature = "proxy")]
        Error::Proxy(_) => 4,
        #[cfg(feature = "tls")]
        Error::Tls(_) => 5,
        _ => 3,
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Opening(error) | Self::Open(error) => write!(f, "{error:#}"),
            Self::Closed => f.write_str("the server closed with the code of an error"),
            #[cfg(feature = "reconnect")]
            Self::GivenUp(reason) => write!(f, "{reason:#}"),
        }
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Open(error)
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self::Open(error.into())
    }
}
