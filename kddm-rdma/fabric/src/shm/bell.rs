//! What wakes a node that sleeps: an eventfd of the sender's, which the receiver's poller watches.

use rustix::{
    event::{EventfdFlags, eventfd},
    io::Errno,
};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// A bell that this node rings.
pub(super) struct Bell(OwnedFd);

impl Bell {
    pub(super) fn new() -> rustix::io::Result<Bell> {
        eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK).map(Bell)
    }

    pub(super) fn ring(&self) {
        // Nobody ever reads it: each write is an edge, and 2^64 of them do not happen. Full, it has been rung.
        match rustix::io::write(&self.0, &1u64.to_ne_bytes()) {
            Ok(_) | Err(Errno::AGAIN) => {}
            Err(error) => tracing::error!(reason = %error, "BUG: a peer cannot be woken"),
        }
    }
}

impl AsFd for Bell {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}
