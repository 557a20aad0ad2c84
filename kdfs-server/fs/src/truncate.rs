//! Shrinking and stretching files.
//!
//! The pages of a file that is cut have to go wherever they are: in the memory of nodes, and on the partition. Most of a
//! large one are nowhere, or only on the partition, where one removal ends them all; which ones are in memory somewhere
//! is known at the file's home. So the home is asked, in aligned pieces, and removes those that it knows
//! ([`remove_known`]).

use crate::abreast::abreast;
use crate::error::{failed, on};
use crate::hold::ExclusiveInode;
use crate::{FileId, FileSystem, Result, keys, size};
use kddm_rdma::{Node, ObjectKey, OpError};
use kdfs_format::sets::MAX_FILE_SIZE;
use std::ops::RangeInclusive;

/// So few pages, as a power of two, are removed one by one sooner than the home has answered.
const LEAST_HEIGHT: u32 = 4;
/// Pages that are looked for at a time, while nothing else happens on the node.
const LOOK: u32 = 4096;

impl FileSystem {
    /// Gives the file, whose inode is held, this size. What lies behind it is removed, so that a file that grows
    /// again has zeros there.
    pub(crate) async fn truncate_held(
        &self,
        file: FileId,
        inode: &mut ExclusiveInode,
        end: u64,
    ) -> Result<()> {
        let written = size::written_pages(inode);
        if end < size::of(inode) {
            self.zero_tail(file, end, written).await?;
            let kept = end.min(MAX_FILE_SIZE).div_ceil(size::PAGE) as u32;
            self.remove_pages(file, kept, written).await?;
        }
        size::truncated(inode, end, self.now());
        Ok(())
    }

    /// Removes the pages from `first` to before `end` of a file that nobody else can reach now; behind `end` it has none.
    pub(crate) async fn remove_pages(&self, file: FileId, first: u32, end: u32) -> Result<()> {
        let mut first = first;
        while first < end {
            let height = height(first, end);
            let next = u64::from(first) + (1 << height);
            if height < LEAST_HEIGHT || !self.cut(file, first, height).await? {
                let pages = first..next.min(end.into()) as u32;
                abreast(pages.map(|page| self.remove_object(keys::file_page(file, page)))).await?;
            }
            first = u32::try_from(next).unwrap_or(end);
        }
        Ok(())
    }

    /// Has the home remove these pages. False if it does not know how.
    async fn cut(&self, file: FileId, first: u32, height: u32) -> Result<bool> {
        let key = keys::cut(file, first, height);
        // One that is left from a caller that gave up would tell of an earlier time.
        self.remove_object(key).await?;
        let done = self.node().get(key).await.map_err(on(key))?[0] == 1;
        self.remove_object(key).await?;
        Ok(done)
    }

    /// Zeros the bytes behind `end` in the page that it divides.
    async fn zero_tail(&self, file: FileId, end: u64, written: u32) -> Result<()> {
        let (page, kept) = (end / size::PAGE, (end % size::PAGE) as usize);
        if kept != 0 && page < u64::from(written) {
            let key = keys::file_page(file, page as u32);
            self.node().grab(key).await.map_err(on(key))?[kept..].fill(0);
        }
        Ok(())
    }
}

/// How many pages, as a power of two, to remove at once: as many as are aligned, but not twice as many as there are.
fn height(first: u32, end: u32) -> u32 {
    let aligned = if first == 0 { 32 } else { first.trailing_zeros() };
    let needed = 32 - (end - first - 1).leading_zeros();
    aligned.min(needed)
}

/// Removes those of `pages` of a file that have their home on this node and are known there: no other node has one of
/// the others; and on the partition all from the first of `pages` on. The caller knows that nobody makes new ones.
///
/// # Errors
/// As a removal: some are gone then.
pub async fn remove_known(node: &Node, file: FileId, pages: RangeInclusive<u32>) -> Result<()> {
    let set = keys::file_page(file, 0).set;
    let remove = |key| async move {
        match node.remove(key).await {
            Ok(()) | Err(OpError::Absent) => Ok(()),
            Err(error) => Err(failed(key, error)),
        }
    };
    // The first, whether it is known or not: with it goes what lies behind it on the partition.
    remove(ObjectKey::new(set, *pages.start())).await?;
    let mut first = *pages.start();
    loop {
        let last = first.saturating_add(LOOK - 1).min(*pages.end());
        let known = node.known((first..=last).map(|page| ObjectKey::new(set, page)));
        abreast(known.into_iter().map(remove)).await?;
        match last.checked_add(1).filter(|next| next <= pages.end()) {
            Some(next) => first = next,
            None => return Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_are_aligned_and_few() {
        for (first, end) in [(0, 1), (0, 1 << 21), (1, 1 << 21), (12_345, 3_000_000), (0, u32::MAX), (7, 8)] {
            let (mut at, mut pieces) = (u64::from(first), 0);
            while at < u64::from(end) {
                let height = height(at as u32, end);
                assert_eq!(at % (1 << height), 0, "{first}..{end} at {at}");
                at += 1 << height;
                pieces += 1;
            }
            assert!(pieces <= 33, "{first}..{end}: {pieces}");
            assert!(at - u64::from(end) < u64::from(end - first), "{first}..{end}");
        }
    }
}
