//! Two processes that hand each other a word in shared memory: nothing can be faster that waits in this way.

#![allow(unsafe_code)]

use super::{ANSWERS, Waiting};
use crate::processors::Processors;
use anyhow::{Context, Result};
use clap::ValueEnum;
use kddm_memory::SharedBytes;
use nix::unistd::Pid;
use rustix::thread::futex;
use std::{
    io,
    os::fd::AsFd,
    process::{Child, Command, Stdio},
    sync::atomic::{
        AtomicU32, AtomicU64,
        Ordering::{Acquire, Release},
    },
};

const ASKED: usize = 0;
const ANSWERED: usize = 64;
/// 1: the other process sleeps until the next question, however it waits.
const RESTS: usize = 128;
const BYTES: usize = 4096;
/// A question that ends it.
const END: u64 = u64::MAX;

/// The other process, and what is shared with it.
pub(super) struct Floor {
    memory: SharedBytes,
    waiting: Waiting,
    number: u64,
    child: Child,
}

impl Floor {
    /// Starts this program once more, for the answers. It finds the memory in the place of its standard input.
    pub(super) fn start(waiting: Waiting, processors: Option<&Processors>) -> Result<Floor> {
        let (memory, descriptor) = SharedBytes::new(BYTES)?;
        let name = waiting.to_possible_value().context("every way of waiting has a name")?;
        let mut command = Command::new(std::env::current_exe()?);
        command.args(["ring-floor", name.get_name()]).stdin(Stdio::from(descriptor));
        let child = command.spawn().context("starting the other process")?;
        let mut floor = Floor { memory, waiting, number: 0, child };
        if let Some(processors) = processors {
            processors.keep(Pid::from_raw(floor.child.id() as i32), ANSWERS)?;
        }
        floor.begin()?;
        floor.rest();
        Ok(floor)
    }

    /// The other process leaves its core to others until the next block.
    pub(super) fn rest(&self) {
        self.memory.word(RESTS).store(1, Release);
    }

    /// A block begins.
    pub(super) fn begin(&mut self) -> Result<()> {
        self.memory.word(RESTS).store(0, Release);
        self.number += 1;
        hand_over(self.memory.word(ASKED), self.number, Waiting::Sleeping);
        wait_for(self.memory.word(ANSWERED), self.number, self.waiting);
        Ok(())
    }

    /// One question, and its answer.
    pub(super) fn round(&mut self) -> Result<()> {
        self.number += 1;
        hand_over(self.memory.word(ASKED), self.number, self.waiting);
        wait_for(self.memory.word(ANSWERED), self.number, self.waiting);
        Ok(())
    }
}

impl Drop for Floor {
    fn drop(&mut self) {
        hand_over(self.memory.word(ASKED), END, Waiting::Sleeping);
        let _ = self.child.wait();
    }
}

/// The other process.
///
/// # Errors
/// Standard input is no such memory.
pub fn answer(waiting: Waiting) -> Result<()> {
    let memory = SharedBytes::map(io::stdin().as_fd(), BYTES)?;
    let mut seen = 0;
    loop {
        let rests = memory.word(RESTS).load(Acquire) != 0;
        let asked = if rests {
            wait_beyond(memory.word(ASKED), seen, Waiting::Sleeping)
        } else {
            match wait_beyond_or(memory.word(ASKED), seen, waiting, memory.word(RESTS)) {
                Some(asked) => asked,
                None => continue,
            }
        };
        if asked == END {
            return Ok(());
        }
        seen = asked;
        hand_over(memory.word(ANSWERED), seen, waiting);
    }
}

fn wait_for(word: &AtomicU64, number: u64, waiting: Waiting) {
    while wait_beyond(word, number - 1, waiting) < number {}
}

/// The same, unless it is to rest.
fn wait_beyond_or(word: &AtomicU64, seen: u64, waiting: Waiting, rests: &AtomicU64) -> Option<u64> {
    if waiting == Waiting::Sleeping {
        return Some(wait_beyond(word, seen, waiting));
    }
    loop {
        for _ in 0..64 {
            let now = word.load(Acquire);
            if now != seen {
                return Some(now);
            }
            std::hint::spin_loop();
        }
        if rests.load(Acquire) != 0 {
            return None;
        }
    }
}

/// Waits until there is something else than `seen`.
fn wait_beyond(word: &AtomicU64, seen: u64, waiting: Waiting) -> u64 {
    loop {
        let now = word.load(Acquire);
        if now != seen {
            return now;
        }
        match waiting {
            Waiting::Spinning => std::hint::spin_loop(),
            // It returns for any reason, and then it is looked again.
            Waiting::Sleeping => drop(futex::wait(low_half(word), futex::Flags::empty(), seen as u32, None)),
        }
    }
}

fn hand_over(word: &AtomicU64, number: u64, waiting: Waiting) {
    word.store(number, Release);
    if waiting == Waiting::Sleeping {
        // Who looks does not sleep, and then there is nobody to wake.
        let _ = futex::wake(low_half(word), futex::Flags::empty(), 1);
    }
}

/// What the kernel compares and sleeps on: 32 bits, which differ with every number.
fn low_half(word: &AtomicU64) -> &AtomicU32 {
    const { assert!(cfg!(target_endian = "little")) };
    // SAFETY: the first four bytes of the word are its low half on this byte order, aligned, and live as long; the kernel only reads them.
    unsafe { AtomicU32::from_ptr(word.as_ptr().cast::<u32>()) }
}
