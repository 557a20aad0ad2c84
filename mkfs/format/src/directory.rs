//! Pages of a directory: a tree of 4 KiB pages, entries placed by the leading bits of their keys.
//!
//! Intuition: the keys 256..2^63 are a line. Page 1 is a leaf with all of it; a leaf that is full becomes a *split
//! marker* and its entries go to pages `2n` (lower half of its interval) and `2n + 1` (upper half). So the page of
//! a key at depth `d` is `1 << d | the d leading bits of the key`, any page is found in at most [`MAX_DEPTH`] steps,
//! and walking leaves from left to right visits keys in order.
//!
//! Invariants of a verified leaf: entries ascend strictly by key, every key lies in the page's interval, every name
//! can be one. A page of zeros is an empty leaf. Pages below a leaf are remains of an earlier tree: a split
//! overwrites them, nobody reads them.

mod edit;
mod key;
mod leaf;
mod tree;

pub use edit::{insert, remove, retarget};
pub use key::{Key, MAX_DEPTH, MAX_NAME};
pub use leaf::{Entry, Leaf};
pub use tree::{Children, is_split};

use crate::layout::assert_layout;
use crate::{FormatError, PAGE_SIZE};
use zerocopy::little_endian::{U16, U32};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// The page where every directory begins.
pub const FIRST_PAGE: u32 = 1;

/// Bytes before the entries of a page.
pub const HEADER_SIZE: usize = 32;

/// Bytes for the entries of a page.
pub const ROOM: usize = PAGE_SIZE - HEADER_SIZE;

const WHAT: &str = "directory page";
const MAGIC: u32 = u32::from_le_bytes(*b"kDFd");
const LEAF: u8 = 1;
const SPLIT: u8 = 2;

/// Which page of which directory some bytes should be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PageId {
    /// The directory's inode number.
    pub inode: u32,
    /// The directory's generation.
    pub generation: u32,
    /// The page's number in the tree.
    pub page: u32,
}

impl PageId {
    /// How deep the page lies: 0 for the first.
    pub const fn depth(self) -> u32 {
        31 - (self.page | 1).leading_zeros()
    }

    /// Another page of the same directory.
    #[must_use]
    pub const fn sibling(self, page: u32) -> PageId {
        PageId { page, ..self }
    }
}

#[derive(Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct Header {
    magic: U32,
    /// [`LEAF`] or [`SPLIT`].
    kind: u8,
    reserved_a: u8,
    /// Bytes of entries.
    used: U16,
    /// Only on disk: over the whole page with this field 0.
    checksum: U32,
    inode: U32,
    generation: U32,
    page: U32,
    /// Entries.
    count: U16,
    reserved: [u8; 6],
}

assert_layout!(Header, HEADER_SIZE, {
    magic: 0, kind: 4, reserved_a: 5, used: 6, checksum: 8, inode: 12, generation: 16, page: 20, count: 24,
    reserved: 26,
});

/// The page as it goes to disk: with its checksum. A page of zeros stays as it is.
pub fn seal(page: &mut [u8; PAGE_SIZE]) {
    crate::checksum::seal(page, 8);
}

/// Checks a page that comes from disk: its checksum, what [`Leaf::read`] checks, and that there is nothing else. Clears the
/// checksum field.
///
/// # Errors
/// What is wrong with it.
pub fn verify(page: &mut [u8; PAGE_SIZE], id: PageId) -> Result<(), FormatError> {
    crate::checksum::verify(page, 8, WHAT)?;
    let Some(header) = header(page, id)? else { return Ok(()) };
    let (used, count) = match header.kind {
        SPLIT => (0, 0),
        _ => (header.used.get().into(), Leaf::read(page, id)?.count()),
    };
    // Exactly what would be written: a page that says more than is known is another version's, or damaged.
    let mut written = *page;
    write_header(&mut written, id, header.kind, used, count);
    match written.iter().zip(page.iter()).position(|(known, found)| known != found) {
        None => Ok(()),
        Some(at) => {
            Err(FormatError::Field { what: WHAT, field: "a byte that is zero", found: page[at].into() })
        }
    }
}

/// The header of a page, if it is this page of this directory; `None` for a page that was never written.
fn header(bytes: &[u8], id: PageId) -> Result<Option<Header>, FormatError> {
    let damaged = |field, found: u32| FormatError::Field { what: WHAT, field, found: found.into() };
    if bytes.len() != PAGE_SIZE {
        return Err(FormatError::Length { what: WHAT, expected: PAGE_SIZE, found: bytes.len() });
    }
    let (header, _) = Header::read_from_prefix(bytes).map_err(|_| FormatError::Length {
        what: WHAT,
        expected: PAGE_SIZE,
        found: bytes.len(),
    })?;
    if header.magic.get() == 0 && bytes.iter().all(|&byte| byte == 0) {
        return Ok(None);
    }
    if header.magic.get() != MAGIC {
        let found = header.magic.get().into();
        return Err(FormatError::Magic { what: WHAT, expected: MAGIC.into(), found });
    }
    if header.inode.get() != id.inode {
        return Err(damaged("its directory", header.inode.get()));
    }
    if header.generation.get() != id.generation {
        return Err(damaged("its directory's generation", header.generation.get()));
    }
    if header.page.get() != id.page || id.page == 0 {
        return Err(damaged("its number", header.page.get()));
    }
    if usize::from(header.used.get()) > ROOM {
        return Err(damaged("bytes of entries", header.used.get().into()));
    }
    match header.kind {
        LEAF => Ok(Some(header)),
        SPLIT if id.depth() < MAX_DEPTH => Ok(Some(header)),
        kind => Err(damaged("kind", kind.into())),
    }
}

/// Writes the header in front of `used` bytes of entries and zeros the rest.
fn write_header(bytes: &mut [u8], id: PageId, kind: u8, used: usize, count: usize) {
    let header = Header {
        magic: MAGIC.into(),
        kind,
        reserved_a: 0,
        used: (used as u16).into(),
        checksum: 0.into(),
        inode: id.inode.into(),
        generation: id.generation.into(),
        page: id.page.into(),
        count: (count as u16).into(),
        reserved: [0; 6],
    };
    bytes[..HEADER_SIZE].copy_from_slice(header.as_bytes());
    bytes[HEADER_SIZE + used..].fill(0);
}

#[cfg(test)]
mod tests;
