//! The rooms that have connections on this node.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

use fullduplex::{CloseCode, hub::MemberId};
use tokio::sync::OnceCell;

use super::{
    control::{NAME_TAKEN, WHY_NAME_TAKEN},
    roster::Roster,
    seat::Seat,
};
use crate::values::ParticipantId;

/// The rooms that have connections on this node, by name.
#[derive(Debug, Default)]
pub(super) struct Rooms(Mutex<HashMap<String, Arc<Room>>>);

/// A room.
#[derive(Debug, Default)]
pub(super) struct Room {
    pub(super) name: String,
    state: Mutex<State>,
    /// Set once the roster is complete.
    pub(super) is_read: OnceCell<()>,
    published: AtomicU64,
}

/// What is known about a room, under its lock.
#[derive(Debug, Default)]
pub(super) struct State {
    /// The connections on this node.
    seats: Vec<Arc<Seat>>,
    /// The persons on all nodes.
    pub(super) roster: Roster,
    /// The messages that had been published a second ago.
    counted: u64,
    pub(super) messages_per_second: u64,
}

/// A place of a connection in a room, which it leaves if this is dropped.
#[derive(Debug)]
pub(super) struct Seated {
    rooms: Arc<Rooms>,
    pub(super) room: Arc<Room>,
    pub(super) seat: Arc<Seat>,
}

/// The name is used by another person in the room.
#[derive(Debug)]
pub(super) struct NameTaken;

impl Rooms {
    /// Returns a room, if it has connections here.
    pub(super) fn find(&self, name: &str) -> Option<Arc<Room>> {
        self.lock().get(name).cloned()
    }

    /// Returns all rooms, by name.
    pub(super) fn all(&self) -> Vec<Arc<Room>> {
        let mut all: Vec<_> = self.lock().values().cloned().collect();
        all.sort_unstable_by(|a, b| a.name.cmp(&b.name));
        all
    }

    /// Adds a connection to its room, unless another person there has a name that looks the same.
    pub(super) fn take_seat(self: &Arc<Self>, seat: Arc<Seat>) -> Result<Seated, NameTaken> {
        let mut rooms = self.lock();
        if let Some(room) = rooms.get(&seat.room)
            && room.lock().has_name_of(&seat)
        {
            return Err(NameTaken);
        }
        let new = || Arc::new(Room { name: seat.room.clone(), ..Room::default() });
        let room = rooms.entry(seat.room.clone()).or_insert_with(new).clone();
        room.lock().seats.push(seat.clone());
        drop(rooms);
        Ok(Seated { rooms: self.clone(), room, seat })
    }

    /// Counts how many messages were published in the last second.
    pub(super) fn tick(&self) {
        for room in self.all() {
            let published = room.published.load(Relaxed);
            let mut state = room.lock();
            state.messages_per_second = published - state.counted;
            state.counted = published;
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Arc<Room>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Room {
    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the connections on this node, in the order in which they were opened.
    pub(super) fn seats(&self) -> Vec<Arc<Seat>> {
        let mut seats = self.lock().seats.clone();
        seats.sort_unstable_by_key(|seat| seat.id());
        seats
    }

    /// Returns the connections of a person on this node.
    pub(super) fn seats_of(&self, id: &ParticipantId) -> Vec<Arc<Seat>> {
        self.lock().seats.iter().filter(|seat| seat.identity.id == *id).cloned().collect()
    }

    /// Counts a message.
    pub(super) fn count_message(&self) {
        self.published.fetch_add(1, Relaxed);
    }
}

impl State {
    /// Closes the connections on this node whose name a person on another node was first to use.
    pub(super) fn close_without_name(&self) {
        let losers = self.roster.without_name();
        for seat in self.seats.iter().filter(|seat| losers.contains(&seat.identity.id)) {
            seat.close(CloseCode::from(NAME_TAKEN), WHY_NAME_TAKEN);
        }
    }

    fn has_name_of(&self, seat: &Seat) -> bool {
        let (own, name) = (&seat.identity.id, seat.identity.name.folded());
        let here = self.seats.iter().map(|other| (&other.identity.id, &other.identity.name));
        let others = self.roster.people().map(|person| (&person.id, &person.name)).chain(here);
        others.into_iter().any(|(id, other)| id != own && other.folded() == name)
    }
}

impl Seated {
    /// Returns the member of the hub.
    pub(super) fn member_id(&self) -> MemberId {
        self.seat.id()
    }
}

impl Drop for Seated {
    fn drop(&mut self) {
        let id = self.member_id();
        self.room.lock().seats.retain(|seat| seat.id() != id);
        let mut rooms = self.rooms.lock();
        let is_this = rooms.get(&self.room.name).is_some_and(|room| Arc::ptr_eq(room, &self.room));
        if is_this && self.room.lock().seats.is_empty() {
            rooms.remove(&self.room.name);
        }
    }
}
