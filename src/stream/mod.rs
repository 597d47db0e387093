//! An open WebSocket connection: the protocol core, driven by tokio over any byte stream.

mod byte_stream;
mod close;
mod connection;
mod ending;
mod event;
mod inbound;
mod into_inner;
mod io;
#[cfg(feature = "serde")]
mod json;
mod pings;
mod pool;
mod reader;
mod recv;
mod send;
mod sink;
mod split;
mod stats;
mod strides;
#[cfg(test)]
mod test_stream;
mod timers;
mod transport;
mod watchdog;
mod write_clock;
mod writer;

pub use byte_stream::ByteStream;
use bytes::Bytes;
pub use event::Event;
pub use into_inner::Parts;
pub use reader::{MessageReader, ReceiveParts};
pub use send::Permit;
#[cfg(any(feature = "reconnect", feature = "calls", feature = "hub"))]
pub(crate) use split::TrackedSender;
pub use split::{Receiver, SendPermit, Sender, SenderSink, SenderTurn, TrySendError};
pub use stats::Stats;
pub use writer::{MessageWriter, SendParts};

use self::{connection::Connection, inbound::Inbound, io::OwnedIo};
use crate::{
    Config, Role,
    handshake::Negotiated,
    proto::{CloseFrame, Closing, SendPath},
    trace::ConnectionEvents,
};

/// A WebSocket connection over the stream `S`.
///
/// It is returned by [`accept`](crate::accept), [`connect`](crate::connect) and
/// [`from_raw`](Self::from_raw).
///
/// # When bytes are written
/// [`feed`](Self::feed) queues a message; [`send`](Self::send) queues and flushes it.
/// [`recv`](Self::recv) returns messages that have already been read without a system call, and
/// writes what is queued before it reads from the stream again. A loop that answers with `feed`
/// therefore costs one read and one write for a whole burst, and leaves nothing unsent:
///
/// ```
/// use fullduplex::{Error, WebSocket};
/// use tokio::net::TcpStream;
///
/// async fn echo(mut ws: WebSocket<TcpStream>) -> Result<(), Error> {
///     while let Some(message) = ws.recv().await? {
///         ws.feed(message).await?;
///     }
///     Ok(())
/// }
/// ```
///
/// # Timers
/// Keep-alive pings are sent and deadlines are checked only while the connection is polled. A
/// program that neither receives nor sends is not notified of a timeout. Timers need a tokio
/// runtime with its time driver enabled.
///
/// # Dropping
/// Dropping a connection drops the stream at once. No Close is sent, and messages that were fed but
/// not flushed are lost. Call [`close`](Self::close) to close it cleanly.
#[derive(Debug)]
pub struct WebSocket<S> {
    connection: Connection<OwnedIo<S>>,
}

impl<S> WebSocket<S> {
    /// Creates a connection whose opening handshake has been completed elsewhere.
    ///
    /// `unread` contains the bytes that were read from `io` after the handshake. With hyper it is
    /// empty, because hyper's `Upgraded` returns those bytes itself.
    ///
    /// ```
    /// use bytes::Bytes;
    /// use fullduplex::{Config, Error, Message, Role, WebSocket, handshake::Negotiated};
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Error> {
    /// let (ours, _theirs) = tokio::io::duplex(1024);
    /// let unread = Bytes::from_static(b"\x81\x05Hello");
    /// let mut ws = WebSocket::from_raw(ours, unread, Role::Client, &Config::new(), Negotiated::default());
    /// assert_eq!(ws.recv().await?, Some(Message::from("Hello")));
    /// # Ok(())
    /// # }
    /// ```
    pub fn from_raw(io: S, unread: Bytes, role: Role, config: &Config, negotiated: Negotiated) -> Self {
        let io = OwnedIo::new(io, send_path(role, config, &negotiated), config.stats);
        Self { connection: Connection { io, inbound: Inbound::new(&unread, role, config, negotiated) } }
    }

    /// Returns a reference to the underlying stream.
    ///
    /// Reading from it or writing to it corrupts the connection.
    pub fn get_ref(&self) -> &S {
        self.connection.io.transport.get_ref()
    }

    /// Returns the events of the connection, for `tracing`.
    pub(crate) fn events(&self) -> ConnectionEvents<'_> {
        self.connection.inbound.events()
    }

    /// Returns which end of the connection this is.
    pub fn role(&self) -> Role {
        self.connection.io.send.role()
    }

    /// Returns the subprotocol agreed on in the opening handshake (RFC 6455 section 1.9), if any.
    pub fn subprotocol(&self) -> Option<&str> {
        self.connection.inbound.subprotocol()
    }

    /// Returns the extensions agreed on in the opening handshake; empty if there are none.
    ///
    /// They are formatted as in the `Sec-WebSocket-Extensions` header (RFC 6455 section 9.1).
    pub fn extensions(&self) -> &str {
        self.connection.inbound.extensions()
    }

    /// Returns the code and reason of the peer's Close.
    ///
    /// Returns `None` if no Close has been received, or if it contained no code.
    pub fn close_frame(&self) -> Option<&CloseFrame> {
        self.connection.inbound.close_frame()
    }

    /// Returns the state of the closing handshake (RFC 6455 section 7.1).
    pub fn closing(&self) -> Closing {
        Closing::of(&self.connection.io.send, &self.connection.inbound.receive)
    }

    /// Returns `true` if nothing more can be sent.
    ///
    /// This is the case once our Close is queued or sent, or the connection has ended.
    pub fn is_closed(&self) -> bool {
        let io = &self.connection.io;
        io.send.is_close_sent() || io.transport.is_write_ended()
    }

    /// Returns how many bytes are queued or staged, and not yet accepted by the stream.
    ///
    /// A message that has not been compressed yet counts with the length of its uncompressed frame.
    pub fn queued_bytes(&self) -> usize {
        let io = &self.connection.io;
        io.send.queued_bytes() + io.transport.staged()
    }

    /// Returns the counters of the connection; `None` unless [`Config::stats`] is enabled.
    pub fn stats(&self) -> Option<Stats> {
        Some(Stats::new(self.connection.inbound.received()?, self.connection.io.sent()?))
    }

    /// Replaces the limits of the connection with those of `config`.
    ///
    /// These are `max_message_size`, `max_frame_size`, `max_fragments` and `max_write_buffer_size`;
    /// the other settings are ignored. The new limits apply from the next frame on, and at once to
    /// a compressed message that is being received. A server can use this to be strict until a
    /// client has logged in:
    ///
    /// ```
    /// # use fullduplex::{Config, Error, WebSocket};
    /// # fn is_valid(_: fullduplex::Message) -> bool { true }
    /// # async fn example(mut ws: WebSocket<tokio::net::TcpStream>) -> Result<(), Error> {
    /// // Accepted with `Config::new().max_message_size(4096)`.
    /// if ws.recv().await?.is_some_and(is_valid) {
    ///     ws.set_limits(&Config::new().max_message_size(16 << 20));
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub fn set_limits(&mut self, config: &Config) {
        self.connection.inbound.receive.set_limits(config);
        self.connection.io.send.set_limits(config);
    }
}

/// Creates the sending path with the extensions that were agreed on.
#[cfg(feature = "deflate")]
fn send_path(role: Role, config: &Config, negotiated: &Negotiated) -> SendPath {
    let path = SendPath::new(role, config);
    match negotiated.deflate() {
        // `negotiated` may come from elsewhere, without `Config::deflate`: the defaults apply then.
        Some(params) => path.with_deflate(config.deflate.unwrap_or_default(), params),
        None => path,
    }
}

#[cfg(not(feature = "deflate"))]
fn send_path(role: Role, config: &Config, _: &Negotiated) -> SendPath {
    SendPath::new(role, config)
}
