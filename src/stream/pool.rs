//! Buffers that the connections of one thread share: an idle connection holds none of them.

use std::{cell::RefCell, fmt, mem};

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
pub(super) struct Scratch {
    bytes: Box<[u8]>,
    start: usize,
    end: usize,
}

/// What it holds is nobody's business: other connections had it before.
impl fmt::Debug for Scratch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Scratch").field("unread", &self.unread().len()).finish_non_exhaustive()
    }
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

/// Lends the calls of the protocol core what they may need. It is taken out for the call, for payload data that is
/// dropped meanwhile may be of any type, and do anything.
#[inline]
pub(super) fn with_lent<T>(use_it: impl FnOnce(&mut Lent) -> T) -> T {
    let mut lent = POOL.with(|pool| mem::take(&mut pool.borrow_mut().lent));
    let result = use_it(&mut lent);
    POOL.with(|pool| pool.borrow_mut().lent = lent);
    result
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
