//! The native file system, as far as a partition needs it. All calls may block.

mod native;

pub use native::NativeDisk;

use std::ffi::OsString;
use std::io;
use std::path::Path;

/// Blocking operations on native files, by path.
///
/// What is written is seen by every later call, and survives the end of the process; a crash of the machine it
/// survives after the matching `sync_` call. Errors carry the errno of the system.
pub trait Disk: Send + Sync {
    /// Reads from `offset` on; fewer bytes than asked for only at the end of the file.
    ///
    /// # Errors
    /// `NotFound` if there is no such file.
    fn read_at(&self, path: &Path, offset: u64, into: &mut [u8]) -> io::Result<usize>;

    /// Writes all `bytes` at `offset`. Makes the file, not its directory; a gap before `offset` reads as zeros.
    ///
    /// # Errors
    /// `StorageFull`, and what else the system says. Some of the bytes may have been written.
    fn write_at(&self, path: &Path, offset: u64, bytes: &[u8]) -> io::Result<()>;

    /// The bytes of a file.
    ///
    /// # Errors
    /// `NotFound` if there is no such file.
    fn length(&self, path: &Path) -> io::Result<u64>;

    /// Cuts a file, or extends it with zeros.
    ///
    /// # Errors
    /// `NotFound` if there is no such file.
    fn set_length(&self, path: &Path, length: u64) -> io::Result<()>;

    /// Makes a file's bytes and length durable, not its name.
    ///
    /// # Errors
    /// The device failed: some bytes written since the last success may be lost.
    fn sync_file(&self, path: &Path) -> io::Result<()>;

    /// Makes the names in a directory durable.
    ///
    /// # Errors
    /// As [`Disk::sync_file`].
    fn sync_directory(&self, path: &Path) -> io::Result<()>;

    /// Makes everything durable that was written to the file system which `path` lies on.
    ///
    /// # Errors
    /// As [`Disk::sync_file`].
    fn sync_all(&self, path: &Path) -> io::Result<()>;

    /// Makes a directory in one that is there.
    ///
    /// # Errors
    /// `AlreadyExists`, and what else the system says.
    fn create_directory(&self, path: &Path) -> io::Result<()>;

    /// Removes a file.
    ///
    /// # Errors
    /// `NotFound` if there is no such file.
    fn remove_file(&self, path: &Path) -> io::Result<()>;

    /// Removes an empty directory.
    ///
    /// # Errors
    /// `DirectoryNotEmpty`, `NotFound`.
    fn remove_directory(&self, path: &Path) -> io::Result<()>;

    /// Gives a file or directory another name, in place of a file that has it.
    ///
    /// # Errors
    /// Nothing was changed.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;

    /// What is in a directory, in no order.
    ///
    /// # Errors
    /// `NotFound`, `NotADirectory`.
    fn list(&self, path: &Path) -> io::Result<Vec<DiskEntry>>;

    /// Whether there is anything of that name.
    ///
    /// # Errors
    /// It cannot be told.
    fn exists(&self, path: &Path) -> io::Result<bool>;

    /// The room on the file system which `path` lies on.
    ///
    /// # Errors
    /// It cannot be told.
    fn space(&self, path: &Path) -> io::Result<DiskSpace>;

    /// Locks a file against every other locker, of this process too, until the lock is dropped.
    ///
    /// # Errors
    /// `WouldBlock` if somebody has the lock.
    fn lock(&self, path: &Path) -> io::Result<Box<dyn DiskLock>>;
}

/// A lock on a file; ends when dropped.
pub trait DiskLock: Send + Sync {}

/// A name in a directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DiskEntry {
    /// The name.
    pub name: OsString,
    /// Whether it is a directory (a symbolic link is not).
    pub directory: bool,
}

/// The room on a file system, in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DiskSpace {
    /// In all.
    pub total: u64,
    /// Not used.
    pub free: u64,
    /// Not used and not reserved for root.
    pub available: u64,
}
