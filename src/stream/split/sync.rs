//! The lock and the flag that the halves share, replaceable by those of a model checker.

#[cfg(not(fullduplex_loom))]
use std::sync::atomic::{AtomicBool, Ordering, fence};
use std::{
    ops::{Deref, DerefMut},
    sync::{self, PoisonError, TryLockError},
};

#[cfg(fullduplex_loom)]
use loom::sync::atomic::{AtomicBool, Ordering, fence};

/// A mutex that ignores poisoning: a panic leaves no state that a later call could not handle.
#[derive(Debug, Default)]
pub(super) struct Mutex<T: ?Sized> {
    /// Lets the model checker decide which thread enters.
    #[cfg(fullduplex_loom)]
    gate: loom::sync::Mutex<()>,
    inner: sync::Mutex<T>,
}

/// The guard of a [`Mutex`]. The fields are dropped in their order.
#[derive(Debug)]
pub(super) struct Guard<'a, T: ?Sized> {
    inner: sync::MutexGuard<'a, T>,
    #[cfg(fullduplex_loom)]
    _gate: loom::sync::MutexGuard<'a, ()>,
}

/// A flag that one task sets and another checks.
#[derive(Debug, Default)]
pub(super) struct Flag(AtomicBool);

impl Flag {
    pub(super) fn set(&self) {
        self.0.store(true, Ordering::SeqCst);
        // Orders later reads after this store: if two tasks each set a flag and then check the
        // other's, at least one sees the other's.
        fence(Ordering::SeqCst);
    }

    pub(super) fn clear(&self) {
        self.0.store(false, Ordering::SeqCst);
    }

    /// Returns whether it is set, ordered by the locks that the caller has held since.
    #[inline]
    pub(super) fn peek(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    pub(super) fn is_set(&self) -> bool {
        fence(Ordering::SeqCst);
        self.0.load(Ordering::SeqCst)
    }
}

/// A request that one task leaves for another, which holds a lock.
///
/// One sets it and then tries to lock; the other unlocks and then takes it. At least one of the two
/// succeeds, because each access both reads and writes, so that the later one sees what happened
/// before the earlier. This costs less than a fence.
#[derive(Debug, Default)]
pub(super) struct Request(AtomicBool);

impl Request {
    pub(super) fn set(&self) {
        self.0.swap(true, Ordering::AcqRel);
    }

    /// Returns whether it was set, and clears it.
    #[inline]
    pub(super) fn take(&self) -> bool {
        self.0.swap(false, Ordering::AcqRel)
    }
}

/// A flag that is changed under a lock. Readers are ordered by the locks that they have held since.
#[derive(Debug, Default)]
pub(super) struct Hint(AtomicBool);

impl Hint {
    pub(super) fn set(&self, value: bool) {
        self.0.store(value, Ordering::Relaxed);
    }

    #[inline]
    pub(super) fn is_set(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

impl<T> Mutex<T> {
    pub(super) fn new(value: T) -> Self {
        Self {
            #[cfg(fullduplex_loom)]
            gate: loom::sync::Mutex::new(()),
            inner: sync::Mutex::new(value),
        }
    }
}

impl<T: ?Sized> Mutex<T> {
    #[cfg(feature = "hub")]
    pub(super) fn is_poisoned(&self) -> bool {
        self.inner.is_poisoned()
    }

    pub(super) fn lock(&self) -> Guard<'_, T> {
        #[cfg(fullduplex_loom)]
        let _gate = self.gate.lock().unwrap_or_else(PoisonError::into_inner);
        Guard {
            inner: self.inner.lock().unwrap_or_else(PoisonError::into_inner),
            #[cfg(fullduplex_loom)]
            _gate,
        }
    }

    /// Locks it, unless another task has.
    pub(super) fn try_lock(&self) -> Option<Guard<'_, T>> {
        #[cfg(fullduplex_loom)]
        let _gate = self.gate.try_lock().ok()?;
        let inner = match self.inner.try_lock() {
            Ok(inner) => inner,
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            Err(TryLockError::WouldBlock) => return None,
        };
        Some(Guard {
            inner,
            #[cfg(fullduplex_loom)]
            _gate,
        })
    }
}

impl<T: ?Sized> Deref for Guard<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.inner
    }
}

impl<T: ?Sized> DerefMut for Guard<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        &mut self.inner
    }
}
