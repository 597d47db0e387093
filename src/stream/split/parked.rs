//! Who waits on a split connection.

use std::{
    mem,
    sync::Arc,
    task::{Wake, Waker},
};

use super::sync::{Flag, Mutex};

/// Who waits. A stream keeps one waker for each direction, so both halves poll it with one that wakes them all.
#[derive(Debug, Default)]
pub(super) struct Parked {
    waiting: Mutex<Waiting>,
    /// Whether a sender may be among them: most often none is, and nothing has to be locked to know it.
    senders: Flag,
}

#[derive(Debug, Default)]
struct Waiting {
    receiver: Receiving,
    /// Senders that wait for room: they count on whoever takes it to have it written.
    for_room: Vec<Waker>,
    others: Vec<Waker>,
}

/// What the receiver does.
///
/// ```text
///            pending                     woken
///   Away ──────────────▶ Parked(waker) ─────────▶ Woken
///    ▲                        │                     │
///    └────────────────────────┴─────────────────────┘
///        gives something, or its future is dropped
/// ```
#[derive(Debug, Default)]
enum Receiving {
    /// The application is busy with something else.
    #[default]
    Away,
    Parked(Waker),
    /// On its way: it will write what is queued by then.
    Woken,
}

impl Parked {
    /// The receiver is polled, and will be woken from here on.
    pub(super) fn park_receiver(&self, waker: &Waker) {
        let mut waiting = self.waiting.lock();
        match &mut waiting.receiver {
            Receiving::Parked(parked) => parked.clone_from(waker),
            other => *other = Receiving::Parked(waker.clone()),
        }
    }

    /// The receiver has something to give, or is given up; says whether somebody counted on it.
    pub(super) fn receiver_leaves(&self) -> bool {
        matches!(mem::take(&mut self.waiting.lock().receiver), Receiving::Woken)
    }

    /// Wakes the receiver; says whether it will come.
    pub(super) fn wake_receiver(&self) -> bool {
        let mut waiting = self.waiting.lock();
        let coming = !matches!(waiting.receiver, Receiving::Away);
        if let Some(waker) = waiting.take_receiver() {
            drop(waiting);
            waker.wake();
        }
        coming
    }

    /// A sender waits.
    pub(super) fn park(&self, waker: &Waker) {
        let mut waiting = self.waiting.lock();
        add(&mut waiting.others, waker);
        self.senders.set();
    }

    /// A sender waits for room.
    pub(super) fn park_for_room(&self, waker: &Waker) {
        let mut waiting = self.waiting.lock();
        add(&mut waiting.for_room, waker);
        self.senders.set();
    }

    /// Whether a sender waits for room.
    pub(super) fn is_room_wanted(&self) -> bool {
        self.senders.is_set() && !self.waiting.lock().for_room.is_empty()
    }

    /// Wakes the senders that wait for room.
    pub(super) fn wake_for_room(&self) {
        if !self.senders.is_set() {
            return;
        }
        let for_room = mem::take(&mut self.waiting.lock().for_room);
        for_room.into_iter().for_each(Waker::wake);
    }

    /// Wakes the senders that wait.
    pub(super) fn wake_senders(&self) {
        if !self.senders.is_set() {
            return;
        }
        let mut waiting = self.waiting.lock();
        self.senders.clear();
        let (for_room, others) = (mem::take(&mut waiting.for_room), mem::take(&mut waiting.others));
        drop(waiting);
        for_room.into_iter().chain(others).for_each(Waker::wake);
    }

    pub(super) fn wake_all(&self) {
        self.wake_receiver();
        self.wake_senders();
    }
}

fn add(wakers: &mut Vec<Waker>, waker: &Waker) {
    if !wakers.iter().any(|parked| parked.will_wake(waker)) {
        wakers.push(waker.clone());
    }
}

impl Waiting {
    fn take_receiver(&mut self) -> Option<Waker> {
        match mem::replace(&mut self.receiver, Receiving::Woken) {
            Receiving::Parked(waker) => Some(waker),
            other => {
                self.receiver = other;
                None
            }
        }
    }
}

impl Wake for Parked {
    fn wake(self: Arc<Self>) {
        self.wake_all();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.wake_all();
    }
}
