//! A hit allocates nothing, nor does a miss that the word or the index can tell.

use kddm_memory::{Arena, ArenaConfig, Miss};
use kddm_object::{Hold, Mode, ObjectKey, SetId};
use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

/// The system's allocator, counting this thread's calls.
struct Counting;

thread_local! {
    static CALLS: Cell<u64> = const { Cell::new(0) };
}

fn count() {
    CALLS.with(|calls| calls.set(calls.get() + 1));
}

// SAFETY: everything is left to `System`; the counter allocates nothing.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count();
        // SAFETY: the caller's promise is passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        count();
        // SAFETY: the caller's promise is passed on.
        unsafe { System.dealloc(at, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn calls_of(body: impl FnOnce()) -> u64 {
    let before = CALLS.with(Cell::get);
    body();
    CALLS.with(Cell::get) - before
}

#[test]
fn hits_allocate_nothing() {
    let arena = Arena::new(ArenaConfig::new(8 << 20)).unwrap();
    let key = |object| ObjectKey::new(SetId(5), object);
    for object in 0..1000 {
        let slot = arena.allocate(key(object), 4096, true).unwrap();
        let word = arena.load(slot);
        arena.swap(slot, word, word.with_mode(Mode::Exclusive)).unwrap();
    }
    assert!(calls_of(|| drop(std::hint::black_box(vec![1]))) >= 2, "the counter counts");
    let calls = calls_of(|| {
        for object in 0..1000 {
            let shared = arena.get(key(object)).unwrap();
            assert_eq!(shared.len(), 4096);
            assert_eq!(arena.grab(key(object)).unwrap_err(), Miss::Busy);
            drop(shared);
            drop(arena.grab(key(object)).unwrap());
            let slot = arena.try_hold(key(object), Hold::Exclusive).unwrap();
            arena.put(slot, Hold::Exclusive);
            assert_eq!(arena.lookup(key(object)), Some(slot));
            assert_eq!(arena.get(key(object + 1000)).unwrap_err(), Miss::Absent);
        }
    });
    assert_eq!(calls, 0);
}
