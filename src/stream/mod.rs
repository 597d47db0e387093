//! A WebSocket connection over any stream of bytes: the protocol core, driven on tokio.

mod close;
mod event;
mod parts;
mod pool;
mod recv;
mod send;
mod sink;
mod timers;
mod transport;

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
pub use event::Event;
pub use parts::Parts;
pub use send::Permit;

use self::{
    pool::Scratch,
    timers::{Activity, Due, Timeouts, Timers},
    transport::Transport,
};
use crate::{
    Config, Error, Role,
    handshake::Negotiated,
    proto::{CloseFrame, Closing, MaskKey, ReceivePath, SendPath},
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
    transport: Transport<S>,
    receive: ReceivePath,
    send: SendPath,
    /// What was read and not handled.
    scratch: Option<Box<Scratch>>,
    /// There while a deadline runs.
    timers: Option<Pin<Box<Timers>>>,
    timeouts: Timeouts,
    /// How many frames and reads may be handled before the task's budget is asked for again.
    frames: u8,
    /// What the peer's Close said.
    close_frame: Option<Box<CloseFrame>>,
    /// What ended the connection, or will, until it is told.
    error: Option<Box<Error>>,
    /// Whether it was told.
    told: bool,
    /// Whether all is over: nothing more will be read or written.
    finished: bool,
    /// What the opening handshake agreed on.
    negotiated: Negotiated,
}

impl<S> WebSocket<S> {
    /// A connection whose opening handshake was done elsewhere.
    ///
    /// `unread` is what has been read from `io` behind the handshake.
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
        Self {
            transport: Transport::new(io),
            receive: ReceivePath::new(role, config),
            send: SendPath::new(role, config),
            scratch: (!unread.is_empty()).then(|| Box::new(Scratch::holding(&unread))),
            timers: None,
            timeouts: Timeouts::new(config),
            frames: 0,
            close_frame: None,
            error: None,
            told: false,
            finished: false,
            negotiated,
        }
    }

    /// The stream beneath. Reading from it or writing to it breaks the connection.
    pub fn get_ref(&self) -> &S {
        self.transport.get_ref()
    }

    /// Which end of the connection this is.
    pub fn role(&self) -> Role {
        self.send.role()
    }

    /// The subprotocol that the opening handshake agreed on (RFC 6455 section 1.9); `None` is no error.
    pub fn subprotocol(&self) -> Option<&str> {
        self.negotiated.subprotocol()
    }

    /// The extensions that the opening handshake agreed on, as the `Sec-WebSocket-Extensions` header lists them (RFC
    /// 6455 section 9.1); empty for none.
    pub fn extensions(&self) -> &str {
        self.negotiated.extensions()
    }

    /// What the peer's Close said: `None` before one has come, and where it gave no code.
    pub fn close_frame(&self) -> Option<&CloseFrame> {
        self.close_frame.as_deref()
    }

    /// Where the closing handshake stands (RFC 6455 section 7.1).
    pub fn closing(&self) -> Closing {
        Closing::of(&self.send, &self.receive)
    }

    /// How many bytes are queued or staged, and not yet taken by the stream.
    pub fn queued(&self) -> usize {
        self.send.queued() + self.transport.staged()
    }

    /// Keeps what will have ended the connection, until it is told.
    fn keep(&mut self, error: Error) {
        if !self.told && self.error.is_none() {
            self.error = Some(Box::new(error));
        }
    }

    /// Hands out what was kept.
    fn tell(&mut self) -> Option<Error> {
        let error = self.error.take()?;
        self.told = true;
        Some(*error)
    }

    /// Ends it all: nothing more will be read or written, and nothing more is held.
    fn finish(&mut self) {
        self.finished = true;
        self.timers = None;
        self.transport.end_write(&mut self.send);
        self.give_back_scratch();
    }

    #[inline]
    fn give_back_scratch(&mut self) {
        if let Some(scratch) = self.scratch.take() {
            pool::take_back_scratch(scratch);
        }
    }

    /// Whether the connection is on its way to its end.
    #[inline]
    fn is_closing(&self) -> bool {
        self.closing() != Closing::Open || self.transport.is_write_ended()
    }

    /// What is due; pending until something is.
    fn poll_due(&mut self, waiting: bool, cx: &mut Context<'_>) -> Poll<Due> {
        let activity = Activity {
            stuck: self.transport.is_stuck(),
            progressed: self.transport.take_progressed(),
            closing: self.is_closing(),
            waiting,
            inside_frame: self.receive.is_inside_frame(),
        };
        if self.timeouts.watch(activity) {
            let timers = self.timers.get_or_insert_with(|| Box::pin(Timers::new()));
            if let Some(due) = ready!(timers.as_mut().poll_due(&self.timeouts, activity, cx)) {
                return Poll::Ready(due);
            }
        }
        if !self.timeouts.watch_peer() {
            self.timers = None;
        }
        Poll::Pending
    }
}

/// A fresh masking key for a client, from the thread's CSPRNG (RFC 6455 section 5.3); a server has no use for one.
#[inline]
fn mask_key(role: Role) -> MaskKey {
    match role {
        Role::Client => MaskKey::from(rand::random::<[u8; 4]>()),
        Role::Server => MaskKey::default(),
    }
}
