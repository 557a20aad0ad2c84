//! The end of files that have no name any more. Called on the node of their partition.

use crate::abreast::abreast;
use crate::error::on;
use crate::{Errno, FileId, FileSystem, FileType, Result, keys, size};
use kddm_rdma::SetId;
use kdfs_format::{Inode, directory::FIRST_PAGE};

/// Up to here it is quicker to remove pages than to see which there are.
const FEW_PAGES: u32 = 64;

impl FileSystem {
    /// From now on nobody opens the file; when nobody in the cluster has it open any more, removes its pages and its inode and frees
    /// its number. False, and nothing has happened, if it has a name (again a file of its own: another generation) or is gone.
    ///
    /// # Errors
    /// Some object could not be had or removed; call it again later.
    pub async fn reap(&self, inode: u32, generation: u32) -> Result<bool> {
        let file = FileId { inode, generation };
        if !self.begin_closing(file).await? {
            return Ok(false);
        }
        let key = keys::open_token(file);
        let token = self.node().grab(key).await.map_err(on(key))?;
        // Somebody else may have reaped it while we waited.
        let Some((file_type, pages)) = self.abandoned(file).await? else {
            return Ok(false);
        };
        match file_type {
            FileType::Directory => {
                self.remove_dirty_pages(keys::directory_page(file, FIRST_PAGE).set).await?
            }
            _ if pages <= FEW_PAGES => self.remove_pages(file, 0, pages).await?,
            _ => self.remove_dirty_pages(keys::file_page(file, 0).set).await?,
        }
        self.free(file, Some(token)).await?;
        Ok(true)
    }

    /// Marks an inode without names, so that nobody opens it any more. False: it has some, or is gone.
    async fn begin_closing(&self, file: FileId) -> Result<bool> {
        match self.inode_exclusive(file).await {
            Ok(mut inode) if inode.nlink.get() == 0 => {
                inode.flags |= Inode::CLOSING;
                inode.save();
                Ok(true)
            }
            Ok(_) | Err(Errno::ESTALE) => Ok(false),
            Err(errno) => Err(errno),
        }
    }

    /// The type and number of pages of an inode without names; `None` if it has some or is gone.
    async fn abandoned(&self, file: FileId) -> Result<Option<(FileType, u32)>> {
        match self.inode(file).await {
            Ok(inode) if inode.nlink.get() == 0 => Ok(Some((inode.file_type(), size::written_pages(&inode)))),
            Ok(_) | Err(Errno::ESTALE) => Ok(None),
            Err(errno) => Err(errno),
        }
    }

    /// Removes those pages that would still be written to the partition, where the number may mean another file by then:
    /// of a directory also the remains of merged pages, which its tree no longer names. The others lose their bytes with
    /// the inode, and copies in memory, which nobody can name any more, make room when it is needed.
    async fn remove_dirty_pages(&self, set: SetId) -> Result<()> {
        let dirty = self.node().dirty().into_iter().filter(|key| key.set == set);
        abreast(dirty.map(|key| self.remove_object(key))).await
    }
}
