//! The names of keys and channels.

use fullduplex::hub::MemberId;

/// The names of keys and channels, which begin with a prefix.
///
/// All keys of a room have the same hash tag, `{room:NAME}`, so that they are on the same server of a
/// cluster. The tag is not empty, whatever the name is, and it ends where the name has its first
/// `}`, which is the same place in each of them.
#[derive(Debug, Clone)]
pub(crate) struct Keys {
    prefix: String,
    /// Channels have the number of the database, because all databases have the same channels.
    channels: String,
}

/// The keys and the channel of a room.
#[derive(Debug, Clone)]
pub(crate) struct RoomKeys {
    pub(crate) channel: String,
    /// A hash: the epoch, and the offset and time of the last message.
    pub(crate) state: String,
    /// A stream: the messages.
    pub(crate) log: String,
    /// A sorted set: the ids that are known, by offset.
    pub(crate) ids: String,
    /// A hash: who is present.
    pub(crate) members: String,
}

impl Keys {
    pub(crate) fn new(prefix: &str, database: i64) -> Self {
        Self { prefix: prefix.into(), channels: format!("{prefix}/{database}") }
    }

    pub(crate) fn room(&self, name: &str) -> RoomKeys {
        let key = |what| format!("{}:{{room:{name}}}:{what}", self.prefix);
        RoomKeys {
            channel: format!("{}:{{room:{name}}}", self.channels),
            state: key("state"),
            log: key("log"),
            ids: key("ids"),
            members: key("members"),
        }
    }

    /// Returns whether a channel is that of a room.
    pub(crate) fn is_of_room(channel: &str) -> bool {
        // Neither the prefix nor the other channels have a brace.
        channel.contains('{')
    }

    /// The channel of one node.
    pub(crate) fn node(&self, node: u64) -> String {
        format!("{}:node:{node:x}", self.channels)
    }

    /// The channel of all nodes.
    pub(crate) fn everyone(&self) -> String {
        format!("{}:all", self.channels)
    }

    /// A sorted set: the leases, by the time at which they end.
    pub(crate) fn leases(&self) -> String {
        format!("{}:{{leases}}", self.prefix)
    }

    /// A set: the members that have entered under a lease, and the rooms that they are in.
    pub(crate) fn lease(&self, lease: &str) -> String {
        format!("{}:{{leases}}:{lease}", self.prefix)
    }
}

/// Returns the entry of a member in the set of a lease.
pub(crate) fn seat(member: MemberId, room: &str) -> String {
    format!("{member} {room}")
}

/// Returns the member and the room of an entry in the set of a lease.
pub(crate) fn parse_seat(seat: &str) -> Option<(MemberId, &str)> {
    let (member, room) = seat.split_once(' ')?;
    Some((member.parse().ok()?, room))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The hash tag of a key, by the rule of a cluster.
    fn tag(key: &str) -> &str {
        let start = key.find('{').map_or(0, |at| at + 1);
        match key[start..].find('}') {
            Some(len) if start > 0 && len > 0 => &key[start..start + len],
            _ => key,
        }
    }

    #[test]
    fn all_keys_of_a_room_have_the_same_hash_tag() {
        let keys = Keys::new("chat", 3);
        for name in ["", "}", "{}", "a}b", "a{b}c", "7b", "ä ö"] {
            let room = keys.room(name);
            let tags = [&room.channel, &room.state, &room.log, &room.ids, &room.members].map(|key| tag(key));
            assert!(tags[0].starts_with("room:"), "{name}: {tags:?}");
            assert!(tags.iter().all(|tag| *tag == tags[0]), "{name}: {tags:?}");
        }
        assert_eq!(tag(&keys.leases()), tag(&keys.lease("1")));
    }

    #[test]
    fn rooms_have_keys_of_their_own() {
        let keys = Keys::new("chat", 0);
        let names = ["a", "a}", "a}:log", "a}:state", "}:log", ""];
        let mut all: Vec<String> = names
            .iter()
            .map(|name| keys.room(name))
            .flat_map(|room| [room.state, room.log, room.ids, room.members, room.channel])
            .collect();
        all.sort();
        all.dedup();
        assert_eq!(all.len(), 5 * names.len());
    }

    #[test]
    fn seats_are_parsed_as_they_were_printed() {
        let member = MemberId { node: 0xAB, serial: 7 };
        assert_eq!(seat(member, "a b"), "ab-7 a b");
        assert_eq!(parse_seat("ab-7 a b"), Some((member, "a b")));
        assert_eq!(parse_seat("ab-7 "), Some((member, "")));
        for other in ["", "ab-7", "x a", " a"] {
            assert_eq!(parse_seat(other), None, "{other}");
        }
    }
}
