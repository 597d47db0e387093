//! A room that is kept without a member.

use std::{fmt, pin::pin, sync::Arc};

use tokio::task::yield_now;

use super::{
    backplane::RoomKey, error::HubError, inner::Inner, key::RoomRef, position::Position, room::Room,
};

/// A room that a hub keeps although it may have no members, returned by
/// [`Hub::hold`](super::Hub::hold), until this is dropped.
pub struct Held<R: RoomKey> {
    hub: Arc<Inner<R>>,
    room: Arc<Room<R>>,
    /// The position of the last message that the program knows to have arrived.
    known: Option<Position>,
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
            let mut held = Self { hub: hub.clone(), room, known: None };
            hub.subscribe(&held.room).await?;
            held.known = held.room.position();
            return Ok(held);
        }
    }

    /// Waits until a message of the room has arrived after the position that this has returned before,
    /// or at which the room was held. Returns the position of the last one.
    ///
    /// A program that follows a room itself then reads by [`Hub::read_after`](super::Hub::read_after)
    /// what is behind the last message that it has read. Several messages may have arrived.
    ///
    /// ```
    /// use fullduplex::hub::{Hub, HubError};
    ///
    /// async fn follow(hub: &Hub, room: &String) -> Result<(), HubError> {
    ///     let mut held = hub.hold(room).await?;
    ///     let mut reached = held.position();
    ///     loop {
    ///         let page = hub.read_after(room, reached, 100).await?;
    ///         for stored in page.messages {
    ///             println!("{:?}", stored.publication.message());
    ///             reached.offset = stored.offset;
    ///         }
    ///         if page.is_last {
    ///             held.arrived().await;
    ///         }
    ///     }
    /// }
    /// ```
    ///
    /// # Cancel safety
    /// If the future is dropped, the next call returns what has arrived meanwhile.
    pub async fn arrived(&mut self) -> Position {
        let notify = self.room.arrived();
        loop {
            let mut next = pin!(notify.notified());
            next.as_mut().enable();
            let last = self.room.position();
            if let Some(position) = last.filter(|_| last != self.known) {
                self.known = last;
                return position;
            }
            next.await;
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
