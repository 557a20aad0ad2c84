//! Inodes under a hold.

use crate::error::{damaged, on};
use crate::{Errno, FileId, FileSystem, Result, keys};
use kddm_rdma::{Exclusive, FirstTouch, Options, Shared};
use kdfs_format::{FileType, Inode, sets};
use std::ops::{Deref, DerefMut};

/// Of inodes only a creation makes new ones.
pub(crate) const EXISTING: Options = Options { first_touch: FirstTouch::Refuse, reserve: false };

/// An inode, checked, while this node holds it shared.
pub(crate) struct SharedInode {
    _hold: Shared,
    inode: Inode,
}

impl Deref for SharedInode {
    type Target = Inode;
    fn deref(&self) -> &Inode {
        &self.inode
    }
}

/// An inode, checked, while this node holds it exclusively. Changes are made in a copy, until [`save`](Self::save).
pub(crate) struct ExclusiveInode {
    hold: Exclusive,
    inode: Inode,
}

impl ExclusiveInode {
    /// `inode` is to take the place of whatever the object holds.
    pub(crate) fn replacing(hold: Exclusive, inode: Inode) -> ExclusiveInode {
        ExclusiveInode { hold, inode }
    }

    /// Writes the changes into the object.
    pub(crate) fn save(&mut self) {
        self.hold.copy_from_slice(self.inode.bytes());
    }
}

impl Deref for ExclusiveInode {
    type Target = Inode;
    fn deref(&self) -> &Inode {
        &self.inode
    }
}

impl DerefMut for ExclusiveInode {
    fn deref_mut(&mut self) -> &mut Inode {
        &mut self.inode
    }
}

impl FileSystem {
    /// Gets an inode. `ESTALE` if it is gone.
    pub(crate) async fn inode(&self, file: FileId) -> Result<SharedInode> {
        let key = keys::inode(file);
        let hold = self.node().get_with(key, EXISTING).await.map_err(on(key))?;
        let inode = checked(&hold, file)?;
        Ok(SharedInode { _hold: hold, inode })
    }

    /// Grabs an inode. `ESTALE` if it is gone.
    pub(crate) async fn inode_exclusive(&self, file: FileId) -> Result<ExclusiveInode> {
        let key = keys::inode(file);
        let hold = self.node().grab_with(key, EXISTING).await.map_err(on(key))?;
        let inode = checked(&hold, file)?;
        Ok(ExclusiveInode { hold, inode })
    }

    /// Gets the inode of a directory that still has a name. `ENOTDIR`, `ENOENT`, `ESTALE` if it is none.
    pub(crate) async fn directory(&self, directory: FileId) -> Result<SharedInode> {
        let inode = self.inode(directory).await?;
        check_directory(&inode)?;
        Ok(inode)
    }
}

/// `ENOTDIR` or, for one that has been removed, `ENOENT`.
pub(crate) fn check_directory(inode: &Inode) -> Result<()> {
    match (inode.is_directory(), inode.nlink.get()) {
        (false, _) => Err(Errno::ENOTDIR),
        (true, 0) => Err(Errno::ENOENT),
        (true, _) => Ok(()),
    }
}

/// The inode in an object's bytes, if it is the one meant and can be one.
fn checked(bytes: &[u8], file: FileId) -> Result<Inode> {
    if bytes.iter().all(|&byte| byte == 0) {
        // Touched by a creation that did not come to its end.
        return Err(Errno::ESTALE);
    }
    let key = keys::inode(file);
    let inode = Inode::of(bytes).map_err(|error| damaged(key, error))?;
    if inode.inode.get() != file.inode {
        return Err(damaged(key, format_args!("holds inode {:#x}", inode.inode)));
    }
    if inode.generation.get() != file.generation {
        return Err(Errno::ESTALE);
    }
    if FileType::of_mode(inode.mode.get()).is_none() {
        return Err(damaged(key, format_args!("mode {:#o} has no file type", inode.mode)));
    }
    if inode.size.get() > sets::MAX_FILE_SIZE {
        return Err(damaged(key, format_args!("size {} is beyond all limits", inode.size)));
    }
    Ok(inode.clone())
}

#[cfg(test)]
mod tests {
    use super::*;
    use kdfs_format::Timestamp;

    const FILE: FileId = FileId { inode: 0x0100_0005, generation: 7 };

    fn check(change: impl FnOnce(&mut Inode)) -> Result<Inode> {
        let mut inode = Inode::new(FILE.inode, FILE.generation, 0o100644, Timestamp::new(1, 2));
        change(&mut inode);
        checked(inode.bytes(), FILE)
    }

    #[test]
    fn what_is_no_inode_is_refused() {
        assert!(check(|_| ()).is_ok());
        assert_eq!(checked(&[0; 256], FILE).err(), Some(Errno::ESTALE));
        assert_eq!(checked(&[7; 256], FILE).err(), Some(Errno::EIO));
        assert_eq!(check(|inode| inode.generation = 8.into()).err(), Some(Errno::ESTALE));
        assert_eq!(check(|inode| inode.inode = 8.into()).err(), Some(Errno::EIO));
        assert_eq!(check(|inode| inode.mode = 0o644.into()).err(), Some(Errno::EIO));
        assert_eq!(check(|inode| inode.size = u64::MAX.into()).err(), Some(Errno::EIO));
    }
}
