//! A room: its members here, and the messages that are queued for them.

use std::sync::{
    Arc, Mutex, MutexGuard, PoisonError,
    atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering::Relaxed},
};

use tokio::sync::{Notify, OnceCell};

use super::{
    members::{Listed, Members},
    position::Position,
    queue::{Content, Item, Queue},
    recipient::Recipient,
    record::Publication,
    slow::Slow,
};

/// A room of a hub.
pub(super) struct Room<R> {
    pub(super) key: R,
    /// Set once the backplane passes the messages of the room.
    pub(super) subscription: OnceCell<()>,
    /// Whether the backplane was asked to.
    pub(super) is_subscribed: AtomicBool,
    /// Whether it is no longer a room of the hub. No member is added then. It is set under the lock.
    is_removed: AtomicBool,
    state: Mutex<State<R>>,
}

struct State<R> {
    members: Members<R>,
    queue: Queue,
    /// The position of the last message that was queued; `None` until the room is subscribed.
    position: Option<Position>,
    /// The number of histories before this one.
    era: u32,
    /// The number of calls that are about to add a member.
    joining: usize,
    /// Notified of each message, if the program follows the room.
    arrived: Option<Arc<Notify>>,
}

/// A member of a room.
pub(super) struct Membership<R> {
    pub(super) room: Arc<Room<R>>,
    /// The offset of the last message that the member does not need.
    from: AtomicU64,
    /// The history that this offset is in.
    era: AtomicU32,
    /// The place in the list of members, which the lock of the room protects; `UNLISTED` if it is not
    /// in the list.
    pub(super) place: AtomicU32,
    /// Whether the call that joins has completed.
    pub(super) is_complete: AtomicBool,
    /// Whether the member has left. It does not come back: if it joins again, it has another
    /// membership.
    has_left: AtomicBool,
    /// Whether the backplane was told that the member is present.
    pub(super) is_present: AtomicBool,
}

pub(super) const UNLISTED: u32 = u32::MAX;

impl<R> Room<R> {
    pub(super) fn new(key: R) -> Self {
        let (members, queue) = (Members::default(), Queue::default());
        let state = State { members, queue, position: None, era: 0, joining: 0, arrived: None };
        Self {
            key,
            subscription: OnceCell::new(),
            is_subscribed: AtomicBool::new(false),
            is_removed: AtomicBool::new(false),
            state: Mutex::new(state),
        }
    }

    /// Queues the next stored message.
    pub(super) fn push_stored(&self, position: Position, publication: Publication, slow: &Slow) {
        let mut state = self.lock();
        if !state.advance(position) {
            return;
        }
        let Publication { message, whom, .. } = publication;
        let content = Content::Stored { position, era: state.era, message };
        state.queue.push(Item { content, whom, slow: slow.clone(), report: None });
        let arrived = state.arrived.clone();
        // Not under the lock, because wakers may run any code.
        drop(state);
        if let Some(arrived) = arrived {
            arrived.notify_waiters();
        }
    }

    /// Returns what is notified of each message from now on.
    pub(super) fn arrived(&self) -> Arc<Notify> {
        self.lock().arrived.get_or_insert_default().clone()
    }

    /// Records the position at which the backplane begins.
    pub(super) fn subscribed_at(&self, position: Position) {
        let mut state = self.lock();
        // A message may have arrived first.
        if state.position.is_none_or(|known| known.epoch == position.epoch && known.offset < position.offset)
        {
            state.position = Some(position);
        }
    }

    /// Returns the position of the last message that was queued.
    pub(super) fn position(&self) -> Option<Position> {
        self.lock().position
    }

    /// Announces that a member is about to be added, which keeps the room. Returns `false` if it is
    /// removed.
    pub(super) fn begin_to_join(&self) -> bool {
        let mut state = self.lock();
        let is_removed = self.is_removed();
        state.joining += usize::from(!is_removed);
        !is_removed
    }

    /// Ends what `begin_to_join` began.
    pub(super) fn end_to_join(&self) {
        self.lock().joining -= 1;
    }

    /// Removes the room if it has no members. Returns whether it did.
    pub(super) fn remove_if_unused(&self) -> bool {
        let state = self.lock();
        let is_unused = state.joining == 0 && state.members.is_empty();
        is_unused && !self.is_removed.swap(true, Relaxed)
    }

    /// Returns whether it is no longer a room of the hub.
    pub(super) fn is_removed(&self) -> bool {
        self.is_removed.load(Relaxed)
    }

    /// Creates a membership, which is not in the list of members yet.
    pub(super) fn membership(self: &Arc<Self>) -> Arc<Membership<R>> {
        Arc::new(Membership {
            room: self.clone(),
            from: AtomicU64::new(u64::MAX),
            era: AtomicU32::new(u32::MAX),
            place: AtomicU32::new(UNLISTED),
            is_complete: false.into(),
            has_left: false.into(),
            is_present: false.into(),
        })
    }

    /// Adds a member for the messages that follow, or one that catches up first. Returns the position
    /// that they follow.
    pub(super) fn add(
        &self,
        membership: &Arc<Membership<R>>,
        recipient: &Arc<Recipient>,
        catches_up: bool,
    ) -> Option<Position> {
        let mut state = self.lock();
        if !membership.has_left() {
            if !catches_up {
                membership.follow(&state);
            }
            state.members.add(Listed { membership: membership.clone(), recipient: recipient.clone() });
        }
        state.position
    }

    /// Lets a member that catches up follow, if it has all messages up to the last one that was
    /// queued. Otherwise returns the position of that.
    ///
    /// If the history began anew and has no message yet, the room knows the position of the old one.
    /// The caller finds that out: `outdated` was returned before, and the history has been read from
    /// `reached` since.
    pub(super) fn follow_at(
        &self,
        membership: &Membership<R>,
        reached: Position,
        outdated: Option<Position>,
    ) -> Result<(), Position> {
        let state = self.lock();
        let next_era = match state.position {
            Some(last) if last.epoch == reached.epoch && last.offset > reached.offset => return Err(last),
            Some(last) if last.epoch != reached.epoch && outdated != Some(last) => return Err(last),
            Some(last) => last.epoch != reached.epoch,
            None => false,
        };
        membership.from.store(reached.offset, Relaxed);
        membership.era.store(state.era + u32::from(next_era), Relaxed);
        Ok(())
    }

    /// Lets a member follow from the last message that was queued. Returns its position.
    pub(super) fn follow_now(&self, membership: &Membership<R>) -> Option<Position> {
        let state = self.lock();
        membership.follow(&state);
        state.position
    }

    /// Removes a member, if it is one. It receives nothing more.
    pub(super) fn remove(&self, membership: &Membership<R>) {
        let mut state = self.lock();
        membership.has_left.store(true, Relaxed);
        let removed = state.members.remove(membership);
        drop(state);
        // Dropped after the lock is released, because dropping a sender may run any code.
        drop(removed);
    }

    /// Returns the members now.
    pub(super) fn members(&self) -> Members<R> {
        self.lock().members.clone()
    }

    pub(super) fn len(&self) -> usize {
        self.lock().members.len()
    }

    /// Calls a function with the queue.
    pub(super) fn with_queue<T>(&self, call: impl FnOnce(&mut Queue) -> T) -> T {
        call(&mut self.lock().queue)
    }

    /// Calls a function with the queue. Returns what it returns, and the members now.
    pub(super) fn take<T>(&self, call: impl FnOnce(&mut Queue) -> Option<T>) -> Option<(T, Members<R>)> {
        let mut state = self.lock();
        let taken = call(&mut state.queue)?;
        Some((taken, state.members.clone()))
    }

    fn lock(&self) -> MutexGuard<'_, State<R>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<R> State<R> {
    /// Records the position of the next message. Returns `false` if it is not behind the last one, as
    /// a message of a subscription that has ended may be.
    fn advance(&mut self, position: Position) -> bool {
        if let Some(last) = self.position {
            if last.epoch != position.epoch {
                self.era += 1;
            } else if position.offset <= last.offset {
                return false;
            }
        }
        self.position = Some(position);
        true
    }
}

impl<R> Membership<R> {
    fn follow(&self, state: &State<R>) {
        self.from.store(state.position.map_or(0, |position| position.offset), Relaxed);
        self.era.store(state.era, Relaxed);
    }

    /// Returns whether the member has left.
    pub(super) fn has_left(&self) -> bool {
        self.has_left.load(Relaxed)
    }

    /// Returns whether the member needs a stored message: it is behind what the member has received
    /// in another way.
    pub(super) fn needs(&self, offset: u64, era: u32) -> bool {
        // The two are written under the lock of the room. A reader that sees only one of them change
        // reads a message that was queued before, which is not needed either way.
        let since = self.era.load(Relaxed);
        era > since || (era == since && offset > self.from.load(Relaxed))
    }
}
