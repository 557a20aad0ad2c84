//! Which objects could leave to make room.

use crate::Arena;
use crate::arena::State;
use kddm_object::limits::size_class;
use kddm_object::{Mode, ObjectKey, SlotId, Word};

/// Slots looked at per victim wanted before recently used ones are taken as well.
const PATIENCE: usize = 64;

impl Arena {
    /// Appends up to `count` objects whose eviction makes room for one of `size` bytes: unheld copies, those first that nobody
    /// used since the sweep last came by (the clock algorithm, on [`Word::used`]). If the size class has nothing to give, the
    /// objects of a slab of another class are named instead: when it is empty the class gets it, and until then nothing
    /// else is put there.
    pub fn victims(&self, size: u32, count: usize, out: &mut Vec<ObjectKey>) {
        let Some(class) = size_class(size) else { return };
        let state = &mut *self.state.lock();
        state.pool.short_of(class);
        let before = out.len();
        self.sweep(state, class, count, out);
        if out.len() == before && state.pool.slots_per_slab(class) > 0 {
            self.drain(state, class, count, out);
        }
    }

    fn sweep(&self, state: &mut State, class: usize, count: usize, out: &mut Vec<ObjectKey>) {
        let slabs = &state.pool.class(class).slabs;
        let hand = state.pool.class(class).hand;
        // Once round: from the hand to the end of its slab, the other slabs, its slab up to the hand.
        let round = slabs.range(hand.slab()..).chain(slabs.range(..=hand.slab()));
        let (mut found, mut seen, mut used, mut last) = (0, 0, Vec::new(), hand);
        let slots = round.enumerate().flat_map(|(turn, &slab)| {
            let from = if turn == 0 && slab == hand.slab() { hand.index() } else { 0 };
            let to = if turn > 0 && slab == hand.slab() { hand.index() } else { u16::MAX };
            state.pool.taken(slab).filter(move |slot| (from..=to).contains(&slot.index()))
        });
        for slot in slots {
            if found == count || (seen >= PATIENCE * count && found + used.len() >= count) {
                break;
            }
            (seen, last) = (seen + 1, slot);
            let Some((word, key)) = self.evictable(slot) else { continue };
            if !word.used() {
                out.push(key);
                found += 1;
            } else if self.swap(slot, word, word.without_used()).is_ok() && used.len() < count {
                used.push(key);
            }
        }
        out.extend(used.into_iter().take(count - found));
        let next = last
            .index()
            .checked_add(1)
            .map_or(SlotId::new(last.slab().wrapping_add(1), 0), |index| SlotId::new(last.slab(), index));
        state.pool.set_hand(class, next);
    }

    fn drain(&self, state: &mut State, class: usize, count: usize, out: &mut Vec<ObjectKey>) {
        let started = state.pool.draining_for(class);
        let all_can_go =
            |state: &State, slab| state.pool.taken(slab).all(|slot| self.evictable(slot).is_some());
        let chosen = started
            .filter(|&slab| all_can_go(state, slab))
            .or_else(|| state.pool.emptiest(class).into_iter().find(|&slab| all_can_go(state, slab)));
        let Some(slab) = chosen else {
            state.pool.stop_drain();
            return;
        };
        out.extend(
            state.pool.taken(slab).filter_map(|slot| self.evictable(slot)).map(|(_, key)| key).take(count),
        );
        if started != Some(slab) {
            state.pool.start_drain(slab, class);
        }
    }

    /// The word and object of a copy that nobody holds, fetches or revokes.
    fn evictable(&self, slot: SlotId) -> Option<(Word, ObjectKey)> {
        let control = self.control(slot)?;
        let word = control.word();
        let key = control.tenant()?;
        let idle = word.mode() != Mode::None && !word.held() && !word.revoke();
        (idle && self.lookup(key) == Some(slot)).then_some((word, key))
    }
}
