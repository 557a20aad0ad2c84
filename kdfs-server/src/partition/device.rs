//! The partition as a device for objects: the native files, and over them the changes that they do not have yet.
//!
//! ```text
//! draft      what came since the last checkpoint was sealed     uncommitted
//! sealed     a checkpoint that is being committed               uncommitted
//! log        committed checkpoints on their way to the files    there after a crash
//! native     .meta, .content, ...
//! ```
//!
//! Pages of files go straight to `.content`, unless a layer says that the old bytes there must survive until a
//! truncation or removal has been committed. No call here waits for anybody's hold, so linkers may make them.

use super::figures::{Counting, WriteFigures};
use super::key::{self, Kind};
use super::layer::{Known, Layer};
use super::log::Log;
use super::native::{Native, Writer};
use super::space::{Full, Taken};
use kddm_object::{ObjectKey, SetId};
use kddm_rdma::{Disk, Inserted};
use kdfs_format::batch::Change;
use kdfs_format::bitmap::{BitmapPage, PAGES};
use kdfs_format::directory::{self, PageId};
use kdfs_format::sets::INODE_SET;
use kdfs_format::{FileType, FormatError, INODE_SIZE, Inode, PAGE_SIZE, bitmap, paths};
use parking_lot::Mutex;
use std::collections::{BTreeMap, HashMap};
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

/// The device under the objects of a partition.
pub(crate) struct Device {
    pub native: Native,
    pub(super) partition: [u8; 16],
    /// Which server of this partition this is, counted from its formatting.
    life: u32,
    pub(super) layers: Mutex<Layers>,
    /// Held while the log is brought to the native files; true when nobody may do so any more.
    pub(super) settling: Mutex<bool>,
    pub(super) taken: Mutex<Taken>,
    pub(super) full: Full,
    orphans: Mutex<Orphans>,
    pub(super) counting: Counting,
}

pub(super) struct Layers {
    pub draft: Layer,
    pub sealed: Option<Arc<Layer>>,
    pub log: Log,
    /// Of the last committed checkpoint.
    pub number: u64,
}

/// Files for whose bytes there is no room, by inode number; the first page that could not be written.
pub(crate) type Short = BTreeMap<u32, u32>;

/// Inodes by key.
pub(super) type Whole = BTreeMap<ObjectKey, [u8; INODE_SIZE]>;

/// Inodes without names, by number; their generations.
#[derive(Default)]
struct Orphans {
    known: HashMap<u32, u32>,
    untold: Vec<(u32, u32)>,
}

impl Device {
    pub fn new(native: Native, partition: [u8; 16], life: u32, number: u64) -> Device {
        let draft = Layer::new(native.path(paths::BATCH_NEW));
        let layers = Layers { draft, sealed: None, log: Log::default(), number };
        let (settling, taken, full, orphans, counting) = Default::default();
        Device {
            native,
            partition,
            life,
            layers: Mutex::new(layers),
            settling,
            taken,
            full,
            orphans,
            counting,
        }
    }

    /// Reads an object: its newest bytes, wherever they are.
    pub fn insert(&self, key: ObjectKey, into: &mut [u8]) -> io::Result<Inserted> {
        let there = match self.find(key, into)? {
            Known::Here(_) => true,
            Known::Gone => false,
            Known::Nothing => self.read_native(key, into)?,
        };
        self.verify(key, into, there)
    }

    /// Takes the bytes of an object that is to leave memory, or could.
    pub fn sync(&self, key: ObjectKey, bytes: &[u8]) -> io::Result<()> {
        let _direct = self.native.direct.read();
        let mut layers = self.layers.lock();
        if key::kind(key) != Kind::File || layers.know(key) {
            return self.append(&mut layers.draft, key, bytes);
        }
        drop(layers);
        self.native.write_content(key::local(key), key.object, bytes, Writer::Ahead)
    }

    /// As [`Device::sync`], for neighbouring pages of a file from `first` on. `together`: they go into the checkpoint,
    /// which spares a small one all else that would have to be made durable.
    pub fn sync_pages(&self, first: ObjectKey, bytes: &[u8], together: bool) -> io::Result<()> {
        let keys = || (0..).map(|index| ObjectKey::new(first.set, first.object + index));
        let _direct = self.native.direct.read();
        let mut layers = self.layers.lock();
        let pages = || keys().zip(bytes.chunks(PAGE_SIZE));
        if !together && !pages().any(|(key, _)| layers.know(key)) {
            drop(layers);
            return self.native.write_content(key::local(first), first.object, bytes, Writer::Ahead);
        }
        pages().try_for_each(|(key, page)| self.append(&mut layers.draft, key, page))
    }

    /// An object is gone.
    pub fn remove(&self, key: ObjectKey) -> io::Result<()> {
        let mut layers = self.layers.lock();
        let disk = self.native.disk();
        match key::kind(key) {
            Kind::Inode => {
                self.orphans.lock().known.remove(&key.object);
                layers.draft.remove(disk, key)
            }
            Kind::File => layers.draft.cut(disk, key),
            Kind::Directory => self.append(&mut layers.draft, key, &[0; PAGE_SIZE]),
            _ => Ok(()),
        }
    }

    /// Takes from the files in a checkpoint the ends that were not written, so that attributes never run ahead of
    /// bytes; but nothing that was committed before. Their inodes as they were.
    pub(super) fn shorten(&self, draft: &mut Layer, log: &Log, short: &Short) -> io::Result<Whole> {
        let mut whole = Whole::new();
        for (&number, &first) in short {
            let key = ObjectKey::new(SetId(INODE_SET), number);
            let Known::Here(place) = draft.find(key) else { continue };
            let mut bytes = [0; INODE_SIZE];
            draft.read(self.native.disk(), place, &mut bytes)?;
            self.verify(key, &mut bytes, true)?;
            let mut inode = Inode::of(&bytes).map_err(io::Error::other)?.clone();
            if inode.file_type() == FileType::Symlink {
                // Its target is in the checkpoint.
                continue;
            }
            let before = self.committed(log, key)?;
            let written = before.filter(|before| before.generation == inode.generation);
            let written = written.map_or(0, |before| before.written_pages.get());
            let end = first.max(written.min(draft.first_cut(key::local(key))));
            inode.written_pages = inode.written_pages.get().min(end).into();
            inode.size = inode.size.get().min(u64::from(end) * PAGE_SIZE as u64).into();
            whole.entry(key).or_insert(bytes);
            self.append(draft, key, inode.bytes())?;
        }
        Ok(whole)
    }

    /// An inode as the last checkpoint left it.
    fn committed(&self, log: &Log, key: ObjectKey) -> io::Result<Option<Inode>> {
        match log.find(key) {
            (Known::Here(place), Some(layer)) => {
                let mut bytes = [0; INODE_SIZE];
                layer.read(self.native.disk(), place, &mut bytes)?;
                Ok(Inode::of(&bytes).ok().cloned())
            }
            (Known::Nothing, _) => self.native.read_meta(key::local(key)),
            _ => Ok(None),
        }
    }

    /// Whether a commit would have nothing to do but for what is dirty in memory.
    pub fn is_committed(&self, durable: bool) -> bool {
        let layers = self.layers.lock();
        let log = &layers.log;
        let is_durable = || self.native.is_durable() && (log.is_empty() || log.durable && log.named);
        layers.draft.is_empty() && layers.sealed.is_none() && (!durable || is_durable())
    }

    /// Whether the native files have everything that was committed.
    pub fn is_settled(&self) -> bool {
        self.layers.lock().log.is_empty()
    }

    /// Whether the next checkpoint will have attributes of this inode.
    pub fn has_taken(&self, inode: u32) -> bool {
        let key = ObjectKey::new(SetId(INODE_SET), inode);
        matches!(self.layers.lock().draft.find(key), Known::Here(_))
    }

    /// Whether those are a symbolic link's.
    pub fn has_taken_symlink(&self, inode: u32) -> io::Result<bool> {
        self.layers.lock().draft.is_symlink(self.native.disk(), inode)
    }

    /// Bytes that wait for the next checkpoint.
    pub fn pending(&self) -> u64 {
        self.layers.lock().draft.length()
    }

    /// What was written, and what waits.
    pub fn figures(&self) -> WriteFigures {
        let layers = self.layers.lock();
        WriteFigures {
            log_bytes: layers.log.length(),
            draft_bytes: layers.draft.length(),
            ..self.counting.load()
        }
    }

    /// Number of the last committed checkpoint.
    pub fn number(&self) -> u64 {
        self.layers.lock().number
    }

    /// The inodes that were found to have no name since this was asked last.
    pub fn take_orphans(&self) -> Vec<(u32, u32)> {
        std::mem::take(&mut self.orphans.lock().untold)
    }

    /// Whether inodes without names are waiting for their last close.
    pub fn has_orphans(&self) -> bool {
        !self.orphans.lock().known.is_empty()
    }

    /// An inode without names.
    pub fn note_orphan(&self, inode: u32, generation: u32) {
        let mut orphans = self.orphans.lock();
        if orphans.known.insert(inode, generation) != Some(generation) {
            orphans.untold.push((inode, generation));
        }
    }

    /// What the layers know of an object; its bytes, if they are here.
    fn find(&self, key: ObjectKey, into: &mut [u8]) -> io::Result<Known> {
        let layers = self.layers.lock();
        let (known, layer) = layers.find(key);
        if let (Known::Here(place), Some(layer)) = (known, layer) {
            layer.read(self.native.disk(), place, into)?;
        }
        Ok(known)
    }

    fn read_native(&self, key: ObjectKey, into: &mut [u8]) -> io::Result<bool> {
        let local = key::local(key);
        match key::kind(key) {
            Kind::Inode => {
                let inode = self.native.read_meta(local)?;
                if let Some(inode) = &inode {
                    into.copy_from_slice(&inode.sealed());
                }
                Ok(inode.is_some())
            }
            Kind::Directory | Kind::File => self.native.read_content(local, key.object, into),
            Kind::Bitmap => self.native.read_bitmap(key::bitmap_page(key), into),
            _ => Ok(false),
        }
    }

    /// Checks bytes that come from disk, and makes them what they are in memory.
    fn verify(&self, key: ObjectKey, bytes: &mut [u8], there: bool) -> io::Result<Inserted> {
        if !there {
            bytes.fill(0);
        }
        let local = key::local(key);
        let filled = |is_there| if is_there { Inserted::Filled } else { Inserted::Absent };
        match key::kind(key) {
            Kind::Inode if there => {
                let result =
                    kdfs_format::UnverifiedInode::parse(bytes).and_then(|inode| inode.verify(key.object));
                let inode = result
                    .map_err(|error| self.native.damaged(&self.native.path(paths::meta(local)), error))?;
                bytes.copy_from_slice(inode.bytes());
                Ok(Inserted::Filled)
            }
            Kind::Directory => {
                let id =
                    PageId { inode: key::inode(key), generation: key.set.generation(), page: key.object };
                let content = || self.native.path(paths::content(local));
                let page = page_of(bytes)?;
                directory::verify(page, id).map_err(|error| self.native.damaged(&content(), error))?;
                Ok(filled(page.iter().any(|&byte| byte != 0)))
            }
            Kind::Bitmap => {
                let superblock = || self.native.path(paths::SUPERBLOCK);
                let page = page_of(bytes)?;
                bitmap::verify(page, key.object)
                    .and_then(|()| BitmapPage::of_mut(page, key.object))
                    .map_err(|error| self.native.damaged(&superblock(), error))?
                    .begin_life(self.life);
                Ok(filled(key::bitmap_page(key) < PAGES))
            }
            // What was never written is zeros.
            Kind::File => Ok(Inserted::Filled),
            _ => Ok(Inserted::Absent),
        }
    }

    /// Seals the bytes of an object and appends them to a checkpoint.
    pub(super) fn append(&self, draft: &mut Layer, key: ObjectKey, bytes: &[u8]) -> io::Result<()> {
        let disk = self.native.disk();
        let (local, page) = (key::local(key), key.object);
        match key::kind(key) {
            Kind::Inode => match Inode::of(bytes) {
                Ok(inode) if inode.inode.get() == key.object => {
                    if inode.nlink.get() == 0 {
                        self.note_orphan(key.object, inode.generation.get());
                    }
                    draft.append(disk, key, Change::Meta { local }, &inode.sealed())
                }
                // Touched by somebody who then did not make an inode of it.
                Err(FormatError::Magic { found: 0, .. }) => Ok(()),
                other => {
                    tracing::error!(set = %key.set, object = key.object, ?other, "BUG: an inode object holds no inode of that number");
                    Err(io::Error::from_raw_os_error(nix::libc::EIO))
                }
            },
            Kind::Directory => {
                let mut sealed = *page_of(&mut bytes.to_vec())?;
                directory::seal(&mut sealed);
                draft.append(disk, key, Change::Page { local, page }, &sealed)
            }
            Kind::File => draft.append(disk, key, Change::Page { local, page }, bytes),
            Kind::Bitmap => {
                let mut sealed = *page_of(&mut bytes.to_vec())?;
                bitmap::seal(&mut sealed);
                self.taken.lock().note(key, &sealed);
                draft.append(disk, key, Change::Bitmap { page: key::bitmap_page(key) }, &sealed)
            }
            Kind::Commit | Kind::Cut | Kind::Other => Ok(()),
        }
    }
}

impl Layers {
    /// What is known of an object, and where its bytes are if they are here.
    fn find(&self, key: ObjectKey) -> (Known, Option<&Layer>) {
        for layer in std::iter::once(&self.draft).chain(self.sealed.as_deref()) {
            match layer.find(key) {
                Known::Nothing => {}
                known => return (known, Some(layer)),
            }
        }
        self.log.find(key)
    }

    /// Whether a layer has something to say about an object, so that its native bytes must not be touched.
    fn know(&self, key: ObjectKey) -> bool {
        self.find(key).0 != Known::Nothing
    }

    /// The draft is what the next commit is to commit.
    pub fn seal(&mut self) {
        let (path, is_first) = (self.draft.path(), self.draft.path().ends_with(paths::BATCH_NEW));
        let next = path.with_file_name(if is_first { paths::BATCH_NEXT } else { paths::BATCH_NEW });
        self.sealed = Some(Arc::new(std::mem::replace(&mut self.draft, Layer::new(next))));
    }

    /// What was sealed is draft again.
    pub fn unseal(&mut self, disk: &dyn Disk) -> io::Result<()> {
        if let Some(sealed) = &self.sealed {
            self.draft = sealed.followed_by(disk, &self.draft)?;
            self.sealed = None;
        }
        Ok(())
    }

    pub fn change_sealed(&mut self, change: impl FnOnce(&Layer) -> io::Result<Layer>) -> io::Result<()> {
        if let Some(sealed) = &mut self.sealed {
            *sealed = Arc::new(change(sealed)?);
        }
        Ok(())
    }

    /// What was sealed stands in the log now.
    pub fn committed(&mut self, path: PathBuf, begin: u64, durable: bool) {
        let Some(sealed) = self.sealed.take() else { return };
        self.number += 1;
        self.log.push(Arc::unwrap_or_clone(sealed).moved(path, begin));
        self.log.durable = durable;
        self.log.promised |= durable;
    }
}

fn page_of(bytes: &mut [u8]) -> io::Result<&mut [u8; PAGE_SIZE]> {
    bytes.try_into().map_err(|_| io::Error::other("BUG: a page object that is no page"))
}
