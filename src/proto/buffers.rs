//! The buffer pool of a thread.

use std::fmt;

use super::{deflate::Codecs, outbox::Queue};

/// The most queues that are kept. A broadcast may use as many in one turn.
const KEPT: usize = 1024;

/// The most of them that keep their buffers.
const KEPT_WITH_BUFFERS: usize = 16;

/// A pool of queues, compressors and decompressors for the connections of one thread.
///
/// A connection takes from the pool while it has something queued or compressed; an idle connection
/// holds nothing. The pool is an argument of the calls that may need it. One for each thread serves
/// any number of connections.
///
/// ```
/// use fullduplex::proto::Buffers;
///
/// let buffers = Buffers::new();
/// # drop(buffers);
/// ```
#[derive(Default)]
pub struct Buffers {
    /// `None` until something is taken from the pool.
    kept: Option<Box<Kept>>,
}

#[derive(Default)]
struct Kept {
    #[allow(clippy::vec_box, reason = "a connection holds the box")]
    queues: Vec<Box<Queue>>,
    deflate: Codecs,
}

/// Redacted: the buffers may still contain data of earlier connections.
impl fmt::Debug for Buffers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let queues = self.kept.as_ref().map_or(0, |kept| kept.queues.len());
        f.debug_struct("Buffers").field("queues", &queues).finish_non_exhaustive()
    }
}

impl Buffers {
    /// Creates an empty pool.
    pub const fn new() -> Self {
        Self { kept: None }
    }

    /// Returns the compressors and decompressors.
    pub(crate) fn codecs(&mut self) -> &mut Codecs {
        &mut self.kept().deflate
    }

    /// Takes a queue from the pool.
    #[inline]
    pub(super) fn queue(&mut self) -> Box<Queue> {
        self.kept().queues.pop().unwrap_or_default()
    }

    /// Returns a queue to the pool.
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_many_queues_are_kept_as_a_broadcast_may_use_and_no_more() {
        let mut buffers = Buffers::new();
        for _ in 0..=KEPT {
            buffers.take_back(Box::default());
        }
        assert_eq!(buffers.kept().queues.len(), KEPT);
    }
}
