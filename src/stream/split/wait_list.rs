//! The tasks that wait on a split connection.

use std::{
    collections::BTreeMap,
    mem,
    sync::Arc,
    task::{Wake, Waker},
};

use super::sync::{Flag, Hint, Mutex};

/// The tasks that wait.
///
/// A stream keeps one waker for each direction. Its write half is polled with a waker that wakes
/// all of these tasks, its read half with [`ReadWaker`].
#[derive(Debug, Default)]
pub(super) struct WaitList {
    entries: Mutex<Entries>,
    /// Whether the receiver is in the state [`ReceiverState::Waiting`], readable without a lock.
    receiver: Hint,
    /// Whether a sender may be waiting. Usually none is, and the lock is not needed to see that.
    senders: Flag,
}

#[derive(Debug, Default)]
struct Entries {
    receiver: ReceiverState,
    /// In the order in which they began to wait.
    senders: BTreeMap<u64, WaitingSender>,
    /// The number of senders that wait for room.
    for_room: usize,
    next_ticket: u64,
}

/// A sender that waits for the stream to accept bytes.
#[derive(Debug)]
struct WaitingSender {
    waker: Waker,
    wait: Wait,
}

/// What a sender waits for. In each case it writes when the stream accepts bytes again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wait {
    /// A flush of messages.
    Flush,
    /// Room in the queue of pings and pongs.
    Control,
    /// Room for a message, for which the semaphore wakes it.
    Room,
    /// Room for a message, outside of the semaphore's queue.
    AnyRoom,
}

impl Wait {
    fn is_for_room(self) -> bool {
        matches!(self, Self::Room | Self::AnyRoom)
    }
}

/// A sender's entry in the wait list, which is removed when this is dropped.
#[derive(Debug, Default)]
pub(super) struct Ticket(Option<(Arc<WaitList>, u64)>);

/// The state of the receiver.
///
/// ```text
///            pending                     woken
///   Busy ──────────────▶ Waiting(waker) ────────▶ Woken
///    ▲                        │                     │
///    └────────────────────────┴─────────────────────┘
///        returns something, or its future is dropped
/// ```
#[derive(Debug, Default)]
enum ReceiverState {
    /// The program is busy, and does not poll the receiver.
    #[default]
    Busy,
    Waiting(Waker),
    /// The receiver has been woken, and will write what is queued by then.
    Woken,
}

impl WaitList {
    /// Registers the receiver, which has been polled and may have to wait.
    pub(super) fn register_receiver(&self, waker: &Waker) {
        // Cloned and dropped outside of the lock, because both may run any code.
        let waker = waker.clone();
        let mut entries = self.entries.lock();
        let before = mem::replace(&mut entries.receiver, ReceiverState::Waiting(waker));
        self.receiver.set(true);
        drop(entries);
        drop(before);
    }

    /// Deregisters the receiver, which returns something or is dropped. Returns `true` if it had
    /// been woken, so that a sender may rely on it.
    pub(super) fn deregister_receiver(&self) -> bool {
        let mut entries = self.entries.lock();
        let before = mem::take(&mut entries.receiver);
        self.receiver.set(false);
        drop(entries);
        matches!(before, ReceiverState::Woken)
    }

    /// Wakes the receiver. Returns `true` if it was waiting or had already been woken.
    pub(super) fn wake_receiver(&self) -> bool {
        let mut entries = self.entries.lock();
        match mem::take(&mut entries.receiver) {
            ReceiverState::Busy => return false,
            ReceiverState::Woken => entries.receiver = ReceiverState::Woken,
            ReceiverState::Waiting(waker) => {
                entries.receiver = ReceiverState::Woken;
                self.receiver.set(false);
                drop(entries);
                waker.wake();
            }
        }
        true
    }

    /// Wakes the receiver if it is waiting, after something was queued under the lock of the state.
    ///
    /// A receiver that starts to wait after this check locks the state later, and sees what was
    /// queued.
    #[inline]
    pub(super) fn wake_waiting_receiver(&self) {
        if self.receiver.is_set() {
            self.wake_receiver();
        }
    }

    /// Registers a sender that waits.
    pub(super) fn register_sender(self: &Arc<Self>, ticket: &mut Ticket, waker: &Waker, wait: Wait) {
        let waiter = WaitingSender { waker: waker.clone(), wait };
        let mut entries = self.entries.lock();
        let (_, id) = ticket.0.get_or_insert_with(|| {
            entries.next_ticket += 1;
            (self.clone(), entries.next_ticket)
        });
        let before = entries.remove(*id);
        entries.for_room += usize::from(wait.is_for_room());
        entries.senders.insert(*id, waiter);
        self.senders.set();
        drop(entries);
        drop(before);
    }

    /// Returns `true` if a sender waits for room, after something was queued under the lock of the
    /// state.
    ///
    /// A sender that starts to wait after this check writes what is queued, for which it locks the
    /// state later, itself or by a request to the task that is writing.
    #[inline]
    pub(super) fn is_room_wanted(&self) -> bool {
        self.senders.peek() && self.entries.lock().for_room > 0
    }

    /// Returns `false` if no sender waits.
    #[cfg(feature = "hub")]
    pub(super) fn may_have_senders(&self) -> bool {
        self.senders.peek()
    }

    /// Wakes the senders that wait for this, after it was recorded under the lock of the state.
    ///
    /// A sender that starts to wait after this check locks the state later, and sees the change.
    #[inline]
    pub(super) fn wake_for(&self, wait: Wait) {
        if self.senders.peek() {
            self.wake_senders_for(wait);
        }
    }

    /// Wakes the senders that wait for room, after some was released without a lock.
    pub(super) fn wake_for_room(&self) {
        if self.senders.is_set() {
            self.wake_senders_for(Wait::AnyRoom);
        }
    }

    fn wake_senders_for(&self, wait: Wait) {
        let mut entries = self.entries.lock();
        let (woken, others): (BTreeMap<_, _>, _) =
            mem::take(&mut entries.senders).into_iter().partition(|(_, waiter)| waiter.wait == wait);
        entries.senders = others;
        if wait.is_for_room() {
            entries.for_room -= woken.len();
        }
        drop(entries);
        wake(woken);
    }

    /// Wakes all waiting senders.
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

    /// Wakes all waiting tasks.
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
        self.for_room -= usize::from(waiter.wait.is_for_room());
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

/// The waker of the stream's write half.
impl Wake for WaitList {
    fn wake(self: Arc<Self>) {
        self.wake_all();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.wake_all();
    }
}

/// The waker of the stream's read half: wakes the receiver, or the senders if the receiver does not
/// wait.
///
/// A stream that has to write in order to read, as TLS may, has its writes finished by the receiver
/// then.
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

/// A task of a test that records that it was woken.
#[cfg(all(test, not(fullduplex_loom)))]
#[derive(Debug, Default)]
pub(super) struct Woken(pub(super) Flag);

#[cfg(all(test, not(fullduplex_loom)))]
impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.set();
    }
}

#[cfg(all(test, not(fullduplex_loom)))]
mod tests {
    use super::*;

    #[test]
    fn room_is_wanted_by_those_who_wait_for_it_alone() {
        let list = Arc::new(WaitList::default());
        let waker = Waker::from(Arc::new(Woken::default()));
        let mut tickets = [Ticket::default(), Ticket::default(), Ticket::default(), Ticket::default()];
        let waits = [(Wait::Flush, false), (Wait::Control, false), (Wait::Room, true), (Wait::AnyRoom, true)];
        for (ticket, (wait, wanted)) in tickets.iter_mut().zip(waits) {
            list.register_sender(ticket, &waker, wait);
            assert_eq!(list.is_room_wanted(), wanted, "{wait:?}");
        }
        let [_flush, _control, room, any_room] = tickets;
        drop(room);
        assert!(list.is_room_wanted());
        drop(any_room);
        assert!(!list.is_room_wanted());
    }
}
