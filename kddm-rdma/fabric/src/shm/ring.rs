//! Messages in shared memory: a ring of bytes, one sender, one receiver, whose memory it is.
//!
//! ```text
//! 0      taken     receiver   bytes that were taken, ever
//! 64     asleep    receiver   1: ring the bell when there is something
//! 72     over      receiver   1: the session is over
//! 128    put       sender     bytes that were put, ever
//! 136    waiting   sender     1: ring the bell when there is room
//! 4096   bytes     sender     byte n of the stream is at n % RING_BYTES; whole messages, as `wire` has them
//! ```
//!
//! All numbers are u64, in the byte order of the host. Each side believes its own number, and of the other's only what is possible.
//!
//! **No wake-up is lost** (Dekker's pattern). The receiver says that it sleeps, and then looks whether there is something; the sender puts
//! something, and then looks whether the receiver sleeps. Each has a SeqCst fence between the two, so of two fences one is the first, and
//! whoever has the second sees what the other has written before: the receiver the bytes, or the sender that it must ring. The same for a
//! sender that waits for room. `tests/interleave` runs both in every interleaving, and sees each fence missing.

use kddm_memory::{
    SharedBytes, Unshareable,
    fault::{Fault, fence_unless},
};
use std::{
    os::fd::{AsFd, OwnedFd},
    sync::atomic::{
        Ordering::{Acquire, Relaxed, Release, SeqCst},
        fence,
    },
};

#[cfg(all(test, feature = "interleave"))]
mod interleaved_tests;

/// Bytes of messages that a ring has room for: some thousand requests.
pub(super) const RING_BYTES: usize = 64 << 10;

const TAKEN: usize = 0;
const ASLEEP: usize = 64;
const OVER: usize = 72;
const PUT: usize = 128;
const WAITING: usize = 136;
const BYTES: usize = 4096;
/// Bytes of the whole.
pub(super) const MEMORY_BYTES: usize = BYTES + RING_BYTES;

const _: () = {
    assert!(RING_BYTES.is_power_of_two() && RING_BYTES > 64 * crate::wire::MAX_BYTES);
    assert!(PUT / 64 > OVER / 64 && ASLEEP / 64 > TAKEN / 64, "who writes at a time has a cache line");
    assert!(WAITING + size_of::<u64>() <= BYTES && MEMORY_BYTES == 69632);
};

/// The receiver's end.
pub(super) struct Inbox {
    memory: SharedBytes,
    taken: u64,
}

impl Inbox {
    /// A ring, and the descriptor for its sender.
    pub(super) fn new() -> Result<(Inbox, OwnedFd), nix::Error> {
        let (memory, descriptor) = SharedBytes::new(MEMORY_BYTES)?;
        Ok((Inbox { memory, taken: 0 }, descriptor))
    }

    /// Appends what there is; whether the sender must be rung for, because it waits for room.
    ///
    /// # Errors
    /// The sender counts wrong.
    pub(super) fn take(&mut self, into: &mut Vec<u8>) -> Result<bool, String> {
        let put = self.memory.word(PUT).load(Acquire);
        let there = put.wrapping_sub(self.taken);
        if there == 0 {
            return Ok(false);
        }
        if there > RING_BYTES as u64 {
            let taken = self.taken;
            return Err(format!(
                "its ring cannot be: {put} bytes put, where {taken} were taken and {RING_BYTES} have room"
            ));
        }
        let start = into.len();
        into.resize(start + there as usize, 0);
        let at = place(self.taken);
        let (first, second) = into[start..].split_at_mut((there as usize).min(RING_BYTES - at));
        self.memory.read(BYTES + at, first);
        self.memory.read(BYTES, second);
        self.taken = put;
        self.memory.word(TAKEN).store(put, Release);
        fence_unless(Fault::UnfencedTake);
        Ok(clear(&self.memory, WAITING))
    }

    /// From now on the sender rings. What it put before is to be looked for once more.
    pub(super) fn sleep(&self) {
        self.memory.word(ASLEEP).store(1, Relaxed);
        fence_unless(Fault::UnfencedSleep);
    }

    /// The sender need not ring.
    pub(super) fn wake(&self) {
        self.memory.word(ASLEEP).store(0, Relaxed);
    }

    /// The session is over, before any slot is reused on the strength of it.
    pub(super) fn end(&self) {
        self.memory.word(OVER).store(1, SeqCst);
    }
}

/// The sender's end.
pub(super) struct Outlet {
    memory: SharedBytes,
    /// Bytes that were written, ever, and those of them that the receiver was told of.
    written: u64,
    put: u64,
    /// What the receiver had taken when we looked last.
    taken: u64,
}

impl Outlet {
    /// The ring whose memory a receiver has passed.
    pub(super) fn map(descriptor: impl AsFd) -> Result<Outlet, Unshareable> {
        let memory = SharedBytes::map(descriptor, MEMORY_BYTES)?;
        Ok(Outlet { memory, written: 0, put: 0, taken: 0 })
    }

    /// Writes a message, which the receiver sees when it is published. False: there is no room, and the receiver will ring when there is.
    ///
    /// # Errors
    /// The receiver counts wrong.
    pub(super) fn write(&mut self, message: &[u8]) -> Result<bool, String> {
        if !self.has_room(message.len()) {
            self.look()?;
            if !self.has_room(message.len()) {
                self.memory.word(WAITING).store(1, Relaxed);
                fence_unless(Fault::UnfencedWait);
                self.look()?;
                if !self.has_room(message.len()) {
                    return Ok(false);
                }
            }
        }
        let at = place(self.written);
        let (first, second) = message.split_at(message.len().min(RING_BYTES - at));
        self.memory.write(BYTES + at, first);
        self.memory.write(BYTES, second);
        self.written += message.len() as u64;
        Ok(true)
    }

    /// Tells the receiver of what was written; whether it must be rung for, because it sleeps.
    pub(super) fn publish(&mut self) -> bool {
        if self.put == self.written {
            return false;
        }
        self.put = self.written;
        self.memory.word(PUT).store(self.put, Release);
        fence_unless(Fault::UnfencedPut);
        clear(&self.memory, ASLEEP)
    }

    /// Bytes that the receiver has not been told of.
    pub(super) fn unpublished(&self) -> u64 {
        self.written - self.put
    }

    /// Whether the receiver has ended the session. What was copied from its memory before counts only if not.
    pub(super) fn is_over(&self) -> bool {
        fence(Acquire);
        self.memory.word(OVER).load(Relaxed) != 0
    }

    #[cfg(test)]
    pub(super) fn memory(&self) -> &SharedBytes {
        &self.memory
    }

    fn has_room(&self, bytes: usize) -> bool {
        self.written - self.taken + bytes as u64 <= RING_BYTES as u64
    }

    fn look(&mut self) -> Result<(), String> {
        let taken = self.memory.word(TAKEN).load(Acquire);
        if !(self.taken..=self.put).contains(&taken) {
            let (before, put) = (self.taken, self.put);
            return Err(format!("its ring cannot be: {taken} bytes taken, where {before} were, of {put}"));
        }
        self.taken = taken;
        Ok(())
    }
}

fn place(number: u64) -> usize {
    number as usize & (RING_BYTES - 1)
}

/// Clears a flag of the other side; whether it was set. Looks first: mostly it is not.
fn clear(memory: &SharedBytes, flag: usize) -> bool {
    let flag = memory.word(flag);
    flag.load(Relaxed) != 0 && flag.swap(0, Relaxed) != 0
}
