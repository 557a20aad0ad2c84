//! The superblock: the first page of the file `...`.

use crate::layout::{assert_layout, not_zero};
use crate::{FormatError, PAGE_SIZE, Timestamp, sets};
use zerocopy::little_endian::{U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// Bytes of the superblock.
pub const SUPERBLOCK_SIZE: usize = PAGE_SIZE;

/// The version of the whole format: superblock, paths, directories, bitmap, checkpoints.
pub const FORMAT_VERSION: u32 = 1;

/// Servers that can open a partition, one after the other.
pub const MOUNTS_MAX: u64 = (1 << 48) - 1;

const WHAT: &str = "superblock";
const MAGIC: u64 = u64::from_le_bytes(*b"kDFSpart");

/// A partition's superblock, verified.
#[derive(Clone, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct Superblock {
    magic: U64,
    version: U32,
    checksum: U32,
    /// The node whose partition this is.
    pub node: u8,
    clean: u8,
    reserved_a: [u8; 2],
    /// Inode number of the file system's root directory.
    pub root: U32,
    /// Generation of the root directory.
    pub root_generation: U32,
    reserved_b: U32,
    /// The cluster it was formatted for; zeros: any.
    pub cluster: [u8; 16],
    /// This partition, told from every other one (random).
    pub partition: [u8; 16],
    /// Servers that have opened it: the incarnation of the one that has it open counts from here.
    pub mounts: U64,
    /// Number of the last checkpoint that was applied.
    pub checkpoint: U64,
    /// When it was formatted.
    pub formatted: Timestamp,
    reserved: [u8; SUPERBLOCK_SIZE - 92],
}

assert_layout!(Superblock, SUPERBLOCK_SIZE, {
    magic: 0, version: 8, checksum: 12, node: 16, clean: 17, reserved_a: 18, root: 20, root_generation: 24,
    reserved_b: 28, cluster: 32, partition: 48, mounts: 64, checkpoint: 72, formatted: 80, reserved: 92,
});

impl Superblock {
    /// The superblock of a new partition of `node` in a file system whose root is on `root_node`.
    /// `None` if either is no node id.
    pub fn new(node: u8, root_node: u8, partition: [u8; 16], now: Timestamp) -> Option<Superblock> {
        sets::inode_number(node, 1)?;
        Some(Superblock {
            magic: MAGIC.into(),
            version: FORMAT_VERSION.into(),
            checksum: 0.into(),
            node,
            clean: 1,
            reserved_a: [0; 2],
            root: sets::inode_number(root_node, sets::ROOT_LOCAL_ID)?.into(),
            root_generation: sets::ROOT_GENERATION.into(),
            reserved_b: 0.into(),
            cluster: [0; 16],
            partition,
            mounts: 0.into(),
            checkpoint: 0.into(),
            formatted: now,
            reserved: [0; SUPERBLOCK_SIZE - 92],
        })
    }

    /// Whether the last server that had it open ended in good order.
    pub fn is_clean(&self) -> bool {
        self.clean == 1
    }

    /// Says whether a server that dies now leaves nothing to recover.
    pub fn set_clean(&mut self, clean: bool) {
        self.clean = clean.into();
    }

    /// Whether the root directory lies on this partition.
    pub fn holds_root(&self) -> bool {
        sets::node_of(self.root.get()) == self.node
    }

    /// The bytes for the disk, with their checksum.
    pub fn sealed(&self) -> [u8; SUPERBLOCK_SIZE] {
        let mut copy = self.clone();
        copy.checksum = copy.compute_checksum().into();
        zerocopy::transmute!(copy)
    }

    fn compute_checksum(&self) -> u32 {
        let mut copy = self.clone();
        copy.checksum = 0.into();
        crc32fast::hash(copy.as_bytes())
    }
}

/// The first page of a file `...` that nobody has checked.
#[derive(Clone, Debug)]
pub struct UnverifiedSuperblock(Superblock);

impl UnverifiedSuperblock {
    /// Takes the first page of the file.
    ///
    /// # Errors
    /// It is not [`SUPERBLOCK_SIZE`] bytes long.
    pub fn parse(bytes: &[u8]) -> Result<UnverifiedSuperblock, FormatError> {
        let found = bytes.len();
        let wrong = FormatError::Length { what: WHAT, expected: SUPERBLOCK_SIZE, found };
        Superblock::read_from_bytes(bytes).map(UnverifiedSuperblock).map_err(|_| wrong)
    }

    /// The superblock, if this is one of this format version, and undamaged.
    ///
    /// # Errors
    /// What is wrong with it. A foreign file is told from another version, that from damage.
    pub fn verify(self) -> Result<Superblock, FormatError> {
        let mut superblock = self.0;
        let found = superblock.magic.get();
        if found != MAGIC {
            return Err(FormatError::Magic { what: WHAT, expected: MAGIC, found });
        }
        let found = superblock.version.get();
        if found != FORMAT_VERSION {
            return Err(FormatError::Version { what: WHAT, found, known: FORMAT_VERSION });
        }
        let (expected, found) = (superblock.compute_checksum(), superblock.checksum.get());
        if expected != found {
            return Err(FormatError::Checksum { what: WHAT, expected, found });
        }
        let field = |field, found| Err(FormatError::Field { what: WHAT, field, found });
        if sets::inode_number(superblock.node, 1).is_none() {
            return field("node id", superblock.node.into());
        }
        let root = superblock.root.get();
        if sets::inode_number(sets::node_of(root), sets::local_of(root)).is_none() {
            return field("root inode", root.into());
        }
        let generation = superblock.root_generation.get();
        if !(1..=sets::GENERATION_MASK).contains(&generation) {
            return field("root generation", generation.into());
        }
        let nanoseconds = superblock.formatted.nanoseconds.get();
        if nanoseconds >= 1_000_000_000 {
            return field("nanoseconds", nanoseconds.into());
        }
        if superblock.mounts.get() >= MOUNTS_MAX {
            return field("number of servers that have opened it", superblock.mounts.get());
        }
        if superblock.clean > 1 {
            return field("clean flag", superblock.clean.into());
        }
        let reserved = superblock.reserved_a.iter().chain(superblock.reserved_b.as_bytes());
        if let Some(found) = not_zero(reserved.chain(&superblock.reserved)) {
            return field("reserved bytes", found);
        }
        superblock.checksum = 0.into();
        Ok(superblock)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Superblock {
        Superblock::new(2, 1, [7; 16], Timestamp::new(1, 2)).unwrap()
    }

    fn verify(bytes: &[u8]) -> Result<Superblock, FormatError> {
        UnverifiedSuperblock::parse(bytes)?.verify()
    }

    #[test]
    fn sealed_bytes_come_back() {
        let mut superblock = sample();
        superblock.set_clean(false);
        assert_eq!(verify(&superblock.sealed()), Ok(superblock.clone()));
        assert!(!superblock.holds_root() && superblock.root == 0x0100_0001);
    }

    #[test]
    fn every_changed_byte_is_seen() {
        let sealed = sample().sealed();
        for at in 0..SUPERBLOCK_SIZE {
            let mut bytes = sealed;
            bytes[at] ^= 0x40;
            assert!(verify(&bytes).is_err(), "byte {at} was not seen");
        }
    }

    #[test]
    fn foreign_files_versions_and_damage_are_told_apart() {
        assert!(matches!(verify(&[0; 4096]), Err(FormatError::Magic { .. })));
        assert!(matches!(verify(&[0; 12]), Err(FormatError::Length { found: 12, .. })));
        let newer = Superblock { version: 2.into(), ..sample() };
        assert!(matches!(verify(&newer.sealed()), Err(FormatError::Version { found: 2, .. })));
        let mut damaged = sample().sealed();
        damaged[4095] = 1;
        assert!(matches!(verify(&damaged), Err(FormatError::Checksum { .. })));
        for (wrong, name) in [
            (Superblock { node: 0, ..sample() }, "node id"),
            (Superblock { root: 5.into(), ..sample() }, "root inode"),
            (Superblock { root_generation: 0.into(), ..sample() }, "root generation"),
            (Superblock { formatted: Timestamp::new(1, 1_000_000_000), ..sample() }, "nanoseconds"),
            (Superblock { mounts: MOUNTS_MAX.into(), ..sample() }, "number of servers that have opened it"),
            (Superblock { clean: 2, ..sample() }, "clean flag"),
            (Superblock { reserved_a: [0, 1], ..sample() }, "reserved bytes"),
        ] {
            let error = verify(&wrong.sealed());
            assert!(
                matches!(error, Err(FormatError::Field { field, .. }) if field == name),
                "{name}: {error:?}"
            );
        }
    }

    #[test]
    fn node_ids_are_1_to_254() {
        for (node, root) in [(0, 1), (255, 1), (1, 0), (1, 255)] {
            assert!(Superblock::new(node, root, [0; 16], Timestamp::default()).is_none());
        }
    }
}
