//! The messages that a session receives, without I/O.

use std::ops::Deref;

use bytes::Bytes;
use fullduplex::Utf8Bytes;

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
    /// Takes the text of a packet that is a message.
    pub(crate) fn of_packet(packet: Utf8Bytes) -> Self {
        Self(packet)
    }

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
