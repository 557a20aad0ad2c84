//! The private control block of a slot: its state word and whose bytes it holds.
//!
//! **Orderings.** The word decides everything; the tag is read beside it.
//! - A tenancy begins: tag (Release), then the word of the new generation with mode *none* (Release). Nobody can hold it
//!   before the engine swaps a mode in (Release), after the bytes are there.
//! - A hit loads the word (Acquire), so it sees the tag of that tenancy or of a later one, then reads the tag (Acquire: if it
//!   is a later one, the later word is visible too and the swap below fails), then swaps the word it loaded (Acquire: it
//!   sees the bytes that the last put or the engine published). The word carries the generation, so the swap succeeds only
//!   within the tenancy whose tag was compared: a hold never lands on another tenant and nothing has to be withdrawn.
//!   (A generation comes again after 2^31 tenancies of one slot; no thread sleeps that long between two instructions.)
//! - A put swaps with Release: its reads and writes come before whatever the next holder, or the engine, does.
//! - Revocation needs no fence: "revoked" and "held" are bits of one word, so either the engine sees the hold or the holder
//!   sees the revocation.

use crate::fault::{Fault, planted, unless};
use crate::sync::{AtomicPtr, AtomicU32, AtomicU64, fence};
use kddm_object::{Generation, Hold, ObjectKey, Refused, Release, SetId, Word};
use std::ptr::NonNull;
use std::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed, Release as Publish};

/// A control block. All zeros is a free slot of generation 0.
#[repr(C, align(32))]
#[derive(Default)]
pub(crate) struct Control {
    word: AtomicU64,
    set: AtomicU64,
    object: AtomicU32,
    size: AtomicU32,
    bytes: AtomicPtr<u8>,
}

#[cfg(not(feature = "interleave"))]
const _: () = assert!(size_of::<Control>() == 32, "two to a cache line, none across two");

/// Why a hold was not taken.
pub(crate) enum Missed {
    /// The word says so.
    Refused(Refused),
    /// The slot went to another tenant meanwhile.
    Gone,
}

impl Control {
    /// The state word.
    #[inline]
    pub(crate) fn word(&self) -> Word {
        Word(self.word.load(Acquire))
    }

    /// Whether the bytes are `key`'s. Meaningful together with a word that was loaded before.
    #[inline]
    pub(crate) fn is(&self, key: ObjectKey) -> bool {
        self.object.load(Acquire) == key.object && self.set.load(Acquire) == key.set.0
    }

    /// Whose bytes these are, for who knows that the tenancy does not end.
    pub(crate) fn tag(&self) -> ObjectKey {
        ObjectKey::new(SetId(self.set.load(Acquire)), self.object.load(Acquire))
    }

    /// Where the object's bytes are and how many, for who knows that the tenancy does not end.
    #[inline]
    pub(crate) fn bytes(&self) -> (*mut u8, usize) {
        (self.bytes.load(Relaxed), self.size.load(Relaxed) as usize)
    }

    /// Whose bytes these are, or `None` if the slot is free.
    pub(crate) fn tenant(&self) -> Option<ObjectKey> {
        loop {
            let word = self.word();
            let key = self.tag();
            if self.word().generation() == word.generation() {
                return tenanted(word.generation()).then_some(key);
            }
        }
    }

    /// Gives the free slot to `key`, of `size` bytes at `bytes`. Only one thread at a time (the arena's lock).
    pub(crate) fn occupy(&self, key: ObjectKey, bytes: NonNull<u8>, size: u32) {
        let generation = self.word().generation().next();
        debug_assert!(tenanted(generation), "BUG: a slot with a tenant was given away");
        self.set.store(key.set.0, Publish);
        self.object.store(key.object, Publish);
        self.bytes.store(bytes.as_ptr(), Relaxed);
        self.size.store(size, Relaxed);
        self.word.store(Word::new(generation).0, Publish);
        // What the engine writes into the slot from here on is seen after the new generation, by a late READ of the old one.
        fence(Publish);
    }

    /// Ends the tenancy, unless somebody holds the slot or it is free already; then nothing is changed.
    pub(crate) fn vacate(&self) -> Result<(), Word> {
        let mut word = self.word();
        loop {
            if word.held() || !tenanted(word.generation()) {
                return Err(word);
            }
            match self.swap(word, Word::new(word.generation().next())) {
                Ok(()) => return Ok(()),
                Err(now) => word = now,
            }
        }
    }

    /// Swaps the word if it is `old`.
    #[inline]
    pub(crate) fn swap(&self, old: Word, new: Word) -> Result<(), Word> {
        if planted(Fault::StoreForSwap) {
            self.word.store(new.0, Publish);
            return Ok(());
        }
        self.word.compare_exchange(old.0, new.0, AcqRel, Acquire).map(drop).map_err(Word)
    }

    /// Takes a hold in the tenancy of `seen`, and gives the word as it is then.
    #[inline]
    pub(crate) fn hold(&self, seen: Word, hold: Hold) -> Result<Word, Missed> {
        let held = seen.hold(hold).map_err(Missed::Refused)?;
        match self.word.compare_exchange(seen.0, held.0, unless(Fault::RelaxedHold, Acquire), Relaxed) {
            Ok(_) => Ok(held),
            Err(now) => self.hold_later(seen, Word(now), hold),
        }
    }

    /// As `hold`, after others have changed the word to `now`.
    #[cold]
    fn hold_later(&self, seen: Word, mut now: Word, hold: Hold) -> Result<Word, Missed> {
        while now.generation() == seen.generation() || planted(Fault::AnyTenancy) {
            let held = now.hold(hold).map_err(Missed::Refused)?;
            match self.word.compare_exchange_weak(now.0, held.0, Acquire, Relaxed) {
                Ok(_) => return Ok(held),
                Err(word) => now = Word(word),
            }
        }
        Err(Missed::Gone)
    }

    /// Ends a hold at once, if the word is still `seen` and nobody waits to hear of it. Else nothing is changed.
    #[inline]
    pub(crate) fn put_quietly(&self, seen: Word, hold: Hold) -> bool {
        // No load of the word here: a locked instruction has just written it, and would have to be waited for.
        match seen.release(hold) {
            Some((left, Release::Quiet)) => {
                let publish = unless(Fault::RelaxedPut, Publish);
                self.word.compare_exchange(seen.0, left.0, publish, Relaxed).is_ok()
            }
            _ => false,
        }
    }

    /// Ends a hold. `None` if there is no such hold; `Some(Some(_))` if the engine waits to hear of it. What is needed to tell
    /// it is fetched by `prepare`, before the hold ends: afterwards the tenancy may end, and the whole arena with it.
    pub(crate) fn put<T>(&self, hold: Hold, mut prepare: impl FnMut() -> T) -> Option<Option<T>> {
        let publish = unless(Fault::RelaxedPut, Publish);
        let mut word = Word(self.word.load(Relaxed));
        let first = word.release(hold)?.1;
        loop {
            let (left, told) = word.release(hold)?;
            let told = if planted(Fault::StaleRelease) { first } else { told };
            let prepared = (told == Release::Notify).then(&mut prepare);
            match self.word.compare_exchange_weak(word.0, left.0, publish, Relaxed) {
                Ok(_) => return Some(prepared),
                Err(now) => word = Word(now),
            }
        }
    }
}

/// Slots are tenanted in odd generations and free in even ones, so that neither a location nor a prepared swap outlives the
/// tenancy by even an instant.
#[inline]
pub(crate) const fn tenanted(generation: Generation) -> bool {
    generation.0 % 2 == 1
}
