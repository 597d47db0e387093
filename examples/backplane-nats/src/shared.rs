//! What the handles of a backplane and its tasks share.

use std::{
    fmt,
    future::Future,
    sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError},
};

use async_nats::{ConnectOptions, ServerAddr};
use fullduplex::hub::{BackplaneError, Inbox, RoomKey};
use fullduplex_backplane_common::Members;
use tokio::{
    sync::{Semaphore, watch},
    task::yield_now,
    time::timeout,
};

use crate::{
    builder::Settings, failure::Failure, history::Tails, link::Link, names::Names, presence::Lease,
    rooms::Rooms,
};

/// The rooms that are read at a time. Each has at most a page of messages in memory.
const READERS: usize = 4;

/// What the handles of a backplane and its tasks share.
pub(crate) struct Shared<R> {
    pub(crate) settings: Settings,
    pub(crate) servers: Vec<ServerAddr>,
    pub(crate) options: ConnectOptions,
    pub(crate) names: Names,
    pub(crate) rooms: Rooms,
    pub(crate) tails: Tails,
    pub(crate) members: Members,
    pub(crate) lease: Lease,
    pub(crate) readers: Semaphore,
    /// Set when a hub is attached.
    pub(crate) inbox: OnceLock<Inbox<R>>,
    pub(crate) status: watch::Sender<Status>,
    failure: Mutex<Option<Arc<Failure>>>,
}

/// Whether the server can be reached.
#[derive(Debug, Clone)]
pub(crate) enum Status {
    /// The first attempt to connect has not ended.
    Connecting,
    /// Calls use this.
    Connected(Arc<Link>),
    Away(Arc<Failure>),
}

impl<R> Shared<R> {
    pub(crate) fn new(settings: Settings, servers: Vec<ServerAddr>, options: ConnectOptions) -> Self {
        Self {
            names: Names::new(&settings.name),
            settings,
            servers,
            options,
            rooms: Rooms::default(),
            tails: Tails::default(),
            members: Members::new(),
            lease: Lease::default(),
            readers: Semaphore::new(READERS),
            inbox: OnceLock::new(),
            status: watch::Sender::new(Status::Connecting),
            failure: Mutex::new(None),
        }
    }

    /// Keeps a failure that no call returns.
    pub(crate) fn report(&self, failure: Failure) {
        *self.lock_failure() = Some(Arc::new(failure));
    }

    /// Returns the last failure that no call has returned.
    pub(crate) fn last_failure(&self) -> Option<Arc<Failure>> {
        self.lock_failure().clone()
    }

    /// Returns the link, if the server can be reached.
    pub(crate) fn link(&self) -> Result<Arc<Link>, BackplaneError> {
        match &*self.status.borrow() {
            Status::Connected(link) => Ok(link.clone()),
            Status::Connecting | Status::Away(_) => Err(BackplaneError::Away),
        }
    }

    fn lock_failure(&self) -> MutexGuard<'_, Option<Arc<Failure>>> {
        self.failure.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<R: RoomKey> Shared<R> {
    /// Lets calls use a link.
    pub(crate) fn connected(&self, link: Arc<Link>) {
        self.status.send_replace(Status::Connected(link));
        if let Some(inbox) = self.inbox.get() {
            inbox.set_available(true);
        }
    }

    /// Makes calls fail at once.
    pub(crate) fn disconnected(&self, failure: Arc<Failure>) {
        *self.lock_failure() = Some(failure.clone());
        self.status.send_replace(Status::Away(failure));
        if let Some(inbox) = self.inbox.get() {
            inbox.set_available(false);
        }
    }

    /// Calls the server under a deadline.
    pub(crate) async fn call<T, E, F>(&self, call: impl FnOnce(Arc<Link>) -> F) -> Result<T, BackplaneError>
    where
        F: Future<Output = Result<T, E>>,
        E: Into<BackplaneError>,
    {
        let result = self.try_call(call).await;
        if let Err(BackplaneError::Away) = result {
            // The hub may not know it yet, and repeats the call at once. The task that tells it may
            // run in the same thread.
            yield_now().await;
        }
        result
    }

    async fn try_call<T, E, F>(&self, call: impl FnOnce(Arc<Link>) -> F) -> Result<T, BackplaneError>
    where
        F: Future<Output = Result<T, E>>,
        E: Into<BackplaneError>,
    {
        let link = self.link()?;
        let result = match timeout(self.settings.timeout, call(link.clone())).await {
            Ok(result) => result.map_err(Into::into),
            Err(_elapsed) => Err(BackplaneError::Away),
        };
        if let Err(BackplaneError::Away) = result {
            link.failed(&Failure::timed_out());
        }
        result
    }
}

impl<R> fmt::Debug for Shared<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The addresses may contain a password.
        f.debug_struct("Shared").field("settings", &self.settings).finish_non_exhaustive()
    }
}
