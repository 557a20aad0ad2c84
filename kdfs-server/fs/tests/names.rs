//! Names are found by what is remembered of them, apart from their directories; and whatever changes is seen at once.

mod cluster;

use cluster::{Cluster, ROOT, USER};
use kdfs_fs::{Changes, Errno, FileId, FileSystem, RenameMode};

const FILE: u32 = 0o100644;

/// Changes the directory, so that all others lose their copies of it.
async fn disturb(fs: &FileSystem, directory: FileId, number: u32) {
    let name = format!("other {number}");
    fs.mknod(&ROOT, directory, name.as_bytes(), FILE, 0).await.unwrap();
    if number.is_multiple_of(2) {
        fs.unlink(&ROOT, directory, name.as_bytes()).await.unwrap();
    }
}

async fn look(fs: &FileSystem, directory: FileId, name: &[u8]) -> Result<FileId, Errno> {
    fs.lookup(&USER, directory, name).await.map(|found| found.file)
}

/// A directory of node 1 in which node 2 remembers "there", "absent" and "link".
async fn remembered(cluster: &Cluster) -> (FileId, FileId) {
    let (one, two) = (cluster.node(1), cluster.node(2));
    let directory = one.mkdir(&ROOT, cluster.root(), b"directory", 0o755).await.unwrap().file;
    let there = one.mknod(&ROOT, directory, b"there", FILE, 0).await.unwrap().file;
    for number in 0..4 {
        disturb(one, directory, number).await;
        assert_eq!(look(two, directory, b"there").await, Ok(there));
        disturb(one, directory, 100 + number).await;
        assert_eq!(look(two, directory, b"absent").await, Err(Errno::ENOENT));
    }
    (directory, there)
}

fn sent(fs: &FileSystem) -> u64 {
    fs.node().status().fabric.messages_sent
}

#[test]
fn names_that_stay_as_they_are_cost_no_message_whatever_else_changes() {
    let cluster = Cluster::new(2);
    cluster.run(20, async {
        let (one, two) = (cluster.node(1), cluster.node(2));
        let (directory, there) = remembered(&cluster).await;
        for number in 200..260 {
            disturb(one, directory, number).await;
            // What others changed took this node's copies; the answers to that are all it has sent.
            let before = sent(two);
            assert_eq!(look(two, directory, b"there").await, Ok(there));
            assert_eq!(look(two, directory, b"absent").await, Err(Errno::ENOENT));
            assert_eq!(sent(two), before, "round {number}");
        }
    });
}

#[test]
fn a_change_of_a_remembered_name_is_seen_at_once() {
    let cluster = Cluster::new(3);
    cluster.run(20, async {
        let (directory, there) = remembered(&cluster).await;
        let two = cluster.node(2);
        // Changes come from the home of the directory, and from another node.
        for (changer, round) in [1, 3, 1, 3].into_iter().zip(300..) {
            let fs = cluster.node(changer);
            let made = fs.mknod(&ROOT, directory, b"absent", FILE, 0).await.unwrap().file;
            assert_eq!(look(two, directory, b"absent").await, Ok(made));
            disturb(fs, directory, round).await;
            fs.rename(&ROOT, (directory, b"there"), (directory, b"absent"), RenameMode::Exchange)
                .await
                .unwrap();
            assert_eq!(look(two, directory, b"there").await, Ok(made));
            assert_eq!(look(two, directory, b"absent").await, Ok(there));
            disturb(fs, directory, round + 10).await;
            fs.rename(&ROOT, (directory, b"absent"), (directory, b"there"), RenameMode::Replace)
                .await
                .unwrap();
            assert_eq!(look(two, directory, b"there").await, Ok(there));
            assert_eq!(look(two, directory, b"absent").await, Err(Errno::ENOENT));
            disturb(fs, directory, round + 20).await;
            fs.link(&ROOT, there, directory, b"absent").await.unwrap();
            assert_eq!(look(two, directory, b"absent").await, Ok(there));
            fs.unlink(&ROOT, directory, b"absent").await.unwrap();
            assert_eq!(look(two, directory, b"absent").await, Err(Errno::ENOENT));
        }
    });
}

#[test]
fn who_may_not_search_is_told_so_at_once_and_nothing_is_found_in_what_is_gone() {
    let cluster = Cluster::new(2);
    cluster.run(20, async {
        let (one, two) = (cluster.node(1), cluster.node(2));
        let (directory, there) = remembered(&cluster).await;
        let mode = |permissions| Changes { permissions: Some(permissions), ..Changes::default() };
        for round in 0..5 {
            disturb(one, directory, 400 + round).await;
            one.setattr(&ROOT, directory, mode(0o700)).await.unwrap();
            assert_eq!(look(two, directory, b"there").await, Err(Errno::EACCES));
            assert_eq!(look(two, directory, b"absent").await, Err(Errno::EACCES));
            one.setattr(&ROOT, directory, mode(0o755)).await.unwrap();
            disturb(one, directory, 500 + round).await;
            assert_eq!(look(two, directory, b"there").await, Ok(there));
        }
        for entry in one.readdir(directory, 2, 1000).await.unwrap() {
            one.unlink(&ROOT, directory, &entry.name).await.unwrap();
        }
        assert_eq!(look(two, directory, b"there").await, Err(Errno::ENOENT));
        one.rmdir(&ROOT, cluster.root(), b"directory").await.unwrap();
        let gone = look(two, directory, b"absent").await;
        assert!(matches!(gone, Err(Errno::ENOENT | Errno::ESTALE)), "{gone:?}");
        let again = one.mkdir(&ROOT, cluster.root(), b"directory", 0o755).await.unwrap().file;
        assert_ne!(again, directory);
        assert_eq!(look(two, again, b"there").await, Err(Errno::ENOENT));
    });
}

#[test]
fn names_are_found_though_what_is_remembered_of_them_goes() {
    let cluster = Cluster::new(2);
    cluster.run(20, async {
        let (one, two) = (cluster.node(1), cluster.node(2));
        let (directory, there) = remembered(&cluster).await;
        let set = kddm_rdma::SetId(kdfs_format::sets::dentry_set(directory.inode, directory.generation));
        for round in 0..10 {
            // As under shortage of memory: the gate, or names, or both.
            for fs in [two, one] {
                for object in fs.node().local(set, None, 1000) {
                    if round % 3 == 0 || (object == 0) == (round % 3 == 1) {
                        fs.node().flush(kddm_rdma::ObjectKey::new(set, object)).await.unwrap();
                    }
                }
            }
            let made = one.mknod(&ROOT, directory, b"absent", FILE, 0).await.unwrap().file;
            assert_eq!(look(two, directory, b"absent").await, Ok(made), "round {round}");
            one.unlink(&ROOT, directory, b"absent").await.unwrap();
            for number in 0..2 {
                disturb(one, directory, 600 + 2 * round + number).await;
                assert_eq!(look(two, directory, b"absent").await, Err(Errno::ENOENT), "round {round}");
                assert_eq!(look(two, directory, b"there").await, Ok(there), "round {round}");
            }
        }
        assert!(one.node().dirty().iter().all(|key| key.set != set), "nothing of it is for a device");
    });
}
