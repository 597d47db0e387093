//! The queue itself, shared by the handles and the client.

use std::{
    collections::VecDeque,
    fmt, mem,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    task::Waker,
};

use tokio::sync::{Semaphore, TryAcquireError, oneshot};

use super::queue::{Delivery, Outcome, QueueLimits, QueuedMessage, Receipt, WhenFull};
use crate::{CloseFrame, Error, Outgoing};

/// The queue, shared by the handles and the client.
///
/// ```text
///   send ──▶ waiting ── pop ──▶ a connection ── flushed ──▶ Sent
///              │  ▲                   │
///              │  └── push_front ─────┤ lost, with `retry`
///              ▼                      └ lost ─────────────▶ Unknown
///           Dropped
/// ```
///
/// An entry keeps its room until it is resolved.
pub(super) struct Backlog {
    state: Mutex<BacklogState>,
    messages: Semaphore,
    bytes: Semaphore,
    limits: QueueLimits,
    /// The number of the newest connection; 0 before the first one.
    connection: AtomicU64,
}

#[derive(Debug, Default)]
struct BacklogState {
    waiting: VecDeque<Entry>,
    shutdown: Shutdown,
    /// The task that polls the client.
    driver: Option<Waker>,
}

/// Whether the program has closed the client.
#[derive(Debug, Clone, Default)]
pub(super) enum Shutdown {
    #[default]
    No,
    /// It has, with this Close.
    Requested(CloseFrame),
    /// The client has ended.
    Ended,
}

/// A message without an outcome.
#[derive(Debug)]
pub(super) struct Entry {
    outgoing: Outgoing<'static>,
    retry: bool,
    unresolved: Unresolved,
}

/// The obligation to resolve a message, and the room that it takes.
#[derive(Debug)]
pub(super) struct Unresolved {
    cost: u32,
    receipt: oneshot::Sender<Outcome>,
    /// Whether a connection was lost that had accepted the message.
    was_lost: bool,
    /// The number of the only connection that may send it; `None` for any.
    only: Option<u64>,
}

impl Unresolved {
    /// Records that the server may have received the message already.
    pub(super) fn lost(mut self) -> Self {
        self.was_lost = true;
        self
    }
}

impl Entry {
    pub(super) fn new(outgoing: Outgoing<'static>, retry: bool, unresolved: Unresolved) -> Self {
        Self { outgoing, retry, unresolved }
    }

    pub(super) fn into_parts(self) -> (Outgoing<'static>, bool, Unresolved) {
        (self.outgoing, self.retry, self.unresolved)
    }
}

/// The reason why a message was not queued, with that message.
#[derive(Debug)]
pub(super) enum Refused<'a> {
    Full(QueuedMessage<'a>),
    Closed(QueuedMessage<'a>),
}

impl fmt::Debug for Backlog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Backlog").field("waiting", &self.len()).finish_non_exhaustive()
    }
}

impl Backlog {
    pub(super) fn new(limits: QueueLimits) -> Self {
        Self {
            state: Mutex::default(),
            messages: Semaphore::new(limits.max_messages),
            bytes: Semaphore::new(limits.max_bytes),
            limits,
            connection: AtomicU64::new(0),
        }
    }

    fn state(&self) -> MutexGuard<'_, BacklogState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn cost(&self, message: &QueuedMessage<'_>) -> u32 {
        // At most `u32::MAX`, as the limit is.
        message.outgoing.len().min(self.limits.max_bytes) as u32
    }

    /// Queues a message as the limits demand: see [`Handle::send`](super::Handle::send).
    pub(super) async fn send(&self, message: QueuedMessage<'_>) -> Result<Receipt, Error> {
        let message = match self.try_send(message) {
            Ok(receipt) => return Ok(receipt),
            Err(Refused::Closed(_)) => return Err(Error::Closed),
            Err(Refused::Full(message)) => message,
        };
        if self.limits.when_full != WhenFull::Wait {
            let (sender, receipt) = oneshot::channel();
            let _ = sender.send(self.outcome(Delivery::Dropped));
            return Ok(Receipt(receipt));
        }
        // In this order everywhere, so that two senders never wait for each other.
        let slot = self.messages.acquire().await.map_err(|_closed| Error::Closed)?;
        let room = self.bytes.acquire_many(self.cost(&message)).await.map_err(|_closed| Error::Closed)?;
        let (unresolved, receipt) = self.unresolved(&message);
        self.push(message, unresolved).map_err(|_closed| Error::Closed)?;
        slot.forget();
        room.forget();
        Ok(receipt)
    }

    /// Queues a message without waiting. With [`WhenFull::DropOldest`], drops others for it.
    pub(super) fn try_send<'a>(&self, message: QueuedMessage<'a>) -> Result<Receipt, Refused<'a>> {
        loop {
            match self.try_room(self.cost(&message)) {
                Ok(()) => break,
                Err(TryAcquireError::Closed) => return Err(Refused::Closed(message)),
                Err(TryAcquireError::NoPermits) => {}
            }
            let oldest = match self.limits.when_full {
                WhenFull::DropOldest => self.state().waiting.pop_front(),
                _ => None,
            };
            match oldest {
                Some(oldest) => self.discard(oldest.unresolved),
                None => return Err(Refused::Full(message)),
            }
        }
        let (unresolved, receipt) = self.unresolved(&message);
        match self.push(message, unresolved) {
            Ok(()) => Ok(receipt),
            Err((message, unresolved)) => {
                self.release(unresolved.cost);
                Err(Refused::Closed(message))
            }
        }
    }

    fn try_room(&self, cost: u32) -> Result<(), TryAcquireError> {
        let slot = self.messages.try_acquire()?;
        let room = self.bytes.try_acquire_many(cost)?;
        slot.forget();
        room.forget();
        Ok(())
    }

    fn unresolved(&self, message: &QueuedMessage<'_>) -> (Unresolved, Receipt) {
        let (receipt, outcome) = oneshot::channel();
        (
            Unresolved { cost: self.cost(message), receipt, was_lost: false, only: message.only },
            Receipt(outcome),
        )
    }

    /// Queues a message that has its room, and wakes the client.
    fn push<'a>(
        &self,
        message: QueuedMessage<'a>,
        unresolved: Unresolved,
    ) -> Result<(), (QueuedMessage<'a>, Unresolved)> {
        let QueuedMessage { outgoing, retry, only } = message;
        // Copied before locking, if it is borrowed.
        let outgoing = outgoing.into_owned();
        let mut state = self.state();
        if !matches!(state.shutdown, Shutdown::No) {
            drop(state);
            return Err((QueuedMessage { outgoing, retry, only }, unresolved));
        }
        state.waiting.push_back(Entry { outgoing, retry, unresolved });
        wake(state);
        Ok(())
    }

    /// Gives a message its outcome, and releases its room.
    pub(super) fn resolve(&self, unresolved: Unresolved, delivery: Delivery) {
        // The program need not be interested.
        let _ = unresolved.receipt.send(self.outcome(delivery));
        self.release(unresolved.cost);
    }

    fn outcome(&self, delivery: Delivery) -> Outcome {
        Outcome { delivery, connection: self.connection() }
    }

    /// Returns the number of the newest connection; 0 before the first one.
    pub(super) fn connection(&self) -> u64 {
        // Published by the state of the client, which changes after it.
        self.connection.load(Relaxed)
    }

    /// Sets the number of a new connection.
    pub(super) fn opened(&self, connection: u64) {
        self.connection.store(connection, Relaxed);
    }

    /// Drops a message that is not sent, or not again.
    fn discard(&self, unresolved: Unresolved) {
        let delivery = if unresolved.was_lost { Delivery::Unknown } else { Delivery::Dropped };
        self.resolve(unresolved, delivery);
    }

    fn release(&self, cost: u32) {
        self.messages.add_permits(1);
        self.bytes.add_permits(cost as usize);
    }

    /// Closes the queue: what is queued is sent, and nothing is accepted any more.
    pub(super) fn close(&self, frame: CloseFrame) -> Result<(), Error> {
        let mut state = self.state();
        if !matches!(state.shutdown, Shutdown::No) {
            return Err(Error::Closed);
        }
        state.shutdown = Shutdown::Requested(frame);
        wake(state);
        self.messages.close();
        self.bytes.close();
        Ok(())
    }

    /// Ends the queue, and drops what waits in it.
    pub(super) fn end(&self) {
        self.state().shutdown = Shutdown::Ended;
        self.messages.close();
        self.bytes.close();
        self.drop_waiting();
    }

    /// Drops what waits in the queue.
    pub(super) fn drop_waiting(&self) {
        let waiting = mem::take(&mut self.state().waiting);
        for entry in waiting {
            self.discard(entry.unresolved);
        }
    }

    /// Registers the task that polls the client. Returns whether the program has closed it.
    pub(super) fn register(&self, waker: &Waker) -> Shutdown {
        let mut state = self.state();
        if state.driver.as_ref().is_some_and(|driver| driver.will_wake(waker)) {
            return state.shutdown.clone();
        }
        drop(state);
        // Cloned and dropped outside of the lock, because both may run any code.
        let waker = waker.clone();
        state = self.state();
        let before = state.driver.replace(waker);
        let shutdown = state.shutdown.clone();
        drop(state);
        drop(before);
        shutdown
    }

    /// Takes the message that has waited longest. Drops those that are for an earlier connection.
    pub(super) fn pop(&self) -> Option<Entry> {
        loop {
            // Unlocked before the entry is examined, because dropping one takes the lock.
            let entry = self.state().waiting.pop_front()?;
            match entry.unresolved.only {
                Some(only) if only != self.connection() => self.discard(entry.unresolved),
                _ => return Some(entry),
            }
        }
    }

    /// Puts back a message that was not sent, before all others.
    pub(super) fn push_front(&self, entry: Entry) {
        let mut state = self.state();
        if matches!(state.shutdown, Shutdown::Ended) {
            drop(state);
            return self.discard(entry.unresolved);
        }
        state.waiting.push_front(entry);
    }

    pub(super) fn is_open(&self) -> bool {
        matches!(self.state().shutdown, Shutdown::No)
    }

    /// Returns how many messages wait.
    pub(super) fn len(&self) -> usize {
        self.state().waiting.len()
    }
}

/// Wakes the task that polls the client, after unlocking: a waker can run any code.
fn wake(mut state: MutexGuard<'_, BacklogState>) {
    let driver = state.driver.take();
    drop(state);
    if let Some(driver) = driver {
        driver.wake();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::CloseCode;

    fn backlog(messages: usize, bytes: usize, when_full: WhenFull) -> Backlog {
        Backlog::new(QueueLimits::new().max_messages(messages).max_bytes(bytes).when_full(when_full))
    }

    fn queued(backlog: &Backlog, len: usize) -> Receipt {
        backlog.try_send(vec![0; len].into()).expect("room")
    }

    #[test]
    fn both_limits_are_inclusive() {
        let backlog = backlog(2, 10, WhenFull::DropNewest);
        let _receipts = [queued(&backlog, 10), queued(&backlog, 0)];
        assert!(matches!(backlog.try_send("".into()), Err(Refused::Full(_))), "the third message");
        let backlog = self::backlog(9, 10, WhenFull::DropNewest);
        let _receipts = [queued(&backlog, 4), queued(&backlog, 6)];
        assert!(matches!(backlog.try_send("a".into()), Err(Refused::Full(_))), "the eleventh byte");
    }

    #[test]
    fn a_message_that_is_being_written_keeps_its_room() {
        let backlog = backlog(1, 10, WhenFull::DropOldest);
        let mut receipt = queued(&backlog, 10);
        let entry = backlog.pop().expect("queued");
        assert!(matches!(backlog.try_send("a".into()), Err(Refused::Full(_))));
        backlog.resolve(entry.unresolved, Delivery::Sent);
        assert_eq!(receipt.try_get(), Some(Delivery::Sent));
        queued(&backlog, 10);
    }

    #[test]
    fn the_oldest_messages_are_dropped_until_there_is_room() {
        let backlog = backlog(9, 10, WhenFull::DropOldest);
        let mut receipts = [4, 4, 2].map(|len| queued(&backlog, len));
        queued(&backlog, 5);
        let outcomes = receipts.each_mut().map(Receipt::try_get);
        assert_eq!(outcomes, [Some(Delivery::Dropped), Some(Delivery::Dropped), None]);
    }

    #[test]
    fn a_message_longer_than_the_limit_needs_all_of_the_room() {
        let backlog = backlog(9, 10, WhenFull::DropNewest);
        let long = || QueuedMessage::new(vec![0; 11]);
        let _receipt = queued(&backlog, 1);
        assert!(matches!(backlog.try_send(long()), Err(Refused::Full(_))));
        let entry = backlog.pop().expect("queued");
        backlog.resolve(entry.unresolved, Delivery::Sent);
        assert!(backlog.try_send(long()).is_ok());
    }

    #[test]
    fn the_end_drops_what_waits_and_accepts_nothing() {
        let backlog = backlog(9, 10, WhenFull::Wait);
        let mut receipt = queued(&backlog, 1);
        backlog.end();
        assert_eq!(receipt.try_get(), Some(Delivery::Dropped));
        assert!(matches!(backlog.try_send("a".into()), Err(Refused::Closed(_))));
        assert!(matches!(backlog.close(CloseFrame::from_static(CloseCode::NORMAL, "")), Err(Error::Closed)));
    }

    #[cfg(feature = "calls")]
    #[test]
    fn a_message_for_an_earlier_connection_is_dropped() {
        let backlog = backlog(9, 10, WhenFull::Wait);
        backlog.opened(1);
        let queued = |message: QueuedMessage<'static>| backlog.try_send(message).expect("room");
        let mut receipts =
            [QueuedMessage::new("a").only(1), QueuedMessage::new("b"), QueuedMessage::new("c").only(2)]
                .map(queued);
        backlog.opened(2);
        let sent: Vec<_> = std::iter::from_fn(|| backlog.pop()).map(|entry| entry.outgoing).collect();
        assert_eq!(sent, [Outgoing::from("b"), Outgoing::from("c")]);
        assert_eq!(receipts[0].try_get(), Some(Delivery::Dropped));
    }

    #[test]
    fn debug_output_contains_no_payload_data() {
        let backlog = backlog(9, 100, WhenFull::Wait);
        let message = QueuedMessage::new("hunter2");
        let shown = format!("{message:?} {backlog:?}");
        assert!(!shown.contains("hunter2"), "{shown}");
        let _receipt = backlog.try_send(message).expect("room");
        let shown = format!("{:?}", backlog.state());
        assert!(!shown.contains("hunter2") && !shown.contains("104, 117"), "{shown}");
    }
}
