//! Hard links, and reading symbolic ones.

use crate::create::MAX_TARGET;
use crate::entries::check_name;
use crate::error::{damaged, on};
use crate::hold::check_directory;
use crate::lookup::{linked, set_parent};
use crate::permission::{Access, Caller, check};
use crate::transaction::Transaction;
use crate::{Attributes, Errno, FileId, FileSystem, FileType, Result, keys, size, time};

/// Most names of one file.
pub(crate) const MAX_LINKS: u32 = 65_000;

impl FileSystem {
    /// Gives a file one more name.
    ///
    /// # Errors
    /// `EPERM` for a directory, `EMLINK` at 65000 names, `EEXIST`, `ENOENT` if the file has lost its last name.
    pub async fn link(
        &self,
        caller: &Caller,
        file: FileId,
        parent: FileId,
        name: &[u8],
    ) -> Result<Attributes> {
        check_name(name)?;
        loop {
            let found = self.look(caller, parent, name, Access::EXECUTE).await?;
            if let Some(found) = found {
                self.refuse_existing(parent, name, found).await?;
            }
            if self.inode(file).await?.is_directory() {
                return Err(Errno::EPERM);
            }
            let mut change = Transaction::begin(self, &[file, parent], None).await?;
            check_directory(&change[parent])?;
            check(caller, &change[parent], Access::CHANGE_ENTRIES)?;
            if change.find(parent, name).await?.is_some() {
                continue;
            }
            match change[file].nlink.get() {
                0 => return Err(Errno::ENOENT),
                MAX_LINKS.. => return Err(Errno::EMLINK),
                _ => (),
            }
            let file_type = change[file].file_type();
            change.insert(parent, name, file, file_type).await?;
            let inode = &mut change[file];
            linked(inode);
            set_parent(inode, parent);
            time::changed(inode, self.now());
            let attributes = Attributes::of(inode);
            time::modified(&mut change[parent], self.now());
            change.commit().await?;
            return Ok(attributes);
        }
    }

    /// The target of a symbolic link.
    ///
    /// # Errors
    /// `EINVAL` if it is none.
    pub async fn readlink(&self, file: FileId) -> Result<Vec<u8>> {
        let inode = self.inode(file).await?;
        if inode.file_type() != FileType::Symlink {
            return Err(Errno::EINVAL);
        }
        let length = size::of(&inode);
        if length > MAX_TARGET as u64 {
            return Err(damaged(keys::inode(file), format_args!("a symbolic link of {length} bytes")));
        }
        let key = keys::file_page(file, 0);
        let page = self.node().get(key).await.map_err(on(key))?;
        let target = &page[..length as usize];
        // The reaper takes the page before the inode.
        if inode.nlink.get() == 0 && target.contains(&0) {
            return Err(Errno::ESTALE);
        }
        Ok(target.to_vec())
    }
}
