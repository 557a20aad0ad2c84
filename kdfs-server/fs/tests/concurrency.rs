//! Many operations at once, on several nodes: nothing hangs, nothing is lost, nothing is there twice.

mod cluster;

use async_lock::Barrier;
use cluster::random::Random;
use cluster::{Cluster, ROOT};
use kdfs_fs::{Access, Changes, Errno, FileId, FileSystem, FileType, RenameMode};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

const FILE: u32 = 0o100644;

async fn entries(fs: &FileSystem, directory: FileId) -> BTreeMap<String, FileId> {
    let (mut cookie, mut all) = (2, BTreeMap::new());
    loop {
        let some = fs.readdir(directory, cookie, 100).await.unwrap();
        let Some(last) = some.last() else { return all };
        cookie = last.cookie;
        for entry in some {
            let twice = all.insert(String::from_utf8(entry.name).unwrap(), entry.file);
            assert_eq!(twice, None, "a name twice");
        }
    }
}

#[test]
fn nodes_create_in_one_directory_at_once() {
    let cluster = Cluster::new(3);
    let root = cluster.root();
    let create = |(which, fs): (usize, FileSystem)| async move {
        for number in 0..150 {
            let name = format!("node {which} number {number}");
            fs.mknod(&ROOT, root, name.as_bytes(), FILE, 0).await.unwrap();
            // One name that all of them want: exactly one gets it.
            let wanted = format!("wanted {number}");
            let made = fs.mknod(&ROOT, root, wanted.as_bytes(), FILE, 0).await;
            assert!(matches!(made, Ok(_) | Err(Errno::EEXIST)), "{made:?}");
            if number % 3 == 0 {
                fs.unlink(&ROOT, root, name.as_bytes()).await.unwrap();
            }
        }
    };
    cluster.beside(30, cluster.nodes.iter().cloned().enumerate().map(create));
    cluster.run(10, async {
        for fs in &cluster.nodes {
            let all = entries(fs, root).await;
            assert_eq!(all.len(), 3 * 100 + 150);
            let mut inodes: Vec<FileId> = all.values().copied().collect();
            inodes.sort();
            inodes.dedup();
            assert_eq!(inodes.len(), all.len(), "an inode number twice");
        }
        let inode = cluster.node(2).getattr(root).await.unwrap();
        assert_eq!(inode.nlink, 2);
    });
}

/// Every file keeps exactly one name, every directory is reachable and counts its links right.
#[test]
fn rename_storms_end_and_keep_every_name() {
    let mut random = Random::new("rename_storms");
    let cluster = Cluster::new(3);
    let root = cluster.root();
    let (directories, files) = cluster.run(20, async {
        let (mut directories, mut files) = (vec![root], Vec::new());
        for number in 0..6 {
            let fs = cluster.node(number % 3 + 1);
            directories
                .push(fs.mkdir(&ROOT, root, format!("d{number}").as_bytes(), 0o755).await.unwrap().file);
        }
        for number in 0..12 {
            let fs = cluster.node(number % 3 + 1);
            let parent = directories[number % directories.len()];
            files.push(fs.mknod(&ROOT, parent, format!("f{number}").as_bytes(), FILE, 0).await.unwrap().file);
        }
        (directories, files)
    });
    let storm = |fs: FileSystem, mut random: Random, directories: Vec<FileId>| async move {
        let mut moved = 0;
        for _ in 0..400 {
            let (from, to) = (*random.pick(&directories), *random.pick(&directories));
            let name = match random.below(3) {
                0 => format!("d{}", random.below(6)),
                _ => format!("f{}", random.below(12)),
            };
            // NoReplace and Exchange keep every inode named.
            let (to_name, mode) = match random.below(3) {
                0 => (format!("f{}", random.below(12)), RenameMode::Exchange),
                1 => (format!("d{}", random.below(6)), RenameMode::Exchange),
                _ => (name.clone(), RenameMode::NoReplace),
            };
            match fs.rename(&ROOT, (from, name.as_bytes()), (to, to_name.as_bytes()), mode).await {
                Ok(()) => moved += 1,
                Err(Errno::ENOENT | Errno::EEXIST | Errno::EINVAL) => (),
                Err(errno) => panic!("{name} to {to_name} {mode:?}: {errno}"),
            }
        }
        moved
    };
    let tasks: Vec<_> = (0..6)
        .map(|task| storm(cluster.nodes[task % 3].clone(), random.fork(), directories.clone()))
        .collect();
    let moved: usize = cluster.beside(60, tasks).into_iter().sum();
    assert!(moved > 20, "the storm was a breeze: {moved}");
    cluster.run(20, async {
        let fs = cluster.node(2);
        let (mut left, mut seen) = (vec![root], Vec::new());
        while let Some(directory) = left.pop() {
            let mut links = 2;
            for file in entries(fs, directory).await.into_values() {
                let attributes = fs.getattr(file).await.unwrap();
                if attributes.file_type == FileType::Directory {
                    links += 1;
                    assert_eq!(fs.lookup(&ROOT, file, b"..").await.unwrap().file, directory);
                    left.push(file);
                } else {
                    assert_eq!(attributes.nlink, 1);
                }
                seen.push(file);
            }
            assert_eq!(fs.getattr(directory).await.unwrap().nlink, links);
        }
        let mut all = [&directories[1..], &files].concat();
        all.sort();
        seen.sort();
        assert_eq!(seen, all, "a file lost or there twice");
    });
}

/// Two trees, each moved into the depths of the other at once: one of the moves has to lose, or both are cut off in a
/// circle.
#[test]
fn directories_never_contain_each_other() {
    let cluster = Cluster::new(2);
    let root = cluster.root();
    for round in 0..40 {
        let names = ["a", "b"].map(|name| format!("{name}{round}"));
        let deepest = cluster.run(10, async {
            let mut deepest = [root; 2];
            for (at, name) in deepest.iter_mut().zip(&names) {
                *at = cluster.node(1).mkdir(&ROOT, root, name.as_bytes(), 0o755).await.unwrap().file;
                for depth in 0..10 {
                    let fs = cluster.node(depth % 2 + 1);
                    *at = fs.mkdir(&ROOT, *at, b"below", 0o755).await.unwrap().file;
                }
            }
            deepest
        });
        let together = Arc::new(Barrier::new(2));
        let task = |which: usize| {
            let (fs, name, into) = (cluster.nodes[which].clone(), names[which].clone(), deepest[1 - which]);
            let together = together.clone();
            async move {
                together.wait().await;
                fs.rename(&ROOT, (root, name.as_bytes()), (into, b"inside"), RenameMode::Replace).await
            }
        };
        let results = cluster.beside(10, (0..2).map(task));
        let moved = results.iter().filter(|result| result.is_ok()).count();
        assert_eq!(moved, 1, "{results:?}");
        assert!(results.contains(&Err(Errno::EINVAL)), "{results:?}");
    }
}

/// Writers replace a whole file; readers see one of the versions, never a mixture.
#[test]
fn writes_are_atomic_against_reads() {
    const LENGTH: usize = 150_000;
    let cluster = Cluster::new(2);
    let file = cluster.run(10, async {
        let made = cluster.node(1).mknod(&ROOT, cluster.root(), b"f", FILE, 0).await.unwrap();
        cluster.node(1).write(&ROOT, made.file, 0, &[0; LENGTH]).await.unwrap();
        made.file
    });
    let writing = Arc::new(AtomicUsize::new(2));
    let task = |number: usize| {
        let (fs, writing) = (cluster.nodes[number % 2].clone(), writing.clone());
        async move {
            let mut bytes = vec![0; LENGTH];
            if number < 2 {
                for round in 0..40 {
                    fs.write(&ROOT, file, 0, &[(number * 100 + round) as u8; LENGTH]).await.unwrap();
                }
                writing.fetch_sub(1, Ordering::Relaxed);
                return 0;
            }
            let mut versions = BTreeSet::new();
            while writing.load(Ordering::Relaxed) > 0 {
                assert_eq!(fs.read(file, 0, &mut bytes).await, Ok(LENGTH));
                assert!(bytes.iter().all(|&byte| byte == bytes[0]), "a mixture of two writes");
                versions.insert(bytes[0]);
                futures_lite::future::yield_now().await;
            }
            versions.len()
        }
    };
    let seen = cluster.beside(30, (0..6).map(task)).into_iter().sum::<usize>();
    assert!(seen > 10, "the readers saw {seen} versions: they did not meet the writers");
}

#[test]
fn appends_from_two_nodes_lose_nothing() {
    let cluster = Cluster::new(2);
    let file = cluster
        .run(10, async { cluster.node(2).mknod(&ROOT, cluster.root(), b"log", FILE, 0).await.unwrap().file });
    let task = |number: usize| {
        let fs = cluster.nodes[number % 2].clone();
        async move {
            for round in 0..100 {
                let line = format!("{number:03}-{round:05}\n");
                fs.append(&ROOT, file, line.as_bytes()).await.unwrap();
            }
        }
    };
    cluster.beside(30, (0..4).map(task));
    cluster.run(10, async {
        let mut bytes = vec![0; 5000];
        assert_eq!(cluster.node(1).read(file, 0, &mut bytes).await, Ok(4000));
        let mut lines: Vec<_> = bytes[..4000].chunks(10).map(|line| String::from_utf8_lossy(line)).collect();
        lines.sort();
        lines.dedup();
        assert_eq!(lines.len(), 400);
        assert!(lines.iter().all(|line| line.ends_with('\n')));
    });
}

/// Files come and go while others open, read and unlink them; in the end nothing is left of them.
#[test]
fn short_lives_leave_nothing() {
    let cluster = Cluster::new(2);
    let root = cluster.root();
    let live = |number: usize| {
        let fs = cluster.nodes[number % 2].clone();
        async move {
            for round in 0..60 {
                let name = format!("f{}", round % 3);
                let made = fs.create(&ROOT, root, name.as_bytes(), 0o644, Access::READ_WRITE, false).await;
                let (opened, _) = made.unwrap();
                fs.write(&ROOT, opened.file, 0, &[1; 5000]).await.unwrap();
                let shorter = Changes { size: Some(100), ..Changes::default() };
                fs.setattr(&ROOT, opened.file, shorter).await.unwrap();
                match fs.unlink(&ROOT, root, name.as_bytes()).await {
                    Ok(()) | Err(Errno::ENOENT) => (),
                    Err(errno) => panic!("{errno}"),
                }
                assert!(fs.read(opened.file, 0, &mut [0; 10]).await.unwrap() > 0, "open, so still there");
                fs.release(opened.file);
            }
        }
    };
    cluster.beside(30, (0..4).map(live));
    cluster.write_back();
    cluster.run(20, async {
        // A node hears of its own orphans when it unlinks; of the others' from the inodes that are written back.
        for (fs, partition) in cluster.nodes.iter().zip(&cluster.partitions) {
            let orphans: Vec<FileId> = partition.inodes();
            for orphan in orphans.into_iter().filter(|file| *file != root) {
                fs.reap(orphan.inode, orphan.generation).await.unwrap();
            }
        }
        assert_eq!(entries(cluster.node(1), root).await.len(), 0);
        let taken: u32 = cluster.partitions.iter().map(|partition| partition.taken()).sum();
        assert!(taken >= 1, "the root");
    });
    cluster.write_back();
    for (id, partition) in (1..).zip(&cluster.partitions) {
        assert_eq!(partition.inodes().len(), usize::from(id == 1), "inodes of node {id}");
        assert_eq!(partition.taken(), u32::from(id == 1), "numbers of node {id}");
        assert_eq!(partition.count(kdfs_format::sets::KIND_FILE), 0, "pages of node {id}");
    }
    assert_eq!(cluster.nodes.iter().map(FileSystem::open_files).sum::<usize>(), 0);
}

/// Whoever gives up while waiting leaves nothing behind.
#[test]
fn abandoned_operations_leave_nothing() {
    let mut random = Random::new("abandoned_operations");
    let cluster = Cluster::new(2);
    let root = cluster.root();
    cluster.run(30, async {
        let (one, two) = (cluster.node(1), cluster.node(2));
        let file = one.mknod(&ROOT, root, b"kept", FILE, 0).await.unwrap().file;
        for round in 0..200 {
            let name = format!("n{round}");
            // The other node takes the directory and the file away, so that every operation has to wait.
            two.setattr(&ROOT, root, Changes { permissions: Some(0o755), ..Changes::default() })
                .await
                .unwrap();
            two.write(&ROOT, file, 0, &[round as u8; 5000]).await.unwrap();
            let polls = random.below(12);
            poll_some(polls, one.mkdir(&ROOT, root, name.as_bytes(), 0o755)).await;
            poll_some(polls, one.write(&ROOT, file, 3000, &[round as u8; 9000])).await;
            let to = (root, &b"kept"[..]);
            poll_some(polls, one.rename(&ROOT, (root, name.as_bytes()), to, RenameMode::Exchange)).await;
            poll_some(polls, one.rename(&ROOT, (root, name.as_bytes()), to, RenameMode::Exchange)).await;
        }
        // What is there is whole.
        let listed = entries(two, root).await;
        assert!(listed.values().any(|&there| there == file));
        let mut links = 2;
        for there in listed.values() {
            let attributes = two.getattr(*there).await.unwrap();
            links += u32::from(attributes.file_type == FileType::Directory);
        }
        assert_eq!(two.getattr(root).await.unwrap().nlink, links);
    });
}

/// Polls a future up to `polls` times, with others running between, and drops it.
async fn poll_some<T>(polls: usize, operation: impl Future<Output = T>) {
    let mut operation = Box::pin(operation);
    for _ in 0..polls {
        if futures_lite::future::poll_once(&mut operation).await.is_some() {
            return;
        }
        futures_lite::future::yield_now().await;
        std::thread::yield_now();
    }
}

/// Of a large file that is nearly nothing but holes, only the pages that exist somewhere are removed when it is cut: those
/// in the memory of any node, and those that only the partition has.
#[test]
fn holes_cost_nothing_when_a_file_is_cut() {
    const SIZE: u64 = 8 << 30;
    let cluster = Cluster::new(3);
    let home = &cluster.partitions[1];
    cluster.run(20, async {
        let (one, two, three) = (cluster.node(1), cluster.node(2), cluster.node(3));
        let file = two.mknod(&ROOT, cluster.root(), b"sparse", FILE, 0).await.unwrap().file;
        let places = [5000, 1 << 20, SIZE / 3, SIZE / 2, SIZE - 10];
        for (fs, place) in [one, two, three, one, two].into_iter().zip(places) {
            fs.write(&ROOT, file, place, b"something").await.unwrap();
        }
        let mut bytes = [0; 9];
        // A copy on a node that is not the home, of a page that the home may have given up.
        three.read(file, places[1], &mut bytes).await.unwrap();
        for (size, left) in [(SIZE / 2, 3), (100, 0)] {
            let before = home.removals.load(Ordering::Relaxed);
            let changes = Changes { size: Some(size), ..Changes::default() };
            three.setattr(&ROOT, file, changes).await.unwrap();
            let removals = home.removals.load(Ordering::Relaxed) - before;
            assert!(removals < 1000, "{removals} removals for five pages");
            // What lies before bytes that were written is looked for, and not taken for a hole.
            one.write(&ROOT, file, SIZE, b"end").await.unwrap();
            for (number, place) in places.into_iter().enumerate() {
                for fs in &cluster.nodes {
                    assert_eq!(fs.read(file, place, &mut bytes).await, Ok(9));
                    let expected = if number < left { b"something" } else { &[0; 9] };
                    assert_eq!(&bytes, expected, "at {place}, cut to {size}");
                }
            }
        }
    });
}

/// Pages that are on the partition and in no memory go with the first of them.
#[test]
fn pages_on_the_partition_alone_are_cut_too() {
    let cluster = Cluster::new(2);
    let file = cluster.run(20, async {
        let file = cluster.node(1).mknod(&ROOT, cluster.root(), b"f", FILE, 0).await.unwrap().file;
        cluster.node(1).write(&ROOT, file, 0, &[7; 400_000]).await.unwrap();
        file
    });
    cluster.write_back();
    let partitions = cluster.partitions.clone();
    drop(cluster);
    let cluster = Cluster::start(partitions, 16 << 20, Some);
    cluster.run(20, async {
        let changes = Changes { size: Some(1 << 16), ..Changes::default() };
        cluster.node(2).setattr(&ROOT, file, changes).await.unwrap();
        cluster.node(2).write(&ROOT, file, 400_000, b"end").await.unwrap();
        let mut bytes = vec![1; 400_000];
        assert_eq!(cluster.node(1).read(file, 0, &mut bytes).await, Ok(400_000));
        assert!(bytes[..1 << 16] == [7; 1 << 16] && bytes[1 << 16..].iter().all(|&byte| byte == 0));
    });
}
