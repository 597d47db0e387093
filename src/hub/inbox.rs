//! What a backplane passes to a hub.

use std::{
    fmt,
    sync::{Arc, Weak},
};

use super::{
    backplane::{PresenceChange, RoomKey, Target},
    delivery::{self, Audience},
    event::Event,
    inner::Inner,
    position::Position,
    record::{Publication, Transient},
    room::Room,
};

/// What a [`Backplane`](super::Backplane) passes to a hub.
///
/// None of these functions wait. After the hub has been dropped, they do nothing.
pub struct Inbox<R> {
    node: u64,
    hub: Weak<Inner<R>>,
}

/// A message that is queued for the members of a room.
///
/// It is separate from [`Inbox::message`], so that a backplane can call that under a lock, which
/// keeps the order, and this outside of it.
#[must_use = "the message is sent by `deliver`"]
pub struct Pushed<R>(Option<InRoom<R>>);

type InRoom<R> = (Arc<Inner<R>>, Arc<Room<R>>);

impl<R: RoomKey> Inbox<R> {
    pub(super) fn new(node: u64, hub: Weak<Inner<R>>) -> Self {
        Self { node, hub }
    }

    /// Returns the number of the hub, which its members have in their ids.
    pub fn node(&self) -> u64 {
        self.node
    }

    /// Returns `true` if the hub has been dropped.
    pub fn is_closed(&self) -> bool {
        self.hub.strong_count() == 0
    }

    /// Queues the next message of a room for its members. Nothing is sent before
    /// [`deliver`](Pushed::deliver).
    ///
    /// A message of a room that has no members here is ignored.
    pub fn message(&self, room: &R, position: Position, publication: Publication) -> Pushed<R> {
        let Some(hub) = self.hub.upgrade() else { return Pushed(None) };
        let Some(room) = hub.rooms.find(room) else { return Pushed(None) };
        room.push_stored(position, publication, &hub.settings.slow);
        Pushed(Some((hub, room)))
    }

    /// Waits while 1024 messages or 8 MiB are queued for a room.
    ///
    /// A backplane calls this after it has passed messages, so that a room with many members, whose
    /// messages come faster than they are sent, takes a bounded amount of memory.
    ///
    /// # Cancel safety
    /// Dropping the future changes nothing.
    pub async fn keep_up(&self, room: &R) {
        let Some(hub) = self.hub.upgrade() else { return };
        if let Some(room) = hub.rooms.find(room) {
            delivery::keep_up(&hub, Audience::Room(room)).await;
        }
    }

    /// Sends a message that is not stored to members of this hub.
    pub fn transient(&self, to: Target<'_, R>, transient: Transient) {
        let Some(hub) = self.hub.upgrade() else { return };
        match to {
            Target::Hubs => hub.event(Event::Signal(transient.message.into_first())),
            to => drop(hub.send_here(to, transient)),
        }
    }

    /// Tells the hub who has entered a room, or left it.
    pub fn presence(&self, room: &R, change: PresenceChange) {
        let Some(hub) = self.hub.upgrade() else { return };
        hub.event(Event::Presence { room: room.clone(), change });
    }

    /// Tells the hub that messages of a room behind the last one no longer exist, up to this position. The
    /// next message follows it.
    pub fn lost(&self, room: &R, position: Position) {
        let Some(hub) = self.hub.upgrade() else { return };
        hub.event(Event::Lost { room: room.clone(), position });
    }

    /// Tells the hub whether the engine of the backplane can be reached.
    pub fn set_available(&self, is_available: bool) {
        let Some(hub) = self.hub.upgrade() else { return };
        let was = hub.available.send_replace(is_available);
        if was != is_available {
            hub.event(if is_available { Event::BackplaneBack } else { Event::BackplaneAway });
        }
    }
}

impl<R: RoomKey> Pushed<R> {
    /// Sends what is queued for the room, unless another thread is doing so.
    pub fn deliver(self) {
        if let Some((hub, room)) = self.0 {
            delivery::drive(&hub, Audience::Room(room));
        }
    }
}

// Not derived: that would require the same of the key.
impl<R> Clone for Inbox<R> {
    fn clone(&self) -> Self {
        Self { node: self.node, hub: self.hub.clone() }
    }
}

impl<R> fmt::Debug for Inbox<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Inbox").field("node", &self.node).finish_non_exhaustive()
    }
}

impl<R> fmt::Debug for Pushed<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pushed").finish_non_exhaustive()
    }
}
