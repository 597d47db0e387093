//! A class: one room of Socket.IO, and what the program knows about it.

use serde::Serialize;
use socketio::{EmitError, Socket};
use tokio::sync::{Mutex, MutexGuard};

use crate::{
    auth::Participant,
    history::History,
    roster::Roster,
    values::{ParticipantId, RoomName},
};

/// A class.
#[derive(Debug)]
pub struct Class {
    name: RoomName,
    state: Mutex<State>,
}

/// What changes in a class. It is locked while its members are sent what has changed, so that all of them
/// learn it in one order.
#[derive(Debug)]
pub struct State {
    /// Who is in it.
    pub roster: Roster<Socket>,
    /// What was said.
    pub history: History,
    /// Whether it was closed: there may be another one with its name.
    pub is_closed: bool,
}

#[derive(Serialize)]
struct Update<'a> {
    participants: Vec<&'a Participant>,
}

impl Class {
    /// Creates an empty class, which has no messages up to this id.
    pub fn new(name: RoomName, forgotten: u64) -> Self {
        let state = State { roster: Roster::new(), history: History::new(forgotten), is_closed: false };
        Self { name, state: Mutex::new(state) }
    }

    /// Returns the name.
    pub fn name(&self) -> &RoomName {
        &self.name
    }

    /// Waits until nobody else changes the class.
    ///
    /// # Cancel safety
    /// Dropping the future changes nothing.
    pub async fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().await
    }

    /// Returns the name of the room of Socket.IO that all sockets of the class are in.
    pub fn room(&self) -> String {
        format!("class:{}", self.name)
    }

    /// Returns the name of the room that the sockets of one person are in.
    pub fn room_of(&self, person: &ParticipantId) -> String {
        // An id has no colon.
        format!("person:{person}:{}", self.name)
    }

    /// Sends the participants to all of them.
    ///
    /// # Errors
    /// Fails if the event cannot be sent.
    ///
    /// # Cancel safety
    /// If the future is dropped, the event may have been sent.
    pub async fn announce(&self, state: &State, socket: &Socket) -> Result<(), EmitError> {
        let participants = state.roster.participants().collect();
        // Not stored to be recovered: whoever comes back changes the list, and receives it.
        let everyone = socket.everyone().to(self.room()).local();
        everyone.emit("participants:update", &Update { participants }).await
    }
}
