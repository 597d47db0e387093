//! A WebSocket connection over any stream of bytes: the protocol core, driven on tokio.

mod close;
mod connection;
mod event;
mod inbound;
mod line;
mod parts;
mod pool;
mod reader;
mod recv;
mod send;
mod sink;
mod split;
mod stats;
mod timers;
mod transport;
mod watchdog;
mod writer;

use bytes::Bytes;
pub use event::Event;
pub use parts::Parts;
pub use reader::{MessageReader, ReceiveParts};
pub use send::Permit;
pub use split::{Receiver, SendPermit, Sender, SenderSink, SenderTurn, TrySendError};
pub use stats::Stats;
pub use writer::{MessageWriter, SendParts};

use self::{connection::Connection, inbound::Inbound, line::Own};
use crate::{
    Config, Role,
    handshake::Negotiated,
    proto::{CloseFrame, Closing, SendPath},
};

/// A WebSocket connection over the stream `S`.
///
/// It comes from [`accept`](crate::accept), [`connect`](crate::connect) or [`from_raw`](Self::from_raw).
///
/// # When bytes leave
/// [`feed`](Self::feed) queues a message, [`send`](Self::send) queues and flushes it. [`recv`](Self::recv) gives out
/// what has been read already without a system call, and before it reads again it writes what is queued. So a loop
/// that answers with `feed` costs one read and one write for a whole burst, and nothing stays behind:
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
/// Keep-alive pings are sent, and deadlines judged, while the connection is polled: a program that neither receives
/// nor sends hears of no timeout. They need a tokio runtime with its time driver.
///
/// # Dropping
/// Dropping a connection closes the stream at once. No Close is sent, and what was fed and not flushed is lost;
/// [`close`](Self::close) ends it in order.
#[derive(Debug)]
pub struct WebSocket<S> {
    connection: Connection<Own<S>>,
}

impl<S> WebSocket<S> {
    /// A connection whose opening handshake was done elsewhere.
    ///
    /// `unread` is what has been read from `io` behind the handshake. For hyper it is empty: its `Upgraded` yields what
    /// hyper has read by itself.
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
        let line = Own::new(io, send_path(role, config, &negotiated), config.stats);
        Self { connection: Connection { line, inbound: Inbound::new(&unread, role, config, negotiated) } }
    }

    /// The stream beneath. Reading from it or writing to it breaks the connection.
    pub fn get_ref(&self) -> &S {
        self.connection.line.transport.get_ref()
    }

    /// Which end of the connection this is.
    pub fn role(&self) -> Role {
        self.connection.line.send.role()
    }

    /// The subprotocol that the opening handshake agreed on (RFC 6455 section 1.9); `None` is no error.
    pub fn subprotocol(&self) -> Option<&str> {
        self.connection.inbound.subprotocol()
    }

    /// The extensions that the opening handshake agreed on, as the `Sec-WebSocket-Extensions` header lists them (RFC
    /// 6455 section 9.1); empty for none.
    pub fn extensions(&self) -> &str {
        self.connection.inbound.extensions()
    }

    /// What the peer's Close said: `None` before one has come, and where it gave no code.
    pub fn close_frame(&self) -> Option<&CloseFrame> {
        self.connection.inbound.close_frame()
    }

    /// Where the closing handshake stands (RFC 6455 section 7.1).
    pub fn closing(&self) -> Closing {
        Closing::of(&self.connection.line.send, &self.connection.inbound.receive)
    }

    /// Whether nothing can be sent any more: our Close is queued or sent, or the connection has ended.
    pub fn is_closed(&self) -> bool {
        let line = &self.connection.line;
        line.send.is_close_sent() || line.transport.is_write_ended()
    }

    /// Returns how many bytes are queued or staged, and not yet taken by the stream. A message that is still to be compressed
    /// counts with its uncompressed frame.
    pub fn queued_bytes(&self) -> usize {
        let line = &self.connection.line;
        line.send.queued_bytes() + line.transport.staged()
    }

    /// Returns what has gone over the connection; `None` unless [`Config::stats`] is on.
    pub fn stats(&self) -> Option<Stats> {
        Some(Stats::new(self.connection.inbound.received()?, self.connection.line.sent()?))
    }

    /// Replaces the limits of the connection by those of this configuration: `max_message_size`, `max_frame_size`,
    /// `max_fragments` and `max_write_buffer_size`. The rest of it has no effect any more.
    ///
    /// The limits hold from the next frame on; for a compressed message that is being received, at once. So a server can be strict until a client has logged in:
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
        self.connection.line.send.set_limits(config);
    }
}

/// The way out, as was agreed on.
#[cfg(feature = "deflate")]
fn send_path(role: Role, config: &Config, negotiated: &Negotiated) -> SendPath {
    let path = SendPath::new(role, config);
    match negotiated.deflate() {
        // Who agreed to it without settings of its own has the defaults.
        Some(params) => path.with_deflate(config.deflate.unwrap_or_default(), params),
        None => path,
    }
}

#[cfg(not(feature = "deflate"))]
fn send_path(role: Role, config: &Config, _: &Negotiated) -> SendPath {
    SendPath::new(role, config)
}
