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

use kddm_object::{ObjectKey, SlotId};
use std::sync::OnceLock;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};
use std::sync::atomic::{AtomicU32, AtomicU64};

/// Entries of the first table: 2^10.
const FIRST_BITS: u32 = 10;
/// Entries of the last table: 2^31, so that 32 bits of hash tell any entry's place.
const LAST_BITS: u32 = 31;

/// The index. Reading takes `&self`; writing takes the one [`Writer`] too.
pub(crate) struct Index {
    /// By the binary logarithm of their length.
    tables: [OnceLock<Box<[AtomicU64]>>; LAST_BITS as usize + 1],
    bits: AtomicU32,
    moves: AtomicU64,
}

/// The right to change an index; there is one per index.
pub(crate) struct Writer {
    live: usize,
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
    fn place(self, bits: u32) -> usize {
        (self.0 >> (32 - bits)) as usize
    }

    #[inline]
    fn entry(self, slot: SlotId) -> u64 {
        u64::from(self.0) << 32 | u64::from(slot.0)
    }
}

fn table(bits: u32) -> Box<[AtomicU64]> {
    (0..1usize << bits).map(|_| AtomicU64::new(0)).collect()
}

#[inline]
fn fingerprint(entry: u64) -> Fingerprint {
    Fingerprint((entry >> 32) as u32)
}

impl Index {
    /// An empty index and the right to change it.
    pub(crate) fn new() -> (Index, Writer) {
        let tables = [const { OnceLock::new() }; LAST_BITS as usize + 1];
        tables[FIRST_BITS as usize].get_or_init(|| table(FIRST_BITS));
        (Index { tables, bits: AtomicU32::new(FIRST_BITS), moves: AtomicU64::new(0) }, Writer { live: 0 })
    }

    #[inline]
    fn current(&self) -> (u32, &[AtomicU64]) {
        let bits = self.bits.load(Acquire);
        (bits, self.tables[bits as usize].get().map_or(&[], |table| &table[..]))
    }

    /// The first answer of `is` to a slot whose entry has this fingerprint.
    #[inline]
    pub(crate) fn find<T>(&self, fp: Fingerprint, mut is: impl FnMut(SlotId) -> Option<T>) -> Option<T> {
        loop {
            let moves = self.moves.load(Acquire);
            let (bits, table) = self.current();
            let mask = table.len() - 1;
            let mut place = fp.place(bits);
            loop {
                // Acquire: what was done to the slot before it was indexed; and `moves` below is read after this.
                let entry = table[place & mask].load(Acquire);
                let found = if fingerprint(entry) == fp { is(SlotId(entry as u32)) } else { None };
                if found.is_some() {
                    return found;
                }
                if entry == 0 {
                    break;
                }
                place += 1;
            }
            if self.moves.load(Relaxed) == moves {
                return None;
            }
        }
    }

    /// Adds an entry. False if the index is as large as it can be.
    #[must_use]
    pub(crate) fn insert(&self, writer: &mut Writer, fp: Fingerprint, slot: SlotId) -> bool {
        let (bits, table) = self.current();
        // At most half full: a lookup that finds nothing reads 2.5 entries on average (Knuth, TAOCP 3, 6.4).
        if (writer.live + 1) * 2 > table.len() {
            if bits == LAST_BITS {
                return false;
            }
            self.grow(bits, table);
        }
        let (bits, table) = self.current();
        add(table, bits, fp.entry(slot));
        writer.live += 1;
        true
    }

    fn grow(&self, bits: u32, old: &[AtomicU64]) {
        self.tables[bits as usize + 1].get_or_init(|| {
            let new = table(bits + 1);
            for entry in old.iter().map(|entry| entry.load(Relaxed)).filter(|&entry| entry != 0) {
                add(&new, bits + 1, entry);
            }
            new
        });
        self.bits.store(bits + 1, Release);
    }

    /// Removes an entry. False if it is not there.
    pub(crate) fn remove(&self, writer: &mut Writer, fp: Fingerprint, slot: SlotId) -> bool {
        let (bits, table) = self.current();
        let mask = table.len() - 1;
        let mut hole = fp.place(bits);
        loop {
            match table[hole].load(Relaxed) {
                0 => return false,
                entry if entry == fp.entry(slot) => break,
                _ => hole = (hole + 1) & mask,
            }
        }
        let mut next = hole;
        loop {
            next = (next + 1) & mask;
            let entry = table[next].load(Relaxed);
            if entry == 0 {
                break;
            }
            // The entry may move into the hole unless that is before its first place.
            let travelled = next.wrapping_sub(fingerprint(entry).place(bits)) & mask;
            if travelled >= next.wrapping_sub(hole) & mask {
                table[hole].store(entry, Release);
                self.moves.store(self.moves.load(Relaxed) + 1, Release);
                hole = next;
            }
        }
        table[hole].store(0, Release);
        writer.live -= 1;
        true
    }

    /// Entries of the current table and in use.
    pub(crate) fn size(&self, writer: &Writer) -> (usize, usize) {
        (self.current().1.len(), writer.live)
    }
}

fn add(table: &[AtomicU64], bits: u32, entry: u64) {
    let mask = table.len() - 1;
    let mut place = fingerprint(entry).place(bits);
    while table[place].load(Relaxed) != 0 {
        place = (place + 1) & mask;
    }
    table[place].store(entry, Release);
}

#[cfg(test)]
mod tests;
