//! The rooms of namespaces, as rooms of the hub.

use fullduplex::hub::{self, MemberId};

use super::{
    broadcast::{Broadcast, Selection},
    error::EmitError,
    handle::Socket,
};
use crate::engine::Sid;

pub(super) type Hub = hub::Hub<String>;
pub(super) type Member = hub::Member<String>;

/// Returns the key of a room. That of a namespace as a whole is its name, which has no comma in it.
pub(super) fn key(namespace: &str, room: &str) -> String {
    format!("{namespace},{room}")
}

/// Returns the name of a room by its key.
fn name<'k>(namespace: &str, key: &'k str) -> Option<&'k str> {
    key.strip_prefix(namespace)?.strip_prefix(',')
}

/// Returns the id of a socket, which names its member of the hub: no room is needed to find it.
pub(super) fn id_of(member: MemberId) -> Sid {
    let mut bytes = [0; 15];
    bytes[..8].copy_from_slice(&member.node.to_be_bytes());
    // A hub does not have 2^56 members in its life.
    bytes[8..].copy_from_slice(&member.serial.to_be_bytes()[1..]);
    Sid::of_bytes(bytes)
}

/// Returns the member that the id of a socket names, unless it is no such id.
pub(super) fn member_of(id: &str) -> Option<MemberId> {
    let bytes = Sid::parse(id)?.to_bytes();
    let (mut node, mut serial) = ([0; 8], [0; 8]);
    node.copy_from_slice(&bytes[..8]);
    serial[1..].copy_from_slice(&bytes[8..]);
    Some(MemberId { node: u64::from_be_bytes(node), serial: u64::from_be_bytes(serial) })
}

/// Rooms, and what is sent to others.
impl Socket {
    /// Joins a room: the socket receives what is sent to it from now on.
    ///
    /// Each socket is in the room that has its [`id`](Self::id) as its name, without joining it. One that
    /// is not accepted yet joins once it is.
    ///
    /// # Errors
    /// Returns [`EmitError::Disconnected`] if the socket has left its namespace, and
    /// [`EmitError::Hub`] if the backplane failed.
    ///
    /// # Cancel safety
    /// If the future is dropped, the socket has not joined, unless it had before.
    pub async fn join(&self, room: &str) -> Result<(), EmitError> {
        if self.with_early(|early| early.push(room.to_owned())).is_some() {
            return Ok(());
        }
        let member = self.member().ok_or(EmitError::Disconnected)?;
        member.join(&key(self.namespace(), room)).await?;
        Ok(())
    }

    /// Leaves a room. Returns `false` if the socket was not in it.
    pub fn leave(&self, room: &str) -> bool {
        let left_early = self.with_early(|early| {
            let before = early.len();
            early.retain(|other| other != room);
            early.len() < before
        });
        if let Some(left_early) = left_early {
            return left_early;
        }
        self.member().is_some_and(|member| member.leave(&key(self.namespace(), room)))
    }

    /// Returns the names of the rooms that the socket is in, without that of its id.
    pub fn rooms(&self) -> Vec<String> {
        if let Some(early) = self.with_early(|early| early.clone()) {
            return early;
        }
        let Some(member) = self.member() else { return Vec::new() };
        let (keys, id) = (member.rooms(), self.id());
        let names = keys.iter().filter_map(|key| name(self.namespace(), key));
        names.filter(|name| *name != id.as_str()).map(str::to_owned).collect()
    }

    /// Selects all sockets of the namespace but this one.
    pub fn broadcast(&self) -> Broadcast {
        let everyone = self.everyone();
        match self.member() {
            // A socket that is recovered is another member, and has its id.
            Some(_) if self.shared().io().recovery().is_some() => everyone.except(self.id().as_str()),
            Some(member) => everyone.except_member(member.id()),
            None => everyone,
        }
    }

    /// Selects the sockets of a room but this one. The id of a socket is the name of a room as well.
    pub fn to(&self, room: &str) -> Broadcast {
        self.broadcast().to(room)
    }

    /// Selects this socket alone.
    pub(super) fn alone(&self) -> Selection {
        let rooms = vec![self.id().to_string()];
        Selection { namespace: self.namespace().to_owned(), rooms, except: Vec::new(), except_member: None }
    }

    /// Selects all sockets of the namespace, this one included.
    pub fn everyone(&self) -> Broadcast {
        Broadcast::new(self.shared().io().clone(), self.namespace())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_have_the_names_of_rooms_in_them() {
        assert_eq!(name("/a", &key("/a", "b,c")), Some("b,c"));
        assert_eq!(name("/a", &key("/a", "")), Some(""));
        assert_eq!((name("/a", "/a"), name("/a", &key("/ab", "c"))), (None, None));
    }

    #[test]
    fn an_id_names_a_member() {
        let member = MemberId { node: u64::MAX - 5, serial: (1 << 56) - 7 };
        assert_eq!(member_of(id_of(member).as_str()), Some(member));
        assert_eq!(member_of("a room"), None);
    }
}
