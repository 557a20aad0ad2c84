//! A partition in memory.

use futures_lite::future::block_on;
use kddm_rdma::{Inserted, IoLinker, Node, ObjectKey, SetId};
use kdfs_format::bitmap::BitmapPage;
use kdfs_format::{Inode, PAGE_SIZE, Timestamp, sets};
use kdfs_fs::FileId;
use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::io;
use std::sync::atomic::{AtomicI32, AtomicU64, Ordering};

#[derive(Default)]
pub struct Partition {
    pub objects: Mutex<BTreeMap<ObjectKey, Vec<u8>>>,
    /// Requests for durability.
    pub commits: AtomicU64,
    /// The errno of every write, or 0.
    pub broken: AtomicI32,
    /// Removals of single objects.
    pub removals: AtomicU64,
    /// The node that it belongs to, in the life that it has.
    pub node: Mutex<Option<Node>>,
}

impl Partition {
    /// The partition of node `id`; that of node 1 has the root directory.
    pub fn format(id: u8) -> Partition {
        let partition = Partition::default();
        if id == 1 {
            let root = Inode::root(id, Timestamp::new(1, 0)).unwrap();
            let mut page = vec![0; PAGE_SIZE];
            let object = sets::bitmap_object(id, 0);
            BitmapPage::of_mut(&mut page, object).unwrap().take(sets::ROOT_LOCAL_ID).unwrap();
            partition.put(sets::INODE_SET, root.inode.get(), root.bytes().to_vec());
            partition.put(sets::BITMAP_SET, object, page);
        }
        partition
    }

    pub fn put(&self, set: u64, object: u32, bytes: Vec<u8>) {
        self.objects.lock().insert(ObjectKey::new(SetId(set), object), bytes);
    }

    /// The inodes that were written back.
    pub fn inodes(&self) -> Vec<FileId> {
        let objects = self.objects.lock();
        let of_inodes = objects.iter().filter(|(key, _)| key.set == SetId(sets::INODE_SET));
        let inodes = of_inodes.filter_map(|(_, bytes)| Inode::of(bytes).ok());
        let id = |inode: &Inode| FileId { inode: inode.inode.get(), generation: inode.generation.get() };
        inodes.map(id).collect()
    }

    /// The inode numbers that are taken, as written back.
    pub fn taken(&self) -> u32 {
        let objects = self.objects.lock();
        let pages = objects.iter().filter(|(key, _)| key.set == SetId(sets::BITMAP_SET));
        let bitmaps = pages.filter_map(|(key, bytes)| BitmapPage::of(bytes, key.object).unwrap());
        bitmaps.map(|bitmap| bitmap.taken().count() as u32).sum()
    }

    /// Objects of one kind.
    pub fn count(&self, kind: u8) -> usize {
        self.objects.lock().keys().filter(|key| key.set.kind() == kind).count()
    }
}

impl IoLinker for Partition {
    fn waits_for_others(&self, key: ObjectKey) -> bool {
        key.set.kind() == sets::KIND_CUT
    }

    fn insert_object(&self, key: ObjectKey, bytes: &mut [u8]) -> io::Result<Inserted> {
        if key.set.kind() == sets::KIND_COMMIT {
            self.commits.fetch_add(1, Ordering::Relaxed);
        }
        if let (sets::KIND_CUT, Some(node)) = (key.set.kind(), self.node.lock().clone()) {
            let (first, count) = sets::cut_pages(key.object).unwrap();
            let file = FileId { inode: key.set.subject(), generation: key.set.generation() };
            let pages = first..=(u64::from(first) + count - 1) as u32;
            block_on(kdfs_fs::remove_known(&node, file, pages))?;
            bytes.fill(1);
            return Ok(Inserted::Filled);
        }
        let objects = self.objects.lock();
        let Some(stored) = objects.get(&key) else { return Ok(Inserted::Absent) };
        bytes.copy_from_slice(stored);
        Ok(Inserted::Filled)
    }

    fn sync_object(&self, key: ObjectKey, bytes: &[u8]) -> io::Result<()> {
        match self.broken.load(Ordering::Relaxed) {
            0 => {
                self.objects.lock().insert(key, bytes.to_vec());
                Ok(())
            }
            errno => Err(io::Error::from_raw_os_error(errno)),
        }
    }

    fn remove_object(&self, key: ObjectKey) -> io::Result<()> {
        self.removals.fetch_add(1, Ordering::Relaxed);
        let is_file = key.set.kind() == sets::KIND_FILE;
        // With a page of a file go all behind it.
        let goes = |other: &ObjectKey| other.set == key.set && is_file && other.object > key.object;
        self.objects.lock().retain(|other, _| *other != key && !goes(other));
        Ok(())
    }
}
