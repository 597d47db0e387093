//! What connects the hubs of several machines, and stores the history of rooms.

use std::{error, future::Future, hash::Hash, pin::Pin, sync::Arc};

use bytes::Bytes;

use super::{
    inbox::Inbox,
    position::{MemberId, Position},
    record::{Publication, Transient},
};

/// A future on the heap.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// The key of a room: any value that can be hashed, cloned, and sent to other threads.
///
/// It is implemented for all types that can be one. A backplane between machines may require more
/// of it, usually `AsRef<str>`.
pub trait RoomKey: Clone + Eq + Hash + Send + Sync + 'static {}

impl<T: Clone + Eq + Hash + Send + Sync + 'static> RoomKey for T {}

/// Connects the hubs of several machines, and stores the history of rooms.
///
/// [`Memory`](super::Memory) is the one of a hub alone. The hub calls these methods; what arrives
/// is passed to the [`Inbox`] of the hub.
///
/// # What an implementation guarantees
/// - **Order**: from [`subscribe`](Self::subscribe) to [`unsubscribe`](Self::unsubscribe), it passes
///   each message of the room that follows the returned position to the inbox once, by increasing
///   offsets, including those that this hub publishes. After an interruption it continues behind the
///   last message that it has passed. If messages in between no longer exist, it calls
///   [`Inbox::lost`] before it continues.
/// - **Once**: two publications of a room with the same [id](Publication::id) are stored once, at
///   least for as long as the first one is in the history.
/// - **Durability**: once [`publish`](Self::publish) has returned a position, the message has the
///   durability that the implementation documents.
/// - **Order of calls**: `subscribe` and `unsubscribe` of a room take effect in the order of the
///   calls; a future takes effect when it is first polled.
/// - **Cancel safety**: a future that is dropped has either taken effect or not.
/// - **Calls from the inbox**: `unsubscribe`, `exit` and `send` may be called by the program while
///   the implementation calls the inbox. It holds no lock then that these need, but
///   [`Inbox::message`] itself calls nothing of the program.
///
/// An engine that is not reached yet calls [`Inbox::set_available`] with `false` in
/// [`attach`](Self::attach).
pub trait Backplane<R>: Send + Sync + 'static {
    /// Connects a hub. It is called once for each hub, before all other methods.
    fn attach(&self, inbox: Inbox<R>);

    /// Stores a message as the next one of a room.
    ///
    /// # Errors
    /// Returns [`BackplaneError::Away`] if the engine cannot be reached, or does not answer: the
    /// message may have been stored, and the hub publishes it again with the same id. Returns
    /// [`BackplaneError::Failed`] for other reasons.
    fn publish<'a>(
        &'a self,
        room: &'a R,
        publication: Publication,
    ) -> BoxFuture<'a, Result<Published, BackplaneError>>;

    /// Begins to pass the messages of a room to the inbox. Returns the position behind which it
    /// begins.
    ///
    /// If the room is subscribed already, this returns the position of its last message, or that of
    /// the last one that was passed.
    ///
    /// # Errors
    /// Returns [`BackplaneError::Away`] if the engine cannot be reached; nothing is subscribed then.
    fn subscribe<'a>(&'a self, room: &'a R) -> BoxFuture<'a, Result<Position, BackplaneError>>;

    /// Ends what [`subscribe`](Self::subscribe) began.
    fn unsubscribe(&self, room: &R);

    /// Reads messages of a room behind a position, the oldest first: at most `most`, or fewer if
    /// that is too many at a time.
    ///
    /// # Errors
    /// Returns [`BackplaneError::Lost`] if the position is of another history, or messages behind it
    /// no longer exist.
    fn read_after<'a>(
        &'a self,
        room: &'a R,
        position: Position,
        most: usize,
    ) -> BoxFuture<'a, Result<Page, BackplaneError>>;

    /// Reads the last `most` messages of a room before an offset, the oldest first; before `None`,
    /// the newest ones.
    ///
    /// # Errors
    /// Returns [`BackplaneError::Away`] if the engine cannot be reached.
    fn read_before<'a>(
        &'a self,
        room: &'a R,
        offset: Option<u64>,
        most: usize,
    ) -> BoxFuture<'a, Result<Page, BackplaneError>>;

    /// Sends a message that is not stored to the other hubs, which is attempted once. It does not
    /// wait.
    ///
    /// # Errors
    /// Returns [`BackplaneError::Away`] if the engine cannot be reached, or the message would have to
    /// wait.
    fn send(&self, to: Target<'_, R>, transient: &Transient) -> Result<(), BackplaneError>;

    /// Records that a member is present in a room, with data about it, and tells all subscribed hubs,
    /// this one included, by [`Inbox::presence`].
    ///
    /// If this hub ends without a call of [`exit`](Self::exit), its members leave after a time that
    /// the implementation documents. A member that is already present gets new data.
    ///
    /// # Errors
    /// Returns [`BackplaneError::Away`] if the engine cannot be reached; the member is not present
    /// then.
    fn enter<'a>(
        &'a self,
        room: &'a R,
        member: MemberId,
        data: Bytes,
    ) -> BoxFuture<'a, Result<(), BackplaneError>>;

    /// Records that a member is no longer present, and tells all subscribed hubs. It does not wait:
    /// while the engine is away, the call takes effect once it is back.
    fn exit(&self, room: &R, member: MemberId);

    /// Returns who is present in a room, on all hubs.
    ///
    /// # Errors
    /// Returns [`BackplaneError::Away`] if the engine cannot be reached.
    fn present<'a>(&'a self, room: &'a R) -> BoxFuture<'a, Result<Vec<Present>, BackplaneError>>;

    /// Deletes the history of a room. Its next message begins a new one.
    ///
    /// # Errors
    /// Returns [`BackplaneError::Away`] if the engine cannot be reached.
    fn delete<'a>(&'a self, room: &'a R) -> BoxFuture<'a, Result<(), BackplaneError>>;

    /// Returns `true` if it connects several machines: the hub then gives each publication an id, to
    /// repeat it safely.
    fn is_remote(&self) -> bool {
        true
    }
}

/// The hubs and members that a message is sent to.
#[derive(Debug)]
#[non_exhaustive]
pub enum Target<'a, R> {
    /// The members of a room.
    Room(&'a R),
    /// All members.
    All,
    /// One member.
    Member(MemberId),
    /// The hubs themselves, by [`Event::Signal`](super::Event::Signal).
    Hubs,
}

// Not derived: a reference can be copied whether the key can or not.
impl<R> Clone for Target<'_, R> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<R> Copy for Target<'_, R> {}

/// What became of a publication.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Published {
    /// The position of the message.
    pub position: Position,
    /// Whether its id was known: the position is that of the first message with it.
    pub duplicate: bool,
}

/// A message of a history.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stored {
    /// The offset of the message.
    pub offset: u64,
    /// The message.
    pub publication: Publication,
}

/// Consecutive messages of a history.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page {
    /// The epoch of the history.
    pub epoch: u64,
    /// The messages, the oldest first.
    pub messages: Vec<Stored>,
    /// Whether the history has no further messages in the direction that was read.
    pub is_last: bool,
}

/// A member that is present in a room.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Present {
    /// The member.
    pub member: MemberId,
    /// What was recorded about it.
    pub data: Bytes,
}

/// A member enters a room, or leaves it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum PresenceChange {
    /// A member has entered, or has new data.
    Entered(Present),
    /// A member has left.
    Left(Present),
}

/// An error of a backplane.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum BackplaneError {
    /// The engine cannot be reached, or does not answer. The hub tries again when it is back.
    #[error("the backplane cannot be reached")]
    Away,
    /// The messages behind a position no longer exist, or the position is of another history.
    #[error("messages behind the position no longer exist")]
    Lost,
    /// The engine has answered with an error, or its data is invalid.
    #[error("the backplane failed")]
    Failed(#[source] Arc<dyn error::Error + Send + Sync>),
}

impl BackplaneError {
    /// Creates an error from one of the engine.
    pub fn failed(source: impl Into<Box<dyn error::Error + Send + Sync>>) -> Self {
        Self::Failed(source.into().into())
    }
}
