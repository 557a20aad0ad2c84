//! Copies a tree as `cp -a` does: bytes, modes, owners, times, links.

use crate::progress::Progress;
use anyhow::{Context, Result};
use nix::fcntl::AT_FDCWD;
use nix::sys::stat::{UtimensatFlags, utimensat};
use nix::sys::time::TimeSpec;
use nix::unistd::{FchownatFlags, Gid, Uid, fchownat};
use std::collections::HashMap;
use std::fs::{self, File, Metadata};
use std::io;
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::{Path, PathBuf};

/// Copies `from` to `to`, which must not exist. `files` is only for the progress bar.
///
/// # Errors
/// With the path at which the first system call failed.
pub fn copy(from: &Path, to: &Path, files: u64) -> Result<()> {
    let name = to.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let mut copier =
        Copier { links: HashMap::new(), progress: Progress::new(format!("copying to {name}"), files) };
    copier.entry(from, to)
}

struct Copier {
    /// Where a file with several names was copied first.
    links: HashMap<u64, PathBuf>,
    progress: Progress,
}

impl Copier {
    fn entry(&mut self, from: &Path, to: &Path) -> Result<()> {
        let metadata = fs::symlink_metadata(from).with_context(|| format!("reading {}", from.display()))?;
        let place = || format!("copying {} to {}", from.display(), to.display());
        if metadata.is_dir() {
            fs::create_dir(to).with_context(place)?;
            let mut names: Vec<_> = fs::read_dir(from)?.collect::<io::Result<Vec<_>>>()?;
            names.sort_by_key(fs::DirEntry::file_name);
            for entry in names {
                self.entry(&entry.path(), &to.join(entry.file_name()))?;
            }
            return attributes(&metadata, to).with_context(place);
        }
        self.progress.step();
        if metadata.is_symlink() {
            symlink(fs::read_link(from)?, to).with_context(place)?;
        } else if let Some(first) = self.links.get(&metadata.ino()) {
            return fs::hard_link(first, to).with_context(place);
        } else {
            bytes(from, to).with_context(place)?;
            if metadata.nlink() > 1 {
                self.links.insert(metadata.ino(), to.to_owned());
            }
        }
        attributes(&metadata, to).with_context(place)
    }
}

fn bytes(from: &Path, to: &Path) -> io::Result<()> {
    let mut source = File::open(from)?;
    let mut target = File::create_new(to)?;
    io::copy(&mut source, &mut target).map(drop)
}

fn attributes(metadata: &Metadata, to: &Path) -> io::Result<()> {
    let flag = FchownatFlags::AT_SYMLINK_NOFOLLOW;
    if nix::unistd::geteuid().is_root() {
        fchownat(
            AT_FDCWD,
            to,
            Some(Uid::from_raw(metadata.uid())),
            Some(Gid::from_raw(metadata.gid())),
            flag,
        )?;
    }
    if !metadata.is_symlink() {
        fs::set_permissions(to, metadata.permissions())?;
    }
    let accessed = TimeSpec::new(metadata.atime(), metadata.atime_nsec());
    let modified = TimeSpec::new(metadata.mtime(), metadata.mtime_nsec());
    utimensat(AT_FDCWD, to, &accessed, &modified, UtimensatFlags::NoFollowSymlink)?;
    Ok(())
}
