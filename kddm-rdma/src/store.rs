//! The core's memory: the arena, and the families' policies.

use crate::{family::Families, quarantine::Quarantine};
use kddm_coherence::{Inline, Store};
use kddm_memory::Arena;
use kddm_object::{Generation, ObjectKey, SetId, SetPolicy, SlotId, Word, limits::INLINE_MAX};

/// What one step of the core sees of the node.
pub(crate) struct Memory<'a> {
    pub(crate) arena: &'a Arena,
    pub(crate) families: &'a Families,
    pub(crate) quarantine: &'a mut Quarantine,
    /// The size classes of the slots that became free, a bit each.
    pub(crate) freed: &'a mut u8,
}

impl Store for Memory<'_> {
    fn policy(&self, set: SetId) -> Option<SetPolicy> {
        self.families.policy(set)
    }

    fn allocate(&mut self, key: ObjectKey, size: u32, reserve: bool) -> Option<SlotId> {
        self.arena.allocate(key, size, reserve)
    }

    fn room(&self, size: u32) -> u32 {
        self.arena.usage().room(size) / 2
    }

    fn retain(&mut self, slot: SlotId) {
        self.arena.retain(slot);
    }

    fn restore(&mut self, slot: SlotId) {
        self.arena.restore(slot);
    }

    fn release(&mut self, slot: SlotId) {
        let class = self.arena.slot_size(slot).and_then(kddm_object::limits::size_class);
        if self.quarantine.release(self.arena, slot) {
            *self.freed |= class.map_or(0, |class| 1 << class);
        }
    }

    fn generation(&self, slot: SlotId) -> Generation {
        self.arena.generation(slot)
    }

    fn load(&self, slot: SlotId) -> Word {
        self.arena.load(slot)
    }

    fn swap(&mut self, slot: SlotId, old: Word, new: Word) -> Result<(), Word> {
        self.arena.swap(slot, old, new)
    }

    fn take(&self, slot: SlotId, size: u32) -> Inline {
        let mut bytes = [0; INLINE_MAX];
        let bytes = &mut bytes[..(size as usize).min(INLINE_MAX)];
        let copied = self.arena.copy_out(slot, self.arena.generation(slot), bytes);
        debug_assert!(copied, "BUG: the core took bytes of {slot:?}, which has no {size}");
        Inline::new(bytes).expect("BUG: cut to INLINE_MAX above")
    }

    fn clear(&mut self, slot: SlotId, size: u32) {
        const ZEROS: [u8; 4096] = [0; 4096];
        let size = size as usize;
        for offset in (0..size).step_by(ZEROS.len()) {
            let cleared = self.arena.copy_in(slot, offset, &ZEROS[..ZEROS.len().min(size - offset)]);
            debug_assert!(cleared, "BUG: the core cleared {slot:?} beyond its end");
        }
    }

    fn fill(&mut self, slot: SlotId, bytes: &Inline) {
        let copied = self.arena.copy_in(slot, 0, bytes.as_slice());
        debug_assert!(copied, "BUG: the core filled {slot:?} with more than it holds");
    }
}
