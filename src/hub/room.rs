//! A room: its members here, and the messages that are queued for them.

use std::{
    collections::VecDeque,
    mem,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering::Relaxed},
    },
};

use tokio::sync::OnceCell;

use super::{
    delivery::{Content, Item, Queue},
    position::Position,
    recipient::Recipient,
    record::Publication,
    slow::Slow,
};

/// The number of members in one chunk of the list.
pub(super) const CHUNK: usize = 128;

/// A room of a hub.
pub(super) struct Room<R> {
    pub(super) key: R,
    pub(super) queue: Mutex<Queue>,
    /// Set once the backplane passes the messages of the room.
    pub(super) subscription: OnceCell<()>,
    /// Whether the backplane was asked to.
    pub(super) is_subscribed: AtomicBool,
    state: Mutex<State<R>>,
}

struct State<R> {
    members: Members<R>,
    /// The position of the last message that was queued; `None` until the room is subscribed.
    position: Option<Position>,
    /// The number of histories before this one.
    era: u32,
    /// The number of calls that are about to add a member.
    joining: usize,
    /// Whether it is no longer a room of the hub. No member is added then.
    is_removed: bool,
}

/// A member of a room.
pub(super) struct Membership<R> {
    pub(super) room: Arc<Room<R>>,
    pub(super) recipient: Arc<Recipient>,
    /// The offset of the last message that the member does not need.
    from: AtomicU64,
    /// The history that this offset is in.
    era: AtomicU32,
    /// The place in the list of members, which the lock of the room protects.
    place: AtomicU32,
    /// Whether the backplane was told that the member is present.
    pub(super) is_present: AtomicBool,
}

/// The members of a room, in chunks. A broadcast keeps the list as it was when it began; what is
/// changed meanwhile is copied, but no more than a chunk or two of it.
pub(super) struct Members<R>(Arc<Vec<Chunk<R>>>);

type Chunk<R> = Arc<Vec<Arc<Membership<R>>>>;

/// The members of a room at one time.
pub(super) type Snapshot<R> = Arc<Vec<Chunk<R>>>;

impl<R> Room<R> {
    pub(super) fn new(key: R) -> Self {
        let members = Members(Arc::default());
        let state = State { members, position: None, era: 0, joining: 0, is_removed: false };
        Self {
            key,
            queue: Mutex::default(),
            subscription: OnceCell::new(),
            is_subscribed: AtomicBool::new(false),
            state: Mutex::new(state),
        }
    }

    /// Queues the next stored message.
    pub(super) fn push_stored(&self, position: Position, publication: Publication, slow: &Slow) {
        let mut state = self.lock();
        state.advance(position);
        let Publication { message, whom, .. } = publication;
        let content = Content::Stored { position, era: state.era, message };
        // Queued under the lock of the state, so that the queue has the order of the positions.
        self.queue().items.push_back(Item { content, whom, slow: slow.clone(), report: None });
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
        state.joining += usize::from(!state.is_removed);
        !state.is_removed
    }

    /// Ends what `begin_to_join` began.
    pub(super) fn end_to_join(&self) {
        self.lock().joining -= 1;
    }

    /// Removes the room if it has no members. Returns whether it did.
    pub(super) fn remove_if_unused(&self) -> bool {
        let mut state = self.lock();
        let is_unused = state.joining == 0 && state.members.is_empty() && !state.is_removed;
        state.is_removed |= is_unused;
        is_unused
    }

    /// Adds a member for the messages that follow, or one that catches up first.
    pub(super) fn add(self: &Arc<Self>, recipient: &Arc<Recipient>, catches_up: bool) -> Arc<Membership<R>> {
        let mut state = self.lock();
        let membership = Arc::new(Membership {
            room: self.clone(),
            recipient: recipient.clone(),
            from: AtomicU64::new(u64::MAX),
            era: AtomicU32::new(u32::MAX),
            place: AtomicU32::new(0),
            is_present: false.into(),
        });
        if !catches_up {
            membership.follow(&state);
        }
        state.members.add(membership.clone());
        membership
    }

    /// Lets a member that catches up follow, if it has all messages up to the last one that was
    /// queued. Returns whether it does.
    pub(super) fn follow_at(&self, membership: &Membership<R>, reached: Position) -> bool {
        let state = self.lock();
        let is_level =
            state.position.is_none_or(|last| last.epoch == reached.epoch && last.offset <= reached.offset);
        if is_level {
            membership.from.store(reached.offset, Relaxed);
            membership.era.store(state.era, Relaxed);
        }
        is_level
    }

    /// Lets a member follow from the last message that was queued. Returns its position.
    pub(super) fn follow_now(&self, membership: &Membership<R>) -> Option<Position> {
        let state = self.lock();
        membership.follow(&state);
        state.position
    }

    /// Removes a member.
    pub(super) fn remove(&self, membership: &Membership<R>) {
        let removed = self.lock().members.remove(membership);
        // Dropped after the lock is released, because dropping a sender may run any code.
        drop(removed);
    }

    /// Returns the members now.
    pub(super) fn snapshot(&self) -> Snapshot<R> {
        self.lock().members.0.clone()
    }

    pub(super) fn len(&self) -> usize {
        self.lock().members.len()
    }

    pub(super) fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn lock(&self) -> MutexGuard<'_, State<R>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<R> State<R> {
    fn advance(&mut self, position: Position) {
        if self.position.is_some_and(|before| before.epoch != position.epoch) {
            self.era += 1;
        }
        self.position = Some(position);
    }
}

impl<R> Membership<R> {
    fn follow(&self, state: &State<R>) {
        self.from.store(state.position.map_or(0, |position| position.offset), Relaxed);
        self.era.store(state.era, Relaxed);
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

impl<R> Members<R> {
    fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn len(&self) -> usize {
        match self.0.split_last() {
            Some((last, full)) => full.len() * CHUNK + last.len(),
            None => 0,
        }
    }

    fn add(&mut self, membership: Arc<Membership<R>>) {
        membership.place.store(self.len() as u32, Relaxed);
        let chunks = Arc::make_mut(&mut self.0);
        match chunks.last_mut() {
            Some(last) if last.len() < CHUNK => Arc::make_mut(last).push(membership),
            _ => chunks.push(Arc::new(vec![membership])),
        }
    }

    /// Removes a member; the last one takes its place.
    fn remove(&mut self, membership: &Membership<R>) -> Option<Arc<Membership<R>>> {
        let place = membership.place.load(Relaxed) as usize;
        let chunks = Arc::make_mut(&mut self.0);
        let end = chunks.last_mut()?;
        let last = Arc::make_mut(end).pop()?;
        if end.is_empty() {
            chunks.pop();
        }
        if std::ptr::eq(&*last, membership) {
            return Some(last);
        }
        last.place.store(place as u32, Relaxed);
        let chunk = Arc::make_mut(chunks.get_mut(place / CHUNK)?);
        Some(mem::replace(chunk.get_mut(place % CHUNK)?, last))
    }
}

/// An empty queue.
impl Default for Queue {
    fn default() -> Self {
        Self { items: VecDeque::new(), is_delivering: false }
    }
}
