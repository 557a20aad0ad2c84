//! Removing an old partition: what kDFS made, and nothing else.

use anyhow::{Context, Result};
use indicatif::{ProgressBar, ProgressStyle};
use kdfs_format::paths;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// What was removed, and what was not.
#[derive(Debug, Default)]
pub struct Replaced {
    /// Inodes of the old partition.
    pub inodes: u64,
    /// Files that kDFS did not make.
    pub kept: Vec<PathBuf>,
}

/// Removes the partition in `directory`: the superblock first, so that what an interruption leaves is no partition.
pub fn remove_partition(directory: &Path) -> Result<Replaced> {
    let mut replaced = Replaced::default();
    let progress = ProgressBar::new_spinner()
        .with_style(ProgressStyle::with_template("{spinner} removing the old partition: {pos} inodes")?);
    progress.enable_steady_tick(Duration::from_millis(200));
    let new = format!("{}.new", paths::SUPERBLOCK);
    for name in [paths::SUPERBLOCK, &new] {
        remove_if_there(&directory.join(name))?;
    }
    for entry in list(directory)? {
        let name = entry.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if paths::parse_range(&name).is_some() && is_directory(&entry) {
            remove_range(&entry, &mut replaced, &progress)?;
        } else if name.starts_with(paths::BATCH) || name == paths::JOURNAL {
            remove_if_there(&entry)?;
        } else if name != "lost+found" {
            replaced.kept.push(entry);
        }
    }
    progress.finish_and_clear();
    Ok(replaced)
}

fn remove_range(range: &Path, replaced: &mut Replaced, progress: &ProgressBar) -> Result<()> {
    for entry in list(range)? {
        let number =
            entry.file_name().and_then(|name| name.to_str()).and_then(|name| name.parse::<u32>().ok());
        if number.is_none() || !is_directory(&entry) {
            replaced.kept.push(entry);
            continue;
        }
        for name in [paths::META, paths::CONTENT] {
            remove_if_there(&entry.join(name))?;
        }
        remove_if_empty(&entry, replaced)?;
        replaced.inodes += 1;
        progress.inc(1);
    }
    remove_if_empty(range, replaced)
}

fn remove_if_empty(directory: &Path, replaced: &mut Replaced) -> Result<()> {
    match fs::remove_dir(directory) {
        Ok(()) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::DirectoryNotEmpty => {
            // Foreign files of a range are named one by one already.
            if directory.file_name().and_then(|name| name.to_str()).and_then(paths::parse_range).is_none() {
                replaced.kept.push(directory.to_owned());
            }
            Ok(())
        }
        Err(error) => Err(error).with_context(|| format!("{}: cannot be removed", directory.display())),
    }
}

/// A symbolic link to a directory is none: what it leads to is not ours.
fn is_directory(path: &Path) -> bool {
    fs::symlink_metadata(path).is_ok_and(|kind| kind.is_dir())
}

fn remove_if_there(path: &Path) -> Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("{}: cannot be removed", path.display()))
        }
        _ => Ok(()),
    }
}

fn list(directory: &Path) -> Result<Vec<PathBuf>> {
    fs::read_dir(directory)
        .and_then(|entries| entries.map(|entry| Ok(entry?.path())).collect())
        .with_context(|| format!("{}: cannot be read", directory.display()))
}
