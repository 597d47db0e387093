//! Receiving.

use std::{
    future::{Future, poll_fn},
    task::{Context, Poll},
};

use tokio::io::{AsyncRead, AsyncWrite};

use super::{Event, WebSocket};
use crate::{Error, Message};

impl<S: AsyncRead + AsyncWrite + Unpin> WebSocket<S> {
    /// Receives the next message; returns `Ok(None)` once the connection is closed.
    ///
    /// While it is polled, pings are answered, the closing handshake is completed, keep-alive pings are sent, deadlines are
    /// judged, and what is queued is written. It never waits for a write: if the peer does not read, it continues to receive.
    ///
    /// Messages that have been read already are returned without a system call, as long as they are handled quickly. Once
    /// 1 ms has passed since the read, what is queued is written in between: a pong before the next message, the program's own
    /// messages within 16.
    ///
    /// `Ok(None)` is returned when our Close has been written and the stream has ended, or
    /// [`close_timeout`](crate::Config::close_timeout) has passed. Messages that arrive after our own Close and before the
    /// peer's are still returned.
    ///
    /// # Errors
    /// Returns the error that ended the connection, once: the peer broke the protocol, the stream failed or ended without a
    /// Close, or a deadline passed. All messages that arrived before are returned first.
    ///
    /// If the peer broke the protocol, a Close says why, and the error is returned once the peer has ended the stream, or
    /// `close_timeout` after the Close was written (5 s by default) if it stays connected. Programs drop a connection when it
    /// fails, and dropping a socket that has unread data resets it, which can destroy the Close before the peer reads it.
    ///
    /// # Cancel safety
    /// Dropping the future loses nothing: all state is in the connection.
    pub fn recv(&mut self) -> impl Future<Output = Result<Option<Message>, Error>> {
        poll_fn(|cx| self.poll_recv(cx))
    }

    /// Receives the next event: a message like [`recv`](Self::recv), or a control frame.
    ///
    /// A ping is answered, and so is a Close, before the event is returned. A proxy that passes frames on uses this, because it
    /// sees a Close when that arrives, where `recv` returns `Ok(None)` only when the stream has ended; with
    /// [`automatic_pongs`](crate::Config::automatic_pongs) off, it answers pings itself.
    ///
    /// # Errors
    /// As [`recv`](Self::recv).
    ///
    /// # Cancel safety
    /// Dropping the future loses nothing: all state is in the connection.
    pub async fn recv_event(&mut self) -> Result<Option<Event>, Error> {
        poll_fn(|cx| self.poll_recv_event(cx)).await
    }

    /// [`recv`](Self::recv), as a poll function.
    pub fn poll_recv(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Message>, Error>> {
        self.connection.poll_message(cx)
    }

    /// [`recv_event`](Self::recv_event), as a poll function.
    pub fn poll_recv_event(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Event>, Error>> {
        self.connection.poll_whole(cx, Event::of)
    }
}
