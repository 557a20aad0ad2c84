//! Room for a checkpoint on a full disk: freeing space must never need any.
//!
//! The file holds nothing. It is given up when a checkpoint does not fit elsewhere, and taken again when there is
//! plenty; whether it is there means nothing to recovery.

use super::native::Native;
use kdfs_format::paths;
use std::io;

/// Bytes of it: a checkpoint that removes hundreds of files, and what applying it takes.
pub(crate) const RESERVE: usize = 1 << 20;
/// It is taken if so many times as much is free.
const PLENTY: u64 = 4;

impl Native {
    /// Takes the reserve, if it is not there and there is plenty of room.
    pub fn take_reserve(&self) -> io::Result<()> {
        let path = self.path(paths::RESERVE);
        let found = match self.disk().length(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => 0,
            found => found?,
        };
        if found >= RESERVE as u64 || self.space()?.available < PLENTY * RESERVE as u64 {
            return Ok(());
        }
        let result = self.disk().write_at(&path, 0, &vec![0; RESERVE]);
        if result.is_err() {
            self.give_up_reserve()?;
        }
        result
    }

    /// Gives it up. False if it was not there.
    pub fn give_up_reserve(&self) -> io::Result<bool> {
        match self.disk().remove_file(&self.path(paths::RESERVE)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            result => result.map(|()| true),
        }
    }
}
