//! A slab of wakers: one slot of 16 bytes for each task.

use std::{mem, task::Waker};

/// The number of slots that are allocated, and woken, at a time.
///
/// Blocks do not move when others are added. A lock on the slab is held for one of them at most.
pub(super) const BLOCK: usize = 256;

/// The end of the list of vacant slots.
const NONE: u32 = u32::MAX;

/// A place for one waker.
#[derive(Debug)]
enum Slot {
    /// Not in use; contains the index of the next vacant slot.
    Vacant(u32),
    /// In use. A task that does not wait has a waker that does nothing.
    Taken(Waker),
}

/// Wakers, by the index that their owners hold.
#[derive(Debug)]
pub(super) struct Slab {
    blocks: Vec<Box<[Slot; BLOCK]>>,
    vacant: u32,
}

impl Default for Slab {
    fn default() -> Self {
        Self { blocks: Vec::new(), vacant: NONE }
    }
}

impl Slab {
    /// Takes a vacant slot, and returns its index.
    pub(super) fn insert(&mut self) -> u32 {
        if self.vacant == NONE {
            self.grow();
        }
        let index = self.vacant;
        let slot = self.slot(index);
        let Slot::Vacant(next) = mem::replace(slot, Slot::Taken(Waker::noop().clone())) else {
            unreachable!("the list contains vacant slots only");
        };
        self.vacant = next;
        index
    }

    /// Adds a block of vacant slots.
    fn grow(&mut self) {
        let first = u32::try_from(self.blocks.len() * BLOCK).expect("fewer than 2^32 connections");
        let slots = (1..=BLOCK as u32)
            .map(|next| Slot::Vacant(if next == BLOCK as u32 { self.vacant } else { first + next }));
        let slots: Box<[Slot]> = slots.collect();
        self.blocks.push(slots.try_into().expect("as many slots as a block has"));
        self.vacant = first;
    }

    /// Stores the waker of a task that waits.
    ///
    /// Returns the one that it replaces, for the caller to drop after the lock is released, because
    /// that may run any code.
    pub(super) fn register(&mut self, index: u32, waker: &Waker) -> Option<Waker> {
        match self.slot(index) {
            Slot::Taken(stored) if stored.will_wake(waker) => None,
            Slot::Taken(stored) => Some(mem::replace(stored, waker.clone())),
            Slot::Vacant(_) => unreachable!("the caller owns the slot"),
        }
    }

    /// Makes a slot vacant, and returns its waker, for the caller to drop likewise.
    pub(super) fn remove(&mut self, index: u32) -> Option<Waker> {
        let next = self.vacant;
        self.vacant = index;
        match mem::replace(self.slot(index), Slot::Vacant(next)) {
            Slot::Taken(waker) => Some(waker),
            Slot::Vacant(_) => None,
        }
    }

    /// Adds the wakers of one block to a list, also those that do nothing.
    ///
    /// They stay in their slots: a task that is woken when the shutdown begins, and then waits for
    /// something else, is woken again at the deadline. Returns `false` if there is no such block.
    pub(super) fn copy(&self, block: usize, wakers: &mut Vec<Waker>) -> bool {
        let Some(slots) = self.blocks.get(block) else { return false };
        wakers.extend(slots.iter().filter_map(|slot| match slot {
            Slot::Taken(waker) => Some(waker.clone()),
            Slot::Vacant(_) => None,
        }));
        true
    }

    fn slot(&mut self, index: u32) -> &mut Slot {
        &mut self.blocks[index as usize / BLOCK][index as usize % BLOCK]
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    };

    use super::*;

    #[derive(Default)]
    struct Wakes(AtomicUsize);

    impl std::task::Wake for Wakes {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Relaxed);
        }
    }

    fn waker() -> (Arc<Wakes>, Waker) {
        let wakes = Arc::new(Wakes::default());
        (wakes.clone(), wakes.into())
    }

    #[test]
    fn a_slot_takes_sixteen_bytes_or_eight_where_pointers_have_four() {
        assert_eq!(size_of::<Slot>(), 2 * size_of::<usize>());
    }

    #[test]
    fn slots_are_reused_before_a_block_is_added() {
        let mut slab = Slab::default();
        let indexes: Vec<u32> = (0..BLOCK).map(|_| slab.insert()).collect();
        assert_eq!(indexes, (0..BLOCK as u32).collect::<Vec<_>>());
        assert!(slab.remove(7).is_some() && slab.remove(200).is_some());
        assert_eq!([slab.insert(), slab.insert(), slab.insert()], [200, 7, BLOCK as u32]);
        assert_eq!(slab.blocks.len(), 2);
    }

    #[test]
    fn each_waker_is_copied_from_its_own_block_and_stays_there() {
        let mut slab = Slab::default();
        let wakers: Vec<_> = (0..BLOCK + 3)
            .map(|_| {
                let index = slab.insert();
                let (wakes, waker) = waker();
                assert!(slab.register(index, &waker).is_some(), "it replaces the one that does nothing");
                assert!(slab.register(index, &waker).is_none());
                wakes
            })
            .collect();
        let mut copied = Vec::new();
        let woken = || wakers.iter().map(|wakes| wakes.0.load(Relaxed)).sum::<usize>();
        assert!(slab.copy(1, &mut copied));
        copied.drain(..).for_each(Waker::wake);
        assert_eq!(woken(), 3);
        assert!(slab.copy(0, &mut copied) && !slab.copy(2, &mut copied));
        copied.drain(..).for_each(Waker::wake);
        assert!(wakers.iter().all(|wakes| wakes.0.load(Relaxed) == 1));
        assert!(slab.copy(0, &mut copied) && slab.copy(1, &mut copied));
        copied.into_iter().for_each(Waker::wake);
        assert!(wakers.iter().all(|wakes| wakes.0.load(Relaxed) == 2));
    }

    #[test]
    fn the_next_owner_of_a_slot_is_not_woken_for_the_last_one() {
        let mut slab = Slab::default();
        let (wakes, waker) = waker();
        let index = slab.insert();
        slab.register(index, &waker);
        drop(slab.remove(index));
        assert_eq!(slab.insert(), index);
        let mut copied = Vec::new();
        assert!(slab.copy(0, &mut copied));
        copied.into_iter().for_each(Waker::wake);
        assert_eq!(wakes.0.load(Relaxed), 0);
        assert_eq!(Arc::strong_count(&wakes), 2, "only the test holds the waker");
    }
}
