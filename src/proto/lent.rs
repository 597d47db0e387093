//! What a connection borrows while it has something to do.

use super::queue::Queue;

/// How many queues are kept for the next borrowers: as many may have something queued in one turn of a broadcast.
const KEPT: usize = 1024;

/// How many of them keep their buffers.
const KEPT_WITH_BUFFERS: usize = 16;

/// Buffers for the connections of one thread: a connection borrows one while it has something queued, and an idle one
/// holds none.
///
/// It is handed to the calls that may need it; one for each thread serves any number of connections.
///
/// ```
/// use fullduplex::proto::Lent;
///
/// let lent = Lent::new();
/// # drop(lent);
/// ```
#[derive(Debug, Default)]
pub struct Lent {
    #[allow(clippy::vec_box, reason = "what a connection holds is the box")]
    queues: Vec<Box<Queue>>,
}

impl Lent {
    /// Nothing kept yet.
    pub const fn new() -> Self {
        Self { queues: Vec::new() }
    }

    #[inline]
    pub(super) fn queue(&mut self) -> Box<Queue> {
        self.queues.pop().unwrap_or_default()
    }

    #[inline]
    pub(super) fn take_back(&mut self, mut queue: Box<Queue>) {
        if self.queues.len() < KEPT {
            queue.clear();
            if self.queues.len() >= KEPT_WITH_BUFFERS {
                queue.drop_buffers();
            }
            self.queues.push(queue);
        }
    }
}
