//! What a connection borrows while it has something to do.

use std::fmt;

use super::{deflate::Codecs, outbox::Queue};

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
/// use fullduplex::proto::Buffers;
///
/// let buffers = Buffers::new();
/// # drop(buffers);
/// ```
#[derive(Default)]
pub struct Buffers {
    /// There once something was lent.
    kept: Option<Box<Kept>>,
}

#[derive(Default)]
struct Kept {
    #[allow(clippy::vec_box, reason = "what a connection holds is the box")]
    queues: Vec<Box<Queue>>,
    deflate: Codecs,
}

/// Its buffers may still hold what earlier borrowers had in them: only their number is shown.
impl fmt::Debug for Buffers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let queues = self.kept.as_ref().map_or(0, |kept| kept.queues.len());
        f.debug_struct("Buffers").field("queues", &queues).finish_non_exhaustive()
    }
}

impl Buffers {
    /// Nothing kept yet.
    pub const fn new() -> Self {
        Self { kept: None }
    }

    /// What compresses and inflates.
    pub(crate) fn codecs(&mut self) -> &mut Codecs {
        &mut self.kept().deflate
    }

    #[inline]
    pub(super) fn queue(&mut self) -> Box<Queue> {
        self.kept().queues.pop().unwrap_or_default()
    }

    #[inline]
    pub(super) fn take_back(&mut self, mut queue: Box<Queue>) {
        let queues = &mut self.kept().queues;
        if queues.len() < KEPT {
            queue.clear();
            if queues.len() >= KEPT_WITH_BUFFERS {
                queue.drop_buffers();
            }
            queues.push(queue);
        }
    }

    #[inline]
    fn kept(&mut self) -> &mut Kept {
        self.kept.get_or_insert_default()
    }
}
