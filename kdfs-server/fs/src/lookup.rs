//! Names to inodes.

use crate::entries::{Found, check_name};
use crate::permission::{Access, Caller, check};
use crate::transaction::Transaction;
use crate::{Attributes, Errno, FileId, FileSystem, Result, keys, time};
use kdfs_format::Inode;
use std::sync::atomic::Ordering::Relaxed;

impl FileSystem {
    /// What `name` names in `parent`; `.` and `..` too.
    ///
    /// # Errors
    /// `ENOENT`, `ENOTDIR`, `ENAMETOOLONG`, `EACCES` without search permission, `ESTALE` if `parent` is gone.
    pub async fn lookup(&self, caller: &Caller, parent: FileId, name: &[u8]) -> Result<Attributes> {
        if name == b"." || name == b".." {
            return self.lookup_dots(caller, parent, name).await;
        }
        loop {
            let found = self.look(caller, parent, name, Access::EXECUTE).await?.ok_or(Errno::ENOENT)?;
            // Between the name and its inode somebody may have removed both: then the name is looked up again.
            if let Some(attributes) = self.named(parent, name, found).await? {
                return Ok(attributes);
            }
        }
    }

    /// What `name` names, after a check that the caller has `access` to the directory.
    pub(crate) async fn look(
        &self,
        caller: &Caller,
        parent: FileId,
        name: &[u8],
        access: Access,
    ) -> Result<Option<Found>> {
        check_name(name)?;
        if self.node().is_here(keys::inode(parent)) {
            let directory = self.directory(parent).await?;
            check(caller, &directory, access)?;
            if let Some(found) = self.find_here(parent, name).await? {
                return Ok(found);
            }
        }
        let again = self.missed_lately(parent, name);
        if again && let Some(known) = self.recall(caller, parent, name, access).await? {
            self.0.recalled.fetch_add(1, Relaxed);
            return Ok(known);
        }
        let directory = self.directory(parent).await?;
        check(caller, &directory, access)?;
        let found = self.find(parent, name).await?;
        if again {
            self.remember(parent, &directory, name, found).await;
        }
        Ok(found)
    }

    /// The inode that `name` was found to name, or `None`: look again.
    async fn named(&self, parent: FileId, name: &[u8], found: Found) -> Result<Option<Attributes>> {
        match self.inode(found.file).await {
            Ok(inode) if inode.nlink.get() > 0 => return Ok(Some(Attributes::of(&inode))),
            Ok(_) | Err(Errno::ESTALE) => (),
            Err(errno) => return Err(errno),
        }
        self.forget(parent, name, found).await?;
        Ok(None)
    }

    /// Whether an inode is there and has a name.
    pub(crate) async fn is_named(&self, file: FileId) -> Result<bool> {
        match self.inode(file).await {
            Ok(inode) => Ok(inode.nlink.get() > 0),
            Err(Errno::ESTALE) => Ok(false),
            Err(errno) => Err(errno),
        }
    }

    /// Removes a name whose inode is gone, if it is still there: the two lay on different partitions, and one of them
    /// has lost its last seconds in a crash.
    pub(crate) async fn forget(&self, parent: FileId, name: &[u8], dangling: Found) -> Result<()> {
        let mut change = Transaction::begin(self, &[parent], None).await?;
        if change.find(parent, name).await? != Some(dangling) {
            // If it was remembered, that was wrong: nothing of it is believed any more.
            drop(self.close_gate(parent).await?);
            return Ok(());
        }
        let shown = String::from_utf8_lossy(name);
        tracing::warn!(directory = parent.inode, name = %shown, "removing a name whose inode does not exist");
        change.remove(parent, name, dangling.key).await?;
        let directory = &mut change[parent];
        if dangling.is_directory() {
            unlinked(directory);
        }
        time::modified(directory, self.now());
        change.commit().await
    }

    async fn lookup_dots(&self, caller: &Caller, directory: FileId, name: &[u8]) -> Result<Attributes> {
        let inode = self.directory(directory).await?;
        check(caller, &inode, Access::EXECUTE)?;
        if name == b"." {
            return Ok(Attributes::of(&inode));
        }
        let parent = parent_of(&inode);
        drop(inode);
        self.getattr(parent).await
    }
}

/// The directory that an inode says it is in.
pub(crate) fn parent_of(inode: &Inode) -> FileId {
    FileId { inode: inode.parent.get(), generation: inode.parent_generation.get() }
}

/// The inode is in this directory now.
pub(crate) fn set_parent(inode: &mut Inode, parent: FileId) {
    inode.parent = parent.inode.into();
    inode.parent_generation = parent.generation.into();
}

/// One link more.
pub(crate) fn linked(inode: &mut Inode) {
    inode.nlink = inode.nlink.get().saturating_add(1).into();
}

/// One link less.
pub(crate) fn unlinked(inode: &mut Inode) {
    inode.nlink = inode.nlink.get().saturating_sub(1).into();
}
