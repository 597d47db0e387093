//! What hubs exchange, and its form in bytes.

use std::borrow::Cow;

use super::{
    position::MemberId,
    slow::Slow,
    whom::{Among, Selection, Whom},
};
use crate::{Message, Sequence};

/// A message to be stored in the history of a room, or several as one: a [`Sequence`].
///
/// ```
/// use fullduplex::hub::Publication;
///
/// let publication = Publication::new("Good morning").id("ann:17");
/// assert_eq!(Publication::from_bytes(&publication.to_bytes()), Ok(publication));
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Publication {
    pub(super) message: Sequence,
    pub(super) id: Option<String>,
    pub(super) whom: Whom,
}

/// A message that is not stored.
///
/// It is what one hub sends to others by [`Backplane::send`](super::Backplane::send).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Transient {
    pub(super) message: Sequence,
    pub(super) whom: Whom,
    pub(super) slow: Slow,
}

/// Bytes that are not a record of this version.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a record of a hub")]
pub struct InvalidRecord;

impl Publication {
    /// Creates a publication.
    pub fn new(message: impl Into<Sequence>) -> Self {
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

    /// Excludes a member from those that the message is sent to.
    ///
    /// A client that connects again is another member: it receives its own messages when it asks for
    /// what it has missed. It knows them by their [ids](Self::id), if they are in the messages.
    #[must_use]
    pub fn except(mut self, member: MemberId) -> Self {
        self.whom.except(member);
        self
    }

    /// Sends the message to the members of these users alone, by the names with which they were
    /// [added](super::Hub::add_user). A further call adds users.
    ///
    /// The message is in the history of the room, which [`Hub::read_after`](super::Hub::read_after)
    /// returns as a whole: the program selects from it by
    /// [`is_for_user`](Self::is_for_user). [`Member::join_since`](super::Member::join_since) does that.
    #[must_use]
    pub fn users<U: Into<String>>(mut self, users: impl IntoIterator<Item = U>) -> Self {
        self.whom.users(users.into_iter().map(Into::into).collect());
        self
    }

    /// Excludes the members of a user.
    #[must_use]
    pub fn except_user(mut self, user: impl Into<String>) -> Self {
        self.whom.except_user(user.into());
        self
    }

    /// Sends the message to those members of the room alone who are in one of these other rooms as well
    /// when it is sent to them, by the [names](super::Builder::room_named) of the rooms. A further call
    /// adds rooms.
    ///
    /// The history of one room can so hold the messages of many, in one order. A client that has been
    /// away names one position: it joins its other rooms, and then this one by
    /// [`Member::join_since`](super::Member::join_since), which sends what was for them.
    ///
    /// ```
    /// use fullduplex::hub::{Hub, HubError, Member, Position, Publication, Since};
    ///
    /// async fn publish(hub: &Hub) -> Result<(), HubError> {
    ///     hub.publish("school", Publication::new("No lessons today").rooms(["class 1b"])).await?;
    ///     Ok(())
    /// }
    ///
    /// async fn come_back(pupil: &Member<String>, seen: Position) -> Result<(), HubError> {
    ///     pupil.join("class 1b").await?;
    ///     pupil.join_since("school", Since::Position(seen)).await?;
    ///     Ok(())
    /// }
    /// ```
    #[must_use]
    pub fn rooms<N: Into<String>>(mut self, names: impl IntoIterator<Item = N>) -> Self {
        self.whom.rooms(names.into_iter().map(Into::into).collect());
        self
    }

    /// Sends the message to these members alone, and those of [`rooms`](Self::rooms). A further call
    /// adds members.
    #[must_use]
    pub fn members(mut self, members: impl IntoIterator<Item = MemberId>) -> Self {
        self.whom.members(members.into_iter().collect());
        self
    }

    /// Excludes the members who are in one of these rooms when the message is sent to them, by the
    /// [names](super::Builder::room_named) of the rooms.
    #[must_use]
    pub fn except_rooms<N: Into<String>>(mut self, names: impl IntoIterator<Item = N>) -> Self {
        self.whom.except_rooms(names.into_iter().map(Into::into).collect());
        self
    }

    /// Returns whether the message is for a user, as far as that depends on users.
    pub fn is_for_user(&self, user: &str) -> bool {
        self.whom.is_for_user(user)
    }

    /// Returns the message; of a sequence, the first one.
    pub fn message(&self) -> &Message {
        self.message.first()
    }

    /// Returns the message and those that follow it.
    pub fn sequence(&self) -> &Sequence {
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

impl<M: Into<Sequence>> From<M> for Publication {
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

/// The second byte of the record of a sequence. That of one message is 1 for text, and 0 for binary data.
const SEQUENCE: u8 = 2;

struct Encoder(Vec<u8>);

impl Encoder {
    fn begin(message: &Sequence, whom: &Whom) -> Self {
        let lens = message.iter().map(|message| 9 + message.len());
        let mut bytes = Self(Vec::with_capacity(32 + lens.sum::<usize>()));
        let kind = if message.rest().is_empty() { u8::from(message.first().is_text()) } else { SEQUENCE };
        bytes.0.extend([VERSION, kind]);
        match whom {
            Whom::Everyone => bytes.0.push(0),
            Whom::Except(member) => {
                bytes.0.push(1);
                bytes.member(*member);
            }
            Whom::Users(users) => {
                bytes.0.push(2);
                bytes.names(users);
            }
            Whom::ExceptUser(user) => {
                bytes.0.push(3);
                bytes.text(Some(user));
            }
            Whom::Selected(selection) => {
                bytes.0.push(4);
                bytes.selection(selection);
            }
        }
        bytes
    }

    fn selection(&mut self, selection: &Selection) {
        let Selection { among, users, except, except_rooms, except_users } = selection;
        self.0.extend([u8::from(among.is_some()), u8::from(users.is_some())]);
        if let Some(Among { rooms, members }) = among {
            self.names(rooms);
            self.members(members);
        }
        if let Some(users) = users {
            self.names(users);
        }
        self.members(except);
        self.names(except_rooms);
        self.names(except_users);
    }

    fn names(&mut self, names: &[String]) {
        self.number(names.len() as u64);
        names.iter().for_each(|name| self.text(Some(name)));
    }

    fn members(&mut self, members: &[MemberId]) {
        self.number(members.len() as u64);
        members.iter().for_each(|member| self.member(*member));
    }

    fn member(&mut self, member: MemberId) {
        self.number(member.node);
        self.number(member.serial);
    }

    fn number(&mut self, number: u64) {
        self.0.extend(number.to_be_bytes());
    }

    fn text(&mut self, text: Option<&str>) {
        self.number(text.map_or(0, |text| text.len() as u64 + 1));
        self.0.extend(text.unwrap_or_default().as_bytes());
    }

    fn end(mut self, message: &Sequence) -> Vec<u8> {
        if message.rest().is_empty() {
            self.0.extend(message.first().as_bytes());
            return self.0;
        }
        for message in message.iter() {
            self.0.push(message.is_text().into());
            self.number(message.len() as u64);
            self.0.extend(message.as_bytes());
        }
        self.0
    }
}

struct Decoder<'a> {
    kind: u8,
    rest: &'a [u8],
}

impl<'a> Decoder<'a> {
    fn begin(bytes: &'a [u8]) -> Result<Self, InvalidRecord> {
        match bytes {
            [VERSION, kind @ 0..=SEQUENCE, rest @ ..] => Ok(Self { kind: *kind, rest }),
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
            [1] => Whom::Except(self.member()?),
            [2] => Whom::Users(self.names()?),
            [3] => Whom::ExceptUser(self.name()?),
            [4] => match self.selection()?.into_whom() {
                selected @ Whom::Selected(_) => selected,
                // It has a shorter form.
                _ => return Err(InvalidRecord),
            },
            _ => return Err(InvalidRecord),
        })
    }

    fn selection(&mut self) -> Result<Selection, InvalidRecord> {
        let [has_among @ 0..=1, has_users @ 0..=1] = *self.take(2)? else { return Err(InvalidRecord) };
        let mut selection = Selection::default();
        if has_among == 1 {
            selection.among = Some(Among { rooms: self.names()?, members: self.members()? });
        }
        if has_users == 1 {
            selection.users = Some(self.names()?);
        }
        selection.except = self.members()?;
        selection.except_rooms = self.names()?;
        selection.except_users = self.names()?;
        Ok(selection)
    }

    fn names(&mut self) -> Result<Vec<String>, InvalidRecord> {
        let count = self.number()?;
        // Not reserved before the names are there.
        (0..count).map(|_| self.name()).collect()
    }

    fn members(&mut self) -> Result<Vec<MemberId>, InvalidRecord> {
        let count = self.number()?;
        (0..count).map(|_| self.member()).collect()
    }

    fn member(&mut self) -> Result<MemberId, InvalidRecord> {
        Ok(MemberId { node: self.number()?, serial: self.number()? })
    }

    fn name(&mut self) -> Result<String, InvalidRecord> {
        Ok(self.text()?.ok_or(InvalidRecord)?.to_owned())
    }

    fn text(&mut self) -> Result<Option<&'a str>, InvalidRecord> {
        let Some(len) = self.number()?.checked_sub(1) else { return Ok(None) };
        let len = usize::try_from(len).map_err(|_| InvalidRecord)?;
        std::str::from_utf8(self.take(len)?).map(Some).map_err(|_| InvalidRecord)
    }

    fn message(mut self) -> Result<Sequence, InvalidRecord> {
        if self.kind != SEQUENCE {
            return Ok(message(self.kind == 1, self.rest)?.into());
        }
        let first = self.one_of_sequence()?;
        let mut rest = Vec::new();
        while !self.rest.is_empty() {
            rest.push(self.one_of_sequence()?);
        }
        if rest.is_empty() {
            return Err(InvalidRecord);
        }
        Ok(Sequence::new(first, rest))
    }

    fn one_of_sequence(&mut self) -> Result<Message, InvalidRecord> {
        let is_text = match self.take(1)? {
            [is_text @ 0..=1] => *is_text == 1,
            _ => return Err(InvalidRecord),
        };
        let len = usize::try_from(self.number()?).map_err(|_| InvalidRecord)?;
        message(is_text, self.take(len)?)
    }
}

fn message(is_text: bool, data: &[u8]) -> Result<Message, InvalidRecord> {
    if !is_text {
        return Ok(Message::binary(data.to_vec()));
    }
    let text = std::str::from_utf8(data).map_err(|_| InvalidRecord)?;
    Ok(Message::from(text))
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

    fn sequence() -> impl Strategy<Value = Sequence> {
        (message(), proptest::collection::vec(message(), 0..3))
            .prop_map(|(first, rest)| Sequence::new(first, rest))
    }

    fn members() -> impl Strategy<Value = Vec<MemberId>> {
        let member = any::<(u64, u64)>().prop_map(|(node, serial)| MemberId { node, serial });
        proptest::collection::vec(member, 0..3)
    }

    fn names() -> impl Strategy<Value = Vec<String>> {
        proptest::collection::vec(any::<String>(), 0..3)
    }

    fn whom() -> impl Strategy<Value = Whom> {
        let among = (names(), members()).prop_map(|(rooms, members)| Among { rooms, members });
        let among = proptest::option::of(among);
        let users = proptest::option::of(names());
        let parts = (among, users, members(), names(), names());
        let selection = parts.prop_map(|(among, users, except, except_rooms, except_users)| {
            Selection { among, users, except, except_rooms, except_users }.into_whom()
        });
        prop_oneof![
            Just(Whom::Everyone),
            any::<(u64, u64)>().prop_map(|(node, serial)| Whom::Except(MemberId { node, serial })),
            any::<Vec<String>>().prop_map(Whom::Users),
            any::<String>().prop_map(Whom::ExceptUser),
            selection,
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
            (0..4_u8, 0..6_u8, rest)
                .prop_map(|(kind, whom, rest)| [&[VERSION, kind, whom], &rest[..]].concat()),
        ]
    }

    proptest! {
        #[test]
        fn records_are_decoded_as_they_were_encoded(
            message in sequence(),
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

        /// A record of a sequence, or of a selection, that is cut off or changed.
        #[test]
        fn row_99_damaged_records_are_decoded_or_refused(
            message in sequence(),
            whom in whom(),
            at in any::<prop::sample::Index>(),
            byte in prop_oneof![0..5_u8, any::<u8>()],
            is_cut in any::<bool>(),
        ) {
            let mut bytes = Publication { message, id: None, whom }.to_bytes();
            let at = at.index(bytes.len());
            if is_cut {
                bytes.truncate(at);
            } else {
                bytes[at] = byte;
            }
            if let Ok(publication) = Publication::from_bytes(&bytes) {
                prop_assert_eq!(publication.to_bytes(), bytes);
            }
        }
    }
}
