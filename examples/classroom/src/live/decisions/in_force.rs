//! What is in force in a room, as pure functions on plain state.

use serde::{Deserialize, Serialize};

use super::super::control::What;
use crate::{
    store::{Restriction, RoomState},
    values::{Name, ParticipantId},
};

/// The most restrictions of a room. Each is for one person.
pub(super) const MOST: usize = 500;

/// What is in force in a room: who is restricted, and whether the room is closed.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct InForce {
    closed_by: Option<Name>,
    restricted: Vec<Restricted>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Restricted {
    id: ParticipantId,
    name: Name,
    /// Who has removed the person; `None` if the person is muted.
    removed_by: Option<Name>,
}

impl Restricted {
    fn kind(&self) -> Restriction {
        if self.removed_by.is_some() { Restriction::Barred } else { Restriction::Muted }
    }

    fn what(&self) -> What {
        let (id, name) = (self.id.clone(), self.name.clone());
        match self.removed_by.clone() {
            Some(by) => What::Remove { id, name, by },
            None => What::Mute { id, name },
        }
    }
}

impl InForce {
    /// Takes a decision.
    pub(super) fn apply(&mut self, what: &What) {
        match what.clone() {
            What::Mute { id, name } => self.restrict(Restricted { id, name, removed_by: None }),
            What::Remove { id, name, by } => self.restrict(Restricted { id, name, removed_by: Some(by) }),
            What::Unmute { id } => self.unmute(&id),
            What::Close { by } => self.closed_by = Some(by),
            What::Reopen => self.closed_by = None,
        }
    }

    /// Adds all that is in force elsewhere.
    pub(super) fn add(&mut self, other: &Self) {
        other.restricted.iter().cloned().for_each(|restricted| self.restrict(restricted));
        if self.closed_by.is_none() {
            self.closed_by.clone_from(&other.closed_by);
        }
    }

    /// Returns how a person finds the room.
    pub(super) fn state(&self, id: &ParticipantId, name: &Name) -> RoomState {
        let folded = name.folded();
        let is = |kind| {
            let mut of_kind = self.restricted.iter().filter(|restricted| restricted.kind() == kind);
            of_kind.any(|restricted| restricted.id == *id || restricted.name.folded() == folded)
        };
        RoomState {
            is_closed: self.closed_by.is_some(),
            is_muted: is(Restriction::Muted),
            is_barred: is(Restriction::Barred),
        }
    }

    /// Returns the decisions that lead from here to `then`.
    pub(super) fn changes_to(&self, then: &Self) -> Vec<What> {
        let missing_in = |other: &Self, restricted: &&Restricted| !other.restricted.contains(restricted);
        let added = then.restricted.iter().filter(|each| missing_in(self, each)).map(Restricted::what);
        let ended = self.restricted.iter().filter(|each| each.removed_by.is_none() && missing_in(then, each));
        let ended = ended.map(|each| What::Unmute { id: each.id.clone() });
        let closed = match (&self.closed_by, &then.closed_by) {
            (None, Some(by)) => Some(What::Close { by: by.clone() }),
            (Some(_), None) => Some(What::Reopen),
            _ => None,
        };
        // What has ended first: the same person may be muted by another entry.
        ended.chain(added).chain(closed).collect()
    }

    /// Returns the decisions that [`add`](Self::add) would take.
    pub(super) fn changes_by(&self, other: &Self) -> Vec<What> {
        let mut then = self.clone();
        then.add(other);
        self.changes_to(&then)
    }

    /// Returns whether a decision would exceed the limit.
    pub(super) fn is_full_for(&self, what: &What) -> bool {
        let (What::Mute { id, .. } | What::Remove { id, .. }) = what else { return false };
        let kind = if matches!(what, What::Mute { .. }) { Restriction::Muted } else { Restriction::Barred };
        self.len() >= MOST && !self.restricted.iter().any(|each| each.id == *id && each.kind() == kind)
    }

    /// Returns the number of restrictions.
    pub(super) fn len(&self) -> usize {
        self.restricted.len()
    }

    fn restrict(&mut self, new: Restricted) {
        let is_same = |each: &&mut Restricted| each.id == new.id && each.kind() == new.kind();
        match self.restricted.iter_mut().find(is_same) {
            Some(known) => *known = new,
            None => self.restricted.push(new),
        }
    }

    /// Ends that a person is muted, also with an earlier id and the same name.
    fn unmute(&mut self, id: &ParticipantId) {
        let muted = |each: &&Restricted| each.removed_by.is_none();
        let own = self.restricted.iter().filter(muted).find(|each| each.id == *id);
        let Some(folded) = own.map(|each| each.name.folded()) else { return };
        self.restricted.retain(|each| !muted(&each) || each.name.folded() != folded);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(text: &str) -> ParticipantId {
        text.parse().expect("valid")
    }

    fn name(text: &str) -> Name {
        text.parse().expect("valid")
    }

    fn mute(person: &str) -> What {
        What::Mute { id: id(person), name: name(person) }
    }

    fn remove(person: &str) -> What {
        What::Remove { id: id(person), name: name(person), by: name("Tess") }
    }

    fn after(decisions: &[What]) -> InForce {
        let mut in_force = InForce::default();
        decisions.iter().for_each(|what| in_force.apply(what));
        in_force
    }

    #[test]
    fn restrictions_apply_to_the_id_and_to_names_that_look_the_same() {
        let in_force = after(&[remove("Bob"), mute("Eve")]);
        for (person, names, expected) in [
            ("Bob", "Another", (false, true)),
            ("x", "bob", (false, true)),
            ("x", " BOB ", (false, true)),
            ("Eve", "Eve", (true, false)),
            ("x", "Ann", (false, false)),
        ] {
            let state = in_force.state(&id(person), &name(names));
            assert_eq!((state.is_muted, state.is_barred), expected, "{person} {names}");
        }
    }

    #[test]
    fn a_person_who_is_unmuted_may_talk_with_each_id_and_stays_barred() {
        let again = What::Mute { id: id("x"), name: name("bob") };
        let in_force = after(&[mute("Bob"), again, remove("Bob"), What::Unmute { id: id("Bob") }]);
        let state = in_force.state(&id("x"), &name("Bob"));
        assert_eq!((state.is_muted, state.is_barred), (false, true));
        assert_eq!(in_force.len(), 1);
        assert_eq!(after(&[What::Unmute { id: id("Bob") }]), InForce::default());
    }

    #[test]
    fn the_last_decision_about_the_room_counts() {
        let close = What::Close { by: name("Tess") };
        for (decisions, closed) in [
            (vec![close.clone()], true),
            (vec![close.clone(), What::Reopen], false),
            (vec![What::Reopen], false),
        ] {
            assert_eq!(after(&decisions).state(&id("x"), &name("X")).is_closed, closed, "{decisions:?}");
        }
    }

    #[test]
    fn the_changes_to_another_state_lead_there() {
        let before = after(&[mute("Ann"), mute("Bob"), remove("Eve")]);
        let then = after(&[mute("Bob"), remove("Eve"), remove("Joe"), What::Close { by: name("Tess") }]);
        let changes = before.changes_to(&then);
        let close = What::Close { by: name("Tess") };
        assert_eq!(changes, [What::Unmute { id: id("Ann") }, remove("Joe"), close]);
        let mut state = before.clone();
        changes.iter().for_each(|what| state.apply(what));
        assert_eq!(state, then);
        assert_eq!(then.changes_to(&before).last(), Some(&What::Reopen));
    }

    #[test]
    fn what_is_added_restricts_and_releases_nobody() {
        let mut in_force = after(&[mute("Ann")]);
        in_force.add(&after(&[remove("Bob"), What::Close { by: name("Tess") }]));
        assert_eq!(in_force, after(&[mute("Ann"), remove("Bob"), What::Close { by: name("Tess") }]));
        in_force.add(&InForce::default());
        assert_eq!(in_force.len(), 2);
    }

    #[test]
    fn a_room_is_full_for_further_persons_alone() {
        let mut in_force = InForce::default();
        for number in 0..MOST {
            let what = mute(&format!("student-{number}"));
            assert!(!in_force.is_full_for(&what));
            in_force.apply(&what);
        }
        assert!(in_force.is_full_for(&mute("Ann")) && in_force.is_full_for(&remove("student-0")));
        assert!(!in_force.is_full_for(&mute("student-0")));
        assert!(!in_force.is_full_for(&What::Unmute { id: id("student-0") }));
        assert!(!in_force.is_full_for(&What::Reopen));
    }
}
