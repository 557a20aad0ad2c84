//! The native files of a partition: one method for each thing that is done to them.

use super::touched::Touched;
use kddm_rdma::Host;
use kddm_rdma::host::{Disk, disk::DiskSpace};
use kdfs_format::{INODE_SIZE, Inode, PAGE_SIZE, SUPERBLOCK_SIZE, UnverifiedInode, paths};
use parking_lot::{Mutex, RwLock};
use std::collections::HashSet;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// A partition's directory.
pub(crate) struct Native {
    host: Arc<dyn Host>,
    root: PathBuf,
    node: u8,
    /// Held while bytes of files are written in place, other than by applying a checkpoint.
    pub direct: RwLock<()>,
    /// What has to be durable before the next durable checkpoint is committed.
    owed: Touched,
    /// What has to be durable before the checkpoints that are being applied are removed.
    applied: Touched,
    /// Inodes whose native directory has no `.meta` yet, so that its name is still to be made durable.
    nameless: Mutex<HashSet<u32>>,
    old_checkpoint: AtomicBool,
}

/// On whose behalf something is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Writer {
    /// Bytes of files, ahead of the checkpoint with their attributes, which must not be durable before them.
    Ahead,
    /// A committed checkpoint: until it is removed it says the same.
    Checkpoint,
}

impl Native {
    pub fn new(host: Arc<dyn Host>, root: PathBuf, node: u8) -> Native {
        let (direct, owed, applied, nameless, old_checkpoint) = Default::default();
        Native { host, root, node, direct, owed, applied, nameless, old_checkpoint }
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
        tracing::error!(path = %path.display(), reason = %error, "damaged: access to it fails with an input/output error, nothing else");
        io::Error::from_raw_os_error(nix::libc::EIO)
    }

    pub fn write_meta(&self, local: u32, bytes: &[u8]) -> io::Result<()> {
        let path = self.path(paths::meta(local));
        self.in_directory(local, || self.disk().write_at(&path, 0, bytes))?;
        let is_new = self.nameless.lock().remove(&local);
        self.applied.file(&path);
        if is_new {
            self.applied.directory(&self.path(paths::inode_directory(local)));
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
    pub fn write_content(&self, local: u32, page: u32, bytes: &[u8], writer: Writer) -> io::Result<()> {
        let path = self.path(paths::content(local));
        self.in_directory(local, || self.disk().write_at(&path, place(page), bytes))?;
        self.touched(writer).file(&path);
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
        self.applied.file(&path);
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
        [&self.owed, &self.applied].into_iter().for_each(|touched| touched.forget(&directory));
        if directory.parent().is_some_and(|range| self.disk().exists(range).unwrap_or(true)) {
            self.applied.directory(&self.path(paths::range_directory(local)));
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
        self.applied.file(&path);
        Ok(())
    }

    /// Makes durable what the next durable checkpoint builds upon.
    pub fn make_durable(&self) -> io::Result<()> {
        self.owed.make_durable(self.disk(), &self.root)
    }

    /// Makes everything durable that was written so far.
    pub fn make_all_durable(&self) -> io::Result<()> {
        // Who is just making a directory has told of it then.
        drop(self.direct.write());
        self.applied.make_durable(self.disk(), &self.root)?;
        self.make_durable()
    }

    /// A checkpoint that was applied is to be removed though what it says is not durable: the next durable one has to
    /// see to it.
    pub fn owe_applied(&self) {
        self.owed.absorb(&self.applied);
    }

    fn touched(&self, writer: Writer) -> &Touched {
        match writer {
            Writer::Ahead => &self.owed,
            Writer::Checkpoint => &self.applied,
        }
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
        self.owed.everything();
    }

    /// Whether [`Native::make_durable`] has nothing to do.
    pub fn is_durable(&self) -> bool {
        self.owed.is_empty()
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

    /// Both sets are told: bytes that another writer brings later are as lost without the directory.
    fn make_directory(&self, local: u32) -> io::Result<()> {
        let directory = self.path(paths::inode_directory(local));
        let range = self.path(paths::range_directory(local));
        match self.disk().create_directory(&directory) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                ignore_there(self.disk().create_directory(&range))?;
                [&self.owed, &self.applied].into_iter().for_each(|touched| touched.directory(&self.root));
                ignore_there(self.disk().create_directory(&directory))?;
            }
            result => ignore_there(result)?,
        }
        self.disk().write_at(&directory.join(paths::CONTENT), 0, &[])?;
        self.nameless.lock().insert(local);
        for touched in [&self.owed, &self.applied] {
            touched.directory(&range);
            touched.directory(&directory);
        }
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
