//! A checkpoint in the making: changes in the order in which they came, and where to find the newest of each object.
//!
//! A change is appended when an object that changed has to leave memory, or when the checkpoint comes round. Nothing
//! of it counts before it is committed (`log.rs`); until it has been applied the native files are behind, and objects
//! are read from here.

use super::key::{self, Kind};
use kddm_object::{ObjectKey, SetId};
use kddm_rdma::Disk;
use kdfs_format::batch::{BATCH_HEADER_SIZE, BatchHeader, Change, RecordHeader};
use kdfs_format::sets::INODE_SET;
use kdfs_format::{FileType, INODE_SIZE, Inode, PAGE_SIZE};
use std::collections::{BTreeMap, HashMap, HashSet};
use std::io;
use std::path::{Path, PathBuf};

/// Bytes gathered in memory before they are written.
const BUFFER: usize = 256 << 10;
/// Bytes that may gather there while the disk is full: of files, and of what is needed to free space on it.
const FULL: [usize; 2] = [4 << 20, 64 << 20];

/// Changes that are not in the native files yet.
#[derive(Clone)]
pub(crate) struct Layer {
    /// The file, and where in it the header has its place.
    path: PathBuf,
    base: u64,
    /// What follows the first `flushed` bytes of the file.
    buffer: Vec<u8>,
    flushed: u64,
    /// Bytes in the buffer at which to write it: more than usual after the disk was found full.
    enough: usize,
    records: u64,
    content: crc32fast::Hasher,
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
    /// An empty one, for the file of that name.
    pub fn new(path: PathBuf) -> Layer {
        Layer {
            path,
            base: 0,
            buffer: Vec::new(),
            flushed: BATCH_HEADER_SIZE as u64,
            enough: BUFFER,
            records: 0,
            content: crc32fast::Hasher::new(),
            newest: BTreeMap::new(),
            cut: HashMap::new(),
            removed: HashSet::new(),
        }
    }

    pub fn is_empty(&self) -> bool {
        self.records == 0
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Bytes of it, with the header.
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
        match disk.read_at(&self.path, self.base + place, into)? {
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

    /// The whole of it, for a file in which others stand before it; `None` if a part has left memory.
    pub fn image(&self, partition: [u8; 16], number: u64) -> Option<Vec<u8>> {
        let header = self.header(partition, number);
        self.is_in_memory().then(|| [&header.sealed(), &self.buffer[..]].concat())
    }

    /// Writes what is left and the header, so that the file is a whole checkpoint. It can be tried again.
    pub fn complete(&self, disk: &dyn Disk, partition: [u8; 16], number: u64) -> io::Result<()> {
        self.write_buffer(disk)?;
        disk.write_at(&self.path, 0, &self.header(partition, number).sealed())
    }

    /// It stands there now, all of it.
    pub fn moved(mut self, path: PathBuf, base: u64) -> Layer {
        (self.path, self.base, self.flushed) = (path, base, self.length());
        self.buffer = Vec::new();
        self
    }

    /// Whether nothing of it is in the file.
    pub fn is_in_memory(&self) -> bool {
        self.flushed == BATCH_HEADER_SIZE as u64
    }

    fn header(&self, partition: [u8; 16], number: u64) -> BatchHeader {
        let length = self.length() - BATCH_HEADER_SIZE as u64;
        BatchHeader::new(partition, number, length, self.records, self.content.clone().finalize())
    }

    /// The same changes without those that later ones have made void, all in memory; whatever of them was in the
    /// file has left it. Removals come first, so that applying them makes the room for the rest.
    pub fn compacted(&self, disk: &dyn Disk) -> io::Result<Layer> {
        let mut layer = self.removals(disk)?;
        layer.absorb(disk, self)?;
        self.leave_file(disk)?;
        Ok(layer)
    }

    /// As [`Layer::compacted`], and pages of files in a layer of their own. The target of a symbolic link goes with its
    /// inode: there is no link without one.
    pub fn without_pages(&self, disk: &dyn Disk) -> io::Result<(Layer, Layer)> {
        let (mut others, mut pages) = (self.removals(disk)?, Layer::new(self.path.clone()));
        for (&key, &place) in &self.newest {
            let can_wait = key::kind(key) == Kind::File && !self.is_symlink(disk, key::inode(key))?;
            let layer = if can_wait { &mut pages } else { &mut others };
            layer.copy(disk, self, key, place)?;
        }
        self.leave_file(disk)?;
        Ok((others, pages))
    }

    /// Whether a symbolic link of that number has its attributes here.
    pub fn is_symlink(&self, disk: &dyn Disk, inode: u32) -> io::Result<bool> {
        let key = ObjectKey::new(SetId(INODE_SET), inode);
        let Known::Here(place) = self.find(key) else { return Ok(false) };
        let mut bytes = [0; INODE_SIZE];
        self.read(disk, place, &mut bytes)?;
        Ok(Inode::of(&bytes).is_ok_and(|inode| inode.file_type() == FileType::Symlink))
    }

    /// These changes and those of a layer that came after, as [`Layer::compacted`].
    pub fn followed_by(&self, disk: &dyn Disk, newer: &Layer) -> io::Result<Layer> {
        let mut both = self.compacted(disk)?;
        both.enough = usize::MAX;
        for &local in &newer.removed {
            both.push(disk, Change::Remove { local }, &[], true)?;
            both.cut.remove(&local);
            both.removed.insert(local);
        }
        for (&local, &page) in &newer.cut {
            both.push(disk, Change::Truncate { local, page }, &[], true)?;
            let first = both.cut.entry(local).or_insert(page);
            *first = page.min(*first);
        }
        both.newest.retain(|&key, _| newer.find(key) != Known::Gone);
        both.absorb(disk, newer)?;
        newer.leave_file(disk)?;
        Ok(both)
    }

    /// Takes over the objects of another layer of which nothing newer is known here, in memory.
    pub fn put_under(&mut self, disk: &dyn Disk, other: &Layer) -> io::Result<()> {
        let old = other.newest.iter().filter(|(key, _)| self.find(**key) == Known::Nothing);
        let old: Vec<(ObjectKey, u64)> = old.map(|(&key, &place)| (key, place)).collect();
        old.into_iter().try_for_each(|(key, place)| self.copy(disk, other, key, place))
    }

    /// The objects whose bytes are here.
    pub fn keys(&self) -> impl Iterator<Item = ObjectKey> {
        self.newest.keys().copied()
    }

    fn absorb(&mut self, disk: &dyn Disk, other: &Layer) -> io::Result<()> {
        other.newest.iter().try_for_each(|(&key, &place)| self.copy(disk, other, key, place))
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
        let mut layer = Layer::new(self.path.clone());
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
        self.write_buffer(disk)?;
        self.flushed += self.buffer.len() as u64;
        self.buffer.clear();
        self.enough = BUFFER;
        Ok(())
    }

    fn write_buffer(&self, disk: &dyn Disk) -> io::Result<()> {
        if self.buffer.is_empty() {
            return Ok(());
        }
        disk.write_at(&self.path, self.flushed, &self.buffer).inspect_err(|_| {
            // What there was room for is of no use: others may need it.
            disk.set_length(&self.path, self.flushed).ok();
        })
    }
}

/// Whether there is no room for what was to be written.
pub(crate) fn is_full(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(nix::libc::ENOSPC | nix::libc::EDQUOT))
}
