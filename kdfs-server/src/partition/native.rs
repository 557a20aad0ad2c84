//! The native files of a partition: one method for each thing that is done to them.

use kddm_rdma::Host;
use kddm_rdma::host::{Disk, disk::DiskSpace};
use kdfs_format::{INODE_SIZE, Inode, PAGE_SIZE, SUPERBLOCK_SIZE, UnverifiedInode, paths};
use parking_lot::{Mutex, RwLock};
use std::collections::{BTreeSet, HashSet};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// So many files are made durable one by one; more than that together.
const TOUCHED: usize = 48;

/// A partition's directory.
pub(crate) struct Native {
    host: Arc<dyn Host>,
    root: PathBuf,
    node: u8,
    /// Held while bytes of files are written in place, other than by applying a checkpoint.
    pub direct: RwLock<()>,
    touched: Mutex<Touched>,
    /// Inodes whose native directory has no `.meta` yet, so that its name is still to be made durable.
    nameless: Mutex<HashSet<u32>>,
    old_checkpoint: AtomicBool,
}

/// What was written since it was last made durable.
#[derive(Debug, Default)]
enum Touched {
    #[default]
    Nothing,
    /// These files, and the names in these directories.
    Some { files: BTreeSet<PathBuf>, directories: BTreeSet<PathBuf> },
    /// More than is worth telling apart.
    Much,
}

impl Touched {
    fn note(&mut self, path: &Path, is_directory: bool) {
        if let Touched::Nothing = self {
            *self = Touched::Some { files: BTreeSet::new(), directories: BTreeSet::new() };
        }
        let Touched::Some { files, directories } = self else { return };
        let paths = if is_directory { &mut *directories } else { &mut *files };
        if !paths.contains(path) {
            paths.insert(path.to_owned());
        }
        if files.len() + directories.len() > TOUCHED {
            *self = Touched::Much;
        }
    }

    fn forget(&mut self, path: &Path) {
        if let Touched::Some { files, directories } = self {
            files.retain(|file| !file.starts_with(path));
            directories.retain(|directory| !directory.starts_with(path));
        }
    }
}

impl Native {
    pub fn new(host: Arc<dyn Host>, root: PathBuf, node: u8) -> Native {
        let (direct, touched, nameless, old_checkpoint) = Default::default();
        Native { host, root, node, direct, touched, nameless, old_checkpoint }
    }

    pub fn disk(&self) -> &dyn Disk {
        self.host.disk()
    }

    pub fn root(&self) -> &Path {
        &self.root
    }

    pub fn node(&self) -> u8 {
        self.node
    }

    pub fn path(&self, relative: impl AsRef<Path>) -> PathBuf {
        self.root.join(relative)
    }

    pub fn space(&self) -> io::Result<DiskSpace> {
        self.disk().space(&self.root)
    }

    /// The inode; `None` if there is none of that number.
    pub fn read_meta(&self, local: u32) -> io::Result<Option<Inode>> {
        let path = self.path(paths::meta(local));
        // One byte more, so that a file that is too long is seen.
        let mut bytes = [0; INODE_SIZE + 1];
        let found = match self.disk().read_at(&path, 0, &mut bytes) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            found => found?,
        };
        let number = (u32::from(self.node) << 24) | local;
        UnverifiedInode::parse(&bytes[..found])
            .and_then(|inode| inode.verify(number))
            .map(Some)
            .map_err(|error| self.damaged(&path, error))
    }

    /// Logs what is wrong, and makes it the error that programs see.
    pub fn damaged(&self, path: &Path, error: kdfs_format::FormatError) -> io::Error {
        tracing::error!(path = %path.display(), %error, "damaged: access to it fails with an input/output error, nothing else");
        io::Error::from_raw_os_error(nix::libc::EIO)
    }

    pub fn write_meta(&self, local: u32, bytes: &[u8]) -> io::Result<()> {
        let path = self.path(paths::meta(local));
        self.in_directory(local, || self.disk().write_at(&path, 0, bytes))?;
        let is_new = self.nameless.lock().remove(&local);
        let mut touched = self.touched.lock();
        touched.note(&path, false);
        if is_new {
            touched.note(&self.path(paths::inode_directory(local)), true);
        }
        Ok(())
    }

    /// A page of `.content`. False, and zeros, if nothing was ever written there.
    pub fn read_content(&self, local: u32, page: u32, into: &mut [u8]) -> io::Result<bool> {
        let path = self.path(paths::content(local));
        let found = match self.disk().read_at(&path, place(page), into) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => 0,
            found => found?,
        };
        into[found..].fill(0);
        Ok(found > 0)
    }

    /// Writes pages of `.content`, from `page` on.
    pub fn write_content(&self, local: u32, page: u32, bytes: &[u8]) -> io::Result<()> {
        let path = self.path(paths::content(local));
        self.in_directory(local, || self.disk().write_at(&path, place(page), bytes))?;
        self.touched.lock().note(&path, false);
        Ok(())
    }

    /// Cuts `.content` so that `page` is the first that is not there.
    pub fn truncate(&self, local: u32, page: u32) -> io::Result<()> {
        self.cut(local, place(page))
    }

    /// Cuts `.content` to at most `length` bytes. True if it was longer.
    pub fn cut_to(&self, local: u32, length: u64) -> io::Result<bool> {
        match self.disk().length(&self.path(paths::content(local))) {
            Ok(now) if now > length => self.cut(local, length).map(|()| true),
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(false),
        }
    }

    /// Cuts off the zeros between a file's end and the end of its last page, so that `.content` is the file. What
    /// was written there after the size became known stays.
    pub fn trim(&self, local: u32, size: u64) -> io::Result<()> {
        let end = size.next_multiple_of(PAGE_SIZE as u64);
        let path = self.path(paths::content(local));
        let _nobody_writes = self.direct.write();
        match self.disk().length(&path) {
            Ok(now) if now > size && now <= end => {}
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => return Ok(()),
        }
        let mut rest = [0; PAGE_SIZE];
        let found = self.disk().read_at(&path, size, &mut rest)?;
        match rest[..found].iter().all(|&byte| byte == 0) {
            true => self.cut(local, size),
            false => Ok(()),
        }
    }

    fn cut(&self, local: u32, length: u64) -> io::Result<()> {
        let path = self.path(paths::content(local));
        match self.disk().length(&path) {
            Ok(now) if now > length => self.disk().set_length(&path, length)?,
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => return Ok(()),
        }
        self.touched.lock().note(&path, false);
        Ok(())
    }

    /// Removes the native directory of an inode; nothing happens if it is not there.
    pub fn remove(&self, local: u32) -> io::Result<()> {
        let directory = self.path(paths::inode_directory(local));
        for file in [paths::META, paths::CONTENT] {
            ignore_missing(self.disk().remove_file(&directory.join(file)))?;
        }
        match self.disk().remove_directory(&directory) {
            Err(error) if error.kind() == io::ErrorKind::DirectoryNotEmpty => {
                tracing::warn!(path = %directory.display(), "stays: it holds files that kDFS did not make");
            }
            result => ignore_missing(result)?,
        }
        self.nameless.lock().remove(&local);
        let mut touched = self.touched.lock();
        touched.forget(&directory);
        if directory.parent().is_some_and(|range| self.disk().exists(range).unwrap_or(true)) {
            touched.note(&self.path(paths::range_directory(local)), true);
        }
        Ok(())
    }

    /// A page of the inode bitmap. False, and zeros, if it was never written.
    pub fn read_bitmap(&self, page: u32, into: &mut [u8]) -> io::Result<bool> {
        let found = self.disk().read_at(&self.path(paths::SUPERBLOCK), bitmap_place(page), into)?;
        into[found..].fill(0);
        Ok(found > 0)
    }

    pub fn write_bitmap(&self, page: u32, bytes: &[u8]) -> io::Result<()> {
        let path = self.path(paths::SUPERBLOCK);
        self.disk().write_at(&path, bitmap_place(page), bytes)?;
        self.touched.lock().note(&path, false);
        Ok(())
    }

    /// Makes everything durable that was written so far.
    pub fn make_durable(&self) -> io::Result<()> {
        let touched = std::mem::take(&mut *self.touched.lock());
        let result = match &touched {
            Touched::Nothing => Ok(()),
            Touched::Some { files, directories } => {
                (files.iter().try_for_each(|path| self.disk().sync_file(path)))
                    .and_then(|()| directories.iter().try_for_each(|path| self.disk().sync_directory(path)))
            }
            Touched::Much => self.disk().sync_all(&self.root),
        };
        if result.is_err() {
            // Which of them failed does not matter: next time all of it again.
            *self.touched.lock() = Touched::Much;
        }
        result
    }

    /// The removal of an applied checkpoint is not durable: the loss of power may bring it back.
    pub fn note_old_checkpoint(&self, may_come_back: bool) {
        self.old_checkpoint.store(may_come_back, Ordering::Relaxed);
    }

    /// Makes sure that no applied checkpoint comes back and undoes what is written, and made durable, after it.
    pub fn bury_old_checkpoint(&self) -> io::Result<()> {
        if self.old_checkpoint.load(Ordering::Relaxed) {
            self.disk().sync_directory(&self.root)?;
            self.note_old_checkpoint(false);
        }
        Ok(())
    }

    /// What was written before this server came is not known.
    pub fn touch_everything(&self) {
        *self.touched.lock() = Touched::Much;
    }

    /// Whether [`Native::make_durable`] has anything to do.
    pub fn is_durable(&self) -> bool {
        matches!(*self.touched.lock(), Touched::Nothing)
    }

    /// Does what needs the inode's native directory, which is made if it is missing.
    fn in_directory(&self, local: u32, write: impl Fn() -> io::Result<()>) -> io::Result<()> {
        match write() {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                self.make_directory(local)?;
                write()
            }
            result => result,
        }
    }

    fn make_directory(&self, local: u32) -> io::Result<()> {
        let directory = self.path(paths::inode_directory(local));
        let range = self.path(paths::range_directory(local));
        match self.disk().create_directory(&directory) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                ignore_there(self.disk().create_directory(&range))?;
                self.touched.lock().note(&self.root, true);
                ignore_there(self.disk().create_directory(&directory))?;
            }
            result => ignore_there(result)?,
        }
        self.disk().write_at(&directory.join(paths::CONTENT), 0, &[])?;
        self.nameless.lock().insert(local);
        let mut touched = self.touched.lock();
        touched.note(&range, true);
        touched.note(&directory, true);
        Ok(())
    }
}

const fn place(page: u32) -> u64 {
    page as u64 * PAGE_SIZE as u64
}

const fn bitmap_place(page: u32) -> u64 {
    SUPERBLOCK_SIZE as u64 + place(page)
}

fn ignore_missing(result: io::Result<()>) -> io::Result<()> {
    result.or_else(|error| if error.kind() == io::ErrorKind::NotFound { Ok(()) } else { Err(error) })
}

fn ignore_there(result: io::Result<()>) -> io::Result<()> {
    result.or_else(|error| if error.kind() == io::ErrorKind::AlreadyExists { Ok(()) } else { Err(error) })
}
