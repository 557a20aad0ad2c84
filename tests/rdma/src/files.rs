//! kDFS between two guests, with its real servers and mounts: a tree goes in here and comes out there, both change files in turn, a
//! server is killed and comes back, and at last guest 1 goes off while guest 0 reads its files.

mod guest;
mod steps;

use crate::{Meeting, Place};
use anyhow::{Result, ensure};
use guest::Guest;
use std::path::PathBuf;

/// What is done.
#[derive(Clone, Debug)]
pub struct Options {
    /// A tree of files that every guest sees.
    pub tree: PathBuf,
    /// Rounds of the alternation.
    pub rounds: u64,
    /// Where every choice comes from.
    pub seed: u64,
}

/// Where the guests talk beside kDFS.
const PORT: u16 = 5500;

/// Runs this guest's part. In guest 1 it does not return: the guest goes off.
///
/// # Errors
/// Something is not as it should be.
pub fn run(place: &Place, options: &Options) -> Result<()> {
    ensure!(place.count() == 2, "this takes two guests");
    let mut meeting = Meeting::join(place, PORT)?;
    let guest = Guest::set_up(place, &mut meeting)?;
    let result = steps::all(&guest, &mut meeting, options);
    if result.is_err() {
        guest.print_log();
    }
    result
}
