//! Bytes of the heap, counted: an allocator that passes everything on to the system's.
//!
//! A program or test that wants to know says
//! `#[global_allocator] static ALLOCATOR: Counting = Counting;`. Each thread counts what it does itself.
#![allow(unsafe_code)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

thread_local! {
    static COUNTED: Cell<Counted> = const { Cell::new(Counted { allocations: 0, allocated: 0, freed: 0 }) };
}

/// The system's allocator, and a look at what goes through.
pub struct Counting;

/// What this thread has allocated and freed so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counted {
    /// Calls that gave memory.
    pub allocations: u64,
    /// Bytes that they gave.
    pub allocated: u64,
    /// Bytes given back.
    pub freed: u64,
}

impl Counted {
    /// What has come since `earlier`.
    #[must_use]
    pub fn since(self, earlier: Counted) -> Counted {
        Counted {
            allocations: self.allocations - earlier.allocations,
            allocated: self.allocated - earlier.allocated,
            freed: self.freed - earlier.freed,
        }
    }

    /// Bytes that are there now and were not at the beginning; less than 0 if more were given back.
    pub fn kept(self) -> i64 {
        self.allocated as i64 - self.freed as i64
    }
}

/// The count of this thread. `None` if the program does not use [`Counting`].
pub fn counted() -> Option<Counted> {
    let now = COUNTED.get();
    // A thread that allocates to ask has counted it, or nobody counts.
    drop(std::hint::black_box(Box::new(0u8)));
    (COUNTED.get() != now).then_some(now)
}

fn note(allocated: usize, freed: usize) {
    let Counted { allocations, allocated: bytes, freed: gone } = COUNTED.get();
    COUNTED.set(Counted {
        allocations: allocations + u64::from(allocated > 0),
        allocated: bytes + allocated as u64,
        freed: gone + freed as u64,
    });
}

// SAFETY: everything is passed on to the system's allocator as it came; counting neither allocates nor panics.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        note(layout.size(), 0);
        // SAFETY: the caller's promise, passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        note(layout.size(), 0);
        // SAFETY: the caller's promise, passed on.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        note(0, layout.size());
        // SAFETY: the caller's promise, passed on.
        unsafe { System.dealloc(at, layout) }
    }

    unsafe fn realloc(&self, at: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        note(size, layout.size());
        // SAFETY: the caller's promise, passed on.
        unsafe { System.realloc(at, layout, size) }
    }
}
