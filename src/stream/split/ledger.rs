//! The bookkeeping of a split connection: how much of what senders have queued has been written.

use std::mem;

use crate::{proto::SendPath, stream::transport::TransportStatus};

/// The progress of the stream, as positions.
///
/// Each message and Close advances `fed` by the length of its frame, and the other positions
/// follow.
///
/// ```text
///   0          flushed        staged_through                fed
///   ├─────────────┼──────────────────┼───────────────────────┤
///    the stream    in the batch that  in the queue
///    has it        is being written
///                 └───────────── held, as room ──────────────┘
/// ```
///
/// Pings and pongs overtake what is queued, and have no positions. A message that waits to be
/// compressed counts with its uncompressed length until it is staged.
#[derive(Debug)]
pub(super) struct Ledger {
    /// The number of bytes that have been queued in order.
    fed: u64,
    /// The number of those that have left the queue.
    staged_through: u64,
    /// The number of those that the stream has accepted and flushed.
    flushed: u64,
    /// The value of `flushed` when senders were last woken for it.
    announced: u64,
    /// The number of bytes of room that are occupied.
    held: usize,
    /// The number of bytes of pings and pongs that were queued when the transport was last used.
    overtaking: u32,
    /// The transport's status when it was last used.
    transport: TransportStatus,
}

/// The contents of the queue.
#[derive(Debug, Clone, Copy)]
pub(super) struct Queued {
    /// The bytes of messages and a Close, which keep their order.
    in_order: usize,
    /// The bytes of pings and pongs.
    overtaking: u32,
    /// Whether a message in parts is open: its writer keeps all the room that it has acquired.
    message_open: bool,
}

/// The changes after the transport was used.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Changes {
    /// The number of bytes of room that were released.
    pub(super) released: usize,
    /// Whether a flush may be complete.
    pub(super) flushed: bool,
    /// Whether there may be room for pings and pongs.
    pub(super) control: bool,
    /// Whether the stream has become stuck, so that a deadline starts.
    pub(super) stopped: bool,
    /// Whether the write side has ended.
    pub(super) ended: bool,
}

impl Queued {
    pub(super) fn of(send: &SendPath) -> Self {
        let in_order = send.queued_in_order_bytes();
        // A few KiB at most.
        let overtaking = (send.queued_bytes() - in_order) as u32;
        Self { in_order, overtaking, message_open: send.is_message_open() }
    }
}

impl Ledger {
    /// Creates the ledger of a connection, which may have something queued and staged already.
    pub(super) fn new(queued: Queued, transport: TransportStatus, lost: bool, capacity: usize) -> Self {
        let waiting = queued.in_order + transport.staged;
        Self {
            // One more than what waits if the stream has to be flushed, or something is lost: a
            // flush that begins now is not complete.
            fed: waiting as u64 + u64::from(transport.stuck || lost),
            staged_through: transport.staged as u64,
            flushed: 0,
            announced: 0,
            held: waiting.min(capacity),
            overtaking: queued.overtaking,
            transport,
        }
    }

    /// Records that senders have queued something, for which they had acquired `room`.
    ///
    /// Returns how many bytes of room are released: a permit may be for more than its message
    /// needs.
    pub(super) fn queued(&mut self, before: Queued, after: Queued, room: usize) -> usize {
        self.fed += (after.in_order - before.in_order) as u64;
        self.overtaking = after.overtaking;
        self.held += room;
        self.release(after)
    }

    /// Records that a message was queued behind others, for which exactly the room of its frame was
    /// acquired. Returns the position that a flush has to reach.
    #[inline]
    pub(super) fn queued_short(&mut self, len: usize) -> u64 {
        self.fed += len as u64;
        self.held += len;
        self.fed
    }

    /// Records that a frame of this length was staged without being queued, and occupies no room yet.
    /// Nothing was queued or staged before. Returns the position that a flush has to reach.
    pub(super) fn staged_direct(&mut self, len: usize) -> u64 {
        self.fed += len as u64;
        self.staged_through = self.fed;
        self.transport.staged = len;
        self.fed
    }

    /// Records that `room` was acquired for something that is staged.
    pub(super) fn hold(&mut self, room: usize) {
        self.held += room;
    }

    /// Records that everything staged has been written and flushed.
    pub(super) fn batch_written(&mut self) {
        self.flushed = self.staged_through;
    }

    /// Records that something was moved from the queue to the batch, which now holds `staged`
    /// bytes.
    pub(super) fn staged(&mut self, queued: Queued, staged: usize) {
        self.staged_through = self.fed - queued.in_order as u64;
        self.transport.staged = staged;
    }

    /// Records the transport's status after it was used.
    pub(super) fn settle(&mut self, transport: TransportStatus, queued: Queued) -> Changes {
        let before = mem::replace(&mut self.transport, transport);
        self.transport.ended |= before.ended;
        let stopped = transport.stuck && !before.stuck;
        if !transport.stuck && !self.transport.ended {
            self.flushed = self.fed - queued.in_order as u64;
        }
        let announced = mem::replace(&mut self.announced, self.flushed);
        let overtaking = mem::replace(&mut self.overtaking, queued.overtaking);
        Changes {
            released: self.release(queued),
            flushed: self.flushed != announced,
            control: queued.overtaking < overtaking,
            stopped,
            ended: self.transport.ended && !before.ended,
        }
    }

    /// Releases the room of what has been written. Returns how much that is.
    pub(super) fn release(&mut self, queued: Queued) -> usize {
        if queued.message_open {
            return 0;
        }
        let held = self.held.min(queued.in_order + self.transport.staged);
        mem::replace(&mut self.held, held) - held
    }

    /// Records that the stream has been dropped.
    pub(super) fn end(&mut self) {
        (self.transport.staged, self.transport.stuck, self.transport.ended) = (0, false, true);
    }

    /// Returns how many bytes of room are occupied.
    pub(super) fn held(&self) -> usize {
        self.held
    }

    /// Returns the position that a flush which begins now has to reach.
    pub(super) fn flush_target(&self) -> u64 {
        self.fed
    }

    /// Returns `true` if everything up to this position is flushed.
    pub(super) fn is_flushed(&self, target: u64) -> bool {
        self.flushed >= target
    }

    /// Returns the transport's status when it was last used.
    pub(super) fn transport(&self) -> TransportStatus {
        self.transport
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stream::transport::Moves;

    const IDLE: TransportStatus = TransportStatus {
        staged: 0,
        stuck: false,
        compressing: false,
        moves: Moves::NONE,
        written: 0,
        ended: false,
    };

    const NOTHING: Changes =
        Changes { released: 0, flushed: false, control: false, stopped: false, ended: false };

    fn queued(in_order: usize) -> Queued {
        Queued { in_order, overtaking: 0, message_open: false }
    }

    fn ledger() -> Ledger {
        Ledger::new(queued(0), IDLE, false, 1000)
    }

    #[test]
    fn what_is_left_of_a_direct_frame_occupies_room_until_it_is_written() {
        let mut ledger = ledger();
        ledger.staged_direct(10);
        let target = ledger.flush_target();
        assert_eq!((ledger.held(), ledger.is_flushed(target)), (0, false));
        // The stream accepts 6 bytes of it.
        ledger.hold(4);
        let half = TransportStatus { staged: 4, stuck: true, ..IDLE };
        assert_eq!(ledger.settle(half, queued(0)), Changes { stopped: true, ..NOTHING });
        let done = IDLE;
        assert_eq!(ledger.settle(done, queued(0)), Changes { released: 4, flushed: true, ..NOTHING });
        assert!(ledger.is_flushed(target));
    }

    #[test]
    fn a_flush_waits_only_for_bytes_queued_before_it() {
        let mut ledger = ledger();
        assert!(ledger.is_flushed(ledger.flush_target()), "nothing is queued");
        ledger.queued(queued(0), queued(10), 10);
        let first = ledger.flush_target();
        ledger.queued(queued(10), queued(30), 20);
        assert_eq!((first, ledger.flush_target()), (10, 30));

        // The first 10 bytes are staged, and the stream accepts 4 of them.
        ledger.staged(queued(20), 10);
        let stuck = TransportStatus { staged: 6, stuck: true, ..IDLE };
        let changes = ledger.settle(stuck, queued(20));
        assert_eq!(changes, Changes { released: 4, stopped: true, ..NOTHING });
        assert!(!ledger.is_flushed(first));

        // They are written, and the next 20 bytes staged.
        ledger.batch_written();
        ledger.staged(queued(0), 20);
        let changes = ledger.settle(TransportStatus { staged: 20, ..stuck }, queued(0));
        assert_eq!(changes, Changes { released: 6, flushed: true, ..NOTHING });
        assert!(ledger.is_flushed(first) && !ledger.is_flushed(ledger.flush_target()));

        let changes = ledger.settle(IDLE, queued(0));
        assert_eq!(changes, Changes { released: 20, flushed: true, ..NOTHING });
        assert!(ledger.is_flushed(ledger.flush_target()));
    }

    #[test]
    fn a_permit_returns_the_room_that_its_message_does_not_use() {
        let mut ledger = ledger();
        assert_eq!(ledger.queued(queued(0), queued(10), 100), 90);
        assert_eq!(ledger.settle(IDLE, queued(0)).released, 10);
    }

    #[test]
    fn an_open_message_holds_its_room_until_it_ends() {
        let mut ledger = ledger();
        let open = Queued { message_open: true, ..queued(10) };
        assert_eq!(ledger.queued(queued(0), open, 1000), 0);
        assert_eq!(ledger.settle(IDLE, Queued { in_order: 0, ..open }).released, 0);
        assert_eq!(ledger.release(queued(0)), 1000);
    }

    #[test]
    fn pings_have_no_positions_and_release_their_room_once_written() {
        let mut ledger = ledger();
        let pings = Queued { overtaking: 8, ..queued(0) };
        assert_eq!(ledger.queued(queued(0), pings, 0), 0);
        assert_eq!(ledger.flush_target(), 0);
        assert!(!ledger.settle(IDLE, pings).control);
        let changes = ledger.settle(IDLE, queued(0));
        assert!(changes.control && !changes.flushed);
    }

    #[test]
    fn the_end_of_the_write_side_is_permanent() {
        let mut ledger = ledger();
        ledger.queued(queued(0), queued(10), 10);
        let ended = TransportStatus { ended: true, ..IDLE };
        let changes = ledger.settle(ended, queued(0));
        assert_eq!(changes, Changes { released: 10, ended: true, ..NOTHING });
        assert!(!ledger.is_flushed(ledger.flush_target()), "the bytes are lost");
        let changes = ledger.settle(IDLE, queued(0));
        assert!(!changes.ended && ledger.transport().ended);
    }

    #[test]
    fn bytes_queued_before_the_split_are_flushed_and_hold_room() {
        let status = TransportStatus { staged: 7, stuck: true, ..IDLE };
        let mut ledger = Ledger::new(queued(5), status, false, 10);
        let target = ledger.flush_target();
        assert!(!ledger.is_flushed(target));
        ledger.batch_written();
        ledger.staged(queued(0), 5);
        assert_eq!(ledger.settle(IDLE, queued(0)).released, 10);
        assert!(ledger.is_flushed(target));
    }

    #[test]
    fn what_is_still_queued_is_not_flushed() {
        let mut ledger = ledger();
        ledger.queued(queued(0), queued(15), 15);
        let changes = ledger.settle(IDLE, queued(5));
        assert_eq!(changes, Changes { released: 10, flushed: true, ..NOTHING });
        assert!(ledger.is_flushed(10) && !ledger.is_flushed(11) && !ledger.is_flushed(15));
    }

    #[test]
    fn nothing_is_staged_and_nothing_waits_once_the_stream_is_dropped() {
        let mut ledger = ledger();
        ledger.queued(queued(0), queued(10), 10);
        ledger.settle(TransportStatus { staged: 10, stuck: true, ..IDLE }, queued(0));
        ledger.end();
        let TransportStatus { staged, stuck, ended, .. } = ledger.transport();
        assert_eq!((staged, stuck, ended, ledger.held()), (0, false, true, 10));
        assert!(!ledger.is_flushed(10), "the bytes are lost");
    }
}
