//! For which of the members that are addressed a message is.

use std::mem;

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

/// The members here that a selection names, and those of the rooms that it names.
///
/// They are found by where they are in memory, so that no memory of the others is loaded. It is made
/// after the list of those who are addressed, which keeps them: none of these is another one later.
#[derive(Debug, Default)]
pub(super) struct Found {
    /// `None` if all members are selected.
    among: Option<Vec<usize>>,
    except: Vec<usize>,
}

/// What a selection names.
pub(super) enum Named<'a> {
    Room(&'a str),
    Member(MemberId),
}

impl Found {
    /// Adds a member.
    pub(super) fn add(&mut self, recipient: &Recipient) {
        self.among.get_or_insert_default().push(address(recipient));
    }

    /// Returns whether all members are selected but a few.
    pub(super) fn is_of_all(&self) -> bool {
        self.among.is_none()
    }

    /// Returns whether a member is one of those that are selected, and not excluded. It reads nothing of
    /// the member.
    pub(super) fn includes(&self, recipient: &Recipient) -> bool {
        let address = address(recipient);
        let is_in = |members: &[usize]| members.binary_search(&address).is_ok();
        self.among.as_ref().is_none_or(|among| is_in(among)) && !is_in(&self.except)
    }
}

fn address(recipient: &Recipient) -> usize {
    std::ptr::from_ref(recipient).addr()
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

    /// Finds the members that the selection names, and those of the rooms that it names, by a function
    /// that adds them. Returns `None` if it names none.
    pub(super) fn find(&self, mut add: impl FnMut(Named<'_>, &mut Found)) -> Option<Box<Found>> {
        let Self::Selected(selection) = self else { return None };
        if selection.among.is_none() && selection.except_rooms.is_empty() {
            return None;
        }
        let mut found = Box::<Found>::default();
        selection.except_rooms.iter().for_each(|room| add(Named::Room(room), &mut found));
        found.except = found.among.take().unwrap_or_default();
        if let Some(Among { rooms, members }) = &selection.among {
            found.among = Some(Vec::new());
            rooms.iter().for_each(|room| add(Named::Room(room), &mut found));
            members.iter().for_each(|member| add(Named::Member(*member), &mut found));
        }
        found.among.iter_mut().chain([&mut found.except]).for_each(|members| members.sort_unstable());
        Some(found)
    }

    /// Returns whether the message is for a member of the hub with the number `node`, of which `found`
    /// has those that the selection names.
    #[inline]
    pub(super) fn includes(&self, recipient: &Recipient, node: u64, found: Option<&Found>) -> bool {
        matches!(self, Self::Everyone) || self.is_met_by(recipient, node, found)
    }

    fn is_met_by(&self, recipient: &Recipient, node: u64, found: Option<&Found>) -> bool {
        match self {
            Self::Everyone => true,
            Self::Except(member) => (member.node, member.serial) != (node, recipient.serial),
            Self::Users(users) => recipient.user().is_some_and(|own| users.iter().any(|user| user == own)),
            Self::ExceptUser(user) => recipient.user() != Some(user),
            Self::Selected(selection) => {
                found.is_none_or(|found| found.includes(recipient)) && selection.includes(recipient, node)
            }
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

    /// Returns whether a member meets the conditions beside those of [`Found`].
    fn includes(&self, recipient: &Recipient, node: u64) -> bool {
        let own = MemberId { node, serial: recipient.serial };
        !self.except.contains(&own) && self.is_for_user(recipient.user())
    }

    fn is_for_user(&self, user: Option<&str>) -> bool {
        let is_one_of = |users: &[String]| user.is_some_and(|own| users.iter().any(|user| user == own));
        self.users.as_ref().is_none_or(|users| is_one_of(users)) && !is_one_of(&self.except_users)
    }
}
