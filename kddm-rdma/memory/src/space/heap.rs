//! The arena's address space on the heap, where there are no mappings: under miri, and where interleavings are explored.

use crate::MemoryError;
use crate::control::Control;
use crate::sync::AtomicU8;
use kddm_object::SlotId;
use kddm_object::limits::SLOT_SIZES;
use std::cell::UnsafeCell;
use std::os::fd::OwnedFd;
use std::ptr::NonNull;
use std::sync::OnceLock;
use std::sync::atomic::Ordering::Relaxed;

/// As `space::Space`.
pub(crate) struct Space {
    slabs: Box<[OnceLock<Slab>]>,
    slab_bytes: usize,
    classes: Box<[AtomicU8]>,
}

struct Slab {
    controls: Box<[Control]>,
    lines: UnsafeCell<Box<[Line]>>,
}

#[derive(Clone, Copy)]
#[repr(align(64))]
#[allow(dead_code, reason = "reached by addresses")]
struct Line([u8; 64]);

/// Each block is made anew for every interleaving: only as many as are used.
const EXPLORED: usize = 3;

// SAFETY: the bytes are shared by the rules of control blocks, as those of mapped slabs are.
unsafe impl Send for Slab {}
// SAFETY: as above.
unsafe impl Sync for Slab {}

/// Stands for a memfd.
pub(crate) struct Descriptor;

impl Descriptor {
    pub(crate) fn try_clone(&self) -> std::io::Result<OwnedFd> {
        Err(std::io::ErrorKind::Unsupported.into())
    }
}

impl Space {
    pub(crate) fn reserve(slabs: usize, slab_bytes: usize) -> Result<Space, MemoryError> {
        let classes = (0..slabs).map(|_| AtomicU8::new(0)).collect();
        Ok(Space { slabs: (0..slabs).map(|_| OnceLock::new()).collect(), slab_bytes, classes })
    }

    pub(crate) fn map(&self, slab: u16) -> Result<Descriptor, MemoryError> {
        let blocks =
            if cfg!(feature = "interleave") { EXPLORED } else { self.slab_bytes / SLOT_SIZES[0] as usize };
        let lines = vec![Line([0; 64]); self.slab_bytes / 64].into_boxed_slice();
        let controls = (0..blocks).map(|_| Control::default()).collect();
        self.slabs[usize::from(slab)].get_or_init(|| Slab { controls, lines: UnsafeCell::new(lines) });
        Ok(Descriptor)
    }

    pub(crate) fn set_class(&self, slab: u16, class: usize) {
        self.classes[usize::from(slab)].store(class as u8, Relaxed);
    }

    pub(crate) fn control(&self, slot: SlotId) -> Option<&Control> {
        self.slabs.get(usize::from(slot.slab()))?.get()?.controls.get(usize::from(slot.index()))
    }

    pub(crate) fn slab(&self, slab: u16) -> NonNull<[u8]> {
        let lines = self.slabs[usize::from(slab)].get().expect("the slab exists").lines.get();
        // SAFETY: the box stays as it is; no reference to its lines is made.
        let first = unsafe { NonNull::new_unchecked((&raw mut **lines).cast::<u8>()) };
        NonNull::slice_from_raw_parts(first, self.slab_bytes)
    }

    pub(crate) fn bytes(&self, slot: SlotId, offset: usize, length: usize) -> Option<NonNull<u8>> {
        let size = self.slot_size(slot)?;
        let start = usize::from(slot.index()) * size;
        if start >= self.slab_bytes || offset.checked_add(length)? > size {
            return None;
        }
        let lines = self.slabs.get(usize::from(slot.slab()))?.get()?.lines.get();
        // SAFETY: the box stays as it is; no reference to its lines is made, and the slot ends within them.
        unsafe { NonNull::new((&raw mut **lines).cast::<u8>().add(start + offset)) }
    }

    pub(crate) fn slot_size(&self, slot: SlotId) -> Option<usize> {
        let class = self.classes.get(usize::from(slot.slab()))?.load(Relaxed);
        Some(SLOT_SIZES[usize::from(class)] as usize)
    }
}
