//! What the thread of a test allocates.
#![allow(
    unsafe_code,
    reason = "an allocator is an unsafe trait; this one counts and hands on to the system's"
)]

use std::{
    alloc::{GlobalAlloc, Layout, System},
    cell::Cell,
};

/// The system's allocator, which counts. A test program declares it as its `#[global_allocator]`.
#[derive(Debug)]
pub struct Counting;

thread_local! {
    static IN_USE: Cell<isize> = const { Cell::new(0) };
    static PEAK: Cell<isize> = const { Cell::new(0) };
    static COUNT: Cell<usize> = const { Cell::new(0) };
}

fn note(bytes: isize) {
    let in_use = IN_USE.get() + bytes;
    IN_USE.set(in_use);
    PEAK.set(PEAK.get().max(in_use));
    COUNT.set(COUNT.get() + usize::from(bytes > 0));
}

// SAFETY: all is handed on to the system's allocator; the counters allocate nothing and have no destructor.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        note(layout.size() as isize);
        // SAFETY: the caller keeps the contract.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        note(-(layout.size() as isize));
        // SAFETY: the caller keeps the contract.
        unsafe { System.dealloc(at, layout) }
    }
}

/// Where this thread's memory stood.
#[derive(Debug)]
pub struct Since {
    in_use: isize,
    count: usize,
}

pub fn start() -> Since {
    PEAK.set(IN_USE.get());
    Since { in_use: IN_USE.get(), count: COUNT.get() }
}

impl Since {
    /// How many bytes more were in use at most.
    pub fn peak(&self) -> usize {
        (PEAK.get() - self.in_use).max(0) as usize
    }

    /// How many bytes less are in use now.
    pub fn freed(&self) -> usize {
        (self.in_use - IN_USE.get()).max(0) as usize
    }

    /// How many allocations there were.
    pub fn count(&self) -> usize {
        COUNT.get() - self.count
    }
}
