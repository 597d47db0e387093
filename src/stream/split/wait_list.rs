//! The tasks that wait on a split connection.

use std::{
    collections::BTreeMap,
    mem,
    sync::Arc,
    task::{Wake, Waker},
};

use super::sync::{Flag, Mutex};

/// The tasks that wait. A stream keeps one waker for each direction: its write half is polled with one that wakes all of
/// them, its read half with [`ReadWaker`].
#[derive(Debug, Default)]
pub(super) struct WaitList {
    entries: Mutex<Entries>,
    /// Whether the receiver waits and nobody has woken it: what [`ReceiverState::Waiting`] says, to be read without a lock.
    receiver: Flag,
    /// Whether a sender may wait: most often none does, and nothing has to be locked to know it.
    senders: Flag,
}

#[derive(Debug, Default)]
struct Entries {
    receiver: ReceiverState,
    /// In the order in which they came.
    senders: BTreeMap<u64, WaitingSender>,
    /// How many of the senders wait for room.
    for_room: usize,
    next_ticket: u64,
}

/// A sender that waits for the stream to take something.
#[derive(Debug)]
struct WaitingSender {
    waker: Waker,
    /// It waits for room, and relies on whoever takes that room to have it written.
    for_room: bool,
}

/// A sender's place among those that wait. Dropped, it takes its waker along.
#[derive(Debug, Default)]
pub(super) struct Ticket(Option<(Arc<WaitList>, u64)>);

/// What the receiver does.
///
/// ```text
///            pending                     woken
///   Busy ──────────────▶ Waiting(waker) ────────▶ Woken
///    ▲                        │                     │
///    └────────────────────────┴─────────────────────┘
///        gives something, or its future is dropped
/// ```
#[derive(Debug, Default)]
enum ReceiverState {
    /// The application is busy with something else.
    #[default]
    Busy,
    Waiting(Waker),
    /// On its way: it will write what is queued by then.
    Woken,
}

impl WaitList {
    /// Records that the receiver is polled, and has to be woken from here on.
    pub(super) fn register_receiver(&self, waker: &Waker) {
        let mut entries = self.entries.lock();
        if let ReceiverState::Waiting(registered) = &entries.receiver
            && registered.will_wake(waker)
        {
            return;
        }
        drop(entries);
        // Cloned and dropped outside of the lock: both may run code of any kind.
        let waker = waker.clone();
        entries = self.entries.lock();
        let before = mem::replace(&mut entries.receiver, ReceiverState::Waiting(waker));
        self.receiver.set();
        drop(entries);
        drop(before);
    }

    /// Records that the receiver has something to give, or is given up; returns whether somebody relied on it.
    pub(super) fn deregister_receiver(&self) -> bool {
        let mut entries = self.entries.lock();
        let before = mem::take(&mut entries.receiver);
        self.receiver.clear();
        drop(entries);
        matches!(before, ReceiverState::Woken)
    }

    /// Wakes the receiver; returns whether it will come.
    pub(super) fn wake_receiver(&self) -> bool {
        let mut entries = self.entries.lock();
        match mem::take(&mut entries.receiver) {
            ReceiverState::Busy => return false,
            ReceiverState::Woken => entries.receiver = ReceiverState::Woken,
            ReceiverState::Waiting(waker) => {
                entries.receiver = ReceiverState::Woken;
                self.receiver.clear();
                drop(entries);
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
    pub(super) fn register_sender(self: &Arc<Self>, ticket: &mut Ticket, waker: &Waker) {
        self.insert_sender(ticket, waker, false);
    }

    /// Records that a sender waits for room.
    pub(super) fn register_for_room(self: &Arc<Self>, ticket: &mut Ticket, waker: &Waker) {
        self.insert_sender(ticket, waker, true);
    }

    fn insert_sender(self: &Arc<Self>, ticket: &mut Ticket, waker: &Waker, for_room: bool) {
        let waiter = WaitingSender { waker: waker.clone(), for_room };
        let mut entries = self.entries.lock();
        let (_, id) = ticket.0.get_or_insert_with(|| {
            entries.next_ticket += 1;
            (self.clone(), entries.next_ticket)
        });
        let before = entries.remove(*id);
        entries.for_room += usize::from(for_room);
        entries.senders.insert(*id, waiter);
        self.senders.set();
        drop(entries);
        drop(before);
    }

    /// Whether a sender waits for room.
    pub(super) fn is_room_wanted(&self) -> bool {
        self.senders.is_set() && self.entries.lock().for_room > 0
    }

    /// Wakes the senders that wait for room.
    pub(super) fn wake_for_room(&self) {
        if !self.senders.is_set() {
            return;
        }
        let mut entries = self.entries.lock();
        entries.for_room = 0;
        let (for_room, others) =
            mem::take(&mut entries.senders).into_iter().partition(|(_, waiter)| waiter.for_room);
        entries.senders = others;
        drop(entries);
        wake(for_room);
    }

    /// Wakes the senders that wait.
    pub(super) fn wake_senders(&self) {
        if !self.senders.is_set() {
            return;
        }
        let mut entries = self.entries.lock();
        self.senders.clear();
        entries.for_room = 0;
        let senders = mem::take(&mut entries.senders);
        drop(entries);
        wake(senders);
    }

    pub(super) fn wake_all(&self) {
        self.wake_receiver();
        self.wake_senders();
    }
}

fn wake(senders: BTreeMap<u64, WaitingSender>) {
    senders.into_values().for_each(|waiter| waiter.waker.wake());
}

impl Entries {
    fn remove(&mut self, id: u64) -> Option<WaitingSender> {
        let waiter = self.senders.remove(&id)?;
        self.for_room -= usize::from(waiter.for_room);
        Some(waiter)
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        if let Some((wait_list, id)) = self.0.take() {
            let waiter = wait_list.entries.lock().remove(id);
            drop(waiter);
        }
    }
}

/// For the write half of the stream.
impl Wake for WaitList {
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
pub(super) struct ReadWaker(pub(super) Arc<WaitList>);

impl Wake for ReadWaker {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if !self.0.wake_receiver() {
            self.0.wake_senders();
        }
    }
}
