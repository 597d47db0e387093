//! A session as its task sees it.

use std::{
    future::{Future, poll_fn},
    ops::Deref,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use fullduplex::{
    CloseCode, CloseFrame, Error, Message, Outgoing, Receiver, Sender, TrySendError, Utf8Bytes,
    hyper::UpgradedStream,
};
use tokio::time::{Instant, Sleep, sleep};

use super::{packet::Packet, polling::SessionStream, settings::Settings, sid::Sid};

/// How long a ping waits for room in a write buffer that is full.
const PING_PAUSE: Duration = Duration::from_secs(1);

/// A session of Engine.IO: it receives the messages of the client, and answers for the heartbeat.
///
/// While it is polled, pings are sent, deadlines are checked, and what is queued is written, as a
/// [`Receiver`] does. The session may change its transport meanwhile.
#[derive(Debug)]
pub struct Connection {
    sid: Sid,
    wire: Wire,
    sender: Sender,
    heart: Heart,
    /// Why the session ends, while the closing handshake is under way.
    ending: Option<Ending>,
}

/// What receives, for each kind of session.
#[derive(Debug)]
pub(super) enum Wire {
    WebSocket(Receiver<UpgradedStream>),
    Session(Receiver<SessionStream>),
}

/// A message that a session has received.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Received {
    /// Text.
    Text(Text),
    /// Binary data.
    Binary(Bytes),
}

/// The text of a message, without the digit of its packet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Text(Utf8Bytes);

impl Deref for Text {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0[1..]
    }
}

impl Text {
    /// Creates the text of a packet that begins with its digit.
    #[cfg(test)]
    pub(crate) fn new(packet: &str) -> Self {
        Self(packet.into())
    }

    /// Returns the text with the digit of its packet in front.
    pub(crate) fn into_packet(self) -> Utf8Bytes {
        self.0
    }
}

/// Why a session has ended.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Ending {
    /// The client has closed the session.
    #[error("closed by the client")]
    Closed,
    /// The server has closed the session.
    #[error("closed by the server")]
    ClosedHere,
    /// The client has not answered a ping in time.
    #[error("no pong in time")]
    PingTimeout,
    /// The client has violated the protocol.
    #[error("a packet that is not valid")]
    InvalidPacket,
    /// The connection was lost.
    #[error(transparent)]
    Transport(Error),
}

impl Connection {
    pub(super) fn new(sid: Sid, wire: Wire, sender: Sender, settings: &Settings) -> Self {
        Self { sid, wire, sender, heart: Heart::new(settings), ending: None }
    }

    /// Returns the id of the session.
    pub fn sid(&self) -> Sid {
        self.sid
    }

    /// Returns a sender for the session.
    pub fn sender(&self) -> SessionSender {
        SessionSender(self.sender.clone())
    }

    /// Receives the next message.
    ///
    /// # Errors
    /// Returns why the session has ended.
    ///
    /// # Panics
    /// Panics outside of a tokio runtime, or if its timers are not enabled.
    ///
    /// # Cancel safety
    /// Dropping the future loses nothing: all state is kept in the session.
    pub async fn recv(&mut self) -> Result<Received, Ending> {
        poll_fn(|cx| self.poll_recv(cx)).await
    }

    /// Polls for the next message, as [`recv`](Self::recv) does.
    ///
    /// # Errors
    /// Returns why the session has ended.
    pub fn poll_recv(&mut self, cx: &mut Context<'_>) -> Poll<Result<Received, Ending>> {
        loop {
            let Poll::Ready(received) = self.wire.poll_recv(cx) else { break };
            let message = match received {
                Ok(Some(message)) => message,
                Ok(None) => return Poll::Ready(Err(self.ending.take().unwrap_or(Ending::Closed))),
                Err(error) => {
                    let ending = self.ending.take();
                    return Poll::Ready(Err(ending.unwrap_or(Ending::Transport(error))));
                }
            };
            if self.ending.is_some() {
                continue;
            }
            match self.received(message) {
                Ok(Some(received)) => return Poll::Ready(Ok(received)),
                Ok(None) => {}
                Err(ending) => self.end(ending),
            }
        }
        if self.ending.is_none() && self.heart.poll(cx, &self.sender).is_ready() {
            // There is nobody to wait for.
            self.sender.abort();
            return Poll::Ready(Err(Ending::PingTimeout));
        }
        Poll::Pending
    }

    fn received(&mut self, message: Message) -> Result<Option<Received>, Ending> {
        let text = match message {
            Message::Binary(data) => return Ok(Some(Received::Binary(data))),
            Message::Text(text) => text,
        };
        match Packet::parse(&text) {
            Ok(Packet::Message(_)) => Ok(Some(Received::Text(Text(text)))),
            Ok(Packet::Pong("")) => {
                self.heart.beat();
                Ok(None)
            }
            // It ends a request, and has no other meaning.
            Ok(Packet::Noop) => Ok(None),
            Ok(Packet::Close) => Err(Ending::Closed),
            // Pings are sent by the server; the probe of an upgrade has its own connection.
            Ok(Packet::Open(_) | Packet::Ping(_) | Packet::Pong(_) | Packet::Upgrade) | Err(_) => {
                Err(Ending::InvalidPacket)
            }
        }
    }

    /// Ends the session because of the client. What it sends later is discarded.
    ///
    /// The connection is closed, so that the client learns why. `poll_recv` returns the reason once
    /// that is done.
    pub(crate) fn end(&mut self, ending: Ending) {
        let (code, reason) = match ending {
            Ending::InvalidPacket => (CloseCode::PROTOCOL_ERROR, "invalid packet"),
            _ => (CloseCode::NORMAL, ""),
        };
        start_close(&self.sender, code, reason);
        self.ending.get_or_insert(ending);
    }
}

fn start_close(sender: &Sender, code: CloseCode, reason: &'static str) {
    // It fails only if the connection has ended already.
    let _ = sender.start_close(CloseFrame::new(code, reason).ok());
}

impl Wire {
    fn poll_recv(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Message>, Error>> {
        match self {
            Self::WebSocket(receiver) => receiver.poll_recv(cx),
            Self::Session(receiver) => receiver.poll_recv(cx),
        }
    }
}

/// The heartbeat of a session.
///
/// ```text
///            interval passed: ping                timeout passed
///   Rests ──────────────────────────▶ Waits ──────────────────────▶ the session ends
///     ▲                                 │
///     └───────────── pong ──────────────┘
/// ```
#[derive(Debug)]
struct Heart {
    timer: Pin<Box<Sleep>>,
    waits: bool,
    interval: Duration,
    timeout: Duration,
}

impl Heart {
    fn new(settings: &Settings) -> Self {
        let Settings { ping_interval: interval, ping_timeout: timeout, .. } = *settings;
        Self { timer: Box::pin(sleep(interval)), waits: false, interval, timeout }
    }

    /// Sends a ping when it is time. Returns ready if the pong is missing.
    fn poll(&mut self, cx: &mut Context<'_>, sender: &Sender) -> Poll<()> {
        loop {
            let Poll::Ready(()) = self.timer.as_mut().poll(cx) else { return Poll::Pending };
            if self.waits {
                return Poll::Ready(());
            }
            match sender.try_send("2") {
                Err(TrySendError::Full(_)) => self.rest_for(PING_PAUSE),
                // If the connection has ended, that is returned by the next call that receives.
                Ok(()) | Err(TrySendError::Closed(_)) => {
                    self.rest_for(self.timeout);
                    self.waits = true;
                }
            }
        }
    }

    /// Records a pong. One that nothing asked for changes nothing.
    fn beat(&mut self) {
        if self.waits {
            self.rest_for(self.interval);
            self.waits = false;
        }
    }

    fn rest_for(&mut self, time: Duration) {
        self.timer.as_mut().reset(Instant::now() + time);
    }
}

/// Sends messages to the client of a session, from any task.
#[derive(Debug, Clone)]
pub struct SessionSender(Sender);

impl SessionSender {
    /// Waits for room, and queues a message with this text.
    ///
    /// # Errors
    /// Fails if the session has ended.
    ///
    /// # Cancel safety
    /// If the future is dropped before it completes, the message is not queued.
    pub async fn send_text(&self, text: &str) -> Result<(), Error> {
        self.0.feed(format!("4{text}")).await
    }

    /// Waits for room, and queues binary data.
    ///
    /// # Errors
    /// Fails if the session has ended.
    ///
    /// # Cancel safety
    /// If the future is dropped before it completes, the message is not queued.
    pub async fn send_binary(&self, data: impl Into<Bytes>) -> Result<(), Error> {
        self.0.feed(Outgoing::from(data.into())).await
    }

    /// Closes the session, behind what is queued.
    pub fn close(&self) {
        start_close(&self.0, CloseCode::NORMAL, "");
    }

    /// Returns the sender of the connection, for complete packets.
    pub(crate) fn get_ref(&self) -> &Sender {
        &self.0
    }
}
