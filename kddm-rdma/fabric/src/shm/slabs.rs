//! The slabs of a peer, mapped.

use kddm_memory::{PeerSlab, Unshareable};
use kddm_object::{
    Location,
    limits::{SLAB_MAX, SLAB_MIN, SLOT_SIZES, size_class},
};
use std::os::fd::OwnedFd;

/// The slabs that a peer has told of.
pub(super) struct PeerSlabs {
    slab_bytes: usize,
    limit: u16,
    /// By number.
    slabs: Vec<PeerSlab>,
}

/// Where a READ begins.
#[derive(Debug)]
pub(super) enum Found<'a> {
    /// There, at so many bytes.
    At(&'a PeerSlab, usize),
    /// The peer has not told of that slab yet.
    NotYet,
    /// There is no such place.
    Nowhere,
}

impl PeerSlabs {
    /// None yet, of so many bytes each and so many at most.
    ///
    /// # Errors
    /// That cannot be.
    pub(super) fn new(slab_bytes: u32, limit: u16) -> Result<PeerSlabs, String> {
        let slab_bytes = slab_bytes as usize;
        if !slab_bytes.is_power_of_two() || !(SLAB_MIN..=SLAB_MAX).contains(&slab_bytes) {
            return Err(format!("it tells of slabs of {slab_bytes} bytes"));
        }
        Ok(PeerSlabs { slab_bytes, limit, slabs: Vec::new() })
    }

    /// The peer tells of slabs, from number `first` on.
    ///
    /// # Errors
    /// What it must not say, or what cannot be mapped.
    pub(super) fn add(&mut self, first: u16, descriptors: Vec<OwnedFd>) -> Result<(), String> {
        let known = self.slabs.len();
        if usize::from(first) != known || known + descriptors.len() > usize::from(self.limit) {
            let (count, limit) = (descriptors.len(), self.limit);
            return Err(format!(
                "it tells of {count} slabs from {first} on, where {known} of {limit} are known"
            ));
        }
        let map = |descriptor| PeerSlab::map(descriptor, self.slab_bytes);
        let mapped: Result<Vec<_>, Unshareable> = descriptors.into_iter().map(map).collect();
        self.slabs.extend(mapped.map_err(|error| format!("a slab of its memory cannot be mapped: {error}"))?);
        Ok(())
    }

    /// Where the object of `length` bytes begins that is told to be at `place`.
    pub(super) fn find(&self, place: Location, length: u32) -> Found<'_> {
        let Some(class) = size_class(length) else { return Found::Nowhere };
        // An object lies in the smallest slot that holds it.
        let start = usize::from(place.slot.index()) * SLOT_SIZES[class] as usize;
        if start + length as usize > self.slab_bytes || place.slot.slab() >= self.limit {
            return Found::Nowhere;
        }
        match self.slabs.get(usize::from(place.slot.slab())) {
            None => Found::NotYet,
            Some(slab) => Found::At(slab, start),
        }
    }
}
