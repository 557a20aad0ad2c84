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
    hint,
    marker::PhantomData,
    sync::{
        Arc,
        atomic::{
            AtomicU64,
            Ordering::{Acquire, Relaxed, Release, SeqCst},
            fence,
        },
    },
};

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
    #[inline]
    pub fn unless_room(said: u64, most: u64) -> Result<(), Corrupt> {
        let corrupt = Corrupt { what: "the count of requests under way", said, least: 0, most };
        if said <= most { Ok(()) } else { Err(corrupt) }
    }
}

/// What is sent: whole words, the upper half of the last of which is the queue's.
pub(crate) trait Entry: Copy {
    /// So many words.
    type Words: Default + AsRef<[u64]> + AsMut<[u64]>;

    fn to_words(self) -> Self::Words;

    fn of_words(words: Self::Words) -> Self;
}

macro_rules! entry {
    ($entry:ty) => {
        impl crate::queue::Entry for $entry {
            type Words = [u64; size_of::<$entry>() / size_of::<u64>()];

            #[inline]
            fn to_words(self) -> Self::Words {
                zerocopy::transmute!(self)
            }

            #[inline]
            fn of_words(words: Self::Words) -> Self {
                zerocopy::transmute!(words)
            }
        }
    };
}
pub(crate) use entry;

/// A queue's place.
#[derive(Clone, Debug)]
struct Place {
    memory: Arc<SharedBytes>,
    words: QueueWords,
    first: usize,
    entries: u64,
}

impl Place {
    /// The words of an entry, apart from the last, and that.
    #[inline(always)]
    fn words<E>(&self, number: u64) -> (&[AtomicU64], &AtomicU64) {
        let at = self.first + (number & (self.entries - 1)) as usize * size_of::<E>();
        match self.memory.words(at, size_of::<E>()) {
            [before @ .., last] => (before, last),
            [] => unreachable!("an entry has words"),
        }
    }
}

/// What an entry carries: never what zeros, or the entry that was in its place before, carry.
#[inline]
fn mark(number: u64) -> u64 {
    (number + 1) << 32
}

/// What an entry's last word carries of its own, if it is of the entry with that number.
#[inline]
fn own(word: u64, number: u64) -> Option<u64> {
    (word >> 32 == mark(number) >> 32).then_some(word & u64::from(u32::MAX))
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
    #[inline(always)]
    pub(crate) fn write(&mut self, entry: &E) -> Result<bool, Corrupt> {
        if self.room(1)? == 0 {
            return Ok(false);
        }
        let words = entry.to_words();
        let (before, last) = self.place.words::<E>(self.written);
        for (place, word) in before.iter().zip(words.as_ref()) {
            place.store(*word, Relaxed);
        }
        let own = words.as_ref().last().map_or(0, |word| word & u64::from(u32::MAX));
        last.store(own | mark(self.written), Release);
        self.written += 1;
        Ok(true)
    }

    /// Whether the receiver sleeps and must be woken for what was written.
    #[inline]
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
    #[inline]
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
    #[inline]
    pub(crate) fn take(&mut self) -> Option<E> {
        let (before, last) = self.place.words::<E>(self.taken);
        let last = own(last.load(Acquire), self.taken)?;
        let mut words = E::Words::default();
        if let [own @ .., own_last] = words.as_mut() {
            for (own, place) in own.iter_mut().zip(before) {
                *own = place.load(Relaxed);
            }
            *own_last = last;
        }
        self.taken += 1;
        Some(E::of_words(words))
    }

    /// Whether there is something to take: looks until there is, but at most so often.
    #[inline]
    pub(crate) fn look(&self, times: u32) -> bool {
        let (_, last) = self.place.words::<E>(self.taken);
        (0..times).any(|_| {
            let there = own(last.load(Acquire), self.taken).is_some();
            if !there {
                hint::spin_loop();
            }
            there
        })
    }

    /// Gives the places of what was taken back to the sender.
    #[inline]
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
        if self.look(1) {
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
