//! Slabs: our own, registered; a peer's, as it told of them.

use kddm_memory::Arena;
use kddm_object::{
    Location, SlotId,
    limits::{SLOT_SIZES, size_class},
};
use kddm_verbs::{Domain, Landing, Region, Source, VerbsError};
use std::sync::Arc;

/// The slabs of this node's arena.
pub(super) struct Slabs {
    arena: Arc<Arena>,
    /// By number. A slab that could not be registered cannot be READ, and nothing lands in it.
    regions: Vec<Option<Region>>,
}

impl Slabs {
    /// Registers what there is of the arena.
    ///
    /// # Errors
    /// Its first slab cannot be registered.
    pub(super) fn new(domain: &Domain, arena: Arc<Arena>) -> Result<Slabs, VerbsError> {
        let regions = (0..arena.slabs()).map(|slab| domain.register_slab(&arena, slab).map(Some));
        Ok(Slabs { regions: regions.collect::<Result<_, _>>()?, arena })
    }

    pub(super) fn arena(&self) -> &Arena {
        &self.arena
    }

    /// Registers what has been added to the arena; true if there was anything.
    pub(super) fn follow(&mut self, domain: &Domain) -> bool {
        let known = self.regions.len() as u16;
        let there = self.arena.slabs();
        for slab in known..there {
            let region = domain.register_slab(&self.arena, slab);
            if let Err(error) = &region {
                tracing::error!(slab, reason = %error, "a slab cannot be registered; READs from and to it fail");
            }
            self.regions.push(region.ok());
        }
        known < there
    }

    pub(super) fn count(&self) -> u16 {
        self.regions.len() as u16
    }

    pub(super) fn source(&self, slab: u16) -> Option<Source> {
        Some(self.regions.get(usize::from(slab))?.as_ref()?.source())
    }

    pub(super) fn landing(&self, slot: SlotId, length: u32) -> Option<Landing> {
        self.regions.get(usize::from(slot.slab()))?.as_ref()?.landing(slot, length)
    }
}

/// The slabs of a peer.
#[derive(Default)]
pub(super) struct PeerSlabs {
    slab_bytes: u32,
    limit: u16,
    /// By number.
    sources: Vec<Option<Source>>,
}

/// Where a READ begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Found {
    /// There.
    At(Source),
    /// The peer has not told of that slab yet.
    NotYet,
    /// There is no such place.
    Nowhere,
}

impl PeerSlabs {
    pub(super) fn set_geometry(&mut self, slab_bytes: u32, limit: u16) {
        (self.slab_bytes, self.limit) = (slab_bytes, limit);
    }

    /// The peer tells of slabs, from number `first` on.
    ///
    /// # Errors
    /// What it must not say.
    pub(super) fn add(&mut self, first: u16, slabs: &[(u64, u32)]) -> Result<(), String> {
        let known = self.sources.len();
        if usize::from(first) != known || known + slabs.len() > usize::from(u16::MAX) {
            return Err(format!(
                "it tells of {} slabs from {first} on, where {known} are known",
                slabs.len()
            ));
        }
        let source = |&(address, key): &(u64, u32)| (address != 0).then_some(Source { address, key });
        self.sources.extend(slabs.iter().map(source));
        Ok(())
    }

    /// Where the object of `length` bytes begins that is told to be at `place`.
    pub(super) fn find(&self, place: Location, length: u32) -> Found {
        let Some(class) = size_class(length) else { return Found::Nowhere };
        // An object lies in the smallest slot that holds it.
        let start = u64::from(place.slot.index()) * u64::from(SLOT_SIZES[class]);
        if start + u64::from(length) > u64::from(self.slab_bytes) || place.slot.slab() >= self.limit {
            return Found::Nowhere;
        }
        match self.sources.get(usize::from(place.slot.slab())) {
            None => Found::NotYet,
            Some(None) => Found::Nowhere,
            Some(Some(slab)) => match slab.address.checked_add(start + u64::from(length)) {
                Some(end) => Found::At(Source { address: end - u64::from(length), key: slab.key }),
                None => Found::Nowhere,
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use kddm_object::{Generation, NodeId};

    #[test]
    fn places_are_computed_and_bounded() {
        let mut slabs = PeerSlabs::default();
        slabs.set_geometry(1 << 20, 4);
        slabs.add(0, &[(1 << 30, 7), (0, 0)]).unwrap();
        let at = |slab, index| Location {
            node: NodeId::new(1).unwrap(),
            slot: SlotId::new(slab, index),
            generation: Generation(1),
        };
        assert_eq!(slabs.find(at(0, 3), 4096), Found::At(Source { address: (1 << 30) + 3 * 4096, key: 7 }));
        assert_eq!(slabs.find(at(0, 3), 100), Found::At(Source { address: (1 << 30) + 3 * 256, key: 7 }));
        assert_eq!(
            slabs.find(at(0, 255), 4096),
            Found::At(Source { address: (1 << 30) + 255 * 4096, key: 7 })
        );
        assert_eq!(slabs.find(at(0, 256), 4096), Found::Nowhere, "behind the slab's end");
        assert_eq!(slabs.find(at(0, 0), u32::MAX), Found::Nowhere, "no object is so long");
        assert_eq!(slabs.find(at(1, 0), 64), Found::Nowhere, "told of as unreadable");
        assert_eq!(slabs.find(at(3, 0), 64), Found::NotYet);
        assert_eq!(slabs.find(at(4, 0), 64), Found::Nowhere, "the arena has no such slab");
        slabs.add(2, &[(u64::MAX - 100, 7)]).unwrap();
        assert_eq!(slabs.find(at(2, 1), 64), Found::Nowhere, "behind all addresses");
        assert!(slabs.add(4, &[(1, 1)]).unwrap_err().contains("3 are known"));
    }
}
