//! Hits and locks, measured in alternating blocks of one run, so that what slows the machine slows both.

use crate::locks::Locks;
use std::hint::black_box;
use std::time::{Duration, Instant};

/// Objects of the random cases.
pub const OBJECTS: u32 = 64 << 10;
/// Pairs in a block.
const PAIRS: usize = 20_000;
/// Blocks of each kind.
const BLOCKS: usize = 41;

/// One case's figures.
pub struct Case {
    /// What was done.
    pub name: String,
    /// Median time of a hold and its put.
    pub hit_ns: f64,
    /// Median time of a lock and its unlock.
    pub floor_ns: f64,
    /// Median of the ratios of neighbouring blocks.
    pub ratio: f64,
    /// What it should be at most.
    pub target: f64,
}

/// Does something with the objects of a block, one after the other.
pub type Block<'a> = &'a dyn Fn(&[u32]);

/// A way to hold and put objects.
pub enum Way<'a> {
    /// Beside rdlock and unlock.
    Get(Block<'a>),
    /// Beside wrlock and unlock.
    Grab(Block<'a>),
}

/// Each way, on one object and at random over all of them.
pub fn cases(ways: &[(&str, Way<'_>)]) -> Vec<Case> {
    let locks = Locks::new(OBJECTS as usize);
    let read = |objects: &[u32]| each(objects, |object| locks.read(object));
    let write = |objects: &[u32]| each(objects, |object| locks.write(object));
    let one = vec![OBJECTS / 2; PAIRS];
    let random = shuffled();
    let among = [("one object", 2.0, &one), ("random of 65536", 2.5, &random)];
    let mut cases = Vec::new();
    for (place, target, objects) in among {
        for (name, way) in ways {
            let (hit, floor): (_, Block<'_>) = match way {
                Way::Get(hit) => (hit, &read),
                Way::Grab(hit) => (hit, &write),
            };
            cases.push(compare(format!("{name}, {place}"), target, objects, hit, floor));
        }
    }
    cases
}

/// Calls `pair` for each of `objects`.
#[inline(always)]
pub fn each(objects: &[u32], pair: impl Fn(u32)) {
    for &object in objects {
        pair(black_box(object));
    }
}

/// Measures up to three times, and fails if each time a case was slower than its target: on a busy machine one run may be
/// disturbed; that all three are has another reason.
#[allow(dead_code, reason = "the example only prints")]
pub fn hold_to_targets(measure: impl Fn() -> Vec<Case>) {
    let mut slow = Vec::new();
    for _ in 0..3 {
        slow = measure();
        for case in &slow {
            println!(
                "{}: {:.1} ns, lock {:.1} ns, ratio {:.2}",
                case.name, case.hit_ns, case.floor_ns, case.ratio
            );
        }
        slow.retain(|case| case.ratio > case.target);
        if slow.is_empty() {
            return;
        }
    }
    let names: Vec<_> = slow.iter().map(|case| (&case.name, case.ratio, case.target)).collect();
    panic!("slower than promised (case, ratio, target): {names:?}");
}

/// Objects in an order that no prefetcher knows: a full cycle of a linear congruential generator, cut to blocks.
fn shuffled() -> Vec<u32> {
    let mut state = 1u32;
    let next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        state >> 16
    };
    std::iter::repeat_with(next).take(PAIRS * 8).collect()
}

fn compare(name: String, target: f64, objects: &[u32], hit: Block<'_>, floor: &dyn Fn(&[u32])) -> Case {
    let (mut hits, mut floors, mut ratios) = (Vec::new(), Vec::new(), Vec::new());
    let mut blocks = objects.chunks(PAIRS).cycle();
    for _ in 0..BLOCKS {
        // Different objects, so that neither finds in the cache what the other brought.
        let ours = block(blocks.next().unwrap_or(&[]), hit);
        let bare = block(blocks.next().unwrap_or(&[]), floor);
        ratios.push(ours.as_secs_f64() / bare.as_secs_f64());
        hits.push(ours.as_secs_f64() * 1e9 / PAIRS as f64);
        floors.push(bare.as_secs_f64() * 1e9 / PAIRS as f64);
    }
    Case { name, hit_ns: median(hits), floor_ns: median(floors), ratio: median(ratios), target }
}

fn block(objects: &[u32], pairs: Block<'_>) -> Duration {
    let start = Instant::now();
    pairs(objects);
    start.elapsed()
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
