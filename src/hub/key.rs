//! The keys of rooms, as a program passes them.

use std::{borrow::Borrow, collections::HashMap, hash::Hash, ops::Deref, sync::Arc};

use super::{backplane::RoomKey, room::Room};

/// The key of a room, or a borrowed form of it: a `str` for a key that is a `String`.
///
/// It is implemented for all types that can be one, with the same conditions as for the keys of a
/// [`HashMap`]. It is sealed: other crates cannot implement it themselves.
///
/// Backplanes use keys themselves. For a room that has members on this hub, that is the key of the
/// room. For any other, each call makes one of the borrowed form: a `str` is copied then. A program
/// that often sends to rooms of other hubs alone keeps their keys.
///
/// ```
/// use fullduplex::{Sender, hub::{Hub, HubError}};
///
/// async fn join(hub: &Hub<String>, sender: Sender, path: &str) -> Result<(), HubError> {
///     let member = hub.add(sender);
///     member.join(path).await?;
///     hub.to(path).send("one more");
///     assert_eq!(hub.member_count("lobby"), hub.member_count(&"lobby".to_owned()));
///     Ok(())
/// }
/// ```
pub trait RoomRef<R>: Hash + Sync + ToOwned<Owned = R> + sealed::Lookup<R> {}

impl<R, Q> RoomRef<R> for Q
where
    R: Borrow<Q> + Eq + Hash,
    Q: Eq + Hash + Sync + ToOwned<Owned = R> + ?Sized,
{
}

mod sealed {
    use super::*;

    /// What needs `R: Borrow<Self>`, which is no condition that a trait can pass on.
    pub trait Lookup<R> {
        fn is(&self, key: &R) -> bool;

        fn find<'m, V>(&self, rooms: &'m HashMap<R, V>) -> Option<&'m V>;
    }

    impl<R: Borrow<Q> + Eq + Hash, Q: Eq + Hash + ?Sized> Lookup<R> for Q {
        fn is(&self, key: &R) -> bool {
            key.borrow() == self
        }

        fn find<'m, V>(&self, rooms: &'m HashMap<R, V>) -> Option<&'m V> {
            rooms.get(self)
        }
    }
}

/// A key: that of a room which is here, or another.
pub(super) enum Key<R> {
    Here(Arc<Room<R>>),
    Elsewhere(R),
}

impl<R: RoomKey> Deref for Key<R> {
    type Target = R;

    fn deref(&self) -> &R {
        match self {
            Self::Here(room) => &room.key,
            Self::Elsewhere(key) => key,
        }
    }
}
