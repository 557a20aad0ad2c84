//! A host that has a disk in memory and nothing else, and partitions on it.

use super::disk::{Image, MemoryDisk};
use crate::partition::{Partition, PartitionConfig, PartitionError};
use kddm_object::{NodeId, ObjectKey, SetId};
use kddm_rdma::{BoxFuture, Disk, Host, Job};
use kdfs_format::bitmap::{self, BitmapPage};
use kdfs_format::sets::{self, ROOT_LOCAL_ID, bitmap_object};
use kdfs_format::{FileType, INODE_SIZE, Inode, PAGE_SIZE, Superblock, Timestamp, paths};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

pub const NODE: u8 = 1;

pub struct World {
    pub disk: MemoryDisk,
}

impl Host for World {
    fn now(&self) -> Duration {
        Duration::ZERO
    }
    fn wall(&self) -> Duration {
        Duration::ZERO
    }
    fn random(&self) -> u64 {
        4
    }
    fn spawn(&self, _task: BoxFuture<'static, ()>) {
        panic!("nothing is spawned in these tests")
    }
    fn run_blocking(&self, job: Job) {
        job();
    }
    fn sleep(&self, _time: Duration) -> BoxFuture<'static, ()> {
        Box::pin(std::future::pending())
    }
    fn disk(&self) -> &dyn Disk {
        &self.disk
    }
    fn spawn_thread(&self, _name: &str, _body: Job) {
        panic!("no thread is started in these tests")
    }
}

pub fn root() -> PathBuf {
    PathBuf::from("/part")
}

/// What mkfs.kdfs leaves on the root's node.
pub fn formatted() -> Image {
    let disk = MemoryDisk::new(Image::with_directory(&root()));
    format(&disk, &root());
    disk.sync_all(&root()).unwrap();
    disk.image()
}

pub fn format(disk: &dyn Disk, directory: &Path) {
    let superblock = Superblock::new(NODE, NODE, [9; 16], Timestamp::default()).unwrap();
    let path = directory.join(paths::SUPERBLOCK);
    disk.write_at(&path, 0, &superblock.sealed()).unwrap();
    let mut page = [0; PAGE_SIZE];
    BitmapPage::of_mut(&mut page, bitmap_object(NODE, 0)).unwrap().take(ROOT_LOCAL_ID);
    bitmap::seal(&mut page);
    disk.write_at(&path, PAGE_SIZE as u64, &page).unwrap();
    disk.create_directory(&directory.join("0-99")).unwrap();
    disk.create_directory(&directory.join("0-99/1")).unwrap();
    let root = Inode::root(NODE, Timestamp::default()).unwrap();
    disk.write_at(&directory.join(paths::meta(1)), 0, &root.sealed()).unwrap();
    disk.write_at(&directory.join(paths::content(1)), 0, &[]).unwrap();
}

pub fn config() -> PartitionConfig {
    let node = NodeId::new(NODE).unwrap();
    PartitionConfig { directory: root(), node, root: None, cluster: None }
}

pub fn open(disk: &MemoryDisk) -> Result<Arc<Partition>, PartitionError> {
    Partition::open(Arc::new(World { disk: disk.clone() }), &config())
}

pub fn inode_key(local: u32) -> ObjectKey {
    ObjectKey::new(SetId(sets::INODE_SET), number(local))
}

pub fn file_key(local: u32, generation: u32, page: u32) -> ObjectKey {
    ObjectKey::new(SetId(sets::file_set(number(local), generation)), page)
}

pub fn root_page_key() -> ObjectKey {
    ObjectKey::new(SetId(sets::dir_set(number(ROOT_LOCAL_ID), sets::ROOT_GENERATION)), 1)
}

pub fn bitmap_key() -> ObjectKey {
    ObjectKey::new(SetId(sets::BITMAP_SET), bitmap_object(NODE, 0))
}

pub fn number(local: u32) -> u32 {
    sets::inode_number(NODE, local).unwrap()
}

/// A regular file of `pages` pages.
pub fn file(local: u32, generation: u32, pages: u32) -> Inode {
    let mut inode =
        Inode::new(number(local), generation, FileType::Regular.bits() | 0o644, Timestamp::default());
    inode.size = (u64::from(pages) * PAGE_SIZE as u64).into();
    inode.written_pages = pages.into();
    inode
}

/// The inode in an object's bytes, as the device gives them.
pub fn read_inode(partition: &Partition, local: u32) -> Option<Inode> {
    let mut bytes = [0; INODE_SIZE];
    match partition.device.insert(inode_key(local), &mut bytes).unwrap() {
        kddm_rdma::Inserted::Filled => Some(Inode::of(&bytes).unwrap().clone()),
        kddm_rdma::Inserted::Absent => None,
    }
}
