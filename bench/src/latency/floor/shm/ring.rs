//! A ring of words in the receiver's memory: what two processes cannot do without to tell each other something, and to sleep in between.
//!
//! ```text
//! 0     taken    receiver   words that were taken, ever
//! 64    asleep   receiver   1: ring when there is something
//! 128   put      sender     words that were put, ever
//! 4096  words    sender     word n of the stream is at n % WORDS; a frame is tag | words after this one << 32, and those words
//! ```

use crate::latency::floor::Tag;
use anyhow::{Context, Result, ensure};
use kddm_memory::SharedBytes;
use std::hint::black_box;
use std::os::fd::OwnedFd;
use std::sync::atomic::{
    AtomicU64,
    Ordering::{Acquire, Relaxed, Release, SeqCst},
    fence,
};
use std::time::{Duration, Instant};

/// Words of frames that there is room for.
const WORDS: u64 = 32 << 10;
const TAKEN: usize = 0;
const ASLEEP: usize = 64;
const PUT: usize = 128;
const FIRST: usize = 4096;
const MEMORY_BYTES: usize = FIRST + WORDS as usize * size_of::<u64>();
/// A receiver that takes nothing for so long is gone.
const PATIENCE: Duration = Duration::from_secs(10);

/// The receiver's end.
pub struct Inbox {
    memory: SharedBytes,
    taken: u64,
}

impl Inbox {
    /// A ring, and the descriptor for its sender.
    pub fn new() -> Result<(Inbox, OwnedFd)> {
        let (memory, descriptor) =
            SharedBytes::new(MEMORY_BYTES).context("memory for a ring of the floor")?;
        Ok((Inbox { memory, taken: 0 }, descriptor))
    }

    /// Appends the tags of the frames that have come, every word of which is read.
    pub fn take(&mut self, arrived: &mut Vec<Tag>) -> Result<()> {
        let put = self.memory.word(PUT).load(Acquire);
        if put == self.taken {
            return Ok(());
        }
        while self.taken < put {
            let head = word(&self.memory, self.taken).load(Relaxed);
            let end = self.taken + 1 + (head >> 32);
            ensure!(end <= put, "a frame of the floor that ends at word {end}, of {put}");
            for at in self.taken + 1..end {
                black_box(word(&self.memory, at).load(Relaxed));
            }
            self.taken = end;
            arrived.push(head as Tag);
        }
        self.memory.word(TAKEN).store(put, Release);
        Ok(())
    }

    /// From now on the sender rings; what came before is to be looked for once more.
    pub fn sleep(&self) {
        self.memory.word(ASLEEP).store(1, Relaxed);
        fence(SeqCst);
    }

    /// The sender need not ring.
    pub fn wake(&self) {
        self.memory.word(ASLEEP).store(0, Relaxed);
    }
}

/// The sender's end.
pub struct Outlet {
    memory: SharedBytes,
    written: u64,
    put: u64,
    /// What the receiver had taken when that was looked at last.
    taken: u64,
}

impl Outlet {
    /// The ring whose memory a receiver has passed.
    pub fn map(descriptor: &OwnedFd) -> Result<Outlet> {
        let memory = SharedBytes::map(descriptor, MEMORY_BYTES).context("mapping a ring of the floor")?;
        Ok(Outlet { memory, written: 0, put: 0, taken: 0 })
    }

    /// Writes a frame of `bytes` bytes; if there is no room, whoever `rings` lets the receiver go on meanwhile.
    pub fn write(&mut self, tag: Tag, bytes: u32, rings: impl Fn()) -> Result<()> {
        let words = u64::from(bytes.div_ceil(8));
        self.await_room(1 + words, rings)?;
        word(&self.memory, self.written).store(u64::from(tag) | words << 32, Relaxed);
        (1..=words).for_each(|at| word(&self.memory, self.written + at).store(at, Relaxed));
        self.written += 1 + words;
        Ok(())
    }

    /// Tells the receiver of what was written; whether it sleeps, and is to be rung for.
    pub fn publish(&mut self) -> bool {
        if self.put == self.written {
            return false;
        }
        self.put = self.written;
        self.memory.word(PUT).store(self.put, Release);
        fence(SeqCst);
        let asleep = self.memory.word(ASLEEP);
        asleep.load(Relaxed) != 0 && asleep.swap(0, Relaxed) != 0
    }

    fn await_room(&mut self, words: u64, rings: impl Fn()) -> Result<()> {
        let begin = Instant::now();
        while self.written + words > self.taken + WORDS {
            self.taken = self.memory.word(TAKEN).load(Acquire);
            if self.publish() {
                rings();
            }
            ensure!(begin.elapsed() < PATIENCE, "a ring of the floor has been full for {PATIENCE:?}");
        }
        Ok(())
    }
}

fn word(memory: &SharedBytes, number: u64) -> &AtomicU64 {
    memory.word(FIRST + (number % WORDS) as usize * size_of::<u64>())
}
