//! What nodes tell each other once. A node that does not run, or does not reach the engine, misses it.

use fullduplex::{
    CloseCode, Message,
    hub::{BackplaneError, Hub, MemberId},
};
use serde::{Deserialize, Serialize};

use super::{
    control::{CLOSED_BY_ADMIN, WHY_CLOSED_BY_ADMIN},
    rooms::Rooms,
};

/// What a node tells the others.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Signal {
    /// An administrator closes a connection, which one of them has.
    CloseConnection { id: String },
}

/// Closes a connection of another node.
pub(super) fn close_connection(hub: &Hub, id: MemberId) -> Result<(), BackplaneError> {
    let signal = Signal::CloseConnection { id: id.to_string() };
    hub.signal(Message::json(&signal).expect("strings"))
}

/// Takes what another node has told.
pub(super) fn take(rooms: &Rooms, message: &Message) {
    match serde_json::from_slice(message.as_bytes()) {
        Ok(Signal::CloseConnection { id }) => match id.parse() {
            Ok(id) => drop(close_here(rooms, id)),
            Err(error) => tracing::warn!(%error, id, "another node has sent an invalid id"),
        },
        Err(error) => tracing::warn!(%error, "another node has sent something unknown"),
    }
}

/// Closes a connection of this node. Returns whether there is one.
pub(super) fn close_here(rooms: &Rooms, id: MemberId) -> bool {
    let seats = rooms.all();
    let seat = seats.iter().flat_map(|room| room.seats()).find(|seat| seat.id() == id);
    if let Some(seat) = &seat {
        seat.close(CloseCode::from(CLOSED_BY_ADMIN), WHY_CLOSED_BY_ADMIN);
    }
    seat.is_some()
}
