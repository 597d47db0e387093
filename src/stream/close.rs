//! Closing: sends the Close frame, then waits for the end of the stream.

use tokio::io::{AsyncRead, AsyncWrite};

use super::WebSocket;
use crate::{CloseCode, CloseFrame, Error, Utf8Bytes};

impl<S> WebSocket<S> {
    /// Queues our Close after the messages that are already queued.
    ///
    /// `None` sends a Close without a code. [`recv`](Self::recv) completes the closing handshake,
    /// and still returns messages that arrive before the peer's Close.
    ///
    /// # Errors
    /// Returns [`Error::Closed`] if a Close is already queued or sent, or the connection has ended.
    pub fn start_close(&mut self, frame: Option<CloseFrame>) -> Result<(), Error> {
        let io = &mut self.connection.io;
        if io.transport.is_write_ended() {
            return Err(Error::Closed);
        }
        io.with_send(|send, key, buffers| send.close(frame.as_ref(), key, buffers))?;
        // `close_timeout` starts now, and the task that receives has to check it.
        io.wake_receiver();
        Ok(())
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> WebSocket<S> {
    /// Closes the connection cleanly.
    ///
    /// Sends what is queued and then our Close, and waits for the peer's Close and for the end of
    /// the stream, at most for [`close_timeout`](crate::Config::close_timeout). All of this takes at
    /// most [`total_close_timeout`](crate::Config::total_close_timeout).
    ///
    /// Messages that still arrive are discarded. To receive them, call
    /// [`start_close`](Self::start_close), and then [`recv`](Self::recv) until it returns `None`.
    /// It is no error if the closing handshake has already begun, or if the peer does not answer in
    /// time. [`close_frame`](Self::close_frame) returns what the peer's Close contained.
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
    /// Returns [`Error::InvalidClose`] if the code or reason cannot be sent, without sending
    /// anything. Otherwise returns the error that ended the connection, as [`recv`](Self::recv)
    /// does; this includes a peer that ended the stream without a Close.
    ///
    /// # Cancel safety
    /// The Close is queued before the first await. If the future is dropped, [`recv`](Self::recv)
    /// completes the closing handshake.
    pub async fn close(&mut self, code: CloseCode, reason: impl Into<Utf8Bytes>) -> Result<(), Error> {
        self.close_with(Some(CloseFrame::new(code, reason)?)).await
    }

    /// Closes the connection as [`close`](Self::close) does, with an existing Close frame.
    ///
    /// `None` sends a Close without a code (RFC 6455 section 5.5.1).
    ///
    /// # Errors
    /// Returns the error that ended the connection, as [`close`](Self::close) does.
    ///
    /// # Cancel safety
    /// The Close is queued before the first await. If the future is dropped, [`recv`](Self::recv)
    /// completes the closing handshake.
    pub async fn close_with(&mut self, frame: Option<CloseFrame>) -> Result<(), Error> {
        match self.start_close(frame) {
            Ok(()) | Err(Error::Closed) => {}
            Err(error) => return Err(error),
        }
        while self.recv().await?.is_some() {}
        Ok(())
    }
}
