//! Making files, directories, symbolic links and the rest.

use crate::entries::{Found, check_name};
use crate::hold::check_directory;
use crate::lookup::{linked, set_parent};
use crate::open::Opened;
use crate::permission::{self, Access, Caller, check};
use crate::transaction::Transaction;
use crate::{Attributes, Errno, FileId, FileSystem, FileType, Result, keys, size, time};
use kdfs_format::{Inode, PAGE_SIZE};

/// Longest target of a symbolic link, bytes.
pub(crate) const MAX_TARGET: usize = 4095;

/// What is to be made.
#[derive(Clone, Copy)]
struct Blueprint<'a> {
    file_type: FileType,
    permissions: u32,
    rdev: u64,
    target: &'a [u8],
}

impl FileSystem {
    /// Makes an entry of any type but directory and symbolic link. `mode`: type (none: a regular file) and
    /// permissions, the umask applied; `rdev`: the device of a device file.
    ///
    /// # Errors
    /// `EEXIST`, `ENOSPC`, `EACCES`, `ENAMETOOLONG`, `ENOENT` if the directory was removed, `EINVAL` for another type.
    pub async fn mknod(
        &self,
        caller: &Caller,
        parent: FileId,
        name: &[u8],
        mode: u32,
        rdev: u64,
    ) -> Result<Attributes> {
        let file_type = match FileType::of_mode(mode) {
            None if mode & 0o170000 == 0 => FileType::Regular,
            None | Some(FileType::Directory | FileType::Symlink) => return Err(Errno::EINVAL),
            Some(FileType::CharDevice | FileType::BlockDevice) if !caller.is_root() => {
                return Err(Errno::EPERM);
            }
            Some(file_type) => file_type,
        };
        let rdev = if matches!(file_type, FileType::CharDevice | FileType::BlockDevice) { rdev } else { 0 };
        let blueprint = Blueprint { file_type, permissions: mode, rdev, target: b"" };
        Ok(self.make(caller, parent, name, blueprint, false).await?.0)
    }

    /// Makes a directory.
    ///
    /// # Errors
    /// As [`mknod`](Self::mknod).
    pub async fn mkdir(&self, caller: &Caller, parent: FileId, name: &[u8], mode: u32) -> Result<Attributes> {
        let blueprint =
            Blueprint { file_type: FileType::Directory, permissions: mode & 0o1777, rdev: 0, target: b"" };
        Ok(self.make(caller, parent, name, blueprint, false).await?.0)
    }

    /// Makes a symbolic link to `target`.
    ///
    /// # Errors
    /// As [`mknod`](Self::mknod); `ENAMETOOLONG` if the target has more than 4095 bytes, `ENOENT` if it has none.
    pub async fn symlink(
        &self,
        caller: &Caller,
        parent: FileId,
        name: &[u8],
        target: &[u8],
    ) -> Result<Attributes> {
        match target.len() {
            0 => return Err(Errno::ENOENT),
            1..=MAX_TARGET => (),
            _ => return Err(Errno::ENAMETOOLONG),
        }
        let blueprint = Blueprint { file_type: FileType::Symlink, permissions: 0o777, rdev: 0, target };
        Ok(self.make(caller, parent, name, blueprint, false).await?.0)
    }

    /// Opens a regular file for `access`, making it if it is not there (true), unless it has to be new (`exclusive`).
    /// One [`release`](Self::release) ends it.
    ///
    /// # Errors
    /// As [`mknod`](Self::mknod); as [`open`](Self::open) if it is there.
    pub async fn create(
        &self,
        caller: &Caller,
        parent: FileId,
        name: &[u8],
        mode: u32,
        access: Access,
        exclusive: bool,
    ) -> Result<(Attributes, bool)> {
        let blueprint =
            Blueprint { file_type: FileType::Regular, permissions: mode & 0o7777, rdev: 0, target: b"" };
        loop {
            match self.make(caller, parent, name, blueprint, true).await {
                Ok((attributes, opened)) => {
                    opened.into_iter().for_each(Opened::keep);
                    return Ok((attributes, true));
                }
                Err(Errno::EEXIST) if !exclusive => (),
                Err(errno) => return Err(errno),
            }
            let opened = match self.lookup(caller, parent, name).await {
                Ok(there) if there.file_type == FileType::Directory => Err(Errno::EISDIR),
                Ok(there) => self.open(caller, there.file, access).await,
                Err(errno) => Err(errno),
            };
            match opened {
                Ok(attributes) => return Ok((attributes, false)),
                // It went away between the three steps.
                Err(Errno::ENOENT | Errno::ESTALE) if self.directory(parent).await.is_ok() => (),
                Err(errno) => return Err(errno),
            }
        }
    }

    async fn make(
        &self,
        caller: &Caller,
        parent: FileId,
        name: &[u8],
        blueprint: Blueprint<'_>,
        open: bool,
    ) -> Result<(Attributes, Option<Opened>)> {
        check_name(name)?;
        // Before anything is taken: most refusals are seen here.
        if let Some(found) = self.look(caller, parent, name, Access::EXECUTE).await? {
            self.refuse_existing(parent, name, found).await?;
        }
        check(caller, &*self.inode(parent).await?, Access::CHANGE_ENTRIES)?;
        let allocated = self.allocate(parent).await?;
        let file = allocated.file();
        let opened = if open { Some(self.begin_open(file).await?) } else { None };
        loop {
            let new = blueprint.inode(file, self.now());
            let mut change = Transaction::begin(self, &[parent], Some(new)).await?;
            check_directory(&change[parent])?;
            check(caller, &change[parent], Access::CHANGE_ENTRIES)?;
            if let Some(found) = change.find(parent, name).await? {
                drop(change);
                self.refuse_existing(parent, name, found).await?;
                continue;
            }
            self.furnish(caller, &mut change, parent, file, blueprint);
            change.insert(parent, name, file, blueprint.file_type).await?;
            let attributes = Attributes::of(&change[file]);
            change.commit().await?;
            allocated.keep();
            return Ok((attributes, opened));
        }
    }

    /// `EEXIST`, unless the inode of the name is gone: then the name goes too.
    pub(crate) async fn refuse_existing(&self, parent: FileId, name: &[u8], found: Found) -> Result<()> {
        if self.is_named(found.file).await? {
            Err(Errno::EEXIST)
        } else {
            self.forget(parent, name, found).await
        }
    }

    /// Fills in what the new inode has from its directory, and what the directory has from it.
    fn furnish(
        &self,
        caller: &Caller,
        change: &mut Transaction<'_>,
        parent: FileId,
        file: FileId,
        blueprint: Blueprint<'_>,
    ) {
        let now = self.now();
        let directory = blueprint.file_type == FileType::Directory;
        let (group, mode) = permission::inherited(caller, &change[parent], directory, blueprint.permissions);
        let inode = &mut change[file];
        inode.uid = caller.uid.into();
        inode.gid = group.into();
        inode.set_permissions(mode);
        set_parent(inode, parent);
        if blueprint.file_type == FileType::Symlink {
            size::written(inode, blueprint.target.len() as u64, now);
            let mut page = Box::new([0; PAGE_SIZE]);
            page[..blueprint.target.len()].copy_from_slice(blueprint.target);
            change.replace(keys::file_page(file, 0), page);
        }
        let parent = &mut change[parent];
        if directory {
            linked(parent);
        }
        time::modified(parent, now);
    }
}

impl Blueprint<'_> {
    fn inode(&self, file: FileId, now: kdfs_format::Timestamp) -> Inode {
        let mut inode = Inode::new(file.inode, file.generation, self.file_type.bits(), now);
        inode.rdev = self.rdev.into();
        inode
    }
}

const _: () = assert!(MAX_TARGET < PAGE_SIZE, "a target is one page");
