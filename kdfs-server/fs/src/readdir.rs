//! Listing directories.

use crate::entries::page_id;
use crate::error::damaged;
use crate::hold::SharedInode;
use crate::lookup::parent_of;
use crate::{Attributes, Errno, FileId, FileSystem, FileType, Result, keys};
use kdfs_format::directory::{Key, Leaf};

/// A name in a directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DirectoryEntry {
    /// Continues behind this entry, whatever happens to the directory meanwhile. Positive as an `i64`.
    pub cookie: u64,
    /// What it names.
    pub file: FileId,
    /// What that is.
    pub file_type: FileType,
    /// The name.
    pub name: Vec<u8>,
    /// Asked for, and had: the attributes of what it names.
    pub attributes: Option<Attributes>,
}

/// Cookies of the two entries that every directory has; keys begin above.
const DOT: u64 = 1;
const DOT_DOT: u64 = 2;

impl FileSystem {
    /// Up to `limit` entries behind `cookie` (0: from the beginning), `.` and `..` first. Entries that are there all the
    /// time of a walk come exactly once, however the directory changes between its calls. A directory that has been
    /// removed has no entries.
    ///
    /// # Errors
    /// `ENOTDIR`, `ESTALE`.
    pub async fn readdir(&self, directory: FileId, cookie: u64, limit: usize) -> Result<Vec<DirectoryEntry>> {
        let inode = self.inode(directory).await?;
        if !inode.is_directory() {
            return Err(Errno::ENOTDIR);
        }
        let mut entries = Vec::new();
        if inode.nlink.get() == 0 {
            return Ok(entries);
        }
        dots(&inode, directory, cookie, limit, &mut entries);
        let mut from = Key::from_number(cookie.saturating_add(1).max(Key::FIRST.number()));
        while let Some(key) = from.filter(|_| entries.len() < limit) {
            let (page, bytes) = self.leaf(directory, key).await?;
            let leaf = Leaf::read(&bytes, page_id(directory, page))
                .map_err(|error| damaged(keys::directory_page(directory, page), error))?;
            let behind = leaf.entries().filter(|entry| entry.key >= key).take(limit - entries.len());
            entries.extend(behind.map(|entry| DirectoryEntry {
                cookie: entry.key.number(),
                file: FileId { inode: entry.inode, generation: entry.generation },
                file_type: entry.file_type,
                name: entry.name.to_vec(),
                attributes: None,
            }));
            from = Key::last_of_page(page).next();
        }
        Ok(entries)
    }

    /// [`readdir`](Self::readdir) with the attributes of what the names name, where they can be had.
    ///
    /// # Errors
    /// As [`readdir`](Self::readdir).
    pub async fn readdir_plus(
        &self,
        directory: FileId,
        cookie: u64,
        limit: usize,
    ) -> Result<Vec<DirectoryEntry>> {
        let mut entries = self.readdir(directory, cookie, limit).await?;
        self.node().prefetch(entries.iter().map(|entry| keys::inode(entry.file)));
        for entry in &mut entries {
            entry.attributes = self.getattr(entry.file).await.ok();
        }
        Ok(entries)
    }
}

fn dots(
    inode: &SharedInode,
    directory: FileId,
    cookie: u64,
    limit: usize,
    entries: &mut Vec<DirectoryEntry>,
) {
    let both = [(DOT, directory, "."), (DOT_DOT, parent_of(inode), "..")];
    let wanted = both.into_iter().filter(|(number, ..)| *number > cookie).take(limit);
    entries.extend(wanted.map(|(cookie, file, name)| DirectoryEntry {
        cookie,
        file,
        file_type: FileType::Directory,
        name: name.into(),
        attributes: None,
    }));
}
