//! What wakes an end that sleeps: an eventfd.

use rustix::event::{EventfdFlags, eventfd};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// A bell: one end rings it, the other sleeps on it.
#[derive(Debug)]
pub struct Bell(OwnedFd);

impl Bell {
    /// A new one.
    ///
    /// # Errors
    /// The kernel's: too many descriptors are open.
    pub fn new() -> rustix::io::Result<Bell> {
        eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK).map(Bell)
    }

    /// The bell that the other end has passed.
    pub fn passed(descriptor: OwnedFd) -> Bell {
        Bell(descriptor)
    }

    /// Wakes who sleeps on it. Nobody ever reads it: each ring is an edge, and 2^64 of them do not happen.
    pub fn ring(&self) {
        // Full, it has been rung; and that is all that can go wrong with an eventfd.
        let _ = rustix::io::write(&self.0, &1u64.to_ne_bytes());
    }
}

impl AsFd for Bell {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}
