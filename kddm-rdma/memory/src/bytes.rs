//! The bytes of a slot: for its holders as slices, for READs of peers as copies that may race with anything.

use crate::control::tenanted;
use crate::{Arena, PeerSlab};
use kddm_object::{Generation, SlotId};
use std::ptr::NonNull;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};
use std::sync::atomic::{AtomicU64, fence};

/// READs copy by words of this many bytes. Slots are made of whole ones.
pub(crate) const WORD: usize = size_of::<u64>();

impl Arena {
    /// The first `length` bytes of a slot.
    ///
    /// # Panics
    /// If the slot is shorter, or none of this arena.
    ///
    /// # Safety
    /// For as long as the slice lives, the caller has a hold, or is the engine with a slot that nobody holds exclusively;
    /// nothing is copied in.
    #[inline]
    pub unsafe fn bytes(&self, slot: SlotId, length: usize) -> &[u8] {
        let first = self.start(slot, length);
        // SAFETY: `start` has checked that the bytes are in the arena's space; nobody writes them
        // (the caller's promise).
        unsafe { std::slice::from_raw_parts(first.as_ptr(), length) }
    }

    /// The first `length` bytes of a slot, to be changed.
    ///
    /// # Panics
    /// As [`Arena::bytes`].
    ///
    /// # Safety
    /// For as long as the slice lives, the caller has the exclusive hold, or is the engine with a slot that nobody holds;
    /// nothing is copied in, and no READ that its requester will believe is served from the slot.
    #[inline]
    #[allow(clippy::mut_from_ref)]
    pub unsafe fn bytes_mut(&self, slot: SlotId, length: usize) -> &mut [u8] {
        let first = self.start(slot, length);
        // SAFETY: as in `bytes`; nobody else reads or writes them (the caller's promise).
        unsafe { std::slice::from_raw_parts_mut(first.as_ptr(), length) }
    }

    /// The first byte of a slot that has `length` of them.
    #[inline]
    pub(crate) fn start(&self, slot: SlotId, length: usize) -> NonNull<u8> {
        match self.space.bytes(slot, 0, length) {
            Some(first) => first,
            None => panic!("BUG: {slot:?} does not have {length} bytes"),
        }
    }

    /// Serves a peer's READ: copies the first bytes of a slot, as many as fit `into`. False, with anything in `into`, if the
    /// slot does not exist, is shorter, or is not in that generation from the first byte to the last.
    ///
    /// Like a NIC it asks nobody: bytes that are being written come torn, and the protocol knows which READs to believe. Every
    /// access is atomic, so that a race with [`Arena::copy_in`] has a defined meaning; a race with a holder's plain writes is the one
    /// that any one-sided READ has, and its bytes are not believed.
    #[must_use]
    pub fn copy_out(&self, slot: SlotId, generation: Generation, into: &mut [u8]) -> bool {
        let Some(control) = self.control(slot) else { return false };
        let generation = self.meant(generation);
        if control.word().generation() != generation || !tenanted(generation) {
            return false;
        }
        let Some(words) = self.words(slot, 0, into.len()) else { return false };
        load(words, 0, into);
        // The loads above come before the one below: if the slot was given away meanwhile, the generation tells.
        fence(Acquire);
        control.word().generation() == generation
    }

    /// Copies `from` into a slot at `offset`: a READ that lands, or bytes that rode in a message. False, and nothing is changed,
    /// if the slot is free, is held, or has not that many bytes there.
    #[must_use]
    pub fn copy_in(&self, slot: SlotId, offset: usize, from: &[u8]) -> bool {
        let Some(word) = self.control(slot).map(|control| control.word()) else { return false };
        if word.held() || !tenanted(word.generation()) {
            return false;
        }
        let Some(words) = self.words(slot, offset, from.len()) else { return false };
        // Whoever reads one of the words below sees, after its own fence, the generation that they belong to.
        fence(Release);
        store(words, offset % WORD, from);
        true
    }

    /// A READ that this process carries out itself: copies `length` bytes at `from` of a peer's slab into a slot at `offset`, in whole words
    /// of eight bytes, in which both begin. False, and nothing is changed, where [`Arena::copy_in`] would change nothing, or where the slab
    /// ends before.
    #[must_use]
    pub fn copy_across(
        &self,
        slot: SlotId,
        offset: usize,
        slab: &PeerSlab,
        from: usize,
        length: usize,
    ) -> bool {
        let Some(word) = self.control(slot).map(|control| control.word()) else { return false };
        let length = length.next_multiple_of(WORD);
        if word.held() || !tenanted(word.generation()) || !offset.is_multiple_of(WORD) {
            return false;
        }
        let (Some(landing), Some(source)) = (self.words(slot, offset, length), slab.words(from, length))
        else {
            return false;
        };
        // As in `copy_in`.
        fence(Release);
        for (to, from) in landing.iter().zip(source) {
            to.store(from.load(Relaxed), Relaxed);
        }
        true
    }

    /// Where a READ that a device carries out lands: the first of `length` bytes. `None` where [`Arena::copy_in`] would change nothing.
    ///
    /// The bytes are the device's from when the READ is posted until it is over; nobody takes a hold or frees the slot meanwhile.
    #[must_use]
    pub fn landing(&self, slot: SlotId, length: usize) -> Option<NonNull<u8>> {
        let word = self.control(slot)?.word();
        if word.held() || !tenanted(word.generation()) {
            return None;
        }
        self.space.bytes(slot, 0, length)
    }

    /// The words that contain `length` bytes of a slot from `offset` on.
    fn words(&self, slot: SlotId, offset: usize, length: usize) -> Option<&[AtomicU64]> {
        self.space.bytes(slot, offset, length)?;
        let first = offset / WORD;
        let count = (offset + length).div_ceil(WORD) - first;
        let start = self.space.bytes(slot, first * WORD, 0)?;
        // SAFETY: the bytes are in the slot (`Space::bytes`) and slots begin and end at multiples of 64, so the words around them
        // are in it too, aligned, in a mapping that lives as long as the arena. Any bytes are a valid AtomicU64.
        Some(unsafe { std::slice::from_raw_parts(start.as_ptr().cast::<AtomicU64>(), count) })
    }
}

/// Copies the bytes of `words` from byte `skip` of the first on.
#[inline]
pub(crate) fn load(words: &[AtomicU64], mut skip: usize, into: &mut [u8]) {
    if skip == 0 && into.len() == size_of_val(words) {
        for (word, part) in words.iter().zip(into.as_chunks_mut().0) {
            *part = word.load(Relaxed).to_ne_bytes();
        }
        return;
    }
    let mut rest = into;
    for word in words {
        let (part, after) = rest.split_at_mut(rest.len().min(WORD - skip));
        part.copy_from_slice(&word.load(Relaxed).to_ne_bytes()[skip..skip + part.len()]);
        (skip, rest) = (0, after);
    }
}

/// Copies `from` into `words` from byte `skip` of the first on. Nobody else changes them meanwhile, or those at the ends are torn.
#[inline]
pub(crate) fn store(words: &[AtomicU64], mut skip: usize, from: &[u8]) {
    if skip == 0 && from.len() == size_of_val(words) {
        for (word, part) in words.iter().zip(from.as_chunks().0) {
            word.store(u64::from_ne_bytes(*part), Relaxed);
        }
        return;
    }
    let mut rest = from;
    for word in words {
        let (part, after) = rest.split_at(rest.len().min(WORD - skip));
        if part.len() == WORD {
            let mut whole = [0; WORD];
            whole.copy_from_slice(part);
            word.store(u64::from_ne_bytes(whole), Relaxed);
        } else {
            let mut bytes = word.load(Relaxed).to_ne_bytes();
            bytes[skip..skip + part.len()].copy_from_slice(part);
            word.store(u64::from_ne_bytes(bytes), Relaxed);
        }
        (skip, rest) = (0, after);
    }
}
