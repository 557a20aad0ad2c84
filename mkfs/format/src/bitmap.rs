//! Pages of a partition's inode bitmap: which local ids are taken, and the generations given out.
//!
//! ```text
//! 0..4 magic   4..8 checksum   8..12 node << 24 | page   12..16 taken ids   16..20 hint   20..24 last generation
//! 24..28 life of the server   28..64 reserved   64..4096 a bit for each of 32256 ids, 1 = taken
//! ```
//!
//! Page `p` has the local ids from `p * 32256` on. Local id 0 names nothing, ids from 2^24 on do not exist: their
//! bits are never given out. A page of zeros is one whose ids are all free. Each page counts the generations that
//! it gave out, so an id that is used again does not repeat one within 2^24. A crash can take back the newest
//! counts, so each life of the server continues far from where any recent one may have been.

use crate::layout::{assert_layout, not_zero};
use crate::{FormatError, PAGE_SIZE, sets};
use zerocopy::little_endian::U32;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// Ids of a page.
pub const IDS_PER_PAGE: u32 = (BYTES * 8) as u32;

/// Pages of a whole bitmap.
pub const PAGES: u32 = (sets::MAX_LOCAL_ID + 1).div_ceil(IDS_PER_PAGE);

const HEADER: usize = 64;
const BYTES: usize = PAGE_SIZE - HEADER;
const WHAT: &str = "bitmap page";
const MAGIC: u32 = u32::from_le_bytes(*b"kDFb");

/// A page of the bitmap, verified.
#[derive(Debug, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct BitmapPage {
    magic: U32,
    checksum: U32,
    object: U32,
    taken: U32,
    /// Where the search for a free id begins.
    hint: U32,
    generation: U32,
    life: U32,
    reserved: [u8; 36],
    bits: [u8; BYTES],
}

assert_layout!(BitmapPage, PAGE_SIZE, {
    magic: 0, checksum: 4, object: 8, taken: 12, hint: 16, generation: 20, life: 24, reserved: 28, bits: 64,
});

/// The page that has `local`.
pub const fn page_of(local: u32) -> u32 {
    local / IDS_PER_PAGE
}

/// The page as it goes to disk: with its checksum. A page of zeros stays as it is.
pub fn seal(page: &mut [u8; PAGE_SIZE]) {
    crate::checksum::seal(page, 4);
}

/// Checks a page that comes from disk and clears its checksum field. `object`: node << 24 | page.
///
/// # Errors
/// What is wrong with it.
pub fn verify(page: &mut [u8; PAGE_SIZE], object: u32) -> Result<(), FormatError> {
    crate::checksum::verify(page, 4, WHAT)?;
    let Some(page) = BitmapPage::of(page, object)? else { return Ok(()) };
    if let Some(found) = not_zero(&page.reserved) {
        return Err(FormatError::Field { what: WHAT, field: "reserved bytes", found });
    }
    let bits: u32 = page.bits.iter().map(|byte| byte.count_ones()).sum();
    // Bits of ids that do not exist count as none.
    let taken = page.taken().count() as u32;
    if taken != page.taken.get() || taken != bits {
        return Err(FormatError::Field {
            what: WHAT,
            field: "number of taken ids",
            found: page.taken.get().into(),
        });
    }
    Ok(())
}

impl BitmapPage {
    /// The page in the bytes of BITMAP object `object`; `None` for one that was never written.
    ///
    /// # Errors
    /// The bytes are not this page.
    pub fn of(bytes: &[u8], object: u32) -> Result<Option<&BitmapPage>, FormatError> {
        let page = BitmapPage::ref_from_bytes(bytes).map_err(|_| wrong_length(bytes.len()))?;
        if page.magic.get() == 0 && bytes.iter().all(|&byte| byte == 0) {
            return Ok(None);
        }
        page.check(object)?;
        Ok(Some(page))
    }

    /// The page in the bytes of BITMAP object `object`, to be changed; one that was never written becomes a page.
    ///
    /// # Errors
    /// The bytes are not this page.
    pub fn of_mut(bytes: &mut [u8], object: u32) -> Result<&mut BitmapPage, FormatError> {
        let unwritten = BitmapPage::of(bytes, object)?.is_none();
        let length = bytes.len();
        let page = BitmapPage::mut_from_bytes(bytes).map_err(|_| wrong_length(length))?;
        if unwritten {
            page.magic = MAGIC.into();
            page.object = object.into();
        }
        Ok(page)
    }

    /// Ids of this page that can be given out and are not.
    pub fn free(&self) -> u32 {
        let first = self.first();
        let end = (first + IDS_PER_PAGE).min(sets::MAX_LOCAL_ID + 1);
        let usable = end - first.max(1);
        usable.saturating_sub(self.taken.get())
    }

    /// Whether `local`, an id of this page, is taken.
    pub fn is_taken(&self, local: u32) -> bool {
        self.place(local).is_some_and(|(byte, bit)| self.bits[byte] & bit != 0)
    }

    /// The ids of this page that are taken, ascending.
    pub fn taken(&self) -> impl Iterator<Item = u32> + '_ {
        (self.first()..self.first() + IDS_PER_PAGE).filter(|&local| self.is_taken(local))
    }

    /// The server of the partition, in its life number `life` (larger than any before), reads this page from disk.
    pub fn begin_life(&mut self, life: u32) {
        if self.life.get() != life {
            self.life = life.into();
            // Fibonacci hashing (Knuth, TAOCP 3, 6.4): multiples of the golden ratio keep away from each other.
            let jump = life.wrapping_mul(0x9e37_79b1) >> 8;
            self.generation = (self.generation.get().wrapping_add(jump) & sets::GENERATION_MASK).into();
        }
    }

    /// Takes a free id: the id and a generation that it did not have before. `None` if there is none.
    pub fn allocate(&mut self) -> Option<(u32, u32)> {
        let hint = self.hint.get() % IDS_PER_PAGE;
        let first = self.first();
        let mut candidates = (hint..IDS_PER_PAGE).chain(0..hint).map(|index| first + index);
        let local = candidates.find(|&local| self.place(local).is_some() && !self.is_taken(local))?;
        self.hint = (local - first + 1).into();
        Some((local, self.take(local)?))
    }

    /// Takes the id `local` and gives it a generation. `None`, and nothing is changed, if it is taken or not of
    /// this page.
    pub fn take(&mut self, local: u32) -> Option<u32> {
        let (byte, bit) = self.place(local)?;
        if self.bits[byte] & bit != 0 {
            return None;
        }
        self.bits[byte] |= bit;
        self.taken = (self.taken.get() + 1).into();
        // 0 is left out, so that a generation of zeros is always a mistake.
        self.generation = (self.generation.get() % sets::GENERATION_MASK + 1).into();
        Some(self.generation.get())
    }

    /// Gives an id back. False if it was not taken.
    pub fn release(&mut self, local: u32) -> bool {
        let Some((byte, bit)) = self.place(local).filter(|_| self.is_taken(local)) else {
            return false;
        };
        self.bits[byte] &= !bit;
        self.taken = self.taken.get().saturating_sub(1).into();
        self.hint = self.hint.get().min(local - self.first()).into();
        true
    }

    /// The first id of this page.
    fn first(&self) -> u32 {
        (self.object.get() & sets::MAX_LOCAL_ID) * IDS_PER_PAGE
    }

    /// The byte and the bit of an id; `None` if it is not of this page or names nothing.
    fn place(&self, local: u32) -> Option<(usize, u8)> {
        let index = local.checked_sub(self.first())?;
        let exists = index < IDS_PER_PAGE && (1..=sets::MAX_LOCAL_ID).contains(&local);
        exists.then_some(((index / 8) as usize, 1 << (index % 8)))
    }

    fn check(&self, object: u32) -> Result<(), FormatError> {
        let field = |field, found: u32| Err(FormatError::Field { what: WHAT, field, found: found.into() });
        let magic = self.magic.get();
        if magic != MAGIC {
            return Err(FormatError::Magic { what: WHAT, expected: MAGIC.into(), found: magic.into() });
        }
        if self.object.get() != object || object & sets::MAX_LOCAL_ID >= PAGES {
            return field("its number", self.object.get());
        }
        if self.taken.get() > IDS_PER_PAGE {
            return field("number of taken ids", self.taken.get());
        }
        Ok(())
    }
}

fn wrong_length(found: usize) -> FormatError {
    FormatError::Length { what: WHAT, expected: PAGE_SIZE, found }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    const NODE: u32 = 2 << 24;

    fn page(bytes: &mut [u8; PAGE_SIZE], page: u32) -> &mut BitmapPage {
        BitmapPage::of_mut(bytes, NODE | page).unwrap()
    }

    #[test]
    fn all_ids_of_a_page_are_given_out_once() {
        let mut bytes = [0; PAGE_SIZE];
        let bitmap = page(&mut bytes, 0);
        assert_eq!(bitmap.take(sets::ROOT_LOCAL_ID), Some(sets::ROOT_GENERATION));
        let mut given = BTreeMap::new();
        while let Some((local, generation)) = bitmap.allocate() {
            assert_eq!(given.insert(local, generation), None);
        }
        assert_eq!(given.keys().copied().collect::<Vec<_>>(), (2..IDS_PER_PAGE).collect::<Vec<_>>());
        assert_eq!(bitmap.free(), 0);
        assert!(bitmap.release(77) && !bitmap.release(77) && !bitmap.release(0));
        assert_eq!(bitmap.free(), 1);
        let (local, generation) = bitmap.allocate().unwrap();
        assert!(local == 77 && given.values().all(|&old| old < generation));
    }

    #[test]
    fn the_last_page_ends_with_the_ids() {
        let mut bytes = [0; PAGE_SIZE];
        let bitmap = page(&mut bytes, PAGES - 1);
        let ids = (sets::MAX_LOCAL_ID + 1) - (PAGES - 1) * IDS_PER_PAGE;
        assert_eq!(bitmap.free(), ids);
        let last = (0..ids).map(|_| bitmap.allocate().unwrap().0).max();
        assert_eq!((last, bitmap.allocate()), (Some(sets::MAX_LOCAL_ID), None));
        assert_eq!(bitmap.taken().count() as u32, ids);
    }

    #[test]
    fn generations_go_round_without_zero() {
        let mut bytes = [0; PAGE_SIZE];
        let bitmap = page(&mut bytes, 1);
        bitmap.generation = (sets::GENERATION_MASK - 1).into();
        let next = |bitmap: &mut BitmapPage| bitmap.allocate().unwrap().1;
        assert_eq!((next(bitmap), next(bitmap), next(bitmap)), (sets::GENERATION_MASK, 1, 2));
    }

    /// What a crash took back is not given out again: whatever was counted in one life is far from the next.
    #[test]
    fn lives_do_not_share_generations() {
        let first_of = |life| {
            let mut bytes = [0; PAGE_SIZE];
            let bitmap = page(&mut bytes, 0);
            bitmap.begin_life(life);
            let generation = bitmap.allocate().unwrap().1;
            bitmap.begin_life(life);
            assert_eq!(
                bitmap.allocate().unwrap().1,
                generation % sets::GENERATION_MASK + 1,
                "one life goes on"
            );
            generation
        };
        let mut firsts: Vec<u32> = (1..=50).map(first_of).collect();
        firsts.sort();
        assert!(firsts.windows(2).all(|pair| pair[1] - pair[0] > 50_000), "{firsts:?}");
    }

    #[test]
    fn another_page_is_refused() {
        let mut bytes = [0; PAGE_SIZE];
        assert!(BitmapPage::of(&bytes, NODE).unwrap().is_none());
        page(&mut bytes, 3).allocate().unwrap();
        assert!(BitmapPage::of(&bytes, NODE | 3).unwrap().is_some());
        assert!(matches!(BitmapPage::of(&bytes, NODE | 4), Err(FormatError::Field { .. })));
        assert!(matches!(BitmapPage::of(&[1; PAGE_SIZE], NODE), Err(FormatError::Magic { .. })));
        assert!(matches!(BitmapPage::of(&[0; 64], NODE), Err(FormatError::Length { .. })));
    }

    #[test]
    fn what_is_said_to_be_taken_is_what_is_taken() {
        for harm in [
            |page: &mut BitmapPage| page.taken = 4.into(),
            |page: &mut BitmapPage| page.bits[9] |= 1,
            |page: &mut BitmapPage| {
                page.bits[0] |= 1; // local id 0, which names nothing
                page.taken = 4.into();
            },
        ] {
            let mut bytes = [0; PAGE_SIZE];
            let bitmap = page(&mut bytes, 0);
            (0..3).for_each(|_| assert!(bitmap.allocate().is_some()));
            harm(bitmap);
            seal(&mut bytes);
            let refused = verify(&mut bytes, NODE);
            assert!(
                matches!(refused, Err(FormatError::Field { field: "number of taken ids", .. })),
                "{refused:?}"
            );
        }
    }

    #[test]
    fn damage_is_seen() {
        let mut bytes = [0; PAGE_SIZE];
        seal(&mut bytes);
        assert_eq!(verify(&mut bytes, NODE), Ok(()), "a page that was never written");
        page(&mut bytes, 0).allocate().unwrap();
        let unsealed = bytes;
        seal(&mut bytes);
        let mut copy = bytes;
        assert_eq!(verify(&mut copy, NODE), Ok(()));
        assert_eq!(copy, unsealed);
        for byte in (0..PAGE_SIZE).step_by(3) {
            let mut copy = bytes;
            copy[byte] ^= 0x10;
            assert!(verify(&mut copy, NODE).is_err(), "byte {byte}");
        }
    }
}
