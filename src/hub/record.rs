//! What hubs exchange, and its form in bytes.

use std::borrow::Cow;

use super::{position::MemberId, slow::Slow};
use crate::Message;

/// A message to be stored in the history of a room.
///
/// ```
/// use fullduplex::hub::Publication;
///
/// let publication = Publication::new("Good morning").id("ann:17");
/// assert_eq!(Publication::from_bytes(&publication.to_bytes()), Ok(publication));
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Publication {
    pub(super) message: Message,
    pub(super) id: Option<String>,
    pub(super) except: Option<MemberId>,
}

/// A message that is not stored.
///
/// It is what one hub sends to others by [`Backplane::send`](super::Backplane::send).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Transient {
    pub(super) message: Message,
    pub(super) except: Option<MemberId>,
    pub(super) slow: Slow,
}

/// Bytes that are not a record of this version.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a record of a hub")]
pub struct InvalidRecord;

impl Publication {
    /// Creates a publication.
    pub fn new(message: impl Into<Message>) -> Self {
        Self { message: message.into(), id: None, except: None }
    }

    /// Sets the id of the message. A message whose id is known in the room is not stored again.
    ///
    /// Ids should be unique beyond the client: with the user's name in front, no user can suppress
    /// messages of another.
    #[must_use]
    pub fn id(mut self, id: impl Into<String>) -> Self {
        self.id = Some(id.into());
        self
    }

    /// Excludes a member from those that the message is sent to.
    #[must_use]
    pub fn except(mut self, member: MemberId) -> Self {
        self.except = Some(member);
        self
    }

    /// Returns the message.
    pub fn message(&self) -> &Message {
        &self.message
    }

    /// Returns the id of the message.
    pub fn get_id(&self) -> Option<&str> {
        self.id.as_deref()
    }

    /// Encodes the publication, for a backplane.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = Encoder::begin(&self.message, self.except);
        bytes.text(self.id.as_deref());
        bytes.end(&self.message)
    }

    /// Decodes a publication.
    ///
    /// # Errors
    /// Returns [`InvalidRecord`] for bytes that [`to_bytes`](Self::to_bytes) of the same version of
    /// the crate does not return.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, InvalidRecord> {
        let mut bytes = Decoder::begin(bytes)?;
        let except = bytes.member()?;
        let id = bytes.text()?.map(str::to_owned);
        Ok(Self { message: bytes.message()?, id, except })
    }
}

impl<M: Into<Message>> From<M> for Publication {
    fn from(message: M) -> Self {
        Self::new(message)
    }
}

impl Transient {
    /// Encodes the message and to whom it is not sent.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = Encoder::begin(&self.message, self.except);
        let (policy, kind) = match &self.slow {
            Slow::DropNewest => (0, None),
            Slow::KeepLatest(kind) => (1, Some(&**kind)),
            Slow::Close => (2, None),
            Slow::Abort => (3, None),
        };
        bytes.0.push(policy);
        bytes.text(kind);
        bytes.end(&self.message)
    }

    /// Decodes what [`to_bytes`](Self::to_bytes) returns.
    ///
    /// # Errors
    /// Returns [`InvalidRecord`] for other bytes.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, InvalidRecord> {
        let mut bytes = Decoder::begin(bytes)?;
        let except = bytes.member()?;
        let policy = bytes.take(1)?[0];
        let slow = match (policy, bytes.text()?) {
            (0, None) => Slow::DropNewest,
            (1, Some(kind)) => Slow::KeepLatest(Cow::Owned(kind.to_owned())),
            (2, None) => Slow::Close,
            (3, None) => Slow::Abort,
            _ => return Err(InvalidRecord),
        };
        Ok(Self { message: bytes.message()?, except, slow })
    }
}

/// The first byte of a record, which changes with its form.
const VERSION: u8 = 1;

const IS_TEXT: u8 = 1;
const HAS_EXCEPT: u8 = 2;

struct Encoder(Vec<u8>);

impl Encoder {
    fn begin(message: &Message, except: Option<MemberId>) -> Self {
        let mut bytes = Vec::with_capacity(32 + message.len());
        let is_text = if message.is_text() { IS_TEXT } else { 0 };
        let has_except = if except.is_some() { HAS_EXCEPT } else { 0 };
        bytes.extend([VERSION, is_text | has_except]);
        if let Some(member) = except {
            bytes.extend(member.node.to_be_bytes());
            bytes.extend(member.serial.to_be_bytes());
        }
        Self(bytes)
    }

    fn text(&mut self, text: Option<&str>) {
        let len = text.map_or(0, |text| text.len() as u64 + 1);
        self.0.extend(len.to_be_bytes());
        self.0.extend(text.unwrap_or_default().as_bytes());
    }

    fn end(mut self, message: &Message) -> Vec<u8> {
        self.0.extend(message.as_bytes());
        self.0
    }
}

struct Decoder<'a> {
    flags: u8,
    rest: &'a [u8],
}

impl<'a> Decoder<'a> {
    fn begin(bytes: &'a [u8]) -> Result<Self, InvalidRecord> {
        match bytes {
            [VERSION, flags @ 0..=3, rest @ ..] => Ok(Self { flags: *flags, rest }),
            _ => Err(InvalidRecord),
        }
    }

    fn take(&mut self, len: usize) -> Result<&'a [u8], InvalidRecord> {
        let (taken, rest) = self.rest.split_at_checked(len).ok_or(InvalidRecord)?;
        self.rest = rest;
        Ok(taken)
    }

    fn number(&mut self) -> Result<u64, InvalidRecord> {
        let bytes = self.take(8)?.try_into().map_err(|_| InvalidRecord)?;
        Ok(u64::from_be_bytes(bytes))
    }

    fn member(&mut self) -> Result<Option<MemberId>, InvalidRecord> {
        if self.flags & HAS_EXCEPT == 0 {
            return Ok(None);
        }
        Ok(Some(MemberId { node: self.number()?, serial: self.number()? }))
    }

    fn text(&mut self) -> Result<Option<&'a str>, InvalidRecord> {
        let Some(len) = self.number()?.checked_sub(1) else { return Ok(None) };
        let len = usize::try_from(len).map_err(|_| InvalidRecord)?;
        std::str::from_utf8(self.take(len)?).map(Some).map_err(|_| InvalidRecord)
    }

    fn message(self) -> Result<Message, InvalidRecord> {
        if self.flags & IS_TEXT == 0 {
            return Ok(Message::binary(self.rest.to_vec()));
        }
        let text = std::str::from_utf8(self.rest).map_err(|_| InvalidRecord)?;
        Ok(Message::from(text))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn message() -> impl Strategy<Value = Message> {
        prop_oneof![
            ".{0,40}".prop_map(Message::from),
            proptest::collection::vec(any::<u8>(), 0..40).prop_map(Message::binary)
        ]
    }

    fn member() -> impl Strategy<Value = Option<MemberId>> {
        any::<Option<(u64, u64)>>().prop_map(|pair| pair.map(|(node, serial)| MemberId { node, serial }))
    }

    fn slow() -> impl Strategy<Value = Slow> {
        prop_oneof![
            Just(Slow::DropNewest),
            Just(Slow::Close),
            Just(Slow::Abort),
            ".{0,9}".prop_map(|kind| Slow::KeepLatest(kind.into())),
        ]
    }

    proptest! {
        #[test]
        fn records_are_decoded_as_they_were_encoded(
            message in message(),
            id in any::<Option<String>>(),
            except in member(),
            slow in slow(),
        ) {
            let publication = Publication { message: message.clone(), id, except };
            prop_assert_eq!(Publication::from_bytes(&publication.to_bytes()), Ok(publication));
            let transient = Transient { message, except, slow };
            prop_assert_eq!(Transient::from_bytes(&transient.to_bytes()), Ok(transient));
        }

        #[test]
        fn any_bytes_are_decoded_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..60)) {
            if let Ok(publication) = Publication::from_bytes(&bytes) {
                prop_assert_eq!(publication.to_bytes(), bytes.clone());
            }
            if let Ok(transient) = Transient::from_bytes(&bytes) {
                prop_assert_eq!(transient.to_bytes(), bytes);
            }
        }
    }
}
