//! The connections to the server, or to those of a cluster.

use std::{
    collections::HashSet,
    sync::{Arc, Weak},
    time::Duration,
};

use fullduplex::hub::{BackplaneError, RoomKey};
use fullduplex_backplane_common::Outgoing;
use redis::{
    AsyncConnectionConfig, ErrorKind, PushInfo, PushKind, RedisError, ServerErrorKind, Value,
    aio::MultiplexedConnection, cluster_routing::Slot,
};
use tokio::{
    sync::mpsc,
    time::{sleep, timeout},
};

use crate::{
    commands::Commands,
    shards::{Listener, Shards},
    shared::Shared,
};

/// Requests that may wait to be written on a connection, beyond which callers wait.
const PIPELINE: usize = 256;

/// The connections to the server: one for commands, one for subscriptions. In a cluster, the channels
/// of rooms have connections of their own.
///
/// Each is multiplexed. A server closes one for subscriptions if the node does not read fast enough
/// what is published, and commands go on.
#[derive(Debug, Clone)]
pub(crate) struct Link {
    pub(crate) commands: Commands,
    pub(crate) subscriptions: MultiplexedConnection,
    /// The channels of rooms in a cluster.
    pub(crate) shards: Option<Arc<Shards>>,
    /// Queues messages that are not stored.
    pub(crate) outgoing: Outgoing,
    broken: Broken,
}

/// Ends a link. The first error is the reason.
#[derive(Debug, Clone)]
pub(crate) struct Broken(mpsc::Sender<Arc<RedisError>>);

impl Broken {
    pub(crate) fn new() -> (Self, mpsc::Receiver<Arc<RedisError>>) {
        let (sender, receiver) = mpsc::channel(1);
        (Self(sender), receiver)
    }

    pub(crate) fn report(&self, error: RedisError) {
        // Full: there was an earlier error. Closed: the link has ended.
        let _earlier = self.0.try_send(Arc::new(error));
    }
}

impl Link {
    /// Connects.
    pub(crate) async fn open<R: RoomKey + AsRef<str>>(
        shared: &Arc<Shared<R>>,
        broken: Broken,
        outgoing: Outgoing,
    ) -> Result<Self, RedisError> {
        let limit = shared.settings.timeout;
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(limit))
            .set_response_timeout(Some(limit))
            .set_pipeline_buffer_size(PIPELINE);
        let commands = shared.server.commands(&config).await?;
        // The connection holds the function, and what is shared holds the connection.
        let receiver = Arc::new(Receiver { shared: Arc::downgrade(shared), broken: broken.clone() });
        let listener = receiver.clone();
        let subscribing = config.clone().set_push_sender(move |push| {
            receiver.receive(push);
            Ok::<(), redis::aio::SendError>(())
        });
        let (client, subscriptions) = shared.server.connect(&subscribing).await?;
        let is_cluster = shared.server.is_cluster();
        let shards = is_cluster.then(|| Arc::new(Shards::new(client.clone(), config, listener)));
        Ok(Self { commands, subscriptions, shards, outgoing, broken })
    }

    /// Returns the error of the backplane for one of the server. Ends the link if the server cannot
    /// be used through it.
    pub(crate) fn failed(&self, error: RedisError) -> BackplaneError {
        if is_being_moved(&error) {
            return BackplaneError::Away;
        }
        if is_away(&error) {
            self.broken.report(error);
            return BackplaneError::Away;
        }
        BackplaneError::failed(error)
    }

    /// Ends the link, because a call took too long.
    pub(crate) fn timed_out(&self) -> BackplaneError {
        self.broken.report(timed_out());
        BackplaneError::Away
    }

    /// Checks all connections now and then. Returns the error of one that does not answer.
    pub(crate) async fn keep_checking(mut self, interval: Duration, limit: Duration) -> RedisError {
        loop {
            sleep(interval).await;
            match timeout(limit, self.check()).await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => return error,
                Err(_elapsed) => return timed_out(),
            }
        }
    }

    /// Checks all connections. In a cluster, all primaries have to answer.
    pub(crate) async fn check(&mut self) -> Result<(), RedisError> {
        let ping = redis::cmd("PING");
        ping.exec_async(&mut self.commands).await?;
        ping.exec_async(&mut self.subscriptions).await?;
        match &self.shards {
            Some(shards) => shards.ping().await,
            None => Ok(()),
        }
    }

    /// Waits until all messages of rooms that are published by now have been passed on: the answer to
    /// a ping follows them.
    pub(crate) async fn pass_published(&mut self) -> Result<(), RedisError> {
        match &self.shards {
            Some(shards) => shards.ping().await,
            None => redis::cmd("PING").exec_async(&mut self.subscriptions).await,
        }
    }
}

/// What a subscribed connection passes on.
struct Receiver<R> {
    shared: Weak<Shared<R>>,
    broken: Broken,
}

impl<R: RoomKey + AsRef<str>> Listener for Receiver<R> {
    /// Passes a message to the hub, in the task of the connection.
    ///
    /// There is no queue between the two: while the hub is busy, the connection is not read, and the
    /// server keeps what is published, up to its `client-output-buffer-limit`. Then it closes the
    /// connection, and the messages are read from the history.
    fn receive(&self, push: PushInfo) {
        let Some(shared) = self.shared.upgrade() else { return };
        match (push.kind, &push.data[..]) {
            (
                PushKind::Message | PushKind::SMessage,
                [Value::BulkString(channel), Value::BulkString(notice)],
            ) => shared.receive(channel, notice),
            // The server no longer owns the slot; or the answer to a command of this node, which has
            // no effect, because the room is closed.
            (PushKind::SUnsubscribe, [Value::BulkString(channel), ..]) => {
                if let Ok(channel) = std::str::from_utf8(channel) {
                    shared.rooms.suspend(channel);
                }
            }
            (PushKind::Disconnection, _) => {
                self.broken.report((ErrorKind::Io, "the connection for subscriptions was closed").into());
            }
            _ => {}
        }
    }

    fn lose(&self, slots: &HashSet<Slot>) {
        let Some(shared) = self.shared.upgrade() else { return };
        shared.rooms.suspend_if(|channel| slots.contains(&Slot::for_key(channel)));
    }
}

/// Returns the error of a call that took too long.
pub(crate) fn timed_out() -> RedisError {
    std::io::Error::new(std::io::ErrorKind::TimedOut, "the server did not answer in time").into()
}

/// Returns whether an error means that the server cannot be reached or used for now.
pub(crate) fn is_away(error: &RedisError) -> bool {
    match error.kind() {
        ErrorKind::Io
        | ErrorKind::Parse
        | ErrorKind::AuthenticationFailed
        | ErrorKind::ClusterConnectionNotFound => true,
        // It loads its data, waits for its master, or has become a replica. The servers of a cluster do
        // not agree who has a key.
        ErrorKind::Server(
            ServerErrorKind::BusyLoading
            | ServerErrorKind::MasterDown
            | ServerErrorKind::ReadOnly
            | ServerErrorKind::ClusterDown
            | ServerErrorKind::Moved
            | ServerErrorKind::Ask,
        ) => true,
        // A script runs for too long; too few replicas are connected; the password has changed.
        ErrorKind::Extension => matches!(error.code(), Some("BUSY" | "NOREPLICAS" | "NOAUTH")),
        _ => false,
    }
}

/// Returns whether an error means that the keys of a room are being moved to another server of the
/// cluster. All else goes on.
pub(crate) fn is_being_moved(error: &RedisError) -> bool {
    error.kind() == ErrorKind::Server(ServerErrorKind::TryAgain)
}
