//! `.meta` (`kdfs_format::Inode`).

use super::{
    Target,
    damage::{damaged, same, seal},
};
use crate::{bound::bounded, input::padded};
use kdfs_format::{
    FileType, FormatError, INODE_SIZE, Inode, Timestamp, UnverifiedInode, directory::MAX_DEPTH, sets,
};

pub(super) const TARGET: Target =
    Target { name: "inode", what: "an inode, from .meta", check, seeds, longest: INODE_SIZE + 1 };

/// Where its checksum and its number lie (docs/disk-format.md).
const CHECKSUM: usize = 8;
const NUMBER: std::ops::Range<usize> = 12..16;
/// The number that the file's place says.
const HERE: u32 = 0x0100_0007;

fn check(input: &[u8]) {
    accepted_as_is(input);
    let mut sealed = padded::<INODE_SIZE>(input);
    seal(&mut sealed, CHECKSUM);
    accepted_as_is(&sealed);
    sealed[NUMBER].copy_from_slice(&HERE.to_le_bytes());
    seal(&mut sealed, CHECKSUM);
    if accepted_as_is(&sealed) {
        let refused = verify(&damaged(&sealed, input)).expect_err("a damaged inode was accepted");
        names_what_is_wrong(&refused);
    }
}

/// Whether `bytes` are the inode; if they are, it can be, and is written as it was read.
fn accepted_as_is(bytes: &[u8]) -> bool {
    // An object in memory has no checksum, and is only looked at.
    let in_memory = bounded(0, || Inode::of(bytes).is_ok());
    let inode = match bounded(0, || verify(bytes)) {
        Ok(inode) => inode,
        Err(error) => {
            names_what_is_wrong(&error);
            return false;
        }
    };
    assert!(in_memory, "an inode on disk that is none in memory");
    same(&inode.sealed(), bytes, "inode");
    assert_eq!(inode.inode.get(), HERE);
    assert_eq!(FileType::of_mode(inode.mode.get()), Some(inode.file_type()), "mode {:o}", inode.mode);
    assert!(inode.permissions() <= 0o7777, "mode {:o}", inode.mode);
    assert!(inode.generation <= sets::GENERATION_MASK, "generation {}", inode.generation);
    assert!(inode.size <= sets::MAX_FILE_SIZE, "size {}", inode.size);
    assert!(u32::from(inode.depth) <= MAX_DEPTH, "a tree {} deep", inode.depth);
    assert_eq!(inode.flags, 0, "flags that mean nothing yet");
    for time in [inode.atime, inode.mtime, inode.ctime, inode.btime] {
        assert!(time.nanoseconds < 1_000_000_000, "a time {time:?}");
    }
    true
}

fn names_what_is_wrong(error: &FormatError) {
    assert!(error.to_string().contains("inode"), "an error that does not say of what: {error}");
}

fn verify(bytes: &[u8]) -> Result<Inode, FormatError> {
    UnverifiedInode::parse(bytes)?.verify(HERE)
}

fn seeds() -> Vec<(String, Vec<u8>)> {
    use FileType::{BlockDevice, CharDevice, Directory, Fifo, Regular, Socket, Symlink};
    let types = [Fifo, CharDevice, Directory, BlockDevice, Regular, Symlink, Socket];
    let of_type = |file_type: FileType| {
        let mut inode = Inode::new(HERE, 9, file_type.bits() | 0o4640, Timestamp::new(-5, 999_999_999));
        inode.size = 12345.into();
        inode.written_pages = 4.into();
        inode.parent = 0x0100_0001.into();
        inode.parent_generation = 1.into();
        (format!("{file_type:?}").to_lowercase(), inode.sealed().to_vec())
    };
    types.into_iter().map(of_type).collect()
}
