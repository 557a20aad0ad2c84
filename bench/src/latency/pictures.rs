//! The rows as pictures.

use super::measure::Measured;
use anyhow::Result;
use std::path::{Path, PathBuf};

/// Draws all of them in `directory`; where they are.
pub fn draw(_measured: &[Measured], _directory: &Path) -> Result<Vec<PathBuf>> {
    Ok(Vec::new())
}
