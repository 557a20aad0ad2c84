//! A hit needs no memory; and when everything is warm a miss needs little.

mod cluster;

use cluster::{Cluster, page, small};
use futures_lite::future::block_on;
use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

thread_local! {
    static ALLOCATIONS: Cell<u64> = const { Cell::new(0) };
}

struct Counting;

// SAFETY: everything is passed on to the system's allocator as it came.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.set(ALLOCATIONS.get() + 1);
        // SAFETY: the caller's promise, passed on.
        unsafe { System.alloc(layout) }
    }
    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        // SAFETY: the caller's promise, passed on.
        unsafe { System.dealloc(at, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn allocations_of(action: impl FnOnce()) -> u64 {
    let before = ALLOCATIONS.get();
    action();
    ALLOCATIONS.get() - before
}

#[test]
fn hits_allocate_nothing() {
    let cluster = Cluster::new(1);
    let node = &cluster.nodes[0];
    let pair = || {
        block_on(async {
            for key in [small(1), page(1)] {
                drop(node.grab(key).await.unwrap());
                drop(node.get(key).await.unwrap());
            }
        })
    };
    pair();
    let before = node.status().counts;
    assert_eq!(allocations_of(|| (0..1000).for_each(|_| pair())), 0);
    let after = node.status().counts;
    assert_eq!((after.hits - before.hits, after.misses - before.misses), (4000, 0));
}

#[test]
fn misses_allocate_next_to_nothing_when_warm() {
    let cluster = Cluster::new(2);
    let hand_over = || {
        for node in &cluster.nodes {
            drop(block_on(node.grab(small(1))).unwrap());
        }
    };
    (0..100).for_each(|_| hand_over());
    let allocations = allocations_of(|| (0..1000).for_each(|_| hand_over()));
    // Tables and queues may still grow once in a while.
    assert!(allocations < 20, "{allocations} allocations in 2000 misses");
}
