//! What can be wrong with a directory that is to be opened: each has its own words.

use super::disk::{Image, MemoryDisk};
use super::world::*;
use crate::partition::{Partition, PartitionConfig, PartitionError};
use kddm_object::{Incarnation, NodeId};
use kddm_rdma::{Disk, LinuxHost};
use kdfs_format::{FormatError, INODE_SIZE, PAGE_SIZE, paths};
use std::sync::Arc;

fn superblock() -> std::path::PathBuf {
    root().join(paths::SUPERBLOCK)
}

#[track_caller]
fn assert_says(error: &PartitionError, words: &[&str]) {
    let text = error.to_string();
    for word in words {
        assert!(text.contains(word), "{word:?} is missing in: {text}");
    }
}

#[test]
fn a_partition_opens_counts_and_closes() {
    let disk = MemoryDisk::new(formatted());
    let first = open(&disk).unwrap();
    assert_eq!((first.root(), Some(first.incarnation())), (0x0100_0001, Incarnation::of_start(1)));
    first.close().unwrap();
    let before = disk.moment();
    let second = open(&disk).unwrap();
    assert_eq!(Some(second.incarnation()), Incarnation::of_start(2));
    let looked = disk.steps()[before..].len();
    assert!(looked < 6, "a clean partition was looked through: {looked} steps");
    assert_eq!(read_inode(&second, 1).unwrap().mode.get(), 0o040755);
    assert!(read_inode(&second, 2).is_none());
    let space = second.space().unwrap();
    assert_eq!(space.files.get() - space.files_free.get(), 1);
}

#[test]
fn unformatted_and_missing_directories_are_told_apart() {
    let empty = MemoryDisk::new(Image::with_directory(&root()));
    let error = open(&empty).err().unwrap();
    assert!(matches!(error, PartitionError::Unformatted { .. }));
    assert_says(&error, &["/part", "mkfs.kdfs"]);
    let nothing = MemoryDisk::new(Image::with_directory(std::path::Path::new("/elsewhere")));
    assert!(matches!(open(&nothing).err().unwrap(), PartitionError::NoDirectory { .. }));
}

#[test]
fn foreign_damaged_and_newer_superblocks_are_told_apart() {
    let disk = MemoryDisk::new(formatted());
    disk.write_at(&superblock(), 100, b"x").unwrap();
    let error = open(&disk).err().unwrap();
    assert!(matches!(error, PartitionError::Superblock { error: FormatError::Checksum { .. }, .. }));
    assert_says(&error, &["/part", "damaged", "backup"]);

    let disk = MemoryDisk::new(formatted());
    disk.write_at(&superblock(), 8, &[2]).unwrap();
    let error = open(&disk).err().unwrap();
    assert!(matches!(error, PartitionError::Superblock { error: FormatError::Version { .. }, .. }));
    assert_says(&error, &["version 2", "knows 1"]);

    let disk = MemoryDisk::new(formatted());
    disk.write_at(&superblock(), 0, b"somebody's file").unwrap();
    let error = open(&disk).err().unwrap();
    assert!(matches!(error, PartitionError::Superblock { error: FormatError::Magic { .. }, .. }));

    disk.set_length(&superblock(), 17).unwrap();
    let error = open(&disk).err().unwrap();
    assert!(matches!(error, PartitionError::Superblock { error: FormatError::Length { .. }, .. }));
}

#[test]
fn another_node_root_or_cluster_is_refused() {
    let disk = MemoryDisk::new(formatted());
    let before = disk.image().contents();
    let open = |config: &PartitionConfig| {
        Partition::open(Arc::new(World { disk: disk.clone() }), config).err().unwrap()
    };
    let error = open(&PartitionConfig { node: NodeId::new(2).unwrap(), ..config() });
    assert!(matches!(error, PartitionError::Node { expected: 2, found: 1, .. }));
    assert_says(&error, &["node 1", "node 2"]);
    let error = open(&PartitionConfig { root: Some(0x0200_0001), ..config() });
    assert!(matches!(error, PartitionError::Root { .. }));
    assert_says(&error, &["0x01000001", "0x02000001", "mkfs.kdfs --force /part 2"]);
    assert_eq!(disk.image().contents(), before, "a refused partition was changed");
}

#[test]
fn a_second_server_is_refused() {
    let disk = MemoryDisk::new(formatted());
    let first = open(&disk).unwrap();
    let error = open(&disk).err().unwrap();
    assert!(matches!(error, PartitionError::InUse { .. }));
    assert_says(&error, &["another server", "kddm status"]);
    first.close().unwrap();
    open(&disk).unwrap();
}

#[test]
fn a_second_server_is_refused_on_a_real_disk() {
    let directory = tempfile::tempdir().unwrap();
    let host = LinuxHost::start(1).unwrap();
    format(kddm_rdma::Host::disk(&*host), directory.path());
    let config = PartitionConfig { directory: directory.path().to_owned(), ..config() };
    let first = Partition::open(host.clone(), &config).unwrap();
    let other = LinuxHost::start(1).unwrap();
    assert!(matches!(Partition::open(other, &config).err().unwrap(), PartitionError::InUse { .. }));
    first.close().unwrap();
    Partition::open(host, &config).unwrap();
}

#[test]
fn one_damaged_inode_harms_no_other() {
    let disk = MemoryDisk::new(formatted());
    let partition = open(&disk).unwrap();
    for local in [2, 3] {
        partition.device.sync(inode_key(local), file(local, 5, 0).bytes()).unwrap();
    }
    partition.device.seal(std::iter::empty(), &Default::default(), || true).unwrap();
    partition.device.commit(false).unwrap();
    partition.device.settle().unwrap();
    partition.close().unwrap();
    disk.write_at(&root().join(paths::meta(2)), 30, b"?").unwrap();

    let partition = open(&disk).unwrap();
    let mut bytes = [0; INODE_SIZE];
    let error = partition.device.insert(inode_key(2), &mut bytes).unwrap_err();
    assert_eq!(error.raw_os_error(), Some(nix::libc::EIO));
    assert_eq!(read_inode(&partition, 3).unwrap().generation.get(), 5);
    drop(partition);
    // An unclean end: the damaged inode keeps its files and its id.
    let disk = MemoryDisk::new(disk.image());
    let partition = open(&disk).unwrap();
    assert!(disk.exists(&root().join(paths::meta(2))).unwrap());
    let mut page = [0; PAGE_SIZE];
    partition.device.insert(bitmap_key(), &mut page).unwrap();
    let bitmap = kdfs_format::bitmap::BitmapPage::of(&page, bitmap_key().object).unwrap().unwrap();
    assert_eq!(bitmap.taken().collect::<Vec<_>>(), [1, 2, 3]);
}

#[test]
fn an_incomplete_checkpoint_is_ignored() {
    let disk = MemoryDisk::new(formatted());
    drop(open(&disk).unwrap());
    for (name, bytes) in [(paths::BATCH_NEW, &b"half"[..]), (paths::BATCH, &[7; 500][..])] {
        disk.write_at(&root().join(name), 0, bytes).unwrap();
    }
    let disk = MemoryDisk::new(disk.image());
    open(&disk).unwrap();
    assert!(!disk.exists(&root().join(paths::BATCH)).unwrap());
    assert!(!disk.exists(&root().join(paths::BATCH_NEW)).unwrap());
}
