//! State in parts, each behind a lock of its own.

use std::{
    hash::{BuildHasher, Hash, RandomState},
    sync::{Mutex, MutexGuard, PoisonError},
};

/// The number of parts.
const SHARDS: usize = 64;

/// State that is divided by keys, so that the users of different keys seldom wait for each other.
pub(super) struct Shards<T> {
    shards: Box<[Mutex<T>]>,
    hasher: RandomState,
}

impl<T: Default> Shards<T> {
    pub(super) fn new() -> Self {
        let shards = (0..SHARDS).map(|_| Mutex::default()).collect();
        Self { shards, hasher: RandomState::new() }
    }
}

impl<T> Shards<T> {
    /// Locks the part of a key.
    pub(super) fn of(&self, key: &(impl Hash + ?Sized)) -> MutexGuard<'_, T> {
        lock(&self.shards[self.hasher.hash_one(key) as usize % SHARDS])
    }

    /// Locks one part after the other.
    pub(super) fn each(&self) -> impl Iterator<Item = MutexGuard<'_, T>> {
        self.shards.iter().map(lock)
    }
}

fn lock<T>(shard: &Mutex<T>) -> MutexGuard<'_, T> {
    shard.lock().unwrap_or_else(PoisonError::into_inner)
}
