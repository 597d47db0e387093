//! The connections to the server.

use std::{
    sync::{Arc, Weak},
    time::Duration,
};

use fullduplex::hub::{BackplaneError, RoomKey};
use fullduplex_backplane_common::Outgoing;
use redis::{
    AsyncConnectionConfig, ErrorKind, PushInfo, RedisError, ServerErrorKind, aio::MultiplexedConnection,
};
use tokio::{
    sync::mpsc,
    time::{sleep, timeout},
};

use crate::shared::Shared;

/// Requests that may wait to be written on a connection, beyond which callers wait.
const PIPELINE: usize = 256;

/// The connections to the server: one for commands, one for subscriptions.
///
/// Either is multiplexed. A server closes the one for subscriptions if the node does not read fast
/// enough what is published, and commands go on.
#[derive(Debug, Clone)]
pub(crate) struct Link {
    pub(crate) commands: MultiplexedConnection,
    pub(crate) subscriptions: MultiplexedConnection,
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
        let commands = shared.client.get_multiplexed_async_connection_with_config(&config).await?;
        // The connection holds the function, and what is shared holds the connection.
        let receiver = Receiver { shared: Arc::downgrade(shared), broken: broken.clone() };
        let config = config.set_push_sender(move |push| {
            receiver.receive(push);
            Ok::<(), redis::aio::SendError>(())
        });
        let subscriptions = shared.client.get_multiplexed_async_connection_with_config(&config).await?;
        Ok(Self { commands, subscriptions, outgoing, broken })
    }

    /// Returns the error of the backplane for one of the server. Ends the link if the server cannot
    /// be used through it.
    pub(crate) fn failed(&self, error: RedisError) -> BackplaneError {
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

    /// Checks both connections now and then. Returns the error of one that does not answer.
    pub(crate) async fn ping(mut self, interval: Duration, limit: Duration) -> RedisError {
        loop {
            sleep(interval).await;
            for connection in [&mut self.commands, &mut self.subscriptions] {
                let ping = redis::cmd("PING");
                match timeout(limit, ping.exec_async(connection)).await {
                    Ok(Ok(())) => {}
                    Ok(Err(error)) => return error,
                    Err(_elapsed) => return timed_out(),
                }
            }
        }
    }
}

/// What a subscribed connection passes on.
struct Receiver<R> {
    shared: Weak<Shared<R>>,
    broken: Broken,
}

impl<R: RoomKey + AsRef<str>> Receiver<R> {
    /// Passes a message to the hub, in the task of the connection.
    ///
    /// There is no queue between the two: while the hub is busy, the connection is not read, and the
    /// server keeps what is published, up to its `client-output-buffer-limit`. Then it closes the
    /// connection, and the messages are read from the history.
    fn receive(&self, push: PushInfo) {
        match push.kind {
            redis::PushKind::Message | redis::PushKind::SMessage => {
                let Some(shared) = self.shared.upgrade() else { return };
                if let [redis::Value::BulkString(channel), redis::Value::BulkString(notice)] = &push.data[..]
                {
                    shared.receive(channel, notice);
                }
            }
            redis::PushKind::Disconnection => {
                self.broken.report((ErrorKind::Io, "the connection for subscriptions was closed").into());
            }
            _ => {}
        }
    }
}

/// Returns the error of a call that took too long.
pub(crate) fn timed_out() -> RedisError {
    std::io::Error::new(std::io::ErrorKind::TimedOut, "the server did not answer in time").into()
}

/// Returns whether an error means that the server cannot be reached or used for now.
pub(crate) fn is_away(error: &RedisError) -> bool {
    match error.kind() {
        ErrorKind::Io | ErrorKind::Parse | ErrorKind::AuthenticationFailed => true,
        // It loads its data, waits for its master, or has become a replica.
        ErrorKind::Server(
            ServerErrorKind::BusyLoading
            | ServerErrorKind::MasterDown
            | ServerErrorKind::ReadOnly
            | ServerErrorKind::ClusterDown
            | ServerErrorKind::TryAgain,
        ) => true,
        // A script runs for too long; too few replicas are connected; the password has changed.
        ErrorKind::Extension => matches!(error.code(), Some("BUSY" | "NOREPLICAS" | "NOAUTH")),
        _ => false,
    }
}
