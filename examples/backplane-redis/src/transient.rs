//! The task that publishes messages that are not stored.

use std::sync::Arc;

use fullduplex::hub::RoomKey;
use fullduplex_backplane_common::Item;
use redis::{RedisError, aio::MultiplexedConnection};
use tokio::sync::mpsc;

use crate::{history::PUBLISH, link::is_away, shared::Shared};

/// Messages that are written at a time.
const BATCH: usize = 128;

/// Publishes what is queued. Returns the error that ends the link.
pub(crate) async fn write<R: RoomKey + AsRef<str>>(
    shared: Arc<Shared<R>>,
    mut commands: MultiplexedConnection,
    mut queue: mpsc::Receiver<Item>,
) -> RedisError {
    let mut batch = Vec::new();
    while queue.recv_many(&mut batch, BATCH).await > 0 {
        let mut pipe = redis::pipe();
        for item in batch.drain(..) {
            pipe.cmd(PUBLISH).arg(item.channel).arg(item.notice);
        }
        match pipe.exec_async(&mut commands).await {
            Ok(()) => {}
            Err(error) if is_away(&error) => return error,
            Err(error) => shared.report(error),
        }
    }
    // The link holds a sender.
    std::future::pending().await
}
