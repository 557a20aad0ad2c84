//! Which objects of a set have a copy here.

use crate::Arena;
use kddm_object::limits::SLOT_SIZES;
use kddm_object::{Mode, SetId};

impl Arena {
    /// The numbers of the objects of `set` behind `after` that have a valid copy here, ascending, `count` at most. A look at every slot in use.
    pub fn local(&self, set: SetId, after: Option<u32>, count: usize) -> Vec<u32> {
        let mut found = Vec::new();
        for class in 0..SLOT_SIZES.len() {
            let state = self.state.lock();
            let slots = state.pool.class(class).slabs.iter().flat_map(|&slab| state.pool.taken(slab));
            found.extend(slots.filter_map(|slot| {
                let control = self.control(slot)?;
                let key = control.tenant()?;
                let wanted = key.set == set && after.is_none_or(|after| key.object > after);
                (wanted && control.word().mode() != Mode::None).then_some(key.object)
            }));
        }
        found.sort_unstable();
        // While it is retained, an object may have another slot already.
        found.dedup();
        found.truncate(count);
        found
    }
}
