//! The room on the partition, as the cluster is told of it.

use super::device::Device;
use super::key;
use super::layer::is_full;
use kddm_object::ObjectKey;
use kdfs_format::bitmap::{BitmapPage, PAGES};
use kdfs_format::sets::{MAX_LOCAL_ID, bitmap_object};
use kdfs_format::{PAGE_SIZE, PartitionSpace};
use std::collections::BTreeMap;
use std::io;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

/// How many ids are taken, by page of the bitmap: counted once, then whenever a page is written.
#[derive(Debug, Default)]
pub(crate) struct Taken(BTreeMap<u32, u64>);

impl Taken {
    /// A page as it is on the way to the disk.
    pub fn note(&mut self, key: ObjectKey, page: &[u8]) {
        let taken = BitmapPage::of(page, key.object).ok().flatten().map(|page| page.taken().count() as u64);
        self.0.insert(key::bitmap_page(key), taken.unwrap_or(0));
    }

    fn count(&self) -> u64 {
        self.0.values().sum()
    }
}

/// Whether there was no room when it was needed last.
#[derive(Debug, Default)]
pub(crate) struct Full {
    commit: AtomicBool,
    settle: AtomicBool,
    looks: AtomicU32,
}

impl Full {
    pub fn note_commit<T>(&self, result: &io::Result<T>) {
        self.commit.store(result.as_ref().is_err_and(is_full), Ordering::Relaxed);
    }

    pub fn note_settle<T>(&self, result: &io::Result<T>) {
        self.settle.store(result.as_ref().is_err_and(is_full), Ordering::Relaxed);
    }

    fn is(&self) -> bool {
        self.commit.load(Ordering::Relaxed) || self.settle.load(Ordering::Relaxed)
    }
}

/// Bytes that an inode takes on the disk at least: its native directory and `.meta`, a block each.
const INODE_ROOM: u64 = 8 << 10;

impl Device {
    /// Counts the ids that are taken on the disk, up to the end of the bitmap there.
    pub fn count_taken(&self) -> io::Result<()> {
        let mut counts = BTreeMap::new();
        let mut bytes = [0; PAGE_SIZE];
        for page in 0..PAGES {
            if !self.native.read_bitmap(page, &mut bytes)? {
                break;
            }
            let bitmap = BitmapPage::of(&bytes, bitmap_object(self.native.node(), page)).ok().flatten();
            counts.insert(page, bitmap.map_or(0, |bitmap| bitmap.taken().count() as u64));
        }
        let mut taken = self.taken.lock();
        // What was written meanwhile is newer.
        counts.extend(std::mem::take(&mut taken.0));
        taken.0 = counts;
        Ok(())
    }

    /// The room there is. Who makes files heeds it: a checkpoint with more new ones than there is room for would hold up the
    /// removals that could make it.
    pub fn space(&self) -> io::Result<PartitionSpace> {
        let bytes = self.native.space()?;
        let files = u64::from(MAX_LOCAL_ID);
        let room = if self.full.is() { 0 } else { bytes.free / INODE_ROOM };
        let free = files.saturating_sub(self.taken.lock().count()).min(room);
        let mut space = PartitionSpace::new((bytes.total, bytes.free, bytes.available), (files, free));
        space.number = self.full.looks.fetch_add(1, Ordering::Relaxed).into();
        Ok(space)
    }
}
