//! The connections that a guard can close.

use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite};

use crate::{CloseCode, CloseFrame, Error, Message, Receiver, Stats, WebSocket, proto::Closing};

/// A connection that a [`Guard`](super::Guard) can receive from and close: a [`WebSocket`] or a
/// [`Receiver`].
///
/// It is sealed: other crates cannot implement it.
pub trait Closable: sealed::Connection {}

impl<C: sealed::Connection> Closable for C {}

pub(super) mod sealed {
    use super::*;

    /// What a guard does with a connection.
    pub trait Connection {
        fn poll_recv(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Message>, Error>>;

        fn start_close(&mut self, frame: Option<CloseFrame>) -> Result<(), Error>;

        /// Ends the connection at once, as far as the owner cannot do that by dropping it.
        fn abort(&mut self);

        /// Ends the wait of a future that is dropped.
        fn stop_waiting(&mut self);

        /// Returns the code of the peer's Close; `None` if the closing handshake is incomplete.
        ///
        /// RFC 6455 section 7.1.5: 1005 is the code of a Close without one.
        fn code(&self) -> Option<CloseCode>;

        fn stats(&self) -> Option<Stats>;
    }

    fn code_of(closing: Closing, frame: Option<&CloseFrame>) -> Option<CloseCode> {
        (closing == Closing::Complete).then(|| frame.map_or(CloseCode::NO_STATUS, CloseFrame::code))
    }

    impl<S: AsyncRead + AsyncWrite + Unpin> Connection for WebSocket<S> {
        #[inline]
        fn poll_recv(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Message>, Error>> {
            self.poll_recv(cx)
        }

        fn start_close(&mut self, frame: Option<CloseFrame>) -> Result<(), Error> {
            self.start_close(frame)
        }

        fn abort(&mut self) {}

        fn stop_waiting(&mut self) {}

        fn code(&self) -> Option<CloseCode> {
            code_of(self.closing(), self.close_frame())
        }

        fn stats(&self) -> Option<Stats> {
            self.stats()
        }
    }

    impl<S: AsyncRead + AsyncWrite + Unpin + Send + 'static> Connection for Receiver<S> {
        #[inline]
        fn poll_recv(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Message>, Error>> {
            self.poll_recv(cx)
        }

        fn start_close(&mut self, frame: Option<CloseFrame>) -> Result<(), Error> {
            self.sender().start_close(frame)
        }

        fn abort(&mut self) {
            self.sender().abort();
        }

        fn stop_waiting(&mut self) {
            self.stop_waiting();
        }

        fn code(&self) -> Option<CloseCode> {
            code_of(self.closing(), self.close_frame())
        }

        fn stats(&self) -> Option<Stats> {
            self.stats()
        }
    }
}
