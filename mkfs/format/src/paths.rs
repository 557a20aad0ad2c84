//! The native names in a partition.
//!
//! ```text
//! ...                     superblock and inode bitmap
//! ....journal             place of the journal (not written yet)
//! ....batch               checkpoints that have been committed and are being applied
//! ....batch.new           a checkpoint that has not been committed
//! ....batch.next          the one after it
//! ....reserve             room for a checkpoint that removes files of a full partition
//! 0-99/1/.meta            an inode: 0-99 holds the local ids 0 to 99
//! 0-99/1/.content         its bytes
//! ```

/// The superblock file.
pub const SUPERBLOCK: &str = "...";
/// Kept free for the journal.
pub const JOURNAL: &str = "....journal";
/// Committed checkpoints, one after the other.
pub const BATCH: &str = "....batch";
/// A checkpoint on its way.
pub const BATCH_NEW: &str = "....batch.new";
/// Another one, that began while that one was being committed.
pub const BATCH_NEXT: &str = "....batch.next";
/// Room for a checkpoint when there is none elsewhere.
pub const RESERVE: &str = "....reserve";
/// An inode's attributes, in its directory.
pub const META: &str = ".meta";
/// An inode's bytes, in its directory.
pub const CONTENT: &str = ".content";

/// Inodes of one range directory.
pub const RANGE: u32 = 100;

/// The range directory of `local`: `0-99`, `100-199`, …
pub fn range_directory(local: u32) -> String {
    let first = local / RANGE * RANGE;
    format!("{first}-{}", first + RANGE - 1)
}

/// The native directory of `local`, relative to the partition.
pub fn inode_directory(local: u32) -> String {
    format!("{}/{local}", range_directory(local))
}

/// The file with the attributes of `local`.
pub fn meta(local: u32) -> String {
    format!("{}/{META}", inode_directory(local))
}

/// The file with the bytes of `local`.
pub fn content(local: u32) -> String {
    format!("{}/{CONTENT}", inode_directory(local))
}

/// The first local id of a range directory's name; `None` if it is no such name.
pub fn parse_range(name: &str) -> Option<u32> {
    let first: u32 = name.split_once('-')?.0.parse().ok()?;
    (first <= crate::sets::MAX_LOCAL_ID && range_directory(first) == name).then_some(first)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_for_every_hundred() {
        assert_eq!(meta(1), "0-99/1/.meta");
        assert_eq!(content(99), "0-99/99/.content");
        assert_eq!(inode_directory(100), "100-199/100");
        assert_eq!(inode_directory(crate::sets::MAX_LOCAL_ID), "16777200-16777299/16777215");
    }

    #[test]
    fn range_names_are_recognised() {
        assert_eq!(parse_range("0-99"), Some(0));
        assert_eq!(parse_range("16777200-16777299"), Some(16_777_200));
        for foreign in ["lost+found", "1-100", "00-99", "100-198", "100", "16777300-16777399", "-"] {
            assert_eq!(parse_range(foreign), None, "{foreign}");
        }
    }
}
