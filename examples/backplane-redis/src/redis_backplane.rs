//! The handle of a backplane.

use std::{
    fmt,
    sync::{Arc, OnceLock},
};

use bytes::Bytes;
use fullduplex::hub::{
    Backplane, BackplaneError, BoxFuture, Inbox, MemberId, Page, Position, Present, Publication, Published,
    RoomKey, Target, Transient,
};
use fullduplex_backplane_common::Seat;
use redis::RedisError;
use tokio::{runtime::Handle, task::AbortHandle};

use crate::{
    builder::Builder,
    driver, history,
    notice::Notice,
    presence,
    shared::{Shared, Status},
};

/// A backplane on Redis.
///
/// It connects once a hub is attached, in tasks of the runtime, and connects again whenever the
/// connection is lost. Clones are handles of the same backplane. The tasks end when the hub and all
/// handles are dropped.
///
/// See the [crate](crate) for an example.
///
/// # Panics
/// Attaching a second hub panics: each hub has a backplane of its own. Attaching one outside of a
/// tokio runtime panics, too.
pub struct Redis<R>(Arc<Owner<R>>);

/// Ends the tasks when it is dropped.
struct Owner<R> {
    shared: Arc<Shared<R>>,
    driver: OnceLock<AbortHandle>,
}

impl<R: RoomKey + AsRef<str>> Redis<R> {
    /// Returns a builder, for a server.
    ///
    /// The URL is `redis://[user][:password@]host[:port][/database]`, or `rediss://` for TLS. A path
    /// of a Unix socket is `unix:///path`.
    pub fn builder(url: &str) -> Builder<R> {
        Builder::new(vec![url.to_owned()], false)
    }

    /// Returns a builder, for a cluster.
    ///
    /// The URLs are those of some of its servers, which know the others. All have the same credentials.
    /// The servers need Redis 7.0 or later.
    ///
    /// The cluster is away while one of its primaries cannot be reached, until a replica has replaced
    /// it. The README of this package describes what a cluster guarantees.
    ///
    /// ```
    /// use fullduplex_backplane_redis::Redis;
    ///
    /// # fn run() -> Result<(), Box<dyn std::error::Error>> {
    /// let redis: Redis<String> = Redis::cluster(["redis://one:6379", "redis://two:6379"]).build()?;
    /// # Ok(())
    /// # }
    /// # run().unwrap();
    /// ```
    pub fn cluster<U: Into<String>>(urls: impl IntoIterator<Item = U>) -> Builder<R> {
        Builder::new(urls.into_iter().map(Into::into).collect(), true)
    }

    pub(crate) fn of(shared: Shared<R>) -> Self {
        Self(Arc::new(Owner { shared: Arc::new(shared), driver: OnceLock::new() }))
    }

    /// Waits until the first attempt to connect has ended.
    ///
    /// # Errors
    /// Returns why the server cannot be reached now. The backplane continues to try.
    ///
    /// # Cancel safety
    /// Dropping the future changes nothing.
    pub async fn connected(&self) -> Result<(), RedisError> {
        let mut watching = self.shared().status.subscribe();
        let status = watching.wait_for(|status| !matches!(status, Status::Connecting)).await;
        match status.as_deref() {
            Ok(Status::Away(error)) => Err((**error).clone()),
            // The sender is part of this handle.
            _ => Ok(()),
        }
    }

    /// Returns `true` while the server can be reached, as far as is known.
    pub fn is_connected(&self) -> bool {
        self.shared().link().is_ok()
    }

    /// Returns the last error that ended a connection, or that no call has returned.
    pub fn last_error(&self) -> Option<RedisError> {
        self.shared().last_error().map(|error| (*error).clone())
    }

    fn shared(&self) -> &Arc<Shared<R>> {
        &self.0.shared
    }
}

impl<R: RoomKey + AsRef<str>> Backplane<R> for Redis<R> {
    fn attach(&self, inbox: Inbox<R>) {
        inbox.set_available(false);
        assert!(self.shared().inbox.set(inbox).is_ok(), "a hub is attached already");
        let driver = Handle::current().spawn(driver::drive(self.shared().clone()));
        // The assertion above admits one.
        let _first = self.0.driver.set(driver.abort_handle());
    }

    fn publish<'a>(
        &'a self,
        room: &'a R,
        publication: Publication,
    ) -> BoxFuture<'a, Result<Published, BackplaneError>> {
        let shared = self.shared();
        Box::pin(shared.call(move |mut link| async move {
            let keys = shared.keys.room(room.as_ref());
            let published = history::publish(&mut link, shared, &keys, &publication).await;
            published.map_err(|error| link.failed(error))
        }))
    }

    fn subscribe<'a>(&'a self, room: &'a R) -> BoxFuture<'a, Result<Position, BackplaneError>> {
        let shared = self.shared();
        Box::pin(shared.call(move |_link| async move {
            let opened = shared.rooms.subscribe(room, shared.keys.room(room.as_ref()));
            opened.await.unwrap_or(Err(BackplaneError::Away))
        }))
    }

    fn unsubscribe(&self, room: &R) {
        let shared = self.shared();
        shared.rooms.unsubscribe(&shared.keys.room(room.as_ref()).channel);
    }

    fn read_after<'a>(
        &'a self,
        room: &'a R,
        position: Position,
        most: usize,
    ) -> BoxFuture<'a, Result<Page, BackplaneError>> {
        let shared = self.shared();
        Box::pin(shared.call(move |mut link| async move {
            let keys = shared.keys.room(room.as_ref());
            let page = history::read_after(&mut link, &shared.scripts, &keys, position, most).await;
            page.map_err(|error| error.of(&link))
        }))
    }

    /// A room that has no history, because nobody has subscribed to it or published in it, has the epoch
    /// 0, which no history has.
    fn read_before<'a>(
        &'a self,
        room: &'a R,
        offset: Option<u64>,
        most: usize,
    ) -> BoxFuture<'a, Result<Page, BackplaneError>> {
        let shared = self.shared();
        Box::pin(shared.call(move |mut link| async move {
            let keys = shared.keys.room(room.as_ref());
            let page = history::read_before(&mut link, &shared.scripts, &keys, offset, most).await;
            page.map_err(|error| error.of(&link))
        }))
    }

    fn send(&self, to: Target<'_, R>, transient: &Transient) -> Result<(), BackplaneError> {
        let shared = self.shared();
        let link = shared.link()?;
        let node = shared.inbox.get().map_or(0, |inbox| inbox.node());
        let record = &transient.to_bytes()[..];
        let (channel, notice) = match to {
            Target::Room(room) => {
                (shared.keys.room(room.as_ref()).channel, Notice::Transient { node, record })
            }
            Target::All => (shared.keys.everyone(), Notice::Transient { node, record }),
            Target::Member(member) => (shared.keys.node(member.node), Notice::Private { member, record }),
            Target::Hubs => (shared.keys.everyone(), Notice::Signal { node, record }),
            _ => return Err(BackplaneError::failed("the target is not known to this version")),
        };
        link.outgoing.send(channel, notice.to_bytes())
    }

    fn enter<'a>(
        &'a self,
        room: &'a R,
        member: MemberId,
        data: Bytes,
    ) -> BoxFuture<'a, Result<(), BackplaneError>> {
        let shared = self.shared();
        Box::pin(shared.call(move |_link| async move {
            let seat = Seat { member, room: room.as_ref().to_owned() };
            shared.members.entered(shared.members.enter(seat, data)).await
        }))
    }

    fn exit(&self, room: &R, member: MemberId) {
        self.shared().members.exit(&Seat { member, room: room.as_ref().to_owned() });
    }

    fn present<'a>(&'a self, room: &'a R) -> BoxFuture<'a, Result<Vec<Present>, BackplaneError>> {
        let shared = self.shared();
        Box::pin(shared.call(move |mut link| async move {
            let keys = shared.keys.room(room.as_ref());
            let present = presence::present(shared, &mut link, &keys).await;
            present.map_err(|error| link.failed(error))
        }))
    }

    fn delete<'a>(&'a self, room: &'a R) -> BoxFuture<'a, Result<(), BackplaneError>> {
        let shared = self.shared();
        Box::pin(shared.call(move |mut link| async move {
            let keys = shared.keys.room(room.as_ref());
            history::delete(&mut link, &keys).await.map_err(|error| link.failed(error))
        }))
    }
}

impl<R> Drop for Owner<R> {
    fn drop(&mut self) {
        if let Some(driver) = self.driver.get() {
            driver.abort();
        }
    }
}

/// Returns a handle of the same backplane.
impl<R> Clone for Redis<R> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<R> fmt::Debug for Redis<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shared = &self.0.shared;
        f.debug_struct("Redis")
            .field("prefix", &shared.settings.prefix)
            .field("is_connected", &matches!(*shared.status.borrow(), Status::Connected(_)))
            .finish_non_exhaustive()
    }
}
