//! Bytes that both sides write.

use super::{Mapping, Unshareable};
use crate::bytes::{WORD, load, store};
use nix::errno::Errno;
use nix::fcntl::{FcntlArg, SealFlag, fcntl};
use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::sys::mman::ProtFlags;
use nix::unistd::ftruncate;
use std::os::fd::{AsFd, OwnedFd};
use std::ptr::NonNull;
use std::sync::atomic::AtomicU64;

/// Bytes that two processes read and write: what one of them may find there at any time is anything.
#[derive(Debug)]
pub struct SharedBytes(Mapping);

impl SharedBytes {
    /// Makes `length` bytes, zeros, and the descriptor by which another process maps them.
    ///
    /// # Errors
    /// The kernel refuses.
    pub fn new(length: usize) -> Result<(SharedBytes, OwnedFd), Errno> {
        let flags = MFdFlags::MFD_CLOEXEC | MFdFlags::MFD_ALLOW_SEALING;
        let descriptor = memfd_create(c"kddm-shared", flags)?;
        ftruncate(&descriptor, length as i64)?;
        let seals = SealFlag::F_SEAL_SHRINK | SealFlag::F_SEAL_GROW | SealFlag::F_SEAL_SEAL;
        fcntl(&descriptor, FcntlArg::F_ADD_SEALS(seals))?;
        let mapping = Mapping::new(&descriptor, length, ProtFlags::PROT_READ | ProtFlags::PROT_WRITE)?;
        Ok((SharedBytes(mapping), descriptor))
    }

    /// Maps the `length` bytes whose memfd another process has passed.
    ///
    /// # Errors
    /// As [`PeerSlab::map`](crate::PeerSlab::map).
    pub fn map(descriptor: impl AsFd, length: usize) -> Result<SharedBytes, Unshareable> {
        let access = ProtFlags::PROT_READ | ProtFlags::PROT_WRITE;
        Mapping::checked(descriptor, length, access).map(SharedBytes)
    }

    /// The word at `at`.
    ///
    /// # Panics
    /// If there is none, or `at` is not a multiple of eight: a bug of the caller.
    #[inline]
    pub fn word(&self, at: usize) -> &AtomicU64 {
        &self.words(at, WORD)[0]
    }

    /// The words of `length` bytes at `at`.
    ///
    /// # Panics
    /// If there are not so many, or either is not a multiple of eight: a bug of the caller.
    #[inline]
    pub fn words(&self, at: usize, length: usize) -> &[AtomicU64] {
        match self.0.words(at, length) {
            Some(words) => words,
            None => panic!("BUG: no words of {length} bytes at {at}"),
        }
    }

    /// Copies what is at `at`; it may be torn, if the other writes meanwhile.
    ///
    /// # Panics
    /// If there are not so many bytes: a bug of the caller.
    #[inline]
    pub fn read(&self, at: usize, into: &mut [u8]) {
        load(self.around(at, into.len()), at % WORD, into);
    }

    /// Copies `from` to `at`.
    ///
    /// # Panics
    /// As [`SharedBytes::read`].
    #[inline]
    pub fn write(&self, at: usize, from: &[u8]) {
        store(self.around(at, from.len()), at % WORD, from);
    }

    /// The first of `length` bytes at `at`; `None` if there are not so many. Whoever uses it sees to it that the other process does not write
    /// them meanwhile.
    #[inline]
    pub fn pointer(&self, at: usize, length: usize) -> Option<NonNull<u8>> {
        let inside = at.checked_add(length)? <= self.0.length;
        // SAFETY: within the mapping, just checked.
        inside.then(|| unsafe { self.0.start.cast::<u8>().byte_add(at) })
    }

    #[inline]
    fn around(&self, at: usize, length: usize) -> &[AtomicU64] {
        let first = at - at % WORD;
        self.words(first, (at + length).next_multiple_of(WORD) - first)
    }
}
