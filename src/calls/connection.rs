//! The connections that a router can be attached to.

use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite};

use super::{
    limits::Limits,
    peer::{Link, Peer},
};
#[cfg(feature = "reconnect")]
use crate::reconnect::{Reason, Reconnecting};
#[cfg(feature = "serve")]
use crate::serve::{Guard, Session};
use crate::{Error, Message, Receiver, Sender, WebSocket, stream::TrackedSender};

/// A connection that a [`Router`](super::Router) can be attached to.
///
/// These are [`WebSocket`], its halves as `(Receiver, Sender)`, with the feature `serve` a `Session` or
/// its parts as `(Receiver, Sender, Guard)`, and with the feature `reconnect` a `Reconnecting` client. It is sealed: other crates cannot
/// implement it.
pub trait Connection: sealed::IntoWire<Failure = Self::Error> {
    /// The error that ends the connection.
    type Error: Send + 'static;
}

pub(super) mod sealed {
    use super::*;

    pub trait IntoWire {
        type Failure;
        type Wire: Wire<Failure = Self::Failure> + Send + 'static;

        fn into_wire(self) -> Self::Wire;
    }

    /// What a running router does with a connection.
    pub trait Wire {
        type Failure;

        fn peer(&self, limits: &Limits) -> Peer;

        fn poll_recv(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Message>, Self::Failure>>;

        /// Writes what is queued, in place of receiving.
        fn poll_write(&mut self, cx: &mut Context<'_>);

        /// Returns the number of the connection that the last message was received from.
        fn number(&self) -> u64;

        /// Converts an error that a sender has encountered.
        fn failure(error: Error) -> Self::Failure;
    }

    /// What receives from a split connection.
    pub trait Receive {
        fn poll_recv(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Message>, Error>>;
    }
}

/// A split connection.
#[derive(Debug)]
pub struct Halves<R> {
    receiver: R,
    sender: TrackedSender,
}

impl<R> Halves<R> {
    fn new(receiver: R, sender: Sender) -> Self {
        Self { receiver, sender: TrackedSender::new(sender) }
    }
}

impl<R: sealed::Receive + Send + 'static> sealed::Wire for Halves<R> {
    type Failure = Error;

    fn peer(&self, limits: &Limits) -> Peer {
        Peer::new(Link::Connection(self.sender.get_ref().clone()), limits)
    }

    fn poll_recv(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Message>, Error>> {
        self.receiver.poll_recv(cx)
    }

    fn poll_write(&mut self, cx: &mut Context<'_>) {
        self.sender.poll_write(cx);
    }

    fn number(&self) -> u64 {
        0
    }

    fn failure(error: Error) -> Error {
        error
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin + Send + 'static> sealed::Receive for Receiver<S> {
    fn poll_recv(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Message>, Error>> {
        self.poll_recv(cx)
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin + Send + 'static> Connection for WebSocket<S> {
    type Error = Error;
}

impl<S: AsyncRead + AsyncWrite + Unpin + Send + 'static> sealed::IntoWire for WebSocket<S> {
    type Failure = Error;
    type Wire = Halves<Receiver<S>>;

    fn into_wire(self) -> Self::Wire {
        self.split().into_wire()
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin + Send + 'static> Connection for (Receiver<S>, Sender) {
    type Error = Error;
}

impl<S: AsyncRead + AsyncWrite + Unpin + Send + 'static> sealed::IntoWire for (Receiver<S>, Sender) {
    type Failure = Error;
    type Wire = Halves<Receiver<S>>;

    fn into_wire(self) -> Self::Wire {
        Halves::new(self.0, self.1)
    }
}

/// A receiver that takes part in a graceful shutdown.
#[cfg(feature = "serve")]
#[derive(Debug)]
pub struct Guarded<S> {
    receiver: Receiver<S>,
    guard: Guard,
}

#[cfg(feature = "serve")]
impl<S: AsyncRead + AsyncWrite + Unpin + Send + 'static> sealed::Receive for Guarded<S> {
    fn poll_recv(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Message>, Error>> {
        self.guard.poll_recv(&mut self.receiver, cx)
    }
}

#[cfg(feature = "serve")]
#[cfg_attr(docsrs, doc(cfg(feature = "serve")))]
impl<S: AsyncRead + AsyncWrite + Unpin + Send + 'static> Connection for Session<S> {
    type Error = Error;
}

#[cfg(feature = "serve")]
impl<S: AsyncRead + AsyncWrite + Unpin + Send + 'static> sealed::IntoWire for Session<S> {
    type Failure = Error;
    type Wire = Halves<Guarded<S>>;

    fn into_wire(self) -> Self::Wire {
        let (ws, guard) = self.into_parts();
        let (receiver, sender) = ws.split();
        (receiver, sender, guard).into_wire()
    }
}

#[cfg(feature = "serve")]
#[cfg_attr(docsrs, doc(cfg(feature = "serve")))]
impl<S: AsyncRead + AsyncWrite + Unpin + Send + 'static> Connection for (Receiver<S>, Sender, Guard) {
    type Error = Error;
}

#[cfg(feature = "serve")]
impl<S: AsyncRead + AsyncWrite + Unpin + Send + 'static> sealed::IntoWire for (Receiver<S>, Sender, Guard) {
    type Failure = Error;
    type Wire = Halves<Guarded<S>>;

    fn into_wire(self) -> Self::Wire {
        let (receiver, sender, guard) = self;
        Halves::new(Guarded { receiver, guard }, sender)
    }
}

#[cfg(feature = "reconnect")]
#[cfg_attr(docsrs, doc(cfg(feature = "reconnect")))]
impl<S: AsyncRead + AsyncWrite + Unpin + Send + 'static> Connection for Reconnecting<S> {
    type Error = Reason;
}

#[cfg(feature = "reconnect")]
impl<S: AsyncRead + AsyncWrite + Unpin + Send + 'static> sealed::IntoWire for Reconnecting<S> {
    type Failure = Reason;
    type Wire = Self;

    fn into_wire(self) -> Self {
        self
    }
}

#[cfg(feature = "reconnect")]
impl<S: AsyncRead + AsyncWrite + Unpin + Send + 'static> sealed::Wire for Reconnecting<S> {
    type Failure = Reason;

    fn peer(&self, limits: &Limits) -> Peer {
        Peer::new(Link::Client(self.handle()), limits)
    }

    fn poll_recv(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Message>, Reason>> {
        self.poll_recv(cx)
    }

    fn poll_write(&mut self, cx: &mut Context<'_>) {
        self.poll_write(cx);
    }

    fn number(&self) -> u64 {
        self.connection()
    }

    fn failure(error: Error) -> Reason {
        Reason::Lost(std::sync::Arc::new(error))
    }
}
