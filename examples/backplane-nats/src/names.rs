//! The names of streams and subjects.

use std::fmt::Write;

use fullduplex::hub::MemberId;

/// The names of streams and subjects.
#[derive(Debug, Clone)]
pub(crate) struct Names(String);

impl Names {
    pub(crate) fn new(name: &str) -> Self {
        Self(name.into())
    }

    /// The stream of the messages of all rooms.
    pub(crate) fn rooms(&self) -> String {
        format!("{}_rooms", self.0)
    }

    /// The stream of who is present, and of the leases that were begun.
    pub(crate) fn members(&self) -> String {
        format!("{}_members", self.0)
    }

    /// The stream of the leases that have not ended.
    pub(crate) fn leases(&self) -> String {
        format!("{}_leases", self.0)
    }

    /// Where messages of a room are stored. `token` may be `*` or `>`, as in the others.
    pub(crate) fn room(&self, token: &str) -> String {
        format!("{}.room.{token}", self.0)
    }

    /// Where the stream publishes messages of a room that it has stored.
    pub(crate) fn live(&self, token: &str) -> String {
        format!("{}.live.{token}", self.0)
    }

    /// Where it is stored that a member is present, under a lease.
    pub(crate) fn member(&self, lease: &str, token: &str, member: &str) -> String {
        format!("{}.member.{lease}.{token}.{member}", self.0)
    }

    /// All that is stored below `member`.
    pub(crate) fn all_members(&self) -> String {
        format!("{}.member.>", self.0)
    }

    /// Where the stream publishes who enters and leaves.
    pub(crate) fn presence(&self, token: &str) -> String {
        format!("{}.presence.*.{token}.*", self.0)
    }

    /// What corresponds to `all_members`.
    pub(crate) fn all_presence(&self) -> String {
        format!("{}.presence.>", self.0)
    }

    /// Where it is stored that a lease was begun.
    pub(crate) fn begun(&self, lease: &str) -> String {
        format!("{}.begun.{lease}", self.0)
    }

    /// Where a lease is renewed.
    pub(crate) fn lease(&self, lease: &str) -> String {
        format!("{}.lease.{lease}", self.0)
    }

    /// Where messages that are not stored are published: for the members of a room.
    pub(crate) fn to_room(&self, token: &str) -> String {
        format!("{}.to.room.{token}", self.0)
    }

    /// For one member of a node.
    pub(crate) fn to_node(&self, node: u64) -> String {
        format!("{}.to.node.{node:x}", self.0)
    }

    /// For all members.
    pub(crate) fn to_all(&self) -> String {
        format!("{}.to.all", self.0)
    }

    /// For the nodes.
    pub(crate) fn to_hubs(&self) -> String {
        format!("{}.to.hubs", self.0)
    }
}

/// Returns the name of a room as a token of a subject, which is never empty.
///
/// Bytes other than ASCII letters and digits are written as `=` and two hexadecimal digits; the token
/// begins with `r`.
pub(crate) fn token(room: &str) -> String {
    let mut token = String::with_capacity(room.len() + 1);
    token.push('r');
    for byte in room.bytes() {
        if byte.is_ascii_alphanumeric() {
            token.push(byte.into());
        } else {
            // Writing to a string does not fail.
            let _infallible = write!(token, "={byte:02x}");
        }
    }
    token
}

/// Returns the lease and the member of a subject of `member` or `presence`.
pub(crate) fn parse_member(subject: &str) -> Option<(&str, MemberId)> {
    let mut tokens = subject.rsplit('.');
    let member = tokens.next()?.parse().ok()?;
    let lease = tokens.nth(1)?;
    Some((lease, member))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_of_rooms_differ_and_have_no_special_characters() {
        let rooms = ["", "r", "a", "A", "a.b", "a b", "a=20b", "*", ">", "ä", "=", "7b"];
        let mut tokens: Vec<String> = rooms.map(token).to_vec();
        assert_eq!(token("a b"), "ra=20b");
        assert_eq!(token(""), "r");
        for token in &tokens {
            assert!(token.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'='), "{token}");
        }
        tokens.sort();
        tokens.dedup();
        assert_eq!(tokens.len(), rooms.len());
    }

    #[test]
    fn members_are_parsed_as_they_were_printed() {
        let names = Names::new("chat");
        let member = MemberId { node: 0xAB, serial: 7 };
        let subject = names.member("00ff", &token("a.b"), &member.to_string());
        assert_eq!(subject, "chat.member.00ff.ra=2eb.ab-7");
        assert_eq!(parse_member(&subject), Some(("00ff", member)));
        for other in ["", "chat", "chat.member.x.y.z", "ab-7", "y.ab-7"] {
            assert_eq!(parse_member(other), None, "{other}");
        }
    }
}
