//! Messages to send.

use std::{borrow::Cow, fmt, mem};

use bytes::{Bytes, BytesMut};

use super::{
    payload::{Message, MessageKind, Utf8Bytes, debug_payload},
    prepared::PreparedMessage,
    sequence::Sequence,
};

/// The longest payload data that is copied behind its header. Longer data is sent from where it is.
pub(super) const COPIED: usize = 4 << 10;

/// Returns whether payload data of this length is copied behind its header.
#[inline(always)]
pub(super) const fn is_copied(len: usize) -> bool {
    len <= COPIED
}

/// A message to send, with its own options.
///
/// [`send`](crate::WebSocket::send) and similar calls accept everything that converts into it: text
/// as `&str`, `&String`, `String`, `Box<str>`, `Cow<str>` and [`Utf8Bytes`]; binary data as
/// `&[u8]`, `&[u8; N]`, `&Vec<u8>`, `Vec<u8>`, `Box<[u8]>`, `Cow<[u8]>`, [`Bytes`] and
/// [`BytesMut`]; a [`Message`] or a [`PreparedMessage`], or a reference to one; and a [`Sequence`], which
/// is several messages.
///
/// # Copies
/// A message of at most 4 KiB is copied into the write buffer when it is queued, without an
/// allocation. A longer message is not copied if it is owned, or a reference to a type that is
/// cheap to clone; a borrowed one is copied once. Only the future of a sending call borrows the
/// message; queues do not.
///
/// A server that sends a borrowed message of more than 4 KiB while nothing is queued writes it from
/// where it is, and copies it only if the stream does not accept all of it at once.
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
    pub(super) payload: OutgoingPayload<'a>,
}

/// The payload data of a message to send. It is UTF-8 if the message is text.
#[derive(Clone)]
pub(super) enum OutgoingPayload<'a> {
    Bytes(Bytes),
    Prepared(PreparedMessage),
    Borrowed(&'a [u8]),
    // Converted to `Bytes` only if they are not copied, because that may allocate.
    Vec(Vec<u8>),
    Mut(BytesMut),
}

/// Whether a message is compressed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[cfg_attr(not(feature = "deflate"), allow(dead_code, reason = "nothing is compressed"))]
pub(super) enum Compression {
    /// If it is long enough for the threshold of the settings.
    #[default]
    Open,
    Wanted,
    Unwanted,
}

impl OutgoingPayload<'_> {
    /// Returns the payload data; `None` if it is encoded already.
    pub(super) fn plain(&self) -> Option<&[u8]> {
        match self {
            Self::Bytes(data) => Some(data),
            Self::Prepared(_) => None,
            Self::Borrowed(data) => Some(data),
            Self::Vec(data) => Some(data),
            Self::Mut(data) => Some(data),
        }
    }

    /// Converts it into one that borrows nothing.
    fn into_owned(self) -> OutgoingPayload<'static> {
        match self {
            Self::Bytes(data) => OutgoingPayload::Bytes(data),
            Self::Prepared(prepared) => OutgoingPayload::Prepared(prepared),
            Self::Borrowed(data) => OutgoingPayload::Vec(data.to_vec()),
            Self::Vec(data) => OutgoingPayload::Vec(data),
            Self::Mut(data) => OutgoingPayload::Mut(data),
        }
    }
}

impl PartialEq for OutgoingPayload<'_> {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Prepared(ours), Self::Prepared(theirs)) => ours == theirs,
            _ => self.plain().is_some_and(|ours| other.plain() == Some(ours)),
        }
    }
}

impl Eq for OutgoingPayload<'_> {}

impl<'a> Outgoing<'a> {
    #[inline]
    fn of(kind: MessageKind, payload: OutgoingPayload<'a>) -> Self {
        Self { kind, compression: Compression::Open, payload }
    }

    /// Sets whether the message is compressed on a connection that negotiated compression. By
    /// default it is, if it reaches the [`threshold`](crate::Deflate::threshold).
    ///
    /// A message that compression does not make shorter is sent uncompressed, unless the connection
    /// uses [`context_takeover`](crate::Deflate::context_takeover).
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

    /// Converts the message into one that borrows nothing. Borrowed data is copied.
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
        Outgoing { kind: self.kind, compression: self.compression, payload: self.payload.into_owned() }
    }

    /// Returns the length of the payload data, in bytes. Of a sequence, it is the length of all messages
    /// with the headers between them.
    #[inline]
    pub fn len(&self) -> usize {
        match &self.payload {
            OutgoingPayload::Bytes(data) => data.len(),
            OutgoingPayload::Prepared(prepared) => prepared.len(),
            OutgoingPayload::Borrowed(data) => data.len(),
            OutgoingPayload::Vec(data) => data.len(),
            OutgoingPayload::Mut(data) => data.len(),
        }
    }

    /// Returns whether the payload data is empty.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Returns whether it is more than one message.
    #[inline]
    pub(crate) fn is_sequence(&self) -> bool {
        matches!(&self.payload, OutgoingPayload::Prepared(prepared) if prepared.is_sequence())
    }

    /// Returns the messages of a sequence, with the same options; `None` for one message.
    pub(crate) fn sequence(&self) -> Option<impl Iterator<Item = Outgoing<'static>> + use<>> {
        let OutgoingPayload::Prepared(prepared) = &self.payload else { return None };
        let compression = self.compression;
        let messages = prepared.is_sequence().then(|| prepared.messages())?;
        Some(messages.into_iter().map(move |message| Outgoing { compression, ..message.into() }))
    }

    /// Drops what is left of a queued message.
    // The same as an ordinary drop, but the common kinds need no jump table.
    #[inline(always)]
    pub(crate) fn end(slot: &mut Option<Self>) {
        match slot {
            Some(Self { payload: OutgoingPayload::Bytes(data), .. }) => {
                drop(mem::take(data));
                mem::forget(slot.take());
            }
            Some(Self { payload: OutgoingPayload::Borrowed(_), .. }) | None => mem::forget(slot.take()),
            other => drop_other(other),
        }
    }

    /// Takes the message, and leaves an empty one.
    pub(super) fn take(&mut self) -> Self {
        mem::replace(self, Self::of(MessageKind::Binary, OutgoingPayload::Borrowed(&[])))
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
        Self::of(MessageKind::Text, OutgoingPayload::Borrowed(text.as_bytes()))
    }
}

impl<'a> From<&'a [u8]> for Outgoing<'a> {
    #[inline]
    fn from(data: &'a [u8]) -> Self {
        Self::of(MessageKind::Binary, OutgoingPayload::Borrowed(data))
    }
}

impl From<String> for Outgoing<'_> {
    #[inline]
    fn from(text: String) -> Self {
        Self::of(MessageKind::Text, OutgoingPayload::Vec(text.into_bytes()))
    }
}

impl From<Vec<u8>> for Outgoing<'_> {
    #[inline]
    fn from(data: Vec<u8>) -> Self {
        Self::of(MessageKind::Binary, OutgoingPayload::Vec(data))
    }
}

impl From<BytesMut> for Outgoing<'_> {
    #[inline]
    fn from(data: BytesMut) -> Self {
        Self::of(MessageKind::Binary, OutgoingPayload::Mut(data))
    }
}

impl From<Message> for Outgoing<'_> {
    #[inline]
    fn from(message: Message) -> Self {
        Self::of(message.kind(), OutgoingPayload::Bytes(message.into_bytes()))
    }
}

impl From<Sequence> for Outgoing<'_> {
    fn from(sequence: Sequence) -> Self {
        if sequence.rest().is_empty() {
            sequence.into_first().into()
        } else {
            PreparedMessage::new(sequence).into()
        }
    }
}

impl From<PreparedMessage> for Outgoing<'_> {
    #[inline]
    fn from(prepared: PreparedMessage) -> Self {
        Self::of(prepared.kind(), OutgoingPayload::Prepared(prepared))
    }
}

/// Converts by way of [`Message`].
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
        Self::of(MessageKind::Binary, OutgoingPayload::Bytes(data))
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

/// Borrows a short message, which will be copied; clones a long one, which copies no payload data.
impl<'a> From<&'a Message> for Outgoing<'a> {
    #[inline]
    fn from(message: &'a Message) -> Self {
        match message {
            Message::Text(text) => text.into(),
            Message::Binary(data) => data.into(),
        }
    }
}

/// Converts like a `&Message`.
impl<'a> From<&'a Utf8Bytes> for Outgoing<'a> {
    #[inline]
    fn from(text: &'a Utf8Bytes) -> Self {
        if is_copied(text.len()) { text.as_str().into() } else { text.clone().into() }
    }
}

/// Converts like a `&Message`.
impl<'a> From<&'a Bytes> for Outgoing<'a> {
    #[inline]
    fn from(data: &'a Bytes) -> Self {
        if is_copied(data.len()) { data[..].into() } else { data.clone().into() }
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
    fn nothing_is_left_of_a_message_that_has_ended() {
        for message in
            [Message::from("a").into(), "a".into(), vec![7].into(), PreparedMessage::new("a").into()]
        {
            let mut slot: Option<Outgoing<'_>> = Some(message);
            Outgoing::end(&mut slot);
            assert_eq!(slot, None);
        }
    }

    #[test]
    fn a_sequence_is_its_messages_with_the_same_options() {
        let parts = [Message::from("a"), Message::binary("b")].map(PreparedMessage::new);
        let sequence = Sequence::new("a", [Message::binary("b")]);
        let outgoing = Outgoing::from(PreparedMessage::new(sequence));
        let messages: Vec<_> = outgoing.sequence().expect("two messages").collect();
        assert_eq!(messages, parts.each_ref().map(Outgoing::from));
        assert!(parts.iter().all(|part| Outgoing::from(part).sequence().is_none()));
    }
}
