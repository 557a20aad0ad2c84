//! Keys: where an entry lies in its directory, and the cookie of readdir.

use siphasher::sip::SipHasher13;
use std::hash::Hasher;

/// Longest name, bytes.
pub const MAX_NAME: usize = 255;

/// Deepest page of a directory's tree: page numbers have 32 bits.
pub const MAX_DEPTH: u32 = 31;

/// Low bits that tell names with equal hashes apart.
const DISAMBIGUATOR_BITS: u32 = 8;

/// Fixed for the format: placement has to be the same on every node, for ever.
const HASH_KEY: (u64, u64) = (0x6b44_4653_2064_6972, 0x656e_7472_7920_6b65);

/// An entry's key: 0 | 55 bits of the name's hash | 8 bits that make it unique in the directory.
///
/// It is stored in the entry and never changes. As a cookie of readdir it is positive and leaves the numbers
/// below 256 to others (`.` and `..`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key(u64);

impl Key {
    /// The smallest key.
    pub const FIRST: Key = Key(1 << DISAMBIGUATOR_BITS);
    /// The largest key.
    pub const LAST: Key = Key(u64::MAX >> 1);

    /// The first of the keys that `name` may have.
    pub fn of_name(name: &[u8]) -> Key {
        let mut hasher = SipHasher13::new_with_keys(HASH_KEY.0, HASH_KEY.1);
        hasher.write(name);
        let hash = hasher.finish() >> 1 >> DISAMBIGUATOR_BITS << DISAMBIGUATOR_BITS;
        Key(hash).max(Key::FIRST)
    }

    /// The key with this number; `None` if no key has it.
    pub fn from_number(number: u64) -> Option<Key> {
        (Key::FIRST.0..=Key::LAST.0).contains(&number).then_some(Key(number))
    }

    /// The number.
    pub const fn number(self) -> u64 {
        self.0
    }

    /// The key after this one; `None` after the last.
    pub fn next(self) -> Option<Key> {
        Key::from_number(self.0 + 1)
    }

    /// All keys with the same hash, ascending.
    pub fn same_hash(self) -> impl Iterator<Item = Key> {
        let first = self.0 >> DISAMBIGUATOR_BITS << DISAMBIGUATOR_BITS;
        (first..first + (1 << DISAMBIGUATOR_BITS)).map(Key)
    }

    /// Whether the names behind both keys have equal hashes.
    pub const fn collides(self, other: Key) -> bool {
        self.0 >> DISAMBIGUATOR_BITS == other.0 >> DISAMBIGUATOR_BITS
    }

    /// The page of this key at `depth` (at most [`MAX_DEPTH`]).
    pub const fn page(self, depth: u32) -> u32 {
        if depth == 0 {
            return 1;
        }
        // The top bit of a key is always 0, so the leading bits that count begin below it.
        (1 << depth) | ((self.0 << 1) >> (64 - depth)) as u32
    }

    /// The last key of page `page`'s interval.
    pub const fn last_of_page(page: u32) -> Key {
        let depth = 31 - (page | 1).leading_zeros();
        if depth == 0 {
            return Key::LAST;
        }
        let leading = (page as u64) & ((1 << depth) - 1);
        Key((((leading + 1) as u128) << (63 - depth)) as u64 - 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_positive_and_leave_room_for_dots() {
        for name in ["a", "b", "main.rs", "Cargo.toml", "x".repeat(255).as_str()] {
            let key = Key::of_name(name.as_bytes());
            assert!(key.number() >= 256 && key.number() as i64 > 0);
            assert_eq!(key.number() % 256, 0);
            assert_eq!(key.same_hash().count(), 256);
            assert!(key.same_hash().all(|other| other.collides(key)));
        }
        assert_eq!(Key::from_number(255), None);
        assert_eq!(Key::LAST.next(), None);
    }

    #[test]
    fn the_hash_is_that_of_the_format() {
        assert_eq!(Key::of_name(b"README.md").number(), 6_056_387_404_185_196_544);
    }

    #[test]
    fn pages_divide_the_line() {
        let key = Key(0x5555_5555_5555_5500);
        assert_eq!(key.page(0), 1);
        assert_eq!(key.page(1), 0b11);
        assert_eq!(key.page(2), 0b110);
        assert_eq!(key.page(31) >> 30, 0b11);
        assert_eq!(Key::last_of_page(1), Key::LAST);
        assert_eq!(Key::last_of_page(3), Key::LAST);
        assert_eq!(Key::last_of_page(2).number(), (1 << 62) - 1);
        for depth in 0..=MAX_DEPTH {
            let page = key.page(depth);
            let last = Key::last_of_page(page);
            assert!(last >= key && last.page(depth) == page);
            if let Some(next) = last.next() {
                assert_eq!(next.page(depth), page + 1);
            }
        }
    }
}
