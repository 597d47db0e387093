//! The system's allocator, which optionally counts.
//!
//! All peers use it. It counts in the memory section only: elsewhere, it costs a load and a branch.
#![allow(unsafe_code)]

use std::{
    alloc::{GlobalAlloc, Layout, System},
    sync::atomic::{AtomicBool, AtomicI64, Ordering::Relaxed},
};

#[derive(Debug)]
pub struct Counting;

static COUNTS: AtomicBool = AtomicBool::new(false);
static ALLOCATED: AtomicI64 = AtomicI64::new(0);

/// Starts to count.
pub fn start() {
    COUNTS.store(true, Relaxed);
}

/// Returns the bytes allocated and not freed since [`start`].
pub fn allocated() -> i64 {
    ALLOCATED.load(Relaxed)
}

#[inline]
fn count(bytes: impl FnOnce() -> i64) {
    if COUNTS.load(Relaxed) {
        ALLOCATED.fetch_add(bytes(), Relaxed);
    }
}

/// Converts a size: no layout is larger than `isize::MAX`.
fn signed(size: usize) -> i64 {
    size as i64
}

// SAFETY: all calls are forwarded to the system's allocator unchanged.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(|| signed(layout.size()));
        // SAFETY: the requirements are those of the caller.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        count(|| signed(layout.size()));
        // SAFETY: the requirements are those of the caller.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, ptr: *mut u8, layout: Layout) {
        count(|| -signed(layout.size()));
        // SAFETY: the requirements are those of the caller.
        unsafe { System.dealloc(ptr, layout) }
    }

    unsafe fn realloc(&self, ptr: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        count(|| signed(new_size) - signed(layout.size()));
        // SAFETY: the requirements are those of the caller.
        unsafe { System.realloc(ptr, layout, new_size) }
    }
}
