//! The handle of a hub.

use std::{fmt, sync::Arc};

use super::{
    backplane::{BackplaneError, Page, Present, Published, RoomKey, Target},
    builder::Builder,
    counters::Delivered,
    delivery::{self, Audience},
    error::HubError,
    held::Held,
    inner::Inner,
    key::{Key, RoomRef},
    member::Member,
    position::{MemberId, Position},
    record::{Publication, Transient},
    slow::Slow,
    to::{Selected, To},
    whom::Whom,
};
use crate::{Message, Sender};

/// Rooms of connections.
///
/// Clones are handles of the same hub. See the [module](super) for an overview.
pub struct Hub<R = String>(Arc<Inner<R>>);

impl<R: RoomKey> Hub<R> {
    /// Creates a hub of its own, whose rooms have no history.
    pub fn new() -> Self {
        Self::builder().build()
    }

    /// Returns a builder.
    pub fn builder() -> Builder<R> {
        Builder::new()
    }

    pub(super) fn of(inner: Arc<Inner<R>>) -> Self {
        Self(inner)
    }

    pub(super) fn inner(&self) -> &Arc<Inner<R>> {
        &self.0
    }

    /// Adds a connection, which is in no room at first.
    ///
    /// The [`Receiver`](crate::Receiver) of the connection has to be polled as usual: it answers
    /// pings, and continues what a full transport has not accepted.
    pub fn add(&self, sender: Sender) -> Member<R> {
        Member::new(self.clone(), sender, None)
    }

    /// Adds a connection of a user, who may have several.
    ///
    /// A message can be [for users](Publication::users), wherever they are connected.
    pub fn add_user(&self, sender: Sender, user: impl Into<String>) -> Member<R> {
        Member::new(self.clone(), sender, Some(user.into()))
    }

    /// Selects the members of a room, on all hubs, to send to.
    pub fn to(&self, room: &(impl RoomRef<R> + ?Sized)) -> To<'_, R> {
        To::new(self, Selected::Room(self.0.rooms.key(room)))
    }

    /// Selects all members of all hubs.
    pub fn to_all(&self) -> To<'_, R> {
        To::new(self, Selected::All)
    }

    /// Selects one member of any hub. What is sent does not wait for messages that are queued for a
    /// room.
    pub fn to_one(&self, member: MemberId) -> To<'_, R> {
        To::new(self, Selected::Member(member))
    }

    /// Keeps a room while it has no members: the hub continues to receive its messages, and the events
    /// of those who enter and leave.
    ///
    /// A program that reads a history, and lets a member join behind it, holds the room meanwhile: the
    /// history of a room that nobody is in need not exist, and begins once somebody is. While the
    /// backplane cannot be reached, this waits.
    ///
    /// ```
    /// use fullduplex::hub::{Hub, HubError, Member, Since};
    ///
    /// async fn join(hub: &Hub, room: &str, member: &Member<String>) -> Result<(), HubError> {
    ///     let held = hub.hold(room).await?;
    ///     let position = held.position();
    ///     let page = hub.read_before(room, Some(position.offset + 1), 100).await?;
    ///     println!("{} messages until {position}", page.messages.len());
    ///     member.join_since(room, Since::Position(position)).await?;
    ///     Ok(())
    /// }
    /// ```
    ///
    /// # Errors
    /// Returns [`HubError::Away`] if the backplane cannot be reached and too many calls wait for it,
    /// and [`HubError::Backplane`] if it failed.
    ///
    /// # Cancel safety
    /// If the future is dropped, the room is not kept.
    pub async fn hold(&self, room: &(impl RoomRef<R> + ?Sized)) -> Result<Held<R>, HubError> {
        Held::new(&self.0, room).await
    }

    /// Stores a message as the next one of a room, and sends it to the members, on all hubs, in the
    /// order of the room.
    ///
    /// While the backplane cannot be reached, the call waits, and publishes once it is back. A
    /// publication without an id gets one, so that it is stored once. The call also waits while 1024
    /// messages or 8 MiB are queued for the members of the room here.
    ///
    /// ```
    /// # async fn example(hub: fullduplex::hub::Hub) -> Result<(), fullduplex::hub::HubError> {
    /// let published = hub.publish("class 1b", "Good morning").await?;
    /// println!("at {}", published.position);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// Returns [`HubError::Away`] if the backplane cannot be reached and
    /// [too many](Builder::max_waiting) calls wait for it. Whether the message was stored is
    /// then unknown: publishing it again with the same id stores it once. Returns
    /// [`HubError::Backplane`] if the backplane failed.
    ///
    /// # Cancel safety
    /// If the future is dropped, the message may have been stored.
    pub async fn publish(
        &self,
        room: &(impl RoomRef<R> + ?Sized),
        publication: impl Into<Publication>,
    ) -> Result<Published, HubError> {
        let mut publication = publication.into();
        if self.0.backplane.is_remote() && publication.id.is_none() {
            publication.id = Some(self.0.unique_id());
        }
        let key = self.0.rooms.key(room);
        if let Key::Here(room) = &key {
            delivery::keep_up(&self.0, Audience::Room(room.clone())).await;
        }
        Ok(self.0.call(|| self.0.backplane.publish(&key, publication.clone())).await?)
    }

    /// Reads at most `most` messages of a room behind a position, the oldest first.
    ///
    /// # Errors
    /// Returns [`BackplaneError::Lost`] if the position is of another history, or messages behind it
    /// no longer exist; [`BackplaneError::Away`] if the backplane cannot be reached.
    ///
    /// # Cancel safety
    /// Dropping the future changes nothing.
    pub async fn read_after(
        &self,
        room: &(impl RoomRef<R> + ?Sized),
        position: Position,
        most: usize,
    ) -> Result<Page, BackplaneError> {
        self.0.backplane.read_after(&self.0.rooms.key(room), position, most).await
    }

    /// Reads the last `most` messages of a room before an offset, the oldest first; before `None`,
    /// the newest ones.
    ///
    /// # Errors
    /// Returns [`BackplaneError::Away`] if the backplane cannot be reached.
    ///
    /// # Cancel safety
    /// Dropping the future changes nothing.
    pub async fn read_before(
        &self,
        room: &(impl RoomRef<R> + ?Sized),
        offset: Option<u64>,
        most: usize,
    ) -> Result<Page, BackplaneError> {
        self.0.backplane.read_before(&self.0.rooms.key(room), offset, most).await
    }

    /// Deletes the history of a room. Its members stay.
    ///
    /// # Errors
    /// Returns [`BackplaneError::Away`] if the backplane cannot be reached.
    ///
    /// # Cancel safety
    /// If the future is dropped, the history may have been deleted.
    pub async fn delete_history(&self, room: &(impl RoomRef<R> + ?Sized)) -> Result<(), BackplaneError> {
        self.0.backplane.delete(&self.0.rooms.key(room)).await
    }

    /// Returns who has [entered](Member::enter) a room and not left it, on all hubs.
    ///
    /// # Errors
    /// Returns [`BackplaneError::Away`] if the backplane cannot be reached.
    ///
    /// # Cancel safety
    /// Dropping the future changes nothing.
    pub async fn present(&self, room: &(impl RoomRef<R> + ?Sized)) -> Result<Vec<Present>, BackplaneError> {
        self.0.backplane.present(&self.0.rooms.key(room)).await
    }

    /// Sends a message of the program to the other hubs, which get it as
    /// [`Event::Signal`](super::Event::Signal). It is attempted once.
    ///
    /// # Errors
    /// Returns [`BackplaneError::Away`] if the backplane cannot be reached.
    pub fn signal(&self, message: impl Into<Message>) -> Result<(), BackplaneError> {
        let message = message.into().into();
        let transient = Transient { message, whom: Whom::Everyone, slow: Slow::default() };
        self.0.backplane.send(Target::Hubs, &transient)
    }

    /// Returns the members of a room on this hub.
    pub fn members(&self, room: &(impl RoomRef<R> + ?Sized)) -> Vec<MemberId> {
        let Some(room) = self.0.rooms.find(room) else { return Vec::new() };
        let members = room.members();
        let serials = members.iter().map(|member| member.recipient.serial);
        serials.map(|serial| MemberId { node: self.0.node, serial }).collect()
    }

    /// Returns how many members a room has on this hub.
    pub fn member_count(&self, room: &(impl RoomRef<R> + ?Sized)) -> usize {
        self.0.rooms.find(room).map_or(0, |room| room.len())
    }

    /// Returns the rooms that have members on this hub, with how many each has.
    pub fn rooms(&self) -> Vec<(R, usize)> {
        self.0.rooms.counts()
    }

    /// Returns how many members this hub has.
    pub fn len(&self) -> usize {
        self.0.members.len()
    }

    /// Returns `true` if this hub has no members.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Returns the sender of a member of this hub.
    pub fn sender(&self, member: MemberId) -> Option<Sender> {
        self.0.member(member).map(|recipient| recipient.sender.clone())
    }

    /// Returns `true` if the backplane can be reached, as far as is known.
    pub fn is_available(&self) -> bool {
        *self.0.available.borrow()
    }

    /// Returns what has become of all messages for members of this hub.
    pub fn delivered(&self) -> Delivered {
        self.0.counters.get()
    }
}

impl<R: RoomKey> Default for Hub<R> {
    fn default() -> Self {
        Self::new()
    }
}

/// Returns a handle of the same hub.
impl<R> Clone for Hub<R> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<R> fmt::Debug for Hub<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
