//! An object of the registry: `state u8 | length u8 | mode u16 | uid u32 | gid u32 | 0 × 4 | id u64 | name`, little-endian.

use super::Owner;
use kddm_object::SetId;

pub(super) const SIZE: usize = 256;
pub(super) const MAX_NAME: usize = 200;

const ID: usize = 16;
const NAME: usize = 24;
const SET: u8 = 1;
const DESTROYED: u8 = 2;
const _: () = assert!(NAME + MAX_NAME <= SIZE && MAX_NAME <= u8::MAX as usize);

#[derive(Debug, PartialEq, Eq)]
pub(super) enum Entry<'a> {
    /// Never used.
    Empty,
    /// A set.
    Set { name: &'a str, set: SetId, owner: Owner },
    /// A set was here; entries of other names may lie behind.
    Destroyed,
}

impl<'a> Entry<'a> {
    /// What cannot be an entry reads as a destroyed one: the search goes on behind it.
    pub(super) fn read(bytes: &'a [u8]) -> Entry<'a> {
        match bytes.first() {
            Some(0) => Entry::Empty,
            Some(&SET) => Entry::read_set(bytes).unwrap_or(Entry::Destroyed),
            _ => Entry::Destroyed,
        }
    }

    fn read_set(bytes: &'a [u8]) -> Option<Entry<'a>> {
        let (head, name) = bytes.split_first_chunk::<NAME>()?;
        let [_, length, m0, m1, u0, u1, u2, u3, g0, g1, g2, g3, _, _, _, _, set @ ..] = *head;
        Some(Entry::Set {
            name: std::str::from_utf8(name.get(..usize::from(length))?).ok()?,
            set: SetId(u64::from_le_bytes(set)),
            owner: Owner {
                uid: u32::from_le_bytes([u0, u1, u2, u3]),
                gid: u32::from_le_bytes([g0, g1, g2, g3]),
                mode: u16::from_le_bytes([m0, m1]),
            },
        })
    }

    /// `bytes` are those of a whole object, and a name has at most [`MAX_NAME`] bytes.
    pub(super) fn write(&self, bytes: &mut [u8]) {
        bytes.fill(0);
        match *self {
            Entry::Empty => {}
            Entry::Destroyed => bytes[0] = DESTROYED,
            Entry::Set { name, set, owner } => {
                bytes[0] = SET;
                bytes[1] = name.len() as u8;
                bytes[2..4].copy_from_slice(&owner.mode.to_le_bytes());
                bytes[4..8].copy_from_slice(&owner.uid.to_le_bytes());
                bytes[8..12].copy_from_slice(&owner.gid.to_le_bytes());
                bytes[ID..NAME].copy_from_slice(&set.0.to_le_bytes());
                bytes[NAME..NAME + name.len()].copy_from_slice(name.as_bytes());
            }
        }
    }
}

/// FNV-1a (Fowler, Noll, Vo): the same on every node and in every version, which std's hasher does not promise.
pub(super) fn hash(name: &str) -> u32 {
    name.bytes().fold(0x811c_9dc5, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_come_back() {
        let long = "n".repeat(MAX_NAME);
        let mut bytes = [0xff; SIZE];
        for entry in [
            Entry::Empty,
            Entry::Destroyed,
            Entry::Set { name: "counter", set: SetId(7), owner: Owner { uid: 1, gid: 2, mode: 0o640 } },
            Entry::Set { name: &long, set: SetId(u64::MAX), owner: Owner { uid: !0, gid: !0, mode: !0 } },
        ] {
            entry.write(&mut bytes);
            assert_eq!(Entry::read(&bytes), entry);
        }
    }

    #[test]
    fn nonsense_is_skipped() {
        assert_eq!(Entry::read(&[9; SIZE]), Entry::Destroyed);
        assert_eq!(Entry::read(&[]), Entry::Destroyed);
        let mut bytes = [0; SIZE];
        (bytes[0], bytes[1]) = (SET, 255);
        assert_eq!(Entry::read(&bytes), Entry::Destroyed);
    }
}
