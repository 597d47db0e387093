//! What teachers and administrators do to others, on all nodes.

use std::sync::Arc;

use fullduplex::{CloseCode, Message};
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::{Live, rooms::Rooms, seat::Seat};
use crate::{
    store::{Restriction, Store, StoreError},
    values::{Name, ParticipantId, RoomName},
};

/// Close codes, as the protocol of the classroom documents them.
pub(super) const REMOVED: u16 = 4001;
pub(super) const CLOSED: u16 = 4002;
pub(super) const NAME_TAKEN: u16 = 4003;
pub(super) const CLOSED_BY_ADMIN: u16 = 4004;
pub(super) const REFUSED: u16 = 4005;

/// Reasons of the Close.
pub(super) const WHY_REMOVED: &str = "a teacher has removed you from the room";
pub(super) const WHY_CLOSED: &str = "the room is closed";
pub(super) const WHY_NAME_TAKEN: &str = "somebody in the room has this name: choose another one";

/// What a teacher or an administrator does in a room.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Control {
    pub(super) room: RoomName,
    pub(super) what: What,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum What {
    Mute { id: ParticipantId, name: Name },
    Unmute { id: ParticipantId },
    Remove { id: ParticipantId, name: Name, by: Name },
    Close { by: Name },
    Reopen,
}

impl Live {
    /// Does something in a room, on all nodes.
    ///
    /// It is stored first, so that it also applies to those who enter later. Then a function is called,
    /// and then the connections are told or closed.
    pub(super) async fn control(&self, control: Control, stored: impl FnOnce()) -> Result<(), StoreError> {
        store(&self.0.store, &control).await?;
        stored();
        apply(&self.0.rooms, &control);
        let signal = Message::json(&control).expect("strings");
        if let Err(error) = self.0.hub.signal(signal) {
            tracing::warn!(%error, "the other nodes are not told what a teacher does");
        }
        Ok(())
    }
}

/// Takes what was done on another node.
pub(super) async fn take(rooms: Arc<Rooms>, own: Store, control: Control) {
    if let Err(error) = store(&own, &control).await {
        tracing::error!(%error, "what was done on another node is not stored");
    }
    apply(&rooms, &control);
}

async fn store(store: &Store, Control { room, what }: &Control) -> Result<(), StoreError> {
    let room = room.clone();
    match what.clone() {
        What::Mute { id, name } => store.restrict(room, id, name, Restriction::Muted).await,
        What::Unmute { id } => store.release(room, id, Restriction::Muted).await,
        What::Remove { id, name, .. } => store.restrict(room, id, name, Restriction::Barred).await,
        What::Close { .. } => store.set_closed(room, true).await,
        What::Reopen => store.set_closed(room, false).await,
    }
}

/// Applies it to the connections of this node.
fn apply(rooms: &Rooms, Control { room, what }: &Control) {
    let Some(room) = rooms.find(room.as_str()) else { return };
    match what {
        What::Mute { id, .. } => room.seats_of(id).into_iter().for_each(|seat| set_muted(seat, true)),
        What::Unmute { id } => room.seats_of(id).into_iter().for_each(|seat| set_muted(seat, false)),
        What::Remove { id, by, .. } => {
            for seat in room.seats_of(id) {
                seat.tell("student:removed", &json!({"by": by}));
                seat.close(CloseCode::from(REMOVED), WHY_REMOVED);
            }
        }
        What::Close { by } => {
            for seat in room.seats() {
                seat.tell("room:closed", &json!({"by": by}));
                seat.close(CloseCode::from(CLOSED), WHY_CLOSED);
            }
        }
        What::Reopen => {}
    }
}

fn set_muted(seat: Arc<Seat>, muted: bool) {
    seat.set_muted(muted);
    tokio::spawn(async move {
        if let Err(error) = seat.announce().await {
            tracing::warn!(%error, "the others are not told who is muted");
        }
    });
}
