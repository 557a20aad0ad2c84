//! Arenas that are small, full, or used by one class after another.

use kddm_memory::{Arena, ArenaConfig, MemoryError};
use kddm_object::{Hold, Mode, ObjectKey, SetId, SlotId};
use std::collections::BTreeSet;

const KIB: usize = 1 << 10;
const MIB: usize = 1 << 20;

fn key(object: u32) -> ObjectKey {
    ObjectKey::new(SetId::from_parts(3, 1, 1), object)
}

fn arena(bytes: usize) -> Arena {
    Arena::new(ArenaConfig::new(bytes)).unwrap()
}

fn set_mode(arena: &Arena, slot: SlotId, mode: Mode) {
    let word = arena.load(slot);
    arena.swap(slot, word, word.with_mode(mode)).unwrap();
}

/// A copy of an object of `size` bytes.
fn copy(arena: &Arena, key: ObjectKey, size: u32, reserve: bool) -> Option<SlotId> {
    let slot = arena.allocate(key, size, reserve)?;
    set_mode(arena, slot, Mode::Shared);
    Some(slot)
}

/// Fills the arena with pages; how many there are.
fn fill(arena: &Arena, reserve: bool) -> u32 {
    (0..).find(|&object| copy(arena, key(object), 4096, reserve).is_none()).unwrap()
}

fn evict(arena: &Arena, key: ObjectKey) {
    let slot = arena.lookup(key).unwrap();
    set_mode(arena, slot, Mode::None);
    arena.release(slot);
}

fn victims(arena: &Arena, size: u32, count: usize) -> Vec<ObjectKey> {
    let mut out = Vec::new();
    arena.victims(size, count, &mut out);
    out
}

#[test]
fn sizes_are_checked_and_explained() {
    let refused = |bytes, slab_bytes| Arena::new(ArenaConfig { bytes, slab_bytes }).unwrap_err();
    assert_eq!(refused(MIB, 100_000), MemoryError::SlabSize(100_000));
    assert_eq!(refused(MIB, 32 * KIB), MemoryError::SlabSize(32 * KIB));
    assert_eq!(refused(MIB, 8 * MIB), MemoryError::SlabSize(8 * MIB));
    let none = refused(MIB, 2 * MIB);
    assert_eq!(none, MemoryError::ArenaSize { bytes: MIB, slab_bytes: 2 * MIB });
    assert!(none.to_string().contains("1 to 65535 slabs"), "{none}");
    assert!(matches!(refused(usize::MAX, 4 * MIB), MemoryError::ArenaSize { .. }));
}

#[test]
fn a_slab_is_a_sixteenth_within_limits() {
    let slab = |bytes| ArenaConfig::new(bytes).slab_bytes;
    assert_eq!((slab(MIB), slab(4 * MIB), slab(20 * MIB)), (64 * KIB, 256 * KIB, MIB));
    assert_eq!((slab(64 * MIB), slab(4096 * MIB)), (4 * MIB, 4 * MIB));
    assert!(Arena::new(ArenaConfig::new(64 * KIB)).is_ok());
    assert!(matches!(Arena::new(ArenaConfig::new(0)), Err(MemoryError::ArenaSize { .. })));
}

#[test]
fn a_large_arena_takes_no_memory_before_it_is_used() {
    let arena = arena(64 << 30);
    assert!(copy(&arena, key(1), 4096, false).is_some());
    let usage = arena.usage();
    assert_eq!((usage.slabs, usage.slabs_limit, usage.objects, usage.trouble), (1, 16384, 1, None));
}

#[test]
fn all_sizes_find_a_place_and_lengths_are_kept() {
    let arena = arena(64 * MIB);
    for (object, size) in [0, 1, 64, 65, 256, 1000, 4096, 4097, 65536, 1 << 20].into_iter().enumerate() {
        let key = key(object as u32);
        let slot = arena.allocate(key, size, false).unwrap();
        set_mode(&arena, slot, Mode::Exclusive);
        arena.grab(key).unwrap().fill(object as u8);
        assert!(arena.slot_size(slot).unwrap() >= size);
        assert_eq!(arena.get(key).unwrap().len(), size as usize);
    }
    for object in 0..10 {
        assert!(arena.get(key(object)).unwrap().iter().all(|&byte| byte == object as u8), "object {object}");
    }
    assert_eq!(arena.allocate(key(99), (1 << 20) + 1, true), None);
}

#[test]
fn a_small_arena_is_used_to_the_last_page() {
    let arena = arena(2 * MIB);
    let ordinary = fill(&arena, false);
    let pages = 2 * MIB as u32 / 4096;
    // An eighth of a MiB slab each for three classes that have nothing, and a sixteenth in reserve.
    assert!(ordinary >= pages * 3 / 4, "{ordinary} of {pages}");
    assert!(arena.allocate(key(1 << 20), 0, false).is_some(), "a lock finds room among pages");
    let reserved = (0..).take_while(|&more| copy(&arena, key(ordinary + more), 4096, true).is_some()).count();
    assert!(reserved >= 4, "{reserved}");
    let usage = arena.usage();
    assert_eq!((usage.classes[3].free, usage.slabs), (0, usage.slabs_limit));
    assert_eq!(usage.objects, ordinary as usize + reserved + 1);
}

#[test]
fn what_is_released_can_be_had_again() {
    let arena = arena(2 * MIB);
    let pages = fill(&arena, true);
    for round in 1..5 {
        (0..pages).for_each(|object| evict(&arena, key(object)));
        assert_eq!(arena.usage().objects, 0);
        assert_eq!(fill(&arena, true), pages, "round {round}");
    }
}

#[test]
fn slabs_go_from_class_to_class() {
    let arena = arena(2 * MIB);
    for size in [4096, 64, 1024, 65536, 256, 4096] {
        let count = (0..).find(|&object| copy(&arena, key(object), size, true).is_none()).unwrap();
        assert_eq!(count as usize, 2 * MIB / size.next_power_of_two() as usize, "objects of {size}");
        for object in 0..count {
            let slot = arena.lookup(key(object)).unwrap();
            assert_eq!((arena.key_of(slot), arena.slot_size(slot)), (Some(key(object)), Some(size)));
        }
        (0..count).for_each(|object| evict(&arena, key(object)));
    }
}

#[test]
fn a_generation_never_comes_back() {
    let arena = arena(MIB);
    let mut seen = BTreeSet::new();
    for round in 0..1000 {
        let size = if round % 2 == 0 { 64 } else { 4096 };
        let slot = arena.allocate(key(round), size, false).unwrap();
        assert!(seen.insert((slot, arena.generation(slot))), "round {round}");
        arena.release(slot);
        assert_eq!((arena.key_of(slot), arena.slot_size(slot)), (None, None));
    }
}

#[test]
fn retained_slots_are_not_found_until_restored() {
    let arena = arena(MIB);
    let old = copy(&arena, key(1), 64, false).unwrap();
    assert!(arena.copy_in(old, 0, &[7; 64]));
    set_mode(&arena, old, Mode::None);
    arena.retain(old);
    assert_eq!((arena.lookup(key(1)), arena.key_of(old)), (None, Some(key(1))));
    let new = copy(&arena, key(1), 64, false).unwrap();
    assert_ne!(new, old);
    let mut bytes = [0; 64];
    assert!(arena.copy_out(old, arena.generation(old), &mut bytes));
    assert_eq!((bytes, arena.lookup(key(1))), ([7; 64], Some(new)));
    evict(&arena, key(1));
    arena.restore(old);
    assert_eq!(arena.lookup(key(1)), Some(old));
    arena.release(old);
    assert_eq!(arena.lookup(key(1)), None);
}

#[test]
fn victims_are_unheld_and_the_unused_come_first() {
    let arena = arena(MIB);
    for object in 0..40 {
        copy(&arena, key(object), 4096, false).unwrap();
    }
    let held = arena.get(key(5)).unwrap();
    let landing = arena.allocate(key(100), 4096, false).unwrap();
    let revoked = arena.lookup(key(6)).unwrap();
    let word = arena.load(revoked);
    arena.swap(revoked, word, word.with_revoke(true)).unwrap();
    (10..20).for_each(|object| drop(arena.get(key(object)).unwrap()));
    let expected: BTreeSet<_> = (0..40).filter(|object| ![5, 6].contains(object)).map(key).collect();
    let first: Vec<_> = victims(&arena, 4096, 28);
    assert_eq!(first.len(), 28);
    assert!(first.iter().all(|key| !(10..20).contains(&key.object)), "used ones are spared once");
    let all: BTreeSet<_> = victims(&arena, 4096, 1000).into_iter().collect();
    assert_eq!(all, expected);
    drop((held, landing));
}

#[test]
fn the_sweep_goes_round() {
    let arena = arena(MIB);
    for object in 0..100 {
        copy(&arena, key(object), 4096, false).unwrap();
    }
    let mut seen = BTreeSet::new();
    for _ in 0..20 {
        seen.extend(victims(&arena, 4096, 5));
    }
    assert_eq!(seen.len(), 100, "each once, before any comes again");
    assert_eq!(victims(&arena, 4096, 100).len(), 100);
    assert_eq!(victims(&arena, 4096, 0), []);
}

#[test]
fn everything_used_is_no_excuse() {
    let arena = arena(MIB);
    for object in 0..100 {
        copy(&arena, key(object), 4096, false).unwrap();
        drop(arena.get(key(object)).unwrap());
    }
    assert_eq!(victims(&arena, 4096, 10).len(), 10);
}

#[test]
fn a_class_that_has_nothing_gets_a_slab_of_another() {
    let arena = arena(MIB);
    let pages = fill(&arena, true);
    let hot = arena.get(key(0)).unwrap();
    let large = ObjectKey::new(SetId(9), 1);
    assert_eq!(arena.allocate(large, 65536, false), None);
    let mut evicted = 0;
    let slot = loop {
        let round = victims(&arena, 65536, 4);
        assert!(!round.is_empty() && round.len() <= 4 && !round.contains(&key(0)));
        for victim in round {
            evict(&arena, victim);
            evicted += 1;
            // Those who need pages cannot take what is being cleared.
            assert_eq!(arena.allocate(key(pages + evicted), 4096, true), None);
        }
        if let Some(slot) = arena.allocate(large, 65536, false) {
            break slot;
        }
    };
    assert_eq!((evicted, arena.slot_size(slot)), (16, Some(65536)));
    drop(hot);
}

#[test]
fn where_all_is_held_nobody_is_named() {
    let arena = arena(MIB);
    let pages = fill(&arena, true);
    let guards: Vec<_> = (0..pages).map(|object| arena.get(key(object)).unwrap()).collect();
    assert_eq!(victims(&arena, 4096, 10), []);
    assert_eq!(victims(&arena, 65536, 10), []);
    drop(guards);
    assert_eq!(victims(&arena, 65536, 10).len(), 10);
}

#[test]
fn a_slab_can_be_mapped_elsewhere() {
    use std::os::unix::fs::FileExt;
    let arena = arena(MIB);
    let slot = copy(&arena, key(1), 4096, false).unwrap();
    assert!(arena.copy_in(slot, 0, b"seen through the descriptor"));
    let file = std::fs::File::from(arena.slab_descriptor(slot.slab()).unwrap().unwrap());
    let mut bytes = [0; 27];
    file.read_exact_at(&mut bytes, u64::from(slot.index()) * 4096).unwrap();
    assert_eq!(&bytes, b"seen through the descriptor");
    assert!(file.set_len(0).is_err(), "sealed: nobody takes the pages away");
    assert!(arena.slab_descriptor(9).is_none());
}

#[test]
fn holds_follow_the_mode() {
    use kddm_memory::Miss;
    let arena = arena(MIB);
    assert_eq!(arena.try_hold(key(1), Hold::Shared), Err(Miss::Absent));
    let slot = arena.allocate(key(1), 8, false).unwrap();
    assert_eq!(arena.try_hold(key(1), Hold::Shared), Err(Miss::Mode));
    set_mode(&arena, slot, Mode::Shared);
    assert_eq!(arena.try_hold(key(1), Hold::Exclusive), Err(Miss::Mode));
    assert_eq!(arena.try_hold(key(1), Hold::Shared), Ok(slot));
    let word = arena.load(slot);
    arena.swap(slot, word, word.with_revoke(true)).unwrap();
    assert_eq!(arena.try_hold(key(1), Hold::Shared), Err(Miss::Busy));
    assert_eq!(arena.put(slot, Hold::Shared), kddm_object::Release::Notify);
}

#[test]
#[should_panic(expected = "was released with word")]
fn a_held_slot_is_not_released() {
    let arena = arena(MIB);
    let slot = copy(&arena, key(1), 8, false).unwrap();
    arena.try_hold(key(1), Hold::Shared).unwrap();
    arena.release(slot);
}

#[test]
#[should_panic(expected = "was put without")]
fn a_hold_is_put_once() {
    let arena = arena(MIB);
    let slot = copy(&arena, key(1), 8, false).unwrap();
    arena.try_hold(key(1), Hold::Shared).unwrap();
    arena.put(slot, Hold::Shared);
    arena.put(slot, Hold::Shared);
}

#[test]
#[should_panic(expected = "is no slot of this arena")]
fn a_slot_of_another_arena_is_a_bug() {
    arena(MIB).load(SlotId::new(77, 0));
}
