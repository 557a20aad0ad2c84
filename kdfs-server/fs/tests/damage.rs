//! Partitions with damage, or that do not fit together after a crash: errors, never a panic, and never a loop.

mod cluster;

use cluster::partition::Partition;
use cluster::{Cluster, ROOT};
use kddm_rdma::{ObjectKey, SetId};
use kdfs_format::{PAGE_SIZE, sets};
use kdfs_fs::{Access, Changes, Errno, FileId, RenameMode};
use std::sync::Arc;

const FILE: u32 = 0o100644;

/// A cluster of two with `/d/f` on node 2, written to its partitions and ended.
fn prepared() -> (Vec<Arc<Partition>>, FileId, FileId) {
    let cluster = Cluster::new(2);
    let (directory, file) = cluster.run(10, async {
        let fs = cluster.node(2);
        let directory = fs.mkdir(&ROOT, cluster.root(), b"d", 0o755).await.unwrap().file;
        let file = fs.mknod(&ROOT, directory, b"f", FILE, 0).await.unwrap().file;
        fs.write(&ROOT, file, 0, &[1; 10_000]).await.unwrap();
        (directory, file)
    });
    cluster.write_back();
    (cluster.partitions.clone(), directory, file)
}

fn again(partitions: Vec<Arc<Partition>>) -> Cluster {
    Cluster::start(partitions, 16 << 20, Some)
}

#[test]
fn a_damaged_inode_is_an_error() {
    let (partitions, directory, file) = prepared();
    let mut bytes = partitions[1].objects.lock()[&ObjectKey::new(SetId(sets::INODE_SET), file.inode)].clone();
    bytes[0] ^= 1;
    partitions[1].put(sets::INODE_SET, file.inode, bytes);
    let cluster = again(partitions);
    cluster.run(10, async {
        for fs in &cluster.nodes {
            assert_eq!(fs.getattr(file).await, Err(Errno::EIO));
            assert_eq!(fs.lookup(&ROOT, directory, b"f").await, Err(Errno::EIO));
            assert_eq!(fs.unlink(&ROOT, directory, b"f").await, Err(Errno::EIO));
            assert_eq!(fs.write(&ROOT, file, 0, b"x").await, Err(Errno::EIO));
            let listed = fs.readdir_plus(directory, 2, 9).await.unwrap();
            let shown: Vec<_> = listed.iter().map(|entry| (&entry.name[..], entry.attributes)).collect();
            assert_eq!(shown, [(&b"f"[..], None)]);
        }
    });
}

#[test]
fn a_damaged_directory_page_is_an_error() {
    let (partitions, directory, file) = prepared();
    let set = sets::dir_set(directory.inode, directory.generation);
    // Every byte that matters of the header and the one entry, one after the other.
    let good = partitions[1].objects.lock()[&ObjectKey::new(SetId(set), 1)].clone();
    let mut refused = 0;
    for place in 0..52 {
        let mut bytes = good.clone();
        bytes[place] ^= 0x41;
        partitions[1].put(set, 1, bytes);
        let cluster = again(partitions.clone());
        cluster.run(10, async {
            for fs in &cluster.nodes {
                let found = fs.lookup(&ROOT, directory, b"f").await;
                refused += usize::from(found == Err(Errno::EIO));
                let listed = fs.readdir(directory, 0, 10).await;
                assert!(listed.is_ok() || listed == Err(Errno::EIO), "byte {place}: {listed:?}");
                if listed == Err(Errno::EIO) {
                    assert_eq!(found, Err(Errno::EIO));
                    assert_eq!(
                        fs.mknod(&ROOT, directory, b"g", FILE, 0).await,
                        Err(Errno::EIO),
                        "byte {place}"
                    );
                    assert_eq!(fs.unlink(&ROOT, directory, b"f").await, Err(Errno::EIO));
                    let to = (cluster.root(), &b"g"[..]);
                    let moved = fs.rename(&ROOT, (directory, b"f"), to, RenameMode::Replace).await;
                    assert_eq!(moved, Err(Errno::EIO));
                }
            }
        });
    }
    assert!(refused > 40, "{refused}");
    partitions[1].put(set, 1, good);
    let cluster = again(partitions);
    cluster.run(10, async {
        assert_eq!(cluster.node(1).lookup(&ROOT, directory, b"f").await.unwrap().file, file);
    });
}

/// The number of a creation that failed is free again.
#[test]
fn a_damaged_bitmap_and_a_failed_creation_cost_no_number() {
    let (partitions, directory, _) = prepared();
    let taken = partitions[1].taken();
    let set = sets::dir_set(directory.inode, directory.generation);
    partitions[1].put(set, 1, vec![9; PAGE_SIZE]);
    let cluster = again(partitions.clone());
    cluster.run(10, async {
        assert_eq!(cluster.node(2).mknod(&ROOT, directory, b"g", FILE, 0).await, Err(Errno::EIO));
    });
    cluster.write_back();
    drop(cluster);
    assert_eq!(partitions[1].taken(), taken);
    partitions[1].put(sets::BITMAP_SET, sets::bitmap_object(2, 0), vec![9; PAGE_SIZE]);
    let cluster = again(partitions);
    cluster.run(10, async {
        assert_eq!(cluster.node(2).mkdir(&ROOT, cluster.root(), b"g", 0o755).await, Err(Errno::EIO));
        assert!(cluster.node(1).mkdir(&ROOT, cluster.root(), b"g", 0o755).await.is_ok());
    });
}

/// Node 2 has lost a directory whose name lies on node 1: the name goes when somebody meets it.
#[test]
fn a_name_without_an_inode_is_forgotten() {
    let (partitions, directory, file) = prepared();
    partitions[1].objects.lock().remove(&ObjectKey::new(SetId(sets::INODE_SET), directory.inode));
    for how in 0..4 {
        let copies = partitions.iter().map(|partition| {
            let copy = Partition::default();
            copy.objects.lock().clone_from(&*partition.objects.lock());
            Arc::new(copy)
        });
        let cluster = again(copies.collect());
        cluster.run(10, async {
            let (fs, root) = (cluster.node(1), cluster.root());
            assert_eq!(fs.getattr(root).await.unwrap().nlink, 3);
            match how {
                0 => assert_eq!(fs.lookup(&ROOT, root, b"d").await, Err(Errno::ENOENT)),
                1 => assert_eq!(fs.rmdir(&ROOT, root, b"d").await, Err(Errno::ENOENT)),
                2 => {
                    fs.mkdir(&ROOT, root, b"d", 0o755).await.unwrap();
                    fs.rmdir(&ROOT, root, b"d").await.unwrap();
                }
                _ => {
                    let other = fs.mkdir(&ROOT, root, b"e", 0o755).await.unwrap().file;
                    let moved = fs.rename(&ROOT, (root, b"e"), (root, b"d"), RenameMode::NoReplace).await;
                    assert_eq!(moved, Ok(()));
                    assert_eq!(fs.lookup(&ROOT, root, b"d").await.unwrap().file, other);
                    fs.rmdir(&ROOT, root, b"d").await.unwrap();
                }
            }
            assert_eq!(fs.getattr(root).await.unwrap().nlink, 2);
            assert_eq!(fs.readdir(root, 2, 10).await, Ok(Vec::new()));
        });
    }
    // And what is inside a directory that is lost is not.
    let cluster = again(partitions);
    cluster.run(10, async {
        assert_eq!(cluster.node(1).open(&ROOT, directory, Access::READ).await, Err(Errno::ESTALE));
        assert_eq!(cluster.node(1).getattr(file).await.unwrap().size, 10_000);
    });
}

/// A full or broken disk: what cannot be kept is refused when it is asked to be, and nothing is lost from memory.
#[test]
fn a_broken_disk_is_told() {
    let (partitions, _, file) = prepared();
    let cluster = again(partitions.clone());
    partitions[1].broken.store(nix::libc::ENOSPC, std::sync::atomic::Ordering::Relaxed);
    cluster.run(10, async {
        let fs = cluster.node(1);
        fs.write(&ROOT, file, 0, b"kept").await.unwrap();
        let key = ObjectKey::new(SetId(sets::INODE_SET), file.inode);
        assert_eq!(fs.node().sync(key).await, Err(kddm_rdma::OpError::Device(nix::libc::ENOSPC)));
        let mut bytes = [0; 4];
        assert_eq!(cluster.node(2).read(file, 0, &mut bytes).await, Ok(4));
        assert_eq!(&bytes, b"kept");
        let stretched = Changes { size: Some(20_000), ..Changes::default() };
        assert_eq!(fs.setattr(&ROOT, file, stretched).await.unwrap().size, 20_000);
    });
    partitions[1].broken.store(0, std::sync::atomic::Ordering::Relaxed);
}
