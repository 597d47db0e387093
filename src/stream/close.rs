//! Closing: the handshake's Close frames, then the end of the stream.

use tokio::io::{AsyncRead, AsyncWrite};

use super::WebSocket;
use crate::{CloseCode, CloseFrame, Error, Utf8Bytes};

impl<S> WebSocket<S> {
    /// Queues our Close, behind the messages that are queued already; `None`: without a code. It is
    /// [`recv`](Self::recv) that completes the closing handshake, and still gives what comes before the peer's Close.
    ///
    /// # Errors
    /// [`Error::Closed`] where a Close is queued or sent already, or the connection has ended.
    pub fn start_close(&mut self, frame: Option<CloseFrame>) -> Result<(), Error> {
        let line = &mut self.connection.line;
        if line.transport.is_write_ended() {
            return Err(Error::Closed);
        }
        line.with_send(|send, key, lent| send.close(frame.as_ref(), key, lent))?;
        // From here on `close_timeout` runs, which another task may wait for.
        line.wake_receiver();
        Ok(())
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> WebSocket<S> {
    /// Closes the connection in order: sends what is queued and our Close, waits for the peer's Close and for the end
    /// of the stream, at most for [`close_timeout`](crate::Config::close_timeout).
    ///
    /// Messages that still come are discarded; who wants them calls [`start_close`](Self::start_close), then
    /// [`recv`](Self::recv) until `None`. It is no error if the closing handshake has begun already, or if the peer does
    /// not answer in time; [`close_frame`](Self::close_frame) tells what it said.
    ///
    /// ```
    /// use fullduplex::{CloseCode, Config, Error, Role, WebSocket, handshake::Negotiated};
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Error> {
    /// let (a, b) = tokio::io::duplex(1024);
    /// let open = |io, role| WebSocket::from_raw(io, Default::default(), role, &Config::new(), Negotiated::default());
    /// let (mut client, mut server) = (open(a, Role::Client), open(b, Role::Server));
    ///
    /// let (closed, received) = tokio::join!(client.close(CloseCode::NORMAL, "bye"), server.recv());
    /// closed?;
    /// assert_eq!(received?, None);
    /// assert_eq!(server.close_frame().expect("it had a code").reason(), "bye");
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// A code or reason that cannot be sent, and then nothing is. What ended the connection otherwise, as
    /// [`recv`](Self::recv) tells it: also that the peer ended the stream without a Close.
    ///
    /// # Cancel safety
    /// The Close is queued before the first await. Dropping the future leaves the rest to [`recv`](Self::recv).
    pub async fn close(&mut self, code: CloseCode, reason: impl Into<Utf8Bytes>) -> Result<(), Error> {
        self.close_with(Some(CloseFrame::new(code, reason)?)).await
    }

    /// Closes like [`close`](Self::close), with a frame that exists already; `None` sends a Close without a code (RFC 6455
    /// section 5.5.1).
    ///
    /// # Errors
    /// The error that ended the connection, as [`close`](Self::close).
    ///
    /// # Cancel safety
    /// As [`close`](Self::close).
    pub async fn close_with(&mut self, frame: Option<CloseFrame>) -> Result<(), Error> {
        match self.start_close(frame) {
            Ok(()) | Err(Error::Closed) => {}
            Err(error) => return Err(error),
        }
        while self.recv().await?.is_some() {}
        Ok(())
    }
}
