//! Receiving messages and events.

use std::{
    future::{Future, poll_fn},
    task::{Context, Poll},
};

use tokio::io::{AsyncRead, AsyncWrite};

use super::{Event, WebSocket};
use crate::{Error, Message};

impl<S: AsyncRead + AsyncWrite + Unpin> WebSocket<S> {
    /// Receives the next message.
    ///
    /// Returns `Ok(None)` once the connection is closed: when our Close has been written and the
    /// stream has ended, or [`close_timeout`](crate::Config::close_timeout) has passed. Closing takes
    /// at most [`total_close_timeout`](crate::Config::total_close_timeout) in all. `Ok(None)` is also
    /// returned after the error that ended the connection has been returned. Messages that arrive
    /// after our Close and before the peer's are still returned.
    ///
    /// While this is polled, pings are answered, the closing handshake is completed, keep-alive
    /// pings are sent, deadlines are checked, and queued messages are written. It never waits for a
    /// write: if the peer does not read, it continues to receive.
    ///
    /// Messages that have already been read are returned without a system call, as long as the
    /// program handles them quickly. Once 1 ms has passed since the read, queued frames are written
    /// in between: a pong before the next message is returned, the program's own messages within
    /// the next 16.
    ///
    /// # Errors
    /// Returns the error that ended the connection, once: the peer violated the protocol, the
    /// stream failed or ended without a Close, or a deadline passed. All messages that arrived
    /// before are returned first.
    ///
    /// If the peer violated the protocol, it is sent a Close with the reason. The error is returned
    /// once the peer has ended the stream, or `close_timeout` (5 s by default) after the Close was
    /// written if the peer stays connected. Programs drop a connection when it fails, and dropping
    /// a socket that has unread data resets it, which can destroy the Close before the peer reads
    /// it.
    ///
    /// # Panics
    /// Panics if a deadline is running and this is polled outside of a tokio runtime, or in one
    /// whose timers are not enabled.
    ///
    /// # Cancel safety
    /// Dropping the future loses nothing: all state is kept in the connection.
    pub fn recv(&mut self) -> impl Future<Output = Result<Option<Message>, Error>> {
        poll_fn(|cx| self.connection.poll_message(cx))
    }

    /// Receives the next event: a message, as [`recv`](Self::recv) does, or a control frame.
    ///
    /// The answer to a ping or a Close is queued before the event is returned. A proxy that
    /// forwards frames uses this because it sees a Close as soon as it arrives, whereas `recv`
    /// returns `Ok(None)` only once the stream has ended. If
    /// [`automatic_pongs`](crate::Config::automatic_pongs) is disabled, the program answers pings
    /// itself.
    ///
    /// # Errors
    /// Returns the same errors as [`recv`](Self::recv).
    ///
    /// # Cancel safety
    /// Dropping the future loses nothing: all state is kept in the connection.
    pub async fn recv_event(&mut self) -> Result<Option<Event>, Error> {
        poll_fn(|cx| self.poll_recv_event(cx)).await
    }

    /// Polls for the next message, as [`recv`](Self::recv) does.
    ///
    /// # Errors
    /// Returns the same errors as [`recv`](Self::recv).
    pub fn poll_recv(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Message>, Error>> {
        self.connection.poll_message(cx)
    }

    /// Polls for the next event, as [`recv_event`](Self::recv_event) does.
    ///
    /// # Errors
    /// Returns the same errors as [`recv`](Self::recv).
    pub fn poll_recv_event(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Event>, Error>> {
        self.connection.poll_whole(cx, Event::of)
    }
}
