//! Receiving.

use std::{
    future::{Future, poll_fn},
    task::{Context, Poll},
};

use tokio::io::{AsyncRead, AsyncWrite};

use super::{Event, WebSocket};
use crate::{Error, Message};

impl<S: AsyncRead + AsyncWrite + Unpin> WebSocket<S> {
    /// The next message; `Ok(None)` once the connection is closed, in order or after its error was told.
    ///
    /// It answers pings, completes the closing handshake, sends keep-alive pings, judges deadlines, and writes what is
    /// queued before it waits. It never waits for a write: where the peer does not read, it goes on receiving.
    ///
    /// `Ok(None)` comes when our Close is out and the stream has ended, or
    /// [`close_timeout`](crate::Config::close_timeout) has passed. Messages that come after our own Close and before
    /// the peer's are still given.
    ///
    /// # Errors
    /// What ended the connection, once: the peer broke the protocol (it was told why, by a Close), the stream failed or
    /// ended without a Close, a deadline passed. All messages that came before are given first.
    ///
    /// # Cancel safety
    /// Dropping the future loses nothing: all state is in the connection.
    pub fn recv(&mut self) -> impl Future<Output = Result<Option<Message>, Error>> {
        poll_fn(|cx| self.poll_recv(cx))
    }

    /// As [`recv`](Self::recv), control frames included.
    ///
    /// A ping is answered, and a Close too, before the event is given.
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
