//! What teachers and administrators decide, on all nodes: who is barred or muted, and which rooms are
//! closed.
//!
//! On one machine, the store has it. If several share their rooms, it is in the history of the hub: the
//! log of each room has its decisions. A node reads the log before it lets anyone into the room, and
//! follows it for as long as somebody is there.

mod entry;
mod in_force;
mod log;
mod progress;

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError, Weak},
};

use fullduplex::{
    JsonError,
    hub::{BackplaneError, Hub, HubError},
};
use tokio::sync::Notify;

use self::log::Log;
pub(super) use self::log::is_key;
use super::{
    control::{self, What},
    rooms::Rooms,
};
use crate::{
    store::{Restriction, RoomState, Store, StoreError},
    values::{Name, ParticipantId, RoomName},
};

/// What is decided about all rooms. Clones share it.
#[derive(Debug, Clone)]
pub struct Decisions(Kept);

/// Where decisions are kept.
#[derive(Debug, Clone)]
enum Kept {
    /// In the store, for one machine.
    Store(Store, Arc<Rooms>),
    /// In the history that several machines share.
    Logs(Arc<Logs>),
}

/// The logs of rooms that are in use.
#[derive(Debug)]
struct Logs {
    hub: Hub,
    rooms: Arc<Rooms>,
    back: Arc<Notify>,
    open: Mutex<HashMap<RoomName, Weak<Log>>>,
}

/// What is decided about one room, which is followed until all clones are dropped.
#[derive(Debug, Clone)]
pub(crate) struct OfRoom {
    room: RoomName,
    kept: KeptOfRoom,
}

#[derive(Debug, Clone)]
enum KeptOfRoom {
    Store(Store, Arc<Rooms>),
    Log(Arc<Log>),
}

/// Why something is not decided, or what is decided is not known.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DecisionError {
    #[error("{0} persons are removed or muted in this room, and there may be no more")]
    Full(usize),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Engine(#[from] BackplaneError),
    #[error(transparent)]
    Hub(#[from] HubError),
    #[error("a decision of another version cannot be read: {0}")]
    Unreadable(serde_json::Error),
    #[error("a decision cannot be written: {0}")]
    NotWritten(JsonError),
}

impl Decisions {
    /// Returns what a store has decided, for a server that has no connections.
    pub fn stored(store: Store) -> Self {
        Self::in_store(store, Arc::default())
    }

    pub(super) fn in_store(store: Store, rooms: Arc<Rooms>) -> Self {
        Self(Kept::Store(store, rooms))
    }

    /// Returns what is decided in the history of a hub. `back` is to be notified when the engine can be
    /// reached again.
    pub(super) fn in_history(hub: Hub, rooms: Arc<Rooms>, back: Arc<Notify>) -> Self {
        Self(Kept::Logs(Arc::new(Logs { hub, rooms, back, open: Mutex::default() })))
    }

    /// Returns what is decided about a room.
    pub(crate) fn of(&self, room: &RoomName) -> OfRoom {
        let kept = match &self.0 {
            Kept::Store(store, rooms) => KeptOfRoom::Store(store.clone(), rooms.clone()),
            Kept::Logs(logs) => KeptOfRoom::Log(logs.open(room)),
        };
        OfRoom { room: room.clone(), kept }
    }
}

impl Logs {
    fn open(&self, room: &RoomName) -> Arc<Log> {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(log) = open.get(room).and_then(Weak::upgrade) {
            return log;
        }
        open.retain(|_, log| log.strong_count() > 0);
        let log = Log::follow(&self.hub, &self.rooms, &self.back, room);
        open.insert(room.clone(), Arc::downgrade(&log));
        log
    }
}

impl OfRoom {
    /// Returns how a person finds the room. All that was decided before this call counts, on any node.
    pub(crate) async fn state(&self, id: &ParticipantId, name: &Name) -> Result<RoomState, DecisionError> {
        match &self.kept {
            KeptOfRoom::Store(store, _) => {
                Ok(store.room_state(self.room.clone(), id.clone(), name.clone()).await?)
            }
            KeptOfRoom::Log(log) => log.state(id, name).await,
        }
    }

    /// Decides something, on all nodes.
    ///
    /// It is stored first, so that it also applies to those who enter later. Then the function is called,
    /// and then the connections are told or closed.
    pub(super) async fn decide(
        &self,
        what: What,
        stored: impl FnOnce() + Send + 'static,
    ) -> Result<(), DecisionError> {
        match &self.kept {
            KeptOfRoom::Store(store, rooms) => {
                self.store(store, what.clone()).await?;
                stored();
                control::apply(rooms, &self.room, &what);
                Ok(())
            }
            KeptOfRoom::Log(log) => log.decide(what, Box::new(stored)).await,
        }
    }

    async fn store(&self, store: &Store, what: What) -> Result<(), StoreError> {
        let room = self.room.clone();
        match what {
            What::Mute { id, name } => store.restrict(room, id, name, Restriction::Muted).await,
            What::Unmute { id } => store.release(room, id, Restriction::Muted).await,
            What::Remove { id, name, .. } => store.restrict(room, id, name, Restriction::Barred).await,
            What::Close { .. } => store.set_closed(room, true).await,
            What::Reopen => store.set_closed(room, false).await,
        }
    }
}
