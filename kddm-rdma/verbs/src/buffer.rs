//! Memory for messages, on their way out or in.

use crate::{Domain, Landing, Source, VerbsError, domain::MemoryKey};
use ibverbs_sys as sys;
use nix::sys::mman::{MapFlags, MmapAdvise, ProtFlags, madvise, mmap_anonymous, munmap};
use std::{num::NonZeroUsize, ops::Range, ptr::NonNull};

const PAGE: usize = 4096;

/// Registered memory that belongs to nobody else: messages, and what a measurement reads.
///
/// A device may read and write it at any time, so no reference to it is ever made; bytes go in and out by volatile copies.
pub struct Buffer {
    /// Before the memory: it ends first.
    key: MemoryKey,
    memory: Memory,
}

impl Buffer {
    pub(crate) fn new(domain: &Domain, bytes: usize) -> Result<Buffer, VerbsError> {
        let memory = Memory::map(bytes).map_err(|error| VerbsError::Refused {
            device: domain.device().name().to_owned(),
            what: "memory for messages",
            error: error.into(),
        })?;
        let access =
            sys::ibv_access_flags::IBV_ACCESS_LOCAL_WRITE.0 | sys::ibv_access_flags::IBV_ACCESS_REMOTE_READ.0;
        let key = domain.register(memory.0, access)?;
        Ok(Buffer { key, memory })
    }

    /// Its bytes.
    pub fn length(&self) -> usize {
        self.memory.0.len()
    }

    /// What a peer needs to READ it from its first byte.
    pub fn source(&self) -> Source {
        Source { address: self.key.address(), key: self.key.remote() }
    }

    /// Where a READ lands, or a message lies; `None` if that is not within the buffer.
    pub fn landing(&self, range: Range<usize>) -> Option<Landing> {
        let length = u32::try_from(range.len()).ok()?;
        (range.start <= range.end && range.end <= self.length()).then_some(Landing {
            address: self.key.address() + range.start as u64,
            length,
            key: self.key.local(),
        })
    }

    /// Copies `bytes` in at `offset`.
    ///
    /// # Panics
    /// If they do not fit: a bug of the caller.
    pub fn write(&self, offset: usize, bytes: &[u8]) {
        assert!(
            bytes.len() <= self.length() && offset <= self.length() - bytes.len(),
            "BUG: outside of the buffer"
        );
        // Words where the places of messages are aligned, and what is left byte by byte.
        let (words, rest) = if offset.is_multiple_of(8) { bytes.as_chunks::<8>() } else { (&[][..], bytes) };
        for (place, &word) in (offset..).step_by(8).zip(words) {
            // SAFETY: within the mapping, checked above; aligned, as the mapping is.
            unsafe { self.at(place).cast::<u64>().write_volatile(u64::from_ne_bytes(word)) };
        }
        for (place, &byte) in (offset + words.len() * 8..).zip(rest) {
            // SAFETY: within the mapping, checked above.
            unsafe { self.at(place).write_volatile(byte) };
        }
    }

    /// Copies bytes from `offset` on into `into`.
    ///
    /// # Panics
    /// If there are not so many: a bug of the caller.
    pub fn read(&self, offset: usize, into: &mut [u8]) {
        assert!(
            into.len() <= self.length() && offset <= self.length() - into.len(),
            "BUG: outside of the buffer"
        );
        let (words, rest) =
            if offset.is_multiple_of(8) { into.as_chunks_mut::<8>() } else { (&mut [][..], into) };
        let after = offset + words.len() * 8;
        for (place, word) in (offset..).step_by(8).zip(words) {
            // SAFETY: as in `write`.
            *word = unsafe { self.at(place).cast::<u64>().read_volatile() }.to_ne_bytes();
        }
        for (place, byte) in (after..).zip(rest) {
            // SAFETY: as in `write`.
            *byte = unsafe { self.at(place).read_volatile() };
        }
    }

    fn at(&self, place: usize) -> *mut u8 {
        self.memory.0.cast::<u8>().as_ptr().wrapping_add(place)
    }
}

struct Memory(NonNull<[u8]>);

// SAFETY: mapped memory without an owner thread; who may touch it when is told in `Buffer`.
unsafe impl Send for Memory {}
// SAFETY: as above: bytes are only copied, never referred to. Two threads that copy in at once are kept apart by whoever posts them.
unsafe impl Sync for Memory {}

impl Memory {
    fn map(bytes: usize) -> nix::Result<Memory> {
        let length = bytes.max(1).next_multiple_of(PAGE);
        let size = NonZeroUsize::new(length).ok_or(nix::errno::Errno::EINVAL)?;
        let access = ProtFlags::PROT_READ | ProtFlags::PROT_WRITE;
        // SAFETY: a new mapping where the kernel finds room touches nothing that exists.
        let start = unsafe { mmap_anonymous(None, size, access, MapFlags::MAP_PRIVATE) }?;
        let memory = Memory(NonNull::slice_from_raw_parts(start.cast::<u8>(), length));
        // A fork must not move the pages that the device has pinned. SAFETY: changes what a fork copies, nothing here.
        unsafe { madvise(start, length, MmapAdvise::MADV_DONTFORK) }?;
        Ok(memory)
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        // SAFETY: ours, and no longer registered.
        let unmapped = unsafe { munmap(self.0.cast(), self.0.len()) };
        debug_assert!(unmapped.is_ok(), "BUG: munmap: {unmapped:?}");
    }
}
