//! The part of a session in a graceful shutdown.

use std::{
    future::Future,
    pin::pin,
    task::{Context, Poll},
};

use fullduplex::{
    Error, Message, Receiver,
    serve::{Guard, Shutdown},
};
use tokio::io::{AsyncRead, AsyncWrite};

/// The part of a session in a graceful shutdown.
#[derive(Debug)]
pub(crate) struct Stop {
    guard: Guard,
    shutdown: Shutdown,
    /// Whether the session is closed by the shutdown. Before, what it has received is handled.
    is_closing: bool,
}

impl Stop {
    pub(super) fn new(shutdown: &Shutdown) -> Self {
        Self { guard: shutdown.guard(), shutdown: shutdown.clone(), is_closing: false }
    }

    /// Returns whether the shutdown has begun.
    pub(super) fn has_begun(&self) -> bool {
        self.shutdown.has_begun()
    }

    /// Lets the next call that receives begin the closing handshake.
    pub(super) fn close(&mut self) {
        self.is_closing = true;
    }

    /// Polls whether the deadline of the shutdown has passed.
    pub(super) fn poll_cut_off(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        pin!(self.guard.cut_off()).poll(cx)
    }

    /// Receives a message. The task is woken when the shutdown begins.
    pub(super) fn poll_recv<S>(
        &mut self,
        receiver: &mut Receiver<S>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Option<Message>, Error>>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        // Once it has begun, the guard closes the connection.
        if self.is_closing || !self.has_begun() {
            self.guard.poll_recv(receiver, cx)
        } else {
            receiver.poll_recv(cx)
        }
    }
}
