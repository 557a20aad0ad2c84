//! Changing attributes: chmod, chown, utimensat, truncate.

use crate::hold::ExclusiveInode;
use crate::permission::{self, Access, Caller, check, check_chown, check_owner};
use crate::{Attributes, Errno, FileId, FileSystem, FileType, Result, Timestamp, time};
use async_lock::OnceCell;
use kdfs_format::{Inode, sets::MAX_FILE_SIZE};
use std::sync::Arc;

/// What is to change; `None`: stays as it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Changes {
    /// Permission, set-id and sticky bits.
    pub permissions: Option<u32>,
    /// Owner.
    pub uid: Option<u32>,
    /// Group.
    pub gid: Option<u32>,
    /// Bytes.
    pub size: Option<u64>,
    /// The size is changed through a descriptor that is open for writing (ftruncate): permission was checked then.
    pub opened: bool,
    /// Last access.
    pub atime: Option<SetTime>,
    /// Last change of the bytes.
    pub mtime: Option<SetTime>,
}

/// A time to set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SetTime {
    /// UTIME_NOW.
    Now,
    /// This one.
    At(Timestamp),
}

impl FileSystem {
    /// Makes all these changes, or none.
    ///
    /// # Errors
    /// `EPERM` where only the owner or root may, `EACCES`, `EISDIR` and `EINVAL` for the size of what has none,
    /// `EFBIG`, `ESTALE`.
    pub async fn setattr(&self, caller: &Caller, file: FileId, changes: Changes) -> Result<Attributes> {
        if changes.size.is_none() {
            return self.change(caller, file, changes).await;
        }
        // A truncation removes many pages and must not stop half-way: it goes on even if the caller is killed.
        let (done, fs, caller) = (Arc::new(OnceCell::new()), self.clone(), caller.clone());
        let told = done.clone();
        self.node().host().spawn(Box::pin(async move {
            let result = fs.change(&caller, file, changes).await;
            told.set(result).await.ok();
        }));
        *done.wait().await
    }

    async fn change(&self, caller: &Caller, file: FileId, changes: Changes) -> Result<Attributes> {
        let mut inode = self.inode_exclusive(file).await?;
        check_changes(caller, &inode, changes)?;
        if let Some(size) = changes.size {
            self.truncate_held(file, &mut inode, size).await?;
            if !caller.is_root() {
                let mode = permission::without_set_id(&inode);
                inode.set_permissions(mode);
            }
        }
        self.apply(caller, &mut inode, changes)?;
        let who = changes.permissions.is_some() || changes.uid.is_some() || changes.gid.is_some();
        // Who may search it: put when the inode says so.
        let gate = if who && inode.is_directory() { self.close_gate(file).await? } else { None };
        inode.save();
        drop(gate);
        Ok(Attributes::of(&inode))
    }

    fn apply(&self, caller: &Caller, inode: &mut ExclusiveInode, changes: Changes) -> Result<()> {
        let now = self.now();
        if changes.uid.is_some() || changes.gid.is_some() {
            let mode = permission::without_set_id(inode);
            inode.set_permissions(mode);
        }
        if let Some(wanted) = changes.permissions {
            let group = changes.gid.unwrap_or(inode.gid.get());
            let mode = permission::chmod(caller, inode, group, wanted)?;
            inode.set_permissions(mode);
        }
        inode.uid = changes.uid.unwrap_or(inode.uid.get()).into();
        inode.gid = changes.gid.unwrap_or(inode.gid.get()).into();
        time::changed(inode, now);
        let moment = |time| match time {
            SetTime::Now => now,
            SetTime::At(moment) => moment,
        };
        inode.atime = changes.atime.map_or(inode.atime, moment);
        inode.mtime = changes.mtime.map_or(inode.mtime, moment);
        Ok(())
    }
}

fn check_changes(caller: &Caller, inode: &Inode, changes: Changes) -> Result<()> {
    if changes.permissions.is_some() {
        check_owner(caller, inode)?;
    }
    check_chown(caller, inode, changes.uid, changes.gid)?;
    if let Some(size) = changes.size {
        check_size(caller, inode, size, changes.opened)?;
    }
    let times = [changes.atime, changes.mtime];
    let explicit = times.iter().flatten().any(|time| matches!(time, SetTime::At(_)));
    if times.iter().flatten().any(|time| matches!(time, SetTime::At(at) if at.parts().1 >= 1_000_000_000)) {
        return Err(Errno::EINVAL);
    }
    if explicit {
        check_owner(caller, inode)
    } else if times != [None, None] && changes.size.is_none() && check_owner(caller, inode).is_err() {
        check(caller, inode, Access::WRITE)
    } else {
        Ok(())
    }
}

fn check_size(caller: &Caller, inode: &Inode, size: u64, opened: bool) -> Result<()> {
    match inode.file_type() {
        FileType::Regular => (),
        FileType::Directory => return Err(Errno::EISDIR),
        _ => return Err(Errno::EINVAL),
    }
    if size > MAX_FILE_SIZE {
        return Err(Errno::EFBIG);
    }
    if opened { Ok(()) } else { check(caller, inode, Access::WRITE) }
}
