//! A connection as a member of a hub.

use std::{
    fmt,
    future::poll_fn,
    pin::pin,
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
    key::RoomRef,
    position::{MemberId, Position},
    recipient::{Recipient, poll_flushed},
    record::Publication,
    room::{Membership, Room},
    whom::Named,
};
use crate::{PreparedMessage, Sender, stream::TrackedSender};

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
    /// This many messages back, or at the first one that exists. They are read at once: limit the
    /// number if it comes from a client.
    Last(usize),
    /// Behind a message that it has received before.
    Position(Position),
}

/// How a member has joined a room.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Joined {
    /// The position that the messages follow which the member receives from now on.
    pub position: Position,
    /// Whether messages behind [`Since::Position`], or behind the last one that was sent now, no
    /// longer exist: the member has not received them, and receives what follows `position`.
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
    /// If the member is in the room, this changes nothing, and returns the position of the last
    /// message. If another call lets it join, this waits for that. While the backplane cannot be
    /// reached, this waits.
    ///
    /// # Errors
    /// Returns [`HubError::Away`] if the backplane cannot be reached and too many calls wait for it,
    /// [`HubError::Backplane`] if it failed, and [`HubError::Left`] if [`leave`](Self::leave) was
    /// called meanwhile. The member has not joined then.
    ///
    /// # Cancel safety
    /// If the future is dropped, the member has not joined, unless it had before.
    pub async fn join(&self, room: &(impl RoomRef<R> + ?Sized)) -> Result<Position, HubError> {
        let joining = match self.begin(room).await {
            Begun::IsMember(membership) => return Ok(position_of(&membership.room)),
            Begun::Joining(joining) => joining,
        };
        self.inner().subscribe(&joining.membership.room).await?;
        let position = joining.membership.room.add(&joining.membership, &self.recipient, false);
        joining.complete()?;
        Ok(position.unwrap_or(NOWHERE))
    }

    /// Joins a room, and sends what the member has missed: once, in order, and before all that is
    /// published later.
    ///
    /// These messages wait for room in the write buffer, of which they take no more than a quarter
    /// and one message. What is sent to the room without being published may come between them. If the
    /// member is in the room already, this sends nothing.
    ///
    /// # Errors
    /// Returns [`HubError::Gone`] if the connection has ended; otherwise the same errors as
    /// [`join`](Self::join). The member has not joined then.
    ///
    /// # Cancel safety
    /// If the future is dropped, the member has not joined, unless it had before. Messages that were
    /// queued by then are sent.
    pub async fn join_since(
        &self,
        room: &(impl RoomRef<R> + ?Sized),
        since: Since,
    ) -> Result<Joined, HubError> {
        if since == Since::Now {
            return Ok(Joined { position: self.join(room).await?, has_lost: false });
        }
        let joining = match self.begin(room).await {
            Begun::IsMember(membership) => {
                return Ok(Joined { position: position_of(&membership.room), has_lost: false });
            }
            Begun::Joining(joining) => joining,
        };
        self.inner().subscribe(&joining.membership.room).await?;
        joining.membership.room.add(&joining.membership, &self.recipient, true);
        let joined = self.catch_up(&joining.membership, since).await?;
        joining.complete()?;
        Ok(joined)
    }

    /// Joins a room and is present in it, with data about the member. The hubs of all members of the
    /// room are told by [`Event::Presence`](super::Event::Presence).
    ///
    /// A member that is present already gets new data.
    ///
    /// # Errors
    /// Returns the same errors as [`join`](Self::join). The member may have joined the room without
    /// being present.
    ///
    /// # Cancel safety
    /// If the future is dropped, the member may have joined, and may be present; it leaves as usual.
    pub async fn enter(
        &self,
        room: &(impl RoomRef<R> + ?Sized),
        data: impl Into<Bytes>,
    ) -> Result<(), HubError> {
        let (data, hub) = (data.into(), self.inner());
        self.join(room).await?;
        let Some(membership) = self.find(room) else { return Err(HubError::Left) };
        // Set before, so that the member leaves whether the future completes or not.
        membership.is_present.store(true, Relaxed);
        let key = &membership.room.key;
        hub.call(|| hub.backplane.enter(key, self.id(), data.clone())).await?;
        if membership.has_left() {
            hub.backplane.exit(key, self.id());
            return Err(HubError::Left);
        }
        Ok(())
    }

    /// Leaves a room. Returns `false` if the member was not in it.
    ///
    /// The member receives nothing more that is sent to the room, except what another thread is
    /// sending to it at this moment.
    pub fn leave(&self, room: &(impl RoomRef<R> + ?Sized)) -> bool {
        let mut rooms = self.lock();
        let Some(index) = rooms.iter().position(|membership| room.is(&membership.room.key)) else {
            return false;
        };
        let membership = rooms.swap_remove(index);
        drop(rooms);
        self.inner().leave(&membership, self.id());
        true
    }

    /// Returns the rooms that the member is in, or about to join.
    pub fn rooms(&self) -> Vec<R> {
        self.lock().iter().map(|membership| membership.room.key.clone()).collect()
    }

    /// Begins to join a room, unless the member is in it. Waits for other calls that join it.
    async fn begin(&self, key: &(impl RoomRef<R> + ?Sized)) -> Begun<'_, R> {
        loop {
            let mut other = pin!(self.inner().joined.notified());
            other.as_mut().enable();
            match self.try_begin(key) {
                Ok(begun) => return begun,
                Err(Blocked::ByOther) => other.await,
                Err(Blocked::ByRemoval) => yield_now().await,
            }
        }
    }

    fn try_begin(&self, key: &(impl RoomRef<R> + ?Sized)) -> Result<Begun<'_, R>, Blocked> {
        let mut rooms = self.lock();
        if let Some(membership) = rooms.iter().find(|membership| key.is(&membership.room.key)) {
            let is_complete = membership.is_complete.load(Relaxed);
            return is_complete.then(|| Begun::IsMember(membership.clone())).ok_or(Blocked::ByOther);
        }
        let room = self.inner().rooms.find_or_add(key);
        if !room.begin_to_join() {
            return Err(Blocked::ByRemoval);
        }
        let membership = room.membership();
        if rooms.is_empty() {
            // Most members are in one room.
            rooms.reserve_exact(1);
        }
        rooms.push(membership.clone());
        Ok(Begun::Joining(Joining { member: self, membership }))
    }

    /// Sends the history since a point, until the member has all messages that were queued for the
    /// room.
    async fn catch_up(&self, membership: &Membership<R>, since: Since) -> Result<Joined, HubError> {
        let (hub, room) = (self.inner(), &membership.room);
        let mut sender = TrackedSender::new(self.sender().clone());
        // Read first: what is queued while the history is read is behind it, and not to be skipped.
        let queued = position_of(room);
        // The last message that the member has, or that it does not need; `follows` if it has that one.
        let (mut reached, mut follows) = match since {
            Since::Now => (queued, false),
            Since::Position(position) => (position, true),
            Since::Last(most) => {
                let page = hub.call(|| hub.backplane.read_before(&room.key, None, most)).await?;
                // If the history was deleted, the room does not know of the new one yet.
                let is_new = page.epoch != NOWHERE.epoch && page.epoch != queued.epoch;
                let empty = if is_new { Position { epoch: page.epoch, offset: 0 } } else { queued };
                let last = self.feed(&mut sender, room, &page).await?;
                (last.unwrap_or(empty), last.is_some())
            }
        };
        let mut ahead = None;
        loop {
            let page = hub.call(|| hub.backplane.read_after(&room.key, reached, PAGE)).await;
            let page = match page {
                Err(BackplaneError::Lost) => {
                    let position = room.follow_now(membership).unwrap_or(reached);
                    return Ok(Joined { position, has_lost: follows });
                }
                page => page?,
            };
            let before = reached;
            if let Some(last) = self.feed(&mut sender, room, &page).await? {
                (reached, follows) = (last, true);
            }
            if membership.has_left() {
                return Err(HubError::Left);
            }
            if page.is_last {
                match room.follow_at(membership, reached, ahead) {
                    Ok(()) => return Ok(Joined { position: reached, has_lost: false }),
                    Err(last) => ahead = Some(last),
                }
                if before == reached {
                    sleep(PAUSE).await;
                }
            }
        }
    }

    /// Sends the messages of a page. Returns the position of the last one.
    ///
    /// Much of the write buffer stays free, for what is sent to other rooms meanwhile, and to this one
    /// later.
    async fn feed(
        &self,
        sender: &mut TrackedSender,
        room: &Room<R>,
        page: &Page,
    ) -> Result<Option<Position>, HubError> {
        let (mut last, mut fed) = (None, None);
        for stored in &page.messages {
            let position = Position { epoch: page.epoch, offset: stored.offset };
            last = Some(position);
            if !self.is_for(&stored.publication) {
                continue;
            }
            let message = self.inner().encode(&room.key, position, stored.publication.message.clone());
            let at = feed_one(sender, message).await?;
            fed = Some(at);
            if self.sender().has_much_queued() {
                flush(sender, at).await?;
            }
        }
        if let Some(at) = fed {
            flush(sender, at).await?;
        }
        Ok(last)
    }

    /// Returns whether a message of a history is for this member, by the rooms that it is in now.
    fn is_for(&self, publication: &Publication) -> bool {
        let hub = self.inner();
        let found = publication.whom.find(|named, found| {
            let is_own = match named {
                Named::Room(name) => {
                    (hub.settings.room_named)(name).is_some_and(|room| self.find(&room).is_some())
                }
                Named::Member(member) => member == self.id(),
            };
            if is_own {
                found.add(&self.recipient);
            }
        });
        publication.whom.includes(&self.recipient, hub.node, found.as_deref())
    }

    fn find(&self, room: &(impl RoomRef<R> + ?Sized)) -> Option<Arc<Membership<R>>> {
        self.lock().iter().find(|membership| room.is(&membership.room.key)).cloned()
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
        rooms.iter().for_each(|membership| self.inner().leave(membership, self.id()));
    }
}

impl<R: RoomKey> fmt::Debug for Member<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Member").field("id", &self.id()).finish_non_exhaustive()
    }
}

/// The position of a room that has none.
const NOWHERE: Position = Position { epoch: 0, offset: 0 };

/// Returns the position of the last message that was queued for a room that is subscribed.
fn position_of<R>(room: &Room<R>) -> Position {
    room.position().unwrap_or(NOWHERE)
}

/// Queues a message once there is room. Returns the position that a flush has to reach.
async fn feed_one(sender: &mut TrackedSender, message: PreparedMessage) -> Result<u64, HubError> {
    let mut outgoing = message.into();
    let fed = poll_fn(|cx| {
        let fed = sender.poll_feed(&mut outgoing, false, cx);
        if fed.is_pending() {
            sender.watch(cx);
        }
        fed
    });
    fed.await.map(|(position, _)| position).map_err(|_closing| HubError::Gone)
}

/// Waits until everything up to a position is flushed.
async fn flush(sender: &mut TrackedSender, position: u64) -> Result<(), HubError> {
    let flushed = poll_fn(|cx| poll_flushed(sender, position, cx)).await;
    flushed.then_some(()).ok_or(HubError::Gone)
}

/// What a call that joins has found.
enum Begun<'a, R: RoomKey> {
    IsMember(Arc<Membership<R>>),
    Joining(Joining<'a, R>),
}

/// Why a call cannot begin to join yet.
enum Blocked {
    /// Another call joins the same room.
    ByOther,
    /// The room is being removed.
    ByRemoval,
}

/// A call that joins. If it does not complete, the member has not joined.
struct Joining<'a, R: RoomKey> {
    member: &'a Member<R>,
    membership: Arc<Membership<R>>,
}

impl<R: RoomKey> Joining<'_, R> {
    fn complete(self) -> Result<(), HubError> {
        // Under the lock that `leave` takes first.
        let rooms = self.member.lock();
        if self.membership.has_left() || !rooms.iter().any(|other| Arc::ptr_eq(other, &self.membership)) {
            drop(rooms);
            return Err(HubError::Left);
        }
        self.membership.is_complete.store(true, Relaxed);
        Ok(())
    }
}

impl<R: RoomKey> Drop for Joining<'_, R> {
    fn drop(&mut self) {
        let hub = self.member.inner();
        if !self.membership.is_complete.load(Relaxed) {
            self.member.lock().retain(|other| !Arc::ptr_eq(other, &self.membership));
            hub.leave(&self.membership, self.member.id());
        }
        self.membership.room.end_to_join();
        hub.remove_if_unused(&self.membership.room);
        hub.joined.notify_waiters();
    }
}
