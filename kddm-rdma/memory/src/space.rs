//! The arena's address space: a range for the bytes of slots, each slab of it a memfd of its own, and one for control blocks.
//!
//! Both ranges are reserved at once and get memory slab by slab, so that the address of any slot's bytes and block is computed, not
//! looked up, and any slot number, however stale, leads to memory that exists: where there is no slab yet, the block is
//! the kernel's page of zeros, a free slot of generation 0.

use crate::MemoryError;
use crate::control::Control;
use crate::sync::AtomicU8;
use kddm_object::SlotId;
use kddm_object::limits::SLOT_SIZES;
use nix::errno::Errno;
use nix::fcntl::{FcntlArg, SealFlag, fcntl};
use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::sys::mman::{MapFlags, MmapAdvise, ProtFlags, madvise, mmap, mmap_anonymous, mprotect, munmap};
use nix::unistd::ftruncate;
use std::ffi::c_void;
use std::num::NonZeroUsize;
use std::os::fd::OwnedFd;
use std::ptr::NonNull;
use std::sync::atomic::Ordering::Relaxed;

/// From one slab's control blocks to the next one's: room for as many as a slot's number can tell, so that the number of a slot is
/// the number of its block. What no slab uses is never touched.
const STRIDE: usize = (1 << 16) * size_of::<Control>();

/// A slab's memfd.
pub(crate) type Descriptor = OwnedFd;

/// The address space of an arena. Dropping it unmaps everything.
pub(crate) struct Space {
    bytes: Range,
    controls: Range,
    slab_bytes: usize,
    /// Bytes of a slab's control blocks: one for each of the smallest slots it could have.
    block_bytes: usize,
    /// The size class that each slab serves.
    classes: Box<[AtomicU8]>,
}

impl Space {
    /// Room for `slabs` slabs, none of which exists.
    pub(crate) fn reserve(slabs: usize, slab_bytes: usize) -> Result<Space, MemoryError> {
        let block_bytes = slab_bytes / SLOT_SIZES[0] as usize * size_of::<Control>();
        let bytes = Range::reserve(slabs * slab_bytes, ProtFlags::PROT_NONE)?;
        let controls = Range::reserve(slabs * STRIDE, ProtFlags::PROT_READ)?;
        // Most slabs use the beginning of their blocks only. SAFETY: advice about huge pages changes no contents.
        match unsafe { madvise(controls.start, controls.length, MmapAdvise::MADV_NOHUGEPAGE) } {
            // A kernel without huge pages says EINVAL, and is right.
            Ok(()) | Err(Errno::EINVAL) => {}
            Err(errno) => return Err(MemoryError::Reserve { bytes: controls.length, errno }),
        }
        let classes = (0..slabs).map(|_| AtomicU8::new(0)).collect();
        Ok(Space { bytes, controls, slab_bytes, block_bytes, classes })
    }

    /// Makes slab number `slab`, which is below the number reserved, exist. Nothing of it is resident until it is written.
    pub(crate) fn map(&self, slab: u16) -> Result<Descriptor, MemoryError> {
        let bytes = self.slab_bytes;
        let failed = |doing| move |errno| MemoryError::Slab { slab, bytes, doing, errno };
        let flags = MFdFlags::MFD_CLOEXEC | MFdFlags::MFD_ALLOW_SEALING;
        let descriptor = memfd_create(c"kddm-slab", flags).map_err(failed("memfd_create"))?;
        ftruncate(&descriptor, bytes as i64).map_err(failed("ftruncate"))?;
        // Nobody who gets the descriptor can take the pages away under us (SIGBUS).
        fcntl(&descriptor, FcntlArg::F_ADD_SEALS(SealFlag::F_SEAL_SHRINK | SealFlag::F_SEAL_GROW))
            .map_err(failed("sealing"))?;
        let access = ProtFlags::PROT_READ | ProtFlags::PROT_WRITE;
        let (blocks, _) = self.controls.part(usize::from(slab), STRIDE);
        // SAFETY: this slab's part of our own range of control blocks; more access invalidates nothing.
        unsafe { mprotect(blocks, self.block_bytes, access) }.map_err(failed("mprotect"))?;
        let (start, length) = self.bytes.part(usize::from(slab), bytes);
        let flags = MapFlags::MAP_SHARED | MapFlags::MAP_FIXED;
        // SAFETY: replaces this slab's part of our own reservation, which nobody has looked at: it had no access.
        unsafe { mmap(Some(start.addr()), length, access, flags, &descriptor, 0) }.map_err(failed("mmap"))?;
        // A child must not share pages that peers read. SAFETY: changes what a fork copies, nothing here.
        unsafe { madvise(start, bytes, MmapAdvise::MADV_DONTFORK) }.map_err(failed("madvise"))?;
        Ok(descriptor)
    }

    /// The bytes of a slab that exists.
    pub(crate) fn slab(&self, slab: u16) -> NonNull<[u8]> {
        let (start, length) = self.bytes.part(usize::from(slab), self.slab_bytes);
        NonNull::slice_from_raw_parts(start.cast(), length.get())
    }

    /// The slab serves another class. Who reads a slot's size after its word sees that of the word's tenancy, or a later one.
    pub(crate) fn set_class(&self, slab: u16, class: usize) {
        self.classes[usize::from(slab)].store(class as u8, Relaxed);
    }

    /// The control block of a slot.
    #[inline]
    pub(crate) fn control(&self, slot: SlotId) -> Option<&Control> {
        if usize::from(slot.slab()) >= self.classes.len() {
            return None;
        }
        // SAFETY: the range has a block for each number that a slot of one of our slabs could have, readable from the beginning and as
        // long as `self` lives. All zeros is a valid block, and blocks are changed through atomics only.
        Some(unsafe { self.controls.start.cast::<Control>().add(slot.0 as usize).as_ref() })
    }

    /// The byte at `offset` of a slot that has `length` bytes from there on. The slab exists.
    #[inline]
    pub(crate) fn bytes(&self, slot: SlotId, offset: usize, length: usize) -> Option<NonNull<u8>> {
        let size = self.slot_size(slot)?;
        let start = usize::from(slot.index()) * size;
        if start >= self.slab_bytes || offset.checked_add(length)? > size {
            return None;
        }
        let start = usize::from(slot.slab()) * self.slab_bytes + start;
        // SAFETY: sizes of slots divide the size of a slab, so the slot ends within its slab too, and the slab within the range.
        Some(unsafe { self.bytes.start.cast::<u8>().add(start + offset) })
    }

    /// The size of the slot's slab's slots now.
    #[inline]
    pub(crate) fn slot_size(&self, slot: SlotId) -> Option<usize> {
        let class = self.classes.get(usize::from(slot.slab()))?.load(Relaxed);
        Some(SLOT_SIZES[usize::from(class)] as usize)
    }
}

/// Addresses that are ours.
struct Range {
    start: NonNull<c_void>,
    length: usize,
}

// SAFETY: a range is an address and a length; what is at the address is shared by the rules of `Control` and of the bytes of slots.
unsafe impl Send for Range {}
// SAFETY: as above.
unsafe impl Sync for Range {}

impl Range {
    fn reserve(length: usize, access: ProtFlags) -> Result<Range, MemoryError> {
        let failed = |errno| MemoryError::Reserve { bytes: length, errno };
        let flags = MapFlags::MAP_PRIVATE | MapFlags::MAP_NORESERVE;
        let size = NonZeroUsize::new(length).ok_or(failed(Errno::EINVAL))?;
        // SAFETY: a new mapping where the kernel finds room touches nothing that exists.
        let start = unsafe { mmap_anonymous(None, size, access, flags) }.map_err(failed)?;
        Ok(Range { start, length })
    }

    /// Part number `part` of those of `size` bytes.
    fn part(&self, part: usize, size: usize) -> (NonNull<c_void>, NonZeroUsize) {
        assert!((part + 1) * size <= self.length, "BUG: part {part} of {size} bytes is outside of the arena");
        let size = NonZeroUsize::new(size).expect("slabs have bytes");
        // SAFETY: within the range, just checked.
        (unsafe { self.start.byte_add(part * size.get()) }, size)
    }
}

impl Drop for Range {
    fn drop(&mut self) {
        // SAFETY: the range is ours, and whoever drops it has no use for it any more.
        let unmapped = unsafe { munmap(self.start, self.length) };
        debug_assert!(unmapped.is_ok(), "BUG: munmap: {unmapped:?}");
    }
}
