//! Changes of one leaf.

use super::{Entry, Key, Leaf, PageId};
use crate::{FileType, FormatError, PAGE_SIZE};

/// Adds an entry, whose key no entry of the leaf has. False, and nothing is changed, if there is no room.
///
/// # Errors
/// The bytes are not this leaf, or damaged.
pub fn insert(bytes: &mut [u8], id: PageId, entry: Entry<'_>) -> Result<bool, FormatError> {
    change(bytes, id, |leaf, bytes| {
        let before = leaf.entries().take_while(|other| other.key < entry.key);
        let behind = leaf.entries().skip_while(|other| other.key < entry.key);
        Leaf::write(bytes, id, before.chain([entry]).chain(behind))
    })
}

/// Takes the entry with this key out. False if there is none.
///
/// # Errors
/// The bytes are not this leaf, or damaged.
pub fn remove(bytes: &mut [u8], id: PageId, key: Key) -> Result<bool, FormatError> {
    change(bytes, id, |leaf, bytes| {
        Leaf::write(bytes, id, leaf.entries().filter(|entry| entry.key != key))
            && leaf.entries().any(|entry| entry.key == key)
    })
}

/// Makes the entry with this key name another inode. False if there is none.
///
/// # Errors
/// The bytes are not this leaf, or damaged.
pub fn retarget(
    bytes: &mut [u8],
    id: PageId,
    key: Key,
    (inode, generation, file_type): (u32, u32, FileType),
) -> Result<bool, FormatError> {
    change(bytes, id, |leaf, bytes| {
        let renewed = leaf.entries().map(|entry| match entry.key == key {
            true => Entry { inode, generation, file_type, ..entry },
            false => entry,
        });
        Leaf::write(bytes, id, renewed) && leaf.entries().any(|entry| entry.key == key)
    })
}

/// Rewrites a leaf from a copy of itself.
fn change(
    bytes: &mut [u8],
    id: PageId,
    rewrite: impl FnOnce(Leaf<'_>, &mut [u8]) -> bool,
) -> Result<bool, FormatError> {
    let mut copy = [0; PAGE_SIZE];
    Leaf::read(bytes, id)?;
    copy.copy_from_slice(bytes);
    Ok(rewrite(Leaf::read(&copy, id)?, bytes))
}
