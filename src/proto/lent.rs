//! What a connection borrows while it has something to do.

use super::queue::Queue;

/// How many of each are kept for the next borrower.
const KEPT: usize = 16;

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
    #[allow(
        clippy::vec_box,
        reason = "connections hold the boxes: a queue is too large to be part of an idle one"
    )]
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
            self.queues.push(queue);
        }
    }
}
