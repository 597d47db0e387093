//! The events of a connection, including control frames.

use std::fmt;

use bytes::Bytes;

use crate::proto::{CloseFrame, Message, Received, debug_payload};

/// An event returned by [`recv_event`](crate::WebSocket::recv_event).
///
/// Pings are answered and the closing handshake is completed whether or not the program looks at
/// the events.
///
/// ```
/// use fullduplex::{Event, Message};
///
/// fn describe(event: &Event) -> &'static str {
///     match event {
///         Event::Message(Message::Text(_)) => "text",
///         Event::Message(Message::Binary(_)) => "binary",
///         Event::Close(_) => "close",
///         _ => "something else",
///     }
/// }
/// assert_eq!(describe(&Event::Close(None)), "close");
/// ```
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event {
    /// A complete message.
    Message(Message),
    /// A ping with its payload data. The pong has already been queued, unless
    /// [`automatic_pongs`](crate::Config::automatic_pongs) is disabled.
    Ping(Bytes),
    /// A pong with its payload data, solicited or not.
    Pong(Bytes),
    /// The peer's Close; `None` if it contained no code. The answer has already been queued.
    Close(Option<CloseFrame>),
}

/// Redacts payload data: prints only its length.
impl fmt::Debug for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Message(message) => f.debug_tuple("Message").field(message).finish(),
            Self::Ping(payload) => debug_payload(f, &"Ping", payload.len()),
            Self::Pong(payload) => debug_payload(f, &"Pong", payload.len()),
            Self::Close(frame) => f.debug_tuple("Close").field(frame).finish(),
        }
    }
}

impl Event {
    /// Converts what was received; returns `None` for a part of a message that is being skipped.
    pub(super) fn of(received: Received<'_>) -> Option<Self> {
        match received {
            Received::Message(message) => Some(Self::Message(message)),
            Received::Part(_) => None,
            Received::Ping(payload) => Some(Self::Ping(Bytes::copy_from_slice(payload))),
            Received::Pong(payload) => Some(Self::Pong(Bytes::copy_from_slice(payload))),
            Received::Close(frame) => Some(Self::Close(frame)),
        }
    }
}
