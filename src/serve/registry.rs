//! What a shutdown shares with its guards: the phase, the tasks to wake, and the tally.
//!
//! ```text
//!             begin                    the deadline of wait
//!   Open ──────────────▶ Closing ──────────────▶ CutOff
//! ```
//!
//! No wake-up is lost: a phase is stored before any waker is read, and a guard reads the phase
//! again after it has stored its waker. Both happen under the lock of the waker's shard, so one of
//! them sees the other.

use std::{
    fmt,
    sync::{
        Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak,
        atomic::{
            AtomicU8, AtomicUsize,
            Ordering::{Acquire, Relaxed, Release},
        },
    },
    task::Waker,
    thread,
};

use tokio::sync::Notify;

use super::{
    metrics::Metrics,
    slab::{BLOCK, Slab},
};
use crate::CloseFrame;

/// The largest number of locks of a registry: about one for each thread.
const MAX_SHARDS: usize = 64;

/// How far a shutdown has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Phase {
    /// It has not begun.
    Open,
    /// Connections are being closed.
    Closing,
    /// The deadline has passed: connections end at once.
    CutOff,
}

/// How connections have ended since the shutdown began, and how many are open.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Tally {
    pub(super) open: usize,
    pub(super) closed: usize,
    pub(super) lost: usize,
}

/// The state of a shutdown.
#[derive(Debug)]
pub(super) struct Root {
    phase: AtomicU8,
    frame: OnceLock<CloseFrame>,
    tally: Mutex<Tally>,
    registries: Mutex<Vec<Weak<Registry>>>,
    waking: Mutex<Cursor>,
    /// Notified when the phase changes, and once no connection is left.
    changed: Notify,
}

impl Root {
    pub(super) fn new() -> Self {
        Self {
            phase: AtomicU8::new(Phase::Open as u8),
            frame: OnceLock::new(),
            tally: Mutex::default(),
            registries: Mutex::default(),
            waking: Mutex::default(),
            changed: Notify::new(),
        }
    }

    pub(super) fn phase(&self) -> Phase {
        match self.phase.load(Acquire) {
            0 => Phase::Open,
            1 => Phase::Closing,
            _ => Phase::CutOff,
        }
    }

    /// Returns the Close to send, once the shutdown has begun.
    pub(super) fn frame(&self) -> Option<&CloseFrame> {
        self.frame.get()
    }

    pub(super) fn tally(&self) -> MutexGuard<'_, Tally> {
        lock(&self.tally)
    }

    pub(super) fn changed(&self) -> &Notify {
        &self.changed
    }

    /// Begins the shutdown, unless it has begun. The caller then wakes the guards.
    pub(super) fn begin(&self, frame: CloseFrame) -> bool {
        let first = self.frame.set(frame).is_ok();
        if first {
            self.enter(Phase::Closing);
        }
        first
    }

    /// Ends all connections that are left. The caller then wakes the guards.
    pub(super) fn cut_off(&self) {
        self.enter(Phase::CutOff);
    }

    fn enter(&self, phase: Phase) {
        let mut waking = lock(&self.waking);
        self.phase.fetch_max(phase as u8, Release);
        // Registries that are added later see the phase.
        let registries = lock(&self.registries).iter().filter_map(Weak::upgrade).collect();
        let last = std::mem::replace(&mut *waking, Cursor { registries, ..Cursor::default() });
        drop(waking);
        drop(last);
        self.changed.notify_waiters();
    }

    /// Wakes the guards of one block, without a lock. Returns `false` once all have been woken.
    ///
    /// Several tasks may call this: each block is woken by one of them.
    pub(super) fn wake_block(&self) -> bool {
        let mut wakers = Vec::with_capacity(BLOCK);
        let more = lock(&self.waking).copy(&mut wakers);
        wakers.into_iter().for_each(Waker::wake);
        more
    }

    fn add(&self, registry: &Arc<Registry>) {
        let mut registries = lock(&self.registries);
        registries.retain(|registry| registry.strong_count() > 0);
        registries.push(Arc::downgrade(registry));
    }
}

/// The position up to which guards have been woken.
#[derive(Debug, Default)]
struct Cursor {
    registries: Vec<Arc<Registry>>,
    registry: usize,
    shard: usize,
    block: usize,
}

impl Cursor {
    /// Copies the wakers of the next block. Returns `false` if there is none.
    fn copy(&mut self, wakers: &mut Vec<Waker>) -> bool {
        while let Some(registry) = self.registries.get(self.registry) {
            let Some(shard) = registry.shards.get(self.shard) else {
                (self.registry, self.shard, self.block) = (self.registry + 1, 0, 0);
                continue;
            };
            if lock(shard).copy(self.block, wakers) {
                self.block += 1;
                return true;
            }
            (self.shard, self.block) = (self.shard + 1, 0);
        }
        // They refer to the owner of this cursor.
        self.registries.clear();
        self.registry = 0;
        false
    }
}

/// The guards of one shutdown that count for the same metrics.
pub(super) struct Registry {
    root: Arc<Root>,
    metrics: Option<Metrics>,
    /// Several, so that threads seldom wait for each other. An index names shard and slot.
    shards: Box<[Mutex<Slab>]>,
    /// The shard of the next guard.
    next: AtomicUsize,
}

impl fmt::Debug for Registry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Registry").field("phase", &self.root.phase()).finish_non_exhaustive()
    }
}

impl Registry {
    pub(super) fn new(root: Arc<Root>, metrics: Option<Metrics>) -> Arc<Self> {
        let threads = thread::available_parallelism().map_or(1, usize::from);
        let shards = (0..threads.min(MAX_SHARDS)).map(|_| Mutex::default()).collect();
        let registry = Arc::new(Self { root, metrics, shards, next: AtomicUsize::new(0) });
        registry.root.add(&registry);
        registry
    }

    pub(super) fn root(&self) -> &Arc<Root> {
        &self.root
    }

    pub(super) fn metrics(&self) -> Option<&Metrics> {
        self.metrics.as_ref()
    }

    /// Takes a slot for a waker, and returns its index.
    pub(super) fn insert(&self) -> u32 {
        let shards = self.shards.len();
        let shard = self.next.fetch_add(1, Relaxed) % shards;
        let slot = lock(&self.shards[shard]).insert();
        slot * shards as u32 + shard as u32
    }

    /// Stores the waker of a guard that waits. The caller reads the phase again after this.
    pub(super) fn register(&self, index: u32, waker: &Waker) {
        let (shard, slot) = self.place(index);
        let replaced = lock(shard).register(slot, waker);
        drop(replaced);
    }

    /// Frees a slot.
    pub(super) fn remove(&self, index: u32) {
        let (shard, slot) = self.place(index);
        let removed = lock(shard).remove(slot);
        drop(removed);
    }

    fn place(&self, index: u32) -> (&Mutex<Slab>, u32) {
        let shards = self.shards.len() as u32;
        (&self.shards[(index % shards) as usize], index / shards)
    }
}

/// Locks a mutex. The values are consistent even if a thread has panicked meanwhile.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::CloseCode;

    #[test]
    fn the_first_close_is_the_one_that_is_sent() {
        let root = Root::new();
        assert!(root.begin(CloseFrame::from_static(CloseCode::SERVICE_RESTART, "first")));
        assert!(!root.begin(CloseFrame::from_static(CloseCode::GOING_AWAY, "second")));
        assert_eq!(root.frame().expect("begun").reason(), "first");
        root.cut_off();
        assert_eq!(root.phase(), Phase::CutOff);
        assert!(!root.begin(CloseFrame::from_static(CloseCode::GOING_AWAY, "third")));
        assert_eq!(root.phase(), Phase::CutOff, "it does not go back");
    }

    #[test]
    fn registries_without_guards_are_forgotten() {
        let root = Arc::new(Root::new());
        let first = Registry::new(root.clone(), None);
        for _ in 0..10 {
            Registry::new(root.clone(), None);
        }
        assert!(lock(&root.registries).len() <= 2);
        drop(first);
    }

    #[test]
    fn indexes_of_all_shards_are_distinct() {
        let registry = Registry::new(Arc::new(Root::new()), None);
        let mut indexes: Vec<u32> = (0..10_000).map(|_| registry.insert()).collect();
        indexes.sort_unstable();
        indexes.dedup();
        assert_eq!(indexes.len(), 10_000);
    }
}
