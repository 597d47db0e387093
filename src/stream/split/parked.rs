//! The tasks that wait on a split connection.

use std::{
    collections::BTreeMap,
    mem,
    sync::Arc,
    task::{Wake, Waker},
};

use super::sync::{Flag, Mutex};

/// The tasks that wait. A stream keeps one waker for each direction: its write half is polled with one that wakes all of
/// them, its read half with [`OnRead`].
#[derive(Debug, Default)]
pub(super) struct Parked {
    waiting: Mutex<Waiting>,
    /// Whether the receiver waits and nobody has woken it: what [`Receiving::Parked`] says, to be read without a lock.
    receiver: Flag,
    /// Whether a sender may wait: most often none does, and nothing has to be locked to know it.
    senders: Flag,
}

#[derive(Debug, Default)]
struct Waiting {
    receiver: Receiving,
    /// In the order in which they came.
    senders: BTreeMap<u64, Waiter>,
    /// How many of the senders wait for room.
    for_room: usize,
    next_ticket: u64,
}

/// A sender that waits for the stream to take something.
#[derive(Debug)]
struct Waiter {
    waker: Waker,
    /// It waits for room, and relies on whoever takes that room to have it written.
    for_room: bool,
}

/// A sender's place among those that wait. Dropped, it takes its waker along.
#[derive(Debug, Default)]
pub(super) struct Ticket(Option<(Arc<Parked>, u64)>);

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
    /// Records that the receiver is polled, and has to be woken from here on.
    pub(super) fn park_receiver(&self, waker: &Waker) {
        let mut waiting = self.waiting.lock();
        if let Receiving::Parked(parked) = &waiting.receiver
            && parked.will_wake(waker)
        {
            return;
        }
        drop(waiting);
        // Cloned and dropped outside of the lock: both may run code of any kind.
        let waker = waker.clone();
        waiting = self.waiting.lock();
        let before = mem::replace(&mut waiting.receiver, Receiving::Parked(waker));
        self.receiver.set();
        drop(waiting);
        drop(before);
    }

    /// Records that the receiver has something to give, or is given up; returns whether somebody relied on it.
    pub(super) fn deregister_receiver(&self) -> bool {
        let mut waiting = self.waiting.lock();
        let before = mem::take(&mut waiting.receiver);
        self.receiver.clear();
        drop(waiting);
        matches!(before, Receiving::Woken)
    }

    /// Wakes the receiver; returns whether it will come.
    pub(super) fn wake_receiver(&self) -> bool {
        let mut waiting = self.waiting.lock();
        match mem::take(&mut waiting.receiver) {
            Receiving::Away => return false,
            Receiving::Woken => waiting.receiver = Receiving::Woken,
            Receiving::Parked(waker) => {
                waiting.receiver = Receiving::Woken;
                self.receiver.clear();
                drop(waiting);
                waker.wake();
            }
        }
        true
    }

    /// Wakes the receiver if it waits, after something was queued under the lock of the state: a receiver that waits and is
    /// not seen here looks at the queue after that.
    #[inline]
    pub(super) fn wake_waiting_receiver(&self) {
        if self.receiver.peek() {
            self.wake_receiver();
        }
    }

    /// Records that a sender waits for what it has queued.
    pub(super) fn park(self: &Arc<Self>, ticket: &mut Ticket, waker: &Waker) {
        self.park_sender(ticket, waker, false);
    }

    /// Records that a sender waits for room.
    pub(super) fn park_for_room(self: &Arc<Self>, ticket: &mut Ticket, waker: &Waker) {
        self.park_sender(ticket, waker, true);
    }

    fn park_sender(self: &Arc<Self>, ticket: &mut Ticket, waker: &Waker, for_room: bool) {
        let waiter = Waiter { waker: waker.clone(), for_room };
        let mut waiting = self.waiting.lock();
        let (_, id) = ticket.0.get_or_insert_with(|| {
            waiting.next_ticket += 1;
            (self.clone(), waiting.next_ticket)
        });
        let before = waiting.remove(*id);
        waiting.for_room += usize::from(for_room);
        waiting.senders.insert(*id, waiter);
        self.senders.set();
        drop(waiting);
        drop(before);
    }

    /// Whether a sender waits for room.
    pub(super) fn is_room_wanted(&self) -> bool {
        self.senders.is_set() && self.waiting.lock().for_room > 0
    }

    /// Wakes the senders that wait for room.
    pub(super) fn wake_for_room(&self) {
        if !self.senders.is_set() {
            return;
        }
        let mut waiting = self.waiting.lock();
        waiting.for_room = 0;
        let (for_room, others) =
            mem::take(&mut waiting.senders).into_iter().partition(|(_, waiter)| waiter.for_room);
        waiting.senders = others;
        drop(waiting);
        wake(for_room);
    }

    /// Wakes the senders that wait.
    pub(super) fn wake_senders(&self) {
        if !self.senders.is_set() {
            return;
        }
        let mut waiting = self.waiting.lock();
        self.senders.clear();
        waiting.for_room = 0;
        let senders = mem::take(&mut waiting.senders);
        drop(waiting);
        wake(senders);
    }

    pub(super) fn wake_all(&self) {
        self.wake_receiver();
        self.wake_senders();
    }
}

fn wake(senders: BTreeMap<u64, Waiter>) {
    senders.into_values().for_each(|waiter| waiter.waker.wake());
}

impl Waiting {
    fn remove(&mut self, id: u64) -> Option<Waiter> {
        let waiter = self.senders.remove(&id)?;
        self.for_room -= usize::from(waiter.for_room);
        Some(waiter)
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        if let Some((parked, id)) = self.0.take() {
            let waiter = parked.waiting.lock().remove(id);
            drop(waiter);
        }
    }
}

/// For the write half of the stream.
impl Wake for Parked {
    fn wake(self: Arc<Self>) {
        self.wake_all();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.wake_all();
    }
}

/// For the read half of the stream: wakes the receiver, and no sender, unless the receiver does not wait. A stream that has
/// to write in order to read, as TLS may, has its writes finished by the receiver then.
#[derive(Debug)]
pub(super) struct OnRead(pub(super) Arc<Parked>);

impl Wake for OnRead {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if !self.0.wake_receiver() {
            self.0.wake_senders();
        }
    }
}
