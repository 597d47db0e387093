//! A connection that takes part in a graceful shutdown.

use std::{
    fmt,
    future::{Future, poll_fn},
    ops::{Deref, DerefMut},
    task::{Context, Poll},
};

use tokio::{
    io::{AsyncRead, AsyncWrite},
    runtime::Handle,
};

use super::guard::Guard;
use crate::{Error, Message, WebSocket, proto::Closing};

/// A connection that takes part in a graceful shutdown.
///
/// It is a [`WebSocket`] whose [`recv`](Self::recv) starts the closing handshake once the
/// [`Shutdown`](super::Shutdown) begins. [`Guard::attach`] creates it, and
/// [`Serve`](super::Serve) passes it to the handler.
///
/// From our Close on, sending fails with [`Error::Closed`]. If the program then drops this, the
/// closing handshake is completed in a task of the runtime, so that the peer receives everything
/// that was sent before. [`Shutdown::wait`](super::Shutdown::wait) waits for it as well.
///
/// To split it, [take it apart](Self::into_parts).
pub struct Session<S: AsyncRead + AsyncWrite + Unpin + Send + 'static> {
    /// Both are present until this is taken apart or dropped.
    ws: Option<WebSocket<S>>,
    guard: Option<Guard>,
}

impl<S: AsyncRead + AsyncWrite + Unpin + Send + fmt::Debug + 'static> fmt::Debug for Session<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session").field("ws", &self.ws).field("guard", &self.guard).finish()
    }
}

const PRESENT: &str = "present until the session is taken apart or dropped";

impl<S: AsyncRead + AsyncWrite + Unpin + Send + 'static> Session<S> {
    pub(super) fn new(ws: WebSocket<S>, guard: Guard) -> Self {
        Self { ws: Some(ws), guard: Some(guard) }
    }

    /// Receives the next message, as [`WebSocket::recv`] does.
    ///
    /// Once the shutdown begins, this starts the closing handshake, as [`Guard::recv`] does: it
    /// returns the messages that arrive before the peer's Close, and then `Ok(None)`.
    ///
    /// # Errors
    /// Returns the same errors as [`Guard::recv`].
    ///
    /// # Cancel safety
    /// Dropping the future loses nothing: all state is kept in the session.
    pub fn recv(&mut self) -> impl Future<Output = Result<Option<Message>, Error>> {
        poll_fn(|cx| self.poll_recv(cx))
    }

    /// Polls for the next message, as [`recv`](Self::recv) does.
    ///
    /// # Errors
    /// Returns the same errors as [`Guard::recv`].
    pub fn poll_recv(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Message>, Error>> {
        let Self { ws, guard } = self;
        guard.as_mut().expect(PRESENT).poll_recv(ws.as_mut().expect(PRESENT), cx)
    }

    /// Waits until the shutdown begins, as [`Guard::begun`] does.
    ///
    /// # Cancel safety
    /// Dropping the future changes nothing.
    pub fn begun(&mut self) -> impl Future<Output = ()> {
        self.guard.as_mut().expect(PRESENT).begun()
    }

    /// Returns the connection and its guard, to split the connection for example.
    ///
    /// ```
    /// # use fullduplex::{Error, serve::Session};
    /// # async fn example(session: Session<tokio::net::TcpStream>) -> Result<(), Error> {
    /// let (ws, mut guard) = session.into_parts();
    /// let (mut receiver, sender) = ws.split();
    /// while let Some(message) = guard.recv(&mut receiver).await? {
    ///     sender.try_send(message).ok();
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub fn into_parts(mut self) -> (WebSocket<S>, Guard) {
        (self.ws.take().expect(PRESENT), self.guard.take().expect(PRESENT))
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin + Send + 'static> Deref for Session<S> {
    type Target = WebSocket<S>;

    fn deref(&self) -> &WebSocket<S> {
        self.ws.as_ref().expect(PRESENT)
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin + Send + 'static> DerefMut for Session<S> {
    fn deref_mut(&mut self) -> &mut WebSocket<S> {
        self.ws.as_mut().expect(PRESENT)
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin + Send + 'static> Drop for Session<S> {
    fn drop(&mut self) {
        let (Some(ws), Some(mut guard)) = (self.ws.take(), self.guard.take()) else { return };
        let closing = matches!(ws.closing(), Closing::CloseSent | Closing::Complete);
        if guard.is_closing()
            && closing
            && let Ok(runtime) = Handle::try_current()
        {
            // Dropping the stream now could destroy what the peer has not read yet.
            runtime.spawn(finish(ws, guard));
        } else {
            guard.closed(&ws);
        }
    }
}

/// Completes the closing handshake. Its errors are those of the peer, and counted by the guard.
async fn finish<S: AsyncRead + AsyncWrite + Unpin>(mut ws: WebSocket<S>, mut guard: Guard) {
    while let Ok(Some(_)) = guard.recv(&mut ws).await {}
}
