//! What of an arena is in use.

use crate::control::Control;
use crate::pool::{CLASSES, kept_back};
use crate::{Arena, MemoryError};
use kddm_object::SlotId;
use kddm_object::limits::SLOT_SIZES;

/// What of an arena is in use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Usage {
    /// Bytes that it may have.
    pub capacity: usize,
    /// Bytes of a slab.
    pub slab_bytes: usize,
    /// Slabs that it may have.
    pub slabs_limit: usize,
    /// Slabs that were cut so far.
    pub slabs: usize,
    /// Slots by size class.
    pub classes: [ClassUsage; CLASSES],
    /// Objects that lookups find (slots in use, but for retained ones).
    pub objects: usize,
    /// Bytes of the index's current table.
    pub index_bytes: usize,
    /// Why the kernel last refused a slab.
    pub trouble: Option<MemoryError>,
}

impl Usage {
    /// How many objects of `size` bytes would find a slot now: free ones, but for the reserve, and those of slabs that are not cut yet.
    pub fn room(&self, size: u32) -> u32 {
        let Some(class) = kddm_object::limits::size_class(size).map(|class| &self.classes[class]) else {
            return 0;
        };
        let cut: usize = self.classes.iter().map(|class| class.slabs).sum();
        let uncut = self.slabs_limit.saturating_sub(cut) * (self.slab_bytes / class.slot_size as usize);
        u32::try_from(class.free.saturating_sub(class.reserve) + uncut).unwrap_or(u32::MAX)
    }
}

/// What of a size class is in use.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ClassUsage {
    /// Bytes of a slot.
    pub slot_size: u32,
    /// Slabs that serve the class.
    pub slabs: usize,
    /// Slots in them.
    pub slots: usize,
    /// Slots with a tenant, and those that are retired.
    pub used: usize,
    /// Free slots that can be had, the reserve included.
    pub free: usize,
    /// Of these, those kept for who frees memory.
    pub reserve: usize,
}

/// Who holds what, counted while everybody goes on: each hold was there at some moment of the count.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Holds {
    /// Shared holds.
    pub shared: u64,
    /// Exclusive holds.
    pub exclusive: u64,
    /// Objects that are revoked: somebody waits for the end of their holds.
    pub revoked: u64,
}

impl Arena {
    /// Counts holds, by a look at each slot that is in use. The lock is taken for one slab at a time, and not while words are looked at.
    pub fn holds(&self) -> Holds {
        let mut holds = Holds::default();
        for slab in 0..self.slabs() {
            let taken: Vec<SlotId> = self.state.lock().pool.taken(slab).collect();
            for word in taken.into_iter().filter_map(|slot| self.control(slot)).map(Control::word) {
                holds.shared += u64::from(word.readers());
                holds.exclusive += u64::from(word.writer());
                holds.revoked += u64::from(word.revoke() && word.held());
            }
        }
        holds
    }

    /// What is in use.
    pub fn usage(&self) -> Usage {
        let state = self.state.lock();
        let config = self.config();
        let (entries, objects) = self.index.size(&state.writer);
        let mut classes = [ClassUsage::default(); CLASSES];
        for (number, usage) in classes.iter_mut().enumerate() {
            let class = state.pool.class(number);
            *usage = ClassUsage {
                slot_size: SLOT_SIZES[number],
                slabs: class.slabs.len(),
                slots: class.slots,
                used: class.slabs.iter().map(|&slab| state.pool.used(slab)).sum(),
                free: class.free,
                reserve: kept_back(class.slots),
            };
        }
        Usage {
            capacity: config.bytes,
            slab_bytes: config.slab_bytes,
            slabs_limit: config.bytes / config.slab_bytes,
            slabs: state.pool.created(),
            classes,
            objects,
            index_bytes: entries * size_of::<u64>(),
            trouble: state.trouble,
        }
    }
}

#[cfg(all(test, not(miri)))]
mod tests {
    use super::*;
    use crate::ArenaConfig;
    use kddm_object::{Mode, ObjectKey, SetId};

    #[test]
    fn what_is_used_and_held_is_counted() {
        let arena = Arena::new(ArenaConfig::new(1 << 20)).unwrap();
        let key = |object| ObjectKey::new(SetId(7), object);
        let slots = [1, 2, 3].map(|object| arena.allocate(key(object), 4096, false).unwrap());
        for slot in slots {
            let word = arena.load(slot);
            arena.swap(slot, word, word.with_mode(Mode::Exclusive)).unwrap();
        }
        let holds = (arena.get(key(1)).unwrap(), arena.get(key(1)).unwrap(), arena.grab(key(2)).unwrap());
        let word = arena.load(slots[0]);
        arena.swap(slots[0], word, word.with_revoke(true)).unwrap();
        assert_eq!(arena.holds(), Holds { shared: 2, exclusive: 1, revoked: 1 });
        drop(holds);
        assert_eq!(arena.holds(), Holds::default());
        let pages = |arena: &Arena| arena.usage().classes[3];
        assert_eq!((pages(&arena).used, pages(&arena).slots - pages(&arena).free), (3, 3));
        arena.retain(slots[1]);
        arena.release(slots[2]);
        assert_eq!((pages(&arena).used, arena.usage().objects), (2, 1), "one of the two is retained");
    }
}
