//! Who is in a class, and who may not come back.

use std::{collections::VecDeque, time::SystemTime};

use crate::{
    auth::{Participant, Role},
    values::ParticipantId,
};

/// Persons in a class, at most.
pub const MAX_MEMBERS: usize = 200;

/// Sockets of one person, at most: the windows of a browser, and connections that are lost and not known
/// to be. One more replaces the oldest.
pub const MAX_SEATS: usize = 5;

/// Removed students that a class remembers. Beyond that, the oldest is forgotten.
pub const MAX_REMOVED: usize = 1000;

/// The persons in a class with their sockets, of type `S`.
#[derive(Debug)]
pub struct Roster<S> {
    members: Vec<Member<S>>,
    removed: VecDeque<Removed>,
    next_seat: u64,
}

#[derive(Debug)]
struct Member<S> {
    participant: Participant,
    seats: VecDeque<Seat<S>>,
}

/// The place of a socket.
#[derive(Debug)]
pub struct Seat<S> {
    /// The number, which no other seat of the class has or has had.
    pub number: u64,
    /// The socket.
    pub socket: S,
    /// Since when it is in the class.
    pub since: SystemTime,
}

/// A student who was removed, by the id and by the name in the form in which names are compared.
#[derive(Debug)]
struct Removed {
    id: ParticipantId,
    name: String,
}

/// What has changed when a socket has entered.
#[derive(Debug, PartialEq, Eq)]
pub struct Entered<S> {
    /// The number of its seat.
    pub seat: u64,
    /// Whether the person was not in the class before.
    pub is_new: bool,
    /// The socket that had to leave for it.
    pub replaced: Option<S>,
}

/// Why a person cannot enter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NoEntry {
    /// A teacher has removed the student.
    #[error("a teacher has removed you from the class")]
    Removed,
    /// Another person in the class has a name that looks the same.
    #[error("somebody in the class has this name: choose another one")]
    NameTaken,
    /// There are too many persons.
    #[error("the class is full")]
    Full,
}

/// Why a person cannot be removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NotRemoved {
    /// Nobody with this id is there.
    #[error("nobody in the class has this id")]
    Unknown,
    /// Teachers stay.
    #[error("a teacher cannot be removed")]
    Teacher,
}

impl<S> Roster<S> {
    /// Creates an empty class.
    pub fn new() -> Self {
        Self { members: Vec::new(), removed: VecDeque::new(), next_seat: 0 }
    }

    /// Adds a socket of a person.
    ///
    /// # Errors
    /// Fails if the person may not enter, or there is no room.
    pub fn enter(&mut self, participant: &Participant, socket: S) -> Result<Entered<S>, NoEntry> {
        let name = participant.name.folded();
        if self.has_removed(participant) {
            return Err(NoEntry::Removed);
        }
        let mut others = self.members.iter().map(|member| &member.participant);
        if others.any(|other| other.id != participant.id && other.name.folded() == name) {
            return Err(NoEntry::NameTaken);
        }
        let found = self.members.iter().position(|member| member.participant.id == participant.id);
        if found.is_none() && self.members.len() >= MAX_MEMBERS {
            return Err(NoEntry::Full);
        }
        let index = found.unwrap_or_else(|| {
            self.members.push(Member { participant: participant.clone(), seats: VecDeque::new() });
            self.members.len() - 1
        });
        let seats = &mut self.members[index].seats;
        let replaced = if seats.len() >= MAX_SEATS { seats.pop_front() } else { None };
        self.next_seat += 1;
        seats.push_back(Seat { number: self.next_seat, socket, since: SystemTime::now() });
        let replaced = replaced.map(|seat| seat.socket);
        Ok(Entered { seat: self.next_seat, is_new: found.is_none(), replaced })
    }

    /// Removes a seat. Returns whether the person has left, who had no other.
    pub fn leave(&mut self, seat: u64) -> bool {
        for member in &mut self.members {
            member.seats.retain(|other| other.number != seat);
        }
        let before = self.members.len();
        self.members.retain(|member| !member.seats.is_empty());
        self.members.len() < before
    }

    /// Removes a student, who may not come back. Returns their sockets.
    ///
    /// # Errors
    /// Fails if there is no such student.
    pub fn remove(&mut self, id: &ParticipantId) -> Result<Vec<S>, NotRemoved> {
        let index = self.members.iter().position(|member| member.participant.id == *id);
        let index = index.ok_or(NotRemoved::Unknown)?;
        if self.members[index].participant.role == Role::Teacher {
            return Err(NotRemoved::Teacher);
        }
        let Member { participant, seats } = self.members.remove(index);
        if self.removed.len() >= MAX_REMOVED {
            self.removed.pop_front();
        }
        self.removed.push_back(Removed { name: participant.name.folded(), id: participant.id });
        Ok(seats.into_iter().map(|seat| seat.socket).collect())
    }

    /// Removes everyone. Returns their sockets.
    pub fn clear(&mut self) -> Vec<S> {
        let seats = self.members.drain(..).flat_map(|member| member.seats);
        seats.map(|seat| seat.socket).collect()
    }

    /// Returns whether this is a student whom a teacher has removed, also with another id and a name that
    /// looks the same.
    pub fn has_removed(&self, participant: &Participant) -> bool {
        let name = participant.name.folded();
        participant.role == Role::Student
            && self.removed.iter().any(|removed| removed.id == participant.id || removed.name == name)
    }

    /// Returns who has a seat.
    pub fn at(&self, seat: u64) -> Option<&Participant> {
        self.seats().find(|(_, other)| other.number == seat).map(|(participant, _)| participant)
    }

    /// Returns a person by the id.
    pub fn get(&self, id: &ParticipantId) -> Option<&Participant> {
        self.participants().find(|participant| participant.id == *id)
    }

    /// Returns all persons, in the order in which they entered.
    pub fn participants(&self) -> impl Iterator<Item = &Participant> {
        self.members.iter().map(|member| &member.participant)
    }

    /// Returns all seats, with their persons.
    pub fn seats(&self) -> impl Iterator<Item = (&Participant, &Seat<S>)> {
        self.members.iter().flat_map(|member| member.seats.iter().map(|seat| (&member.participant, seat)))
    }
}

impl<S> Default for Roster<S> {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn person(id: &str, name: &str, role: Role) -> Participant {
        Participant { id: id.parse().expect("valid"), name: name.parse().expect("valid"), role }
    }

    fn student(id: &str, name: &str) -> Participant {
        person(id, name, Role::Student)
    }

    fn names(roster: &Roster<u32>) -> Vec<&str> {
        roster.participants().map(|participant| participant.name.as_str()).collect()
    }

    #[test]
    fn a_person_is_there_as_long_as_one_socket_is() {
        let mut roster = Roster::new();
        let ann = student("1", "Ann");
        let first = roster.enter(&ann, 1).expect("room");
        let second = roster.enter(&ann, 2).expect("room");
        assert_eq!((first.is_new, second.is_new), (true, false));
        assert_eq!(roster.at(second.seat), Some(&ann));
        assert!(!roster.leave(first.seat));
        assert_eq!((roster.at(first.seat), names(&roster)), (None, vec!["Ann"]));
        assert!(roster.leave(second.seat));
        assert!(!roster.leave(second.seat));
        assert_eq!(names(&roster), [""; 0]);
    }

    #[test]
    fn the_oldest_socket_of_a_person_is_replaced_beyond_the_limit() {
        let mut roster = Roster::new();
        let ann = student("1", "Ann");
        let replaced: Vec<_> =
            (0..=MAX_SEATS).map(|socket| roster.enter(&ann, socket).expect("room").replaced).collect();
        assert_eq!(replaced[..MAX_SEATS], [None; MAX_SEATS]);
        assert_eq!((replaced[MAX_SEATS], roster.seats().count()), (Some(0), MAX_SEATS));
    }

    #[test]
    fn two_persons_do_not_have_names_that_look_the_same() {
        let mut roster = Roster::new();
        roster.enter(&student("1", "Ann"), 1).expect("room");
        assert_eq!(roster.enter(&student("2", "ANN"), 2), Err(NoEntry::NameTaken));
        roster.enter(&student("2", "Anna"), 2).expect("room");
    }

    #[test]
    fn a_class_has_a_limit() {
        let mut roster = Roster::new();
        for number in 0..MAX_MEMBERS {
            roster.enter(&student(&number.to_string(), &number.to_string()), number).expect("room");
        }
        assert_eq!(roster.enter(&student("x", "x"), 0), Err(NoEntry::Full));
        // Who is in it has room.
        roster.enter(&student("0", "0"), 0).expect("room");
    }

    #[test]
    fn a_removed_student_does_not_come_back_by_id_or_by_name() {
        let mut roster = Roster::new();
        let ann = student("1", "Ann");
        for socket in [1, 2] {
            roster.enter(&ann, socket).expect("room");
        }
        roster.enter(&person("9", "Tess", Role::Teacher), 9).expect("room");
        assert_eq!(roster.remove(&ann.id), Ok(vec![1, 2]));
        assert_eq!(roster.remove(&ann.id), Err(NotRemoved::Unknown));
        assert_eq!(roster.remove(&"9".parse().expect("valid")), Err(NotRemoved::Teacher));
        for again in [ann, student("1", "Bob"), student("3", " ann ")] {
            assert_eq!(roster.enter(&again, 3), Err(NoEntry::Removed));
        }
        assert_eq!(names(&roster), ["Tess"]);
        // The name does not matter for a teacher.
        roster.enter(&person("4", "Ann", Role::Teacher), 4).expect("room");
    }

    #[test]
    fn a_thousand_removed_students_are_remembered() {
        let mut roster = Roster::new();
        for number in 0..=MAX_REMOVED {
            let one = student(&number.to_string(), &number.to_string());
            roster.enter(&one, number).expect("room");
            roster.remove(&one.id).expect("there");
        }
        assert!(roster.has_removed(&student("1", "1")));
        assert!(!roster.has_removed(&student("0", "0")), "the oldest one is forgotten");
    }
}
