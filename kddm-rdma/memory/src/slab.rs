//! A slab: a memfd of its own, mapped for as long as the arena lives, and the control blocks of its slots.

use crate::MemoryError;
use crate::control::Control;
use kddm_object::limits::SLOT_SIZES;
use memmap2::{Advice, MmapMut, MmapOptions, MmapRaw};
use nix::errno::Errno;
use nix::fcntl::{FcntlArg, SealFlag, fcntl};
use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::unistd::ftruncate;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::ptr::{self, NonNull};
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};
use std::sync::atomic::{AtomicPtr, AtomicU8};

/// What owns a slab's memory.
pub(crate) struct Mapping {
    descriptor: OwnedFd,
    bytes: MmapRaw,
    controls: MmapMut,
}

impl Mapping {
    /// Slab number `slab`, of `bytes`. Nothing of it is resident until it is written.
    pub(crate) fn new(slab: u16, bytes: usize) -> Result<Mapping, MemoryError> {
        let failed = |doing| move |errno| MemoryError::Slab { slab, bytes, doing, errno };
        let flags = MFdFlags::MFD_CLOEXEC | MFdFlags::MFD_ALLOW_SEALING;
        let descriptor = memfd_create(c"kddm-slab", flags).map_err(failed("memfd_create"))?;
        ftruncate(&descriptor, bytes as i64).map_err(failed("ftruncate"))?;
        // Nobody who gets the descriptor can take the pages away under us (SIGBUS).
        fcntl(&descriptor, FcntlArg::F_ADD_SEALS(SealFlag::F_SEAL_SHRINK | SealFlag::F_SEAL_GROW))
            .map_err(failed("sealing"))?;
        let raw = |error: std::io::Error| Errno::from_raw(error.raw_os_error().unwrap_or(0));
        let mapped =
            MmapOptions::new().len(bytes).map_raw(&descriptor).map_err(|error| failed("mmap")(raw(error)))?;
        // A child must not share pages that peers read (and a NIC's pages must not move by copy on write).
        mapped.advise(Advice::DontFork).map_err(|error| failed("madvise")(raw(error)))?;
        // Enough control blocks for the smallest class; the kernel gives them pages, of zeros, when they are used.
        let length = bytes / SLOT_SIZES[0] as usize * size_of::<Control>();
        let controls =
            MmapMut::map_anon(length).map_err(|error| failed("mmap of control blocks")(raw(error)))?;
        Ok(Mapping { descriptor, bytes: mapped, controls })
    }

    /// The memfd.
    pub(crate) fn descriptor(&self) -> BorrowedFd<'_> {
        self.descriptor.as_fd()
    }
}

/// What every thread knows of a slab without a lock.
pub(crate) struct Slab {
    controls: AtomicPtr<Control>,
    bytes: AtomicPtr<u8>,
    class: AtomicU8,
}

impl Slab {
    /// A slab that does not exist yet.
    pub(crate) const fn missing() -> Slab {
        Slab {
            controls: AtomicPtr::new(ptr::null_mut()),
            bytes: AtomicPtr::new(ptr::null_mut()),
            class: AtomicU8::new(0),
        }
    }

    /// Shows `mapping` to all threads. The arena keeps it for as long as it lives.
    pub(crate) fn publish(&self, mapping: &mut Mapping) {
        self.bytes.store(mapping.bytes.as_mut_ptr(), Relaxed);
        self.controls.store(mapping.controls.as_mut_ptr().cast(), Release);
    }

    /// The slab serves another class. Who reads a slot's class after its word sees the class of that tenancy or of a later one.
    pub(crate) fn set_class(&self, class: usize) {
        self.class.store(class as u8, Relaxed);
    }

    /// The size of its slots now.
    #[inline]
    pub(crate) fn slot_size(&self) -> usize {
        SLOT_SIZES[usize::from(self.class.load(Relaxed))] as usize
    }

    /// The first control block.
    #[inline]
    pub(crate) fn controls(&self) -> Option<NonNull<Control>> {
        NonNull::new(self.controls.load(Acquire))
    }

    /// The first byte.
    #[inline]
    pub(crate) fn bytes(&self) -> Option<NonNull<u8>> {
        // Acquire through `controls`, which is stored later.
        self.controls()?;
        NonNull::new(self.bytes.load(Relaxed))
    }
}
