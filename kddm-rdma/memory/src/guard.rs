//! Holds as values: bytes while they live, a put when they are dropped.
//!
//! **What the engine promises.** The crates above write no `unsafe`, so what the engine works with ([`Arena::swap`],
//! [`Arena::adopt_shared`], [`Arena::adopt_exclusive`]) is safe to call, and sound by its care: words change by
//! [`kddm_object::Word`]'s transitions alone, and each counted hold becomes at most one guard.
//!
//! A guard points into the arena without owning a share of it: a reference count would be two more atomic operations, on
//! one cache line that all threads of the node fight for, where a hit and its put are two. Instead an arena that ends while
//! words are held leaves its memory mapped for good.

use crate::control::Control;
use crate::{Arena, Miss};
use kddm_object::{Hold, ObjectKey, SlotId, Word};
use std::fmt;
use std::ops::{Deref, DerefMut};
use std::ptr::NonNull;
use std::sync::{Arc, OnceLock};

/// A shared hold. Until it is dropped, nobody changes the object, anywhere.
pub struct Shared(Held<false>);

/// An exclusive hold. Until it is dropped, nobody else has any hold of the object, anywhere.
pub struct Exclusive(Held<true>);

/// A hold that is counted in the word of `control`, and is ended by the one value that stands for it.
struct Held<const EXCLUSIVE: bool> {
    control: NonNull<Control>,
    listener: NonNull<Listener>,
    /// The word when the hold was taken: mostly what it still is at the put.
    word: Word,
}

/// Who hears of the last put of a revoked slot.
#[derive(Default)]
pub(crate) struct Listener(OnceLock<OnNotify>);

type OnNotify = Arc<dyn Fn(ObjectKey) + Send + Sync>;

impl Arena {
    /// Sets who is told of a put that leaves a slot revoked and unheld ([`kddm_object::Release::Notify`]). It is told by the
    /// thread that dropped the guard. False, and nothing is changed, if somebody is told already.
    #[must_use]
    pub fn on_notify(&self, told: Box<dyn Fn(ObjectKey) + Send + Sync>) -> bool {
        self.listener().0.set(told.into()).is_ok()
    }

    /// A get that is a hit: takes a shared hold by the state word alone.
    ///
    /// # Errors
    /// Why the engine has to be asked.
    #[inline(always)]
    pub fn get(&self, key: ObjectKey) -> Result<Shared, Miss> {
        let (_, control, word) = self.hit(key, Hold::Shared)?;
        Ok(Shared(self.held(control, word)))
    }

    /// A grab that is a hit: takes an exclusive hold by the state word alone.
    ///
    /// # Errors
    /// Why the engine has to be asked.
    #[inline(always)]
    pub fn grab(&self, key: ObjectKey) -> Result<Exclusive, Miss> {
        let (_, control, word) = self.hit(key, Hold::Exclusive)?;
        Ok(Exclusive(self.held(control, word)))
    }

    /// The guard of a shared hold that the engine has counted in the word. Each is adopted once.
    ///
    /// # Panics
    /// If the word counts no shared hold: a bug of the engine.
    #[inline]
    pub fn adopt_shared(&self, slot: SlotId) -> Shared {
        let (control, word) = self.counted(slot, Hold::Shared);
        Shared(self.held(control, word))
    }

    /// The guard of an exclusive hold that the engine has counted in the word. It is adopted once.
    ///
    /// # Panics
    /// If the word counts no exclusive hold: a bug of the engine.
    #[inline]
    pub fn adopt_exclusive(&self, slot: SlotId) -> Exclusive {
        let (control, word) = self.counted(slot, Hold::Exclusive);
        Exclusive(self.held(control, word))
    }

    #[inline(never)]
    fn counted(&self, slot: SlotId, hold: Hold) -> (&Control, Word) {
        let control = self.known(slot);
        let word = control.word();
        assert!(word.release(hold).is_some(), "BUG: {slot:?} has no {hold:?} hold: {word:?}");
        (control, word)
    }

    #[inline]
    fn held<const EXCLUSIVE: bool>(&self, control: &Control, word: Word) -> Held<EXCLUSIVE> {
        Held { control: NonNull::from(control), listener: NonNull::from(self.listener()), word }
    }
}

// SAFETY: a hold belongs to no thread: its word is atomic, its listener Sync, and its bytes are read and written through the
// guards' `&self` and `&mut self`, as those of a `Box<[u8]>`.
unsafe impl<const EXCLUSIVE: bool> Send for Held<EXCLUSIVE> {}
// SAFETY: as above; `&Held` only reads the bytes.
unsafe impl<const EXCLUSIVE: bool> Sync for Held<EXCLUSIVE> {}

impl<const EXCLUSIVE: bool> Held<EXCLUSIVE> {
    const HOLD: Hold = if EXCLUSIVE { Hold::Exclusive } else { Hold::Shared };

    #[inline]
    fn control(&self) -> &Control {
        // SAFETY: control blocks outlive every hold: the arena's drop leaves them, if need be.
        unsafe { self.control.as_ref() }
    }

    /// Not a method: a guard whose address nobody takes stays in registers.
    #[cold]
    #[inline(never)]
    fn put(control: NonNull<Control>, listener: NonNull<Listener>) {
        // SAFETY: control blocks and the listener outlive every hold: the arena's drop leaves them, if need be.
        let (control, listener) = unsafe { (control.as_ref(), listener.as_ref()) };
        let prepare = || (listener.0.get().cloned(), control.tag());
        match control.put(Self::HOLD, prepare) {
            Some(Some((Some(told), key))) => told(key),
            Some(_) => {}
            None => debug_assert!(false, "BUG: a hold of {} was put twice", control.tag()),
        }
    }
}

impl<const EXCLUSIVE: bool> Drop for Held<EXCLUSIVE> {
    #[inline(always)]
    fn drop(&mut self) {
        if !self.control().put_quietly(self.word, Self::HOLD) {
            Self::put(self.control, self.listener);
        }
    }
}

macro_rules! guard {
    ($guard:ident) => {
        impl $guard {
            /// The object.
            pub fn key(&self) -> ObjectKey {
                self.0.control().tag()
            }
        }

        impl Deref for $guard {
            type Target = [u8];

            #[inline]
            fn deref(&self) -> &[u8] {
                let (bytes, length) = self.0.control().bytes();
                // SAFETY: a held slot keeps its tenant, for whom the arena has noted where its slot is, which stays mapped while it is
                // held; a hold of either kind keeps others from writing, and the slice does not outlive `self`.
                unsafe { std::slice::from_raw_parts(bytes, length) }
            }
        }

        impl fmt::Debug for $guard {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.debug_tuple(stringify!($guard)).field(&self.key()).finish()
            }
        }
    };
}

guard!(Shared);
guard!(Exclusive);

impl DerefMut for Exclusive {
    #[inline]
    fn deref_mut(&mut self) -> &mut [u8] {
        let (bytes, length) = self.0.control().bytes();
        // SAFETY: as in `deref`; `self` is borrowed mutably, and it is the only value that stands for the only hold.
        unsafe { std::slice::from_raw_parts_mut(bytes, length) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ArenaConfig;
    use kddm_object::{Mode, SetId};
    use parking_lot::Mutex;

    const KEY: ObjectKey = ObjectKey { set: SetId(7), object: 1 };

    fn arena_with(mode: Mode, size: u32) -> (Arena, SlotId) {
        let arena = Arena::new(ArenaConfig::new(1 << 20)).unwrap();
        let slot = arena.allocate(KEY, size, false).unwrap();
        let word = arena.load(slot);
        arena.swap(slot, word, word.with_mode(mode)).unwrap();
        (arena, slot)
    }

    #[test]
    fn guards_have_the_objects_exact_length_and_put_when_dropped() {
        let (arena, slot) = arena_with(Mode::Exclusive, 100);
        let mut writer = arena.grab(KEY).unwrap();
        assert_eq!((writer.len(), writer.key()), (100, KEY));
        writer.fill(7);
        assert_eq!(arena.get(KEY).unwrap_err(), Miss::Busy);
        drop(writer);
        let readers = (arena.get(KEY).unwrap(), arena.get(KEY).unwrap());
        assert_eq!(&*readers.0, &[7; 100]);
        assert_eq!(arena.load(slot).readers(), 2);
        drop(readers);
        assert!(!arena.load(slot).held());
    }

    #[test]
    fn the_last_put_under_revocation_tells_once() {
        let (arena, slot) = arena_with(Mode::Shared, 0);
        let told = Arc::new(Mutex::new(Vec::new()));
        let list = told.clone();
        assert!(arena.on_notify(Box::new(move |key| list.lock().push(key))));
        assert!(!arena.on_notify(Box::new(|_| {})));
        let (one, two) = (arena.get(KEY).unwrap(), arena.get(KEY).unwrap());
        let word = arena.load(slot);
        arena.swap(slot, word, word.with_revoke(true)).unwrap();
        drop(one);
        assert!(told.lock().is_empty());
        drop(two);
        assert_eq!(*told.lock(), [KEY]);
    }

    #[test]
    fn a_counted_hold_becomes_a_guard() {
        let (arena, slot) = arena_with(Mode::Exclusive, 8);
        assert_eq!(arena.try_hold(KEY, Hold::Exclusive), Ok(slot));
        arena.adopt_exclusive(slot)[0] = 5;
        assert_eq!(arena.try_hold(KEY, Hold::Shared), Ok(slot));
        assert_eq!(arena.adopt_shared(slot)[0], 5);
        assert!(!arena.load(slot).held());
    }

    #[test]
    fn a_hold_granted_under_revocation_tells_too() {
        let (arena, slot) = arena_with(Mode::Exclusive, 8);
        let told = Arc::new(Mutex::new(Vec::new()));
        let list = told.clone();
        assert!(arena.on_notify(Box::new(move |key| list.lock().push(key))));
        let word = arena.load(slot);
        let granted = word.with_revoke(true).grant(Hold::Exclusive).unwrap();
        arena.swap(slot, word, granted).unwrap();
        drop(arena.adopt_exclusive(slot));
        assert_eq!(*told.lock(), [KEY]);
    }

    #[test]
    #[should_panic(expected = "has no Shared hold")]
    fn what_is_not_held_is_not_adopted() {
        let (arena, slot) = arena_with(Mode::Shared, 8);
        arena.adopt_shared(slot);
    }

    #[test]
    fn a_guard_outlives_its_arena() {
        let (arena, slot) = arena_with(Mode::Exclusive, 4096);
        let told = Arc::new(Mutex::new(Vec::new()));
        let list = told.clone();
        assert!(arena.on_notify(Box::new(move |key| list.lock().push(key))));
        let mut guard = arena.grab(KEY).unwrap();
        let word = arena.load(slot);
        arena.swap(slot, word, word.with_revoke(true)).unwrap();
        drop(arena);
        guard.fill(3);
        assert!(guard.iter().all(|&byte| byte == 3));
        drop(guard);
        assert_eq!(*told.lock(), [KEY]);
    }
}
