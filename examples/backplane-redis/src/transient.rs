//! Messages that are not stored, on their way to other nodes.

use std::sync::Arc;

use fullduplex::hub::{BackplaneError, RoomKey};
use redis::{RedisError, aio::MultiplexedConnection};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};

use crate::{history::PUBLISH, link::is_away, shared::Shared};

/// Messages that may wait.
const MOST: usize = 4096;

/// Bytes of messages that may wait. One that is larger waits alone.
const MOST_BYTES: usize = 4 << 20;

/// Messages that are written at a time.
const BATCH: usize = 128;

/// A queue of messages that are not stored.
#[derive(Debug, Clone)]
pub(crate) struct Outgoing {
    queue: mpsc::Sender<Item>,
    room: Arc<Semaphore>,
}

#[derive(Debug)]
pub(crate) struct Item {
    channel: String,
    notice: Vec<u8>,
    /// Its part of `MOST_BYTES`.
    _room: OwnedSemaphorePermit,
}

impl Outgoing {
    pub(crate) fn new() -> (Self, mpsc::Receiver<Item>) {
        let (queue, receiver) = mpsc::channel(MOST);
        (Self { queue, room: Arc::new(Semaphore::new(MOST_BYTES)) }, receiver)
    }

    /// Queues a message, unless it would have to wait for room in the queue.
    pub(crate) fn send(&self, channel: String, notice: Vec<u8>) -> Result<(), BackplaneError> {
        let len = notice.len().min(MOST_BYTES) as u32;
        let room = self.room.clone().try_acquire_many_owned(len).map_err(|_full| BackplaneError::Away)?;
        self.queue.try_send(Item { channel, notice, _room: room }).map_err(|_full| BackplaneError::Away)
    }
}

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_and_their_bytes_are_limited() {
        let (outgoing, _receiver) = Outgoing::new();
        for _ in 0..MOST {
            outgoing.send("c".into(), vec![0; 8]).expect("room");
        }
        assert!(outgoing.send("c".into(), vec![0; 8]).is_err());

        let (outgoing, mut receiver) = Outgoing::new();
        outgoing.send("c".into(), vec![0; 2 * MOST_BYTES]).expect("it waits alone");
        assert!(outgoing.send("c".into(), vec![0; 1]).is_err());
        drop(receiver.try_recv());
        outgoing.send("c".into(), vec![0; 1]).expect("room");
    }
}
