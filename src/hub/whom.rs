//! For which of the members that are addressed a message is.

use super::{position::MemberId, recipient::Recipient};

/// For which of the members that are addressed a message is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) enum Whom {
    #[default]
    Everyone,
    Except(MemberId),
    /// The connections of these users.
    Users(Vec<String>),
    ExceptUser(String),
}

impl Whom {
    /// Returns whether the message is for a member of the hub with the number `node`.
    pub(super) fn includes(&self, recipient: &Recipient, node: u64) -> bool {
        match self {
            Self::Everyone => true,
            Self::Except(member) => (member.node, member.serial) != (node, recipient.serial),
            Self::Users(users) => recipient.user().is_some_and(|own| users.iter().any(|user| user == own)),
            Self::ExceptUser(user) => recipient.user() != Some(user),
        }
    }
}
