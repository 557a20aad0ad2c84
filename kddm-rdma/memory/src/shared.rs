//! Memory that two processes of one host have mapped: a peer's slabs, which are only read here, and bytes that both write.
//!
//! Whatever the other process does with it, nothing here is undefined and nothing fails: the memory is a memfd of ordinary pages that is
//! sealed against shrinking (no page goes away, so no access raises SIGBUS), every access is atomic, and places are checked here.

#[cfg_attr(feature = "interleave", path = "shared/explored.rs")]
mod both;

pub use both::SharedBytes;

use crate::bytes::WORD;
use nix::errno::Errno;
use nix::fcntl::{FcntlArg, SealFlag, fcntl};
use nix::sys::mman::{MapFlags, MmapAdvise, ProtFlags, madvise, mmap, munmap};
use nix::sys::stat::fstat;
use nix::sys::statfs::{TMPFS_MAGIC, fstatfs};
use std::ffi::c_void;
use std::num::NonZeroUsize;
use std::os::fd::AsFd;
use std::ptr::NonNull;
use std::sync::atomic::AtomicU64;

/// Why another process's memory is not mapped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unshareable {
    /// It could go away under us.
    #[error("it is not sealed against shrinking and growing")]
    NotSealed,
    /// Its pages may be of a kind that runs out.
    #[error("it is no memory file of ordinary pages")]
    NotMemory,
    /// It is smaller, or larger, than it has to be.
    #[error("it has {there} bytes, not {wanted}")]
    Size {
        /// Bytes that it has.
        there: i64,
        /// Bytes that it must have.
        wanted: usize,
    },
    /// The kernel refused.
    #[error("{0}")]
    Kernel(#[from] Errno),
}

/// A slab of a peer on this host, as long as it is mapped. Read-only: see [`Arena::copy_across`](crate::Arena::copy_across).
#[derive(Debug)]
pub struct PeerSlab(Mapping);

impl PeerSlab {
    /// Maps the slab of `bytes` bytes whose memfd a peer has passed.
    ///
    /// # Errors
    /// It is not what a slab has to be, or the kernel refuses.
    pub fn map(descriptor: impl AsFd, bytes: usize) -> Result<PeerSlab, Unshareable> {
        Mapping::checked(descriptor, bytes, ProtFlags::PROT_READ).map(PeerSlab)
    }

    /// The words of `length` bytes from `at` on; both are of whole words.
    pub(crate) fn words(&self, at: usize, length: usize) -> Option<&[AtomicU64]> {
        self.0.words(at, length)
    }
}

/// A mapping of a sealed memfd.
#[derive(Debug)]
struct Mapping {
    start: NonNull<c_void>,
    length: usize,
    /// The process that has it. In a child there is nothing at that place, or something else by now.
    process: u32,
}

// SAFETY: an address and a length; what is there is reached through atomics alone.
unsafe impl Send for Mapping {}
// SAFETY: as above.
unsafe impl Sync for Mapping {}

impl Mapping {
    /// Maps what another process has passed, if it is what it should be.
    fn checked(descriptor: impl AsFd, length: usize, access: ProtFlags) -> Result<Mapping, Unshareable> {
        let wanted = SealFlag::F_SEAL_SHRINK | SealFlag::F_SEAL_GROW;
        let seals = match fcntl(&descriptor, FcntlArg::F_GET_SEALS) {
            Err(Errno::EINVAL) => return Err(Unshareable::NotMemory),
            seals => SealFlag::from_bits_retain(seals?),
        };
        if !seals.contains(wanted) {
            return Err(Unshareable::NotSealed);
        }
        // Huge pages have seals, too, but a page that there is none for raises SIGBUS.
        if fstatfs(&descriptor)?.filesystem_type() != TMPFS_MAGIC {
            return Err(Unshareable::NotMemory);
        }
        let there = fstat(&descriptor)?.st_size;
        if there != length as i64 {
            return Err(Unshareable::Size { there, wanted: length });
        }
        Ok(Mapping::new(&descriptor, length, access)?)
    }

    /// Maps a memfd that has `length` bytes and will keep them.
    fn new(descriptor: impl AsFd, length: usize, access: ProtFlags) -> Result<Mapping, Errno> {
        let size = NonZeroUsize::new(length).ok_or(Errno::EINVAL)?;
        // SAFETY: a new mapping where the kernel finds room touches nothing that exists.
        let start = unsafe { mmap(None, size, access, MapFlags::MAP_SHARED, descriptor, 0) }?;
        let mapping = Mapping { start, length, process: std::process::id() };
        // A child has no part in it. SAFETY: changes what a fork copies, nothing here.
        unsafe { madvise(start, length, MmapAdvise::MADV_DONTFORK) }?;
        Ok(mapping)
    }

    /// The words of `length` bytes from `at` on; `None` if there are none, or they are no whole words.
    #[inline]
    fn words(&self, at: usize, length: usize) -> Option<&[AtomicU64]> {
        if !at.is_multiple_of(WORD) || !length.is_multiple_of(WORD) || at.checked_add(length)? > self.length {
            return None;
        }
        // SAFETY: within the mapping, just checked, which begins at a page and stays as it is until dropped: its memfd is sealed. Any
        // bytes are a valid AtomicU64; words of memory mapped read-only are loaded only (`PeerSlab` gives them to nobody who stores).
        Some(unsafe {
            let first = self.start.as_ptr().byte_add(at).cast::<AtomicU64>();
            std::slice::from_raw_parts(first, length / WORD)
        })
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        if self.process != std::process::id() {
            return;
        }
        // SAFETY: the mapping is ours, and nobody has a reference into it any more.
        let unmapped = unsafe { munmap(self.start, self.length) };
        debug_assert!(unmapped.is_ok(), "BUG: munmap: {unmapped:?}");
    }
}

#[cfg(all(test, not(miri)))]
mod tests {
    use super::*;
    use nix::sys::memfd::{MFdFlags, memfd_create};
    use nix::sys::mman::mmap_anonymous;
    use nix::sys::wait::{WaitStatus, waitpid};
    use nix::unistd::{ForkResult, fork, ftruncate};

    #[test]
    fn a_child_that_lets_go_of_it_unmaps_nothing_else() {
        const BYTES: NonZeroUsize = NonZeroUsize::new(8192).unwrap();
        let memory = memfd_create(c"kddm-test", MFdFlags::MFD_CLOEXEC).unwrap();
        ftruncate(&memory, BYTES.get() as i64).unwrap();
        let access = ProtFlags::PROT_READ | ProtFlags::PROT_WRITE;
        let mapping = Mapping::new(&memory, BYTES.get(), access).unwrap();
        // SAFETY: the child maps where its parent's mapping was not inherited, writes there, and ends: nothing of that needs other threads.
        match unsafe { fork() }.unwrap() {
            // SAFETY: as above; nothing else is at that place, or the mapping is refused.
            ForkResult::Child => unsafe {
                let place = NonZeroUsize::new(mapping.start.addr().get());
                let flags = MapFlags::MAP_PRIVATE | MapFlags::MAP_FIXED_NOREPLACE;
                let Ok(own) = mmap_anonymous(place, BYTES, access, flags) else { nix::libc::_exit(2) };
                drop(mapping);
                own.cast::<u64>().write_volatile(7);
                nix::libc::_exit(i32::from(own.cast::<u64>().read_volatile() == 7))
            },
            ForkResult::Parent { child } => {
                assert_eq!(waitpid(child, None).unwrap(), WaitStatus::Exited(child, 1));
                assert_eq!(mapping.words(0, 8).unwrap()[0].load(std::sync::atomic::Ordering::Relaxed), 0);
            }
        }
    }
}
