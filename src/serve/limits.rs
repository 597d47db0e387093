//! The limits of a `Serve`: how many connections, how many of one key, how many handshakes.

use std::{
    collections::HashMap,
    hash::Hash,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
};

use super::incoming::Incoming;

/// A number of places, of which each [`Place`] holds one.
#[derive(Debug)]
pub(super) struct Places {
    taken: AtomicUsize,
    limit: usize,
}

impl Places {
    pub(super) fn new(limit: usize) -> Arc<Self> {
        Arc::new(Self { taken: AtomicUsize::new(0), limit })
    }

    /// Takes a place, unless all are taken.
    pub(super) fn take(self: &Arc<Self>) -> Option<Place> {
        let take = |taken| (taken < self.limit).then_some(taken + 1);
        self.taken.fetch_update(Relaxed, Relaxed, take).ok()?;
        Some(Place(self.clone()))
    }
}

/// One place, which becomes free when this is dropped.
#[derive(Debug)]
pub(super) struct Place(Arc<Places>);

impl Drop for Place {
    fn drop(&mut self) {
        self.0.taken.fetch_sub(1, Relaxed);
    }
}

/// A place among those of its key, which becomes free when this is dropped.
pub(super) type KeyPlace = Box<dyn Send + Sync>;

/// Counts connections by a key, whose type is erased.
pub(super) trait KeyLimit: Send + Sync {
    /// Takes a place for the key of a request, unless all are taken.
    fn take(&self, incoming: &Incoming) -> Option<KeyPlace>;
}

/// Creates a limit for each key that a function returns.
pub(super) fn per_key<K, F>(limit: usize, key: F) -> Arc<dyn KeyLimit>
where
    K: Hash + Eq + Clone + Send + Sync + 'static,
    F: Fn(&Incoming) -> K + Send + Sync + 'static,
{
    Arc::new(PerKey { key, taken: Arc::new(Taken(Mutex::default())), limit })
}

struct PerKey<K, F> {
    key: F,
    taken: Arc<Taken<K>>,
    limit: usize,
}

/// The number of connections of each key that has any.
struct Taken<K>(Mutex<HashMap<K, usize>>);

impl<K, F> KeyLimit for PerKey<K, F>
where
    K: Hash + Eq + Clone + Send + Sync + 'static,
    F: Fn(&Incoming) -> K + Send + Sync,
{
    fn take(&self, incoming: &Incoming) -> Option<KeyPlace> {
        let key = (self.key)(incoming);
        let mut taken = self.taken.0.lock().unwrap_or_else(PoisonError::into_inner);
        let count = taken.get(&key).copied().unwrap_or(0);
        if count >= self.limit {
            return None;
        }
        taken.insert(key.clone(), count + 1);
        drop(taken);
        Some(Box::new(PlaceOf { key, taken: self.taken.clone() }))
    }
}

struct PlaceOf<K: Hash + Eq> {
    key: K,
    taken: Arc<Taken<K>>,
}

impl<K: Hash + Eq> Drop for PlaceOf<K> {
    fn drop(&mut self) {
        let mut taken = self.taken.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = taken.get_mut(&self.key) {
            *count -= 1;
            if *count == 0 {
                taken.remove(&self.key);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use super::*;

    #[test]
    fn a_place_that_is_dropped_can_be_taken_again() {
        let places = Places::new(2);
        let first = places.take().expect("free");
        let _second = places.take().expect("free");
        assert!(places.take().is_none());
        drop(first);
        assert!(places.take().is_some());
        assert!(Places::new(0).take().is_none());
    }

    #[test]
    fn each_key_has_places_of_its_own_and_leaves_nothing_behind() {
        let taken = Arc::new(Taken(Mutex::default()));
        let key = |incoming: &Incoming| incoming.peer().ip();
        let limit = PerKey { key, taken: taken.clone(), limit: 2 };
        let from = |ip: [u8; 4]| Incoming::new(http::Request::new(()), (ip, 1).into());
        let places = [[1; 4], [1; 4], [2; 4]].map(|ip| limit.take(&from(ip)).expect("free"));
        assert!(limit.take(&from([1; 4])).is_none());
        let count = |ip: [u8; 4]| taken.0.lock().expect("no panic").get(&IpAddr::from(ip)).copied();
        assert_eq!((count([1; 4]), count([2; 4])), (Some(2), Some(1)));
        drop(places);
        assert!(limit.take(&from([1; 4])).is_some());
        assert!(taken.0.lock().expect("no panic").is_empty());
    }
}
