//! A path of this host or of kDFS, and what copying asks of either.

use crate::files::path::{KdfsPath, PREFIX, masked};
use anyhow::{Context, Error, Result};
use clap::builder::{OsStringValueParser, TypedValueParser};
use kdfs_client::{File, OpenOptions, Refusal, Session, mount_table};
use nix::libc;
use std::{
    ffi::{OsStr, OsString},
    fmt, fs, io,
    io::{Read, Write},
    os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, symlink},
    path::{Path, PathBuf},
};

/// A path of this host or of kDFS.
#[derive(Clone, Debug)]
pub enum Place {
    Here(PathBuf),
    There(KdfsPath),
}

/// What is there, with permission bits.
pub enum Kind {
    File(u32),
    Directory(u32),
    Link(PathBuf),
    Other,
}

/// An open file, read or written from its begin to its end.
pub enum Stream {
    Here(fs::File),
    There(File, u64),
}

impl Place {
    /// For clap.
    pub fn parser() -> impl TypedValueParser<Value = Place> {
        OsStringValueParser::new().try_map(|text: OsString| {
            if !text.as_encoded_bytes().starts_with(PREFIX) {
                return Ok(Place::Here(text.into()));
            }
            KdfsPath::parse(&text).map(Place::There).map_err(|error| error.to_string())
        })
    }

    pub fn is_of_kdfs(&self) -> bool {
        matches!(self, Place::There(_))
    }

    pub fn path(&self) -> &Path {
        match self {
            Place::Here(path) => path,
            Place::There(path) => path.path(),
        }
    }

    pub fn join(&self, name: &OsStr) -> Place {
        match self {
            Place::Here(path) => Place::Here(path.join(name)),
            Place::There(path) => Place::There(path.join(name)),
        }
    }

    /// Whether a directory is there, or a link to one.
    pub fn is_directory(&self, session: &Session) -> bool {
        matches!(self.look(session, true), Ok(Kind::Directory(_)))
    }

    /// What is there.
    pub fn look(&self, session: &Session, follow: bool) -> Result<Kind> {
        let mode = match self {
            Place::Here(path) if follow => self.told(fs::metadata(path))?.mode(),
            Place::Here(path) => self.told(fs::symlink_metadata(path))?.mode(),
            Place::There(path) => {
                let path = path.path();
                let found = if follow { session.metadata(path) } else { session.symlink_metadata(path) };
                found.map_err(|error| self.error(error))?.facts().mode
            }
        };
        Ok(match mode & libc::S_IFMT {
            libc::S_IFREG => Kind::File(mode & 0o777),
            libc::S_IFDIR => Kind::Directory(mode & 0o777),
            libc::S_IFLNK => Kind::Link(self.target(session)?),
            _ => Kind::Other,
        })
    }

    fn target(&self, session: &Session) -> Result<PathBuf> {
        match self {
            Place::Here(path) => self.told(fs::read_link(path)),
            Place::There(path) => session.read_link(path.path()).map_err(|error| self.error(error)),
        }
    }

    /// Whether both are the same file.
    pub fn is_same(&self, other: &Place, session: &Session) -> bool {
        let kdfs =
            |path: &KdfsPath| session.metadata(path.path()).ok().map(|found| found.facts().inode.into());
        let inode = |place: &Place| match place {
            Place::There(path) => kdfs(path),
            // Perhaps it lies in a mount of the same kDFS.
            Place::Here(path) => fs::metadata(path).ok().map(|found| found.ino()),
        };
        let mounted = |place: &Place| match place {
            Place::There(_) => true,
            Place::Here(path) => fs::canonicalize(path)
                .is_ok_and(|path| mount_table::mount_of(&path).is_ok_and(|mount| mount.is_some())),
        };
        inode(self).is_some_and(|own| inode(other) == Some(own)) && mounted(self) && mounted(other)
    }

    /// The names in a directory, without `.` and `..`.
    pub fn names(&self, session: &Session) -> Result<Vec<OsString>> {
        let mut names = Vec::new();
        match self {
            Place::Here(path) => {
                for entry in self.told(fs::read_dir(path))? {
                    names.push(self.told(entry)?.file_name());
                }
            }
            Place::There(path) => {
                for entry in session.read_dir(path.path()).map_err(|error| self.error(error))? {
                    let entry = entry.map_err(|error| self.error(error))?;
                    if !entry.is_dot() {
                        names.push(entry.name);
                    }
                }
            }
        }
        names.sort_unstable();
        Ok(names)
    }

    /// Makes a directory that its owner can write to; it may be there.
    pub fn make_directory(&self, session: &Session, mode: u32) -> Result<()> {
        if self.is_directory(session) {
            return Ok(());
        }
        let mode = mode | 0o700;
        match self {
            Place::Here(path) => self.told(fs::DirBuilder::new().mode(mode).create(path)),
            Place::There(path) => {
                session.create_dir(path.path(), masked(mode)).map_err(|error| self.error(error))
            }
        }
    }

    /// Makes a symbolic link, in the place of another one or of a file.
    pub fn make_link(&self, session: &Session, target: &Path) -> Result<()> {
        match self {
            Place::Here(path) => match symlink(target, path) {
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                    self.told(fs::remove_file(path).and_then(|()| symlink(target, path)))
                }
                made => self.told(made),
            },
            Place::There(path) => {
                let path = path.path();
                let made = match session.symlink(target, path) {
                    Err(error) if error.refusal() == Some(Refusal::File(libc::EEXIST)) => {
                        session.remove_file(path).and_then(|()| session.symlink(target, path))
                    }
                    made => made,
                };
                made.map_err(|error| self.error(error))
            }
        }
    }

    /// Opens a file to be read.
    pub fn source(&self, session: &Session) -> Result<Stream> {
        match self {
            Place::Here(path) => self.told(fs::File::open(path)).map(Stream::Here),
            Place::There(path) => {
                let file = session.open(path.path(), OpenOptions::read());
                file.map(|file| Stream::There(file, 0)).map_err(|error| self.error(error))
            }
        }
    }

    /// Opens a file to be written, empty.
    pub fn sink(&self, session: &Session, mode: u32) -> Result<Stream> {
        match self {
            Place::Here(path) => {
                let mut options = fs::OpenOptions::new();
                let file = options.write(true).create(true).truncate(true).mode(mode).open(path);
                self.told(file).map(Stream::Here)
            }
            Place::There(path) => {
                let options = OpenOptions::write().create(masked(mode)).truncate();
                let file = session.open(path.path(), options);
                file.map(|file| Stream::There(file, 0)).map_err(|error| self.error(error))
            }
        }
    }

    fn told<T>(&self, result: io::Result<T>) -> Result<T> {
        result.with_context(|| self.to_string())
    }

    /// An error about it.
    pub fn error(&self, error: kdfs_client::Error) -> Error {
        Error::new(error).context(self.to_string())
    }
}

impl Stream {
    /// The next bytes; none at the end.
    pub fn read(&mut self, into: &mut [u8]) -> Result<usize> {
        match self {
            Stream::Here(file) => Ok(file.read(into)?),
            Stream::There(file, place) => {
                let read = file.read_at(into, *place)?;
                *place += read as u64;
                Ok(read)
            }
        }
    }

    /// Writes the next bytes.
    pub fn write(&mut self, bytes: &[u8]) -> Result<()> {
        match self {
            Stream::Here(file) => Ok(file.write_all(bytes)?),
            Stream::There(file, place) => {
                file.write_at(bytes, *place)?;
                *place += bytes.len() as u64;
                Ok(())
            }
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Place::Here(path) => write!(f, "{}", path.display()),
            Place::There(path) => path.fmt(f),
        }
    }
}
