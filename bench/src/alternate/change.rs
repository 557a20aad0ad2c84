//! What a round does to a file.

use super::Subject;
use crate::random::Random;
use std::fmt;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

/// The longest value: three pages.
const LONGEST: usize = 3 * 4096;
/// Files do not grow beyond this, or late rounds would only read.
const LARGEST: usize = 6 * 4096;

/// A change, with all its particulars chosen.
pub enum Change {
    /// The file is made, with these bytes.
    Create(Vec<u8>),
    /// Bytes at an offset inside the file, or touching its end; through the handle kept open, if the flag says so.
    Overwrite(usize, Vec<u8>, bool),
    /// Bytes at the end, with O_APPEND.
    Append(Vec<u8>),
    /// Another length, shorter or longer.
    Truncate(usize),
    /// O_TRUNC and new bytes.
    Rewrite(Vec<u8>),
    /// A new file renamed over this one.
    RenameOver(Vec<u8>),
    /// The name is taken away.
    Unlink,
}

impl Change {
    /// The next change of `subject`.
    pub fn choose(subject: &Subject, random: &mut Random) -> Change {
        let value = |random: &mut Random| {
            let length = random.length(LONGEST);
            random.bytes(length)
        };
        let Some(contents) = &subject.contents else { return Change::Create(value(random)) };
        if contents.len() > LARGEST {
            return Change::Truncate(random.below(4096));
        }
        match random.below(100) {
            0..45 => Change::Overwrite(random.below(contents.len() + 1), value(random), random.below(2) == 0),
            45..65 => Change::Append(value(random)),
            65..77 => Change::Truncate(random.below(contents.len() + LONGEST / 2)),
            77..83 => Change::Rewrite(value(random)),
            83..96 => Change::RenameOver(value(random)),
            _ => Change::Unlink,
        }
    }

    /// Makes the change through `sides[writer]`, and in what `subject` is known to be.
    ///
    /// # Errors
    /// If a system call failed; the subject is then known to be as if it had not.
    pub fn make(&self, subject: &mut Subject, sides: &[PathBuf; 2], writer: usize) -> io::Result<()> {
        let path = sides[writer].join(&subject.name);
        match self {
            Change::Create(bytes) => File::create_new(&path)?.write_all(bytes)?,
            Change::Overwrite(offset, bytes, kept) => {
                overwrite(subject, &path, writer, *kept, *offset as u64, bytes)?;
            }
            Change::Append(bytes) => OpenOptions::new().append(true).open(&path)?.write_all(bytes)?,
            Change::Truncate(length) => {
                OpenOptions::new().write(true).open(&path)?.set_len(*length as u64)?;
            }
            Change::Rewrite(bytes) => {
                OpenOptions::new().write(true).truncate(true).open(&path)?.write_all(bytes)?;
            }
            Change::RenameOver(bytes) => {
                let fresh = sides[writer].join(format!("{}.new", subject.name));
                File::create(&fresh)?.write_all(bytes)?;
                std::fs::rename(&fresh, &path)?;
            }
            Change::Unlink => std::fs::remove_file(&path)?,
        }
        self.know(subject);
        Ok(())
    }

    /// Somebody makes the change: in what `subject` is known to be.
    pub fn know(&self, subject: &mut Subject) {
        let mut contents = subject.contents.clone().unwrap_or_default();
        match self {
            Change::Create(bytes) | Change::Rewrite(bytes) | Change::RenameOver(bytes) => {
                contents.clone_from(bytes);
            }
            Change::Overwrite(offset, bytes, _) => {
                contents.resize(contents.len().max(offset + bytes.len()), 0);
                contents[*offset..offset + bytes.len()].copy_from_slice(bytes);
            }
            Change::Append(bytes) => contents.extend_from_slice(bytes),
            Change::Truncate(length) => contents.resize(*length, 0),
            Change::Unlink => {}
        }
        if let Change::RenameOver(_) | Change::Unlink = self {
            subject.handles = [None, None];
        }
        subject.becomes((!matches!(self, Change::Unlink)).then_some(contents));
    }
}

fn overwrite(
    subject: &mut Subject,
    path: &Path,
    writer: usize,
    kept: bool,
    offset: u64,
    bytes: &[u8],
) -> io::Result<()> {
    match &subject.handles[writer] {
        Some(handle) if kept => handle.write_all_at(bytes, offset),
        _ => OpenOptions::new().write(true).open(path)?.write_all_at(bytes, offset),
    }
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Change::Create(bytes) => write!(f, "create with {} bytes", bytes.len()),
            Change::Overwrite(offset, bytes, kept) => {
                let how = if *kept { " through an open handle" } else { "" };
                write!(f, "overwrite of {} bytes at {offset}{how}", bytes.len())
            }
            Change::Append(bytes) => write!(f, "append of {} bytes", bytes.len()),
            Change::Truncate(length) => write!(f, "truncate to {length}"),
            Change::Rewrite(bytes) => write!(f, "rewrite with {} bytes", bytes.len()),
            Change::RenameOver(bytes) => write!(f, "rename over with {} bytes", bytes.len()),
            Change::Unlink => write!(f, "unlink"),
        }
    }
}
