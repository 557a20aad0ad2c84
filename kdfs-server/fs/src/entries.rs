//! Entries of directories: finding them under a hold of the directory's inode, changing them in a transaction.

use crate::error::{damaged, on};
use crate::transaction::Transaction;
use crate::{Errno, FileId, FileSystem, FileType, Result, keys};
use kddm_rdma::{ObjectKey, Shared};
use kdfs_format::PAGE_SIZE;
use kdfs_format::directory::{self, Children, Entry, FIRST_PAGE, Key, Leaf, MAX_NAME, PageId};

/// What a name names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Found {
    /// The entry's key.
    pub(crate) key: Key,
    /// The inode.
    pub(crate) file: FileId,
    /// Its type.
    pub(crate) file_type: FileType,
}

impl Found {
    fn of(entry: Entry<'_>) -> Found {
        let file = FileId { inode: entry.inode, generation: entry.generation };
        Found { key: entry.key, file, file_type: entry.file_type }
    }

    /// Whether it is a directory.
    pub(crate) fn is_directory(&self) -> bool {
        self.file_type == FileType::Directory
    }
}

/// `ENAMETOOLONG` for more than 255 bytes, `ENOENT` for none, `EINVAL` for what no entry can be called.
pub(crate) fn check_name(name: &[u8]) -> Result<()> {
    match name {
        [] => Err(Errno::ENOENT),
        _ if name.len() > MAX_NAME => Err(Errno::ENAMETOOLONG),
        b"." | b".." => Err(Errno::EINVAL),
        _ if name.iter().any(|&byte| byte == b'/' || byte == 0) => Err(Errno::EINVAL),
        _ => Ok(()),
    }
}

/// The identity that page `page` of `directory` must have.
pub(crate) fn page_id(directory: FileId, page: u32) -> PageId {
    PageId { inode: directory.inode, generation: directory.generation, page }
}

impl FileSystem {
    /// The leaf in whose interval `key` lies: its number and its bytes. The caller holds the directory's inode.
    pub(crate) async fn leaf(&self, directory: FileId, key: Key) -> Result<(u32, Shared)> {
        let mut id = page_id(directory, FIRST_PAGE);
        loop {
            if let Some(hold) = self.if_leaf(id).await? {
                return Ok((id.page, hold));
            }
            id = id.sibling(key.child_of(id));
        }
    }

    /// A page's bytes, unless it is divided.
    async fn if_leaf(&self, id: PageId) -> Result<Option<Shared>> {
        let key = page_key(id);
        let hold = self.node().get(key).await.map_err(on(key))?;
        Ok(if directory::is_split(&hold, id).map_err(damage(id))? { None } else { Some(hold) })
    }

    /// What `name` names. The caller holds the directory's inode.
    pub(crate) async fn find(&self, directory: FileId, name: &[u8]) -> Result<Option<Found>> {
        let (page, bytes) = self.leaf(directory, Key::of_name(name)).await?;
        found_in(&bytes, page_id(directory, page), name)
    }

    /// [`find`](Self::find) by pages that this node has; `None` if one is missing.
    pub(crate) async fn find_here(&self, directory: FileId, name: &[u8]) -> Result<Option<Option<Found>>> {
        let mut id = page_id(directory, FIRST_PAGE);
        while self.node().is_here(page_key(id)) {
            if let Some(bytes) = self.if_leaf(id).await? {
                return found_in(&bytes, id, name).map(Some);
            }
            id = id.sibling(Key::of_name(name).child_of(id));
        }
        Ok(None)
    }
}

impl Transaction<'_> {
    /// What `name` names now.
    pub(crate) async fn find(&mut self, directory: FileId, name: &[u8]) -> Result<Option<Found>> {
        let hash = Key::of_name(name);
        let (_, bytes, id) = self.leaf(directory, hash).await?;
        let leaf = Leaf::read(bytes, id).map_err(damage(id))?;
        Ok(leaf.find(hash, name).map(Found::of))
    }

    /// Adds a name that is not there. `ENOSPC` if the leaf has no room and cannot be divided further.
    pub(crate) async fn insert(
        &mut self,
        directory: FileId,
        name: &[u8],
        file: FileId,
        file_type: FileType,
    ) -> Result<()> {
        let hash = Key::of_name(name);
        loop {
            let (changed, bytes, id) = self.leaf(directory, hash).await?;
            let free = Leaf::read(bytes, id).map_err(damage(id))?.free_key(hash);
            let key = free.ok_or(Errno::ENOSPC)?;
            let entry = Entry { key, inode: file.inode, generation: file.generation, file_type, name };
            if directory::insert(bytes, id, entry).map_err(damage(id))? {
                *changed = true;
                self.names(directory, name, Some(Found { key, file, file_type }));
                break;
            }
            let children = Children::split(bytes, id).map_err(damage(id))?.ok_or(Errno::ENOSPC)?;
            *changed = true;
            self.adopt(directory, children);
        }
        self[directory].entries = (self[directory].entries.get() + 1).into();
        Ok(())
    }

    /// Takes the entry `key`, of `name`, out.
    pub(crate) async fn remove(&mut self, directory: FileId, name: &[u8], key: Key) -> Result<()> {
        let (changed, bytes, id) = self.leaf(directory, key).await?;
        *changed |= directory::remove(bytes, id, key).map_err(damage(id))?;
        let empty = Leaf::read(bytes, id).map_err(damage(id))?.is_empty();
        if empty {
            self.merge(directory, id.page).await?;
        }
        self.names(directory, name, None);
        self[directory].entries = self[directory].entries.get().saturating_sub(1).into();
        Ok(())
    }

    /// Makes the entry `key`, of `name`, name another file.
    pub(crate) async fn retarget(
        &mut self,
        directory: FileId,
        name: &[u8],
        key: Key,
        file: FileId,
        file_type: FileType,
    ) -> Result<()> {
        let (changed, bytes, id) = self.leaf(directory, key).await?;
        let target = (file.inode, file.generation, file_type);
        *changed |= directory::retarget(bytes, id, key, target).map_err(damage(id))?;
        self.names(directory, name, Some(Found { key, file, file_type }));
        Ok(())
    }

    /// The leaf for `key`, as a draft.
    async fn leaf(
        &mut self,
        directory: FileId,
        key: Key,
    ) -> Result<(&mut bool, &mut [u8; PAGE_SIZE], PageId)> {
        let mut id = page_id(directory, FIRST_PAGE);
        while self.is_split(directory, id).await? {
            id = id.sibling(key.child_of(id));
        }
        let draft = self.draft(keys::directory_page(directory, id.page)).await?;
        Ok((&mut draft.changed, &mut draft.bytes, id))
    }

    async fn is_split(&self, directory: FileId, id: PageId) -> Result<bool> {
        let key = keys::directory_page(directory, id.page);
        let split = match self.drafted(key) {
            Some(draft) => directory::is_split(&draft.bytes[..], id),
            None => directory::is_split(&self.fs.node().get(key).await.map_err(on(key))?, id),
        };
        split.map_err(damage(id))
    }

    /// The leaves that took the place of a divided one.
    fn adopt(&mut self, directory: FileId, children: Children) {
        for (page, bytes) in children.pages.into_iter().zip(children.bytes) {
            self.replace(keys::directory_page(directory, page), bytes);
        }
        let depth = page_id(directory, children.pages[0]).depth() as u8;
        self[directory].depth = self[directory].depth.max(depth);
    }

    /// Makes one empty leaf of two as long as it can, beginning with the empty leaf `page`, so that a directory that was
    /// large is walked quickly. The two stay behind as remains.
    async fn merge(&mut self, directory: FileId, mut page: u32) -> Result<()> {
        while page > FIRST_PAGE {
            let other = page_id(directory, page ^ 1);
            if self.is_split(directory, other).await? {
                break;
            }
            let draft = self.draft(keys::directory_page(directory, other.page)).await?;
            if !Leaf::read(&draft.bytes[..], other).map_err(damage(other))?.is_empty() {
                break;
            }
            page /= 2;
            let mut bytes = Box::new([0; PAGE_SIZE]);
            Leaf::write(&mut bytes[..], page_id(directory, page), std::iter::empty());
            self.replace(keys::directory_page(directory, page), bytes);
        }
        Ok(())
    }
}

/// What `name` names in a leaf.
fn found_in(leaf: &[u8], id: PageId, name: &[u8]) -> Result<Option<Found>> {
    let leaf = Leaf::read(leaf, id).map_err(damage(id))?;
    Ok(leaf.find(Key::of_name(name), name).map(Found::of))
}

/// The object of a page.
fn page_key(id: PageId) -> ObjectKey {
    keys::directory_page(FileId { inode: id.inode, generation: id.generation }, id.page)
}

/// For `map_err`: page `id` of its directory is damaged.
fn damage(id: PageId) -> impl FnOnce(kdfs_format::FormatError) -> Errno {
    move |error| damaged(page_key(id), error)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_have_1_to_255_bytes_and_no_slash() {
        assert_eq!(check_name(&[b'x'; 255]), Ok(()));
        assert_eq!(check_name(&[b'x'; 256]), Err(Errno::ENAMETOOLONG));
        assert_eq!(check_name(b""), Err(Errno::ENOENT));
        for name in [&b"."[..], b"..", b"a/b", b"a\0"] {
            assert_eq!(check_name(name), Err(Errno::EINVAL));
        }
        assert_eq!(check_name(b"\xff\xfe ..."), Ok(()));
    }
}
