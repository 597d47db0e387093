//! What a connection receives, control frames included.

use std::fmt;

use bytes::Bytes;

use crate::proto::{CloseFrame, Message, Received, debug_payload};

/// What [`recv_event`](crate::WebSocket::recv_event) gives to those who want to see control frames.
///
/// Pings are answered, and the closing handshake is completed, whether anybody looks or not.
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
    /// A whole message.
    Message(Message),
    /// A ping with its payload data. The pong is queued already.
    Ping(Bytes),
    /// A pong with its payload data, asked for or not.
    Pong(Bytes),
    /// The peer's Close; `None` where it gave no code. Ours is queued already.
    Close(Option<CloseFrame>),
}

/// Payload data is nobody's business but the application's: only its length is shown.
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
    /// What was received, to be kept; `None` for a part of a message that nobody reads any more.
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
