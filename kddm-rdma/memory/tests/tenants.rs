//! Threads that hit while an engine revokes slots and gives them to other objects: each hold is of the object that was asked for,
//! excludes what it should, and is counted exactly.

use kddm_memory::{Arena, ArenaConfig, Miss};
use kddm_object::{Hold, Mode, ObjectKey, Release, SetId, SlotId};
use std::sync::Barrier;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::Relaxed;
use std::thread;

/// Objects: more than there are slots.
const OBJECTS: u32 = if cfg!(miri) { 24 } else { 600 };
/// Bytes of each.
const SIZE: u32 = if cfg!(miri) { 64 } else { 4096 };
/// Where the last of them begin.
const END: usize = SIZE as usize - 8;
/// Tenancies that the engine begins.
const TENANCIES: usize = if cfg!(miri) { 40 } else { 20_000 };

fn key(object: u32) -> ObjectKey {
    ObjectKey::new(SetId(u64::from(object % 7) << 40), object)
}

/// What an object's bytes begin with: who it is, and how often it was written, twice.
#[derive(Debug, PartialEq, Clone, Copy)]
struct Content {
    object: u32,
    first: u64,
    second: u64,
}

fn read(bytes: &[u8]) -> Content {
    let number = |at: usize| u64::from_le_bytes(bytes[at..at + 8].try_into().unwrap());
    Content { object: number(0) as u32, first: number(8), second: number(END) }
}

fn write(bytes: &mut [u8], content: Content) {
    bytes[..8].copy_from_slice(&u64::from(content.object).to_le_bytes());
    bytes[8..16].copy_from_slice(&content.first.to_le_bytes());
    bytes[END..].copy_from_slice(&content.second.to_le_bytes());
}

/// xorshift64 (Marsaglia, 2003).
struct Random(u64);

impl Random {
    fn below(&mut self, end: u32) -> u32 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 32) as u32 % end
    }
}

/// Holds objects at random, and counts what it did.
#[derive(Default)]
struct Tally {
    reads: u64,
    writes: u64,
    busy: u64,
    absent: u64,
    mode: u64,
}

fn hit_until(end: &AtomicBool, start: &Barrier, arena: &Arena, mut random: Random) -> Tally {
    start.wait();
    let mut tally = Tally::default();
    while !end.load(Relaxed) {
        let object = random.below(OBJECTS);
        let missed = if random.below(3) > 0 {
            arena.get(key(object)).map(|guard| {
                assert_eq!(guard.key(), key(object));
                let content = read(&guard);
                assert_eq!(content.object, object, "a get landed on another tenant");
                assert_eq!(content.first, content.second, "a get saw half a write");
                assert_eq!(read(&guard), content, "somebody wrote under a shared hold");
                tally.reads += 1;
            })
        } else {
            arena.grab(key(object)).map(|mut guard| {
                let content = read(&guard);
                assert_eq!(content.object, object, "a grab landed on another tenant");
                assert_eq!(content.first, content.second, "two grabs at once");
                write(&mut guard, Content { first: content.first + 1, ..content });
                write(&mut guard, Content { first: content.first + 1, second: content.second + 1, object });
                tally.writes += 1;
            })
        };
        match missed {
            Ok(()) => {}
            Err(Miss::Busy) => tally.busy += 1,
            Err(Miss::Absent) => tally.absent += 1,
            Err(Miss::Mode) => tally.mode += 1,
        }
    }
    tally
}

/// Gives `object` a slot with what the device has of it, for shared or exclusive use.
fn begin(arena: &Arena, object: u32, device: &[u64], mode: Mode) -> Option<SlotId> {
    let slot = arena.allocate(key(object), SIZE, true)?;
    let mut bytes = [0; SIZE as usize];
    let written = device[object as usize];
    write(&mut bytes, Content { object, first: written, second: written });
    assert!(arena.copy_in(slot, 0, &bytes));
    let word = arena.load(slot);
    assert_eq!((word.mode(), word.held()), (Mode::None, false));
    arena.swap(slot, word, word.with_mode(mode)).unwrap();
    Some(slot)
}

/// Ends a tenancy as the engine does: revoke, wait for the last put, take the mode, save, release.
fn end(arena: &Arena, slot: SlotId, device: &mut [u64]) {
    let mut word = arena.load(slot);
    loop {
        let next = if word.held() { word.with_revoke(true) } else { word.with_mode(Mode::None) };
        match arena.swap(slot, word, next) {
            Ok(()) if next.mode() == Mode::None => break,
            _ => word = arena.load(slot),
        }
        thread::yield_now();
    }
    let mut bytes = [0; SIZE as usize];
    assert!(arena.copy_out(slot, word.generation(), &mut bytes));
    let content = read(&bytes);
    assert_eq!((arena.key_of(slot), content.first), (Some(key(content.object)), content.second));
    device[content.object as usize] = content.first;
    if content.first.is_multiple_of(2) {
        arena.retain(slot);
        assert_eq!(arena.lookup(key(content.object)), None);
    }
    arena.release(slot);
    assert!(!arena.copy_out(slot, word.generation(), &mut bytes), "a READ of a slot that has ended");
    assert!(arena.swap(slot, word, word.with_mode(Mode::Shared)).is_err(), "a swap outlived its tenancy");
}

#[test]
fn a_hold_never_lands_on_another_tenant_and_all_are_counted() {
    let seed = std::env::var("SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(0x5eed_0001u64);
    println!("SEED={seed}");
    let arena = Arena::new(ArenaConfig { bytes: 1 << 20, slab_bytes: 64 << 10 }).unwrap();
    let mut random = Random(seed);
    let mut device = vec![0u64; OBJECTS as usize];
    let (start, stop) = (Barrier::new(4), AtomicBool::new(false));
    let tallies: Vec<Tally> = thread::scope(|scope| {
        let threads: Vec<_> = (1..4)
            .map(|thread| {
                let (arena, start, stop) = (&arena, &start, &stop);
                scope.spawn(move || hit_until(stop, start, arena, Random(seed + thread * 977)))
            })
            .collect();
        // Also if an assertion of the engine's fails, or the threads would go on for ever.
        let stopper = Stop(&stop);
        start.wait();
        let mut slots: Vec<SlotId> = Vec::new();
        for _ in 0..TENANCIES {
            let object = random.below(OBJECTS);
            if let Some(at) = slots.iter().position(|&slot| arena.key_of(slot) == Some(key(object))) {
                end(&arena, slots.swap_remove(at), &mut device);
                continue;
            }
            let mode = if random.below(4) == 0 { Mode::Shared } else { Mode::Exclusive };
            let slot = begin(&arena, object, &device, mode).unwrap_or_else(|| {
                let at = random.below(slots.len() as u32) as usize;
                end(&arena, slots.swap_remove(at), &mut device);
                begin(&arena, object, &device, mode).unwrap()
            });
            slots.push(slot);
        }
        for slot in slots {
            end(&arena, slot, &mut device);
        }
        drop(stopper);
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    let sum = |of: fn(&Tally) -> u64| tallies.iter().map(of).sum::<u64>();
    println!(
        "{} reads, {} writes, {} busy, {} absent, {} mode",
        sum(|tally| tally.reads),
        sum(|tally| tally.writes),
        sum(|tally| tally.busy),
        sum(|tally| tally.absent),
        sum(|tally| tally.mode)
    );
    assert_eq!(device.iter().sum::<u64>(), sum(|tally| tally.writes), "a write was lost or came twice");
    assert!(sum(|tally| tally.reads) > 0 && sum(|tally| tally.writes) > 0 && sum(|tally| tally.absent) > 0);
    assert_eq!(arena.usage().objects, 0);
    assert!(
        arena.usage().classes.iter().all(|class| class.slots == 0),
        "every slot came back: {:?}",
        arena.usage()
    );
}

struct Stop<'a>(&'a AtomicBool);

impl Drop for Stop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Relaxed);
    }
}

#[test]
fn the_last_put_notifies_once_among_many_threads() {
    let arena = Arena::new(ArenaConfig::new(1 << 20)).unwrap();
    for round in 0..if cfg!(miri) { 20 } else { 2000 } {
        let slot = arena.allocate(key(round), 8, true).unwrap();
        let word = arena.load(slot);
        arena.swap(slot, word, word.with_mode(Mode::Shared)).unwrap();
        for _ in 0..3 {
            arena.try_hold(key(round), Hold::Shared).unwrap();
        }
        let (told, seen) = thread::scope(|scope| {
            let put = || arena.put(slot, Hold::Shared) == Release::Notify;
            let threads = [scope.spawn(put), scope.spawn(put), scope.spawn(put)];
            let seen = loop {
                let word = arena.load(slot);
                if arena.swap(slot, word, word.with_revoke(true)).is_ok() {
                    break !word.held();
                }
            };
            (threads.into_iter().map(|put| usize::from(put.join().unwrap())).sum::<usize>(), seen)
        });
        // Either the engine saw at its revocation that nobody holds the slot any more, or exactly one put told it.
        assert_eq!(told + usize::from(seen), 1, "round {round}");
        arena.release(slot);
    }
}

#[test]
fn the_objects_of_a_set_that_are_here_are_listed() {
    let arena = Arena::new(ArenaConfig::new(1 << 20)).unwrap();
    for (set, object, size) in [(1, 7, 64), (1, 3, 64), (2, 5, 64), (1, 9, 64)] {
        let slot = arena.allocate(ObjectKey::new(SetId(set), object), size, false).unwrap();
        let word = arena.load(slot);
        let mode = if object == 9 { Mode::None } else { Mode::Shared };
        arena.swap(slot, word, word.with_mode(mode)).unwrap();
    }
    assert_eq!(arena.local(SetId(1), None, 10), [3, 7], "9 has no valid copy");
    assert_eq!(arena.local(SetId(1), None, 1), [3]);
    assert_eq!(arena.local(SetId(1), Some(3), 10), [7]);
    assert!(arena.local(SetId(3), None, 10).is_empty());
}
