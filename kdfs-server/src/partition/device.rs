//! The partition as a device for objects: the native files, and over them the changes that they do not have yet.
//!
//! ```text
//! draft      what came since the last checkpoint began         uncommitted
//! applying   a committed checkpoint on its way to the files    there after a crash
//! native     .meta, .content, ...
//! ```
//!
//! Pages of files go straight to `.content`, unless a layer says that the old bytes there must survive until a
//! truncation or removal has been committed. No call here waits for anybody's hold, so linkers may make them.

use super::apply::{apply, forget};
use super::key::{self, Kind};
use super::layer::{Known, Layer, is_full};
use super::native::Native;
use kddm_object::{ObjectKey, SetId};
use kddm_rdma::Inserted;
use kdfs_format::batch::Change;
use kdfs_format::bitmap::{BitmapPage, PAGES};
use kdfs_format::directory::{self, PageId};
use kdfs_format::sets::INODE_SET;
use kdfs_format::{FormatError, INODE_SIZE, Inode, PAGE_SIZE, bitmap, paths};
use parking_lot::Mutex;
use std::collections::{BTreeMap, HashMap};
use std::io;

/// The device under the objects of a partition.
pub(crate) struct Device {
    pub native: Native,
    partition: [u8; 16],
    /// Which server of this partition this is, counted from its formatting.
    life: u32,
    layers: Mutex<Layers>,
    orphans: Mutex<Orphans>,
}

struct Layers {
    draft: Layer,
    applying: Option<Layer>,
    /// Of the last committed checkpoint.
    number: u64,
}

/// Files for whose bytes there is no room, by inode number; the first page that could not be written.
pub(crate) type Short = BTreeMap<u32, u32>;

/// Inodes by key.
type Whole = BTreeMap<ObjectKey, [u8; INODE_SIZE]>;

/// Inodes without names, by number; their generations.
#[derive(Default)]
struct Orphans {
    known: HashMap<u32, u32>,
    untold: Vec<(u32, u32)>,
}

impl Device {
    pub fn new(native: Native, partition: [u8; 16], life: u32, number: u64) -> Device {
        let layers = Layers { draft: Layer::new(native.root()), applying: None, number };
        Device { native, partition, life, layers: Mutex::new(layers), orphans: Mutex::default() }
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
        self.native.write_content(key::local(key), key.object, bytes)
    }

    /// As [`Device::sync`], for neighbouring pages of a file from `first` on.
    pub fn sync_pages(&self, first: ObjectKey, bytes: &[u8]) -> io::Result<()> {
        let keys = || (0..).map(|index| ObjectKey::new(first.set, first.object + index));
        let _direct = self.native.direct.read();
        let mut layers = self.layers.lock();
        let pages = || keys().zip(bytes.chunks(PAGE_SIZE));
        if !pages().any(|(key, _)| layers.know(key)) {
            drop(layers);
            return self.native.write_content(key::local(first), first.object, bytes);
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

    /// Makes durable what was taken so far, as far as it can be before anything is held for a checkpoint.
    pub fn prepare(&self) -> io::Result<()> {
        self.finish_applying(true)?;
        self.native.make_durable()?;
        match self.layers.lock().draft.prepare(self.native.disk()) {
            // The commit has ways to do with less room.
            Err(error) if is_full(&error) => Ok(()),
            result => result,
        }
    }

    /// Commits everything that was taken so far and `held`. `is_complete` says, while nothing else can be taken,
    /// whether these are all the objects that changed: if not, nothing is done, and the answer is false. On an error
    /// everything stays as it was, to be tried again. [`Device::settle`] is to follow.
    ///
    /// Files that are `short` are committed without the bytes that they lack; their whole inodes wait for the next
    /// checkpoint.
    pub fn commit<'a>(
        &self,
        held: impl Iterator<Item = (ObjectKey, &'a [u8])>,
        short: &Short,
        durable: bool,
        is_complete: impl FnOnce() -> bool,
    ) -> io::Result<bool> {
        self.finish_applying(durable)?;
        if durable {
            // Bytes of files before the attributes that let them be seen.
            self.native.make_durable()?;
        }
        let mut layers = self.layers.lock();
        if !is_complete() {
            return Ok(false);
        }
        let mut held = held.peekable();
        let mut whole = Whole::new();
        let mut attempt = |layers: &mut Layers, short: &Short| {
            while let Some(&(key, bytes)) = held.peek() {
                self.append(&mut layers.draft, key, bytes)?;
                held.next();
            }
            self.shorten(&mut layers.draft, short, &mut whole)?;
            match layers.draft.is_empty() {
                false => layers.commit(&self.native, self.partition, durable),
                true if durable => self.native.bury_old_checkpoint(),
                true => Ok(()),
            }
        };
        let disk = self.native.disk();
        let mut result = attempt(&mut layers, short);
        let mut waiting = None;
        if result.as_ref().is_err_and(is_full) {
            layers.draft = layers.draft.compacted(disk)?;
            result = attempt(&mut layers, short);
        }
        if result.as_ref().is_err_and(is_full) {
            // Bytes of files come later: what this checkpoint frees may make room for them.
            let (draft, pages) = layers.draft.without_pages(disk)?;
            layers.draft = draft;
            let mut short = short.clone();
            for page in pages.keys() {
                let first = short.entry(key::inode(page)).or_insert(page.object);
                *first = page.object.min(*first);
            }
            result = attempt(&mut layers, &short);
            if result.as_ref().is_err_and(is_full) && self.native.give_up_reserve(layers.draft.length())? {
                result = attempt(&mut layers, &short);
            }
            waiting = Some(pages);
        }
        for (key, bytes) in whole {
            self.append(&mut layers.draft, key, &bytes)?;
        }
        let Some(pages) = waiting.filter(|pages| !pages.is_empty()) else { return result.map(|()| true) };
        layers.draft.absorb(disk, &pages)?;
        result.and(Err(io::Error::from_raw_os_error(nix::libc::ENOSPC)))
    }

    /// Takes from the files in a checkpoint the ends that were not written, so that attributes never run ahead of
    /// bytes; but nothing that was committed before. `whole`: their inodes as they were.
    fn shorten(&self, draft: &mut Layer, short: &Short, whole: &mut Whole) -> io::Result<()> {
        for (&number, &first) in short {
            let key = ObjectKey::new(SetId(INODE_SET), number);
            let Known::Here(place) = draft.find(key) else { continue };
            let mut bytes = [0; INODE_SIZE];
            draft.read(self.native.disk(), place, &mut bytes)?;
            self.verify(key, &mut bytes, true)?;
            let mut inode = Inode::of(&bytes).map_err(io::Error::other)?.clone();
            let before = self.native.read_meta(key::local(key))?;
            let written = before.filter(|before| before.generation == inode.generation);
            let written = written.map_or(0, |before| before.written_pages.get());
            let end = first.max(written.min(draft.first_cut(key::local(key))));
            inode.written_pages = inode.written_pages.get().min(end).into();
            inode.size = inode.size.get().min(u64::from(end) * PAGE_SIZE as u64).into();
            whole.entry(key).or_insert(bytes);
            self.append(draft, key, inode.bytes())?;
        }
        Ok(())
    }

    /// Brings what was committed to the native files; `durable`: and makes everything written so far durable.
    pub fn settle(&self, durable: bool) -> io::Result<()> {
        self.finish_applying(durable)?;
        if durable { self.native.make_durable() } else { Ok(()) }
    }

    /// Applies a committed checkpoint; also one for which that failed earlier.
    fn finish_applying(&self, durable: bool) -> io::Result<()> {
        let waiting = self.layers.lock().applying.as_ref().map(|layer| (layer.length(), layer.is_durable()));
        if let Some((length, was_durable)) = waiting {
            // What was promised stays promised, whoever finishes it.
            let durable = durable || was_durable;
            // Writes that began before this checkpoint knew of a removal must not come after it.
            drop(self.native.direct.write());
            apply(&self.native, length, durable)?;
            let mut layers = self.layers.lock();
            // Nobody may read what is applied from a file that is gone.
            forget(&self.native)?;
            layers.applying = None;
        }
        Ok(())
    }

    /// Whether a checkpoint would have nothing to do but for what is dirty in memory.
    pub fn is_settled(&self, durable: bool) -> bool {
        let layers = self.layers.lock();
        layers.draft.is_empty() && layers.applying.is_none() && (!durable || self.native.is_durable())
    }

    /// Whether the next checkpoint will have attributes of this inode.
    pub fn has_taken(&self, inode: u32) -> bool {
        let key = ObjectKey::new(SetId(INODE_SET), inode);
        matches!(self.layers.lock().draft.find(key), Known::Here(_))
    }

    /// Bytes that wait for the next checkpoint.
    pub fn pending(&self) -> u64 {
        self.layers.lock().draft.length()
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
        for layer in std::iter::once(&layers.draft).chain(&layers.applying) {
            let known = layer.find(key);
            if let Known::Here(place) = known {
                layer.read(self.native.disk(), place, into)?;
            }
            if known != Known::Nothing {
                return Ok(known);
            }
        }
        Ok(Known::Nothing)
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
    fn append(&self, draft: &mut Layer, key: ObjectKey, bytes: &[u8]) -> io::Result<()> {
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
                    tracing::error!(%key, ?other, "BUG: an inode object holds no inode of that number");
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
                draft.append(disk, key, Change::Bitmap { page: key::bitmap_page(key) }, &sealed)
            }
            Kind::Commit | Kind::Other => Ok(()),
        }
    }
}

impl Layers {
    /// Whether a layer has something to say about an object, so that its native bytes must not be touched.
    fn know(&self, key: ObjectKey) -> bool {
        let knows = |layer: &Layer| layer.find(key) != Known::Nothing;
        knows(&self.draft) || self.applying.as_ref().is_some_and(knows)
    }

    fn commit(&mut self, native: &Native, partition: [u8; 16], durable: bool) -> io::Result<()> {
        let number = self.number + 1;
        let result = self.draft.commit(native.disk(), partition, number, durable);
        if durable && result.is_ok() {
            // It has taken the place of the old one.
            native.note_old_checkpoint(false);
        }
        if self.draft.is_committed() {
            self.number = number;
            self.applying = Some(std::mem::replace(&mut self.draft, Layer::new(native.root())));
        }
        result
    }
}

fn page_of(bytes: &mut [u8]) -> io::Result<&mut [u8; PAGE_SIZE]> {
    bytes.try_into().map_err(|_| io::Error::other("BUG: a page object that is no page"))
}
