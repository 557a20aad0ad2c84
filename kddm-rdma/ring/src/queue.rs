//! Entries in shared memory: one sender, one receiver.
//!
//! An entry carries its number, which is written last: the receiver looks at the place of the next entry, and nowhere else, so that an entry
//! costs one cache line's way from core to core. The receiver counts what it has taken, for the sender to see where there is room.
//!
//! **No wake-up is lost** (Dekker's pattern). The receiver says that it sleeps, and then looks whether there is something; the sender
//! writes something, and then looks whether the receiver sleeps. Each has a SeqCst fence between the two, so of two fences one is the
//! first, and whoever has the second sees what the other has written before: the receiver the entry, or the sender that it must ring.

use crate::layout::QueueWords;
use kddm_memory::SharedBytes;
use std::{
    marker::PhantomData,
    sync::{
        Arc,
        atomic::{
            Ordering::{Acquire, Relaxed, Release, SeqCst},
            fence,
        },
    },
};
use zerocopy::{FromBytes, Immutable, IntoBytes};

/// The other end counts what cannot be: nothing that it says can be believed any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("its ring cannot be: {what} says {said}, where {least} to {most} is possible")]
pub struct Corrupt {
    what: &'static str,
    said: u64,
    least: u64,
    most: u64,
}

impl Corrupt {
    /// No room is left where the rules say that there is some.
    pub(crate) const FULL: Corrupt =
        Corrupt { what: "the count of requests under way", said: u64::MAX, least: 0, most: 0 };

    /// Requests under way and completions not yet seen must leave room for each other.
    ///
    /// # Errors
    /// They do not.
    pub fn unless_room(said: u64, most: u64) -> Result<(), Corrupt> {
        let corrupt = Corrupt { what: "the count of requests under way", said, least: 0, most };
        if said <= most { Ok(()) } else { Err(corrupt) }
    }
}

/// What is sent: whole words, the upper half of the last of which is the queue's.
pub(crate) trait Entry: IntoBytes + FromBytes + Immutable {}

/// A queue's place.
#[derive(Clone, Debug)]
struct Place {
    memory: Arc<SharedBytes>,
    words: QueueWords,
    first: usize,
    entries: u64,
}

const WORD: usize = size_of::<u64>();

impl Place {
    fn at<E>(&self, number: u64) -> usize {
        self.first + (number & (self.entries - 1)) as usize * size_of::<E>()
    }

    /// Where an entry's last word is.
    fn last<E>(&self, number: u64) -> usize {
        self.at::<E>(number) + size_of::<E>() - WORD
    }
}

/// What an entry carries: never what zeros, or the entry that was in its place before, carry.
fn mark(number: u64) -> u64 {
    (number + 1) << 32
}

/// The end that sends.
#[derive(Debug)]
pub(crate) struct Sender<E> {
    place: Place,
    /// Entries that were written, and those of them for which the receiver was looked at.
    written: u64,
    published: u64,
    /// What the receiver had taken when we looked last.
    taken: u64,
    entry: PhantomData<fn(E)>,
}

impl<E: Entry> Sender<E> {
    pub(crate) fn new(memory: Arc<SharedBytes>, words: QueueWords, first: usize, entries: u32) -> Sender<E> {
        let place = Place { memory, words, first, entries: entries.into() };
        Sender { place, written: 0, published: 0, taken: 0, entry: PhantomData }
    }

    /// Sends an entry. False: there is no room. Who has sent some [publishes](Self::publish).
    ///
    /// # Errors
    /// The receiver counts wrong.
    pub(crate) fn write(&mut self, entry: &E) -> Result<bool, Corrupt> {
        if self.room(1)? == 0 {
            return Ok(false);
        }
        let (bytes, place) = (entry.as_bytes(), &self.place);
        let (before, last) = bytes.split_at(bytes.len() - WORD);
        place.memory.write(place.at::<E>(self.written), before);
        let mut word = [0; WORD];
        word.copy_from_slice(last);
        let word = u64::from_ne_bytes(word) & u64::from(u32::MAX) | mark(self.written);
        place.memory.word(place.last::<E>(self.written)).store(word, Release);
        self.written += 1;
        Ok(true)
    }

    /// Whether the receiver sleeps and must be woken for what was written.
    pub(crate) fn publish(&mut self) -> bool {
        if self.published == self.written {
            return false;
        }
        self.published = self.written;
        fence(SeqCst);
        let asleep = self.place.memory.word(self.place.words.asleep);
        // Looked at first: mostly it is not, and a load is cheaper than a swap.
        asleep.load(Relaxed) != 0 && asleep.swap(0, Relaxed) != 0
    }

    /// Places that are free: `wanted` or more, if there are so many. What the receiver has taken is only looked at if it has to be.
    ///
    /// # Errors
    /// The receiver counts wrong.
    pub(crate) fn room(&mut self, wanted: u64) -> Result<u64, Corrupt> {
        let room = self.place.entries - (self.written - self.taken);
        if room >= wanted {
            return Ok(room);
        }
        self.taken = self.peek()?;
        Ok(self.place.entries - (self.written - self.taken))
    }

    /// Entries that the receiver has not taken yet.
    ///
    /// # Errors
    /// The receiver counts wrong.
    pub(crate) fn untaken(&self) -> Result<u64, Corrupt> {
        Ok(self.written - self.peek()?)
    }

    fn peek(&self) -> Result<u64, Corrupt> {
        let taken = self.place.memory.word(self.place.words.taken).load(Acquire);
        let (least, most) = (self.taken, self.written);
        if (least..=most).contains(&taken) {
            return Ok(taken);
        }
        Err(Corrupt { what: "the count of what was taken", said: taken, least, most })
    }
}

/// The end that takes.
#[derive(Debug)]
pub(crate) struct Receiver<E> {
    place: Place,
    taken: u64,
    entry: PhantomData<fn() -> E>,
}

impl<E: Entry> Receiver<E> {
    pub(crate) fn new(
        memory: Arc<SharedBytes>,
        words: QueueWords,
        first: usize,
        entries: u32,
    ) -> Receiver<E> {
        let place = Place { memory, words, first, entries: entries.into() };
        Receiver { place, taken: 0, entry: PhantomData }
    }

    /// The next entry, copied. Its place is the sender's again after [`Receiver::release`].
    pub(crate) fn take(&mut self) -> Option<E> {
        let word = self.next()?;
        let mut entry = E::new_zeroed();
        let bytes = entry.as_mut_bytes();
        let (before, last) = bytes.split_at_mut(size_of::<E>() - WORD);
        self.place.memory.read(self.place.at::<E>(self.taken), before);
        last.copy_from_slice(&(word & u64::from(u32::MAX)).to_ne_bytes());
        self.taken += 1;
        Some(entry)
    }

    /// Whether there is something to take.
    pub(crate) fn is_waiting(&self) -> bool {
        self.next().is_some()
    }

    /// The last word of the next entry, if that is there.
    fn next(&self) -> Option<u64> {
        let word = self.place.memory.word(self.place.last::<E>(self.taken)).load(Acquire);
        (word >> 32 == mark(self.taken) >> 32).then_some(word)
    }

    /// Gives the places of what was taken back to the sender.
    pub(crate) fn release(&self) {
        self.place.memory.word(self.place.words.taken).store(self.taken, Release);
    }

    /// Says that so many were taken, for tests of senders.
    pub(crate) fn spoil(&self, count: u64) {
        self.place.memory.word(self.place.words.taken).store(count, Release);
    }

    /// From now on the sender rings. False, and it need not: something came before.
    pub(crate) fn sleep(&self) -> bool {
        let asleep = self.place.memory.word(self.place.words.asleep);
        asleep.store(1, Relaxed);
        fence(SeqCst);
        if self.is_waiting() {
            asleep.store(0, Relaxed);
            return false;
        }
        true
    }

    /// The sender need not ring.
    pub(crate) fn wake(&self) {
        self.place.memory.word(self.place.words.asleep).store(0, Relaxed);
    }
}

#[cfg(test)]
mod tests;
