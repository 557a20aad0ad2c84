//! The on-disk format of a kDFS partition.
//!
//! A partition is a native directory. `...` is its superblock file (superblock, then the inode bitmap); each
//! inode has a native directory `<range>/<local id>/` with `.meta` (the [`Inode`]) and `.content` (a file's
//! bytes, a directory's pages). `docs/disk-format.md` has the byte diagrams; the same offsets are asserted here.
//!
//! Bytes from a disk are an *unverified* type ([`UnverifiedInode`], [`UnverifiedSuperblock`]) until their
//! magic, version, checksum and fields have been checked. Nothing here does IO.
#![forbid(unsafe_code)]

pub mod batch;
pub mod bitmap;
mod checksum;
pub mod directory;
mod error;
mod inode;
mod layout;
pub mod paths;
pub mod sets;
mod space;
mod superblock;

pub use error::FormatError;
pub use inode::{FileType, INODE_SIZE, Inode, Timestamp, UnverifiedInode};
pub use space::PartitionSpace;
pub use superblock::{FORMAT_VERSION, SUPERBLOCK_SIZE, Superblock, UnverifiedSuperblock};

/// Bytes of a page: the unit of `.content`, of directories and of the inode bitmap.
pub const PAGE_SIZE: usize = 4096;
