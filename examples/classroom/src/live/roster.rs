//! Who is in a room, on all nodes: persons, each with one connection or more.

use std::collections::{HashMap, HashSet};

use fullduplex::hub::MemberId;

use super::wire::{Entered, Person};
use crate::values::ParticipantId;

/// The persons in a room.
#[derive(Debug, Default)]
pub(super) struct Roster {
    people: HashMap<ParticipantId, Entry>,
    /// Who each connection is, and since when.
    members: HashMap<MemberId, (ParticipantId, i64)>,
    /// The connections that have changed while the list of all is being read.
    changed: Option<HashSet<MemberId>>,
}

#[derive(Debug)]
struct Entry {
    person: Person,
    connections: usize,
}

/// A change of the persons in a room.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Change {
    Joined(Person),
    Changed(Person),
    Left(ParticipantId),
}

impl Roster {
    /// Takes a connection that has entered, or has new data.
    pub(super) fn entered(&mut self, member: MemberId, entered: Entered) -> Option<Change> {
        self.note(member);
        self.add(member, entered)
    }

    /// Takes a connection that has left.
    pub(super) fn left(&mut self, member: MemberId) -> Option<Change> {
        self.note(member);
        self.remove(member)
    }

    /// The list of all connections is about to be read.
    pub(super) fn begin_to_read(&mut self) {
        self.changed = Some(HashSet::new());
    }

    /// Takes the list of all connections. What has changed since it was begun to be read is newer.
    pub(super) fn read(&mut self, present: Vec<(MemberId, Entered)>) -> Vec<Change> {
        let newer = self.changed.take().unwrap_or_default();
        let listed: HashSet<_> = present.iter().map(|(member, _)| *member).collect();
        let gone: Vec<_> =
            self.members.keys().filter(|id| !listed.contains(id) && !newer.contains(id)).copied().collect();
        let entered = present.into_iter().filter(|(id, _)| !newer.contains(id));
        let mut changes: Vec<_> = entered.filter_map(|(id, entered)| self.add(id, entered)).collect();
        changes.extend(gone.into_iter().filter_map(|id| self.remove(id)));
        changes
    }

    /// Returns a person.
    pub(super) fn get(&self, id: &ParticipantId) -> Option<&Person> {
        self.people.get(id).map(|entry| &entry.person)
    }

    /// Returns all persons.
    pub(super) fn people(&self) -> impl Iterator<Item = &Person> {
        self.people.values().map(|entry| &entry.person)
    }

    /// Returns how many persons there are.
    pub(super) fn len(&self) -> usize {
        self.people.len()
    }

    /// Returns those who have to leave because another person has a name that looks the same: all but
    /// the one whose first connection was opened first, or has the smaller id.
    ///
    /// All nodes have the same list, so they agree.
    pub(super) fn without_name(&self) -> Vec<ParticipantId> {
        let mut by_name = HashMap::<String, Vec<&ParticipantId>>::new();
        for person in self.people() {
            by_name.entry(person.name.folded()).or_default().push(&person.id);
        }
        let mut losers = Vec::new();
        for mut ids in by_name.into_values().filter(|ids| ids.len() > 1) {
            ids.sort_by_cached_key(|id| self.claim(id));
            losers.extend(ids.into_iter().skip(1).cloned());
        }
        losers
    }

    /// Returns the first connection of a person.
    fn claim(&self, id: &ParticipantId) -> Option<(i64, MemberId)> {
        let own = self.members.iter().filter(|(_, (of, _))| of == id);
        own.map(|(member, (_, since))| (*since, *member)).min()
    }

    /// Returns what has changed since a page was given a list.
    pub(super) fn changes_since(&self, list: &[Person]) -> Vec<Change> {
        let known: HashMap<_, _> = list.iter().map(|person| (&person.id, person)).collect();
        let joined = self.people().filter_map(|person| match known.get(&person.id) {
            None => Some(Change::Joined(person.clone())),
            Some(before) if *before != person => Some(Change::Changed(person.clone())),
            Some(_) => None,
        });
        let left = list.iter().filter(|person| !self.people.contains_key(&person.id));
        joined.chain(left.map(|person| Change::Left(person.id.clone()))).collect()
    }

    fn note(&mut self, member: MemberId) {
        if let Some(changed) = &mut self.changed {
            changed.insert(member);
        }
    }

    fn add(&mut self, member: MemberId, Entered { person, since }: Entered) -> Option<Change> {
        let is_new = self.members.insert(member, (person.id.clone(), since)).is_none();
        match self.people.get_mut(&person.id) {
            Some(entry) => {
                entry.connections += usize::from(is_new);
                let has_changed = entry.person != person;
                entry.person = person;
                has_changed.then(|| Change::Changed(entry.person.clone()))
            }
            None => {
                let entry = Entry { person: person.clone(), connections: 1 };
                self.people.insert(person.id.clone(), entry);
                Some(Change::Joined(person))
            }
        }
    }

    fn remove(&mut self, member: MemberId) -> Option<Change> {
        let (id, _) = self.members.remove(&member)?;
        let entry = self.people.get_mut(&id)?;
        entry.connections -= 1;
        if entry.connections > 0 {
            return None;
        }
        self.people.remove(&id);
        Some(Change::Left(id))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::Role;

    fn member(serial: u64) -> MemberId {
        MemberId { node: 1, serial }
    }

    fn person(id: &str, muted: bool) -> Person {
        let name = id.parse().expect("valid");
        Person { id: id.parse().expect("valid"), name, role: Role::Student, muted }
    }

    fn entered(id: &str, muted: bool) -> Entered {
        Entered { person: person(id, muted), since: 5 }
    }

    #[test]
    fn a_person_joins_with_the_first_connection_and_leaves_with_the_last() {
        let mut roster = Roster::default();
        let ann = person("ann", false);
        assert_eq!(roster.entered(member(1), entered("ann", false)), Some(Change::Joined(ann.clone())));
        assert_eq!(roster.entered(member(2), entered("ann", false)), None);
        assert_eq!(roster.entered(member(2), entered("ann", false)), None, "the same connection again");
        let muted = person("ann", true);
        assert_eq!(roster.entered(member(1), entered("ann", true)), Some(Change::Changed(muted)));
        assert_eq!(roster.left(member(1)), None);
        assert_eq!(roster.left(member(2)), Some(Change::Left(ann.id)));
        assert_eq!(roster.left(member(2)), None);
        assert_eq!(roster.len(), 0);
    }

    #[test]
    fn a_list_that_was_read_corrects_what_is_known_but_not_what_is_newer() {
        let mut roster = Roster::default();
        roster.entered(member(1), entered("ann", false));
        roster.begin_to_read();
        roster.left(member(2));
        roster.entered(member(3), entered("eve", false));
        let list = vec![(member(2), entered("bob", false)), (member(4), entered("joe", false))];
        let changes = roster.read(list);
        let ann = "ann".parse().expect("valid");
        assert_eq!(changes, [Change::Joined(person("joe", false)), Change::Left(ann)]);
        let mut people: Vec<_> = roster.people().map(|person| person.name.as_str()).collect();
        people.sort_unstable();
        assert_eq!(people, ["eve", "joe"]);
    }

    #[test]
    fn changes_since_a_list_are_the_difference() {
        let mut roster = Roster::default();
        roster.entered(member(1), entered("ann", true));
        roster.entered(member(2), entered("eve", false));
        let list = [person("ann", false), person("bob", false)];
        let mut changes = roster.changes_since(&list);
        changes.sort_by_key(|change| format!("{change:?}"));
        let bob = "bob".parse().expect("valid");
        let expected =
            [Change::Changed(person("ann", true)), Change::Joined(person("eve", false)), Change::Left(bob)];
        assert_eq!(changes, expected);
    }

    #[test]
    fn of_persons_with_one_name_the_first_one_stays() {
        let named = |id: &str, name: &str, since| {
            let person = Person { name: name.parse().expect("valid"), ..person(id, false) };
            Entered { person, since }
        };
        let mut roster = Roster::default();
        roster.entered(member(1), named("b", "Ann", 7));
        roster.entered(member(9), entered("joe", false));
        assert_eq!(roster.without_name(), []);
        roster.entered(member(2), named("a", "ann", 6));
        roster.entered(member(3), named("c", "Ann ", 6));
        let id = |id: &str| id.parse::<ParticipantId>().expect("valid");
        assert_eq!(roster.without_name(), [id("c"), id("b")], "at one time, the smaller id");
        // The first connection of a person counts.
        roster.entered(member(4), named("c", "Ann", 5));
        assert_eq!(roster.without_name(), [id("a"), id("b")]);
        roster.left(member(4));
        roster.left(member(2));
        assert_eq!(roster.without_name(), [id("b")]);
    }
}
