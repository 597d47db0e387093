//! Messages.

use std::{borrow::Cow, fmt};

use bytes::{Bytes, BytesMut};

use super::text::Utf8Bytes;
use crate::proto::opcode::Opcode;

/// A whole message, assembled from its fragments.
///
/// RFC 6455 section 5.6. It takes at most 40 bytes, and holds at most about twice the memory of its
/// payload.
///
/// Display prints the text, or `<5 bytes>` for a binary message. Debug prints only the kind and the
/// length, so that payload data does not appear in logs.
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
    /// A text message: its payload data is valid UTF-8.
    Text(Utf8Bytes),
    /// A binary message.
    Binary(Bytes),
}

/// The kind of a message: the opcode of its first frame (RFC 6455 section 5.6).
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
    /// Arbitrary bytes.
    Binary,
}

impl MessageKind {
    /// Returns the opcode of the first frame of such a message.
    pub(in crate::proto) fn opcode(self) -> Opcode {
        match self {
            Self::Text => Opcode::Text,
            Self::Binary => Opcode::Binary,
        }
    }

    /// Returns the kind of the message that begins with a data frame of this opcode.
    pub(in crate::proto) fn of(opcode: Opcode) -> Self {
        if opcode == Opcode::Text { Self::Text } else { Self::Binary }
    }
}

impl Message {
    /// Creates a text message.
    pub fn text(text: impl Into<Utf8Bytes>) -> Self {
        Self::Text(text.into())
    }

    /// Creates a binary message.
    pub fn binary(data: impl Into<Bytes>) -> Self {
        Self::Binary(data.into())
    }

    /// Returns the text; `None` for a binary message.
    pub fn as_text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            Self::Binary(_) => None,
        }
    }

    /// Converts into the text; `None` for a binary message.
    pub fn into_text(self) -> Option<Utf8Bytes> {
        match self {
            Self::Text(text) => Some(text),
            Self::Binary(_) => None,
        }
    }

    /// Returns the payload data of either kind.
    pub fn as_bytes(&self) -> &[u8] {
        match self {
            Self::Text(text) => text.as_bytes(),
            Self::Binary(data) => data,
        }
    }

    /// Converts into the payload data of either kind, uncopied.
    pub fn into_bytes(self) -> Bytes {
        match self {
            Self::Text(text) => text.into(),
            Self::Binary(data) => data,
        }
    }

    /// Returns whether it is text or binary.
    pub fn kind(&self) -> MessageKind {
        match self {
            Self::Text(_) => MessageKind::Text,
            Self::Binary(_) => MessageKind::Binary,
        }
    }

    /// Returns the length of the payload data, in bytes.
    pub fn len(&self) -> usize {
        self.as_bytes().len()
    }

    /// Returns whether the payload data is empty.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Returns whether this is a text message.
    pub fn is_text(&self) -> bool {
        matches!(self, Self::Text(_))
    }

    /// Returns whether this is a binary message.
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

/// Formats a type that contains payload data. Redacted: prints only the length.
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

impl<const N: usize> From<&[u8; N]> for Message {
    fn from(data: &[u8; N]) -> Self {
        data[..].into()
    }
}

impl From<Vec<u8>> for Message {
    fn from(data: Vec<u8>) -> Self {
        Self::binary(data)
    }
}

impl From<BytesMut> for Message {
    fn from(data: BytesMut) -> Self {
        Self::binary(data)
    }
}

impl From<&String> for Message {
    fn from(text: &String) -> Self {
        text.as_str().into()
    }
}

impl From<Box<str>> for Message {
    fn from(text: Box<str>) -> Self {
        String::from(text).into()
    }
}

impl From<Box<[u8]>> for Message {
    fn from(data: Box<[u8]>) -> Self {
        Self::binary(data)
    }
}

impl From<Cow<'_, str>> for Message {
    fn from(text: Cow<'_, str>) -> Self {
        text.into_owned().into()
    }
}

impl From<Cow<'_, [u8]>> for Message {
    fn from(data: Cow<'_, [u8]>) -> Self {
        data.into_owned().into()
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

    #[test]
    fn text_is_displayed_as_it_is_and_binary_data_as_its_length() {
        assert_eq!(Message::from("text").to_string(), "text");
        assert_eq!(Message::from(&b"data"[..]).to_string(), "<4 bytes>");
    }
}
