//! What an object is, by its key, and the order in which holds are taken.

use kddm_object::{ObjectKey, SetId};
use kdfs_format::{batch::Change, sets};
use std::ops::RangeInclusive;

/// What an object is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Kind {
    Bitmap,
    Inode,
    Directory,
    File,
    Commit,
    Cut,
    Other,
}

impl Kind {
    /// Kept consistent by checkpoints; the rest is data.
    pub fn is_metadata(self) -> bool {
        matches!(self, Kind::Bitmap | Kind::Inode | Kind::Directory)
    }
}

pub(crate) fn kind(key: ObjectKey) -> Kind {
    match key.set.kind() {
        sets::KIND_INODE => Kind::Inode,
        sets::KIND_DIR => Kind::Directory,
        sets::KIND_FILE => Kind::File,
        sets::KIND_BITMAP => Kind::Bitmap,
        sets::KIND_COMMIT => Kind::Commit,
        sets::KIND_CUT => Kind::Cut,
        _ => Kind::Other,
    }
}

/// The inode that an INODE object is, or a page belongs to.
pub(crate) fn inode(key: ObjectKey) -> u32 {
    match kind(key) {
        Kind::Inode => key.object,
        _ => key.set.subject(),
    }
}

/// Its number on the partition.
pub(crate) fn local(key: ObjectKey) -> u32 {
    sets::local_of(inode(key))
}

/// The page of the bitmap that a BITMAP object is.
pub(crate) fn bitmap_page(key: ObjectKey) -> u32 {
    sets::local_of(key.object)
}

/// The change that brings the bytes of an object to the native files; `None` if it has none there.
pub(crate) fn change(key: ObjectKey) -> Option<Change> {
    let (local, page) = (local(key), key.object);
    match kind(key) {
        Kind::Inode => Some(Change::Meta { local }),
        Kind::Directory | Kind::File => Some(Change::Page { local, page }),
        Kind::Bitmap => Some(Change::Bitmap { page: bitmap_page(key) }),
        Kind::Commit | Kind::Cut | Kind::Other => None,
    }
}

/// The one global order of holds: BITMAP, inodes by number, (set, page).
pub(crate) fn order(key: ObjectKey) -> (Kind, SetId, u32) {
    (kind(key), key.set, key.object)
}

/// The keys of all pages that an inode's number can have had, in any life.
pub(crate) fn pages_of(inode: u32) -> [RangeInclusive<ObjectKey>; 2] {
    [sets::KIND_DIR, sets::KIND_FILE].map(|kind| {
        let set = |generation| SetId(sets::set_id(kind, inode, generation));
        ObjectKey::new(set(0), 0)..=ObjectKey::new(set(sets::GENERATION_MASK), u32::MAX)
    })
}
