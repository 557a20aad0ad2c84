//! A hit costs at most twice an uncontended lock, lookup included; 2.5 times at random over 65536 objects.

#[path = "../examples/hits/arena.rs"]
mod arena;
#[path = "../examples/hits/compare.rs"]
mod compare;
#[path = "../examples/hits/locks.rs"]
mod locks;

#[test]
fn a_hit_costs_no_more_than_promised() {
    compare::hold_to_targets(|| arena::all().unwrap());
}
