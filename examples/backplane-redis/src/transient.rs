//! The task that publishes messages that are not stored.

use std::sync::Arc;

use fullduplex::hub::RoomKey;
use fullduplex_backplane_common::Item;
use redis::{Cmd, RedisError, aio::ConnectionLike};
use tokio::sync::mpsc;

use crate::{
    keys::Keys,
    link::{Link, is_away},
    shards::{OnChannel, Shards},
    shared::Shared,
};

/// Messages that are written at a time.
const BATCH: usize = 128;

/// Publishes what is queued. Returns the error that ends the link.
pub(crate) async fn write<R: RoomKey + AsRef<str>>(
    shared: Arc<Shared<R>>,
    mut link: Link,
    mut queue: mpsc::Receiver<Item>,
) -> RedisError {
    let mut batch = Vec::new();
    while queue.recv_many(&mut batch, BATCH).await > 0 {
        let items = batch.drain(..);
        let published = match &link.shards {
            Some(shards) => publish_in_cluster(&mut link.subscriptions, shards, items).await,
            None => publish(&mut link.commands, items).await,
        };
        match published {
            Ok(()) => {}
            Err(error) if is_away(&error) => return error,
            Err(error) => shared.report(error),
        }
    }
    // The link holds a sender.
    std::future::pending().await
}

/// Publishes messages on one connection. A cluster passes them to all of its servers.
async fn publish(
    connection: &mut impl ConnectionLike,
    items: impl IntoIterator<Item = Item>,
) -> Result<(), RedisError> {
    let mut pipe = redis::pipe();
    for item in items {
        pipe.cmd("PUBLISH").arg(item.channel).arg(item.notice);
    }
    if pipe.is_empty() { Ok(()) } else { pipe.exec_async(connection).await }
}

/// Publishes messages for rooms on the servers of these, and others on any.
///
/// The connection for commands is not used, because the library repeats commands whose outcome is
/// unknown.
async fn publish_in_cluster(
    any: &mut impl ConnectionLike,
    shards: &Arc<Shards>,
    items: impl Iterator<Item = Item>,
) -> Result<(), RedisError> {
    let (of_rooms, others): (Vec<_>, Vec<_>) = items.partition(|item| Keys::is_of_room(&item.channel));
    let of_rooms = of_rooms.into_iter().map(|item| {
        let mut command = Cmd::new();
        command.arg("SPUBLISH").arg(&item.channel).arg(item.notice);
        OnChannel { channel: item.channel, command, is_redirected: true }
    });
    publish(any, others).await?;
    shards.run(of_rooms.collect()).await.map(drop)
}
