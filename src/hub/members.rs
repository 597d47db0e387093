//! The members of a room, in chunks that a broadcast keeps while others join.

use std::{
    mem,
    sync::{Arc, atomic::Ordering::Relaxed},
};

use super::{
    recipient::Recipient,
    room::{Membership, UNLISTED},
};

/// The number of members in one chunk of the list.
pub(super) const CHUNK: usize = 128;

/// The number of members for which the first chunk begins.
const FEW: usize = 4;

/// The members of a room, in chunks. A broadcast keeps the list as it was when it began; what is
/// changed meanwhile is copied, but no more than a chunk or two of it.
pub(super) struct Members<R> {
    /// The chunks before the last one, which are full. A small room has none.
    full: Option<Arc<Vec<Chunk<R>>>>,
    last: Chunk<R>,
    /// The number of members in the last chunk, which are its first ones.
    in_last: usize,
}

/// Room for members, which is one allocation: the processor finds them in one step.
type Chunk<R> = Arc<[Option<Listed<R>>]>;

/// A member in the list.
pub(super) struct Listed<R> {
    pub(super) membership: Arc<Membership<R>>,
    pub(super) recipient: Arc<Recipient>,
}

impl<R> Members<R> {
    pub(super) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub(super) fn len(&self) -> usize {
        self.full().len() * CHUNK + self.in_last
    }

    fn full(&self) -> &[Chunk<R>] {
        self.full.as_ref().map_or(&[], |full| full)
    }

    /// Returns the number of chunks, each of which has at most [`CHUNK`] members.
    pub(super) fn chunks(&self) -> usize {
        self.full().len() + 1
    }

    /// Returns the members of a chunk, none of which is `None`.
    pub(super) fn chunk(&self, index: usize) -> &[Option<Listed<R>>] {
        self.full().get(index).map_or(&self.last[..self.in_last], |full| full)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Listed<R>> {
        (0..self.chunks()).flat_map(|index| self.chunk(index)).flatten()
    }

    pub(super) fn add(&mut self, listed: Listed<R>) {
        listed.membership.place.store(self.len() as u32, Relaxed);
        if self.in_last == CHUNK {
            let last = mem::take(&mut self.last);
            self.in_last = 0;
            Arc::make_mut(self.full.get_or_insert_default()).push(last);
        }
        if self.in_last == self.last.len() {
            self.grow();
        }
        Arc::make_mut(&mut self.last)[self.in_last] = Some(listed);
        self.in_last += 1;
    }

    /// Makes room in the last chunk, which is full.
    fn grow(&mut self) {
        let room = CHUNK.min(self.last.len() * 2).max(FEW);
        // Moved, unless a broadcast keeps the list: cloning a member writes to its memory.
        let members: Vec<_> = Arc::make_mut(&mut self.last).iter_mut().map(Option::take).collect();
        let free = std::iter::repeat_with(|| None).take(room - members.len());
        self.last = members.into_iter().chain(free).collect();
    }

    /// Removes a member, if it is in the list; the last one takes its place.
    pub(super) fn remove(&mut self, membership: &Membership<R>) -> Option<Listed<R>> {
        let place = membership.place.swap(UNLISTED, Relaxed);
        if place == UNLISTED {
            return None;
        }
        self.in_last = self.in_last.checked_sub(1)?;
        let last = Arc::make_mut(&mut self.last).get_mut(self.in_last)?.take()?;
        if self.in_last == 0 {
            self.shorten();
        }
        if std::ptr::eq(&*last.membership, membership) {
            return Some(last);
        }
        last.membership.place.store(place, Relaxed);
        let place = place as usize;
        self.chunk_mut(place / CHUNK)?.get_mut(place % CHUNK)?.replace(last)
    }

    /// Makes the last chunk that is full the last one, which is empty.
    fn shorten(&mut self) {
        let Some(full) = &mut self.full else { return };
        let full = Arc::make_mut(full);
        if let Some(last) = full.pop() {
            (self.last, self.in_last) = (last, CHUNK);
        }
        if full.is_empty() {
            self.full = None;
        }
    }

    fn chunk_mut(&mut self, index: usize) -> Option<&mut [Option<Listed<R>>]> {
        match &mut self.full {
            Some(full) if index < full.len() => Arc::make_mut(full).get_mut(index).map(Arc::make_mut),
            _ => Some(Arc::make_mut(&mut self.last)),
        }
    }
}

/// A room without members.
impl<R> Default for Members<R> {
    fn default() -> Self {
        Self { full: None, last: Arc::default(), in_last: 0 }
    }
}

impl<R> Clone for Members<R> {
    fn clone(&self) -> Self {
        Self { full: self.full.clone(), last: self.last.clone(), in_last: self.in_last }
    }
}

impl<R> Clone for Listed<R> {
    fn clone(&self) -> Self {
        Self { membership: self.membership.clone(), recipient: self.recipient.clone() }
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use proptest::prelude::*;

    use super::*;
    use crate::{Config, Role, WebSocket, handshake::Negotiated, hub::room::Room};

    fn recipient() -> Arc<Recipient> {
        let (stream, config) = (tokio::io::empty(), Config::new());
        let socket = WebSocket::from_raw(stream, Bytes::new(), Role::Server, &config, Negotiated::default());
        Arc::new(Recipient::new(1, socket.split().1, None))
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        /// The last member takes the place of one that is removed. What a broadcast keeps stays as it is.
        #[test]
        fn the_list_is_that_of_a_vector(
            steps in proptest::collection::vec((0..5_u8, any::<prop::sample::Index>()), 0..50),
        ) {
            let room = Arc::new(Room::new(0));
            let recipient = recipient();
            let mut joined = Vec::new();
            let (mut members, mut kept) = (Members::<u8>::default(), Vec::new());
            for (step, index) in steps {
                match step {
                    0 | 1 => for _ in 0..=index.index(CHUNK) {
                        let membership = room.membership();
                        let recipient = recipient.clone();
                        members.add(Listed { membership: membership.clone(), recipient });
                        joined.push(membership);
                    },
                    2 | 3 => for _ in 0..=index.index(CHUNK) {
                        if joined.is_empty() {
                            break;
                        }
                        let membership = joined.swap_remove(index.index(joined.len()));
                        let removed = members.remove(&membership).expect("it is in the list");
                        assert!(Arc::ptr_eq(&removed.membership, &membership));
                        assert!(members.remove(&membership).is_none(), "it was removed before");
                    },
                    _ => kept.push((members.clone(), joined.clone())),
                }
                prop_assert_eq!((members.len(), members.is_empty()), (joined.len(), joined.is_empty()));
                for (place, listed) in members.iter().enumerate() {
                    prop_assert_eq!(listed.membership.place.load(Relaxed) as usize, place);
                }
                for (members, joined) in kept.iter().chain([&(members.clone(), joined.clone())]) {
                    let listed = members.iter().map(|listed| Arc::as_ptr(&listed.membership));
                    prop_assert!(listed.eq(joined.iter().map(Arc::as_ptr)));
                }
            }
        }
    }
}
