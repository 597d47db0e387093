//! What the way in returns.

use std::fmt;

use super::{
    close::CloseFrame,
    payload::{Message, MessageKind, debug_payload},
};

/// What one call took in.
#[derive(Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Step<'a> {
    /// How many bytes of the input are done with.
    pub consumed: usize,
    /// What they made whole, if anything.
    pub received: Option<Received<'a>>,
}

/// What was received: a message, or a control frame with its payload data.
///
/// A ping and a Close are owed an answer: [`SendPath::answer`](super::SendPath::answer).
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Received<'a> {
    /// A whole message.
    Message(Message),
    /// A part of a message: [`ReceivePath::receive_parts`](super::ReceivePath::receive_parts).
    Part(Part<'a>),
    /// RFC 6455 section 5.5.2.
    Ping(&'a [u8]),
    /// RFC 6455 section 5.5.3.
    Pong(&'a [u8]),
    /// RFC 6455 section 5.5.1. `None`: the peer gave no code.
    Close(Option<CloseFrame>),
}

/// A part of a message, as it came: any number of bytes, that may end inside a code point.
#[derive(Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Part<'a> {
    /// What the message is.
    pub kind: MessageKind,
    /// The next of its payload data, unmasked; proven UTF-8 so far if it is text. It may be empty.
    pub payload: &'a [u8],
    /// Whether the message ends with it.
    pub last: bool,
}

/// Payload data is nobody's business but the application's: only its length is shown.
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

/// Payload data is nobody's business but the application's: only its length is shown.
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
    /// The message, if it is one.
    #[inline]
    pub fn into_message(self) -> Option<Message> {
        match self {
            Self::Message(message) => Some(message),
            _ => None,
        }
    }
}
