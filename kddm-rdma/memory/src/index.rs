//! (set, object) → slot, for lookups that never wait and never write.
//!
//! An open-addressed table of 64-bit entries: 32 bits of the key's hash (never 0) and the slot; 0 is empty. The key itself is
//! in the slot's control block, where a lookup checks it. Two ideas keep readers free of locks, reference counts and retries:
//!
//! - *Removal shifts entries back* instead of leaving tombstones, so a table never has to be rebuilt in place. An entry is
//!   copied to its new place, `moves` is raised, and only then is its old place overwritten: a reader that misses an entry
//!   because it was moved behind the reader's back sees that `moves` has changed and looks again. A reader that finds
//!   what it wants never looks at `moves`.
//! - *Growth doubles* and leaves the old table as it was, for readers that are still in it. Old tables stay until the index
//!   goes: all of them together are smaller than the current one, and lookups pay nothing for memory reclamation (an epoch
//!   would cost each hit a third atomic read-modify-write; there are two).

use crate::fault::{Fault, planted, unless};
use crate::sync::{AtomicPtr, AtomicU64, Mutex};
use kddm_object::{ObjectKey, SlotId};
use std::marker::PhantomData;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};

/// Entries of the first table: 2^10; few where growth is explored.
const FIRST_BITS: u32 = if cfg!(feature = "interleave") { 2 } else { 10 };
/// Entries of the last table: 2^31, so that 32 bits of hash tell any entry's place.
const LAST_BITS: u32 = 31;

/// The index. Reading takes `&self`; writing takes the one [`Writer`] too.
pub(crate) struct Index {
    /// Where the current table begins, and in the bits that its alignment leaves free how large it is: one load tells both.
    current: AtomicPtr<AtomicU64>,
    moves: AtomicU64,
    /// All tables, the current one last. Locked by who has the [`Writer`], so nobody ever waits.
    tables: Mutex<Vec<Box<[Line]>>>,
}

/// The right to change an index; there is one per index.
pub(crate) struct Writer {
    live: usize,
}

/// Entries as a table is made of them: aligned so that the address of the first leaves five bits free.
#[repr(align(32))]
#[allow(dead_code, reason = "entries are reached through `Table`")]
struct Line([AtomicU64; LINE]);

const LINE: usize = 4;
const _: () = assert!(size_of::<Line>() == LINE * size_of::<AtomicU64>(), "entries follow each other");

/// A table as readers and the writer see it.
#[derive(Clone, Copy)]
struct Table<'a> {
    entries: *const AtomicU64,
    /// 32 less the binary logarithm of its length: from 1 to 31.
    shift: u32,
    index: PhantomData<&'a Index>,
}

/// 32 bits of a key's hash, odd.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Fingerprint(u32);

impl Fingerprint {
    /// The fingerprint of `key`.
    #[inline]
    pub(crate) fn of(key: ObjectKey) -> Fingerprint {
        // Multiplications by odd constants (the golden ratio, and two of splitmix64's) carry every bit upwards; the fold between them brings the upper ones back.
        let sum = key.set.0.wrapping_mul(0x9e37_79b9_7f4a_7c15)
            ^ u64::from(key.object).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let folded = (sum ^ (sum >> 32)).wrapping_mul(0x94d0_49bb_1331_11eb);
        Fingerprint((folded >> 32) as u32 | 1)
    }

    #[inline]
    fn entry(self, slot: SlotId) -> u64 {
        u64::from(self.0) << 32 | u64::from(slot.0)
    }
}

#[inline]
fn fingerprint(entry: u64) -> Fingerprint {
    Fingerprint((entry >> 32) as u32)
}

impl<'a> Table<'a> {
    /// An empty table of 2^`bits` entries, kept in `tables`, and what `current` is to say of it.
    fn make(bits: u32, tables: &mut Vec<Box<[Line]>>) -> *mut AtomicU64 {
        let line = || Line(std::array::from_fn(|_| AtomicU64::new(0)));
        tables.push((0..(1usize << bits) / LINE).map(|_| line()).collect());
        let first = tables.last_mut().map_or(std::ptr::null_mut(), |table| table.as_mut_ptr());
        first.cast::<AtomicU64>().map_addr(|address| address | (32 - bits) as usize)
    }

    /// # Safety
    /// `current` is of [`Table::make`], and for as long as the table is used its lines are neither dropped nor moved.
    #[inline]
    unsafe fn of(current: *const AtomicU64) -> Table<'a> {
        const SIZE: usize = align_of::<Line>() - 1;
        let entries = current.map_addr(|address| address & !SIZE);
        Table { entries, shift: (current.addr() & SIZE) as u32, index: PhantomData }
    }

    #[inline]
    fn mask(self) -> usize {
        u32::MAX.wrapping_shr(self.shift) as usize
    }

    /// Where the search for a fingerprint begins.
    #[inline]
    fn place(self, fp: Fingerprint) -> usize {
        fp.0.wrapping_shr(self.shift) as usize
    }

    /// The entry at `place`, or as far from the beginning as that is beyond the end.
    #[inline]
    fn at(self, place: usize) -> &'a AtomicU64 {
        // SAFETY: a table has `mask() + 1` entries side by side, and stays (the promise of `of`).
        unsafe { &*self.entries.add(place & self.mask()) }
    }

    fn add(self, entry: u64) {
        let mut place = self.place(fingerprint(entry));
        while self.at(place).load(Relaxed) != 0 {
            place += 1;
        }
        self.at(place).store(entry, Release);
    }
}

impl Index {
    /// An empty index and the right to change it.
    pub(crate) fn new() -> (Index, Writer) {
        let mut tables = Vec::new();
        let current = AtomicPtr::new(Table::make(FIRST_BITS, &mut tables));
        (Index { current, moves: AtomicU64::new(0), tables: Mutex::new(tables) }, Writer { live: 0 })
    }

    #[inline]
    fn current(&self) -> Table<'_> {
        // SAFETY: all tables that `current` ever names stay in `tables` for as long as the index lives.
        unsafe { Table::of(self.current.load(Acquire)) }
    }

    /// The first answer of `is` to a slot whose entry has this fingerprint.
    #[inline(always)]
    pub(crate) fn find<T>(&self, fp: Fingerprint, mut is: impl FnMut(SlotId) -> Option<T>) -> Option<T> {
        loop {
            let moves = self.moves.load(Acquire);
            let table = self.current();
            let mut place = table.place(fp);
            loop {
                // Acquire: what was done to the slot before it was indexed; and `moves` below is read after this.
                let entry = table.at(place).load(Acquire);
                let found = if fingerprint(entry) == fp { is(SlotId(entry as u32)) } else { None };
                if found.is_some() {
                    return found;
                }
                if entry == 0 {
                    break;
                }
                place = place.wrapping_add(1);
            }
            if self.moves.load(Relaxed) == moves {
                return None;
            }
        }
    }

    /// Adds an entry. False if the index is as large as it can be.
    #[must_use]
    pub(crate) fn insert(&self, writer: &mut Writer, fp: Fingerprint, slot: SlotId) -> bool {
        // At most half full: a lookup that finds nothing reads 2.5 entries on average (Knuth, TAOCP 3, 6.4).
        if writer.live * 2 > self.current().mask() && !self.grow() {
            return false;
        }
        self.current().add(fp.entry(slot));
        writer.live += 1;
        true
    }

    fn grow(&self) -> bool {
        let old = self.current();
        let bits = 32 - old.shift;
        if bits == LAST_BITS {
            return false;
        }
        let made = Table::make(bits + 1, &mut self.tables.lock());
        // SAFETY: just made.
        let new = unsafe { Table::of(made) };
        let entries = (0..=old.mask()).map(|place| old.at(place).load(Relaxed));
        entries.filter(|&entry| entry != 0).for_each(|entry| new.add(entry));
        self.current.store(made, unless(Fault::RelaxedGrowth, Release));
        true
    }

    /// Removes an entry. False if it is not there.
    pub(crate) fn remove(&self, writer: &mut Writer, fp: Fingerprint, slot: SlotId) -> bool {
        let table = self.current();
        let mut hole = table.place(fp);
        loop {
            match table.at(hole).load(Relaxed) {
                0 => return false,
                entry if entry == fp.entry(slot) => break,
                _ => hole += 1,
            }
        }
        let mut next = hole;
        loop {
            next += 1;
            let entry = table.at(next).load(Relaxed);
            if entry == 0 {
                break;
            }
            // The entry may move into the hole unless that is before its first place.
            let travelled = next.wrapping_sub(table.place(fingerprint(entry))) & table.mask();
            if travelled >= next - hole {
                table.at(hole).store(entry, Release);
                if !planted(Fault::SilentMove) {
                    self.moves.store(self.moves.load(Relaxed) + 1, Release);
                }
                hole = next;
            }
        }
        table.at(hole).store(0, Release);
        writer.live -= 1;
        true
    }

    /// Entries of the current table and in use.
    pub(crate) fn size(&self, writer: &Writer) -> (usize, usize) {
        (self.current().mask() + 1, writer.live)
    }
}

#[cfg(all(test, feature = "interleave"))]
mod interleaved_tests;
#[cfg(test)]
mod tests;
