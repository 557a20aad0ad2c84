//! Splits: how one leaf becomes two.

use super::{Entry, Key, Leaf, MAX_DEPTH, PageId, SPLIT, header, write_header};
use crate::{FormatError, PAGE_SIZE};

/// Whether page `id` is a split marker, so that its entries lie below it.
///
/// # Errors
/// The bytes are not this page, or damaged.
pub fn is_split(bytes: &[u8], id: PageId) -> Result<bool, FormatError> {
    Ok(header(bytes, id)?.is_some_and(|header| header.kind == SPLIT))
}

/// The two leaves that take the place of a full one.
pub struct Children {
    /// Their numbers: the lower half of the interval, the upper half.
    pub pages: [u32; 2],
    /// Their bytes.
    pub bytes: [Box<[u8; PAGE_SIZE]>; 2],
}

impl Children {
    /// Divides the leaf in `bytes` and makes `bytes` a split marker. `None`, and nothing is changed, if the page
    /// is as deep as pages go.
    ///
    /// # Errors
    /// The bytes are not this leaf, or damaged.
    pub fn split(bytes: &mut [u8], id: PageId) -> Result<Option<Children>, FormatError> {
        let leaf = Leaf::read(bytes, id)?;
        let depth = id.depth() + 1;
        if depth > MAX_DEPTH {
            return Ok(None);
        }
        let pages = [id.page * 2, id.page * 2 + 1];
        let mut children = [Box::new([0; PAGE_SIZE]), Box::new([0; PAGE_SIZE])];
        for (page, child) in pages.into_iter().zip(&mut children) {
            let mine = |entry: &Entry<'_>| entry.key.page(depth) == page;
            let fits = Leaf::write(&mut child[..], id.sibling(page), leaf.entries().filter(mine));
            debug_assert!(fits, "BUG: half of a page does not fit into a page");
        }
        write_header(bytes, id, SPLIT, 0, 0);
        Ok(Some(Children { pages, bytes: children }))
    }
}

impl Key {
    /// The child of split page `page` in whose interval the key lies.
    pub const fn child_of(self, page: PageId) -> u32 {
        self.page(page.depth() + 1)
    }
}
