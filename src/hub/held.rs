//! A room that is kept without a member.

use std::{fmt, sync::Arc};

use tokio::task::yield_now;

use super::{
    backplane::RoomKey, error::HubError, inner::Inner, key::RoomRef, position::Position, room::Room,
};

/// A room that a hub keeps although it may have no members, returned by
/// [`Hub::hold`](super::Hub::hold), until this is dropped.
pub struct Held<R: RoomKey> {
    hub: Arc<Inner<R>>,
    room: Arc<Room<R>>,
}

impl<R: RoomKey> Held<R> {
    pub(super) async fn new(hub: &Arc<Inner<R>>, key: &(impl RoomRef<R> + ?Sized)) -> Result<Self, HubError> {
        loop {
            let room = hub.rooms.find_or_add(key);
            if !room.begin_to_join() {
                // It is being removed.
                yield_now().await;
                continue;
            }
            let held = Self { hub: hub.clone(), room };
            hub.subscribe(&held.room).await?;
            return Ok(held);
        }
    }

    /// Returns the position of the last message of the room that has arrived.
    pub fn position(&self) -> Position {
        self.room.position().unwrap_or(Position { epoch: 0, offset: 0 })
    }
}

impl<R: RoomKey> Drop for Held<R> {
    fn drop(&mut self) {
        self.room.end_to_join();
        self.hub.remove_if_unused(&self.room);
    }
}

impl<R: RoomKey> fmt::Debug for Held<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Held").field("position", &self.position()).finish_non_exhaustive()
    }
}
