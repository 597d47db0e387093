//! A bounded queue of messages that are not stored.

use std::sync::Arc;

use fullduplex::hub::BackplaneError;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};

/// Messages that may wait.
const MOST: usize = 4096;

/// Bytes of messages that may wait. One that is larger waits alone.
const MOST_BYTES: usize = 4 << 20;

/// A queue of messages that are not stored, on their way to other nodes: at most 4,096 messages, and
/// 4 MiB of them.
#[derive(Debug, Clone)]
pub struct Outgoing {
    queue: mpsc::Sender<Item>,
    room: Arc<Semaphore>,
}

/// A message in the queue.
#[derive(Debug)]
pub struct Item {
    /// Where the message is published.
    pub channel: String,
    /// What is published.
    pub notice: Vec<u8>,
    /// Its part of `MOST_BYTES`.
    _room: OwnedSemaphorePermit,
}

impl Outgoing {
    /// Creates a queue. The receiver is for the task that publishes.
    pub fn new() -> (Self, mpsc::Receiver<Item>) {
        let (queue, receiver) = mpsc::channel(MOST);
        (Self { queue, room: Arc::new(Semaphore::new(MOST_BYTES)) }, receiver)
    }

    /// Queues a message.
    ///
    /// # Errors
    /// Returns [`BackplaneError::Away`] if it would have to wait for room in the queue, or the
    /// receiver was dropped.
    pub fn send(&self, channel: String, notice: Vec<u8>) -> Result<(), BackplaneError> {
        let len = notice.len().min(MOST_BYTES) as u32;
        let room = self.room.clone().try_acquire_many_owned(len).map_err(|_full| BackplaneError::Away)?;
        self.queue.try_send(Item { channel, notice, _room: room }).map_err(|_full| BackplaneError::Away)
    }
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
