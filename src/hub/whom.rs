//! For which of the members that are addressed a message is.

use std::{collections::HashSet, mem};

use super::{position::MemberId, recipient::Recipient};

/// For which of the members that are addressed a message is.
///
/// What most programs need has a form of its own, which takes no further memory.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) enum Whom {
    #[default]
    Everyone,
    Except(MemberId),
    /// The connections of these users.
    Users(Vec<String>),
    ExceptUser(String),
    /// What none of the others expresses.
    Selected(Box<Selection>),
}

/// Conditions, all of which a member meets.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Selection {
    pub(super) among: Option<Among>,
    /// The connections of these users.
    pub(super) users: Option<Vec<String>>,
    pub(super) except: Vec<MemberId>,
    pub(super) except_rooms: Vec<String>,
    pub(super) except_users: Vec<String>,
}

/// Members of rooms, and others.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Among {
    pub(super) rooms: Vec<String>,
    pub(super) members: Vec<MemberId>,
}

/// The numbers of the members here of the rooms that a selection names.
#[derive(Debug, Default)]
pub(super) struct InRooms {
    among: HashSet<u64>,
    except: HashSet<u64>,
}

impl Whom {
    pub(super) fn except(&mut self, member: MemberId) {
        match self {
            Self::Everyone => *self = Self::Except(member),
            _ => self.select(|selection| selection.except.push(member)),
        }
    }

    pub(super) fn users(&mut self, users: Vec<String>) {
        match self {
            Self::Everyone => *self = Self::Users(users),
            _ => self.select(|selection| selection.users.get_or_insert_default().extend(users)),
        }
    }

    pub(super) fn except_user(&mut self, user: String) {
        match self {
            Self::Everyone => *self = Self::ExceptUser(user),
            _ => self.select(|selection| selection.except_users.push(user)),
        }
    }

    pub(super) fn rooms(&mut self, rooms: Vec<String>) {
        self.select(|selection| selection.among.get_or_insert_default().rooms.extend(rooms));
    }

    pub(super) fn members(&mut self, members: Vec<MemberId>) {
        self.select(|selection| selection.among.get_or_insert_default().members.extend(members));
    }

    pub(super) fn except_rooms(&mut self, rooms: Vec<String>) {
        self.select(|selection| selection.except_rooms.extend(rooms));
    }

    /// Changes the selection, which keeps its shortest form.
    fn select(&mut self, change: impl FnOnce(&mut Selection)) {
        let mut selection = mem::take(self).into_selection();
        change(&mut selection);
        *self = selection.into_whom();
    }

    fn into_selection(self) -> Selection {
        let mut selection = Selection::default();
        match self {
            Self::Everyone => {}
            Self::Except(member) => selection.except.push(member),
            Self::Users(users) => selection.users = Some(users),
            Self::ExceptUser(user) => selection.except_users.push(user),
            Self::Selected(selected) => selection = *selected,
        }
        selection
    }

    /// Finds the members of the rooms that the selection names, by a function that adds those of one.
    /// Returns `None` if it names none.
    pub(super) fn find_rooms(&self, mut add: impl FnMut(&str, &mut HashSet<u64>)) -> Option<Box<InRooms>> {
        let Self::Selected(selection) = self else { return None };
        let rooms = selection.among.as_ref().map_or(&[][..], |among| &among.rooms);
        if rooms.is_empty() && selection.except_rooms.is_empty() {
            return None;
        }
        let mut found = Box::<InRooms>::default();
        rooms.iter().for_each(|room| add(room, &mut found.among));
        selection.except_rooms.iter().for_each(|room| add(room, &mut found.except));
        Some(found)
    }

    /// Returns whether the message is for a member of the hub with the number `node`, of which `found`
    /// has the members of the rooms that the selection names.
    #[inline]
    pub(super) fn includes(&self, recipient: &Recipient, node: u64, found: Option<&InRooms>) -> bool {
        match self {
            Self::Everyone => true,
            Self::Except(member) => (member.node, member.serial) != (node, recipient.serial),
            Self::Users(users) => recipient.user().is_some_and(|own| users.iter().any(|user| user == own)),
            Self::ExceptUser(user) => recipient.user() != Some(user),
            Self::Selected(selection) => selection.includes(recipient, node, found),
        }
    }

    /// Returns whether the message is for a user, if it is for any member.
    pub(super) fn is_for_user(&self, user: &str) -> bool {
        match self {
            Self::Everyone | Self::Except(_) => true,
            Self::Users(users) => users.iter().any(|other| other == user),
            Self::ExceptUser(other) => other != user,
            Self::Selected(selection) => selection.is_for_user(Some(user)),
        }
    }
}

impl Selection {
    /// Returns the shortest form of the same.
    pub(super) fn into_whom(mut self) -> Whom {
        if self.among.is_none() && self.except_rooms.is_empty() {
            match (&mut self.users, &mut self.except[..], &mut self.except_users[..]) {
                (None, [], []) => return Whom::Everyone,
                (None, [member], []) => return Whom::Except(*member),
                (Some(users), [], []) => return Whom::Users(mem::take(users)),
                (None, [], [user]) => return Whom::ExceptUser(mem::take(user)),
                _ => {}
            }
        }
        Whom::Selected(Box::new(self))
    }

    fn includes(&self, recipient: &Recipient, node: u64, found: Option<&InRooms>) -> bool {
        let own = MemberId { node, serial: recipient.serial };
        let is_among = |among: &Among| {
            among.members.contains(&own) || found.is_some_and(|found| found.among.contains(&own.serial))
        };
        self.among.as_ref().is_none_or(is_among)
            && !self.except.contains(&own)
            && !found.is_some_and(|found| found.except.contains(&own.serial))
            && self.is_for_user(recipient.user())
    }

    fn is_for_user(&self, user: Option<&str>) -> bool {
        let is_one_of = |users: &[String]| user.is_some_and(|own| users.iter().any(|user| user == own));
        self.users.as_ref().is_none_or(|users| is_one_of(users)) && !is_one_of(&self.except_users)
    }
}
