//! The rooms that are subscribed, and what has to be done about them.

use std::{
    collections::{HashMap, HashSet, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use fullduplex::hub::{BackplaneError, Position, RoomKey};
use tokio::sync::{Notify, oneshot};

use crate::{keys::RoomKeys, room::Room};

/// The rooms that are subscribed, by their channels, and what has to be done about them.
///
/// Each room is at most once in each of the two queues, which bounds them.
#[derive(Debug)]
pub(crate) struct Rooms<R> {
    state: Mutex<Inner<R>>,
    /// Wakes the task that subscribes.
    changed: Notify,
    /// Wakes the task that reads.
    behind: Notify,
}

#[derive(Debug)]
struct Inner<R> {
    rooms: HashMap<String, Arc<Room<R>>>,
    /// The channels that have to be subscribed or unsubscribed.
    changed: HashSet<String>,
    /// The rooms that have to be read from their histories.
    behind: VecDeque<Arc<Room<R>>>,
    /// Closed rooms, which may be passing a message. No other room of the same channel is opened
    /// before they have.
    retired: Vec<Arc<Room<R>>>,
}

/// A receiver of the position of a room.
pub(crate) type Opened = oneshot::Receiver<Result<Position, BackplaneError>>;

/// Channels to subscribe and unsubscribe.
#[derive(Debug)]
pub(crate) struct Changes<R> {
    pub(crate) rooms: Vec<Arc<Room<R>>>,
    pub(crate) unsubscribed: Vec<String>,
    pub(crate) retired: Vec<Arc<Room<R>>>,
}

impl<R: RoomKey> Rooms<R> {
    pub(crate) fn new() -> Self {
        let inner = Inner {
            rooms: HashMap::new(),
            changed: HashSet::new(),
            behind: VecDeque::new(),
            retired: Vec::new(),
        };
        Self { state: Mutex::new(inner), changed: Notify::new(), behind: Notify::new() }
    }

    /// Subscribes a room. Returns a receiver of its position.
    pub(crate) fn subscribe(&self, key: &R, keys: RoomKeys) -> Opened {
        let (sender, receiver) = oneshot::channel();
        let mut guard = self.lock();
        let inner = &mut *guard;
        match inner.rooms.get(&keys.channel) {
            Some(room) if !room.is_closed() => {
                let room = room.clone();
                // The lock of a room is held while the hub may call this type.
                drop(guard);
                room.wait_until_open(sender);
            }
            _ => {
                let channel = keys.channel.clone();
                let room = Arc::new(Room::new(key.clone(), keys, sender));
                inner.retired.extend(inner.rooms.insert(channel.clone(), room));
                inner.changed.insert(channel);
                self.changed.notify_one();
            }
        }
        receiver
    }

    /// Unsubscribes a room.
    pub(crate) fn unsubscribe(&self, channel: &str) {
        let mut inner = self.lock();
        if let Some(room) = inner.rooms.get(channel) {
            room.close();
            inner.changed.insert(channel.to_owned());
            self.changed.notify_one();
        }
    }

    /// Returns the room of a channel, unless it is closed.
    pub(crate) fn get(&self, channel: &str) -> Option<Arc<Room<R>>> {
        self.lock().rooms.get(channel).filter(|room| !room.is_closed()).cloned()
    }

    /// Queues a room to be read from its history.
    pub(crate) fn read(&self, room: Arc<Room<R>>) {
        self.lock().behind.push_back(room);
        self.behind.notify_one();
    }

    /// Returns all rooms.
    pub(crate) fn all(&self) -> Vec<Arc<Room<R>>> {
        self.lock().rooms.values().filter(|room| !room.is_closed()).cloned().collect()
    }

    /// Notes that the subscription of a channel has ended: it has to be subscribed again.
    pub(crate) fn suspend(&self, channel: &str) {
        self.suspend_all(self.get(channel).as_slice());
    }

    /// Notes that the subscriptions of some channels have ended.
    pub(crate) fn suspend_if(&self, is_ended: impl Fn(&str) -> bool) {
        let mut rooms = self.all();
        rooms.retain(|room| is_ended(&room.keys.channel));
        self.suspend_all(&rooms);
    }

    fn suspend_all(&self, rooms: &[Arc<Room<R>>]) {
        // The lock of a room is held while the hub may call this type.
        rooms.iter().for_each(|room| room.suspend());
        self.lock().changed.extend(rooms.iter().map(|room| room.keys.channel.clone()));
        self.changed.notify_one();
    }

    /// Begins again, for a new connection, which has no subscriptions: all rooms have to be subscribed.
    pub(crate) fn interrupt(&self) {
        // The lock of a room is held while the hub may call this type.
        let rooms: Vec<_> = self.lock().rooms.values().cloned().collect();
        rooms.iter().for_each(|room| room.interrupt());
        let mut guard = self.lock();
        let Inner { rooms, changed, behind, .. } = &mut *guard;
        behind.clear();
        *changed = rooms.keys().cloned().collect();
        self.changed.notify_one();
    }

    /// Fails the calls that wait until a room is opened.
    pub(crate) fn disconnected(&self) {
        let rooms: Vec<_> = self.lock().rooms.values().cloned().collect();
        for room in rooms.iter().filter(|room| room.cursor().is_none()) {
            room.open(Err(BackplaneError::Away));
            self.abandon(room);
        }
    }

    /// Waits for channels to subscribe or unsubscribe, and returns some of them.
    pub(crate) async fn changes(&self, most: usize) -> Changes<R> {
        loop {
            if let Some(changes) = self.take_changes(most) {
                return changes;
            }
            self.changed.notified().await;
        }
    }

    /// Returns channels to subscribe or unsubscribe, if there are any.
    pub(crate) fn take_changes(&self, most: usize) -> Option<Changes<R>> {
        let mut guard = self.lock();
        let Inner { rooms, changed, retired, .. } = &mut *guard;
        let channels: Vec<String> = changed.iter().take(most).cloned().collect();
        if channels.is_empty() {
            return None;
        }
        let mut changes = Changes { rooms: Vec::new(), unsubscribed: Vec::new(), retired: Vec::new() };
        for channel in channels {
            changed.remove(&channel);
            match rooms.get(&channel) {
                Some(room) if !room.is_closed() => changes.rooms.push(room.clone()),
                _ => {
                    retired.extend(rooms.remove(&channel));
                    changes.unsubscribed.push(channel);
                }
            }
        }
        changes.retired = std::mem::take(retired);
        Some(changes)
    }

    /// Unsubscribes a room that could not be opened.
    pub(crate) fn abandon(&self, room: &Arc<Room<R>>) {
        let mut guard = self.lock();
        let Inner { rooms, changed, .. } = &mut *guard;
        let channel = &room.keys.channel;
        if rooms.get(channel).is_some_and(|other| Arc::ptr_eq(other, room)) {
            rooms.remove(channel);
            changed.insert(channel.clone());
            self.changed.notify_one();
        }
    }

    /// Waits for a room that has to be read from its history.
    pub(crate) async fn next_behind(&self) -> Arc<Room<R>> {
        loop {
            if let Some(room) = self.lock().behind.pop_front() {
                return room;
            }
            self.behind.notified().await;
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inner<R>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
