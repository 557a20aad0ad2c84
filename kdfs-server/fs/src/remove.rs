//! Taking names away.

use crate::entries::Found;
use crate::hold::check_directory;
use crate::lookup::unlinked;
use crate::permission::{Access, Caller, check_removal};
use crate::transaction::Transaction;
use crate::{Errno, FileId, FileSystem, Result, time};

impl FileSystem {
    /// Removes a name of anything but a directory. The file itself goes with its last name and its last close.
    ///
    /// # Errors
    /// `ENOENT`, `EISDIR`, `EACCES`, `EPERM` in a sticky directory.
    pub async fn unlink(&self, caller: &Caller, parent: FileId, name: &[u8]) -> Result<()> {
        self.take_away(caller, parent, name, false).await
    }

    /// Removes an empty directory.
    ///
    /// # Errors
    /// `ENOENT`, `ENOTDIR`, `ENOTEMPTY`, `EACCES`, `EPERM` in a sticky directory.
    pub async fn rmdir(&self, caller: &Caller, parent: FileId, name: &[u8]) -> Result<()> {
        if name == b".." {
            return Err(Errno::ENOTEMPTY);
        }
        self.take_away(caller, parent, name, true).await
    }

    async fn take_away(&self, caller: &Caller, parent: FileId, name: &[u8], directory: bool) -> Result<()> {
        loop {
            let found = self.look(caller, parent, name, Access::EXECUTE).await?.ok_or(Errno::ENOENT)?;
            match (found.is_directory(), directory) {
                (true, false) => return Err(Errno::EISDIR),
                (false, true) => return Err(Errno::ENOTDIR),
                _ => (),
            }
            let Some(mut change) = self.begin_named(&[parent], &[(parent, name, found)]).await? else {
                continue;
            };
            check_directory(&change[parent])?;
            check_removal(caller, &change[parent], &change[found.file])?;
            if directory && change[found.file].entries.get() != 0 {
                return Err(Errno::ENOTEMPTY);
            }
            change.remove(parent, name, found.key).await?;
            let orphan = self.lose_name(&mut change, parent, found);
            time::modified(&mut change[parent], self.now());
            change.commit().await?;
            if orphan {
                self.orphaned(found.file);
            }
            return Ok(());
        }
    }

    /// Grabs `directories` and the inodes of these names (directory, name, what it was found to name). `None`: some
    /// name is no longer what it was, look again.
    pub(crate) async fn begin_named(
        &self,
        directories: &[FileId],
        names: &[(FileId, &[u8], Found)],
    ) -> Result<Option<Transaction<'_>>> {
        let files: Vec<FileId> =
            directories.iter().copied().chain(names.iter().map(|(_, _, found)| found.file)).collect();
        let mut change = match Transaction::begin(self, &files, None).await {
            Ok(change) => change,
            Err(unavailable) if unavailable.errno == Errno::ESTALE => {
                let gone = |(_, _, found): &&(FileId, &[u8], Found)| found.file == unavailable.file;
                let Some((parent, name, found)) = names.iter().find(gone) else {
                    return Err(unavailable.errno);
                };
                self.forget(*parent, name, *found).await?;
                return Ok(None);
            }
            Err(unavailable) => return Err(unavailable.errno),
        };
        for (parent, name, found) in names {
            if change.find(*parent, name).await? != Some(*found) {
                return Ok(None);
            }
        }
        if let Some((parent, name, found)) =
            names.iter().find(|(_, _, found)| change[found.file].nlink.get() == 0)
        {
            drop(change);
            self.forget(*parent, name, *found).await?;
            return Ok(None);
        }
        Ok(Some(change))
    }

    /// The link counts without the name `found` of `parent`. True if it was the last.
    pub(crate) fn lose_name(&self, change: &mut Transaction<'_>, parent: FileId, found: Found) -> bool {
        let inode = &mut change[found.file];
        if found.is_directory() {
            inode.nlink = 0.into();
            time::changed(inode, self.now());
            unlinked(&mut change[parent]);
            change.removes(found.file);
            return true;
        }
        unlinked(inode);
        time::changed(inode, self.now());
        inode.nlink.get() == 0
    }
}
