//! A connection as a member of a hub.

use std::{
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError, atomic::Ordering::Relaxed},
    time::Duration,
};

use bytes::Bytes;
use tokio::{task::yield_now, time::sleep};

use super::{
    Hub,
    backplane::{BackplaneError, Page, RoomKey},
    error::HubError,
    inner::Inner,
    position::{MemberId, Position},
    recipient::Recipient,
    room::{Membership, Room},
};
use crate::Sender;

/// The number of messages that are read at a time for a member that catches up.
const PAGE: usize = 100;

/// The pause before the history is read again that does not contain yet what was announced.
const PAUSE: Duration = Duration::from_millis(10);

/// A connection as a member of a [`Hub`].
///
/// If it is dropped, the member leaves all rooms. The connection stays open.
pub struct Member<R: RoomKey> {
    hub: Hub<R>,
    recipient: Arc<Recipient>,
    rooms: Mutex<Vec<Arc<Membership<R>>>>,
}

/// Where a member begins in the history of a room.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Since {
    /// At the next message.
    Now,
    /// This many messages back, or at the first one that exists.
    Last(usize),
    /// Behind a message that it has received before.
    Position(Position),
}

/// How a member has joined a room.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Joined {
    /// The position that the messages follow which the member receives from now on.
    pub position: Position,
    /// Whether messages between [`Since::Position`] and `position` no longer exist: the member has
    /// not received them.
    pub has_lost: bool,
}

impl<R: RoomKey> Member<R> {
    pub(super) fn new(hub: Hub<R>, sender: Sender, user: Option<String>) -> Self {
        let recipient = hub.inner().members.add(sender, user);
        Self { hub, recipient, rooms: Mutex::default() }
    }

    /// Returns the id of the member.
    pub fn id(&self) -> MemberId {
        MemberId { node: self.inner().node, serial: self.recipient.serial }
    }

    /// Returns the name of its user, if it was [added](Hub::add_user) with one.
    pub fn user(&self) -> Option<&str> {
        self.recipient.user()
    }

    /// Returns the sender of its connection.
    pub fn sender(&self) -> &Sender {
        &self.recipient.sender
    }

    /// Returns the hub.
    pub fn hub(&self) -> &Hub<R> {
        &self.hub
    }

    /// Joins a room: the member receives what is sent to it from now on. Returns the position that
    /// these messages follow.
    ///
    /// If it has joined already, this changes nothing. While the backplane cannot be reached, this
    /// waits.
    ///
    /// # Errors
    /// Returns [`HubError::Away`] if the backplane cannot be reached and too many calls wait for it,
    /// and [`HubError::Backplane`] if it failed.
    ///
    /// # Cancel safety
    /// If the future is dropped, the member has either joined or not.
    pub async fn join(&self, room: &R) -> Result<Position, HubError> {
        let membership = self.add_to(room, false).await?;
        Ok(position_of(&membership.room))
    }

    /// Joins a room, and sends what the member has missed: once, in order, and before all that is
    /// published later.
    ///
    /// These messages wait for room in the write buffer. What is sent to the room without being
    /// published may come between them.
    ///
    /// # Errors
    /// Returns [`HubError::Gone`] if the connection has ended; otherwise the same errors as
    /// [`join`](Self::join). The member has not joined then.
    ///
    /// # Cancel safety
    /// If the future is dropped, the member has not joined, unless it had before. Messages that were
    /// queued by then are sent.
    pub async fn join_since(&self, room: &R, since: Since) -> Result<Joined, HubError> {
        if since == Since::Now || self.find(room).is_some() {
            let position = self.join(room).await?;
            return Ok(Joined { position, has_lost: false });
        }
        let membership = self.add_to(room, true).await?;
        let joining = LeaveOnDrop { member: self, membership: Some(membership.clone()) };
        let joined = self.catch_up(&membership, since).await?;
        joining.complete();
        // The caller may be the task that receives, in which nothing else writes.
        self.sender().flush().await.map_err(|_ended| HubError::Gone)?;
        Ok(joined)
    }

    /// Joins a room and is present in it, with data about the member. The hubs of all members of the
    /// room are told by [`Event::Presence`](super::Event::Presence).
    ///
    /// A member that is present already gets new data.
    ///
    /// # Errors
    /// Returns the same errors as [`join`](Self::join).
    ///
    /// # Cancel safety
    /// If the future is dropped, the member may have joined, and may be present; it leaves as usual.
    pub async fn enter(&self, room: &R, data: impl Into<Bytes>) -> Result<(), HubError> {
        let membership = self.add_to(room, false).await?;
        // Set before, so that the member leaves whether the future completes or not.
        membership.is_present.store(true, Relaxed);
        let data = data.into();
        loop {
            match self.inner().backplane.enter(room, self.id(), data.clone()).await {
                Err(BackplaneError::Away) => self.inner().backplane_back().await?,
                entered => return Ok(entered?),
            }
        }
    }

    /// Leaves a room. Returns `false` if the member was not in it.
    pub fn leave(&self, room: &R) -> bool {
        let mut rooms = self.lock();
        let Some(index) = rooms.iter().position(|membership| membership.room.key == *room) else {
            return false;
        };
        let membership = rooms.swap_remove(index);
        drop(rooms);
        self.inner().leave(&membership);
        true
    }

    /// Returns the rooms that the member is in.
    pub fn rooms(&self) -> Vec<R> {
        self.lock().iter().map(|membership| membership.room.key.clone()).collect()
    }

    /// Adds the member to a room, unless it is in it.
    async fn add_to(&self, key: &R, catches_up: bool) -> Result<Arc<Membership<R>>, HubError> {
        loop {
            if let Some(membership) = self.find(key) {
                return Ok(membership);
            }
            let room = self.inner().rooms.find_or_add(key);
            if !room.begin_to_join() {
                // It is being removed.
                yield_now().await;
                continue;
            }
            let joining = Joining { hub: self.inner(), room: &room };
            self.subscribe(&room).await?;
            let membership = room.add(&self.recipient, catches_up);
            drop(joining);
            return Ok(self.keep(membership));
        }
    }

    /// Keeps a membership, unless another call has joined the same room meanwhile.
    fn keep(&self, membership: Arc<Membership<R>>) -> Arc<Membership<R>> {
        let mut rooms = self.lock();
        if let Some(other) = rooms.iter().find(|other| other.room.key == membership.room.key).cloned() {
            drop(rooms);
            self.inner().leave(&membership);
            return other;
        }
        if rooms.is_empty() {
            // Most members are in one room.
            rooms.reserve_exact(1);
        }
        rooms.push(membership.clone());
        membership
    }

    /// Lets the backplane pass the messages of a room, unless it does.
    async fn subscribe(&self, room: &Room<R>) -> Result<(), HubError> {
        let subscribed = room.subscription.get_or_try_init(|| async {
            room.is_subscribed.store(true, Relaxed);
            loop {
                match self.inner().backplane.subscribe(&room.key).await {
                    Err(BackplaneError::Away) => self.inner().backplane_back().await?,
                    position => {
                        room.subscribed_at(position?);
                        return Ok::<(), BackplaneError>(());
                    }
                }
            }
        });
        subscribed.await?;
        Ok(())
    }

    /// Sends the history since a point, until the member has all messages that were queued for the
    /// room.
    async fn catch_up(&self, membership: &Membership<R>, since: Since) -> Result<Joined, HubError> {
        let room = &membership.room;
        let mut reached = match since {
            Since::Now => position_of(room),
            Since::Position(position) => position,
            Since::Last(most) => {
                let before = position_of(room);
                let page = self.read_last(&room.key, most).await?;
                self.feed(room, &page).await?.unwrap_or(before)
            }
        };
        loop {
            let page = match self.inner().backplane.read_after(&room.key, reached, PAGE).await {
                Ok(page) => page,
                Err(BackplaneError::Lost) => {
                    let position = room.follow_now(membership).unwrap_or(reached);
                    return Ok(Joined { position, has_lost: true });
                }
                Err(BackplaneError::Away) => {
                    self.inner().backplane_back().await?;
                    continue;
                }
                Err(error) => return Err(error.into()),
            };
            let before = reached;
            reached = self.feed(room, &page).await?.unwrap_or(reached);
            if page.is_last {
                if room.follow_at(membership, reached) {
                    return Ok(Joined { position: reached, has_lost: false });
                }
                if before == reached {
                    sleep(PAUSE).await;
                }
            }
        }
    }

    async fn read_last(&self, room: &R, most: usize) -> Result<Page, HubError> {
        loop {
            match self.inner().backplane.read_before(room, None, most).await {
                Err(BackplaneError::Away) => self.inner().backplane_back().await?,
                page => return Ok(page?),
            }
        }
    }

    /// Sends the messages of a page. Returns the position of the last one.
    async fn feed(&self, room: &Room<R>, page: &Page) -> Result<Option<Position>, HubError> {
        let mut last = None;
        for stored in &page.messages {
            let position = Position { epoch: page.epoch, offset: stored.offset };
            last = Some(position);
            if !stored.publication.whom.includes(&self.recipient, self.inner().node) {
                continue;
            }
            let message = self.inner().encode(&room.key, position, stored.publication.message.clone());
            self.sender().feed(message).await.map_err(|_ended| HubError::Gone)?;
        }
        Ok(last)
    }

    fn find(&self, room: &R) -> Option<Arc<Membership<R>>> {
        self.lock().iter().find(|membership| membership.room.key == *room).cloned()
    }

    fn inner(&self) -> &Arc<Inner<R>> {
        self.hub.inner()
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Arc<Membership<R>>>> {
        self.rooms.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<R: RoomKey> Drop for Member<R> {
    fn drop(&mut self) {
        self.inner().members.remove(self.recipient.serial);
        let rooms = std::mem::take(&mut *self.lock());
        rooms.iter().for_each(|membership| self.inner().leave(membership));
    }
}

impl<R: RoomKey> fmt::Debug for Member<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Member").field("id", &self.id()).finish_non_exhaustive()
    }
}

/// Returns the position of the last message that was queued for a room that is subscribed.
fn position_of<R>(room: &Room<R>) -> Position {
    room.position().unwrap_or(Position { epoch: 0, offset: 0 })
}

/// Keeps a room that is about to have a member.
struct Joining<'a, R: RoomKey> {
    hub: &'a Arc<Inner<R>>,
    room: &'a Arc<Room<R>>,
}

impl<R: RoomKey> Drop for Joining<'_, R> {
    fn drop(&mut self) {
        self.room.end_to_join();
        self.hub.remove_if_unused(self.room);
    }
}

/// Leaves a room if catching up does not complete.
struct LeaveOnDrop<'a, R: RoomKey> {
    member: &'a Member<R>,
    membership: Option<Arc<Membership<R>>>,
}

impl<R: RoomKey> LeaveOnDrop<'_, R> {
    fn complete(mut self) {
        self.membership = None;
    }
}

impl<R: RoomKey> Drop for LeaveOnDrop<'_, R> {
    fn drop(&mut self) {
        if let Some(membership) = &self.membership {
            self.member.leave(&membership.room.key);
        }
    }
}
