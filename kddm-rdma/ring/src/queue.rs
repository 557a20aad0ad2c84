//! Entries in shared memory: one sender, one receiver.
//!
//! Each end believes its own number, and of the other's only what is possible.
//!
//! **No wake-up is lost** (Dekker's pattern). The receiver says that it sleeps, and then looks whether there is something; the sender
//! publishes something, and then looks whether the receiver sleeps. Each has a SeqCst fence between the two, so of two fences one is the
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

/// A queue's place.
#[derive(Clone, Debug)]
struct Place {
    memory: Arc<SharedBytes>,
    words: QueueWords,
    first: usize,
    entries: u64,
}

impl Place {
    fn at(&self, number: u64, size: usize) -> usize {
        self.first + (number & (self.entries - 1)) as usize * size
    }
}

/// The end that publishes.
#[derive(Debug)]
pub(crate) struct Sender<E> {
    place: Place,
    /// Entries that were written, and those of them that the receiver was told of.
    written: u64,
    published: u64,
    /// What the receiver had taken when we looked last.
    taken: u64,
    entry: PhantomData<fn(E)>,
}

impl<E: IntoBytes + Immutable> Sender<E> {
    pub(crate) fn new(memory: Arc<SharedBytes>, words: QueueWords, first: usize, entries: u32) -> Sender<E> {
        let place = Place { memory, words, first, entries: entries.into() };
        Sender { place, written: 0, published: 0, taken: 0, entry: PhantomData }
    }

    /// Writes an entry, which the receiver sees when it is published. False: there is no room.
    ///
    /// # Errors
    /// The receiver counts wrong.
    pub(crate) fn write(&mut self, entry: &E) -> Result<bool, Corrupt> {
        if self.written - self.taken == self.place.entries {
            self.look()?;
            if self.written - self.taken == self.place.entries {
                return Ok(false);
            }
        }
        self.place.memory.write(self.place.at(self.written, size_of::<E>()), entry.as_bytes());
        self.written += 1;
        Ok(true)
    }

    /// Tells the receiver of what was written; whether it sleeps and must be woken.
    pub(crate) fn publish(&mut self) -> bool {
        if self.published == self.written {
            return false;
        }
        self.published = self.written;
        self.place.memory.word(self.place.words.published).store(self.published, Release);
        fence(SeqCst);
        let asleep = self.place.memory.word(self.place.words.asleep);
        // Looked at first: mostly it is not, and a load is cheaper than a swap.
        asleep.load(Relaxed) != 0 && asleep.swap(0, Relaxed) != 0
    }

    /// Entries that the receiver has not taken yet.
    ///
    /// # Errors
    /// The receiver counts wrong.
    pub(crate) fn untaken(&self) -> Result<u64, Corrupt> {
        Ok(self.written - self.peek()?)
    }

    pub(crate) fn spoil(&self, count: u64) {
        self.place.memory.word(self.place.words.published).store(count, Release);
    }

    fn look(&mut self) -> Result<(), Corrupt> {
        self.taken = self.peek()?;
        Ok(())
    }

    fn peek(&self) -> Result<u64, Corrupt> {
        let taken = self.place.memory.word(self.place.words.taken).load(Acquire);
        let (least, most) = (self.taken, self.published);
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
    /// What the sender had published when we looked last.
    published: u64,
    entry: PhantomData<fn() -> E>,
}

impl<E: FromBytes + IntoBytes> Receiver<E> {
    pub(crate) fn new(
        memory: Arc<SharedBytes>,
        words: QueueWords,
        first: usize,
        entries: u32,
    ) -> Receiver<E> {
        let place = Place { memory, words, first, entries: entries.into() };
        Receiver { place, taken: 0, published: 0, entry: PhantomData }
    }

    /// The next entry, copied. Its place is the sender's again after [`Receiver::release`].
    ///
    /// # Errors
    /// The sender counts wrong.
    pub(crate) fn take(&mut self) -> Result<Option<E>, Corrupt> {
        if self.taken == self.published {
            self.look()?;
            if self.taken == self.published {
                return Ok(None);
            }
        }
        let mut entry = E::new_zeroed();
        self.place.memory.read(self.place.at(self.taken, size_of::<E>()), entry.as_mut_bytes());
        self.taken += 1;
        Ok(Some(entry))
    }

    /// Whether there is something to take. What cannot be counts as something: taking it says so.
    pub(crate) fn is_waiting(&self) -> bool {
        self.taken != self.published
            || self.place.memory.word(self.place.words.published).load(Acquire) != self.taken
    }

    /// Gives the places of what was taken back to the sender.
    pub(crate) fn release(&self) {
        self.place.memory.word(self.place.words.taken).store(self.taken, Release);
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

    fn look(&mut self) -> Result<(), Corrupt> {
        let published = self.place.memory.word(self.place.words.published).load(Acquire);
        let most = self.taken + self.place.entries;
        if !(self.taken..=most).contains(&published) {
            return Err(Corrupt {
                what: "the count of what was published",
                said: published,
                least: self.taken,
                most,
            });
        }
        self.published = published;
        Ok(())
    }
}

#[cfg(test)]
mod tests;
