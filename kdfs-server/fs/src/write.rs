//! write(2).

use crate::error::on;
use crate::hold::ExclusiveInode;
use crate::permission::{self, Caller};
use crate::read::{check_regular, pieces};
use crate::{FileId, FileSystem, Result, Timestamp, keys, size};
use kddm_rdma::{FirstTouch, Options};

/// A write under way: the inode tells of the bytes that are in, however it ends.
struct Written {
    inode: ExclusiveInode,
    offset: u64,
    done: usize,
    now: Timestamp,
    keeps_set_id: bool,
}

impl Drop for Written {
    fn drop(&mut self) {
        if self.done == 0 {
            return;
        }
        size::written(&mut self.inode, self.offset + self.done as u64, self.now);
        if !self.keeps_set_id {
            let mode = permission::without_set_id(&self.inode);
            self.inode.set_permissions(mode);
        }
        self.inode.save();
    }
}

impl FileSystem {
    /// Writes at `offset`; how many bytes are in. Reads and other writes see all of them or none.
    ///
    /// # Errors
    /// `EFBIG` behind the largest size, `EISDIR`, `EINVAL` for what has no bytes, `ESTALE`. After an error nothing
    /// was written; a failure in the middle is a short write.
    pub async fn write(&self, caller: &Caller, file: FileId, offset: u64, data: &[u8]) -> Result<usize> {
        let inode = self.inode_exclusive(file).await?;
        self.write_held(caller, file, inode, offset, data).await
    }

    /// Writes at the end of the file, wherever in the cluster it was last moved; where that was, and how many bytes
    /// are in.
    ///
    /// # Errors
    /// As [`write`](Self::write).
    pub async fn append(&self, caller: &Caller, file: FileId, data: &[u8]) -> Result<(u64, usize)> {
        let inode = self.inode_exclusive(file).await?;
        let offset = size::of(&inode);
        Ok((offset, self.write_held(caller, file, inode, offset, data).await?))
    }

    async fn write_held(
        &self,
        caller: &Caller,
        file: FileId,
        inode: ExclusiveInode,
        offset: u64,
        data: &[u8],
    ) -> Result<usize> {
        check_regular(&inode)?;
        let length = size::room(offset, data.len())?;
        let before = size::written_pages(&inode);
        let keeps_set_id = caller.is_root();
        let mut written = Written { inode, offset, done: 0, now: self.now(), keeps_set_id };
        // Pages that are written whole, or have nothing yet, need not come here first.
        let partly =
            |piece: &crate::read::Piece| piece.within.len() < size::PAGE as usize && piece.page < before;
        self.bring(file, pieces(offset, length).filter(partly).map(|piece| piece.page));
        for piece in pieces(offset, length) {
            let key = keys::file_page(file, piece.page);
            // Nobody has written so far: zeros, and no need to ask for them.
            let first_touch = if piece.page < before { FirstTouch::Make } else { FirstTouch::Manual };
            match self.node().grab_with(key, Options { first_touch, ..Options::default() }).await {
                Ok(mut page) => page[piece.within].copy_from_slice(&data[piece.buffer.clone()]),
                Err(error) if written.done == 0 => return Err(on(key)(error)),
                Err(error) => {
                    on(key)(error);
                    break;
                }
            }
            written.done = piece.buffer.end;
        }
        Ok(written.done)
    }
}
