//! A checkpoint in the making: changes in the order in which they came, and where to find the newest of each object.
//!
//! A change is appended when an object that changed has to leave memory, or when the checkpoint comes round. Nothing
//! of it counts before the file is renamed; until it has been applied the native files are behind, and objects are
//! read from here.

use super::key::{self, Kind};
use kddm_object::ObjectKey;
use kddm_rdma::Disk;
use kdfs_format::batch::{BATCH_HEADER_SIZE, BatchHeader, Change, RecordHeader};
use kdfs_format::{PAGE_SIZE, paths};
use std::collections::{BTreeMap, HashMap, HashSet};
use std::io;
use std::path::{Path, PathBuf};

/// Bytes gathered in memory before they are written.
const BUFFER: usize = 256 << 10;
/// Bytes that may gather there while the disk is full: of files, and of what is needed to free space on it.
const FULL: [usize; 2] = [4 << 20, 64 << 20];

/// Changes that are not in the native files yet.
pub(crate) struct Layer {
    directory: PathBuf,
    /// The file, whose header is not written yet.
    path: PathBuf,
    /// What follows the first `flushed` bytes of the file.
    buffer: Vec<u8>,
    flushed: u64,
    /// Bytes in the buffer at which to write it: more than usual after the disk was found full.
    enough: usize,
    records: u64,
    content: crc32fast::Hasher,
    durable: bool,
    /// Where the newest bytes of an object begin.
    newest: BTreeMap<ObjectKey, u64>,
    /// Files (local ids) whose pages from this one on are gone, unless they are in `newest`.
    cut: HashMap<u32, u32>,
    /// Inodes (local ids) that are gone, unless they are in `newest`.
    removed: HashSet<u32>,
}

/// What a layer knows of an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Known {
    /// Its newest bytes are here.
    Here(u64),
    /// It is gone; what lies below is old.
    Gone,
    /// Nothing: look below.
    Nothing,
}

impl Layer {
    /// An empty one for the partition in `directory`.
    pub fn new(directory: &Path) -> Layer {
        Layer {
            directory: directory.to_owned(),
            path: directory.join(paths::BATCH_NEW),
            buffer: Vec::new(),
            flushed: BATCH_HEADER_SIZE as u64,
            enough: BUFFER,
            records: 0,
            content: crc32fast::Hasher::new(),
            durable: false,
            newest: BTreeMap::new(),
            cut: HashMap::new(),
            removed: HashSet::new(),
        }
    }

    pub fn is_empty(&self) -> bool {
        self.records == 0
    }

    /// Bytes of the file.
    pub fn length(&self) -> u64 {
        self.flushed + self.buffer.len() as u64
    }

    pub fn find(&self, key: ObjectKey) -> Known {
        if let Some(&place) = self.newest.get(&key) {
            return Known::Here(place);
        }
        let local = key::local(key);
        let cut = || self.cut.get(&local).is_some_and(|&first| first <= key.object);
        let gone = match key::kind(key) {
            Kind::Inode | Kind::Directory => self.removed.contains(&local),
            Kind::File => self.removed.contains(&local) || cut(),
            _ => false,
        };
        if gone { Known::Gone } else { Known::Nothing }
    }

    /// The first page of a file that was cut off here.
    pub fn first_cut(&self, local: u32) -> u32 {
        if self.removed.contains(&local) { 0 } else { self.cut.get(&local).copied().unwrap_or(u32::MAX) }
    }

    pub fn read(&self, disk: &dyn Disk, place: u64, into: &mut [u8]) -> io::Result<()> {
        if let Some(start) = place.checked_sub(self.flushed) {
            let start = start as usize;
            into.copy_from_slice(&self.buffer[start..start + into.len()]);
            return Ok(());
        }
        match disk.read_at(&self.path, place, into)? {
            found if found == into.len() => Ok(()),
            _ => Err(io::Error::other("a checkpoint that is being applied was cut by somebody")),
        }
    }

    /// The newest bytes of `key`. On an error nothing was appended.
    pub fn append(
        &mut self,
        disk: &dyn Disk,
        key: ObjectKey,
        change: Change,
        bytes: &[u8],
    ) -> io::Result<()> {
        let place = self.push(disk, change, bytes, key::kind(key).is_metadata())?;
        self.newest.insert(key, place);
        Ok(())
    }

    /// The pages of a file from `page` on are gone.
    pub fn cut(&mut self, disk: &dyn Disk, key: ObjectKey) -> io::Result<()> {
        let (local, page) = (key::local(key), key.object);
        let first = self.cut.get(&local).copied().unwrap_or(u32::MAX);
        let last = ObjectKey::new(key.set, u32::MAX);
        let newer: Vec<ObjectKey> = self.newest.range(key..=last).map(|(&key, _)| key).collect();
        if newer.is_empty() && first <= page {
            return Ok(());
        }
        self.push(disk, Change::Truncate { local, page }, &[], true)?;
        newer.iter().for_each(|key| {
            self.newest.remove(key);
        });
        self.cut.insert(local, first.min(page));
        Ok(())
    }

    /// An inode is gone, with its bytes.
    pub fn remove(&mut self, disk: &dyn Disk, inode: ObjectKey) -> io::Result<()> {
        let local = key::local(inode);
        self.push(disk, Change::Remove { local }, &[], true)?;
        self.newest.remove(&inode);
        for pages in key::pages_of(inode.object) {
            let gone: Vec<ObjectKey> = self.newest.range(pages).map(|(&key, _)| key).collect();
            gone.iter().for_each(|key| {
                self.newest.remove(key);
            });
        }
        self.cut.remove(&local);
        self.removed.insert(local);
        Ok(())
    }

    /// Writes what there is so far, durable, so that the commit has less to do.
    pub fn prepare(&mut self, disk: &dyn Disk) -> io::Result<()> {
        self.flush(disk)?;
        if self.flushed > BATCH_HEADER_SIZE as u64 { disk.sync_file(&self.path) } else { Ok(()) }
    }

    /// Writes what is left and the header, and commits it all by the rename. On an error nothing has changed, and it
    /// can be tried again.
    pub fn commit(
        &mut self,
        disk: &dyn Disk,
        partition: [u8; 16],
        number: u64,
        durable: bool,
    ) -> io::Result<()> {
        self.flush(disk)?;
        let length = self.flushed - BATCH_HEADER_SIZE as u64;
        let header =
            BatchHeader::new(partition, number, length, self.records, self.content.clone().finalize());
        disk.write_at(&self.path, 0, &header.sealed())?;
        if durable {
            disk.sync_file(&self.path)?;
        }
        let committed = self.directory.join(paths::BATCH);
        disk.rename(&self.path, &committed)?;
        self.path = committed;
        self.durable = durable;
        if durable {
            disk.sync_directory(&self.directory)?;
        }
        Ok(())
    }

    /// Whether it was committed to survive the loss of power.
    pub fn is_durable(&self) -> bool {
        self.durable
    }

    /// Whether the rename has happened.
    pub fn is_committed(&self) -> bool {
        self.path.ends_with(paths::BATCH)
    }

    /// The same changes without those that later ones have made void, all in memory; whatever of them was in the
    /// file has left it. Removals come first, so that applying them makes the room for the rest.
    pub fn compacted(&self, disk: &dyn Disk) -> io::Result<Layer> {
        let mut layer = self.removals(disk)?;
        layer.absorb(disk, self)?;
        self.leave_file(disk)?;
        Ok(layer)
    }

    /// As [`Layer::compacted`], and pages of files in a layer of their own.
    pub fn without_pages(&self, disk: &dyn Disk) -> io::Result<(Layer, Layer)> {
        let (mut others, mut pages) = (self.removals(disk)?, Layer::new(&self.directory));
        for (&key, &place) in &self.newest {
            let layer = if key::kind(key) == Kind::File { &mut pages } else { &mut others };
            layer.copy(disk, self, key, place)?;
        }
        self.leave_file(disk)?;
        Ok((others, pages))
    }

    /// Takes over the objects of another layer, in memory.
    pub fn absorb(&mut self, disk: &dyn Disk, other: &Layer) -> io::Result<()> {
        other.newest.iter().try_for_each(|(&key, &place)| self.copy(disk, other, key, place))
    }

    /// The objects whose bytes are here.
    pub fn keys(&self) -> impl Iterator<Item = ObjectKey> {
        self.newest.keys().copied()
    }

    fn copy(&mut self, disk: &dyn Disk, from: &Layer, key: ObjectKey, place: u64) -> io::Result<()> {
        let Some(change) = key::change(key) else { return Ok(()) };
        let mut bytes = [0; PAGE_SIZE];
        let bytes = &mut bytes[..change.length()];
        from.read(disk, place, bytes)?;
        self.enough = self.buffer.len() + BUFFER;
        self.append(disk, key, change, bytes)
    }

    /// A layer that only removes, what this one does.
    fn removals(&self, disk: &dyn Disk) -> io::Result<Layer> {
        let mut layer = Layer::new(&self.directory);
        layer.cut.clone_from(&self.cut);
        layer.removed.clone_from(&self.removed);
        layer.enough = usize::MAX;
        for &local in &self.removed {
            layer.push(disk, Change::Remove { local }, &[], true)?;
        }
        for (&local, &page) in &self.cut {
            layer.push(disk, Change::Truncate { local, page }, &[], true)?;
        }
        layer.enough = BUFFER;
        Ok(layer)
    }

    fn leave_file(&self, disk: &dyn Disk) -> io::Result<()> {
        match disk.set_length(&self.path, 0) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    /// `vital`: what is to free space has to be taken also when there is none.
    fn push(&mut self, disk: &dyn Disk, change: Change, bytes: &[u8], vital: bool) -> io::Result<u64> {
        debug_assert_eq!(change.length(), bytes.len());
        if self.buffer.len() >= self.enough {
            match self.flush(disk) {
                Err(error) if is_full(&error) && self.may_wait(change, vital) => {
                    self.enough = self.buffer.len() + BUFFER;
                }
                result => result?,
            }
        }
        let header = RecordHeader::of(change);
        for part in [header.bytes(), bytes] {
            self.buffer.extend_from_slice(part);
            self.content.update(part);
        }
        self.records += 1;
        Ok(self.length() - bytes.len() as u64)
    }

    fn may_wait(&self, change: Change, vital: bool) -> bool {
        change.length() == 0 || self.buffer.len() < FULL[usize::from(vital)]
    }

    fn flush(&mut self, disk: &dyn Disk) -> io::Result<()> {
        if self.buffer.is_empty() {
            return Ok(());
        }
        if let Err(error) = disk.write_at(&self.path, self.flushed, &self.buffer) {
            // What there was room for is of no use: others may need it.
            disk.set_length(&self.path, self.flushed).ok();
            return Err(error);
        }
        self.flushed += self.buffer.len() as u64;
        self.buffer.clear();
        self.enough = BUFFER;
        Ok(())
    }
}

/// Whether there is no room for what was to be written.
pub(crate) fn is_full(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(nix::libc::ENOSPC | nix::libc::EDQUOT))
}
