//! A disk in memory. It remembers every change, so that a test can go back to any moment; it knows what was made
//! durable, so that a test can cut the power; it can be full.

use kddm_rdma::Disk;
use kddm_rdma::host::disk::{DiskEntry, DiskLock, DiskSpace};
use parking_lot::Mutex;
use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// A change of the disk, or a request to make changes durable.
#[derive(Clone, Debug)]
pub enum Step {
    Write(PathBuf, u64, Vec<u8>),
    SetLength(PathBuf, u64),
    CreateDirectory(PathBuf),
    RemoveFile(PathBuf),
    RemoveDirectory(PathBuf),
    Rename(PathBuf, PathBuf),
    SyncFile(PathBuf),
    SyncDirectory(PathBuf),
    SyncAll,
}

impl Step {
    /// Whether it asks for durability.
    pub fn is_sync(&self) -> bool {
        matches!(self, Step::SyncFile(_) | Step::SyncDirectory(_) | Step::SyncAll)
    }
}

/// What a name leads to, by its number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Named {
    Directory(u64),
    File(u64),
}

type Names = BTreeMap<OsString, Named>;

/// The number of the directory that everything lies in.
const TOP: u64 = 0;

/// Names by directory and bytes by file, as programs see them and as they survive the loss of power.
#[derive(Clone, Debug, Default)]
pub struct Image {
    names: BTreeMap<u64, Names>,
    durable_names: BTreeMap<u64, Names>,
    bytes: BTreeMap<u64, Vec<u8>>,
    durable_bytes: BTreeMap<u64, Vec<u8>>,
    numbers: u64,
}

fn error(errno: i32) -> io::Error {
    io::Error::from_raw_os_error(errno)
}

impl Image {
    /// An image with an empty directory `root`.
    pub fn with_directory(root: &Path) -> Image {
        let mut image = Image::default();
        image.names.insert(TOP, Names::new());
        image.step(&Step::CreateDirectory(root.to_owned())).unwrap();
        image.step(&Step::SyncAll).unwrap();
        image
    }

    fn find(&self, path: &Path) -> io::Result<Named> {
        let mut at = Named::Directory(TOP);
        for name in path.iter().skip(1) {
            let Named::Directory(number) = at else { return Err(error(nix::libc::ENOTDIR)) };
            let names = self.names.get(&number).ok_or_else(|| error(nix::libc::ENOENT))?;
            at = *names.get(name).ok_or_else(|| error(nix::libc::ENOENT))?;
        }
        Ok(at)
    }

    fn file(&self, path: &Path) -> io::Result<u64> {
        match self.find(path)? {
            Named::File(number) => Ok(number),
            Named::Directory(_) => Err(error(nix::libc::EISDIR)),
        }
    }

    fn directory(&self, path: &Path) -> io::Result<u64> {
        match self.find(path)? {
            Named::Directory(number) => Ok(number),
            Named::File(_) => Err(error(nix::libc::ENOTDIR)),
        }
    }

    /// The names beside `path`.
    fn beside(&mut self, path: &Path) -> io::Result<&mut Names> {
        let parent = self.directory(path.parent().unwrap())?;
        Ok(self.names.entry(parent).or_default())
    }

    fn new_number(&mut self) -> u64 {
        self.numbers += 1;
        self.numbers
    }

    /// Does one step.
    pub fn step(&mut self, step: &Step) -> io::Result<()> {
        match step {
            Step::Write(path, offset, bytes) => {
                let new = self.new_number();
                let name = path.file_name().unwrap().to_owned();
                self.beside(path)?.entry(name).or_insert(Named::File(new));
                let content = self.file(path).map(|number| self.bytes.entry(number).or_default())?;
                let (start, end) = (*offset as usize, *offset as usize + bytes.len());
                if !bytes.is_empty() {
                    content.resize(content.len().max(end), 0);
                    content[start..end].copy_from_slice(bytes);
                }
            }
            Step::SetLength(path, length) => {
                let number = self.file(path)?;
                self.bytes.entry(number).or_default().resize(*length as usize, 0);
            }
            Step::CreateDirectory(path) => {
                let new = self.new_number();
                let names = self.beside(path)?;
                let name = path.file_name().unwrap().to_owned();
                if names.contains_key(&name) {
                    return Err(error(nix::libc::EEXIST));
                }
                names.insert(name, Named::Directory(new));
                self.names.insert(new, Names::new());
            }
            Step::RemoveFile(path) => {
                self.file(path)?;
                self.beside(path)?.remove(path.file_name().unwrap());
            }
            Step::RemoveDirectory(path) => {
                let number = self.directory(path)?;
                if !self.names[&number].is_empty() {
                    return Err(error(nix::libc::ENOTEMPTY));
                }
                self.beside(path)?.remove(path.file_name().unwrap());
            }
            Step::Rename(from, to) => {
                let named = self.find(from)?;
                self.beside(from)?.remove(from.file_name().unwrap());
                self.beside(to)?.insert(to.file_name().unwrap().to_owned(), named);
            }
            Step::SyncFile(path) => {
                let number = self.file(path)?;
                self.durable_bytes.insert(number, self.bytes.get(&number).cloned().unwrap_or_default());
            }
            Step::SyncDirectory(path) => {
                let number = self.directory(path)?;
                self.durable_names.insert(number, self.names[&number].clone());
            }
            Step::SyncAll => {
                self.durable_names = self.names.clone();
                self.durable_bytes = self.bytes.clone();
            }
        }
        Ok(())
    }

    /// Cuts the power: of what was not made durable, each file's bytes and each directory's names are kept or lost
    /// as `keep` says.
    pub fn without_power(&self, mut keep: impl FnMut() -> bool) -> Image {
        let mut image = Image { numbers: self.numbers, ..Image::default() };
        let mut left = vec![Named::Directory(TOP)];
        while let Some(named) = left.pop() {
            match named {
                Named::Directory(number) => {
                    let source = if keep() { &self.names } else { &self.durable_names };
                    let names = source.get(&number).cloned().unwrap_or_default();
                    left.extend(names.values().copied());
                    image.names.insert(number, names);
                }
                Named::File(number) => {
                    let source = if keep() { &self.bytes } else { &self.durable_bytes };
                    image.bytes.insert(number, source.get(&number).cloned().unwrap_or_default());
                }
            }
        }
        image.step(&Step::SyncAll).unwrap();
        image
    }

    /// Bytes of all files.
    fn used(&self) -> u64 {
        let files = self.names.values().flat_map(BTreeMap::values).filter_map(|named| match named {
            Named::File(number) => self.bytes.get(number),
            Named::Directory(_) => None,
        });
        files.map(|bytes| bytes.len() as u64).sum()
    }

    /// Every file and its bytes.
    pub fn contents(&self) -> BTreeMap<PathBuf, Vec<u8>> {
        let mut contents = BTreeMap::new();
        let mut left = vec![(PathBuf::from("/"), Named::Directory(TOP))];
        while let Some((path, named)) = left.pop() {
            match named {
                Named::Directory(number) => {
                    left.extend(self.names[&number].iter().map(|(name, named)| (path.join(name), *named)));
                }
                Named::File(number) => {
                    contents.insert(path, self.bytes.get(&number).cloned().unwrap_or_default());
                }
            }
        }
        contents
    }
}

/// The disk.
#[derive(Clone)]
pub struct MemoryDisk(Arc<Mutex<State>>);

type Witness = Arc<dyn Fn(&Step) + Send + Sync>;

struct State {
    image: Image,
    steps: Vec<Step>,
    locked: BTreeSet<PathBuf>,
    /// Bytes that can still be written.
    room: u64,
    /// Bytes that all files together can have.
    capacity: u64,
    /// Told of each step, after it.
    witness: Option<Witness>,
}

impl MemoryDisk {
    pub fn new(image: Image) -> MemoryDisk {
        let (steps, locked) = Default::default();
        MemoryDisk(Arc::new(Mutex::new(State {
            image,
            steps,
            locked,
            room: u64::MAX,
            capacity: u64::MAX,
            witness: None,
        })))
    }

    pub fn image(&self) -> Image {
        self.0.lock().image.clone()
    }

    /// The steps since the disk was made.
    pub fn steps(&self) -> Vec<Step> {
        self.0.lock().steps.clone()
    }

    /// How many there are.
    pub fn moment(&self) -> usize {
        self.0.lock().steps.len()
    }

    /// From now on so many bytes can be written.
    pub fn set_room(&self, room: u64) {
        self.0.lock().room = room;
    }

    /// From now on so many bytes are all there is room for; what is removed makes room again.
    pub fn set_capacity(&self, capacity: u64) {
        self.0.lock().capacity = capacity;
    }

    /// From now on `witness` is told of each step, after it.
    pub fn watch(&self, witness: impl Fn(&Step) + Send + Sync + 'static) {
        self.0.lock().witness = Some(Arc::new(witness));
    }

    /// From now on there is no room left.
    pub fn fill(&self) {
        let mut state = self.0.lock();
        state.capacity = state.image.used();
    }

    fn step(&self, step: Step) -> io::Result<()> {
        let mut state = self.0.lock();
        if let Step::Write(_, _, bytes) = &step {
            let left = state.room.checked_sub(bytes.len() as u64);
            state.room = left.ok_or_else(|| error(nix::libc::ENOSPC))?;
        }
        if let (Step::Write(path, offset, bytes), true) = (&step, state.capacity < u64::MAX) {
            let now =
                state.image.file(path).map_or(0, |file| state.image.bytes.get(&file).map_or(0, Vec::len));
            let more = (offset + bytes.len() as u64).saturating_sub(now as u64);
            if state.image.used() + more > state.capacity {
                return Err(error(nix::libc::ENOSPC));
            }
        }
        state.image.step(&step)?;
        state.steps.push(step.clone());
        let witness = state.witness.clone();
        drop(state);
        if let Some(witness) = witness {
            witness(&step);
        }
        Ok(())
    }
}

impl Disk for MemoryDisk {
    fn read_at(&self, path: &Path, offset: u64, into: &mut [u8]) -> io::Result<usize> {
        let state = self.0.lock();
        let number = state.image.file(path)?;
        let content = state.image.bytes.get(&number).map_or(&[][..], |bytes| bytes);
        let start = content.len().min(offset as usize);
        let found = into.len().min(content.len() - start);
        into[..found].copy_from_slice(&content[start..start + found]);
        Ok(found)
    }

    fn write_at(&self, path: &Path, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.step(Step::Write(path.to_owned(), offset, bytes.to_vec()))
    }

    fn length(&self, path: &Path) -> io::Result<u64> {
        let state = self.0.lock();
        let number = state.image.file(path)?;
        Ok(state.image.bytes.get(&number).map_or(0, Vec::len) as u64)
    }

    fn set_length(&self, path: &Path, length: u64) -> io::Result<()> {
        self.step(Step::SetLength(path.to_owned(), length))
    }

    fn sync_file(&self, path: &Path) -> io::Result<()> {
        self.step(Step::SyncFile(path.to_owned()))
    }

    fn sync_directory(&self, path: &Path) -> io::Result<()> {
        self.step(Step::SyncDirectory(path.to_owned()))
    }

    fn sync_all(&self, _path: &Path) -> io::Result<()> {
        self.step(Step::SyncAll)
    }

    fn create_directory(&self, path: &Path) -> io::Result<()> {
        self.step(Step::CreateDirectory(path.to_owned()))
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        self.step(Step::RemoveFile(path.to_owned()))
    }

    fn remove_directory(&self, path: &Path) -> io::Result<()> {
        self.step(Step::RemoveDirectory(path.to_owned()))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.step(Step::Rename(from.to_owned(), to.to_owned()))
    }

    fn list(&self, path: &Path) -> io::Result<Vec<DiskEntry>> {
        let state = self.0.lock();
        let number = state.image.directory(path)?;
        let entry = |(name, named): (&OsString, &Named)| DiskEntry {
            name: name.clone(),
            directory: matches!(named, Named::Directory(_)),
        };
        Ok(state.image.names[&number].iter().map(entry).collect())
    }

    fn exists(&self, path: &Path) -> io::Result<bool> {
        Ok(self.0.lock().image.find(path).is_ok())
    }

    fn space(&self, _path: &Path) -> io::Result<DiskSpace> {
        let state = self.0.lock();
        if state.capacity == u64::MAX {
            return Ok(DiskSpace { total: 1 << 41, free: 1 << 40, available: 1 << 39 });
        }
        let free = state.capacity.saturating_sub(state.image.used());
        Ok(DiskSpace { total: state.capacity, free, available: free })
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
