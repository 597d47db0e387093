//! Whose sockets may be recovered.
//!
//! Socket.IO gives a socket that is recovered the rooms that it had, whatever token its client sends. So the
//! program remembers whose socket it was, and accepts nobody else: a student who was removed does not read
//! on with the token of the link.

use std::{
    collections::{HashMap, VecDeque},
    hash::Hash,
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use socketio::engine::Sid;

use crate::values::{ParticipantId, RoomName};

/// Lost sockets that are remembered, at most. The oldest is then not recovered, and connects as a new one.
pub const MAX_LOST: usize = 10_000;

/// The sockets that are in a class, and those that were lost and may come back, by their ids.
#[derive(Debug)]
pub struct Returning<I = Sid> {
    time: Duration,
    table: Mutex<Table<I>>,
}

#[derive(Debug)]
struct Table<I> {
    sockets: HashMap<I, Owner>,
    /// The lost ones, the oldest first.
    lost: VecDeque<(Instant, I)>,
}

#[derive(Debug)]
struct Owner {
    class: RoomName,
    person: ParticipantId,
    lost_at: Option<Instant>,
}

impl<I: Copy + Eq + Hash> Returning<I> {
    /// Creates an empty table. Lost sockets are remembered for this long.
    pub fn new(time: Duration) -> Self {
        Self { time, table: Mutex::new(Table { sockets: HashMap::new(), lost: VecDeque::new() }) }
    }

    /// Remembers whose socket it is.
    pub fn entered(&self, socket: I, class: &RoomName, person: &ParticipantId) {
        let owner = Owner { class: class.clone(), person: person.clone(), lost_at: None };
        self.lock().sockets.insert(socket, owner);
    }

    /// Forgets the sockets of a class.
    pub fn forget_class(&self, class: &RoomName) {
        self.lock().sockets.retain(|_, owner| owner.class != *class);
    }

    /// Notes that a socket has left, whose connection may have been lost, and forgets those that were lost too long ago.
    pub fn lost(&self, socket: I, now: Instant) {
        let mut table = self.lock();
        if let Some(owner) = table.sockets.get_mut(&socket) {
            owner.lost_at = Some(now);
            table.lost.push_back((now, socket));
        }
        while let Some(&(at, oldest)) = table.lost.front() {
            if table.lost.len() <= MAX_LOST && now.saturating_duration_since(at) <= self.time {
                break;
            }
            table.lost.pop_front();
            // It may have come back since, and may have been lost again.
            if table.sockets.get(&oldest).is_some_and(|owner| owner.lost_at == Some(at)) {
                table.sockets.remove(&oldest);
            }
        }
    }

    /// Takes a socket that comes back. Returns whether it is that of this person in this class.
    pub fn take(&self, socket: I, class: &RoomName, person: &ParticipantId) -> bool {
        let owner = self.lock().sockets.remove(&socket);
        owner.is_some_and(|owner| owner.class == *class && owner.person == *person)
    }

    fn lock(&self) -> MutexGuard<'_, Table<I>> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn class(name: &str) -> RoomName {
        name.parse().expect("valid")
    }

    fn person(id: &str) -> ParticipantId {
        id.parse().expect("valid")
    }

    fn table() -> Returning<usize> {
        Returning::new(10 * SECOND)
    }

    #[test]
    fn a_socket_comes_back_once_for_its_person_in_its_class() {
        for (room, who, expected) in [("a", "1", true), ("b", "1", false), ("a", "2", false)] {
            let returning = table();
            returning.entered(7, &class("a"), &person("1"));
            assert_eq!(returning.take(7, &class(room), &person(who)), expected);
            assert!(!returning.take(7, &class("a"), &person("1")), "it was taken");
        }
    }

    #[test]
    fn no_socket_of_a_class_that_is_forgotten_comes_back() {
        let returning = table();
        returning.entered(7, &class("a"), &person("1"));
        returning.entered(8, &class("b"), &person("1"));
        returning.forget_class(&class("a"));
        assert!(!returning.take(7, &class("a"), &person("1")));
        assert!(returning.take(8, &class("b"), &person("1")), "the other one stays");
    }

    #[test]
    fn lost_sockets_are_forgotten_after_their_time() {
        let (returning, now) = (table(), Instant::now());
        for socket in [1, 2, 3] {
            returning.entered(socket, &class("a"), &person("1"));
        }
        returning.lost(1, now);
        returning.lost(2, now);
        // It comes back.
        assert!(returning.take(2, &class("a"), &person("1")));
        returning.entered(2, &class("a"), &person("1"));
        returning.lost(3, now + 11 * SECOND);
        let there = [1, 2, 3].map(|socket| returning.take(socket, &class("a"), &person("1")));
        assert_eq!(there, [false, true, true]);
        assert_eq!(returning.lock().lost.len(), 1);
    }

    #[test]
    fn so_many_lost_sockets_are_remembered() {
        let (returning, now) = (table(), Instant::now());
        for socket in 0..=MAX_LOST {
            returning.entered(socket, &class("a"), &person("1"));
            returning.lost(socket, now);
        }
        assert_eq!(returning.lock().sockets.len(), MAX_LOST);
        assert!(!returning.take(0, &class("a"), &person("1")));
    }
}
