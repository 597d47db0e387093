//! What hubs exchange, and its form in bytes.

use std::borrow::Cow;

use super::{position::MemberId, slow::Slow, whom::Whom};
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
    pub(super) whom: Whom,
}

/// A message that is not stored.
///
/// It is what one hub sends to others by [`Backplane::send`](super::Backplane::send).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Transient {
    pub(super) message: Message,
    pub(super) whom: Whom,
    pub(super) slow: Slow,
}

/// Bytes that are not a record of this version.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a record of a hub")]
pub struct InvalidRecord;

impl Publication {
    /// Creates a publication.
    pub fn new(message: impl Into<Message>) -> Self {
        Self { message: message.into(), id: None, whom: Whom::Everyone }
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

    /// Excludes a member from those that the message is sent to. It replaces another selection.
    ///
    /// A client that connects again is another member: it receives its own messages when it asks for
    /// what it has missed. It knows them by their [ids](Self::id), if they are in the messages.
    #[must_use]
    pub fn except(mut self, member: MemberId) -> Self {
        self.whom = Whom::Except(member);
        self
    }

    /// Sends the message to the members of these users alone, by the names with which they were
    /// [added](super::Hub::add_user). It replaces another selection.
    ///
    /// The message is in the history of the room, which [`Hub::read_after`](super::Hub::read_after)
    /// returns as a whole: the program selects from it by
    /// [`is_for_user`](Self::is_for_user). [`Member::join_since`](super::Member::join_since) does that.
    #[must_use]
    pub fn users<U: Into<String>>(mut self, users: impl IntoIterator<Item = U>) -> Self {
        self.whom = Whom::Users(users.into_iter().map(Into::into).collect());
        self
    }

    /// Excludes the members of a user. It replaces another selection.
    #[must_use]
    pub fn except_user(mut self, user: impl Into<String>) -> Self {
        self.whom = Whom::ExceptUser(user.into());
        self
    }

    /// Returns whether the message is for a user.
    pub fn is_for_user(&self, user: &str) -> bool {
        match &self.whom {
            Whom::Everyone | Whom::Except(_) => true,
            Whom::Users(users) => users.iter().any(|other| other == user),
            Whom::ExceptUser(other) => other != user,
        }
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
        let mut bytes = Encoder::begin(&self.message, &self.whom);
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
        let whom = bytes.whom()?;
        let id = bytes.text()?.map(str::to_owned);
        Ok(Self { message: bytes.message()?, id, whom })
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
        let mut bytes = Encoder::begin(&self.message, &self.whom);
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
        let whom = bytes.whom()?;
        let policy = bytes.take(1)?[0];
        let slow = match (policy, bytes.text()?) {
            (0, None) => Slow::DropNewest,
            (1, Some(kind)) => Slow::KeepLatest(Cow::Owned(kind.to_owned())),
            (2, None) => Slow::Close,
            (3, None) => Slow::Abort,
            _ => return Err(InvalidRecord),
        };
        Ok(Self { message: bytes.message()?, whom, slow })
    }
}

/// The first byte of a record, which changes with its form.
const VERSION: u8 = 1;

struct Encoder(Vec<u8>);

impl Encoder {
    fn begin(message: &Message, whom: &Whom) -> Self {
        let mut bytes = Self(Vec::with_capacity(32 + message.len()));
        bytes.0.extend([VERSION, u8::from(message.is_text())]);
        match whom {
            Whom::Everyone => bytes.0.push(0),
            Whom::Except(member) => {
                bytes.0.push(1);
                bytes.number(member.node);
                bytes.number(member.serial);
            }
            Whom::Users(users) => {
                bytes.0.push(2);
                bytes.number(users.len() as u64);
                users.iter().for_each(|user| bytes.text(Some(user)));
            }
            Whom::ExceptUser(user) => {
                bytes.0.push(3);
                bytes.text(Some(user));
            }
        }
        bytes
    }

    fn number(&mut self, number: u64) {
        self.0.extend(number.to_be_bytes());
    }

    fn text(&mut self, text: Option<&str>) {
        self.number(text.map_or(0, |text| text.len() as u64 + 1));
        self.0.extend(text.unwrap_or_default().as_bytes());
    }

    fn end(mut self, message: &Message) -> Vec<u8> {
        self.0.extend(message.as_bytes());
        self.0
    }
}

struct Decoder<'a> {
    is_text: bool,
    rest: &'a [u8],
}

impl<'a> Decoder<'a> {
    fn begin(bytes: &'a [u8]) -> Result<Self, InvalidRecord> {
        match bytes {
            [VERSION, is_text @ 0..=1, rest @ ..] => Ok(Self { is_text: *is_text == 1, rest }),
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

    fn whom(&mut self) -> Result<Whom, InvalidRecord> {
        Ok(match self.take(1)? {
            [0] => Whom::Everyone,
            [1] => Whom::Except(MemberId { node: self.number()?, serial: self.number()? }),
            [2] => {
                let count = self.number()?;
                // Not reserved before the names are there.
                Whom::Users((0..count).map(|_| self.name()).collect::<Result<_, _>>()?)
            }
            [3] => Whom::ExceptUser(self.name()?),
            _ => return Err(InvalidRecord),
        })
    }

    fn name(&mut self) -> Result<String, InvalidRecord> {
        Ok(self.text()?.ok_or(InvalidRecord)?.to_owned())
    }

    fn text(&mut self) -> Result<Option<&'a str>, InvalidRecord> {
        let Some(len) = self.number()?.checked_sub(1) else { return Ok(None) };
        let len = usize::try_from(len).map_err(|_| InvalidRecord)?;
        std::str::from_utf8(self.take(len)?).map(Some).map_err(|_| InvalidRecord)
    }

    fn message(self) -> Result<Message, InvalidRecord> {
        if !self.is_text {
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

    fn whom() -> impl Strategy<Value = Whom> {
        prop_oneof![
            Just(Whom::Everyone),
            any::<(u64, u64)>().prop_map(|(node, serial)| Whom::Except(MemberId { node, serial })),
            any::<Vec<String>>().prop_map(Whom::Users),
            any::<String>().prop_map(Whom::ExceptUser),
        ]
    }

    fn slow() -> impl Strategy<Value = Slow> {
        prop_oneof![
            Just(Slow::DropNewest),
            Just(Slow::Close),
            Just(Slow::Abort),
            ".{0,9}".prop_map(|kind| Slow::KeepLatest(kind.into())),
        ]
    }

    /// Bytes, half of which begin as a record does, and then have small numbers.
    fn bytes() -> impl Strategy<Value = Vec<u8>> {
        let byte = prop_oneof![6 => Just(0), 3 => 0..4_u8, 1 => any::<u8>()];
        let rest = proptest::collection::vec(byte, 0..60);
        prop_oneof![
            proptest::collection::vec(any::<u8>(), 0..60),
            (0..2_u8, 0..5_u8, rest)
                .prop_map(|(is_text, whom, rest)| [&[VERSION, is_text, whom], &rest[..]].concat()),
        ]
    }

    proptest! {
        #[test]
        fn records_are_decoded_as_they_were_encoded(
            message in message(),
            id in any::<Option<String>>(),
            whom in whom(),
            slow in slow(),
        ) {
            let publication = Publication { message: message.clone(), id, whom: whom.clone() };
            prop_assert_eq!(Publication::from_bytes(&publication.to_bytes()), Ok(publication));
            let transient = Transient { message, whom, slow };
            prop_assert_eq!(Transient::from_bytes(&transient.to_bytes()), Ok(transient));
        }

        #[test]
        fn row_99_any_bytes_are_decoded_or_refused(bytes in bytes()) {
            if let Ok(publication) = Publication::from_bytes(&bytes) {
                prop_assert_eq!(publication.to_bytes(), bytes.clone());
            }
            if let Ok(transient) = Transient::from_bytes(&bytes) {
                prop_assert_eq!(transient.to_bytes(), bytes);
            }
        }
    }
}
