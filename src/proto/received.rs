//! What the receive path returns.

use std::fmt;

use super::{
    close::CloseFrame,
    payload::{Message, MessageKind, debug_payload},
};

/// The result of one call of [`ReceivePath::receive`](super::ReceivePath::receive).
#[derive(Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Step<'a> {
    /// The number of bytes of the input that were consumed.
    pub consumed: usize,
    /// The message or control frame that they completed, if any.
    pub received: Option<Received<'a>>,
}

/// A message, a part of one, or a control frame with its payload data.
///
/// A ping and a Close require an answer: [`SendPath::answer`](super::SendPath::answer).
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Received<'a> {
    /// A whole message.
    Message(Message),
    /// A part of a message: [`ReceivePath::receive_parts`](super::ReceivePath::receive_parts).
    Part(Part<'a>),
    /// A ping (RFC 6455 section 5.5.2).
    Ping(&'a [u8]),
    /// A pong (RFC 6455 section 5.5.3).
    Pong(&'a [u8]),
    /// A Close; `None` if it has no code (RFC 6455 section 5.5.1).
    Close(Option<CloseFrame>),
}

/// A part of a message, of any length. The part may end inside a code point.
#[derive(Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Part<'a> {
    /// The kind of the message.
    pub kind: MessageKind,
    /// The payload data, unmasked; valid UTF-8 so far, if the message is text. It may be empty.
    pub payload: &'a [u8],
    /// Whether this is the last part of the message.
    pub last: bool,
}

/// Redacted: prints only the length of payload data.
impl fmt::Debug for Received<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Message(message) => f.debug_tuple("Message").field(message).finish(),
            Self::Part(part) => part.fmt(f),
            Self::Ping(payload) => debug_payload(f, &"Ping", payload.len()),
            Self::Pong(payload) => debug_payload(f, &"Pong", payload.len()),
            Self::Close(frame) => f.debug_tuple("Close").field(frame).finish(),
        }
    }
}

/// Redacted: prints only the length of payload data.
impl fmt::Debug for Part<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Part")
            .field("kind", &self.kind)
            .field("payload", &format_args!("{} bytes", self.payload.len()))
            .field("last", &self.last)
            .finish()
    }
}

impl Received<'_> {
    /// Returns the message, if it is one.
    #[inline]
    pub fn into_message(self) -> Option<Message> {
        match self {
            Self::Message(message) => Some(message),
            _ => None,
        }
    }
}
