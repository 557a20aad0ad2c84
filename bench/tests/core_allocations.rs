//! When everything is warm the core allocates nothing, neither for a hit nor for a miss.

use kddm_bench::allocations::{Counting, counted};
use kddm_bench::core_speed::{Options, run};

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// As many nodes with copies lie in a directory entry itself; a longer copyset has memory of its own.
const IN_THE_ENTRY: u64 = 3;

#[test]
fn hits_and_misses_allocate_nothing_in_steady_state() {
    let cases = run(Options { rounds: 4, objects: 1000, case: String::new() }).unwrap();
    assert!(cases.len() >= 9, "{cases:?}");
    for case in cases {
        let few = case.sharers.is_none_or(|sharers| sharers <= IN_THE_ENTRY);
        assert!(case.allocated == Some(0.0) || !few, "{case:?}");
    }
}

#[test]
fn the_allocator_sees_what_is_allocated() {
    let before = counted().unwrap();
    let block = std::hint::black_box(Vec::<u8>::with_capacity(1000));
    let there = counted().unwrap().since(before);
    // Each question costs a byte, which is given back.
    assert_eq!((there.allocations, there.allocated, there.kept()), (2, 1001, 1000), "{there:?}");
    drop(block);
    let gone = counted().unwrap().since(before);
    assert_eq!((gone.allocations, gone.kept()), (3, 0), "{gone:?}");
}
