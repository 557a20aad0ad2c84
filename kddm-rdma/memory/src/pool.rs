//! Which slots are free: pure bookkeeping, under the arena's lock.
//!
//! A slab is cut into slots of one class when a class needs it, and belongs to no class again when all its slots are free
//! and the class can spare it. Each class keeps a few free slots back for those who free memory (its *reserve*), in slabs of its own, where
//! no other class can take them. The last slabs go only to classes that have none, as long as a small class is without.

use kddm_object::SlotId;
use kddm_object::limits::{SLOT_SIZES, size_class};
use std::collections::BTreeSet;

/// Number of size classes.
pub(crate) const CLASSES: usize = SLOT_SIZES.len();
/// Classes up to pages of 4 KiB can count on a slab.
const SMALL: u32 = 4096;

/// One slab's slots.
struct Slab {
    class: Option<usize>,
    slots: u32,
    free: u32,
    /// A bit per slot, set if it is free.
    bits: Vec<u64>,
    /// No word of `bits` before this one has a bit set.
    lowest: usize,
}

/// One class's slabs.
#[derive(Default)]
pub(crate) struct Class {
    /// All of them.
    pub(crate) slabs: BTreeSet<u16>,
    /// Those with a free slot, but for the one being drained.
    open: BTreeSet<u16>,
    /// Slots in `slabs`.
    pub(crate) slots: usize,
    /// Free slots in `open`.
    pub(crate) free: usize,
    /// Where the sweep for victims goes on.
    pub(crate) hand: SlotId,
}

/// A slab that is being emptied, or was, for a class that has none.
#[derive(Clone, Copy)]
struct Drain {
    slab: u16,
    wanted_by: usize,
    /// How often others will still be short of memory before it ends.
    patience: u32,
}

/// A drain ends when others were short of memory this often since its class last asked: who wanted it has given up.
const PATIENCE: u32 = 1000;

/// All slabs and classes.
pub(crate) struct Pool {
    slab_bytes: usize,
    limit: usize,
    slabs: Vec<Slab>,
    classes: [Class; CLASSES],
    idle: BTreeSet<u16>,
    drain: Option<Drain>,
}

impl Pool {
    /// At most `limit` slabs of `slab_bytes`.
    pub(crate) fn new(slab_bytes: usize, limit: usize) -> Pool {
        Pool {
            slab_bytes,
            limit,
            slabs: Vec::new(),
            classes: Default::default(),
            idle: BTreeSet::new(),
            drain: None,
        }
    }

    /// A class.
    pub(crate) fn class(&self, class: usize) -> &Class {
        &self.classes[class]
    }

    /// Moves a class's hand.
    pub(crate) fn set_hand(&mut self, class: usize, hand: SlotId) {
        self.classes[class].hand = hand;
    }

    /// Slabs that were ever cut.
    pub(crate) fn created(&self) -> usize {
        self.slabs.len()
    }

    /// Slots of `class` in a slab; 0 if a slab is too small for one.
    pub(crate) fn slots_per_slab(&self, class: usize) -> usize {
        self.slab_bytes / SLOT_SIZES[class] as usize
    }

    /// A free slot of `class`, `near` if it is free. `cut` is called when a slab is given to the class: the slab, and
    /// whether it is new; it answers whether the slab can be had.
    pub(crate) fn take(
        &mut self,
        class: usize,
        reserve: bool,
        near: Option<SlotId>,
        mut cut: impl FnMut(u16, bool) -> bool,
    ) -> Option<SlotId> {
        if self.slots_per_slab(class) == 0 {
            return None;
        }
        loop {
            let left = if reserve { 0 } else { kept_back(self.classes[class].slots) };
            if self.classes[class].free > left {
                let slot = near.filter(|&slot| self.is_free(class, slot)).or_else(|| self.lowest(class))?;
                self.mark_taken(class, slot);
                return Some(slot);
            }
            self.grow(class, reserve, &mut cut)?;
        }
    }

    fn is_free(&self, class: usize, slot: SlotId) -> bool {
        self.classes[class].open.contains(&slot.slab())
            && self.slabs[usize::from(slot.slab())].is_free(slot.index())
    }

    fn lowest(&mut self, class: usize) -> Option<SlotId> {
        let slab = *self.classes[class].open.first()?;
        Some(SlotId::new(slab, self.slabs[usize::from(slab)].first_free()?))
    }

    fn mark_taken(&mut self, class: usize, slot: SlotId) {
        let slab = &mut self.slabs[usize::from(slot.slab())];
        slab.bits[usize::from(slot.index() / 64)] &= !(1 << (slot.index() % 64));
        slab.free -= 1;
        self.classes[class].free -= 1;
        if slab.free == 0 {
            self.classes[class].open.remove(&slot.slab());
        }
    }

    /// Gives `class` another slab.
    fn grow(&mut self, class: usize, reserve: bool, cut: &mut impl FnMut(u16, bool) -> bool) -> Option<()> {
        let claimed = self.drain.filter(|drain| self.idle.contains(&drain.slab));
        let slab = match claimed {
            Some(drain) if drain.wanted_by == class => {
                self.drain = None;
                drain.slab
            }
            _ => {
                let available =
                    self.limit - self.slabs.len() + self.idle.len() - usize::from(claimed.is_some());
                let kept =
                    if reserve || self.classes[class].slabs.is_empty() { 0 } else { self.kept_slabs() };
                if available <= kept {
                    return None;
                }
                let others = claimed.map(|drain| drain.slab);
                let idle = self.idle.iter().copied().find(|&slab| Some(slab) != others);
                match idle {
                    Some(slab) => slab,
                    None => u16::try_from(self.slabs.len()).ok()?,
                }
            }
        };
        let new = usize::from(slab) == self.slabs.len();
        if !cut(slab, new) {
            return None;
        }
        if new {
            self.slabs.push(Slab { class: None, slots: 0, free: 0, bits: Vec::new(), lowest: 0 });
        }
        self.idle.remove(&slab);
        let slots = self.slots_per_slab(class);
        self.slabs[usize::from(slab)].cut(class, slots as u32);
        let class = &mut self.classes[class];
        class.slabs.insert(slab);
        class.open.insert(slab);
        class.slots += slots;
        class.free += slots;
        Some(())
    }

    /// Slabs that only classes without any may take: one for each small class that has none, but no more than half.
    fn kept_slabs(&self) -> usize {
        let small = size_class(SMALL).map_or(0, |last| last + 1);
        let without = self.classes[..small].iter().filter(|class| class.slabs.is_empty()).count();
        without.min(self.limit / 2)
    }

    /// Makes a slot free.
    pub(crate) fn give(&mut self, slot: SlotId) {
        let number = slot.slab();
        let slab = &mut self.slabs[usize::from(number)];
        let Some(class) = slab.class else { return };
        let word = usize::from(slot.index() / 64);
        slab.bits[word] |= 1 << (slot.index() % 64);
        slab.free += 1;
        slab.lowest = slab.lowest.min(word);
        let (slots, empty) = (slab.slots as usize, slab.free == slab.slots);
        if self.drain.is_none_or(|drain| drain.slab != number) {
            let of = &mut self.classes[class];
            of.free += 1;
            of.open.insert(number);
            if empty && of.free - slots > kept_back(of.slots) {
                of.free -= slots;
                self.retire(number, class);
            }
        } else if empty {
            self.retire(number, class);
        }
        // Nothing is kept back for a class that has no objects at all.
        let of = &mut self.classes[class];
        if of.free == of.slots {
            of.free = 0;
            for slab in of.slabs.clone() {
                self.retire(slab, class);
            }
        }
    }

    fn retire(&mut self, number: u16, class: usize) {
        let slab = &mut self.slabs[usize::from(number)];
        slab.class = None;
        let of = &mut self.classes[class];
        of.slabs.remove(&number);
        of.open.remove(&number);
        of.slots -= slab.slots as usize;
        self.idle.insert(number);
    }

    /// How many slots of a slab are not free.
    pub(crate) fn used(&self, slab: u16) -> usize {
        self.slabs.get(usize::from(slab)).map_or(0, |slab| (slab.slots - slab.free) as usize)
    }

    /// The slots of a slab that are not free.
    pub(crate) fn taken(&self, slab: u16) -> impl Iterator<Item = SlotId> + '_ {
        let cut = self.slabs.get(usize::from(slab)).filter(|cut| cut.free < cut.slots);
        cut.into_iter().flat_map(move |cut| {
            // In u32: a slab of the smallest slots has one more than u16 can say.
            (0..cut.slots)
                .map(|index| index as u16)
                .filter(|&index| !cut.is_free(index))
                .map(move |index| SlotId::new(slab, index))
        })
    }

    /// The slab being emptied for `class`, if any is.
    pub(crate) fn draining_for(&self, class: usize) -> Option<u16> {
        self.drain.filter(|drain| drain.wanted_by == class).map(|drain| drain.slab)
    }

    /// Slabs of other classes, those with the fewest slots in use first.
    pub(crate) fn emptiest(&self, but: usize) -> Vec<u16> {
        let mut others: Vec<u16> = (0..CLASSES)
            .filter(|&class| class != but)
            .flat_map(|class| self.classes[class].slabs.iter().copied())
            .collect();
        others.sort_by_key(|&slab| {
            let slab = &self.slabs[usize::from(slab)];
            u64::from(slab.slots - slab.free) * (1 << 20) / u64::from(slab.slots.max(1))
        });
        others
    }

    /// From now on nothing is allocated in `slab`; when it is empty, `wanted_by` gets it. At most one slab at a time.
    pub(crate) fn start_drain(&mut self, slab: u16, wanted_by: usize) {
        self.stop_drain();
        let of = &self.slabs[usize::from(slab)];
        let Some(class) = of.class else { return };
        let (free, empty) = (of.free as usize, of.free == of.slots);
        self.drain = Some(Drain { slab, wanted_by, patience: PATIENCE });
        if self.classes[class].open.remove(&slab) {
            self.classes[class].free -= free;
        }
        if empty {
            self.retire(slab, class);
        }
    }

    /// `class` is short of memory: if a slab is being emptied, it goes on for its own class and ends in time for others.
    pub(crate) fn short_of(&mut self, class: usize) {
        let Some(drain) = &mut self.drain else { return };
        if drain.wanted_by == class {
            drain.patience = PATIENCE;
        } else if drain.patience > 0 {
            drain.patience -= 1;
        } else {
            self.stop_drain();
        }
    }

    /// The slab being emptied, or kept for who wanted it, is as any other again.
    pub(crate) fn stop_drain(&mut self) {
        let Some(drain) = self.drain.take() else { return };
        let slab = &self.slabs[usize::from(drain.slab)];
        if let Some(class) = slab.class.filter(|_| slab.free > 0) {
            self.classes[class].open.insert(drain.slab);
            self.classes[class].free += slab.free as usize;
        }
    }
}

impl Slab {
    fn cut(&mut self, class: usize, slots: u32) {
        (self.class, self.slots, self.free, self.lowest) = (Some(class), slots, slots, 0);
        self.bits.clear();
        self.bits.resize(slots.div_ceil(64) as usize, u64::MAX);
        if !slots.is_multiple_of(64) {
            self.bits[(slots / 64) as usize] = (1 << (slots % 64)) - 1;
        }
    }

    fn is_free(&self, index: u16) -> bool {
        self.bits.get(usize::from(index / 64)).is_some_and(|word| word & (1 << (index % 64)) != 0)
    }

    fn first_free(&mut self) -> Option<u16> {
        let ahead = self.bits[self.lowest..].iter().position(|&word| word != 0)?;
        self.lowest += ahead;
        u16::try_from(self.lowest * 64 + self.bits[self.lowest].trailing_zeros() as usize).ok()
    }
}

/// Free slots that a class of `slots` keeps for those who free memory.
pub(crate) fn kept_back(slots: usize) -> usize {
    (slots / 16).max(4).min(slots / 2)
}

// Safe code of one thread: nothing for miri.
#[cfg(all(test, not(miri)))]
mod tests;
