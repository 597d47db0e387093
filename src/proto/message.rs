//! Messages: what a program receives, and what it sends.

use std::fmt;

use bytes::Bytes;

use super::{mask::Utf8Bytes, opcode::Opcode, prepared::PreparedMessage};

/// A whole message, put together from its fragments.
///
/// RFC 6455 section 5.6. It takes at most 40 bytes, and pins no more memory than about twice its payload.
///
/// Display writes the text, or `<5 bytes>` for a binary message. Debug shows the kind and the length only: payload data
/// does not end up in logs by accident.
///
/// ```
/// use fullduplex::Message;
///
/// let message = Message::from("hello");
/// assert_eq!(message.as_text(), Some("hello"));
/// assert_eq!(message.as_bytes(), b"hello");
/// assert_eq!(format!("{message} {message:?}"), "hello Text(5 bytes)");
/// ```
#[derive(Clone, PartialEq, Eq)]
pub enum Message {
    /// Text: its payload data is valid UTF-8.
    Text(Utf8Bytes),
    /// Binary: its payload data is whatever the application makes of it.
    Binary(Bytes),
}

/// Whether a message is text or binary: the opcode of its first frame (RFC 6455 section 5.6).
///
/// ```
/// use fullduplex::{Message, MessageKind};
///
/// assert_eq!(Message::from("hello").kind(), MessageKind::Text);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum MessageKind {
    /// Text, in UTF-8.
    Text,
    /// Any bytes.
    Binary,
}

impl MessageKind {
    /// The opcode of the first frame of such a message.
    pub(super) fn opcode(self) -> Opcode {
        match self {
            Self::Text => Opcode::Text,
            Self::Binary => Opcode::Binary,
        }
    }

    /// The kind of message that begins with a data frame of this opcode.
    pub(super) fn of(opcode: Opcode) -> Self {
        if opcode == Opcode::Text { Self::Text } else { Self::Binary }
    }
}

impl Message {
    /// A text message, from anything that is a string already.
    pub fn text(text: impl Into<Utf8Bytes>) -> Self {
        Self::Text(text.into())
    }

    /// A binary message.
    pub fn binary(data: impl Into<Bytes>) -> Self {
        Self::Binary(data.into())
    }

    /// The text; `None` for a binary message.
    pub fn as_text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            Self::Binary(_) => None,
        }
    }

    /// The text, by value; `None` for a binary message.
    pub fn into_text(self) -> Option<Utf8Bytes> {
        match self {
            Self::Text(text) => Some(text),
            Self::Binary(_) => None,
        }
    }

    /// The payload data of either kind.
    pub fn as_bytes(&self) -> &[u8] {
        match self {
            Self::Text(text) => text.as_bytes(),
            Self::Binary(data) => data,
        }
    }

    /// The payload data of either kind, uncopied.
    pub fn into_bytes(self) -> Bytes {
        match self {
            Self::Text(text) => text.into(),
            Self::Binary(data) => data,
        }
    }

    /// Whether it is text or binary.
    pub fn kind(&self) -> MessageKind {
        match self {
            Self::Text(_) => MessageKind::Text,
            Self::Binary(_) => MessageKind::Binary,
        }
    }

    /// The length of the payload data, in bytes.
    pub fn len(&self) -> usize {
        self.as_bytes().len()
    }

    /// Whether the message carries no payload data.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether this is a text message.
    pub fn is_text(&self) -> bool {
        matches!(self, Self::Text(_))
    }

    /// Whether this is a binary message.
    pub fn is_binary(&self) -> bool {
        matches!(self, Self::Binary(_))
    }
}

impl fmt::Display for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(text) => text.fmt(f),
            Self::Binary(data) => write!(f, "<{} bytes>", data.len()),
        }
    }
}

impl fmt::Debug for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        debug_payload(f, &format_args!("{:?}", self.kind()), self.len())
    }
}

/// Formats what carries payload data: payload data is nobody's business but the application's, so only its length is shown.
pub(crate) fn debug_payload(f: &mut fmt::Formatter<'_>, name: &dyn fmt::Display, len: usize) -> fmt::Result {
    write!(f, "{name}({len} bytes)")
}

impl From<&str> for Message {
    fn from(text: &str) -> Self {
        Self::text(text)
    }
}

impl From<String> for Message {
    fn from(text: String) -> Self {
        Self::text(text)
    }
}

impl From<Utf8Bytes> for Message {
    fn from(text: Utf8Bytes) -> Self {
        Self::Text(text)
    }
}

impl From<Bytes> for Message {
    fn from(data: Bytes) -> Self {
        Self::Binary(data)
    }
}

impl From<&[u8]> for Message {
    fn from(data: &[u8]) -> Self {
        Self::Binary(Bytes::copy_from_slice(data))
    }
}

impl<const N: usize> From<[u8; N]> for Message {
    fn from(data: [u8; N]) -> Self {
        data[..].into()
    }
}

impl From<Vec<u8>> for Message {
    fn from(data: Vec<u8>) -> Self {
        Self::binary(data)
    }
}

/// A message on its way out, with the choices that are made for it alone.
///
/// Everything that a [`Message`] can be made from turns into one, and so does a [`PreparedMessage`]; so
/// [`send`](crate::WebSocket::send) and its siblings take `"text"`, a `String`, `Bytes`, a `Message`.
///
/// ```
/// use fullduplex::{Outgoing, PreparedMessage};
///
/// assert_eq!(Outgoing::from("hello").len(), 5);
/// assert_eq!(Outgoing::from(&PreparedMessage::new("hello")).len(), 5);
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct Outgoing {
    pub(super) content: Content,
    pub(super) compression: Compression,
}

/// What is sent.
#[derive(Clone, PartialEq, Eq)]
pub(super) enum Content {
    Message(Message),
    Prepared(PreparedMessage),
}

/// Whether a message is compressed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[cfg_attr(not(feature = "deflate"), allow(dead_code, reason = "there is no choice"))]
pub(super) enum Compression {
    /// As the settings say.
    #[default]
    Open,
    Wanted,
    Unwanted,
}

impl Outgoing {
    /// Says whether the message is to be compressed on a connection that agreed on that; where nothing is said, it is from
    /// [`threshold`](crate::Deflate::threshold) on.
    ///
    /// A message that would not be shorter goes out uncompressed in any case, unless the messages of the connection refer to
    /// one another ([`context_takeover`](crate::Deflate::context_takeover)).
    ///
    /// ```
    /// use fullduplex::Outgoing;
    ///
    /// let secret = Outgoing::from("token=0123456789").compress(false);
    /// # let _ = secret;
    /// ```
    #[cfg(feature = "deflate")]
    #[must_use]
    pub fn compress(mut self, wanted: bool) -> Self {
        self.compression = if wanted { Compression::Wanted } else { Compression::Unwanted };
        self
    }

    /// The length of the payload data, in bytes.
    #[inline]
    pub fn len(&self) -> usize {
        match &self.content {
            Content::Message(message) => message.len(),
            Content::Prepared(prepared) => prepared.len(),
        }
    }

    /// Whether the message carries no payload data.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// All of it; an empty message stays.
    pub(super) fn take(&mut self) -> Self {
        std::mem::replace(self, Message::Binary(Bytes::new()).into())
    }
}

impl fmt::Debug for Outgoing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        debug_payload(f, &"Outgoing", self.len())
    }
}

impl<T: Into<Message>> From<T> for Outgoing {
    #[inline]
    fn from(message: T) -> Self {
        Self { content: Content::Message(message.into()), compression: Compression::Open }
    }
}

impl From<PreparedMessage> for Outgoing {
    fn from(prepared: PreparedMessage) -> Self {
        Self { content: Content::Prepared(prepared), compression: Compression::Open }
    }
}

impl From<&PreparedMessage> for Outgoing {
    #[inline]
    fn from(prepared: &PreparedMessage) -> Self {
        prepared.clone().into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_takes_at_most_forty_bytes() {
        assert!(size_of::<Message>() <= 40);
        assert!(size_of::<Option<Message>>() <= 40);
    }
}
