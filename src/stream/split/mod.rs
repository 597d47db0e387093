//! A connection split into two halves: one receives, and any number of clones of the other send.

mod direct;
mod ledger;
mod locked;
#[cfg(all(test, fullduplex_loom))]
mod model;
mod parts;
mod sender;
mod shared;
mod shared_io;
mod sink;
mod sync;
#[cfg(any(feature = "reconnect", feature = "calls", feature = "hub"))]
#[cfg_attr(not(feature = "reconnect"), allow(dead_code, reason = "some of it is for reconnect alone"))]
mod tracked;
mod transmit;
mod wait_list;

use std::{
    future::{Future, poll_fn},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use futures_core::Stream;
pub use parts::SenderTurn;
pub use sender::{SendPermit, Sender, TrySendError};
pub use sink::SenderSink;
use tokio::io::{AsyncRead, AsyncWrite};
#[cfg(any(feature = "reconnect", feature = "calls", feature = "hub"))]
pub(crate) use tracked::TrackedSender;

use self::{shared::Shared, shared_io::SharedIo, transmit::Transmit};
use super::{Event, Stats, WebSocket, connection::Connection, io::OwnedIo};
use crate::{
    Config, Error, Message, Role,
    proto::{CloseFrame, Closing},
};

impl<S: AsyncRead + AsyncWrite + Unpin + Send + 'static> WebSocket<S> {
    /// Splits the connection into a receiving and a sending half.
    ///
    /// The [`Receiver`] receives, answers pings, completes the closing handshake and checks
    /// deadlines. The [`Sender`] can be cloned, and sends from any number of tasks.
    ///
    /// The stream has to be [`Send`], because a [`Sender`] writes to it from the thread on which it
    /// is used. A stream that is not can be shared by the tasks of one thread with
    /// [`StreamExt::split`] of the `futures` crate.
    ///
    /// [`StreamExt::split`]: https://docs.rs/futures/latest/futures/stream/trait.StreamExt.html#method.split
    ///
    /// Payload data created by [`Bytes::from_owner`](bytes::Bytes::from_owner) deadlocks if
    /// dropping its owner uses the same connection.
    ///
    /// ```
    /// # use fullduplex::{Error, WebSocket};
    /// # use tokio::net::TcpStream;
    /// # async fn example(ws: WebSocket<TcpStream>) -> Result<(), Error> {
    /// let (mut receiver, sender) = ws.split();
    /// let ticker = sender.clone();
    /// tokio::spawn(async move { ticker.send("a tick").await });
    /// while let Some(message) = receiver.recv().await? {
    ///     sender.send(message).await?;
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub fn split(self) -> (Receiver<S>, Sender) {
        let Connection { io, inbound } = self.connection;
        let shared = Arc::new(Shared::new(io, inbound.write_limits()));
        let sender = Sender::new(shared.clone() as Arc<Shared<dyn Transmit>>);
        (Receiver { connection: Connection { io: SharedIo::new(shared), inbound } }, sender)
    }
}

/// The receiving half of a split connection.
///
/// While it is polled, pings are answered, keep-alive pings are sent, deadlines are checked and
/// queued messages are written. Dropping it drops the stream: the connection ends, and every call
/// of a [`Sender`] fails with [`Error::Closed`].
#[derive(Debug)]
pub struct Receiver<S> {
    connection: Connection<SharedIo<S>>,
}

impl<S: AsyncRead + AsyncWrite + Unpin + Send + 'static> Receiver<S> {
    /// Receives the next message, as [`WebSocket::recv`] does.
    ///
    /// # Errors
    /// Returns the same errors as [`WebSocket::recv`]. An error that a sender has returned is not
    /// returned again.
    ///
    /// # Cancel safety
    /// Dropping the future loses nothing: all state is kept in the connection.
    pub fn recv(&mut self) -> impl Future<Output = Result<Option<Message>, Error>> {
        let guard = ReceiveGuard(self);
        poll_fn(move |cx| guard.0.poll_recv(cx))
    }

    /// Receives the next event, as [`WebSocket::recv_event`] does.
    ///
    /// # Errors
    /// Returns the same errors as [`recv`](Self::recv).
    ///
    /// # Cancel safety
    /// Dropping the future loses nothing: all state is kept in the connection.
    pub async fn recv_event(&mut self) -> Result<Option<Event>, Error> {
        let guard = ReceiveGuard(self);
        poll_fn(|cx| guard.0.poll_recv_event(cx)).await
    }

    /// Polls for the next message, as [`recv`](Self::recv) does.
    ///
    /// # Errors
    /// Returns the same errors as [`recv`](Self::recv).
    pub fn poll_recv(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Message>, Error>> {
        self.poll_with(cx, Connection::poll_message)
    }

    /// Polls for the next event, as [`recv_event`](Self::recv_event) does.
    ///
    /// # Errors
    /// Returns the same errors as [`recv`](Self::recv).
    pub fn poll_recv_event(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Event>, Error>> {
        self.poll_with(cx, |connection, cx| connection.poll_whole(cx, Event::of))
    }

    /// Calls a function with a reference to the underlying stream.
    ///
    /// Returns `None` once [`Sender::abort`] has dropped the stream.
    ///
    /// The halves share the stream, which is locked while the function runs. The function must not
    /// use the connection, and must not read from the stream or write to it.
    ///
    /// ```
    /// # use fullduplex::Receiver;
    /// # fn example(receiver: &Receiver<tokio::net::TcpStream>) -> Option<std::net::SocketAddr> {
    /// receiver.with_ref(|tcp| tcp.peer_addr().ok())?
    /// # }
    /// ```
    pub fn with_ref<T>(&self, call: impl FnOnce(&S) -> T) -> Option<T> {
        self.connection.io.with_ref(call)
    }

    /// Returns a sender for this connection.
    ///
    /// It can be used, for example, to close the connection after all other senders were dropped.
    pub fn sender(&self) -> Sender {
        Sender::new(self.connection.io.shared.clone() as Arc<Shared<dyn Transmit>>)
    }

    /// Returns which end of the connection this is.
    pub fn role(&self) -> Role {
        self.connection.io.shared.role()
    }

    /// Returns the state of the closing handshake (RFC 6455 section 7.1).
    pub fn closing(&self) -> Closing {
        self.connection.io.shared.closing(&self.connection.inbound.receive)
    }

    /// Returns `true` if nothing more can be sent.
    ///
    /// This is the case once our Close is queued or sent, or the connection has ended.
    pub fn is_closed(&self) -> bool {
        self.connection.io.shared.room().is_closed()
    }

    /// Returns the counters of the connection; `None` unless [`Config::stats`] is enabled.
    pub fn stats(&self) -> Option<Stats> {
        Some(Stats::new(self.connection.inbound.received()?, self.connection.io.shared.sent()?))
    }

    /// Replaces the limits on what is received, as [`WebSocket::set_limits`] does.
    ///
    /// `max_write_buffer_size` keeps the value that it had when the connection was split.
    pub fn set_limits(&mut self, config: &Config) {
        self.connection.inbound.receive.set_limits(config);
    }

    /// Returns the code and reason of the peer's Close.
    ///
    /// Returns `None` if no Close has been received, or if it contained no code.
    pub fn close_frame(&self) -> Option<&CloseFrame> {
        self.connection.inbound.close_frame()
    }

    /// Returns the subprotocol agreed on in the opening handshake, if any.
    pub fn subprotocol(&self) -> Option<&str> {
        self.connection.inbound.subprotocol()
    }

    /// Returns the extensions agreed on in the opening handshake; empty if there are none.
    pub fn extensions(&self) -> &str {
        self.connection.inbound.extensions()
    }

    /// Reunites the halves into one connection.
    ///
    /// # Errors
    /// Returns both halves if the sender belongs to another connection, if it has clones or sinks,
    /// or if the stream was dropped by [`Sender::abort`].
    pub fn reunite(self, sender: Sender) -> Result<WebSocket<S>, Box<(Self, Sender)>> {
        let ours = Arc::as_ptr(&self.connection.io.shared).cast::<()>();
        let same = std::ptr::addr_eq(ours, Arc::as_ptr(&sender.shared));
        if !same || Arc::strong_count(&sender.shared) > 2 {
            return Err(Box::new((self, sender)));
        }
        match self.connection.io.take() {
            Some(parts) => {
                let io = OwnedIo::from_parts(parts);
                Ok(WebSocket { connection: Connection { io, inbound: self.connection.inbound } })
            }
            None => Err(Box::new((self, sender))),
        }
    }

    /// Polls the connection. Until this is ready, senders may rely on the receiver.
    #[inline]
    fn poll_with<T>(
        &mut self,
        cx: &mut Context<'_>,
        receive: impl FnOnce(&mut Connection<SharedIo<S>>, &mut Context<'_>) -> Poll<T>,
    ) -> Poll<T> {
        let received = receive(&mut self.connection, cx);
        if received.is_ready() {
            self.stop_waiting();
        }
        received
    }

    /// Ends the wait of a task that is no longer polled. If a sender relied on it, writes what is
    /// queued.
    #[inline]
    pub(crate) fn stop_waiting(&mut self) {
        self.connection.io.stop_waiting();
    }
}

/// A future that receives: when dropped, the receiver no longer waits.
struct ReceiveGuard<'a, S: AsyncRead + AsyncWrite + Unpin + Send + 'static>(&'a mut Receiver<S>);

impl<S: AsyncRead + AsyncWrite + Unpin + Send + 'static> Drop for ReceiveGuard<'_, S> {
    fn drop(&mut self) {
        self.0.stop_waiting();
    }
}

/// Yields the messages that [`recv`](Receiver::recv) returns, and ends when it returns `Ok(None)`.
impl<S: AsyncRead + AsyncWrite + Unpin + Send + 'static> Stream for Receiver<S> {
    type Item = Result<Message, Error>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.poll_recv(cx).map(Result::transpose)
    }
}

#[cfg(all(test, not(fullduplex_loom)))]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::{handshake::Negotiated, stream::test_stream::TestStream};

    /// Splits a server over a stream.
    pub(super) fn split(stream: &TestStream, config: &Config) -> (Receiver<TestStream>, Sender) {
        WebSocket::from_raw(stream.clone(), Bytes::new(), Role::Server, config, Negotiated::default()).split()
    }

    #[test]
    fn a_receiver_has_counters_if_they_are_enabled_and_a_subprotocol_if_one_was_agreed_on() {
        let (receiver, _sender) = split(&TestStream::default(), &Config::new());
        assert_eq!((receiver.stats(), receiver.subprotocol()), (None, None));
        let (receiver, sender) = split(&TestStream::default(), &Config::new().stats(true));
        sender.try_send("counted").expect("open");
        assert_eq!(receiver.stats().map(|stats| stats.messages_sent), Some(1));
    }

    #[test]
    fn the_halves_are_reunited_unless_there_is_another_sender() {
        let (receiver, sender) = split(&TestStream::default(), &Config::new());
        let clone = sender.clone();
        let (receiver, sender) = *receiver.reunite(sender).expect_err("there is a clone");
        drop(clone);
        receiver.reunite(sender).expect("halves of one connection");
    }
}
