//! A door for fuzz targets: a log, as recovery reads it.

use super::apply::{Reader, verify_file};
use kddm_rdma::Disk;
use kddm_rdma::host::disk::{DiskEntry, DiskLock, DiskSpace};
use kdfs_format::batch::Change;
use std::io;
use std::path::Path;

/// A checkpoint of a log: its number, and what it would do, with the bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checkpoint {
    /// Where it begins and ends in the log.
    pub place: std::ops::Range<u64>,
    /// Its changes, in order.
    pub changes: Vec<(Change, Vec<u8>)>,
}

/// The checkpoints that count in a log of these bytes, and the number of the last.
///
/// # Errors
/// One is whole, but says what cannot be.
pub fn log(bytes: &[u8], partition: [u8; 16]) -> io::Result<(Vec<Checkpoint>, u64)> {
    let (disk, path) = (OneFile(bytes.to_vec()), Path::new("log"));
    let found = verify_file(&disk, path, partition)?;
    let read = |place: &std::ops::Range<u64>| {
        let mut reader = Reader::new(&disk, path, place);
        let mut changes = Vec::new();
        while let Some((change, bytes)) = reader.next()? {
            changes.push((change, bytes.to_vec()));
        }
        Ok(Checkpoint { place: place.clone(), changes })
    };
    let checkpoints: io::Result<Vec<Checkpoint>> = found.places.iter().map(read).collect();
    Ok((checkpoints?, found.number))
}

/// A disk with one file, which is only read.
struct OneFile(Vec<u8>);

fn only_read<T>() -> io::Result<T> {
    Err(io::ErrorKind::Unsupported.into())
}

impl Disk for OneFile {
    fn read_at(&self, _: &Path, offset: u64, into: &mut [u8]) -> io::Result<usize> {
        let begin = usize::try_from(offset).unwrap_or(usize::MAX).min(self.0.len());
        let found = into.len().min(self.0.len() - begin);
        into[..found].copy_from_slice(&self.0[begin..begin + found]);
        Ok(found)
    }

    fn length(&self, _: &Path) -> io::Result<u64> {
        Ok(self.0.len() as u64)
    }

    fn exists(&self, _: &Path) -> io::Result<bool> {
        Ok(true)
    }

    fn write_at(&self, _: &Path, _: u64, _: &[u8]) -> io::Result<()> {
        only_read()
    }

    fn set_length(&self, _: &Path, _: u64) -> io::Result<()> {
        only_read()
    }

    fn sync_file(&self, _: &Path) -> io::Result<()> {
        only_read()
    }

    fn sync_directory(&self, _: &Path) -> io::Result<()> {
        only_read()
    }

    fn sync_all(&self, _: &Path) -> io::Result<()> {
        only_read()
    }

    fn create_directory(&self, _: &Path) -> io::Result<()> {
        only_read()
    }

    fn remove_file(&self, _: &Path) -> io::Result<()> {
        only_read()
    }

    fn remove_directory(&self, _: &Path) -> io::Result<()> {
        only_read()
    }

    fn rename(&self, _: &Path, _: &Path) -> io::Result<()> {
        only_read()
    }

    fn list(&self, _: &Path) -> io::Result<Vec<DiskEntry>> {
        only_read()
    }

    fn space(&self, _: &Path) -> io::Result<DiskSpace> {
        only_read()
    }

    fn lock(&self, _: &Path) -> io::Result<Box<dyn DiskLock>> {
        only_read()
    }
}
