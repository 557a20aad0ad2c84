//! Size, blocks and modification time of files.
//!
//! They are fields of the inode object, which every write therefore grabs. All code that touches them is here, so
//! that they can move to an object of their own with a merge function.

use crate::{Errno, Result, time};
use kdfs_format::{Inode, PAGE_SIZE, Timestamp, sets::MAX_FILE_SIZE};

/// Bytes of a page, as files count.
pub(crate) const PAGE: u64 = PAGE_SIZE as u64;

/// Bytes of the file.
pub(crate) fn of(inode: &Inode) -> u64 {
    inode.size.get()
}

/// Units of 512 bytes. Holes count as if they were filled: programs that see fewer blocks than bytes may skip what
/// they take for a hole.
pub(crate) fn blocks(inode: &Inode) -> u64 {
    of(inode).div_ceil(PAGE) * (PAGE / 512)
}

/// Pages that may hold anything but zeros.
pub(crate) fn written_pages(inode: &Inode) -> u32 {
    inode.written_pages.get()
}

/// How many of `length` bytes at `offset` a file can have.
///
/// # Errors
/// `EFBIG` if none.
pub(crate) fn room(offset: u64, length: usize) -> Result<usize> {
    match MAX_FILE_SIZE.checked_sub(offset) {
        None | Some(0) if length > 0 => Err(Errno::EFBIG),
        room => Ok(length.min(usize::try_from(room.unwrap_or(0)).unwrap_or(usize::MAX))),
    }
}

/// Bytes up to `end` have been written.
pub(crate) fn written(inode: &mut Inode, end: u64, now: Timestamp) {
    let pages = end.min(MAX_FILE_SIZE).div_ceil(PAGE) as u32;
    inode.written_pages = written_pages(inode).max(pages).into();
    set(inode, of(inode).max(end), now);
}

/// The file ends at `size` now, and bytes behind it have been removed or zeroed.
pub(crate) fn truncated(inode: &mut Inode, size: u64, now: Timestamp) {
    let pages = size.min(MAX_FILE_SIZE).div_ceil(PAGE) as u32;
    inode.written_pages = written_pages(inode).min(pages).into();
    set(inode, size, now);
}

fn set(inode: &mut Inode, size: u64, now: Timestamp) {
    inode.size = size.into();
    inode.blocks = blocks(inode).into();
    time::modified(inode, now);
}
