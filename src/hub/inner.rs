//! The state of a hub: its members and its rooms.

use std::{
    borrow::Borrow,
    collections::{HashMap, HashSet},
    fmt,
    hash::{Hash, Hasher},
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};

use tokio::{
    runtime::Handle,
    sync::{Notify, Semaphore, watch},
    time::sleep,
};

use super::{
    backplane::{Backplane, BackplaneError, BoxFuture, RoomKey, Target},
    builder::Settings,
    counters::{Counters, Delivered},
    delivery::{self, Audience, Sending},
    event::Event,
    key::{Key, RoomRef},
    position::{MemberId, Position},
    queue::{Content, Item, Queue},
    recipient::Recipient,
    record::Transient,
    room::{Membership, Room},
    shards::Shards,
    whom::{Found, Named, Whom},
};
use crate::{PreparedMessage, Sender, Sequence};

/// What the handles of a hub share.
pub(super) struct Inner<R> {
    pub(super) node: u64,
    pub(super) members: MemberMap,
    pub(super) rooms: RoomMap<R>,
    /// What is queued for all members.
    pub(super) queue: Mutex<Queue>,
    pub(super) backplane: Arc<dyn Backplane<R>>,
    pub(super) settings: Settings<R>,
    pub(super) counters: Counters,
    /// Whether the engine of the backplane can be reached.
    pub(super) available: watch::Sender<bool>,
    /// The calls that may still wait for the backplane.
    waiting: Semaphore,
    /// Notified when a call that joins has ended.
    pub(super) joined: Notify,
    /// The runtime in which the hub was created, because it may be used outside of it.
    runtime: Option<Handle>,
    next_id: AtomicU64,
}

/// The members by their numbers.
pub(super) struct MemberMap {
    shards: Shards<HashSet<BySerial>>,
    next: AtomicU64,
    len: AtomicUsize,
}

/// A member in a set by its number. A map would hold the number as well.
struct BySerial(Arc<Recipient>);

impl Borrow<u64> for BySerial {
    fn borrow(&self) -> &u64 {
        &self.0.serial
    }
}

impl Hash for BySerial {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.serial.hash(state);
    }
}

impl PartialEq for BySerial {
    fn eq(&self, other: &Self) -> bool {
        self.0.serial == other.0.serial
    }
}

impl Eq for BySerial {}

/// The rooms by their keys.
pub(super) struct RoomMap<R>(Shards<HashMap<R, Arc<Room<R>>>>);

impl<R: RoomKey> Inner<R> {
    pub(super) fn new(node: u64, backplane: Arc<dyn Backplane<R>>, settings: Settings<R>) -> Self {
        Self {
            node,
            members: MemberMap { shards: Shards::new(), next: AtomicU64::new(1), len: AtomicUsize::new(0) },
            rooms: RoomMap(Shards::new()),
            queue: Mutex::default(),
            backplane,
            waiting: Semaphore::new(settings.max_waiting),
            settings,
            counters: Counters::default(),
            available: watch::Sender::new(true),
            joined: Notify::new(),
            runtime: Handle::try_current().ok(),
            next_id: AtomicU64::new(1),
        }
    }

    /// Returns an id for a publication, which no other has.
    pub(super) fn unique_id(&self) -> String {
        format!("{:x}-{:x}", self.node, self.next_id.fetch_add(1, Relaxed))
    }

    /// Tells the program about an event.
    pub(super) fn event(self: &Arc<Self>, event: Event<R>) {
        if let Some(on_event) = &self.settings.on_event {
            on_event(&super::Hub::of(self.clone()), event);
        }
    }

    /// Encodes a stored message for the members.
    pub(super) fn encode(&self, room: &R, position: Position, sequence: Sequence) -> PreparedMessage {
        match &self.settings.encode {
            Some(encode) => encode(room, position, sequence.first().clone()).followed_by(sequence.rest()),
            None => sequence.into(),
        }
    }

    /// Returns the members here that a message names, and those of the rooms that it names.
    pub(super) fn find_named(&self, whom: &Whom) -> Option<Box<Found>> {
        whom.find(|named, found| match named {
            Named::Room(name) => {
                if let Some(room) = (self.settings.room_named)(name).and_then(|key| self.rooms.find(&key)) {
                    room.members().iter().for_each(|listed| found.add(&listed.recipient));
                }
            }
            Named::Member(member) => self.member(member).iter().for_each(|member| found.add(member)),
        })
    }

    /// Sends a message to members of this hub.
    pub(super) fn send_here(self: &Arc<Self>, to: Target<'_, R>, transient: Transient) -> Sending {
        match to {
            Target::Room(room) => match self.rooms.find(room) {
                Some(room) => self.send_to(Audience::Room(room), transient),
                None => Sending::done(Delivered::default()),
            },
            Target::All => self.send_to(Audience::All, transient),
            Target::Member(id) => {
                let mut delivered = Delivered::default();
                if let Some(recipient) = self.member(id)
                    && transient.whom.includes(
                        &recipient,
                        self.node,
                        self.find_named(&transient.whom).as_deref(),
                    )
                {
                    delivered.count(recipient.send(&transient.message.into(), &transient.slow));
                    self.counters.add(&delivered);
                }
                Sending::done(delivered)
            }
            Target::Hubs => Sending::done(Delivered::default()),
        }
    }

    /// Sends a message to an audience.
    pub(super) fn send_to(self: &Arc<Self>, audience: Audience<R>, transient: Transient) -> Sending {
        let Transient { message, whom, slow } = transient;
        let message = PreparedMessage::from(message);
        let item = Item { content: Content::Transient(message), whom, slow, report: None };
        delivery::send(self, audience, item)
    }

    /// Returns a member of this hub.
    pub(super) fn member(&self, id: MemberId) -> Option<Arc<Recipient>> {
        if id.node != self.node {
            return None;
        }
        self.members.find(id.serial)
    }

    /// Removes a member from a room.
    pub(super) fn leave(&self, membership: &Membership<R>, member: MemberId) {
        let room = &membership.room;
        room.remove(membership);
        if membership.is_present.load(Relaxed) {
            self.backplane.exit(&room.key, member);
        }
        self.remove_if_unused(room);
    }

    /// Removes a room that has no members.
    pub(super) fn remove_if_unused(&self, room: &Arc<Room<R>>) {
        if !room.remove_if_unused() {
            return;
        }
        // Until the room is out of the map, no other with the same key is subscribed. The map is not
        // locked meanwhile, because a backplane may pass messages to it under a lock of its own.
        let _removed = RemoveRoom(&self.rooms, &room.key);
        if room.is_subscribed.load(Relaxed) {
            self.backplane.unsubscribe(&room.key);
        }
    }

    /// Calls the backplane, and again while it cannot be reached, unless too many calls wait for it.
    pub(super) async fn call<'a, T>(
        &self,
        mut call: impl FnMut() -> BoxFuture<'a, Result<T, BackplaneError>>,
    ) -> Result<T, BackplaneError> {
        match call().await {
            Err(BackplaneError::Away) => {}
            done => return done,
        }
        let Ok(_waiting) = self.waiting.try_acquire() else { return Err(BackplaneError::Away) };
        let (mut available, mut pause) = (self.available.subscribe(), FIRST_PAUSE);
        loop {
            if *available.borrow_and_update() {
                // It has not said yet that it is away, or is away again.
                sleep(pause).await;
                pause = MAX_PAUSE.min(pause * 2);
            } else {
                // Fails if the sender is dropped, which `self` holds.
                available.wait_for(|available| *available).await.map_err(|_closed| BackplaneError::Away)?;
                pause = FIRST_PAUSE;
            }
            match call().await {
                Err(BackplaneError::Away) => {}
                done => return done,
            }
        }
    }

    /// Lets the backplane pass the messages of a room, unless it does.
    pub(super) async fn subscribe(&self, room: &Room<R>) -> Result<(), BackplaneError> {
        let subscribed = room.subscription.get_or_try_init(|| async {
            room.is_subscribed.store(true, Relaxed);
            let position = self.call(|| self.backplane.subscribe(&room.key)).await?;
            room.subscribed_at(position);
            Ok::<(), BackplaneError>(())
        });
        subscribed.await?;
        Ok(())
    }

    /// Returns the runtime of the caller, or the one in which the hub was created.
    pub(super) fn runtime(&self) -> Option<Handle> {
        Handle::try_current().ok().or_else(|| self.runtime.clone())
    }
}

/// The pauses before a backplane is called again that is said to be available.
const FIRST_PAUSE: Duration = Duration::from_millis(10);
const MAX_PAUSE: Duration = Duration::from_secs(1);

/// Removes a room from the map.
struct RemoveRoom<'a, R: RoomKey>(&'a RoomMap<R>, &'a R);

impl<R: RoomKey> Drop for RemoveRoom<'_, R> {
    fn drop(&mut self) {
        self.0.0.of(self.1).remove(self.1);
    }
}

impl MemberMap {
    pub(super) fn add(&self, sender: Sender, user: Option<String>) -> Arc<Recipient> {
        let serial = self.next.fetch_add(1, Relaxed);
        let recipient = Arc::new(Recipient::new(serial, sender, user));
        self.shards.of(&serial).insert(BySerial(recipient.clone()));
        self.len.fetch_add(1, Relaxed);
        recipient
    }

    pub(super) fn remove(&self, serial: u64) {
        if self.shards.of(&serial).remove(&serial) {
            self.len.fetch_sub(1, Relaxed);
        }
    }

    fn find(&self, serial: u64) -> Option<Arc<Recipient>> {
        self.shards.of(&serial).get(&serial).map(|member| member.0.clone())
    }

    pub(super) fn len(&self) -> usize {
        self.len.load(Relaxed)
    }

    /// Returns all members.
    pub(super) fn all(&self) -> Vec<Arc<Recipient>> {
        let mut all = Vec::with_capacity(self.len());
        for shard in self.shards.each() {
            all.extend(shard.iter().map(|member| member.0.clone()));
        }
        all
    }
}

impl<R: RoomKey> RoomMap<R> {
    pub(super) fn find(&self, key: &(impl RoomRef<R> + ?Sized)) -> Option<Arc<Room<R>>> {
        key.find(&self.0.of(key)).cloned()
    }

    pub(super) fn find_or_add(&self, key: &(impl RoomRef<R> + ?Sized)) -> Arc<Room<R>> {
        let mut shard = self.0.of(key);
        if let Some(room) = key.find(&shard) {
            return room.clone();
        }
        let room = Arc::new(Room::new(key.to_owned()));
        shard.insert(room.key.clone(), room.clone());
        room
    }

    /// Returns the key itself.
    pub(super) fn key(&self, key: &(impl RoomRef<R> + ?Sized)) -> Key<R> {
        self.find(key).map_or_else(|| Key::Elsewhere(key.to_owned()), Key::Here)
    }

    /// Returns the rooms that have members, with their numbers of members.
    pub(super) fn counts(&self) -> Vec<(R, usize)> {
        let mut counts = Vec::new();
        for shard in self.0.each() {
            let occupied = shard.values().map(|room| (room.key.clone(), room.len()));
            counts.extend(occupied.filter(|(_, len)| *len > 0));
        }
        counts
    }
}

impl<R> fmt::Debug for Inner<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hub").field("members", &self.members.len()).finish_non_exhaustive()
    }
}
