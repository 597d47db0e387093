//! Buffers that the connections of one thread share: an idle connection holds none of them.

use std::cell::RefCell;

use crate::proto::{Batch, Lent};

/// How much one read may bring, in bytes.
pub(super) const SCRATCH: usize = 64 << 10;

/// How many of each are kept for the next borrower.
const KEPT: usize = 8;

thread_local! {
    static POOL: RefCell<Pool> = const {
        RefCell::new(Pool { lent: Lent::new(), scratches: Vec::new(), batches: Vec::new() })
    };
}

/// What one thread lends its connections.
#[derive(Debug)]
#[allow(clippy::vec_box, reason = "connections hold the boxes: their contents are too large for an idle one")]
struct Pool {
    lent: Lent,
    scratches: Vec<Box<Scratch>>,
    batches: Vec<Box<Batch>>,
}

/// Bytes that one read brought, and how far they are done with.
#[derive(Debug)]
pub(super) struct Scratch {
    bytes: Box<[u8]>,
    start: usize,
    end: usize,
}

impl Scratch {
    fn new() -> Self {
        Self { bytes: vec![0; SCRATCH].into_boxed_slice(), start: 0, end: 0 }
    }

    /// A scratch that holds what was read before the connection had one.
    pub(super) fn holding(bytes: &[u8]) -> Self {
        Self { bytes: bytes.into(), start: 0, end: bytes.len() }
    }

    /// All of it, to read into.
    pub(super) fn space(&mut self) -> &mut [u8] {
        &mut self.bytes
    }

    /// Notes how much was read.
    pub(super) fn filled(&mut self, len: usize) {
        (self.start, self.end) = (0, len);
    }

    /// Notes how much is done with.
    #[inline]
    pub(super) fn consume(&mut self, len: usize) {
        self.start += len;
    }

    #[inline]
    pub(super) fn unread_mut(&mut self) -> &mut [u8] {
        &mut self.bytes[self.start..self.end]
    }

    #[inline]
    pub(super) fn unread(&self) -> &[u8] {
        &self.bytes[self.start..self.end]
    }
}

/// Lends the calls of the protocol core what they may need. `use_it` calls nothing but those.
#[inline]
pub(super) fn with_lent<T>(use_it: impl FnOnce(&mut Lent) -> T) -> T {
    POOL.with(|pool| use_it(&mut pool.borrow_mut().lent))
}

#[inline]
pub(super) fn scratch() -> Box<Scratch> {
    POOL.with(|pool| pool.borrow_mut().scratches.pop()).unwrap_or_else(|| Box::new(Scratch::new()))
}

#[inline]
pub(super) fn take_back_scratch(scratch: Box<Scratch>) {
    POOL.with(|pool| {
        let scratches = &mut pool.borrow_mut().scratches;
        if scratch.bytes.len() == SCRATCH && scratches.len() < KEPT {
            scratches.push(scratch);
        }
    });
}

#[inline]
pub(super) fn batch() -> Box<Batch> {
    POOL.with(|pool| pool.borrow_mut().batches.pop()).unwrap_or_default()
}

#[inline]
pub(super) fn take_back_batch(batch: Box<Batch>) {
    POOL.with(|pool| {
        let batches = &mut pool.borrow_mut().batches;
        if batches.len() < KEPT {
            batches.push(batch);
        }
    });
}
