//! What of an arena is in use.

use crate::pool::{CLASSES, kept_back};
use crate::{Arena, MemoryError};
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
    /// Free slots that can be had, the reserve included.
    pub free: usize,
    /// Of these, those kept for who frees memory.
    pub reserve: usize,
}

impl Arena {
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
