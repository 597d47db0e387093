//! Limits of connections: how fast each may talk, and how many there may be.

use std::{
    collections::HashMap,
    net::IpAddr,
    num::NonZeroU32,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use governor::{
    Quota, RateLimiter,
    clock::{Clock, DefaultClock},
    middleware::NoOpMiddleware,
    state::{InMemoryState, NotKeyed},
};

/// How fast a connection may talk: a token bucket.
#[derive(Debug)]
pub struct Rate<C: Clock = DefaultClock> {
    bucket: RateLimiter<NotKeyed, InMemoryState, C, NoOpMiddleware<C::Instant>>,
    clock: C,
}

impl Rate {
    /// Creates a full bucket of `burst` events, to which `per_second` are added each second.
    pub fn new(per_second: NonZeroU32, burst: NonZeroU32) -> Self {
        Self::with_clock(per_second, burst, DefaultClock::default())
    }
}

impl<C: Clock + Clone> Rate<C> {
    fn with_clock(per_second: NonZeroU32, burst: NonZeroU32, clock: C) -> Self {
        let quota = Quota::per_second(per_second).allow_burst(burst);
        Self { bucket: RateLimiter::direct_with_clock(quota, clock.clone()), clock }
    }

    /// Takes an event out of the bucket.
    ///
    /// # Errors
    /// Returns the time after which there is one, if the bucket is empty.
    pub fn take(&self) -> Result<(), Duration> {
        self.bucket.check().map_err(|until| until.wait_time_from(self.clock.now()))
    }
}

/// Why there is no place for a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NoPlace {
    /// The server has as many connections as it may have.
    #[error("the server has too many connections")]
    InAll,
    /// This address has as many connections as it may have.
    #[error("this address has too many connections")]
    OfAddress,
}

/// The places for connections, in all and for each address. Clones share them.
#[derive(Debug, Clone)]
pub struct Places(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    max: usize,
    max_per_address: usize,
    taken: Mutex<Taken>,
}

#[derive(Debug, Default)]
struct Taken {
    all: usize,
    /// Only addresses that have any.
    by_address: HashMap<IpAddr, usize>,
}

impl Places {
    /// Creates places, all of them free.
    pub fn new(max: usize, max_per_address: usize) -> Self {
        Self(Arc::new(Shared { max, max_per_address, taken: Mutex::default() }))
    }

    /// Takes a place for a connection from an address.
    ///
    /// The addresses of an IPv6 network of 64 bits count as one, because a single host can have
    /// all of them.
    ///
    /// # Errors
    /// Returns which limit is reached.
    pub fn take(&self, address: IpAddr) -> Result<Place, NoPlace> {
        let key = network(address);
        let mut taken = self.0.taken.lock().unwrap_or_else(PoisonError::into_inner);
        if taken.all >= self.0.max {
            return Err(NoPlace::InAll);
        }
        let of_address = taken.by_address.get(&key).copied().unwrap_or(0);
        if of_address >= self.0.max_per_address {
            return Err(NoPlace::OfAddress);
        }
        taken.all += 1;
        taken.by_address.insert(key, of_address + 1);
        drop(taken);
        Ok(Place { of: self.0.clone(), key })
    }

    /// Returns how many places are taken.
    pub fn taken(&self) -> usize {
        self.0.taken.lock().unwrap_or_else(PoisonError::into_inner).all
    }
}

/// One place, which becomes free when this is dropped.
#[derive(Debug)]
pub struct Place {
    of: Arc<Shared>,
    key: IpAddr,
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut taken = self.of.taken.lock().unwrap_or_else(PoisonError::into_inner);
        taken.all -= 1;
        if let Some(count) = taken.by_address.get_mut(&self.key) {
            *count -= 1;
            if *count == 0 {
                taken.by_address.remove(&self.key);
            }
        }
    }
}

fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => {
            let [a, b, c, d, ..] = address.segments();
            IpAddr::from([a, b, c, d, 0, 0, 0, 0])
        }
        v4 => v4,
    }
}

#[cfg(test)]
mod tests {
    use governor::clock::FakeRelativeClock;

    use super::*;

    fn number(number: u32) -> NonZeroU32 {
        NonZeroU32::new(number).expect("not zero")
    }

    #[test]
    fn a_burst_is_allowed_and_then_the_rate() {
        let clock = FakeRelativeClock::default();
        let rate = Rate::with_clock(number(2), number(3), clock.clone());
        assert_eq!([(); 3].map(|()| rate.take()), [Ok(()); 3]);
        assert_eq!(rate.take(), Err(Duration::from_millis(500)));
        clock.advance(Duration::from_millis(500));
        assert_eq!(rate.take(), Ok(()));
        assert_eq!(rate.take(), Err(Duration::from_millis(500)));
        clock.advance(Duration::from_secs(3600));
        assert_eq!([(); 3].map(|()| rate.take()), [Ok(()); 3]);
        assert!(rate.take().is_err(), "the bucket holds no more than the burst");
    }

    #[test]
    fn places_are_limited_in_all_and_for_each_address() {
        let places = Places::new(3, 2);
        let [a, b] = [[127, 0, 0, 1], [127, 0, 0, 2]].map(IpAddr::from);
        let first = places.take(a).expect("free");
        let _second = places.take(a).expect("free");
        assert_eq!(places.take(a).expect_err("taken"), NoPlace::OfAddress);
        let _third = places.take(b).expect("free");
        assert_eq!(places.take(b).expect_err("taken"), NoPlace::InAll);
        drop(first);
        assert!(places.take(a).is_ok());
    }

    #[test]
    fn a_dropped_place_leaves_nothing_behind() {
        let places = Places::new(10, 10);
        let address = IpAddr::from([127, 0, 0, 1]);
        drop([(); 5].map(|()| places.take(address).expect("free")));
        assert_eq!(places.taken(), 0);
        assert!(places.0.taken.lock().expect("no panic").by_address.is_empty());
    }

    #[test]
    fn a_host_with_many_addresses_counts_once() {
        let parse = |text: &str| network(text.parse().expect("an address"));
        assert_eq!(parse("2001:db8:1:2::3"), parse("2001:db8:1:2:ffff::4"));
        assert_ne!(parse("2001:db8:1:2::3"), parse("2001:db8:1:3::3"));
        assert_eq!(parse("::ffff:192.0.2.1"), parse("192.0.2.1"));
        assert_ne!(parse("192.0.2.2"), parse("192.0.2.1"));
    }
}
