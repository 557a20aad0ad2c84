//! A disk in memory, which outlives the processes that use it.

use kddm_rdma::Disk;
use kddm_rdma::host::disk::{DiskEntry, DiskLock, DiskSpace};
use parking_lot::Mutex;
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The disk of a node.
#[derive(Clone, Default)]
pub struct MemoryDisk(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    files: BTreeMap<PathBuf, Vec<u8>>,
    directories: BTreeSet<PathBuf>,
    locked: BTreeSet<PathBuf>,
}

fn error(errno: i32) -> io::Error {
    io::Error::from_raw_os_error(errno)
}

impl State {
    fn file(&mut self, path: &Path) -> io::Result<&mut Vec<u8>> {
        if self.directories.contains(path) {
            return Err(error(libc::EISDIR));
        }
        self.files.get_mut(path).ok_or_else(|| error(libc::ENOENT))
    }

    fn has_parent(&self, path: &Path) -> io::Result<()> {
        let there =
            path.parent().is_some_and(|parent| parent == Path::new("/") || self.directories.contains(parent));
        if there { Ok(()) } else { Err(error(libc::ENOENT)) }
    }

    fn exists(&self, path: &Path) -> bool {
        self.files.contains_key(path) || self.directories.contains(path)
    }

    fn is_empty(&self, path: &Path) -> bool {
        let inside = |other: &PathBuf| other.parent() == Some(path);
        !self.files.keys().any(inside) && !self.directories.iter().any(inside)
    }
}

impl Disk for MemoryDisk {
    fn read_at(&self, path: &Path, offset: u64, into: &mut [u8]) -> io::Result<usize> {
        let mut state = self.0.lock();
        let bytes = state.file(path)?;
        let start = bytes.len().min(offset as usize);
        let found = into.len().min(bytes.len() - start);
        into[..found].copy_from_slice(&bytes[start..start + found]);
        Ok(found)
    }

    fn write_at(&self, path: &Path, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let mut state = self.0.lock();
        state.has_parent(path)?;
        let content = state.files.entry(path.to_owned()).or_default();
        let (start, end) = (offset as usize, offset as usize + bytes.len());
        if !bytes.is_empty() {
            content.resize(content.len().max(end), 0);
            content[start..end].copy_from_slice(bytes);
        }
        Ok(())
    }

    fn length(&self, path: &Path) -> io::Result<u64> {
        Ok(self.0.lock().file(path)?.len() as u64)
    }

    fn set_length(&self, path: &Path, length: u64) -> io::Result<()> {
        self.0.lock().file(path)?.resize(length as usize, 0);
        Ok(())
    }

    fn sync_file(&self, path: &Path) -> io::Result<()> {
        self.0.lock().file(path).map(|_| ())
    }

    fn sync_directory(&self, path: &Path) -> io::Result<()> {
        if self.0.lock().directories.contains(path) { Ok(()) } else { Err(error(libc::ENOENT)) }
    }

    fn sync_all(&self, _path: &Path) -> io::Result<()> {
        Ok(())
    }

    fn create_directory(&self, path: &Path) -> io::Result<()> {
        let mut state = self.0.lock();
        state.has_parent(path)?;
        if state.exists(path) {
            return Err(error(libc::EEXIST));
        }
        state.directories.insert(path.to_owned());
        Ok(())
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        let mut state = self.0.lock();
        state.file(path)?;
        state.files.remove(path);
        Ok(())
    }

    fn remove_directory(&self, path: &Path) -> io::Result<()> {
        let mut state = self.0.lock();
        if !state.directories.contains(path) {
            return Err(error(libc::ENOENT));
        }
        if !state.is_empty(path) {
            return Err(error(libc::ENOTEMPTY));
        }
        state.directories.remove(path);
        Ok(())
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut state = self.0.lock();
        state.has_parent(to)?;
        if let Some(bytes) = state.files.remove(from) {
            state.files.insert(to.to_owned(), bytes);
            return Ok(());
        }
        if !state.directories.contains(from) {
            return Err(error(libc::ENOENT));
        }
        let moved = |path: &PathBuf| {
            let rest = path.strip_prefix(from).ok()?;
            Some(if rest.as_os_str().is_empty() { to.to_owned() } else { to.join(rest) })
        };
        state.directories =
            state.directories.iter().map(|path| moved(path).unwrap_or_else(|| path.clone())).collect();
        let files = std::mem::take(&mut state.files);
        state.files = files.into_iter().map(|(path, bytes)| (moved(&path).unwrap_or(path), bytes)).collect();
        Ok(())
    }

    fn list(&self, path: &Path) -> io::Result<Vec<DiskEntry>> {
        let state = self.0.lock();
        if !state.directories.contains(path) {
            return Err(error(libc::ENOENT));
        }
        let entry = |directory| {
            move |other: &PathBuf| {
                let inside = other.parent() == Some(path);
                inside
                    .then(|| DiskEntry { name: other.file_name().unwrap_or_default().to_owned(), directory })
            }
        };
        let directories = state.directories.iter().filter_map(entry(true));
        Ok(directories.chain(state.files.keys().filter_map(entry(false))).collect())
    }

    fn exists(&self, path: &Path) -> io::Result<bool> {
        Ok(self.0.lock().exists(path))
    }

    fn space(&self, _path: &Path) -> io::Result<DiskSpace> {
        Ok(DiskSpace { total: 1 << 30, free: 1 << 29, available: 1 << 29 })
    }

    fn lock(&self, path: &Path) -> io::Result<Box<dyn DiskLock>> {
        match self.0.lock().locked.insert(path.to_owned()) {
            true => Ok(Box::new(Lock(self.clone(), path.to_owned()))),
            false => Err(io::ErrorKind::WouldBlock.into()),
        }
    }
}

struct Lock(MemoryDisk, PathBuf);

impl DiskLock for Lock {}

impl Drop for Lock {
    fn drop(&mut self) {
        self.0.0.lock().locked.remove(&self.1);
    }
}
