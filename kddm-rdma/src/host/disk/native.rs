//! The disk of this machine: paths of the operating system, with descriptors kept open between calls.

use super::{Disk, DiskEntry, DiskLock, DiskSpace};
use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};
use nix::sys::statvfs::fstatvfs;
use parking_lot::Mutex;
use std::collections::HashMap;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Descriptors kept open: enough for the files that a busy server writes at one time, far below the usual limit of
/// 1024 for a process.
const KEPT: usize = 256;

/// The native file system of this machine.
#[derive(Debug, Default)]
pub struct NativeDisk {
    open: Mutex<Open>,
}

/// Open files by path, each with the moment of its last use.
#[derive(Debug, Default)]
struct Open {
    files: HashMap<PathBuf, (Arc<File>, u64)>,
    moment: u64,
}

impl Open {
    fn find(&mut self, path: &Path) -> Option<Arc<File>> {
        self.moment += 1;
        let (file, used) = self.files.get_mut(path)?;
        *used = self.moment;
        Some(file.clone())
    }

    fn keep(&mut self, path: &Path, file: &Arc<File>) {
        if self.files.len() >= KEPT {
            let mut moments: Vec<u64> = self.files.values().map(|(_, used)| *used).collect();
            let (_, median, _) = moments.select_nth_unstable(KEPT / 2);
            let median = *median;
            self.files.retain(|_, (_, used)| *used > median);
        }
        self.files.insert(path.to_owned(), (file.clone(), self.moment));
    }

    fn forget(&mut self, path: &Path) {
        self.files.retain(|kept, _| !kept.starts_with(path));
    }
}

impl NativeDisk {
    fn file(&self, path: &Path, create: bool) -> io::Result<Arc<File>> {
        let mut open = self.open.lock();
        if let Some(file) = open.find(path) {
            return Ok(file);
        }
        // Opened under the lock: else a removal of this path could be missed, and a removed file kept as if it were there.
        let file = OpenOptions::new().read(true).write(true).create(create).truncate(false).open(path)?;
        let file = Arc::new(file);
        open.keep(path, &file);
        Ok(file)
    }

    /// Does something to the names at and below `path`, and forgets the descriptors of what was there.
    fn renaming<T>(&self, paths: &[&Path], change: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
        let mut open = self.open.lock();
        paths.iter().for_each(|path| open.forget(path));
        change()
    }
}

impl Disk for NativeDisk {
    fn read_at(&self, path: &Path, offset: u64, into: &mut [u8]) -> io::Result<usize> {
        let file = self.file(path, false)?;
        let mut done = 0;
        while done < into.len() {
            match file.read_at(&mut into[done..], offset + done as u64) {
                Ok(0) => break,
                Ok(count) => done += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(done)
    }

    fn write_at(&self, path: &Path, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.file(path, true)?.write_all_at(bytes, offset)
    }

    fn length(&self, path: &Path) -> io::Result<u64> {
        Ok(self.file(path, false)?.metadata()?.len())
    }

    fn set_length(&self, path: &Path, length: u64) -> io::Result<()> {
        self.file(path, false)?.set_len(length)
    }

    fn sync_file(&self, path: &Path) -> io::Result<()> {
        self.file(path, false)?.sync_data()
    }

    fn sync_directory(&self, path: &Path) -> io::Result<()> {
        File::open(path)?.sync_all()
    }

    fn sync_all(&self, path: &Path) -> io::Result<()> {
        Ok(nix::unistd::syncfs(File::open(path)?)?)
    }

    fn create_directory(&self, path: &Path) -> io::Result<()> {
        fs::create_dir(path)
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        self.renaming(&[path], || fs::remove_file(path))
    }

    fn remove_directory(&self, path: &Path) -> io::Result<()> {
        self.renaming(&[path], || fs::remove_dir(path))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.renaming(&[from, to], || fs::rename(from, to))
    }

    fn list(&self, path: &Path) -> io::Result<Vec<DiskEntry>> {
        fs::read_dir(path)?
            .map(|entry| {
                let entry = entry?;
                Ok(DiskEntry { name: entry.file_name(), directory: entry.file_type()?.is_dir() })
            })
            .collect()
    }

    fn exists(&self, path: &Path) -> io::Result<bool> {
        path.try_exists()
    }

    fn space(&self, path: &Path) -> io::Result<DiskSpace> {
        let values = fstatvfs(File::open(path)?)?;
        let block = values.fragment_size();
        Ok(DiskSpace {
            total: values.blocks() * block,
            free: values.blocks_free() * block,
            available: values.blocks_available() * block,
        })
    }

    fn lock(&self, path: &Path) -> io::Result<Box<dyn DiskLock>> {
        let file = OpenOptions::new().read(true).write(true).open(path)?;
        match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
            Ok(lock) => Ok(Box::new(Held(lock))),
            Err((_, Errno::EAGAIN)) => Err(io::ErrorKind::WouldBlock.into()),
            Err((_, error)) => Err(error.into()),
        }
    }
}

struct Held(#[expect(dead_code, reason = "held until dropped")] Flock<File>);

impl DiskLock for Held {}

#[cfg(test)]
mod tests {
    use super::*;

    fn scratch() -> (tempfile::TempDir, NativeDisk) {
        (tempfile::tempdir().unwrap(), NativeDisk::default())
    }

    #[test]
    fn bytes_come_back_and_the_end_is_short() {
        let (dir, disk) = scratch();
        let path = dir.path().join("a");
        let mut buffer = [7; 8];
        assert_eq!(disk.read_at(&path, 0, &mut buffer).unwrap_err().kind(), io::ErrorKind::NotFound);
        disk.write_at(&path, 2, b"xyz").unwrap();
        assert_eq!(disk.read_at(&path, 0, &mut buffer).unwrap(), 5);
        assert_eq!(&buffer[..5], b"\0\0xyz");
        disk.set_length(&path, 3).unwrap();
        assert_eq!(disk.length(&path).unwrap(), 3);
        disk.sync_file(&path).unwrap();
        disk.sync_directory(dir.path()).unwrap();
        assert!(disk.space(dir.path()).unwrap().total > 0);
    }

    #[test]
    fn a_kept_descriptor_never_outlives_its_name() {
        let (dir, disk) = scratch();
        let (a, b) = (dir.path().join("a"), dir.path().join("b"));
        disk.write_at(&a, 0, b"old").unwrap();
        disk.write_at(&b, 0, b"new!").unwrap();
        disk.rename(&b, &a).unwrap();
        let mut buffer = [0; 8];
        assert_eq!(disk.read_at(&a, 0, &mut buffer).unwrap(), 4);
        assert!(!disk.exists(&b).unwrap());
        disk.remove_file(&a).unwrap();
        assert_eq!(disk.read_at(&a, 0, &mut buffer).unwrap_err().kind(), io::ErrorKind::NotFound);

        let inner = dir.path().join("d");
        disk.create_directory(&inner).unwrap();
        disk.write_at(&inner.join("f"), 0, b"1").unwrap();
        assert_eq!(disk.list(dir.path()).unwrap(), vec![DiskEntry { name: "d".into(), directory: true }]);
        disk.rename(&inner, &dir.path().join("e")).unwrap();
        assert!(disk.length(&inner.join("f")).is_err());
    }

    #[test]
    fn more_files_than_are_kept_open() {
        let (dir, disk) = scratch();
        let paths: Vec<_> = (0..KEPT * 2 + 3).map(|number| dir.path().join(number.to_string())).collect();
        for (number, path) in paths.iter().enumerate() {
            disk.write_at(path, 0, &(number as u64).to_le_bytes()).unwrap();
        }
        assert!(disk.open.lock().files.len() <= KEPT);
        for (number, path) in paths.iter().enumerate() {
            let mut buffer = [0; 8];
            disk.read_at(path, 0, &mut buffer).unwrap();
            assert_eq!(u64::from_le_bytes(buffer), number as u64);
        }
    }

    #[test]
    fn one_lock_at_a_time() {
        let (dir, disk) = scratch();
        let path = dir.path().join("lock");
        disk.write_at(&path, 0, b"").unwrap();
        let held = disk.lock(&path).unwrap();
        assert_eq!(disk.lock(&path).err().map(|error| error.kind()), Some(io::ErrorKind::WouldBlock));
        drop(held);
        assert!(disk.lock(&path).is_ok());
    }
}
