//! Free space of a partition: the content of a STATFS object. It is in memory only.

use crate::layout::assert_layout;
use crate::sets::STATFS_SIZE;
use zerocopy::little_endian::{U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

const MAGIC: u32 = u32::from_le_bytes(*b"kDFs");

/// Space of a partition, as its server last looked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct PartitionSpace {
    magic: U32,
    /// How often its server had looked before.
    pub number: U32,
    /// Bytes of the native file system.
    pub total: U64,
    /// Bytes that nobody uses.
    pub free: U64,
    /// Bytes that ordinary users can still have.
    pub available: U64,
    /// Inodes that the partition can have.
    pub files: U64,
    /// Inodes that it can still have.
    pub files_free: U64,
    reserved: [u8; 16],
}

assert_layout!(PartitionSpace, STATFS_SIZE as usize, {
    magic: 0, number: 4, total: 8, free: 16, available: 24, files: 32, files_free: 40, reserved: 48,
});

impl PartitionSpace {
    /// Bytes (all, free, available to ordinary users) and inodes (all, free).
    pub fn new((total, free, available): (u64, u64, u64), (files, files_free): (u64, u64)) -> PartitionSpace {
        PartitionSpace {
            magic: MAGIC.into(),
            number: 0.into(),
            total: total.into(),
            free: free.into(),
            available: available.into(),
            files: files.into(),
            files_free: files_free.into(),
            reserved: [0; 16],
        }
    }

    /// What the bytes of a STATFS object say; `None` if no server has filled it.
    pub fn of(object: &[u8]) -> Option<&PartitionSpace> {
        PartitionSpace::ref_from_bytes(object).ok().filter(|space| space.magic.get() == MAGIC)
    }

    /// The bytes of the object.
    pub fn bytes(&self) -> &[u8] {
        self.as_bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_filled_object_counts() {
        let space = PartitionSpace::new((100, 50, 40), (1 << 24, 7));
        assert_eq!(PartitionSpace::of(space.bytes()), Some(&space));
        assert_eq!(PartitionSpace::of(&[0; 64]), None);
        assert_eq!(PartitionSpace::of(&[]), None);
    }
}
