//! A backplane in the memory of the process.

use std::{
    collections::{HashMap, VecDeque},
    fmt,
    future::ready,
    sync::{
        Arc, Mutex, MutexGuard, OnceLock, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use bytes::Bytes;
use tokio::time::Instant;

use super::{
    backplane::{
        Backplane, BackplaneError, BoxFuture, Page, PresenceChange, Present, Published, RoomKey, Stored,
        Target,
    },
    inbox::Inbox,
    position::{MemberId, Position},
    record::{Publication, Transient},
    shards::Shards,
};

/// The number of calls after which a shard is searched for rooms that are no longer needed.
const SWEEP: usize = 256;

/// A backplane in the memory of the process, for one hub or several.
///
/// It keeps the history of each room as configured by [`history`](Self::history): by default none.
/// What it has stored is lost when the process ends. Each clone connects one hub.
///
/// ```
/// use std::time::Duration;
/// use fullduplex::hub::{Hub, Memory};
///
/// let memory = Memory::history(100, Duration::from_secs(3600));
/// let hub: Hub<String> = Hub::builder().backplane(memory).build();
/// ```
pub struct Memory<R> {
    shared: Arc<Shared<R>>,
    inbox: OnceLock<Inbox<R>>,
}

struct Shared<R> {
    shards: Shards<Shard<R>>,
    inboxes: Mutex<Vec<Inbox<R>>>,
    messages: usize,
    age: Duration,
    /// The epoch of new histories. It changes when a history ends, so that no two that a room has had
    /// have the same, and a room without messages keeps its own although it is not stored.
    epoch: AtomicU64,
}

struct Shard<R> {
    rooms: HashMap<R, Log<R>>,
    calls: usize,
}

/// The history of a room, and who is subscribed to it.
struct Log<R> {
    epoch: u64,
    /// The offset of the last message.
    last: u64,
    /// The offset of the last message that was removed.
    removed: u64,
    messages: VecDeque<(Instant, Stored)>,
    /// The offsets of messages by their ids.
    ids: HashMap<String, u64>,
    subscribers: Vec<Inbox<R>>,
    present: Vec<Present>,
}

impl<R: RoomKey> Memory<R> {
    /// Creates a backplane that keeps the last `messages` of each room, each no longer than `age`.
    pub fn history(messages: usize, age: Duration) -> Self {
        let epoch = AtomicU64::new(rand::random());
        let shared = Shared { shards: Shards::new(), inboxes: Mutex::default(), messages, age, epoch };
        Self { shared: Arc::new(shared), inbox: OnceLock::new() }
    }

    /// Calls a function with a room, which it adds if there is none.
    fn with_room<T>(&self, room: &R, call: impl FnOnce(&mut Log<R>) -> T) -> T {
        let shared = &*self.shared;
        let mut shard = shared.shards.of(room);
        shard.calls += 1;
        if shard.calls == SWEEP {
            shard.calls = 0;
            shard.rooms.retain(|_, log| {
                log.remove_old(shared);
                log.is_needed() || shared.forget(log)
            });
        }
        if !shard.rooms.contains_key(room) {
            shard.rooms.insert(room.clone(), Log::new(shared.epoch.load(Relaxed)));
        }
        let log = shard.rooms.get_mut(room).expect("it was inserted");
        log.remove_old(shared);
        let result = call(log);
        if !log.is_needed() {
            shared.forget(log);
            shard.rooms.remove(room);
        }
        result
    }

    /// Tells all that are subscribed that a member enters or leaves.
    fn tell(room: &R, subscribers: &[Inbox<R>], change: &PresenceChange) {
        subscribers.iter().for_each(|inbox| inbox.presence(room, change.clone()));
    }
}

impl<R: RoomKey> Shared<R> {
    fn inboxes(&self) -> MutexGuard<'_, Vec<Inbox<R>>> {
        self.inboxes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Ends the history of a room. Returns `false`: it is not kept.
    fn forget(&self, log: &Log<R>) -> bool {
        if log.last > 0 {
            self.epoch.fetch_add(1, Relaxed);
        }
        false
    }
}

// Not derived: that would require the same of the key.
impl<R> Default for Shard<R> {
    fn default() -> Self {
        Self { rooms: HashMap::new(), calls: 0 }
    }
}

impl<R> Log<R> {
    fn new(epoch: u64) -> Self {
        Self {
            epoch,
            last: 0,
            removed: 0,
            messages: VecDeque::new(),
            ids: HashMap::new(),
            subscribers: Vec::new(),
            present: Vec::new(),
        }
    }

    fn position(&self) -> Position {
        Position { epoch: self.epoch, offset: self.last }
    }

    fn is_needed(&self) -> bool {
        !(self.messages.is_empty() && self.subscribers.is_empty() && self.present.is_empty())
    }

    /// Removes messages beyond the limits.
    fn remove_old(&mut self, limits: &Shared<R>) {
        while let Some((time, _)) = self.messages.front()
            && (self.messages.len() > limits.messages || time.elapsed() > limits.age)
            && let Some((_, stored)) = self.messages.pop_front()
        {
            self.removed = stored.offset;
            if let Some(id) = stored.publication.id {
                self.ids.remove(&id);
            }
        }
    }

    /// Appends a message. Returns its position.
    fn append(&mut self, publication: Publication, limits: &Shared<R>) -> Position {
        self.last += 1;
        if let Some(id) = &publication.id {
            self.ids.insert(id.clone(), self.last);
        }
        self.messages.push_back((Instant::now(), Stored { offset: self.last, publication }));
        self.remove_old(limits);
        self.position()
    }

    /// Returns messages by their indices.
    fn page(&self, range: std::ops::Range<usize>, is_last: bool) -> Page {
        let messages = self.messages.range(range).map(|(_, stored)| stored.clone()).collect();
        Page { epoch: self.epoch, messages, is_last }
    }

    /// Returns the index of the first message that has at least this offset.
    fn index_of(&self, offset: u64) -> usize {
        self.messages.partition_point(|(_, stored)| stored.offset < offset)
    }
}

impl<R: RoomKey> Backplane<R> for Memory<R> {
    /// # Panics
    /// Panics if the clone connects a hub already.
    fn attach(&self, inbox: Inbox<R>) {
        let mut inboxes = self.shared.inboxes();
        inboxes.retain(|inbox| !inbox.is_closed());
        inboxes.push(inbox.clone());
        drop(inboxes);
        assert!(self.inbox.set(inbox).is_ok(), "each clone connects one hub");
    }

    fn publish<'a>(
        &'a self,
        room: &'a R,
        publication: Publication,
    ) -> BoxFuture<'a, Result<Published, BackplaneError>> {
        Box::pin(async move {
            let (published, pushed) = self.with_room(room, |log| {
                let known = publication.id.as_ref().and_then(|id| log.ids.get(id));
                if let Some(&offset) = known {
                    let position = Position { epoch: log.epoch, offset };
                    return (Published { position, duplicate: true }, Vec::new());
                }
                let position = log.append(publication.clone(), &self.shared);
                // Under the lock, so that all hubs receive the messages in the order of the offsets.
                let push = |inbox: &Inbox<R>| inbox.message(room, position, publication.clone());
                (Published { position, duplicate: false }, log.subscribers.iter().map(push).collect())
            });
            pushed.into_iter().for_each(|pushed| pushed.deliver());
            Ok(published)
        })
    }

    fn subscribe<'a>(&'a self, room: &'a R) -> BoxFuture<'a, Result<Position, BackplaneError>> {
        Box::pin(async move {
            Ok(self.with_room(room, |log| {
                let own = self.inbox.get().cloned();
                log.subscribers.retain(|inbox| {
                    !inbox.is_closed() && own.as_ref().is_none_or(|own| own.node() != inbox.node())
                });
                log.subscribers.extend(own);
                log.position()
            }))
        })
    }

    fn unsubscribe(&self, room: &R) {
        let own = self.inbox.get().map(Inbox::node);
        self.with_room(room, |log| log.subscribers.retain(|inbox| Some(inbox.node()) != own));
    }

    fn read_after<'a>(
        &'a self,
        room: &'a R,
        position: Position,
        most: usize,
    ) -> BoxFuture<'a, Result<Page, BackplaneError>> {
        Box::pin(ready(self.with_room(room, |log| {
            if position.epoch != log.epoch || !(log.removed..=log.last).contains(&position.offset) {
                return Err(BackplaneError::Lost);
            }
            let begin = log.index_of(position.offset.saturating_add(1));
            let end = log.messages.len().min(begin.saturating_add(most));
            Ok(log.page(begin..end, end == log.messages.len()))
        })))
    }

    fn read_before<'a>(
        &'a self,
        room: &'a R,
        offset: Option<u64>,
        most: usize,
    ) -> BoxFuture<'a, Result<Page, BackplaneError>> {
        Box::pin(ready(self.with_room(room, |log| {
            let end = offset.map_or(log.messages.len(), |offset| log.index_of(offset));
            let begin = end.saturating_sub(most);
            Ok(log.page(begin..end, begin == 0))
        })))
    }

    fn send(&self, to: Target<'_, R>, transient: &Transient) -> Result<(), BackplaneError> {
        let own = self.inbox.get().map(Inbox::node);
        let others: Vec<_> =
            self.shared.inboxes().iter().filter(|inbox| Some(inbox.node()) != own).cloned().collect();
        for inbox in others {
            if !matches!(to, Target::Member(member) if member.node != inbox.node()) {
                inbox.transient(to, transient.clone());
            }
        }
        Ok(())
    }

    fn enter<'a>(
        &'a self,
        room: &'a R,
        member: MemberId,
        data: Bytes,
    ) -> BoxFuture<'a, Result<(), BackplaneError>> {
        Box::pin(async move {
            let present = Present { member, data };
            let subscribers = self.with_room(room, |log| {
                log.present.retain(|present| present.member != member);
                log.present.push(present.clone());
                log.subscribers.clone()
            });
            Self::tell(room, &subscribers, &PresenceChange::Entered(present));
            Ok(())
        })
    }

    fn exit(&self, room: &R, member: MemberId) {
        let (left, subscribers) = self.with_room(room, |log| {
            let index = log.present.iter().position(|present| present.member == member);
            (index.map(|index| log.present.remove(index)), log.subscribers.clone())
        });
        if let Some(present) = left {
            Self::tell(room, &subscribers, &PresenceChange::Left(present));
        }
    }

    fn present<'a>(&'a self, room: &'a R) -> BoxFuture<'a, Result<Vec<Present>, BackplaneError>> {
        Box::pin(ready(Ok(self.with_room(room, |log| log.present.clone()))))
    }

    fn delete<'a>(&'a self, room: &'a R) -> BoxFuture<'a, Result<(), BackplaneError>> {
        Box::pin(async move {
            self.with_room(room, |log| {
                let (subscribers, present) =
                    (std::mem::take(&mut log.subscribers), std::mem::take(&mut log.present));
                self.shared.forget(log);
                *log = Log { subscribers, present, ..Log::new(self.shared.epoch.load(Relaxed)) };
            });
            Ok(())
        })
    }

    fn is_remote(&self) -> bool {
        false
    }
}

impl<R: RoomKey> Default for Memory<R> {
    /// Returns a backplane that keeps no history.
    fn default() -> Self {
        Self::history(0, Duration::ZERO)
    }
}

/// Returns a handle for another hub.
impl<R> Clone for Memory<R> {
    fn clone(&self) -> Self {
        Self { shared: self.shared.clone(), inbox: OnceLock::new() }
    }
}

impl<R> fmt::Debug for Memory<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Memory")
            .field("messages", &self.shared.messages)
            .field("age", &self.shared.age)
            .finish_non_exhaustive()
    }
}
