//! Shrinking and stretching files.

use crate::abreast::abreast;
use crate::error::on;
use crate::hold::ExclusiveInode;
use crate::{FileId, FileSystem, Result, keys, size};
use kdfs_format::sets::MAX_FILE_SIZE;

impl FileSystem {
    /// Gives the file, whose inode is held, this size. What lies behind it is removed, so that a file that grows
    /// again has zeros there.
    pub(crate) async fn truncate_held(
        &self,
        file: FileId,
        inode: &mut ExclusiveInode,
        end: u64,
    ) -> Result<()> {
        let written = size::written_pages(inode);
        if end < size::of(inode) {
            self.zero_tail(file, end, written).await?;
            let kept = end.min(MAX_FILE_SIZE).div_ceil(size::PAGE) as u32;
            self.remove_pages(file, kept, written).await?;
        }
        size::truncated(inode, end, self.now());
        Ok(())
    }

    /// Removes the pages from `first` to before `end` of a file that nobody else can reach now.
    pub(crate) async fn remove_pages(&self, file: FileId, first: u32, end: u32) -> Result<()> {
        abreast((first..end).map(|page| self.remove_object(keys::file_page(file, page)))).await
    }

    /// Zeros the bytes behind `end` in the page that it divides.
    async fn zero_tail(&self, file: FileId, end: u64, written: u32) -> Result<()> {
        let (page, kept) = (end / size::PAGE, (end % size::PAGE) as usize);
        if kept != 0 && page < u64::from(written) {
            let key = keys::file_page(file, page as u32);
            self.node().grab(key).await.map_err(on(key))?[kept..].fill(0);
        }
        Ok(())
    }
}
