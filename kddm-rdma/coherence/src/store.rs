//! The node's memory, as the core sees it.

use crate::Inline;
use kddm_object::{Generation, ObjectKey, SetId, SetPolicy, SlotId, Word};

/// The node's slots and their state words. Implemented by `kddm-memory` (through `kddm-rdma`) and by the model.
pub trait Store {
    /// The policy of a set; `None` if there is no such set.
    fn policy(&self, set: SetId) -> Option<SetPolicy>;

    /// Gives a free slot to `key`: word [`Word::new`] with a new generation, indexed so that hits find it. `None` if all
    /// are taken; ordinary callers (`reserve` false) leave the last few to those who free memory.
    fn allocate(&mut self, key: ObjectKey, size: u32, reserve: bool) -> Option<SlotId>;

    /// How many slots for objects of that size this node can spare for objects that others have no memory for.
    fn room(&self, size: u32) -> u32;

    /// Takes the slot out of the index; its bytes stay readable by peers until it is released.
    fn retain(&mut self, slot: SlotId);

    /// Puts a retained slot back into the index: it is a copy again.
    fn restore(&mut self, slot: SlotId);

    /// Makes the slot free. Nobody holds it, no READ to or from it is under way.
    fn release(&mut self, slot: SlotId);

    /// The slot's generation.
    fn generation(&self, slot: SlotId) -> Generation;

    /// The state word.
    fn load(&self, slot: SlotId) -> Word;

    /// Swaps the state word if it is still `old`.
    ///
    /// # Errors
    /// The word as it is now.
    fn swap(&mut self, slot: SlotId, old: Word, new: Word) -> Result<(), Word>;

    /// The first `size` bytes of a slot, to ride in a message. `size` is at most [`kddm_object::limits::INLINE_MAX`].
    fn take(&self, slot: SlotId, size: u32) -> Inline;

    /// Makes the first `size` bytes of a slot that nobody holds zero.
    fn clear(&mut self, slot: SlotId, size: u32);

    /// Puts bytes that rode in a message into a slot that nobody holds.
    fn fill(&mut self, slot: SlotId, bytes: &Inline);
}
