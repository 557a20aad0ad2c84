//! READs: in bounds, of the right tenancy, and without tearing where nobody writes.

use kddm_memory::{Arena, ArenaConfig};
use kddm_object::{Generation, Incarnation, Mode, ObjectKey, SetId, SlotId};
use proptest::prelude::*;
use std::sync::atomic::Ordering::{Acquire, Release};
use std::sync::atomic::{AtomicBool, AtomicU32};
use std::thread;

const KEY: ObjectKey = ObjectKey { set: SetId(1), object: 1 };

fn arena_with(size: u32) -> (Arena, SlotId, Generation) {
    let arena = Arena::new(ArenaConfig::new(1 << 20)).unwrap();
    let slot = arena.allocate(KEY, size, false).unwrap();
    let generation = arena.generation(slot);
    (arena, slot, generation)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(if cfg!(miri) { 1 } else { 128 }))]

    #[test]
    fn what_is_copied_in_comes_out(offset in 0usize..300, bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let (arena, slot, generation) = arena_with(256);
        let mut model = [0xaa; 256];
        prop_assert!(arena.copy_in(slot, 0, &model));
        let fits = offset + bytes.len() <= 256;
        prop_assert_eq!(arena.copy_in(slot, offset, &bytes), fits);
        if fits {
            model[offset..offset + bytes.len()].copy_from_slice(&bytes);
        }
        for length in [0, 1, 7, 8, 9, 255, 256] {
            let mut out = vec![0; length];
            prop_assert!(arena.copy_out(slot, generation, &mut out));
            prop_assert_eq!(&out[..], &model[..length]);
        }
    }

    /// Whatever a peer names: no panic, and true only for the slot that exists.
    #[test]
    fn any_slot_can_be_asked_for(slot: u32, generation: u32, offset: usize, length in 0usize..5000) {
        let (arena, real, alive) = arena_with(4096);
        let named = SlotId(slot);
        let exists = named == real;
        let out = arena.copy_out(named, Generation(generation), &mut vec![0; length]);
        prop_assert_eq!(out, exists && Generation(generation) == alive && length <= 4096);
        let within = offset.checked_add(length).is_some_and(|end| end <= 4096);
        prop_assert_eq!(arena.copy_in(named, offset, &vec![1; length]), exists && within);
        prop_assert_eq!(arena.slot_size(named), exists.then_some(4096));
        prop_assert_eq!(arena.key_of(named), exists.then_some(KEY));
    }
}

#[test]
fn what_was_told_in_another_life_names_nothing() {
    let told: Vec<(SlotId, Generation)> = (1..=8)
        .map(|incarnation| {
            let arena = Arena::new(ArenaConfig::new(1 << 20)).unwrap();
            arena.begin_life(Incarnation(incarnation));
            let slot = arena.allocate(KEY, 64, false).unwrap();
            assert!(arena.copy_out(slot, arena.generation(slot), &mut [0; 64]));
            (slot, arena.generation(slot))
        })
        .collect();
    let arena = Arena::new(ArenaConfig::new(1 << 20)).unwrap();
    arena.begin_life(Incarnation(9));
    let slot = arena.allocate(KEY, 64, false).unwrap();
    for (of, generation) in told {
        assert_eq!(of, slot, "each life begins with the same slot");
        assert!(!arena.copy_out(of, generation, &mut [0; 64]));
    }
}

#[test]
fn only_the_named_generation_is_served() {
    let (arena, slot, generation) = arena_with(64);
    let served = |generation| arena.copy_out(slot, generation, &mut [0; 64]);
    assert!(served(generation) && !served(generation.next()) && !served(Generation(generation.0 - 1)));
    assert!(!arena.copy_out(slot, generation, &mut [0; 65]));
    arena.release(slot);
    assert!(!served(generation) && !served(generation.next()), "a free slot serves nobody");
    assert!(!arena.copy_in(slot, 0, &[1]));
    assert_eq!(arena.allocate(KEY, 64, false), Some(slot));
    assert!(!served(generation) && served(arena.generation(slot)));
}

#[test]
fn nothing_lands_where_somebody_holds() {
    let (arena, slot, _) = arena_with(64);
    let word = arena.load(slot);
    arena.swap(slot, word, word.with_mode(Mode::Exclusive)).unwrap();
    let guard = arena.get(KEY).unwrap();
    assert!(!arena.copy_in(slot, 0, &[1; 64]));
    assert!(guard.iter().all(|&byte| byte == 0));
    drop(guard);
    assert!(arena.copy_in(slot, 0, &[1; 64]));
}

/// A slot is filled, announced, released and given away, over and over; a peer that READs what was announced gets those bytes or
/// false, never others.
#[test]
fn a_read_is_of_one_tenancy_or_fails() {
    const ROUNDS: u32 = if cfg!(miri) { 20 } else { 3000 };
    const SIZE: usize = if cfg!(miri) { 64 } else { 4096 };
    let arena = Arena::new(ArenaConfig::new(64 << 10)).unwrap();
    let announced = AtomicU32::new(0);
    let (good, bad, end) = (AtomicU32::new(0), AtomicU32::new(0), AtomicBool::new(false));
    let enough = || good.load(Acquire) > 0 && bad.load(Acquire) > 0;
    thread::scope(|scope| {
        let reader = scope.spawn(|| {
            let mut bytes = [0; SIZE];
            while !end.load(Acquire) {
                let generation = announced.load(Acquire);
                let read = arena.copy_out(SlotId::new(0, 0), Generation(generation), &mut bytes);
                if read {
                    let expected = generation.to_le_bytes();
                    assert!(bytes.chunks(4).all(|chunk| chunk == expected), "bytes of another tenancy");
                }
                if read { &good } else { &bad }.fetch_add(1, Release);
            }
        });
        // On until both have happened, or the test would mean nothing.
        let mut rounds = (0..ROUNDS).chain((ROUNDS..u32::MAX).take_while(|_| !enough()));
        while let Some(round) = rounds.next().filter(|_| !reader.is_finished()) {
            let slot = arena.allocate(ObjectKey::new(SetId(2), round), SIZE as u32, true).unwrap();
            assert_eq!(slot, SlotId::new(0, 0));
            let generation = arena.generation(slot);
            let bytes: Vec<u8> = generation.0.to_le_bytes().into_iter().cycle().take(SIZE).collect();
            assert!(arena.copy_in(slot, 0, &bytes));
            announced.store(generation.0, Release);
            if round % 8 == 0 {
                thread::yield_now();
            }
            arena.release(slot);
        }
        end.store(true, Release);
    });
}
