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
use tokio::{runtime::Handle, task::AbortHandle};

use crate::{
    builder::Builder,
    driver,
    failure::Failure,
    history,
    names::token,
    presence,
    shared::{Shared, Status},
    transient,
};

/// A backplane on NATS JetStream.
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
pub struct Nats<R>(Arc<Owner<R>>);

/// Ends the tasks when it is dropped.
struct Owner<R> {
    shared: Arc<Shared<R>>,
    driver: OnceLock<AbortHandle>,
}

impl<R: RoomKey + AsRef<str>> Nats<R> {
    /// Returns a builder, for a server.
    ///
    /// The URL is `nats://[user:password@]host[:port]`, or `tls://`, or `nats://token@host`. Several
    /// servers of a cluster are separated by commas.
    pub fn builder(url: &str) -> Builder<R> {
        Builder::new(url)
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
    pub async fn connected(&self) -> Result<(), Failure> {
        let mut watching = self.shared().status.subscribe();
        let status = watching.wait_for(|status| !matches!(status, Status::Connecting)).await;
        match status.as_deref() {
            Ok(Status::Away(failure)) => Err((**failure).clone()),
            // The sender is part of this handle.
            _ => Ok(()),
        }
    }

    /// Returns `true` while the server can be reached, as far as is known.
    pub fn is_connected(&self) -> bool {
        self.shared().link().is_ok()
    }

    /// Returns the last failure that ended a connection, or that no call has returned.
    pub fn last_failure(&self) -> Option<Failure> {
        self.shared().last_failure().map(|failure| (*failure).clone())
    }

    fn shared(&self) -> &Arc<Shared<R>> {
        &self.0.shared
    }
}

impl<R: RoomKey + AsRef<str>> Backplane<R> for Nats<R> {
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
        Box::pin(shared.call(move |link| async move {
            let token = token(room.as_ref());
            history::publish(&link, &shared.tails, shared.names.room(&token), &token, &publication).await
        }))
    }

    fn subscribe<'a>(&'a self, room: &'a R) -> BoxFuture<'a, Result<Position, BackplaneError>> {
        let shared = self.shared();
        Box::pin(shared.call(move |link| async move {
            let inbox = shared.inbox.get().ok_or_else(presence::no_hub)?;
            shared.rooms.subscribe(shared, inbox, &link, room).await
        }))
    }

    fn unsubscribe(&self, room: &R) {
        self.shared().rooms.unsubscribe(room.as_ref());
    }

    fn read_after<'a>(
        &'a self,
        room: &'a R,
        position: Position,
        most: usize,
    ) -> BoxFuture<'a, Result<Page, BackplaneError>> {
        let shared = self.shared();
        Box::pin(shared.call(move |link| async move {
            let subject = shared.names.room(&token(room.as_ref()));
            history::read_after(&link, &subject, position, most).await
        }))
    }

    fn read_before<'a>(
        &'a self,
        room: &'a R,
        offset: Option<u64>,
        most: usize,
    ) -> BoxFuture<'a, Result<Page, BackplaneError>> {
        let shared = self.shared();
        Box::pin(shared.call(move |link| async move {
            let subject = shared.names.room(&token(room.as_ref()));
            history::read_before(&link, &subject, offset, most).await
        }))
    }

    fn send(&self, to: Target<'_, R>, message: &Transient) -> Result<(), BackplaneError> {
        let shared = self.shared();
        let link = shared.link()?;
        let node = shared.inbox.get().map_or(0, Inbox::node);
        let (subject, payload) = match to {
            Target::Room(room) => {
                (shared.names.to_room(&token(room.as_ref())), transient::from_node(node, message))
            }
            Target::All => (shared.names.to_all(), transient::from_node(node, message)),
            Target::Member(member) => {
                (shared.names.to_node(member.node), transient::to_member(member, message))
            }
            Target::Hubs => (shared.names.to_hubs(), transient::from_node(node, message)),
            _ => return Err(BackplaneError::failed("the target is not known to this version")),
        };
        link.outgoing.send(subject, payload)
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
        Box::pin(
            shared.call(move |link| async move { presence::present(shared, &link, room.as_ref()).await }),
        )
    }

    fn delete<'a>(&'a self, room: &'a R) -> BoxFuture<'a, Result<(), BackplaneError>> {
        let shared = self.shared();
        Box::pin(shared.call(move |link| async move {
            history::delete(&link, &shared.names.room(&token(room.as_ref()))).await
        }))
    }
}

impl<R> Drop for Owner<R> {
    fn drop(&mut self) {
        if let Some(driver) = self.driver.get() {
            driver.abort();
        }
        self.shared.rooms.close();
    }
}

/// Returns a handle of the same backplane.
impl<R> Clone for Nats<R> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<R> fmt::Debug for Nats<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shared = &self.0.shared;
        f.debug_struct("Nats")
            .field("name", &shared.settings.name)
            .field("is_connected", &matches!(*shared.status.borrow(), Status::Connected(_)))
            .finish_non_exhaustive()
    }
}
