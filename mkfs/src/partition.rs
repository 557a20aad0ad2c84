//! Looking at a directory, and writing a new partition into it.

use anyhow::{Context, Result};
use kdfs_format::bitmap::{self, BitmapPage};
use kdfs_format::sets::{ROOT_LOCAL_ID, bitmap_object};
use kdfs_format::{Inode, PAGE_SIZE, SUPERBLOCK_SIZE, Superblock, UnverifiedSuperblock, paths};
use nix::fcntl::{Flock, FlockArg};
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::FileExt;
use std::path::Path;

/// What a directory holds.
pub enum Found {
    /// Nothing that matters.
    Nothing,
    /// Files, but no readable superblock.
    Files,
    /// A partition that no server has open.
    Partition {
        /// The node whose partition it is.
        node: u8,
    },
}

/// The directory is unchanged, because it holds something.
#[derive(Debug)]
pub struct Refused(String);

impl std::fmt::Display for Refused {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Refused {}

/// Looks at `directory`; refuses what `force` does not allow, and a partition in use always.
pub fn inspect(directory: &Path, force: bool) -> Result<Found> {
    let shown = directory.display();
    let kind = fs::metadata(directory).with_context(|| {
        format!("{shown}: cannot be used; make the directory first (mkdir -p {shown}), or check the name")
    })?;
    if !kind.is_dir() {
        anyhow::bail!("{shown}: is no directory; a partition is a directory of a native file system");
    }
    let superblock = directory.join(paths::SUPERBLOCK);
    if superblock.symlink_metadata().is_ok() {
        return inspect_partition(directory, &superblock, force);
    }
    let unreadable = || format!("{shown}: cannot be read; check its permissions");
    let mut strangers = Vec::new();
    for entry in fs::read_dir(directory).with_context(unreadable)? {
        let name = entry.with_context(unreadable)?.file_name();
        if name != "lost+found" {
            strangers.push(name.to_string_lossy().into_owned());
        }
    }
    if strangers.is_empty() {
        return Ok(Found::Nothing);
    }
    if force {
        return Ok(Found::Files);
    }
    strangers.sort();
    let more = strangers.len().saturating_sub(5);
    strangers.truncate(5);
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    Err(Refused(format!(
        "{shown}: is not empty (it has {}{more}); use an empty directory, or --force to format it and keep those files",
        strangers.join(", ")
    ))
    .into())
}

fn inspect_partition(directory: &Path, superblock: &Path, force: bool) -> Result<Found> {
    let shown = directory.display();
    let cannot = || format!("{}: cannot be read; check its permissions", superblock.display());
    let mut file = OpenOptions::new().read(true).write(true).open(superblock).with_context(cannot)?;
    let mut page = Vec::with_capacity(SUPERBLOCK_SIZE);
    Read::by_ref(&mut file).take(SUPERBLOCK_SIZE as u64).read_to_end(&mut page).with_context(cannot)?;
    let known = UnverifiedSuperblock::parse(&page).and_then(UnverifiedSuperblock::verify);
    if Flock::lock(file, FlockArg::LockExclusiveNonblock).is_err() {
        return Err(Refused(format!(
            "{shown}: a server has this partition open; unmount it first (kddm status shows the server)"
        ))
        .into());
    }
    match (known, force) {
        (Ok(known), true) => Ok(Found::Partition { node: known.node }),
        (Err(_), true) => Ok(Found::Files),
        (Ok(known), false) => Err(Refused(format!(
            "{shown}: is already a partition (of node {}, root on node {}); --force removes it with all its files",
            known.node,
            kdfs_format::sets::node_of(known.root.get())
        ))
        .into()),
        (Err(error), false) => Err(Refused(format!(
            "{shown}: has a file `{}`, but {error}; --force starts a new partition there",
            paths::SUPERBLOCK
        ))
        .into()),
    }
}

/// Writes a partition: the root directory if it lies here, and the superblock last, so that a directory is a
/// partition wholly or not at all.
pub fn write(directory: &Path, superblock: &Superblock) -> io::Result<()> {
    if superblock.holds_root() {
        write_root(directory, superblock)?;
    }
    let temporary = directory.join(format!("{}.new", paths::SUPERBLOCK));
    let file = File::create(&temporary)?;
    file.write_all_at(&superblock.sealed(), 0)?;
    if superblock.holds_root() {
        file.write_all_at(&first_bitmap_page(superblock.node)?, SUPERBLOCK_SIZE as u64)?;
    }
    file.sync_all()?;
    fs::rename(&temporary, directory.join(paths::SUPERBLOCK))?;
    File::open(directory)?.sync_all()
}

fn write_root(directory: &Path, superblock: &Superblock) -> io::Result<()> {
    let root = Inode::root(superblock.node, superblock.formatted).ok_or(io::ErrorKind::InvalidInput)?;
    let home = directory.join(paths::inode_directory(ROOT_LOCAL_ID));
    fs::create_dir_all(&home)?;
    let mut meta = File::create(home.join(paths::META))?;
    meta.write_all(&root.sealed())?;
    meta.sync_all()?;
    File::create(home.join(paths::CONTENT))?.sync_all()?;
    File::open(&home)?.sync_all()?;
    File::open(directory.join(paths::range_directory(ROOT_LOCAL_ID)))?.sync_all()
}

/// The bitmap page in which the root directory's id is taken.
fn first_bitmap_page(node: u8) -> io::Result<[u8; PAGE_SIZE]> {
    let mut page = [0; PAGE_SIZE];
    BitmapPage::of_mut(&mut page, bitmap_object(node, 0)).map_err(io::Error::other)?.take(ROOT_LOCAL_ID);
    bitmap::seal(&mut page);
    Ok(page)
}
