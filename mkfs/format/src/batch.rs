//! A checkpoint: everything that changed on a partition since the last one, in one file.
//!
//! ```text
//! header (64 bytes)   record record record …
//! ```
//!
//! Records are applied in the order in which they stand; each is a [`RecordHeader`] and its bytes. The file is
//! written under the name [`paths::BATCH_NEW`](crate::paths::BATCH_NEW) and committed by renaming it to
//! [`paths::BATCH`](crate::paths::BATCH), where others may follow it. Applying it twice is the same as applying it once.

use crate::layout::{assert_layout, not_zero};
use crate::{FormatError, INODE_SIZE, PAGE_SIZE, bitmap, sets};
use zerocopy::little_endian::{U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// Bytes of the header.
pub const BATCH_HEADER_SIZE: usize = 64;
/// Bytes in front of each record's own.
pub const RECORD_HEADER_SIZE: usize = 16;

const WHAT: &str = "checkpoint";
const RECORD: &str = "record of a checkpoint";
const MAGIC: u64 = u64::from_le_bytes(*b"kDFSbtch");
const VERSION: u32 = 1;

/// The header of a checkpoint, verified.
#[derive(Clone, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct BatchHeader {
    magic: U64,
    version: U32,
    checksum: U32,
    /// The partition it belongs to.
    pub partition: [u8; 16],
    /// Checkpoints are numbered without gaps.
    pub number: U64,
    /// Bytes of the records.
    pub length: U64,
    /// Records.
    pub records: U64,
    /// CRC-32 of the bytes of all records.
    pub content: U32,
    reserved: [u8; 4],
}

assert_layout!(BatchHeader, BATCH_HEADER_SIZE, {
    magic: 0, version: 8, checksum: 12, partition: 16, number: 32, length: 40, records: 48, content: 56,
    reserved: 60,
});

impl BatchHeader {
    /// A header.
    pub fn new(partition: [u8; 16], number: u64, length: u64, records: u64, content: u32) -> BatchHeader {
        BatchHeader {
            magic: MAGIC.into(),
            version: VERSION.into(),
            checksum: 0.into(),
            partition,
            number: number.into(),
            length: length.into(),
            records: records.into(),
            content: content.into(),
            reserved: [0; 4],
        }
    }

    /// The bytes for the disk, with their checksum.
    pub fn sealed(&self) -> [u8; BATCH_HEADER_SIZE] {
        let mut copy = self.clone();
        copy.checksum = copy.compute_checksum().into();
        zerocopy::transmute!(copy)
    }

    /// The header in the first bytes of a checkpoint of `partition`, if it is one.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn verify(bytes: &[u8], partition: [u8; 16]) -> Result<BatchHeader, FormatError> {
        let found = bytes.len();
        let mut header = BatchHeader::read_from_bytes(bytes).map_err(|_| FormatError::Length {
            what: WHAT,
            expected: BATCH_HEADER_SIZE,
            found,
        })?;
        let found = header.magic.get();
        if found != MAGIC {
            return Err(FormatError::Magic { what: WHAT, expected: MAGIC, found });
        }
        let found = header.version.get();
        if found != VERSION {
            return Err(FormatError::Version { what: WHAT, found, known: VERSION });
        }
        let (expected, found) = (header.compute_checksum(), header.checksum.get());
        if expected != found {
            return Err(FormatError::Checksum { what: WHAT, expected, found });
        }
        if header.partition != partition {
            return Err(FormatError::Field { what: WHAT, field: "its partition", found: 0 });
        }
        if let Some(found) = not_zero(&header.reserved) {
            return Err(FormatError::Field { what: WHAT, field: "reserved bytes", found });
        }
        header.checksum = 0.into();
        Ok(header)
    }

    fn compute_checksum(&self) -> u32 {
        let mut copy = self.clone();
        copy.checksum = 0.into();
        crc32fast::hash(copy.as_bytes())
    }
}

/// One change.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Change {
    /// `.meta` of an inode, sealed; makes its native directory.
    Meta {
        /// The inode's local id.
        local: u32,
    },
    /// A page of `.content`: of a directory, or of a file where the bytes cannot be written in place.
    Page {
        /// The inode's local id.
        local: u32,
        /// The page's number.
        page: u32,
    },
    /// A page of the inode bitmap, sealed.
    Bitmap {
        /// The page's number.
        page: u32,
    },
    /// `.content` from this page on is gone.
    Truncate {
        /// The inode's local id.
        local: u32,
        /// The first page that is gone.
        page: u32,
    },
    /// The inode and its native directory are gone.
    Remove {
        /// The inode's local id.
        local: u32,
    },
}

/// What stands in front of each record's bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct RecordHeader {
    kind: u8,
    reserved: [u8; 3],
    local: U32,
    page: U32,
    length: U32,
}

assert_layout!(RecordHeader, RECORD_HEADER_SIZE, { kind: 0, reserved: 1, local: 4, page: 8, length: 12 });

impl RecordHeader {
    /// The header of a change.
    pub fn of(change: Change) -> RecordHeader {
        let (kind, local, page) = match change {
            Change::Meta { local } => (1, local, 0),
            Change::Page { local, page } => (2, local, page),
            Change::Bitmap { page } => (3, 0, page),
            Change::Truncate { local, page } => (4, local, page),
            Change::Remove { local } => (5, local, 0),
        };
        let length = change.length() as u32;
        RecordHeader { kind, reserved: [0; 3], local: local.into(), page: page.into(), length: length.into() }
    }

    /// The bytes for the disk.
    pub fn bytes(&self) -> &[u8] {
        self.as_bytes()
    }

    /// The change that the header in `bytes` stands for.
    ///
    /// # Errors
    /// It stands for none.
    pub fn verify(bytes: &[u8]) -> Result<Change, FormatError> {
        let found = bytes.len();
        let header = RecordHeader::read_from_bytes(bytes).map_err(|_| FormatError::Length {
            what: RECORD,
            expected: RECORD_HEADER_SIZE,
            found,
        })?;
        let (local, page) = (header.local.get(), header.page.get());
        let change = match header.kind {
            1 => Change::Meta { local },
            2 => Change::Page { local, page },
            3 => Change::Bitmap { page },
            4 => Change::Truncate { local, page },
            5 => Change::Remove { local },
            kind => return Err(FormatError::Field { what: RECORD, field: "kind", found: kind.into() }),
        };
        let field = |field, found: u32| Err(FormatError::Field { what: RECORD, field, found: found.into() });
        let expected = RecordHeader::of(change);
        if header.length != expected.length {
            return field("length", header.length.get());
        }
        if header != expected {
            return field("a field that is zero", header.kind.into());
        }
        match change {
            Change::Bitmap { page } if page >= bitmap::PAGES => field("page of the bitmap", page),
            Change::Bitmap { .. } => Ok(change),
            _ if !(1..=sets::MAX_LOCAL_ID).contains(&local) => field("local id", local),
            _ => Ok(change),
        }
    }
}

impl Change {
    /// Bytes that follow the record's header.
    pub const fn length(&self) -> usize {
        match self {
            Change::Meta { .. } => INODE_SIZE,
            Change::Page { .. } | Change::Bitmap { .. } => PAGE_SIZE,
            Change::Truncate { .. } | Change::Remove { .. } => 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_come_back_and_damage_is_seen() {
        let header = BatchHeader::new([3; 16], 8, 4096, 1, 0xdead_beef);
        assert_eq!(BatchHeader::verify(&header.sealed(), [3; 16]), Ok(header.clone()));
        for bit in 0..BATCH_HEADER_SIZE * 8 {
            let mut bytes = header.sealed();
            bytes[bit / 8] ^= 1 << (bit % 8);
            assert!(BatchHeader::verify(&bytes, [3; 16]).is_err(), "bit {bit}");
        }
        let foreign = BatchHeader::verify(&header.sealed(), [4; 16]);
        assert!(matches!(foreign, Err(FormatError::Field { field: "its partition", .. })));
    }

    #[test]
    fn changes_come_back() {
        let local = 0x12_3456;
        for change in [
            Change::Meta { local },
            Change::Page { local, page: u32::MAX },
            Change::Bitmap { page: bitmap::PAGES - 1 },
            Change::Truncate { local, page: 0 },
            Change::Remove { local },
        ] {
            assert_eq!(RecordHeader::verify(RecordHeader::of(change).bytes()), Ok(change));
        }
    }

    #[test]
    fn what_is_no_change_is_refused() {
        let mut bytes = *RecordHeader::of(Change::Meta { local: 7 }).bytes().first_chunk::<16>().unwrap();
        bytes[0] = 9;
        assert!(matches!(RecordHeader::verify(&bytes), Err(FormatError::Field { field: "kind", .. })));
        bytes[0] = 1;
        bytes[12] = 1;
        assert!(RecordHeader::verify(&bytes).is_err(), "a length that is not the change's");
        for (change, name) in [
            (Change::Remove { local: 1 << 24 }, "local id"),
            (Change::Remove { local: 0 }, "local id"),
            (Change::Bitmap { page: bitmap::PAGES }, "page of the bitmap"),
        ] {
            let refused = RecordHeader::verify(RecordHeader::of(change).bytes());
            assert!(matches!(refused, Err(FormatError::Field { field, .. }) if field == name), "{refused:?}");
        }
    }
}
