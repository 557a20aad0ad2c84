//! Where interleavings are explored: both ends in one process, and the first words, by which they tell each other something, watched.

use super::Unshareable;
use crate::sync::AtomicU64;
use nix::errno::Errno;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;

/// Words that are watched; what lies behind them is bytes that nobody explores.
const WATCHED: usize = 24;

/// Bytes that two threads of an exploration read and write.
#[derive(Debug)]
pub struct SharedBytes {
    words: Arc<[AtomicU64]>,
    bytes: Arc<std::sync::Mutex<Vec<u8>>>,
}

impl SharedBytes {
    /// Makes `length` bytes, zeros, and a descriptor that is good for nothing: the other end is [`SharedBytes::twin`].
    ///
    /// # Errors
    /// The kernel refuses.
    pub fn new(length: usize) -> Result<(SharedBytes, OwnedFd), Errno> {
        let words = (0..WATCHED).map(|_| AtomicU64::new(0)).collect();
        let bytes = Arc::new(std::sync::Mutex::new(vec![0; length]));
        let descriptor = nix::sys::eventfd::EventFd::new()?;
        Ok((SharedBytes { words, bytes }, descriptor.into()))
    }

    /// There is no other process.
    ///
    /// # Errors
    /// Always.
    pub fn map(_: impl AsFd, _: usize) -> Result<SharedBytes, Unshareable> {
        Err(Unshareable::NotMemory)
    }

    /// The same bytes, for the other end.
    pub fn twin(&self) -> SharedBytes {
        SharedBytes { words: self.words.clone(), bytes: self.bytes.clone() }
    }

    /// The word at `at`.
    pub fn word(&self, at: usize) -> &AtomicU64 {
        &self.words[at / size_of::<u64>()]
    }

    /// Copies what is at `at`.
    pub fn read(&self, at: usize, into: &mut [u8]) {
        into.copy_from_slice(&self.lock()[at..at + into.len()]);
    }

    /// Copies `from` to `at`.
    pub fn write(&self, at: usize, from: &[u8]) {
        self.lock()[at..at + from.len()].copy_from_slice(from);
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<u8>> {
        self.bytes.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}
