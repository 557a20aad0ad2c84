//! kDFS in each guest.

use crate::Place;
use anyhow::Result;
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

/// Runs this guest's part.
///
/// # Errors
/// Something is not as it should be.
pub fn run(_place: &Place, _options: &Options) -> Result<()> {
    Ok(())
}
