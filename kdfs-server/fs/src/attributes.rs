//! What stat(2) tells.

use crate::permission::{Access, Caller, check};
use crate::{FileId, FileSystem, Result, size};
use kdfs_format::{FileType, Inode, Timestamp};

/// What stat(2) tells of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Attributes {
    /// Which file.
    pub file: FileId,
    /// What it is.
    pub file_type: FileType,
    /// Permission, set-id and sticky bits.
    pub permissions: u32,
    /// Names (directories: `.` and the subdirectories' `..` too).
    pub nlink: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Device files: the device.
    pub rdev: u64,
    /// Bytes.
    pub size: u64,
    /// Units of 512 bytes.
    pub blocks: u64,
    /// Last access.
    pub atime: Timestamp,
    /// Last change of the bytes.
    pub mtime: Timestamp,
    /// Last change of the inode.
    pub ctime: Timestamp,
    /// Birth.
    pub btime: Timestamp,
}

impl Attributes {
    pub(crate) fn of(inode: &Inode) -> Attributes {
        Attributes {
            file: FileId { inode: inode.inode.get(), generation: inode.generation.get() },
            file_type: inode.file_type(),
            permissions: inode.permissions(),
            nlink: inode.nlink.get(),
            uid: inode.uid.get(),
            gid: inode.gid.get(),
            rdev: inode.rdev.get(),
            size: size::of(inode),
            blocks: size::blocks(inode),
            atime: inode.atime,
            mtime: inode.mtime,
            ctime: inode.ctime,
            btime: inode.btime,
        }
    }
}

impl FileSystem {
    /// stat(2).
    ///
    /// # Errors
    /// `ESTALE` if the file is gone.
    pub async fn getattr(&self, file: FileId) -> Result<Attributes> {
        Ok(Attributes::of(&*self.inode(file).await?))
    }

    /// access(2): whether the caller may use the file so.
    ///
    /// # Errors
    /// `EACCES` if not, `ESTALE` if the file is gone.
    pub async fn access(&self, caller: &Caller, file: FileId, access: Access) -> Result<()> {
        check(caller, &*self.inode(file).await?, access)
    }
}
