//! The lock that the halves share, which a model checker can stand behind.

#[cfg(not(fullduplex_loom))]
use std::sync::atomic::{AtomicBool, Ordering, fence};
use std::{
    ops::{Deref, DerefMut},
    sync::{self, PoisonError, TryLockError},
};

#[cfg(fullduplex_loom)]
use loom::sync::atomic::{AtomicBool, Ordering, fence};

/// A lock that does not know of poison: a panic in between leaves nothing half done that a later call would stumble over.
#[derive(Debug, Default)]
pub(super) struct Mutex<T: ?Sized> {
    /// Who gets in is for the model checker to decide.
    #[cfg(fullduplex_loom)]
    gate: loom::sync::Mutex<()>,
    inner: sync::Mutex<T>,
}

/// What is locked. The fields are dropped in their order.
#[derive(Debug)]
pub(super) struct Guard<'a, T: ?Sized> {
    inner: sync::MutexGuard<'a, T>,
    #[cfg(fullduplex_loom)]
    _gate: loom::sync::MutexGuard<'a, ()>,
}

/// A note that one leaves and another finds.
#[derive(Debug, Default)]
pub(super) struct Flag(AtomicBool);

impl Flag {
    pub(super) fn set(&self) {
        self.0.store(true, Ordering::SeqCst);
        // What is looked at next is looked at after this is seen: of two who leave a note and look for the other's, one
        // finds it.
        fence(Ordering::SeqCst);
    }

    pub(super) fn clear(&self) {
        self.0.store(false, Ordering::SeqCst);
    }

    /// Returns whether it is set, ordered by whatever lock the caller has held since.
    #[inline]
    pub(super) fn peek(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    pub(super) fn is_set(&self) -> bool {
        fence(Ordering::SeqCst);
        self.0.load(Ordering::SeqCst)
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
    pub(super) fn lock(&self) -> Guard<'_, T> {
        #[cfg(fullduplex_loom)]
        let _gate = self.gate.lock().unwrap_or_else(PoisonError::into_inner);
        Guard {
            inner: self.inner.lock().unwrap_or_else(PoisonError::into_inner),
            #[cfg(fullduplex_loom)]
            _gate,
        }
    }

    /// Locks it, unless somebody else has.
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
