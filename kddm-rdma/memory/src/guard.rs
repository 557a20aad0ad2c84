//! Holds as values: whoever has one may look at, or change, the object's bytes; dropping it is the put.

use crate::{Arena, Miss};
use kddm_object::{Hold, ObjectKey, Release, SlotId};
use std::fmt;
use std::ops::{Deref, DerefMut};
use std::sync::Arc;

/// Who is told that the last hold of a slot under revocation was put.
pub(crate) type OnNotify = Box<dyn Fn(ObjectKey) + Send + Sync>;

/// A shared hold. Until it is dropped, nobody changes the object, anywhere.
pub struct Shared(Held);

/// An exclusive hold. Until it is dropped, nobody else has any hold of the object, anywhere.
pub struct Exclusive(Held);

/// A hold that is counted in the word of `slot`, and is ended by the one value that stands for it.
struct Held {
    arena: Arc<Arena>,
    slot: SlotId,
    length: u32,
    hold: Hold,
}

impl Arena {
    /// Sets who is told of a put that leaves a slot revoked and unheld ([`Release::Notify`]). It is told by the thread that
    /// dropped the guard. False, and nothing is changed, if somebody is told already.
    pub fn on_notify(&self, told: Box<dyn Fn(ObjectKey) + Send + Sync>) -> bool {
        self.on_notify.set(told).is_ok()
    }

    /// Takes a shared hold by the state word alone.
    ///
    /// # Errors
    /// Why the engine has to be asked.
    #[inline]
    pub fn get(self: &Arc<Arena>, key: ObjectKey) -> Result<Shared, Miss> {
        self.try_hold(key, Hold::Shared).map(|slot| self.adopt_shared(slot))
    }

    /// Takes an exclusive hold by the state word alone.
    ///
    /// # Errors
    /// Why the engine has to be asked.
    #[inline]
    pub fn grab(self: &Arc<Arena>, key: ObjectKey) -> Result<Exclusive, Miss> {
        self.try_hold(key, Hold::Exclusive).map(|slot| self.adopt_exclusive(slot))
    }

    /// The guard of a shared hold that the engine has counted in the word, for whoever asked for it. Like [`Arena::swap`] this is the
    /// engine's: the arena believes that each counted hold is adopted once.
    ///
    /// # Panics
    /// If the word counts no shared hold: a bug of the engine.
    #[inline]
    pub fn adopt_shared(self: &Arc<Arena>, slot: SlotId) -> Shared {
        assert!(self.load(slot).readers() > 0, "BUG: {slot:?} is not held shared");
        Shared(self.held(slot, Hold::Shared))
    }

    /// The guard of an exclusive hold that the engine has counted in the word; as [`Arena::adopt_shared`].
    ///
    /// # Panics
    /// If the word counts no exclusive hold: a bug of the engine.
    #[inline]
    pub fn adopt_exclusive(self: &Arc<Arena>, slot: SlotId) -> Exclusive {
        assert!(self.load(slot).writer(), "BUG: {slot:?} is not held exclusively");
        Exclusive(self.held(slot, Hold::Exclusive))
    }

    #[inline]
    fn held(self: &Arc<Arena>, slot: SlotId, hold: Hold) -> Held {
        Held { arena: self.clone(), slot, length: self.known(slot).length(), hold }
    }
}

impl Held {
    fn key(&self) -> ObjectKey {
        // A held slot keeps its tenant.
        self.arena.key_of(self.slot).unwrap_or_default()
    }
}

impl Drop for Held {
    #[inline]
    fn drop(&mut self) {
        // Asked before the put: afterwards the slot may be somebody else's. The word is loaded for it only when it matters.
        let key = self.arena.load(self.slot).revoke().then(|| self.key());
        if self.arena.put(self.slot, self.hold) == Release::Notify {
            self.arena.notify(key, self.slot);
        }
    }
}

impl Arena {
    /// Revoked and unheld: the slot stays its tenant's until the engine has heard of it, so its key can be read late as well.
    #[cold]
    fn notify(&self, key: Option<ObjectKey>, slot: SlotId) {
        if let (Some(told), Some(key)) = (self.on_notify.get(), key.or_else(|| self.key_of(slot))) {
            told(key);
        }
    }
}

impl Shared {
    /// The object.
    pub fn key(&self) -> ObjectKey {
        self.0.key()
    }
}

impl Exclusive {
    /// The object.
    pub fn key(&self) -> ObjectKey {
        self.0.key()
    }
}

impl Deref for Shared {
    type Target = [u8];

    #[inline]
    fn deref(&self) -> &[u8] {
        // SAFETY: the word counts this shared hold as long as `self` lives, and the slice does not outlive `self`.
        unsafe { self.0.arena.bytes(self.0.slot, self.0.length as usize) }
    }
}

impl Deref for Exclusive {
    type Target = [u8];

    #[inline]
    fn deref(&self) -> &[u8] {
        // SAFETY: the word counts this exclusive hold as long as `self` lives, and the slice does not outlive `self`.
        unsafe { self.0.arena.bytes(self.0.slot, self.0.length as usize) }
    }
}

impl DerefMut for Exclusive {
    #[inline]
    fn deref_mut(&mut self) -> &mut [u8] {
        // SAFETY: as in `deref`; `self` is borrowed mutably, and it is the only value that stands for the only hold.
        unsafe { self.0.arena.bytes_mut(self.0.slot, self.0.length as usize) }
    }
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Shared").field(&self.key()).finish()
    }
}

impl fmt::Debug for Exclusive {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Exclusive").field(&self.key()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ArenaConfig;
    use kddm_object::{Mode, SetId};
    use parking_lot::Mutex;

    const KEY: ObjectKey = ObjectKey { set: SetId(7), object: 1 };

    fn arena_with(mode: Mode, size: u32) -> (Arc<Arena>, SlotId) {
        let arena = Arc::new(Arena::new(ArenaConfig::new(1 << 20)).unwrap());
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
}
