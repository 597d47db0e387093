//! Messages: what a program receives, and what it sends.

use std::{borrow::Cow, fmt, mem};

use bytes::{Bytes, BytesMut};

use super::{mask::Utf8Bytes, opcode::Opcode, prepared::PreparedMessage, queue::COPIED};

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

/// A message on its way out, with the choices that are made for it alone.
///
/// [`send`](crate::WebSocket::send) and its siblings take whatever turns into one: text as `&str`, `&String`, `String`,
/// `Box<str>`, `Cow<str>` and [`Utf8Bytes`]; binary data as `&[u8]`, `&[u8; N]`, `&Vec<u8>`, `Vec<u8>`, `Box<[u8]>`,
/// `Cow<[u8]>`, [`Bytes`] and [`BytesMut`]; a [`Message`] or a [`PreparedMessage`], or a reference to one.
///
/// # Copies
/// A message of at most 4 KiB is copied into the write buffer when it is queued, wherever it comes from, which allocates
/// nothing. A longer one that is owned, or a reference to something that is cheap to clone, is sent from where it is; one
/// that is borrowed is copied once. A queue never borrows: it is the future of a sending call that does, until it is done.
///
/// ```
/// use fullduplex::{Outgoing, PreparedMessage};
///
/// let text = String::from("hello");
/// assert_eq!(Outgoing::from(&text).len(), 5);
/// assert_eq!(Outgoing::from(b"hello"), Outgoing::from(text.into_bytes()));
/// assert_eq!(Outgoing::from(&PreparedMessage::new("hello")).len(), 5);
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct Outgoing<'a> {
    pub(super) kind: MessageKind,
    pub(super) compression: Compression,
    pub(super) content: Content<'a>,
}

/// What is sent: UTF-8, if it is text.
#[derive(Clone)]
pub(super) enum Content<'a> {
    Bytes(Bytes),
    Prepared(PreparedMessage),
    Borrowed(&'a [u8]),
    // These become `Bytes` only where they are not copied, for that may allocate.
    Vec(Vec<u8>),
    Mut(BytesMut),
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

impl Content<'_> {
    /// The payload data; `None` where it is encoded already.
    pub(super) fn plain(&self) -> Option<&[u8]> {
        match self {
            Self::Bytes(data) => Some(data),
            Self::Prepared(_) => None,
            Self::Borrowed(data) => Some(data),
            Self::Vec(data) => Some(data),
            Self::Mut(data) => Some(data),
        }
    }

    /// The same without borrowing.
    fn into_owned(self) -> Content<'static> {
        match self {
            Self::Bytes(data) => Content::Bytes(data),
            Self::Prepared(prepared) => Content::Prepared(prepared),
            Self::Borrowed(data) => Content::Vec(data.to_vec()),
            Self::Vec(data) => Content::Vec(data),
            Self::Mut(data) => Content::Mut(data),
        }
    }
}

impl PartialEq for Content<'_> {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Prepared(ours), Self::Prepared(theirs)) => ours == theirs,
            _ => self.plain().is_some_and(|ours| other.plain() == Some(ours)),
        }
    }
}

impl Eq for Content<'_> {}

impl<'a> Outgoing<'a> {
    #[inline]
    fn of(kind: MessageKind, content: Content<'a>) -> Self {
        Self { kind, compression: Compression::Open, content }
    }

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

    /// Converts it into one that borrows nothing, to be kept. What is borrowed is copied.
    ///
    /// ```
    /// use fullduplex::Outgoing;
    ///
    /// fn keep(line: &str, kept: &mut Vec<Outgoing<'static>>) {
    ///     kept.push(Outgoing::from(line).into_owned());
    /// }
    /// # keep("line", &mut Vec::new());
    /// ```
    pub fn into_owned(self) -> Outgoing<'static> {
        Outgoing { kind: self.kind, compression: self.compression, content: self.content.into_owned() }
    }

    /// The length of the payload data, in bytes.
    #[inline]
    pub fn len(&self) -> usize {
        match &self.content {
            Content::Bytes(data) => data.len(),
            Content::Prepared(prepared) => prepared.len(),
            Content::Borrowed(data) => data.len(),
            Content::Vec(data) => data.len(),
            Content::Mut(data) => data.len(),
        }
    }

    /// Whether the message carries no payload data.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Drops what is left of one that is queued.
    // As it would be dropped anyway; but most are messages, and they are not told apart by a jump through a table.
    #[inline(always)]
    pub(crate) fn end(slot: &mut Option<Self>) {
        match slot {
            Some(Self { content: Content::Bytes(data), .. }) => {
                drop(mem::take(data));
                mem::forget(slot.take());
            }
            Some(Self { content: Content::Borrowed(_), .. }) | None => mem::forget(slot.take()),
            other => drop_other(other),
        }
    }

    /// All of it; an empty message stays.
    pub(super) fn take(&mut self) -> Self {
        mem::replace(self, Self::of(MessageKind::Binary, Content::Borrowed(&[])))
    }
}

#[inline(never)]
fn drop_other(other: &mut Option<Outgoing<'_>>) {
    *other = None;
}

impl fmt::Debug for Outgoing<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        debug_payload(f, &"Outgoing", self.len())
    }
}

impl<'a> From<&'a str> for Outgoing<'a> {
    #[inline]
    fn from(text: &'a str) -> Self {
        Self::of(MessageKind::Text, Content::Borrowed(text.as_bytes()))
    }
}

impl<'a> From<&'a [u8]> for Outgoing<'a> {
    #[inline]
    fn from(data: &'a [u8]) -> Self {
        Self::of(MessageKind::Binary, Content::Borrowed(data))
    }
}

impl From<String> for Outgoing<'_> {
    #[inline]
    fn from(text: String) -> Self {
        Self::of(MessageKind::Text, Content::Vec(text.into_bytes()))
    }
}

impl From<Vec<u8>> for Outgoing<'_> {
    #[inline]
    fn from(data: Vec<u8>) -> Self {
        Self::of(MessageKind::Binary, Content::Vec(data))
    }
}

impl From<BytesMut> for Outgoing<'_> {
    #[inline]
    fn from(data: BytesMut) -> Self {
        Self::of(MessageKind::Binary, Content::Mut(data))
    }
}

impl From<Message> for Outgoing<'_> {
    #[inline]
    fn from(message: Message) -> Self {
        Self::of(message.kind(), Content::Bytes(message.into_bytes()))
    }
}

impl From<PreparedMessage> for Outgoing<'_> {
    #[inline]
    fn from(prepared: PreparedMessage) -> Self {
        Self::of(prepared.kind(), Content::Prepared(prepared))
    }
}

/// What is a [`Message`] first.
macro_rules! outgoing_by_message {
    ($($from:ty,)*) => {$(
        impl From<$from> for Outgoing<'_> {
            #[inline]
            fn from(message: $from) -> Self {
                Message::from(message).into()
            }
        }
    )*};
}

outgoing_by_message! {
    Box<str>,
    Box<[u8]>,
    Utf8Bytes,
}

impl From<Bytes> for Outgoing<'_> {
    #[inline]
    fn from(data: Bytes) -> Self {
        Self::of(MessageKind::Binary, Content::Bytes(data))
    }
}

impl<const N: usize> From<[u8; N]> for Outgoing<'_> {
    fn from(data: [u8; N]) -> Self {
        Message::from(data).into()
    }
}

impl<'a, const N: usize> From<&'a [u8; N]> for Outgoing<'a> {
    #[inline]
    fn from(data: &'a [u8; N]) -> Self {
        data.as_slice().into()
    }
}

impl<'a> From<&'a String> for Outgoing<'a> {
    #[inline]
    fn from(text: &'a String) -> Self {
        text.as_str().into()
    }
}

impl<'a> From<&'a Vec<u8>> for Outgoing<'a> {
    #[inline]
    fn from(data: &'a Vec<u8>) -> Self {
        data.as_slice().into()
    }
}

impl<'a> From<Cow<'a, str>> for Outgoing<'a> {
    fn from(text: Cow<'a, str>) -> Self {
        match text {
            Cow::Borrowed(text) => text.into(),
            Cow::Owned(text) => text.into(),
        }
    }
}

impl<'a> From<Cow<'a, [u8]>> for Outgoing<'a> {
    fn from(data: Cow<'a, [u8]>) -> Self {
        match data {
            Cow::Borrowed(data) => data.into(),
            Cow::Owned(data) => data.into(),
        }
    }
}

/// Borrowed where it will be copied, else cloned, which copies no payload data.
impl<'a> From<&'a Message> for Outgoing<'a> {
    #[inline]
    fn from(message: &'a Message) -> Self {
        match message {
            Message::Text(text) => text.into(),
            Message::Binary(data) => data.into(),
        }
    }
}

/// As of a `&Message`.
impl<'a> From<&'a Utf8Bytes> for Outgoing<'a> {
    #[inline]
    fn from(text: &'a Utf8Bytes) -> Self {
        if text.len() <= COPIED { text.as_str().into() } else { text.clone().into() }
    }
}

/// As of a `&Message`.
impl<'a> From<&'a Bytes> for Outgoing<'a> {
    #[inline]
    fn from(data: &'a Bytes) -> Self {
        if data.len() <= COPIED { data[..].into() } else { data.clone().into() }
    }
}

impl From<&PreparedMessage> for Outgoing<'_> {
    #[inline]
    fn from(prepared: &PreparedMessage) -> Self {
        prepared.clone().into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_outgoing_message_takes_at_most_fifty_six_bytes() {
        assert!(size_of::<Outgoing<'_>>() <= 56);
        assert!(size_of::<Option<Outgoing<'_>>>() <= 56);
    }

    #[test]
    fn a_message_takes_at_most_forty_bytes() {
        assert!(size_of::<Message>() <= 40);
        assert!(size_of::<Option<Message>>() <= 40);
    }
}
