//! What teachers and administrators decide, and what it does to connections.

use std::sync::Arc;

use fullduplex::CloseCode;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::{rooms::Rooms, seat::Seat};
use crate::values::{Name, ParticipantId, RoomName};

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
pub(super) const WHY_CLOSED_BY_ADMIN: &str = "an administrator has closed the connection";

/// What a teacher or an administrator decides about a room.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum What {
    Mute { id: ParticipantId, name: Name },
    Unmute { id: ParticipantId },
    Remove { id: ParticipantId, name: Name, by: Name },
    Close { by: Name },
    Reopen,
}

/// Applies a decision to the connections of this node.
pub(super) fn apply(rooms: &Rooms, room: &RoomName, what: &What) {
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
