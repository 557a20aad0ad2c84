//! The holds and the planned changes of one operation.
//!
//! Inodes are grabbed at once, in the order of their numbers. Everything else is changed in drafts; [`commit`] takes
//! the holds of what the drafts change, in order, and when it has them all copies them in. So an operation that fails or is
//! dropped has changed nothing, and one that is seen is seen whole.
//!
//! [`commit`]: Transaction::commit

use crate::entries::Found;
use crate::error::on;
use crate::hold::ExclusiveInode;
use crate::remember::Changed;
use crate::{Errno, FileId, FileSystem, Result, keys};
use kddm_rdma::ObjectKey;
use kdfs_format::{Inode, PAGE_SIZE};
use std::collections::BTreeMap;
use std::ops::{Index, IndexMut};

pub(crate) struct Transaction<'a> {
    pub(crate) fs: &'a FileSystem,
    inodes: BTreeMap<u32, ExclusiveInode>,
    drafts: BTreeMap<ObjectKey, Draft>,
    /// Names that come to name something else, or nothing.
    names: Vec<Changed>,
    /// Directories that are removed.
    removed: Vec<FileId>,
}

/// A page as it is to be.
pub(crate) struct Draft {
    pub(crate) bytes: Box<[u8; PAGE_SIZE]>,
    pub(crate) changed: bool,
}

/// An inode that a transaction could not have.
#[derive(Debug)]
pub(crate) struct Unavailable {
    pub(crate) file: FileId,
    pub(crate) errno: Errno,
}

impl From<Unavailable> for Errno {
    fn from(unavailable: Unavailable) -> Errno {
        unavailable.errno
    }
}

impl<'a> Transaction<'a> {
    /// Grabs these inodes, named in any order, and the place of `new`, which is to be made.
    pub(crate) async fn begin(
        fs: &'a FileSystem,
        files: &[FileId],
        new: Option<Inode>,
    ) -> std::result::Result<Transaction<'a>, Unavailable> {
        let mut wanted: Vec<FileId> = files.to_vec();
        let new =
            new.map(|inode| (FileId { inode: inode.inode.get(), generation: inode.generation.get() }, inode));
        wanted.extend(new.iter().map(|(file, _)| *file));
        wanted.sort();
        wanted.dedup();
        let mut inodes = BTreeMap::new();
        for file in wanted {
            let held = match &new {
                // Two lives of one number cannot both be, and the second would wait for the first, which is held.
                _ if inodes.contains_key(&file.inode) => Err(Errno::ESTALE),
                Some((place, inode)) if *place == file => fs.place(inode).await,
                _ => fs.inode_exclusive(file).await,
            };
            inodes.insert(file.inode, held.map_err(|errno| Unavailable { file, errno })?);
        }
        Ok(Transaction { fs, inodes, drafts: BTreeMap::new(), names: Vec::new(), removed: Vec::new() })
    }

    /// The draft of a page, which begins as a copy of the object. The caller holds the inode that guards it.
    pub(crate) async fn draft(&mut self, key: ObjectKey) -> Result<&mut Draft> {
        if !self.drafts.contains_key(&key) {
            let mut bytes = Box::new([0; PAGE_SIZE]);
            bytes.copy_from_slice(&self.fs.node().get(key).await.map_err(on(key))?);
            self.drafts.insert(key, Draft { bytes, changed: false });
        }
        Ok(self.drafts.get_mut(&key).expect("inserted above if it was not there"))
    }

    /// A draft that takes the place of whatever the object holds.
    pub(crate) fn replace(&mut self, key: ObjectKey, bytes: Box<[u8; PAGE_SIZE]>) {
        self.drafts.insert(key, Draft { bytes, changed: true });
    }

    /// The draft of a page, if there is one.
    pub(crate) fn drafted(&self, key: ObjectKey) -> Option<&Draft> {
        self.drafts.get(&key)
    }

    /// `name` names something else, or nothing.
    pub(crate) fn names(&mut self, directory: FileId, name: &[u8], now: Option<Found>) {
        self.names.push(Changed { directory, name: name.to_vec(), now });
    }

    /// The directory has no name any more.
    pub(crate) fn removes(&mut self, directory: FileId) {
        self.removed.push(directory);
    }

    /// Makes the changes and ends the holds. After an error nothing has changed.
    pub(crate) async fn commit(mut self) -> Result<()> {
        let node = self.fs.node();
        let mut pages = Vec::new();
        for (&key, draft) in self.drafts.iter().filter(|(_, draft)| draft.changed) {
            pages.push((node.grab(key).await.map_err(on(key))?, draft));
        }
        let names = if self.fs.0.config.unsound_keep_names { &[] } else { &self.names[..] };
        let mut remembered = self.fs.follow(names, &self.removed).await?;
        // Nothing below can fail or wait, so nobody sees a part of it.
        for (hold, record) in &mut remembered {
            hold.copy_from_slice(record);
        }
        for (page, draft) in &mut pages {
            page.copy_from_slice(&draft.bytes[..]);
        }
        for inode in self.inodes.values_mut() {
            inode.save();
        }
        Ok(())
    }
}

/// The inode of a file that the transaction began with.
impl Index<FileId> for Transaction<'_> {
    type Output = Inode;
    fn index(&self, file: FileId) -> &Inode {
        self.inodes.get(&file.inode).expect("BUG: the operation did not begin with this inode")
    }
}

impl IndexMut<FileId> for Transaction<'_> {
    fn index_mut(&mut self, file: FileId) -> &mut Inode {
        self.inodes.get_mut(&file.inode).expect("BUG: the operation did not begin with this inode")
    }
}

impl FileSystem {
    /// Grabs the object of an inode that is to be made.
    async fn place(&self, inode: &Inode) -> Result<ExclusiveInode> {
        let key = keys::inode(FileId { inode: inode.inode.get(), generation: inode.generation.get() });
        let hold = self.node().grab(key).await.map_err(on(key))?;
        Ok(ExclusiveInode::replacing(hold, inode.clone()))
    }
}
