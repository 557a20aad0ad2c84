//! read(2).

use crate::error::on;
use crate::{Errno, FileId, FileSystem, FileType, Result, keys, size};
use kdfs_format::Inode;
use std::ops::Range;

/// The part of one page that a transfer concerns.
pub(crate) struct Piece {
    /// The page.
    pub(crate) page: u32,
    /// Bytes of the page.
    pub(crate) within: Range<usize>,
    /// The same bytes in the caller's buffer.
    pub(crate) buffer: Range<usize>,
}

/// The pieces of `length` bytes at `offset`, ascending. All of them lie below the largest size of a file.
pub(crate) fn pieces(offset: u64, length: usize) -> impl Iterator<Item = Piece> + Clone {
    let mut done = 0;
    std::iter::from_fn(move || {
        let at = offset + done as u64;
        let (page, start) = (at / size::PAGE, (at % size::PAGE) as usize);
        let count = (length - done).min(size::PAGE as usize - start);
        let buffer = done..done + count;
        done += count;
        (count > 0).then_some(Piece { page: page as u32, within: start..start + count, buffer })
    })
}

/// `EISDIR` or `EINVAL` for what has no bytes.
pub(crate) fn check_regular(inode: &Inode) -> Result<()> {
    match inode.file_type() {
        FileType::Regular => Ok(()),
        FileType::Directory => Err(Errno::EISDIR),
        _ => Err(Errno::EINVAL),
    }
}

impl FileSystem {
    /// Reads at `offset` into `into`; how many bytes there were. All of them are of one moment: no write is seen in
    /// part.
    ///
    /// # Errors
    /// `EISDIR`, `EINVAL` for what has no bytes, `ESTALE`.
    pub async fn read(&self, file: FileId, offset: u64, into: &mut [u8]) -> Result<usize> {
        let inode = self.inode(file).await?;
        check_regular(&inode)?;
        let left = size::of(&inode).saturating_sub(offset);
        let length = into.len().min(usize::try_from(left).unwrap_or(usize::MAX));
        let written = size::written_pages(&inode);
        self.bring(file, pieces(offset, length).map(|piece| piece.page).filter(|&page| page < written));
        for piece in pieces(offset, length) {
            let part = &mut into[piece.buffer];
            if piece.page >= written {
                part.fill(0);
                continue;
            }
            let key = keys::file_page(file, piece.page);
            part.copy_from_slice(&self.node().get(key).await.map_err(on(key))?[piece.within]);
        }
        Ok(length)
    }

    /// Begins to fetch these pages, if there is more than one: one is as quickly waited for.
    pub(crate) fn bring(&self, file: FileId, mut pages: impl Iterator<Item = u32> + Clone) {
        if pages.clone().nth(1).is_some() {
            self.node().prefetch(pages.by_ref().map(|page| keys::file_page(file, page)));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_cover_the_bytes_in_order() {
        let shown: Vec<_> =
            pieces(4000, 5000).map(|piece| (piece.page, piece.within, piece.buffer)).collect();
        assert_eq!(shown, [(0, 4000..4096, 0..96), (1, 0..4096, 96..4192), (2, 0..808, 4192..5000)]);
        assert_eq!(pieces(4096, 0).count(), 0);
        assert_eq!(pieces(4096, 4096).map(|piece| piece.page).collect::<Vec<_>>(), [1]);
    }
}
