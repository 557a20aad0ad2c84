//! Why a partition cannot be opened.

use kdfs_format::{FormatError, sets};
use std::io;
use std::path::{Path, PathBuf};

/// Why a partition cannot be opened. Nothing was changed unless the variant says so.
#[derive(Debug, thiserror::Error)]
pub enum PartitionError {
    /// The directory has no superblock.
    #[error(
        "{}: is no kDFS partition (it has no file `...`); format it with: mkfs.kdfs {} ROOT_NODEID",
        directory.display(), directory.display()
    )]
    Unformatted {
        /// The directory.
        directory: PathBuf,
    },
    /// There is no such directory, or it is no directory.
    #[error("{}: {error}; a partition is a native directory that mkfs.kdfs has formatted", directory.display())]
    NoDirectory {
        /// The directory.
        directory: PathBuf,
        /// What the system said.
        error: io::Error,
    },
    /// The superblock is damaged, foreign, or of another version.
    #[error(
        "{}: cannot be used: {error}. If it is damaged, restore the first 4096 bytes of its file `...` from a backup, or \
         copy what `0-99/*/.content` and its like still hold and format it again",
        directory.display()
    )]
    Superblock {
        /// The directory.
        directory: PathBuf,
        /// What is wrong with it.
        error: FormatError,
    },
    /// A server has it open.
    #[error(
        "{}: another server has this partition open; stop that one first (kddm status shows it)",
        directory.display()
    )]
    InUse {
        /// The directory.
        directory: PathBuf,
    },
    /// The partition of another node.
    #[error(
        "{}: is the partition of node {found}, and this is node {expected}; mount node {expected}'s own, or say node={found}",
        directory.display()
    )]
    Node {
        /// The directory.
        directory: PathBuf,
        /// This node.
        expected: u8,
        /// The node in the superblock.
        found: u8,
    },
    /// The partition of a file system whose root directory is another.
    #[error(
        "{}: was formatted for the root directory {found:#010x} (node {}), and this cluster's is {expected:#010x} (node {}); \
         format it again with: mkfs.kdfs --force {} {}",
        directory.display(), sets::node_of(*found), sets::node_of(*expected), directory.display(), sets::node_of(*expected)
    )]
    Root {
        /// The directory.
        directory: PathBuf,
        /// The cluster's root inode.
        expected: u32,
        /// The partition's.
        found: u32,
    },
    /// The partition of another cluster.
    #[error("{}: was formatted for another cluster; check the id in the cluster file", directory.display())]
    Cluster {
        /// The directory.
        directory: PathBuf,
    },
    /// The native file system failed. The partition is as before, or needs recovery at the next start.
    #[error("{}: {what}: {error}; check the disk, its free space and the permissions", path.display())]
    Disk {
        /// The file or directory.
        path: PathBuf,
        /// What was tried.
        what: &'static str,
        /// What the system said.
        error: io::Error,
    },
}

impl PartitionError {
    /// For `map_err`: the disk failed at `path`.
    pub(crate) fn disk(path: &Path, what: &'static str) -> impl FnOnce(io::Error) -> PartitionError {
        let path = path.to_owned();
        move |error| PartitionError::Disk { path, what, error }
    }
}

/// The number by which errors travel: `EIO` where the system gave none.
pub(crate) fn errno(error: &io::Error) -> i32 {
    error.raw_os_error().unwrap_or(nix::libc::EIO)
}
