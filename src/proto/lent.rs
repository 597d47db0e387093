//! What a connection borrows while it has something to do.

use super::{deflate::Pool, queue::Queue};

/// How many queues are kept for the next borrowers: as many may have something queued in one turn of a broadcast.
const KEPT: usize = 1024;

/// How many of them keep their buffers.
const KEPT_WITH_BUFFERS: usize = 16;

/// Buffers for the connections of one thread, and what compresses and inflates: a connection borrows it while it has
/// something queued, or compressed, and an idle one holds none.
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
    /// There once something was compressed or inflated.
    deflate: Option<Box<Pool>>,
}

impl Lent {
    /// Nothing kept yet.
    pub const fn new() -> Self {
        Self { queues: Vec::new(), deflate: None }
    }

    /// What compresses and inflates.
    pub(super) fn deflate(&mut self) -> &mut Pool {
        self.deflate.get_or_insert_default()
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
