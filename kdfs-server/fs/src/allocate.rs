//! Inode numbers: taken from a partition's bitmap in a short operation of their own, given back if not used.

use crate::error::{damaged, failed, on};
use crate::hold::EXISTING;
use crate::{Errno, FileId, FileSystem, Result, keys};
use kddm_rdma::{Exclusive, ObjectKey, OpError};
use kdfs_format::PartitionSpace;
use kdfs_format::bitmap::{self, BitmapPage};
use kdfs_format::sets;
use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU32, Ordering};

/// The bitmap page where the last free number was found.
#[derive(Default)]
pub(crate) struct Hint(AtomicU32);

/// New inodes on a partition since its server looked last how many there can be: the number of that look, and how many.
#[derive(Default)]
pub(crate) struct Made(Mutex<BTreeMap<u8, (u32, u64)>>);

/// A number for a new inode. Unless [kept](Self::keep), it is given back when dropped.
pub(crate) struct Allocated {
    fs: FileSystem,
    file: FileId,
    kept: bool,
}

impl Allocated {
    pub(crate) fn file(&self) -> FileId {
        self.file
    }

    /// The inode has been made.
    pub(crate) fn keep(mut self) {
        self.kept = true;
    }
}

impl Drop for Allocated {
    fn drop(&mut self) {
        if self.kept {
            return;
        }
        let (fs, file) = (self.fs.clone(), self.file);
        self.fs.node().host().spawn(Box::pin(async move {
            if let Err(errno) = fs.free(file, None).await {
                tracing::warn!(
                    inode = file.inode,
                    "an unused inode number stays taken until fsck.kdfs: {errno}"
                );
            }
        }));
    }
}

impl FileSystem {
    /// `ENOSPC` if the partition of `node` has told that it has room for no more than were made since.
    async fn check_room(&self, node: u8) -> Result<()> {
        // Nothing told, or not reachable: then making the inode will say more.
        let Ok(hold) = self.node().get_with(keys::statfs(node), EXISTING).await else { return Ok(()) };
        let Some(space) = PartitionSpace::of(&hold) else { return Ok(()) };
        let Made(made) = &self.0.made;
        let mut made = made.lock();
        let (number, count) = made.entry(node).or_default();
        if *number != space.number.get() {
            (*number, *count) = (space.number.get(), 0);
        }
        *count += 1;
        if *count > space.files_free.get() { Err(Errno::ENOSPC) } else { Ok(()) }
    }

    /// Takes a number on the own partition, or on that of `parent` if this node has none. `ENOSPC` if all are taken, or
    /// there is no room.
    pub(crate) async fn allocate(&self, parent: FileId) -> Result<Allocated> {
        let node = self.0.config.here.map_or(parent.node(), |here| here.get());
        self.check_room(node).await?;
        let Hint(hint) = &self.0.allocator;
        let first = hint.load(Ordering::Relaxed);
        for page in (0..bitmap::PAGES).map(|step| (first + step) % bitmap::PAGES) {
            let key = keys::bitmap(node, page);
            let mut hold = self.node().grab(key).await.map_err(on(key))?;
            let bitmap = BitmapPage::of_mut(&mut hold, key.object).map_err(|error| damaged(key, error))?;
            let Some((local, generation)) = bitmap.allocate() else { continue };
            hint.store(page, Ordering::Relaxed);
            let inode = sets::inode_number(node, local)
                .ok_or_else(|| damaged(key, "it gave out an impossible id"))?;
            return Ok(Allocated { fs: self.clone(), file: FileId { inode, generation }, kept: false });
        }
        Err(Errno::ENOSPC)
    }

    /// Ends the inode object and its open token, if they are there, and frees the number. Nobody can reach the inode
    /// any more: `token` is the caller's hold of its token.
    pub(crate) async fn free(&self, file: FileId, token: Option<Exclusive>) -> Result<()> {
        let key = keys::bitmap(file.node(), bitmap::page_of(sets::local_of(file.inode)));
        // Held until the end, so that a snapshot with the freed number has no inode for it.
        let mut hold = self.node().grab(key).await.map_err(on(key))?;
        self.remove_object(keys::inode(file)).await?;
        drop(token);
        self.remove_object(keys::open_token(file)).await?;
        let bitmap = BitmapPage::of_mut(&mut hold, key.object).map_err(|error| damaged(key, error))?;
        bitmap.release(sets::local_of(file.inode));
        self.0.allocator.0.fetch_min(key.object & sets::MAX_LOCAL_ID, Ordering::Relaxed);
        Ok(())
    }

    /// Removes an object that may not be there.
    pub(crate) async fn remove_object(&self, key: ObjectKey) -> Result<()> {
        match self.node().remove(key).await {
            Ok(()) | Err(OpError::Absent) => Ok(()),
            Err(error) => Err(failed(key, error)),
        }
    }
}
