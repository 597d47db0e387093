//! Buffers that the connections of one thread share: an idle connection holds none of them.

use std::{
    cell::{Cell, RefCell},
    fmt,
    hint::black_box,
    mem,
};

use tokio::time::Instant;

use crate::proto::{Batch, Lent};

/// How much one read may bring, in bytes.
const NARROW: usize = 64 << 10;

/// The same for some reads after one that brought as much: bursts of large messages are then read, and answered, at once.
const WIDE: usize = 256 << 10;

/// The size of the small scratch that each thread keeps, for the rest of a read that is not handled at once.
const SHORT: usize = 4 << 10;

/// How often a wide scratch is asked for, while this thread's is not there, until there is another: it may have gone to
/// another thread with its connection. Till then a narrow one has to do, so that of many connections that hold what they
/// were lent few hold much.
const MISSES: u8 = 16;

/// How many of each are kept for the next borrower; of wide scratches one.
const KEPT: usize = 8;

thread_local! {
    static POOL: Pool = const {
        Pool {
            lent: Cell::new(Lent::new()),
            scratch: Cell::new(None),
            wide: Cell::new(None),
            short: Cell::new(None),
            missed: Cell::new(0),
            missed_short: Cell::new(0),
            batch: Cell::new(None),
            more: RefCell::new(More { scratches: Vec::new(), batches: Vec::new() }),
        }
    };
}

/// What one thread lends its connections. The first of each is there at once; most threads never need a second.
struct Pool {
    lent: Cell<Lent>,
    scratch: Cell<Option<Box<Scratch>>>,
    wide: Cell<Option<Box<Scratch>>>,
    short: Cell<Option<Box<Scratch>>>,
    /// How often a wide scratch was asked for and not there.
    missed: Cell<u8>,
    /// How often a short one was.
    missed_short: Cell<u8>,
    batch: Cell<Option<Box<Batch>>>,
    more: RefCell<More>,
}

impl Pool {
    #[inline(never)]
    fn wide(&self) -> Option<Box<Scratch>> {
        self.wide.take().or_else(|| every_16th(&self.missed).then(|| Box::new(Scratch::wide())))
    }

    #[inline]
    fn short(&self) -> Option<Box<Scratch>> {
        self.short
            .take()
            .or_else(|| every_16th(&self.missed_short).then(|| Box::new(Scratch::with_len(SHORT))))
    }
}

/// Counts a miss; returns whether it is the first of 16.
fn every_16th(missed: &Cell<u8>) -> bool {
    let count = missed.get();
    missed.set((count + 1) % MISSES);
    count == 0
}

#[allow(clippy::vec_box, reason = "connections hold the boxes: their contents are too large for an idle one")]
struct More {
    scratches: Vec<Box<Scratch>>,
    batches: Vec<Box<Batch>>,
}

/// Bytes that one read brought, and how far they are done with.
pub(super) struct Scratch {
    bytes: Box<[u8]>,
    start: usize,
    end: usize,
    /// When they were read.
    read_at: Instant,
    /// Whether no message of this read has been handed out.
    fresh: bool,
}

/// What it holds is nobody's business: other connections had it before.
impl fmt::Debug for Scratch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Scratch").field("unread", &self.unread().len()).finish_non_exhaustive()
    }
}

impl Scratch {
    fn with_len(len: usize) -> Self {
        Self { bytes: vec![0; len].into(), start: 0, end: 0, read_at: Instant::now(), fresh: false }
    }

    fn narrow() -> Self {
        Self::with_len(NARROW)
    }

    fn wide() -> Self {
        // Of a block that is given back glibc remembers the size (mallopt(3), M_MMAP_THRESHOLD), and from then on leaves
        // twice as much at the end of its heap before it returns it to the system. Without one, a burst of large messages
        // is paid for in page faults each time: 5 us instead of 3 for each of 16 messages of 16 KiB.
        drop(black_box(Vec::<u8>::with_capacity(WIDE)));
        Self::with_len(WIDE)
    }

    /// A scratch that holds what was read before the connection had one.
    pub(super) fn holding(bytes: &[u8]) -> Self {
        Self { bytes: bytes.into(), start: 0, end: bytes.len(), read_at: Instant::now(), fresh: false }
    }

    /// All of it, to read into. It is initialised: some streams clear what is not, all of it for each read.
    pub(super) fn space(&mut self) -> &mut [u8] {
        &mut self.bytes
    }

    /// Records how much was read, just now.
    pub(super) fn filled(&mut self, len: usize) {
        (self.start, self.end) = (0, len);
        (self.read_at, self.fresh) = (Instant::now(), true);
    }

    /// Returns when the bytes were read.
    pub(super) fn read_at(&self) -> Instant {
        self.read_at
    }

    /// Returns whether this is the first call since the bytes were read.
    pub(super) fn take_fresh(&mut self) -> bool {
        mem::take(&mut self.fresh)
    }

    /// Whether more is likely to have come than one read brings.
    pub(super) fn is_much(&self) -> bool {
        self.end >= NARROW
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
    let mut lent = POOL.with(|pool| pool.lent.take());
    let result = use_it(&mut lent);
    POOL.with(|pool| pool.lent.set(lent));
    result
}

/// A scratch; if there is one, a wide one, where that is wanted.
#[inline]
pub(super) fn scratch(wide: bool) -> Box<Scratch> {
    POOL.with(|pool| {
        let wide = if wide { pool.wide() } else { None };
        let kept = wide.or_else(|| pool.scratch.take()).or_else(|| pool.more.borrow_mut().scratches.pop());
        kept.unwrap_or_else(|| Box::new(Scratch::narrow()))
    })
}

/// Returns a small scratch that holds what is left in this one, which is short.
pub(super) fn short_scratch(of: &Scratch) -> Box<Scratch> {
    let rest = of.unread();
    let mut scratch = POOL.with(Pool::short).unwrap_or_else(|| Box::new(Scratch::holding(rest)));
    scratch.bytes[..rest.len()].copy_from_slice(rest);
    (scratch.start, scratch.end, scratch.read_at) = (0, rest.len(), of.read_at);
    scratch
}

#[inline]
pub(super) fn take_back_scratch(scratch: Box<Scratch>) {
    match scratch.bytes.len() {
        SHORT => POOL.with(|pool| pool.short.set(Some(scratch))),
        NARROW => POOL.with(|pool| {
            if let Some(other) = pool.scratch.replace(Some(scratch)) {
                keep(&mut pool.more.borrow_mut().scratches, other);
            }
        }),
        WIDE => POOL.with(|pool| pool.wide.set(Some(scratch))),
        _ => {}
    }
}

#[inline]
pub(super) fn batch() -> Box<Batch> {
    let kept = POOL.with(|pool| pool.batch.take().or_else(|| pool.more.borrow_mut().batches.pop()));
    kept.unwrap_or_default()
}

#[inline]
pub(super) fn take_back_batch(batch: Box<Batch>) {
    POOL.with(|pool| {
        if let Some(other) = pool.batch.replace(Some(batch)) {
            keep(&mut pool.more.borrow_mut().batches, other);
        }
    });
}

#[cold]
#[allow(clippy::vec_box, reason = "as in `More`")]
fn keep<T>(kept: &mut Vec<Box<T>>, one_more: Box<T>) {
    if kept.len() < KEPT {
        kept.push(one_more);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_many_who_hold_a_scratch_few_hold_a_wide_one() {
        let held: Vec<_> = (0..32).map(|_| scratch(true)).collect();
        let lens: Vec<_> = held.iter().map(|scratch| scratch.bytes.len()).collect();
        assert_eq!((lens[0], lens[16]), (WIDE, WIDE));
        assert_eq!(lens.iter().filter(|len| **len == NARROW).count(), 30);
        held.into_iter().for_each(take_back_scratch);
        assert_eq!((scratch(true).bytes.len(), scratch(false).bytes.len()), (WIDE, NARROW));
    }
}
