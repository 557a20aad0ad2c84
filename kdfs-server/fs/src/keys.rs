//! Which object holds what.

use crate::FileId;
use kddm_rdma::{ObjectKey, SetId};
use kdfs_format::{directory::Key, sets};

/// The inode.
pub(crate) fn inode(file: FileId) -> ObjectKey {
    ObjectKey::new(SetId(sets::INODE_SET), file.inode)
}

/// A page of a directory's tree.
pub(crate) fn directory_page(directory: FileId, page: u32) -> ObjectKey {
    ObjectKey::new(SetId(sets::dir_set(directory.inode, directory.generation)), page)
}

/// What is remembered of a directory as a whole.
pub(crate) fn gate(directory: FileId) -> ObjectKey {
    ObjectKey::new(SetId(sets::dentry_set(directory.inode, directory.generation)), 0)
}

/// What is remembered of a name. Few names share an object.
pub(crate) fn dentry(directory: FileId, name: &[u8]) -> ObjectKey {
    let hash = (Key::of_name(name).number() >> 31) as u32;
    ObjectKey { object: hash | 1, ..gate(directory) }
}

/// A page of a file, or of a symbolic link's target.
pub(crate) fn file_page(file: FileId, page: u32) -> ObjectKey {
    ObjectKey::new(SetId(sets::file_set(file.inode, file.generation)), page)
}

/// A page of the inode bitmap of `node`.
pub(crate) fn bitmap(node: u8, page: u32) -> ObjectKey {
    ObjectKey::new(SetId(sets::BITMAP_SET), sets::bitmap_object(node, page))
}

/// Held shared by every node that has the file open.
pub(crate) fn open_token(file: FileId) -> ObjectKey {
    ObjectKey::new(SetId(sets::OPEN_SET), file.inode)
}

/// Held by who moves a directory from one parent to another: an open token that no file can have, on the root's node.
pub(crate) fn rename_lock(root: u32) -> ObjectKey {
    ObjectKey::new(SetId(sets::OPEN_SET), root & !sets::MAX_LOCAL_ID)
}

/// Free space of the partition of `node`.
pub(crate) fn statfs(node: u8) -> ObjectKey {
    ObjectKey::new(SetId(sets::STATFS_SET), sets::statfs_object(node))
}

/// What node `from` gets to hear that the partition of `node` has made everything durable.
pub(crate) fn commit(node: u8, from: u8, count: u16) -> ObjectKey {
    ObjectKey::new(SetId(sets::COMMIT_SET), sets::commit_object(node, from, count))
}

/// Asks the home of a file to remove `1 << height` pages from `first` on.
pub(crate) fn cut(file: FileId, first: u32, height: u32) -> ObjectKey {
    ObjectKey::new(SetId(sets::cut_set(file.inode, file.generation)), sets::cut_object(first, height))
}
