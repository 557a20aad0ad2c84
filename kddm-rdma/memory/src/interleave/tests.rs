//! Every interleaving of what threads and the engine do with a slot: see `tests/interleave`.
//!
//! The bytes of an object stand in a cell whose accesses the exploration watches: two that no hold and no message between
//! threads puts in order are a failure.

use crate::interleave::{Fault, explore, sees};
use crate::{Arena, ArenaConfig};
use kddm_object::limits::SLAB_MIN;
use kddm_object::{Mode, ObjectKey, SetId, SlotId, Word};
use loom::cell::UnsafeCell;
use loom::thread;
use std::sync::Arc;
use std::sync::atomic::AtomicU32;
use std::sync::atomic::Ordering::Relaxed;

const A: ObjectKey = ObjectKey { set: SetId(7), object: 1 };
const B: ObjectKey = ObjectKey { set: SetId(8), object: 2 };

/// An arena, and the watched bytes of the one slot that is used.
struct World {
    arena: Arena,
    bytes: UnsafeCell<u64>,
    /// How often the engine was told of a last put.
    told: Arc<AtomicU32>,
}

impl World {
    #[allow(clippy::arc_with_non_send_sync, reason = "explored threads are coroutines of one thread")]
    fn new() -> Arc<World> {
        let arena = Arena::new(ArenaConfig { bytes: SLAB_MIN, slab_bytes: SLAB_MIN }).unwrap();
        let told = Arc::new(AtomicU32::new(0));
        let heard = told.clone();
        assert!(arena.on_notify(Box::new(move |_| {
            heard.fetch_add(1, Relaxed);
        })));
        Arc::new(World { arena, bytes: UnsafeCell::new(0), told })
    }

    /// With `key` in the slot.
    fn with(key: ObjectKey, mode: Mode) -> (Arc<World>, SlotId) {
        let world = World::new();
        let slot = world.begin(key, mode);
        (world, slot)
    }

    /// Gives `key` a slot, as the engine does: the bytes land, then the mode says so.
    fn begin(&self, key: ObjectKey, mode: Mode) -> SlotId {
        let slot = self.arena.allocate(key, 8, true).unwrap();
        self.write(key.object.into());
        let word = self.arena.load(slot);
        self.arena.swap(slot, word, word.with_mode(mode)).unwrap();
        slot
    }

    fn read(&self) -> u64 {
        // SAFETY: the exploration fails if somebody writes at the same time.
        self.bytes.with(|bytes| unsafe { *bytes })
    }

    fn write(&self, value: u64) {
        // SAFETY: as in `read`.
        self.bytes.with_mut(|bytes| unsafe { *bytes = value });
    }

    /// Adds one under an exclusive hold, if that is a hit.
    fn grab(&self) -> u64 {
        let Ok(guard) = self.arena.grab(A) else { return 0 };
        self.write(self.read() + 1);
        drop(guard);
        1
    }

    /// Reads under a shared hold, if that is a hit.
    fn get(&self, key: ObjectKey) -> Option<u64> {
        let guard = self.arena.get(key).ok()?;
        assert_eq!(guard.key(), key, "a hold of {key} landed on another tenant");
        Some(self.read())
    }

    /// Swaps `change` of the word in; the word before.
    fn swap(&self, slot: SlotId, change: impl Fn(Word) -> Word) -> Word {
        let mut word = self.arena.load(slot);
        loop {
            match self.arena.swap(slot, word, change(word)) {
                Ok(()) => return word,
                Err(now) => word = now,
            }
        }
    }

    /// Takes the mode if nobody holds the slot; else asks to be told, and says so.
    fn revoke(&self, slot: SlotId) -> bool {
        let before = self
            .swap(slot, |word| if word.held() { word.with_revoke(true) } else { word.with_mode(Mode::None) });
        before.held()
    }

    fn check_revoked(&self, slot: SlotId, asked: bool) {
        let word = self.arena.load(slot);
        assert!(!word.held(), "a hold was left over: {word:?}");
        let told = self.told.load(Relaxed);
        assert_eq!(told, u32::from(asked), "the engine waits for a put, or hears of one too many");
    }
}

fn spawn<R: 'static>(world: &Arc<World>, body: impl FnOnce(&World) -> R + 'static) -> thread::JoinHandle<R> {
    let world = world.clone();
    thread::spawn(move || body(&world))
}

fn join<R>(thread: thread::JoinHandle<R>) {
    let _ = thread.join().unwrap();
}

/// Two threads grab what a third gets.
fn threads_of_a_node() {
    let (world, slot) = World::with(A, Mode::Exclusive);
    let others = [spawn(&world, World::grab), spawn(&world, World::grab)];
    let before = world.get(A);
    let grabbed: u64 = others.into_iter().map(|other| other.join().unwrap()).sum();
    assert_eq!(world.read(), 1 + grabbed, "a write was lost");
    assert!(before.is_none_or(|seen| (1..=1 + grabbed).contains(&seen)));
    let word = world.arena.load(slot);
    assert!(!word.held(), "a hold was left over: {word:?}");
}

/// The engine revokes while two threads hold and put. Either nobody held, and the bytes are its own, or it hears of the last put.
fn revocation() {
    let (world, slot) = World::with(A, Mode::Exclusive);
    let others = [spawn(&world, |world| world.get(A).is_some()), spawn(&world, |world| world.grab() > 0)];
    let asked = world.revoke(slot);
    if !asked {
        world.write(100);
    }
    others.into_iter().for_each(join);
    world.check_revoked(slot, asked);
}

/// The engine revokes while two threads put what they have held for long.
fn revocation_among_puts() {
    let (world, slot) = World::with(A, Mode::Shared);
    let others = [(); 2].map(|()| {
        let guard = world.arena.get(A).unwrap();
        spawn(&world, |_| drop(guard))
    });
    let asked = world.revoke(slot);
    others.into_iter().for_each(join);
    world.check_revoked(slot, asked);
}

/// Whoever put last takes the bytes for the engine at once, as the listener of a node does.
fn taking_over() {
    let (world, slot) = World::with(A, Mode::Shared);
    let guards = [(); 2].map(|()| world.arena.get(A).unwrap());
    assert!(world.revoke(slot));
    let others = guards.map(|guard| {
        spawn(&world, move |world| {
            world.read();
            drop(guard);
            let unheld = |word: Word| !word.held() && word.mode() != Mode::None;
            let before =
                world.swap(slot, |word| if unheld(word) { word.with_mode(Mode::None) } else { word });
            if unheld(before) {
                world.write(100);
            }
        })
    });
    others.into_iter().for_each(join);
    assert_eq!((world.told.load(Relaxed), world.read()), (1, 100));
}

/// The slot goes from one object to another while a thread wants the first, and another thread the second.
fn reassignment() {
    let (world, slot) = World::with(A, Mode::Shared);
    let first = spawn(&world, |world| world.get(A));
    let second = spawn(&world, |world| world.get(B));
    if !world.revoke(slot) {
        world.arena.retain(slot);
        world.arena.release(slot);
        assert_eq!(world.begin(B, Mode::Shared), slot);
    }
    let seen = (first.join().unwrap(), second.join().unwrap());
    assert!([None, Some(1)].contains(&seen.0) && [None, Some(2)].contains(&seen.1), "{seen:?}");
}

/// As above, with a second thread that changes the word between the lookup of the first and its swap.
fn crowded_reassignment() {
    let (world, slot) = World::with(A, Mode::Shared);
    let others = [spawn(&world, |world| world.get(A)), spawn(&world, |world| world.get(A))];
    if !world.revoke(slot) {
        world.arena.release(slot);
        assert_eq!(world.begin(B, Mode::Shared), slot);
    }
    for other in others {
        assert!([None, Some(1)].contains(&other.join().unwrap()));
    }
}

#[test]
fn holds_exclude_and_publish() {
    explore("threads of a node", 4, threads_of_a_node);
    sees(Fault::RelaxedPut, "threads of a node", 4, threads_of_a_node);
    sees(Fault::RelaxedHold, "threads of a node", 4, threads_of_a_node);
}

#[test]
fn a_revocation_loses_no_put() {
    explore("revocation beside hits", 5, revocation);
    sees(Fault::StoreForSwap, "revocation beside hits", 5, revocation);
    explore("revocation among puts", 5, revocation_among_puts);
    sees(Fault::StaleRelease, "revocation among puts", 5, revocation_among_puts);
    explore("the last put hands over", 4, taking_over);
    sees(Fault::RelaxedPut, "the last put hands over", 4, taking_over);
}

#[test]
fn a_hold_is_of_the_tenant_that_was_asked_for() {
    explore("reassignment", 3, reassignment);
    sees(Fault::TagBeforeWord, "reassignment", 3, reassignment);
    explore("crowded reassignment", 2, crowded_reassignment);
    sees(Fault::AnyTenancy, "crowded reassignment", 2, crowded_reassignment);
}
