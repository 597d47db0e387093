//! Sending to selected members.

use std::fmt;

use super::{
    Hub,
    backplane::{RoomKey, Target},
    counters::Delivered,
    delivery::{Audience, Sending},
    key::Key,
    position::MemberId,
    record::Transient,
    slow::Slow,
    whom::Whom,
};
use crate::Sequence;

/// Selected members, to send to.
///
/// A member receives what is sent if it meets all conditions.
#[must_use = "nothing is sent before `send` is called"]
pub struct To<'a, R> {
    hub: &'a Hub<R>,
    selected: Selected<R>,
    whom: Whom,
    slow: Slow,
    is_local: bool,
}

/// Who is selected.
pub(super) enum Selected<R> {
    Room(Key<R>),
    All,
    Member(MemberId),
}

impl<R: RoomKey> Selected<R> {
    fn target(&self) -> Target<'_, R> {
        match self {
            Self::Room(key) => Target::Room(key),
            Self::All => Target::All,
            Self::Member(member) => Target::Member(*member),
        }
    }
}

impl<R> fmt::Debug for To<'_, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("To").field("whom", &self.whom).field("slow", &self.slow).finish_non_exhaustive()
    }
}

impl<'a, R: RoomKey> To<'a, R> {
    pub(super) fn new(hub: &'a Hub<R>, selected: Selected<R>) -> Self {
        Self { hub, selected, whom: Whom::Everyone, slow: Slow::default(), is_local: false }
    }

    /// Excludes a member.
    pub fn except(mut self, member: MemberId) -> Self {
        self.whom.except(member);
        self
    }

    /// Leaves out all members but those of these users, by the names with which they were
    /// [added](Hub::add_user). A further call adds users.
    pub fn users<U: Into<String>>(mut self, users: impl IntoIterator<Item = U>) -> Self {
        self.whom.users(users.into_iter().map(Into::into).collect());
        self
    }

    /// Excludes the members of a user.
    pub fn except_user(mut self, user: impl Into<String>) -> Self {
        self.whom.except_user(user.into());
        self
    }

    /// Leaves out all members but those who are in one of these rooms now, by their
    /// [names](super::Builder::room_named). Each of them receives the message once. A further call adds
    /// rooms.
    ///
    /// The order is that of the selection that this begins with: of all members, or of a room.
    ///
    /// ```
    /// use fullduplex::hub::Hub;
    ///
    /// fn announce(hub: &Hub) {
    ///     hub.to_all().rooms(["class 1a", "class 1b"]).except_rooms(["teachers"]).send("No school today");
    /// }
    /// ```
    pub fn rooms<N: Into<String>>(mut self, names: impl IntoIterator<Item = N>) -> Self {
        self.whom.rooms(names.into_iter().map(Into::into).collect());
        self
    }

    /// Leaves out all members but these, and those of [`rooms`](Self::rooms). A further call adds
    /// members.
    pub fn members(mut self, members: impl IntoIterator<Item = MemberId>) -> Self {
        self.whom.members(members.into_iter().collect());
        self
    }

    /// Excludes the members who are in one of these rooms now, by their
    /// [names](super::Builder::room_named).
    pub fn except_rooms<N: Into<String>>(mut self, names: impl IntoIterator<Item = N>) -> Self {
        self.whom.except_rooms(names.into_iter().map(Into::into).collect());
        self
    }

    /// Sets what happens for members whose write buffer is full. Default: [`Slow::DropNewest`].
    pub fn slow(mut self, slow: Slow) -> Self {
        self.slow = slow;
        self
    }

    /// Leaves out the members of other hubs.
    pub fn here(mut self) -> Self {
        self.is_local = true;
        self
    }

    /// Sends a message that is not stored, or several as one unit: a [`Sequence`].
    ///
    /// It is encoded once, and compressed once for each set of parameters. Members of this hub
    /// receive the messages of one room in the order of the calls. The message is queued before this
    /// returns; the [`Sending`] can be awaited for what has become of it on this hub, or dropped. To
    /// the other hubs it is sent once, without waiting.
    ///
    /// While 1024 messages or 8 MiB are queued for the same members, because they come faster than they are
    /// sent, the message is dropped. This does not happen to those who await each [`Sending`].
    ///
    /// More than 128 members are sent to by a task: of the runtime of the caller, or of the one in
    /// which the hub was created. Without a runtime, this sends to all of them itself.
    pub fn send(self, message: impl Into<Sequence>) -> Sending {
        let transient = Transient { message: message.into(), whom: self.whom, slow: self.slow };
        let hub = self.hub.inner();
        let target = self.selected.target();
        let is_elsewhere = !matches!(target, Target::Member(member) if member.node == hub.node);
        if !self.is_local && is_elsewhere && hub.backplane.send(target, &transient).is_err() {
            hub.counters.add(&Delivered { unreached: 1, ..Delivered::default() });
        }
        match self.selected {
            // Found already.
            Selected::Room(Key::Here(room)) if !room.is_removed() => {
                hub.send_to(Audience::Room(room), transient)
            }
            selected => hub.send_here(selected.target(), transient),
        }
    }
}
