//! The folders of a run.

use crate::options::Options;
use anyhow::{Context, Result};
use std::fs;
use std::path::{Path, PathBuf};
use tempfile::TempDir;

/// Where a run has its files.
#[derive(Debug)]
pub struct Place {
    /// Goes away with the run.
    pub temporary: TempDir,
    /// For the logs.
    pub work: PathBuf,
    /// For the guests to write in.
    pub share: PathBuf,
    /// Where the kernel is.
    pub cache: PathBuf,
}

impl Place {
    /// Makes the folders that are not there.
    ///
    /// # Errors
    /// If one cannot be made.
    pub fn new(options: &Options) -> Result<Place> {
        let temporary = tempfile::Builder::new().prefix("soft-roce-").tempdir().context("making a folder")?;
        let cache = options.cache.clone().map_or_else(usual_cache, Ok)?;
        let work = made(options.work.as_deref(), &temporary.path().join("work"))?;
        let share = made(options.share.as_deref(), &temporary.path().join("share"))?;
        Ok(Place { work, share, cache: made(Some(&cache), &cache)?, temporary })
    }

    /// A name that no other run has.
    pub fn name(&self) -> String {
        self.temporary.path().file_name().unwrap_or_default().to_string_lossy().into_owned()
    }
}

fn made(wanted: Option<&Path>, otherwise: &Path) -> Result<PathBuf> {
    let path = wanted.unwrap_or(otherwise);
    fs::create_dir_all(path).with_context(|| format!("creating {}", path.display()))?;
    path.canonicalize().with_context(|| format!("finding {}", path.display()))
}

/// `target/soft-roce`, beside the folder in which this program was built.
fn usual_cache() -> Result<PathBuf> {
    let program = std::env::current_exe().context("finding this program")?;
    Ok(program.ancestors().nth(2).context("finding the folder of this program")?.join("soft-roce"))
}
