//! Hits and locks, measured in alternating blocks of one run, so that what slows the machine slows both.

use crate::locks::Locks;
use kddm_memory::{Arena, ArenaConfig, MemoryError};
use kddm_object::{Mode, ObjectKey, SetId};
use std::hint::black_box;
use std::time::{Duration, Instant};

/// Objects of the random cases.
const OBJECTS: u32 = 64 << 10;
/// Pairs in a block.
const PAIRS: usize = 20_000;
/// Blocks of each kind.
const BLOCKS: usize = 41;

/// One case's figures.
pub struct Case {
    /// What was done.
    pub name: &'static str,
    /// Median time of a hold and its put.
    pub hit_ns: f64,
    /// Median time of a lock and its unlock.
    pub floor_ns: f64,
    /// Median of the ratios of neighbouring blocks.
    pub ratio: f64,
    /// What it should be at most.
    pub target: f64,
}

/// All cases.
///
/// # Errors
/// The arena's.
pub fn all() -> Result<Vec<Case>, MemoryError> {
    let arena = filled()?;
    let locks = Locks::new(OBJECTS as usize);
    let one = vec![OBJECTS / 2; PAIRS];
    let random = shuffled();
    let get = |object: u32| drop(black_box(arena.get(key(object))));
    let grab = |object: u32| drop(black_box(arena.grab(key(object))));
    let read = |object: u32| {
        locks.read(object as usize, || {
            black_box(object);
        })
    };
    let write = |object: u32| {
        locks.write(object as usize, || {
            black_box(object);
        })
    };
    let raw = |object: u32| {
        if let Ok(slot) = arena.try_hold(key(object), kddm_object::Hold::Shared) {
            black_box(arena.put(black_box(slot), kddm_object::Hold::Shared));
        }
    };
    Ok(vec![
        compare("get + put, one object", 2.0, &one, get, read),
        compare("grab + put, one object", 2.0, &one, grab, write),
        compare("try_hold + put, one object", 2.0, &one, raw, read),
        compare("get + put, random of 65536", 2.5, &random, get, read),
        compare("grab + put, random of 65536", 2.5, &random, grab, write),
        compare("try_hold + put, random of 65536", 2.5, &random, raw, read),
    ])
}

/// 65536 pages that this node has exclusively. Their bytes are never touched.
fn filled() -> Result<Arena, MemoryError> {
    let arena = Arena::new(ArenaConfig::new(512 << 20))?;
    for object in 0..OBJECTS {
        let slot = arena.allocate(key(object), 4096, false);
        let slot = slot.unwrap_or_else(|| panic!("BUG: no slot for object {object}"));
        let word = arena.load(slot);
        assert!(arena.swap(slot, word, word.with_mode(Mode::Exclusive)).is_ok());
        assert!(arena.get(key(object)).is_ok());
    }
    Ok(arena)
}

fn key(object: u32) -> ObjectKey {
    ObjectKey::new(SetId::from_parts(3, 0x0100_0001, 1), object)
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

fn compare(name: &'static str, target: f64, objects: &[u32], hit: impl Fn(u32), floor: impl Fn(u32)) -> Case {
    let (mut hits, mut floors, mut ratios) = (Vec::new(), Vec::new(), Vec::new());
    let mut blocks = objects.chunks(PAIRS).cycle();
    for _ in 0..BLOCKS {
        // Different objects, so that neither finds in the cache what the other brought.
        let ours = block(blocks.next().unwrap_or(&[]), &hit);
        let bare = block(blocks.next().unwrap_or(&[]), &floor);
        ratios.push(ours.as_secs_f64() / bare.as_secs_f64());
        hits.push(ours.as_secs_f64() * 1e9 / PAIRS as f64);
        floors.push(bare.as_secs_f64() * 1e9 / PAIRS as f64);
    }
    Case { name, hit_ns: median(hits), floor_ns: median(floors), ratio: median(ratios), target }
}

fn block(objects: &[u32], pair: impl Fn(u32)) -> Duration {
    let start = Instant::now();
    for &object in objects {
        pair(black_box(object));
    }
    start.elapsed()
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
