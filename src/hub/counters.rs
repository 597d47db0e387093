//! What has become of messages.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// What has become of one message, by member; or of all messages of a hub.
///
/// A member counts once for each message.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Delivered {
    /// The message was queued in the write buffer, or written.
    pub sent: u64,
    /// The write buffer was full, and the message was dropped.
    pub dropped: u64,
    /// The write buffer was full, and the message waits as the latest of its kind.
    pub waiting: u64,
    /// The write buffer was full, and the connection was closed with code 1013.
    pub closed: u64,
    /// The write buffer was full, and the connection was ended.
    pub aborted: u64,
    /// The connection was closing, or had ended.
    pub gone: u64,
    /// The message could not be sent to the other hubs, because the backplane could not be reached.
    /// This does not count members.
    pub unreached: u64,
}

/// What has become of a message for one member.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    Sent,
    Dropped,
    Waiting,
    Closed,
    Aborted,
    Gone,
}

impl Delivered {
    pub(super) fn count(&mut self, fate: Fate) {
        match fate {
            Fate::Sent => self.sent += 1,
            Fate::Dropped => self.dropped += 1,
            Fate::Waiting => self.waiting += 1,
            Fate::Closed => self.closed += 1,
            Fate::Aborted => self.aborted += 1,
            Fate::Gone => self.gone += 1,
        }
    }

    /// Returns how many members the message was for.
    pub fn members(&self) -> u64 {
        self.sent + self.dropped + self.waiting + self.closed + self.aborted + self.gone
    }
}

/// The sum of what has become of all messages.
#[derive(Debug, Default)]
pub(super) struct Counters([AtomicU64; 7]);

impl Counters {
    pub(super) fn add(&self, delivered: &Delivered) {
        let Delivered { sent, dropped, waiting, closed, aborted, gone, unreached } = *delivered;
        let more = [sent, dropped, waiting, closed, aborted, gone, unreached];
        for (counter, more) in self.0.iter().zip(more) {
            if more > 0 {
                counter.fetch_add(more, Relaxed);
            }
        }
    }

    pub(super) fn get(&self) -> Delivered {
        let [sent, dropped, waiting, closed, aborted, gone, unreached] =
            std::array::from_fn(|index| self.0[index].load(Relaxed));
        Delivered { sent, dropped, waiting, closed, aborted, gone, unreached }
    }
}
