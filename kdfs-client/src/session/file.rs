//! Files of kDFS, without a mount.

use super::{
    Session,
    requests::{Requests, Transfer},
};
use crate::{Error, error::Result};
use kddm_ring::{EntryFacts, FileFacts, Piece, Refusal, Request, split_named};
use nix::libc;
use std::{
    io::{self, Read, Seek, SeekFrom, Write},
    os::unix::ffi::{OsStrExt, OsStringExt},
    path::{Path, PathBuf},
    sync::Arc,
};
use zerocopy::FromBytes;

/// Bytes of one transfer, at most: a part of the usual window.
const TRANSFER: u32 = 1 << 20;
/// Where the window has no room for so many: not less than this.
const LEAST_TRANSFER: u32 = 4096;
/// Bytes of directory entries that are asked for together.
const LISTING: u32 = 32 << 10;
const LONGEST_PATH: u32 = 4096;

/// An open file. Dropped, it is closed. It reads and writes at a place of its own ([`Read`], [`Write`], [`Seek`]), or anywhere.
#[derive(Debug)]
pub struct File {
    requests: Arc<Requests>,
    file: u64,
    place: u64,
    /// Writes go to the end.
    append: bool,
}

/// How to open a file.
#[derive(Clone, Copy, Debug, Default)]
pub struct OpenOptions {
    flags: i32,
    read: bool,
    write: bool,
    mode: Option<u16>,
}

/// What stat(2) tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Metadata(FileFacts);

/// An open directory: its entries, `.` and `..` among them. Entries that are there all the time come exactly once.
#[derive(Debug)]
pub struct Directory {
    file: File,
    after: u64,
    entries: std::vec::IntoIter<DirectoryEntry>,
    ended: bool,
}

/// An entry of a directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DirectoryEntry {
    /// The name.
    pub name: std::ffi::OsString,
    /// The inode number.
    pub inode: u32,
    /// The type, as in readdir(3)'s `d_type`.
    pub kind: u32,
}

impl OpenOptions {
    /// To read.
    pub fn read() -> OpenOptions {
        OpenOptions { read: true, ..OpenOptions::default() }
    }

    /// To write what is there.
    pub fn write() -> OpenOptions {
        OpenOptions { write: true, ..OpenOptions::default() }
    }

    /// To read and write.
    pub fn read_write() -> OpenOptions {
        OpenOptions { read: true, write: true, ..OpenOptions::default() }
    }

    /// Made if it is not there, with these permission bits (the program's umask is not looked at).
    #[must_use]
    pub fn create(self, mode: u16) -> OpenOptions {
        OpenOptions { flags: self.flags | libc::O_CREAT, mode: Some(mode), ..self }
    }

    /// Made, with these permission bits; it must not be there.
    #[must_use]
    pub fn create_new(self, mode: u16) -> OpenOptions {
        OpenOptions { flags: self.flags | libc::O_CREAT | libc::O_EXCL, mode: Some(mode), ..self }
    }

    /// Emptied.
    #[must_use]
    pub fn truncate(self) -> OpenOptions {
        OpenOptions { flags: self.flags | libc::O_TRUNC, ..self }
    }

    /// Every write goes to the end, whoever else writes. Up to 1 MiB lies together; what others append may lie between parts of more.
    #[must_use]
    pub fn append(self) -> OpenOptions {
        OpenOptions { flags: self.flags | libc::O_APPEND, ..self }
    }

    /// With flags of open(2).
    #[must_use]
    pub fn from_flags(flags: i32, mode: u16) -> OpenOptions {
        let access = flags & libc::O_ACCMODE;
        OpenOptions {
            flags: flags & !libc::O_ACCMODE,
            read: access != libc::O_WRONLY,
            write: access != libc::O_RDONLY,
            mode: Some(mode),
        }
    }

    fn flags(&self) -> u32 {
        let access = match (self.read, self.write) {
            (_, false) => libc::O_RDONLY,
            (false, true) => libc::O_WRONLY,
            (true, true) => libc::O_RDWR,
        };
        (access | self.flags).cast_unsigned()
    }
}

impl Session {
    /// Opens a file, by its path from the root of the file system.
    ///
    /// # Errors
    /// As open(2): the server looks at the permissions of this program's user.
    pub fn open(&self, path: impl AsRef<Path>, options: OpenOptions) -> Result<File> {
        let path = self.path(path.as_ref())?;
        let request = Request::Open {
            path: path.region(),
            flags: options.flags(),
            mode: options.mode.unwrap_or_default(),
        };
        let answer = self.requests.ask(request, [path])?;
        let append = options.flags & libc::O_APPEND != 0;
        Ok(File { requests: self.requests.clone(), file: answer.done.value, place: 0, append })
    }

    /// What is at a path; a symbolic link is followed.
    ///
    /// # Errors
    /// As stat(2).
    pub fn metadata(&self, path: impl AsRef<Path>) -> Result<Metadata> {
        self.stat(path.as_ref(), true)
    }

    /// What is at a path; a symbolic link is what is told of.
    ///
    /// # Errors
    /// As lstat(2).
    pub fn symlink_metadata(&self, path: impl AsRef<Path>) -> Result<Metadata> {
        self.stat(path.as_ref(), false)
    }

    /// The entries of a directory.
    ///
    /// # Errors
    /// As opendir(3).
    pub fn read_dir(&self, path: impl AsRef<Path>) -> Result<Directory> {
        let file = self.open(path, OpenOptions { flags: libc::O_DIRECTORY, ..OpenOptions::read() })?;
        Ok(Directory { file, after: 0, entries: Vec::new().into_iter(), ended: false })
    }

    /// Removes a file's name.
    ///
    /// # Errors
    /// As unlink(2).
    pub fn remove_file(&self, path: impl AsRef<Path>) -> Result<()> {
        self.on_path(path.as_ref(), |path| Request::Unlink { path })
    }

    /// Makes a directory.
    ///
    /// # Errors
    /// As mkdir(2).
    pub fn create_dir(&self, path: impl AsRef<Path>, mode: u16) -> Result<()> {
        self.on_path(path.as_ref(), |path| Request::MakeDirectory { path, mode })
    }

    /// Removes an empty directory.
    ///
    /// # Errors
    /// As rmdir(2).
    pub fn remove_dir(&self, path: impl AsRef<Path>) -> Result<()> {
        self.on_path(path.as_ref(), |path| Request::RemoveDirectory { path })
    }

    /// Gives an entry another name, or place.
    ///
    /// # Errors
    /// As rename(2).
    pub fn rename(&self, from: impl AsRef<Path>, to: impl AsRef<Path>) -> Result<()> {
        let (from, to) = (self.path(from.as_ref())?, self.path(to.as_ref())?);
        let request = Request::Rename { from: from.region(), to: to.region() };
        self.requests.ask(request, [from, to]).map(|_| ())
    }

    /// Makes a symbolic link at `path`.
    ///
    /// # Errors
    /// As symlink(2).
    pub fn symlink(&self, target: impl AsRef<Path>, path: impl AsRef<Path>) -> Result<()> {
        let (path, target) = (self.path(path.as_ref())?, self.path(target.as_ref())?);
        let request = Request::Symlink { path: path.region(), target: target.region() };
        self.requests.ask(request, [path, target]).map(|_| ())
    }

    /// Where a symbolic link leads.
    ///
    /// # Errors
    /// As readlink(2).
    pub fn read_link(&self, path: impl AsRef<Path>) -> Result<PathBuf> {
        let (path, into) = (self.path(path.as_ref())?, self.requests.piece(LONGEST_PATH)?);
        let request = Request::ReadLink { path: path.region(), into: into.region() };
        let mut answer = self.requests.ask(request, [into, path])?;
        Ok(std::ffi::OsString::from_vec(answer.piece(0)?.to_vec()).into())
    }

    fn stat(&self, path: &Path, follow: bool) -> Result<Metadata> {
        let (path, into) = (self.path(path)?, self.requests.piece(size_of::<FileFacts>() as u32)?);
        let request = Request::Stat { path: path.region(), follow, into: into.region() };
        let mut answer = self.requests.ask(request, [into, path])?;
        let bytes = answer.piece(0)?;
        FileFacts::read_from_bytes(&bytes).map(Metadata).map_err(|_| Error::Answer("a file's facts"))
    }

    fn on_path(&self, path: &Path, request: impl Fn(kddm_ring::Region) -> Request) -> Result<()> {
        let path = self.path(path)?;
        self.requests.call(request(path.region()), [path])?.wait().map(|_| ())
    }

    fn path(&self, path: &Path) -> Result<kddm_ring::Piece> {
        let bytes = path.as_os_str().as_bytes();
        if bytes.len() > LONGEST_PATH as usize {
            return Err(Refusal::File(libc::ENAMETOOLONG).into());
        }
        self.requests.piece_of(bytes)
    }
}

impl File {
    /// Reads what is at `offset`; less than was asked for at the end of the file.
    ///
    /// # Errors
    /// As pread(2).
    pub fn read_at(&self, into: &mut [u8], offset: u64) -> Result<usize> {
        let mut read = 0;
        while read < into.len() {
            let (piece, _transfer) = self.room_for(LEAST_TRANSFER, into.len() - read)?;
            let wanted = piece.region().length as usize;
            let request =
                Request::Read { file: self.file, offset: offset + read as u64, into: piece.region() };
            let mut answer = self.requests.ask(request, [piece])?;
            let bytes = answer.piece(0)?;
            into[read..read + bytes.len()].copy_from_slice(&bytes);
            read += bytes.len();
            if bytes.len() < wanted {
                break;
            }
        }
        Ok(read)
    }

    /// Writes all of it at `offset`, or, if the file was opened so, at its end.
    ///
    /// # Errors
    /// As pwrite(2); a part may have been written.
    pub fn write_at(&self, bytes: &[u8], offset: u64) -> Result<()> {
        let mut written = 0;
        let together =
            if self.append && bytes.len() <= TRANSFER as usize { TRANSFER } else { LEAST_TRANSFER };
        while written < bytes.len() {
            let rest = &bytes[written..];
            let (mut piece, _transfer) = self.room_for(together, rest.len())?;
            let length = piece.region().length as usize;
            piece.copy_from_slice(&rest[..length]);
            let offset = offset + written as u64;
            let request = Request::Write { file: self.file, offset, from: piece.region() };
            match self.requests.ask(request, [piece])?.done.value as usize {
                0 => return Err(Refusal::File(libc::EIO).into()),
                some => written += some,
            }
        }
        Ok(())
    }

    /// A piece of the window for up to `most` bytes: for fewer, but not than `least`, if there is no room for more.
    fn room_for(&self, least: u32, most: usize) -> Result<(Piece, Transfer<'_>)> {
        let most = most.min(TRANSFER as usize) as u32;
        self.requests.transfer(least.min(most), most)
    }

    /// Makes it durable.
    ///
    /// # Errors
    /// As fsync(2).
    pub fn sync(&self) -> Result<()> {
        self.requests.order(Request::Fsync { file: self.file }).map(|_| ())
    }

    /// Cuts it off, or fills it up with zeros.
    ///
    /// # Errors
    /// As ftruncate(2).
    pub fn set_len(&self, length: u64) -> Result<()> {
        self.requests.order(Request::Truncate { file: self.file, length }).map(|_| ())
    }
}

impl Drop for File {
    fn drop(&mut self) {
        // Refused only if the attachment has ended, and with it the file.
        let _ = self.requests.order(Request::Close { file: self.file });
    }
}

impl Read for File {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let wanted = into.len().min(TRANSFER as usize);
        let read = self.read_at(&mut into[..wanted], self.place)?;
        self.place += read as u64;
        Ok(read)
    }
}

impl Write for File {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let bytes = &bytes[..bytes.len().min(TRANSFER as usize)];
        self.write_at(bytes, self.place)?;
        self.place += bytes.len() as u64;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Seek for File {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let place = match to {
            SeekFrom::Start(place) => Some(place),
            SeekFrom::Current(by) => self.place.checked_add_signed(by),
            // The size is another node's to change at any time.
            SeekFrom::End(_) => return Err(io::ErrorKind::Unsupported.into()),
        };
        self.place = place.ok_or(io::ErrorKind::InvalidInput)?;
        Ok(self.place)
    }
}

impl Directory {
    fn ask(&mut self) -> Result<()> {
        let requests = &self.file.requests;
        let into = requests.piece(LISTING)?;
        let request = Request::ReadDirectory { file: self.file.file, after: self.after, into: into.region() };
        let mut answer = requests.ask(request, [into])?;
        let bytes = answer.piece(0)?;
        let (mut entries, mut rest) = (Vec::new(), &bytes[..]);
        while let Some((facts, name, after)) = split_named(rest, |facts: &EntryFacts| facts.name as usize) {
            let name = std::ffi::OsString::from_vec(name.to_vec());
            entries.push(DirectoryEntry { name, inode: facts.inode, kind: facts.kind });
            (self.after, rest) = (facts.cookie, after);
        }
        self.ended = entries.is_empty();
        self.entries = entries.into_iter();
        Ok(())
    }
}

impl Iterator for Directory {
    type Item = Result<DirectoryEntry>;

    fn next(&mut self) -> Option<Result<DirectoryEntry>> {
        loop {
            if let Some(entry) = self.entries.next() {
                return Some(Ok(entry));
            }
            if self.ended {
                return None;
            }
            if let Err(error) = self.ask() {
                self.ended = true;
                return Some(Err(error));
            }
        }
    }
}

impl DirectoryEntry {
    /// Whether it is a directory.
    pub fn is_dir(&self) -> bool {
        self.kind == u32::from(libc::DT_DIR)
    }

    /// Whether it is `.` or `..`.
    pub fn is_dot(&self) -> bool {
        self.name == "." || self.name == ".."
    }
}

impl Metadata {
    /// What stat(2) tells.
    pub fn facts(&self) -> &FileFacts {
        &self.0
    }

    /// Bytes.
    pub fn len(&self) -> u64 {
        self.0.size
    }

    /// Whether it has no bytes.
    pub fn is_empty(&self) -> bool {
        self.0.size == 0
    }

    /// Whether it is a directory.
    pub fn is_dir(&self) -> bool {
        self.0.mode & libc::S_IFMT == libc::S_IFDIR
    }

    /// Whether it is a symbolic link.
    pub fn is_symlink(&self) -> bool {
        self.0.mode & libc::S_IFMT == libc::S_IFLNK
    }

    /// Permission, set-id and sticky bits.
    pub fn permissions(&self) -> u32 {
        self.0.mode & 0o7777
    }
}
