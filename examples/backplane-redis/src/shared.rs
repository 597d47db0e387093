//! What the handles of a backplane and its tasks share.

use std::{
    future::Future,
    sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError},
};

use bytes::Bytes;
use fullduplex::hub::{BackplaneError, Inbox, MemberId, PresenceChange, Present, RoomKey, Target, Transient};
use fullduplex_backplane_common::Members;
use redis::RedisError;
use tokio::{sync::watch, task::yield_now, time::timeout};

use crate::{
    builder::Settings, keys::Keys, link::Link, notice::Notice, rooms::Rooms, scripts::Scripts, server::Server,
};

/// What the handles of a backplane and its tasks share.
#[derive(Debug)]
pub(crate) struct Shared<R> {
    pub(crate) settings: Settings,
    pub(crate) server: Server,
    pub(crate) keys: Keys,
    pub(crate) scripts: Scripts,
    pub(crate) rooms: Rooms<R>,
    pub(crate) members: Members,
    /// Set when a hub is attached.
    pub(crate) inbox: OnceLock<Inbox<R>>,
    pub(crate) status: watch::Sender<Status>,
    error: Mutex<Option<Arc<RedisError>>>,
}

/// Whether the server can be reached.
#[derive(Debug, Clone)]
pub(crate) enum Status {
    /// The first attempt to connect has not ended.
    Connecting,
    /// Calls use this.
    Connected(Link),
    Away(Arc<RedisError>),
}

impl<R: RoomKey + AsRef<str>> Shared<R> {
    pub(crate) fn new(settings: Settings, server: Server) -> Self {
        let keys = Keys::new(&settings.prefix, server.database());
        Self {
            settings,
            server,
            keys,
            scripts: Scripts::new(),
            rooms: Rooms::new(),
            members: Members::new(),
            inbox: OnceLock::new(),
            status: watch::Sender::new(Status::Connecting),
            error: Mutex::new(None),
        }
    }

    /// Lets calls use a link.
    pub(crate) fn connected(&self, link: Link) {
        self.status.send_replace(Status::Connected(link));
        if let Some(inbox) = self.inbox.get() {
            inbox.set_available(true);
        }
    }

    /// Makes calls fail at once.
    pub(crate) fn disconnected(&self, error: Arc<RedisError>) {
        *self.lock_error() = Some(error.clone());
        self.status.send_replace(Status::Away(error));
        if let Some(inbox) = self.inbox.get() {
            inbox.set_available(false);
        }
    }

    /// Returns the link, if the server can be reached.
    pub(crate) fn link(&self) -> Result<Link, BackplaneError> {
        match &*self.status.borrow() {
            Status::Connected(link) => Ok(link.clone()),
            Status::Connecting | Status::Away(_) => Err(BackplaneError::Away),
        }
    }

    /// Calls the server under a deadline.
    pub(crate) async fn call<T, F>(&self, call: impl FnOnce(Link) -> F) -> Result<T, BackplaneError>
    where
        F: Future<Output = Result<T, BackplaneError>>,
    {
        let result = self.try_call(call).await;
        if let Err(BackplaneError::Away) = result {
            // The hub may not know it yet, and repeats the call at once. The task that tells it may
            // run in the same thread.
            yield_now().await;
        }
        result
    }

    async fn try_call<T, F>(&self, call: impl FnOnce(Link) -> F) -> Result<T, BackplaneError>
    where
        F: Future<Output = Result<T, BackplaneError>>,
    {
        let link = self.link()?;
        match timeout(self.settings.timeout, call(link.clone())).await {
            Ok(result) => result,
            Err(_elapsed) => Err(link.timed_out()),
        }
    }

    /// Keeps an error that no call returns.
    pub(crate) fn report(&self, error: RedisError) {
        *self.lock_error() = Some(Arc::new(error));
    }

    /// Returns the last error that no call has returned.
    pub(crate) fn last_error(&self) -> Option<Arc<RedisError>> {
        self.lock_error().clone()
    }

    /// Passes what was published to the hub.
    pub(crate) fn receive(&self, channel: &[u8], notice: &[u8]) {
        let Some(inbox) = self.inbox.get() else { return };
        let Ok(channel) = std::str::from_utf8(channel) else { return };
        // Other programs may publish anything.
        let Some(notice) = Notice::from_bytes(notice) else { return };
        match notice {
            Notice::Transient { node, record } if node != inbox.node() && channel == self.keys.everyone() => {
                transient(inbox, Target::All, record);
            }
            Notice::Signal { node, record } if node != inbox.node() => {
                transient(inbox, Target::Hubs, record);
            }
            Notice::Private { member, record } => transient(inbox, Target::Member(member), record),
            _ => self.receive_of_room(inbox, channel, notice),
        }
    }

    fn receive_of_room(&self, inbox: &Inbox<R>, channel: &str, notice: Notice<'_>) {
        let Some(room) = self.rooms.get(channel) else { return };
        match notice {
            Notice::Stored { head, record } => {
                if room.receive(inbox, head, record) {
                    self.rooms.read(room);
                }
            }
            Notice::Entered { member, data } => {
                inbox.presence(&room.key, PresenceChange::Entered(present(member, data)));
            }
            Notice::Left { member, data } => {
                inbox.presence(&room.key, PresenceChange::Left(present(member, data)));
            }
            Notice::Transient { node, record } if node != inbox.node() => {
                transient(inbox, Target::Room(&room.key), record);
            }
            Notice::Transient { .. } | Notice::Private { .. } | Notice::Signal { .. } => {}
        }
    }

    fn lock_error(&self) -> MutexGuard<'_, Option<Arc<RedisError>>> {
        self.error.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Passes a message that is not stored, unless another version of the program has sent it.
fn transient<R: RoomKey>(inbox: &Inbox<R>, to: Target<'_, R>, record: &[u8]) {
    if let Ok(message) = Transient::from_bytes(record) {
        inbox.transient(to, message);
    }
}

fn present(member: MemberId, data: &[u8]) -> Present {
    Present { member, data: Bytes::copy_from_slice(data) }
}
