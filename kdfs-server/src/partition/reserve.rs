//! Room for a checkpoint on a full disk: freeing space must never need any.
//!
//! The file holds nothing. As much of it as is needed is given up when a checkpoint does not fit elsewhere, and taken
//! again as soon as that has been applied; whether it is there means nothing to recovery.

use super::layer::is_full;
use super::native::Native;
use kdfs_format::paths;
use std::io;
use std::ops::RangeInclusive;

/// Bytes of it, at least and at most, and the part of the disk in between. A checkpoint has some 300 bytes for each new
/// file; there are no more of them than the disk has room for natively, with two blocks each, nor than nodes make from one
/// checkpoint to the next.
const RESERVE: RangeInclusive<u64> = 1 << 20..=4 << 20;
const PART: u64 = 16;
/// Bytes of it that are for checkpoints alone: what they remove may be what makes room for those before them.
pub(crate) const FOR_COMMITS: u64 = 256 << 10;
/// It comes and goes in pieces of so many.
const PIECE: u64 = 64 << 10;

impl Native {
    /// Takes what is missing of the reserve, as far as there is room.
    pub fn take_reserve(&self) -> io::Result<()> {
        let path = self.path(paths::RESERVE);
        let wanted = (self.space()?.total / PART).clamp(*RESERVE.start(), *RESERVE.end());
        let mut length = self.reserve()?;
        while length < wanted {
            let piece = PIECE.min(wanted - length);
            match self.disk().write_at(&path, length, &vec![0; piece as usize]) {
                Err(error) if is_full(&error) => return Ok(()),
                result => result?,
            }
            length += piece;
        }
        Ok(())
    }

    /// Gives up room for `bytes`, or what there is beyond the bytes to keep. False if there was none.
    pub fn give_up_reserve(&self, bytes: u64, keep: u64) -> io::Result<bool> {
        let path = self.path(paths::RESERVE);
        match self.reserve()? {
            length if length <= keep => Ok(false),
            length => {
                let left = length.saturating_sub(bytes.next_multiple_of(PIECE) + PIECE).max(keep);
                self.disk().set_length(&path, left).map(|()| true)
            }
        }
    }

    fn reserve(&self) -> io::Result<u64> {
        match self.disk().length(&self.path(paths::RESERVE)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(0),
            found => found,
        }
    }
}
