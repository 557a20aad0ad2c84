//! Doing to the native files what committed checkpoints say. Doing it twice is the same as doing it once.

use super::layer::is_full;
use super::native::{Native, Writer};
use super::reserve::FOR_COMMITS;
use kddm_rdma::Disk;
use kdfs_format::batch::{BATCH_HEADER_SIZE, BatchHeader, Change, RECORD_HEADER_SIZE, RecordHeader};
use kdfs_format::{FileType, FormatError, Inode, PAGE_SIZE, paths};
use std::collections::BTreeMap;
use std::io;
use std::ops::Range;
use std::path::Path;

/// Bytes read at a time.
const CHUNK: usize = 256 << 10;
/// Bytes of the reserve that are given up at a time.
const NEEDED: u64 = 128 << 10;

/// Applies the committed checkpoints that stand at these places of the log. [`forget`] is to follow.
pub(crate) fn apply(native: &Native, places: &[Range<u64>]) -> io::Result<()> {
    let all = |removals| places.iter().try_for_each(|place| replay(native, place, removals));
    let mut result = all(false);
    if result.as_ref().is_err_and(is_full) {
        // What they remove makes room for what they add.
        all(true)?;
        result = all(false);
    }
    while result.as_ref().is_err_and(is_full) && native.give_up_reserve(NEEDED, FOR_COMMITS)? {
        result = all(false);
    }
    result
}

/// Removes the log, all of which was applied.
pub(crate) fn forget(native: &Native) -> io::Result<()> {
    native.disk().remove_file(&native.path(paths::BATCH))?;
    native.note_old_checkpoint(true);
    Ok(())
}

/// Does what the records say, or, if `removals`, only what those say that free space.
fn replay(native: &Native, place: &Range<u64>, removals: bool) -> io::Result<()> {
    let path = native.path(paths::BATCH);
    let mut reader = Reader::new(native.disk(), &path, place);
    let mut sizes = BTreeMap::new();
    while let Some((change, bytes)) = reader.next()? {
        if removals && change.length() > 0 {
            continue;
        }
        match change {
            Change::Meta { local } => {
                native.write_meta(local, bytes)?;
                let inode = Inode::of(bytes).ok().filter(|inode| inode.file_type() != FileType::Directory);
                sizes.extend(inode.map(|inode| (local, inode.size.get())));
            }
            Change::Page { local, page } => native.write_content(local, page, bytes, Writer::Checkpoint)?,
            Change::Bitmap { page } => native.write_bitmap(page, bytes)?,
            Change::Truncate { local, page } => native.truncate(local, page)?,
            Change::Remove { local } => native.remove(local)?,
        }
    }
    sizes.into_iter().try_for_each(|(local, size)| native.trim(local, size))
}

/// What was found in a log: checkpoints that are whole, and why the rest, if there is any, does not count.
#[derive(Debug, Default)]
pub(crate) struct Found {
    pub places: Vec<Range<u64>>,
    /// Of the last checkpoint.
    pub number: u64,
    pub rest: Option<FormatError>,
}

/// Reads the log; `None` if there is none.
pub(crate) fn verify(native: &Native, partition: [u8; 16]) -> io::Result<Option<Found>> {
    let path = native.path(paths::BATCH);
    match native.disk().exists(&path)? {
        true => verify_file(native.disk(), &path, partition).map(Some),
        false => Ok(None),
    }
}

pub(super) fn verify_file(disk: &dyn Disk, path: &Path, partition: [u8; 16]) -> io::Result<Found> {
    let length = disk.length(path)?;
    let mut found = Found::default();
    let mut place = 0;
    while place < length || length == 0 {
        match verify_one(disk, path, place, partition)? {
            Ok(header) if place == 0 || header.number.get() == found.number + 1 => {
                let end = place + BATCH_HEADER_SIZE as u64 + header.length.get();
                found.places.push(place..end);
                found.number = header.number.get();
                place = end;
            }
            other => {
                let jump = |header: BatchHeader| FormatError::Field {
                    what: "checkpoint",
                    field: "number",
                    found: header.number.get(),
                };
                found.rest = Some(other.map_or_else(|error| error, jump));
                break;
            }
        }
    }
    Ok(found)
}

/// The header of the checkpoint at `place`, if it is whole and undamaged. `Err` inside: why it is not.
fn verify_one(
    disk: &dyn Disk,
    path: &Path,
    place: u64,
    partition: [u8; 16],
) -> io::Result<Result<BatchHeader, FormatError>> {
    let mut bytes = [0; BATCH_HEADER_SIZE];
    let found = disk.read_at(path, place, &mut bytes)?;
    let header = match BatchHeader::verify(&bytes[..found], partition) {
        Ok(header) => header,
        Err(error) => return Ok(Err(error)),
    };
    let content = checksum(disk, path, place + BATCH_HEADER_SIZE as u64, header.length.get())?;
    Ok(match content {
        Some(content) if content == header.content.get() => Ok(header),
        found => Err(FormatError::Checksum {
            what: "checkpoint",
            expected: found.unwrap_or_default(),
            found: header.content.get(),
        }),
    })
}

/// The checksum of `length` bytes; `None` if there are not as many.
fn checksum(disk: &dyn Disk, path: &Path, begin: u64, length: u64) -> io::Result<Option<u32>> {
    let mut hasher = crc32fast::Hasher::new();
    let mut chunk = vec![0; CHUNK];
    let mut place = 0;
    while place < length {
        let wanted = CHUNK.min(usize::try_from(length - place).unwrap_or(CHUNK));
        let found = disk.read_at(path, begin + place, &mut chunk[..wanted])?;
        if found < wanted {
            return Ok(None);
        }
        hasher.update(&chunk[..found]);
        place += found as u64;
    }
    Ok(Some(hasher.finalize()))
}

/// The records of a checkpoint, one after the other, in bounded memory.
pub(super) struct Reader<'a> {
    disk: &'a dyn Disk,
    path: &'a Path,
    /// What was read and not used yet.
    chunk: Vec<u8>,
    used: usize,
    /// Where the next chunk begins, and where the records end.
    place: u64,
    end: u64,
}

impl<'a> Reader<'a> {
    pub(super) fn new(disk: &'a dyn Disk, path: &'a Path, place: &Range<u64>) -> Reader<'a> {
        let begin = place.start + BATCH_HEADER_SIZE as u64;
        Reader { disk, path, chunk: Vec::new(), used: 0, place: begin, end: place.end }
    }

    pub(super) fn next(&mut self) -> io::Result<Option<(Change, &[u8])>> {
        if self.used == self.chunk.len() && self.place == self.end {
            return Ok(None);
        }
        self.fill(RECORD_HEADER_SIZE)?;
        let header = &self.chunk[self.used..self.used + RECORD_HEADER_SIZE];
        let change = RecordHeader::verify(header).map_err(io::Error::other)?;
        self.used += RECORD_HEADER_SIZE;
        self.fill(change.length())?;
        let bytes = self.used..self.used + change.length();
        self.used = bytes.end;
        Ok(Some((change, &self.chunk[bytes])))
    }

    /// Makes sure that `wanted` unused bytes are there.
    fn fill(&mut self, wanted: usize) -> io::Result<()> {
        if self.chunk.len() - self.used >= wanted {
            return Ok(());
        }
        self.chunk.drain(..self.used);
        self.used = 0;
        let kept = self.chunk.len();
        let more = CHUNK.min(usize::try_from(self.end - self.place).unwrap_or(CHUNK));
        self.chunk.resize(kept + more, 0);
        let found = self.disk.read_at(self.path, self.place, &mut self.chunk[kept..])?;
        self.place += found as u64;
        self.chunk.truncate(kept + found);
        if found < more || self.chunk.len() < wanted {
            return Err(io::Error::other("the checkpoint ends in the middle of a record"));
        }
        Ok(())
    }
}

const _: () = assert!(CHUNK > 2 * (PAGE_SIZE + RECORD_HEADER_SIZE), "a record fits into a chunk");
