//! What POSIX says of each operation, on one node and across two.

mod cluster;

use cluster::{Cluster, ROOT, USER};
use kdfs_fs::{Access, Caller, Changes, Errno, FileSystem, FileType, RenameMode, SetTime, Timestamp};
use std::cell::Cell;

const FILE: u32 = 0o100644;

async fn names(fs: &FileSystem, directory: kdfs_fs::FileId) -> Vec<String> {
    let (mut cookie, mut names) = (0, Vec::new());
    loop {
        let some = fs.readdir(directory, cookie, 7).await.unwrap();
        let Some(last) = some.last() else { return names };
        cookie = last.cookie;
        names.extend(some.into_iter().map(|entry| String::from_utf8(entry.name).unwrap()));
    }
}

async fn content(fs: &FileSystem, file: kdfs_fs::FileId) -> Vec<u8> {
    let mut bytes = vec![0xee; 1 << 16];
    let length = fs.read(file, 0, &mut bytes).await.unwrap();
    bytes.truncate(length);
    bytes
}

#[test]
fn what_one_node_writes_another_reads() {
    let cluster = Cluster::new(2);
    cluster.run(10, async {
        let (one, two, root) = (cluster.node(1), cluster.node(2), cluster.root());
        for (writer, reader, name) in [(one, two, b"from1"), (two, one, b"from2")] {
            let (made, new) =
                writer.create(&ROOT, root, name, 0o640, Access::READ_WRITE, true).await.unwrap();
            assert!(new && made.file.node() == writer.node().me().get(), "files go to the own partition");
            let bytes: Vec<u8> = (0..10_000).map(|number| (number % 251) as u8).collect();
            assert_eq!(writer.write(&ROOT, made.file, 3, &bytes).await, Ok(10_000));
            let seen = reader.lookup(&ROOT, root, name).await.unwrap();
            assert_eq!((seen.file, seen.size, seen.permissions, seen.nlink), (made.file, 10_003, 0o640, 1));
            assert_eq!(content(reader, seen.file).await, [&[0, 0, 0], &bytes[..]].concat());
            assert_eq!(reader.append(&ROOT, seen.file, b"!").await, Ok((10_003, 1)));
            assert_eq!(writer.getattr(seen.file).await.unwrap().size, 10_004);
            writer.release(made.file);
        }
        assert_eq!(one.getattr(root).await.unwrap().nlink, 2);
        assert_eq!(names(two, root).await, names(one, root).await);
    });
}

#[test]
fn a_diskless_node_creates_on_its_parents() {
    let cluster = Cluster::diskless(2);
    cluster.run(10, async {
        let made = cluster.node(2).mkdir(&ROOT, cluster.root(), b"d", 0o755).await.unwrap();
        assert_eq!(made.file.node(), 1);
        let inside = cluster.node(2).mknod(&ROOT, made.file, b"f", FILE, 0).await.unwrap();
        assert_eq!(inside.file.node(), 1);
        assert_eq!(names(cluster.node(1), made.file).await, [".", "..", "f"]);
    });
}

#[test]
fn names_are_checked() {
    let cluster = Cluster::new(1);
    cluster.run(10, async {
        let (fs, root) = (cluster.node(1), cluster.root());
        let longest = [b'n'; 255];
        let made = fs.mknod(&ROOT, root, &longest, FILE, 0).await.unwrap();
        assert_eq!(fs.lookup(&ROOT, root, &longest).await.unwrap().file, made.file);
        assert_eq!(fs.mkdir(&ROOT, root, &[b'n'; 256], 0o755).await, Err(Errno::ENAMETOOLONG));
        assert_eq!(fs.lookup(&ROOT, root, &[b'n'; 256]).await, Err(Errno::ENAMETOOLONG));
        assert_eq!(fs.mkdir(&ROOT, root, b"a/b", 0o755).await, Err(Errno::EINVAL));
        assert_eq!(fs.lookup(&ROOT, root, b"absent").await, Err(Errno::ENOENT));
        assert_eq!(fs.lookup(&ROOT, made.file, b"below").await, Err(Errno::ENOTDIR));
        assert_eq!(fs.lookup(&ROOT, root, b"..").await.unwrap().file, root);
        assert_eq!(fs.mkdir(&ROOT, root, &longest, 0o755).await, Err(Errno::EEXIST));
    });
}

#[test]
fn link_counts_follow_names() {
    let cluster = Cluster::new(2);
    cluster.run(10, async {
        let (one, two, root) = (cluster.node(1), cluster.node(2), cluster.root());
        let directory = one.mkdir(&ROOT, root, b"d", 0o755).await.unwrap().file;
        let below = two.mkdir(&ROOT, directory, b"e", 0o755).await.unwrap();
        assert_eq!((below.nlink, one.getattr(directory).await.unwrap().nlink), (2, 3));
        let file = one.mknod(&ROOT, directory, b"f", FILE, 0).await.unwrap().file;
        assert_eq!(two.link(&ROOT, file, below.file, b"g").await.unwrap().nlink, 2);
        assert_eq!(two.link(&ROOT, below.file, root, b"h").await, Err(Errno::EPERM));
        assert_eq!(two.link(&ROOT, file, root, b"d").await, Err(Errno::EEXIST));
        assert_eq!(one.rmdir(&ROOT, directory, b"e").await, Err(Errno::ENOTEMPTY));
        assert_eq!(one.rmdir(&ROOT, directory, b"f").await, Err(Errno::ENOTDIR));
        assert_eq!(one.unlink(&ROOT, directory, b"e").await, Err(Errno::EISDIR));
        one.unlink(&ROOT, below.file, b"g").await.unwrap();
        assert_eq!(two.getattr(file).await.unwrap().nlink, 1);
        one.rmdir(&ROOT, directory, b"e").await.unwrap();
        assert_eq!(two.getattr(directory).await.unwrap().nlink, 2);
        assert_eq!(two.lookup(&ROOT, directory, b"e").await, Err(Errno::ENOENT));
        assert!(two.mkdir(&ROOT, below.file, b"x", 0o755).await.is_err());
    });
}

#[test]
fn symbolic_links_keep_their_target() {
    let cluster = Cluster::new(2);
    cluster.run(10, async {
        let (one, two, root) = (cluster.node(1), cluster.node(2), cluster.root());
        let longest = vec![b't'; 4095];
        let link = one.symlink(&USER, root, b"l", &longest).await;
        assert_eq!(link, Err(Errno::EACCES), "the root directory is not this user's");
        let link = one.symlink(&ROOT, root, b"l", &longest).await.unwrap();
        assert_eq!((link.file_type, link.size, link.permissions), (FileType::Symlink, 4095, 0o777));
        assert_eq!(two.readlink(link.file).await.unwrap(), longest);
        assert_eq!(two.readlink(root).await, Err(Errno::EINVAL));
        assert_eq!(one.symlink(&ROOT, root, b"m", &[b't'; 4096]).await, Err(Errno::ENAMETOOLONG));
        assert_eq!(two.open(&ROOT, link.file, Access::READ).await, Err(Errno::ELOOP));
    });
}

#[test]
fn truncated_bytes_come_back_as_zeros() {
    let cluster = Cluster::new(2);
    cluster.run(10, async {
        let (one, two, root) = (cluster.node(1), cluster.node(2), cluster.root());
        let file = one.mknod(&ROOT, root, b"f", FILE, 0).await.unwrap().file;
        one.write(&ROOT, file, 0, &[7; 20_000]).await.unwrap();
        let size = |size| Changes { size: Some(size), ..Changes::default() };
        assert_eq!(two.setattr(&ROOT, file, size(5000)).await.unwrap().size, 5000);
        assert_eq!(one.setattr(&ROOT, file, size(15_000)).await.unwrap().size, 15_000);
        let expected = [vec![7; 5000], vec![0; 10_000]].concat();
        assert_eq!(content(two, file).await, expected);
        one.write(&ROOT, file, 14_000, &[8; 10]).await.unwrap();
        let mut part = [9; 20];
        assert_eq!(two.read(file, 13_995, &mut part).await, Ok(20));
        assert_eq!(part, [0, 0, 0, 0, 0, 8, 8, 8, 8, 8, 8, 8, 8, 8, 8, 0, 0, 0, 0, 0]);
        // A file as large as files can be costs nothing.
        let most = (u64::from(u32::MAX)) << 12;
        assert_eq!(one.setattr(&ROOT, file, size(most)).await.unwrap().size, most);
        assert_eq!(one.setattr(&ROOT, file, size(most + 1)).await, Err(Errno::EFBIG));
        assert_eq!(one.write(&ROOT, file, most, b"x").await, Err(Errno::EFBIG));
        assert_eq!(two.read(file, most - 3, &mut part).await, Ok(3));
        one.setattr(&ROOT, file, size(0)).await.unwrap();
        assert_eq!(two.read(file, 0, &mut part).await, Ok(0));
        assert_eq!(one.setattr(&ROOT, root, size(0)).await, Err(Errno::EISDIR));
    });
}

#[test]
fn renames_replace_what_may_be_replaced() {
    let cluster = Cluster::new(2);
    cluster.run(10, async {
        let (one, two, root) = (cluster.node(1), cluster.node(2), cluster.root());
        let a = one.mkdir(&ROOT, root, b"a", 0o755).await.unwrap().file;
        let b = two.mkdir(&ROOT, root, b"b", 0o755).await.unwrap().file;
        let inner = two.mkdir(&ROOT, a, b"inner", 0o755).await.unwrap().file;
        let file = one.mknod(&ROOT, a, b"file", FILE, 0).await.unwrap().file;
        let other = two.mknod(&ROOT, b, b"other", FILE, 0).await.unwrap().file;
        use RenameMode::*;
        let rename = |fs: &FileSystem, from, to, mode| {
            let fs = fs.clone();
            async move { fs.rename(&ROOT, from, to, mode).await }
        };
        assert_eq!(rename(one, (root, b"a"), (inner, b"x"), Replace).await, Err(Errno::EINVAL));
        assert_eq!(rename(one, (a, b"inner"), (inner, b"x"), Replace).await, Err(Errno::EINVAL));
        assert_eq!(rename(two, (a, b"inner"), (root, b"a"), Replace).await, Err(Errno::ENOTEMPTY));
        assert_eq!(rename(two, (a, b"inner"), (root, b"b"), Replace).await, Err(Errno::ENOTEMPTY));
        assert_eq!(rename(two, (a, b"inner"), (root, b"a"), Exchange).await, Err(Errno::EINVAL));
        assert_eq!(rename(two, (a, b"inner"), (b, b"other"), Replace).await, Err(Errno::ENOTDIR));
        assert_eq!(rename(two, (a, b"file"), (root, b"b"), Replace).await, Err(Errno::EISDIR));
        assert_eq!(rename(two, (a, b"file"), (b, b"other"), NoReplace).await, Err(Errno::EEXIST));
        assert_eq!(rename(two, (a, b"file"), (b, b"gone"), Exchange).await, Err(Errno::ENOENT));
        assert_eq!(rename(two, (a, b"gone"), (b, b"other"), Replace).await, Err(Errno::ENOENT));
        assert_eq!(rename(two, (a, b"file"), (a, b"file"), Replace).await, Ok(()));

        // A directory moves: `..` and the link counts follow.
        rename(two, (a, b"inner"), (b, b"moved"), Replace).await.unwrap();
        assert_eq!(one.lookup(&ROOT, inner, b"..").await.unwrap().file, b);
        assert_eq!((one.getattr(a).await.unwrap().nlink, one.getattr(b).await.unwrap().nlink), (2, 3));
        // A file replaces a file, which goes.
        rename(one, (a, b"file"), (b, b"other"), Replace).await.unwrap();
        assert_eq!(two.lookup(&ROOT, b, b"other").await.unwrap().file, file);
        assert_eq!(two.lookup(&ROOT, a, b"file").await, Err(Errno::ENOENT));
        assert!(two.getattr(other).await.map_or(0, |attributes| attributes.nlink) == 0);
        // File and directory change places.
        rename(one, (b, b"other"), (root, b"a"), Exchange).await.unwrap();
        assert_eq!(two.lookup(&ROOT, root, b"a").await.unwrap().file, file);
        assert_eq!(two.lookup(&ROOT, b, b"other").await.unwrap().file, a);
        assert_eq!((one.getattr(root).await.unwrap().nlink, one.getattr(b).await.unwrap().nlink), (3, 4));
        // Two names of one file stay as they are.
        one.link(&ROOT, file, b, b"twin").await.unwrap();
        rename(two, (b, b"twin"), (root, b"a"), Replace).await.unwrap();
        assert_eq!(one.getattr(file).await.unwrap().nlink, 2);
        // An empty directory is replaced.
        one.mkdir(&ROOT, root, b"empty", 0o755).await.unwrap();
        rename(two, (b, b"moved"), (root, b"empty"), Replace).await.unwrap();
        assert_eq!(one.lookup(&ROOT, root, b"empty").await.unwrap().file, inner);
        assert_eq!((one.getattr(root).await.unwrap().nlink, one.getattr(b).await.unwrap().nlink), (4, 3));
    });
}

#[test]
fn an_unlinked_file_lives_until_its_last_close_anywhere() {
    let cluster = Cluster::new(2);
    cluster.run(20, async {
        let (one, two, root) = (cluster.node(1), cluster.node(2), cluster.root());
        let (made, _) = one.create(&ROOT, root, b"f", 0o644, Access::READ_WRITE, true).await.unwrap();
        let file = made.file;
        one.write(&ROOT, file, 0, b"still here").await.unwrap();
        two.open(&ROOT, file, Access::READ).await.unwrap();
        one.release(file);
        one.unlink(&ROOT, root, b"f").await.unwrap();
        two.open(&ROOT, file, Access::READ).await.unwrap();
        two.release(file);
        assert_eq!(content(two, file).await, b"still here");
        assert_eq!(two.getattr(file).await.unwrap().nlink, 0);
        assert_eq!(two.link(&ROOT, file, root, b"again").await, Err(Errno::ENOENT));
        two.release(file);
        // The reaper was waiting for that close; a second one ends when the first has done its work.
        one.reap(file.inode, file.generation).await.unwrap();
        while two.getattr(file).await.is_ok() {
            futures_lite::future::yield_now().await;
        }
        assert_eq!(two.getattr(file).await, Err(Errno::ESTALE));
        assert_eq!((one.open_files(), two.open_files()), (0, 0));
        // The number is used again, in another life.
        let again = loop {
            let made = one.mknod(&ROOT, root, b"g", FILE, 0).await.unwrap().file;
            if made.inode == file.inode {
                break made;
            }
            one.unlink(&ROOT, root, b"g").await.unwrap();
            one.reap(made.inode, made.generation).await.unwrap();
        };
        assert_ne!(again.generation, file.generation);
        assert_eq!(content(two, again).await, b"");
    });
}

/// open(2) of a path looks up its name first: what was found then is opened, whatever has the name by now.
#[test]
fn what_was_looked_up_can_be_used_when_its_name_has_gone() {
    let cluster = Cluster::new(2);
    cluster.run(20, async {
        let (one, two, root) = (cluster.node(1), cluster.node(2), cluster.root());
        for (writer, reader) in [(one, two), (two, one), (one, one)] {
            let old = writer.mknod(&ROOT, root, b"f", FILE, 0).await.unwrap().file;
            writer.write(&ROOT, old, 0, b"old").await.unwrap();
            let link = writer.symlink(&ROOT, root, b"link", b"f").await.unwrap().file;
            assert_eq!(reader.lookup(&ROOT, root, b"f").await.unwrap().file, old);
            assert_eq!(reader.lookup(&ROOT, root, b"link").await.unwrap().file, link);
            writer.mknod(&ROOT, root, b"f~", FILE, 0).await.unwrap();
            writer.rename(&ROOT, (root, b"f~"), (root, b"f"), RenameMode::Replace).await.unwrap();
            writer.unlink(&ROOT, root, b"link").await.unwrap();

            assert_eq!(reader.readlink(link).await.unwrap(), b"f");
            assert_eq!(reader.open(&ROOT, old, Access::READ).await.unwrap().nlink, 0);
            // It is open now, and the reaper waits for its close; nobody else can begin with it.
            let closed = Cell::new(false);
            let reaper = async {
                cluster.node(old.node().into()).reap(old.inode, old.generation).await.unwrap();
                assert!(closed.get(), "reaped while open");
            };
            let other = if std::ptr::eq(reader, one) { two } else { one };
            let others = async {
                while other.open(&ROOT, old, Access::READ).await.is_ok() {
                    other.release(old);
                    futures_lite::future::yield_now().await;
                }
                assert_eq!(other.open(&ROOT, old, Access::READ).await, Err(Errno::ESTALE));
                assert_eq!(content(reader, old).await, b"old");
                closed.set(true);
                reader.release(old);
            };
            futures_lite::future::zip(reaper, others).await;
            assert_eq!(reader.open(&ROOT, old, Access::READ).await, Err(Errno::ESTALE));
            writer.unlink(&ROOT, root, b"f").await.unwrap();
        }
    });
}

/// While no reaper has begun with it; however many open it at once.
#[test]
fn a_file_without_a_name_is_opened_by_whoever_has_looked_it_up() {
    let cluster = Cluster::new(2);
    let (one, root) = (cluster.node(1), cluster.root());
    for _ in 0..100 {
        let file = cluster.run(10, async {
            let file = one.mknod(&ROOT, root, b"f", FILE, 0).await.unwrap().file;
            one.unlink(&ROOT, root, b"f").await.unwrap();
            file
        });
        cluster.beside(
            10,
            [1, 2, 1, 2].map(|node| {
                let fs = cluster.node(node).clone();
                async move {
                    for _ in 0..10 {
                        assert_eq!(fs.open(&ROOT, file, Access::READ).await.map(|file| file.nlink), Ok(0));
                        fs.release(file);
                        futures_lite::future::yield_now().await;
                    }
                }
            }),
        );
        assert_eq!(cluster.run(10, one.reap(file.inode, file.generation)), Ok(true));
    }
}

/// The reaper takes a link's page before its inode.
#[test]
fn a_link_that_goes_is_read_whole_or_not_at_all() {
    let cluster = Cluster::new(2);
    for reader in [1, 2] {
        for _ in 0..100 {
            let link = cluster.run(10, async {
                let (one, root) = (cluster.node(1), cluster.root());
                let link = one.symlink(&ROOT, root, b"link", b"target").await.unwrap().file;
                one.unlink(&ROOT, root, b"link").await.unwrap();
                link
            });
            let (reaper, reader) = (cluster.node(1).clone(), cluster.node(reader).clone());
            let reap: futures_lite::future::Boxed<()> = Box::pin(async move {
                reaper.reap(link.inode, link.generation).await.unwrap();
            });
            let read: futures_lite::future::Boxed<()> = Box::pin(async move {
                loop {
                    match reader.readlink(link).await {
                        Ok(target) => assert_eq!(target, b"target"),
                        Err(errno) => break assert_eq!(errno, Errno::ESTALE),
                    }
                    futures_lite::future::yield_now().await;
                }
            });
            cluster.beside(10, [read, reap]);
        }
    }
}

#[test]
fn a_large_file_leaves_nothing_to_write() {
    let cluster = Cluster::new(2);
    cluster.run(20, async {
        let (one, two, root) = (cluster.node(1), cluster.node(2), cluster.root());
        let file = one.mknod(&ROOT, root, b"f", FILE, 0).await.unwrap().file;
        for part in 0..10 {
            two.write(&ROOT, file, part * 100_000, &[7; 100_000]).await.unwrap();
        }
        one.unlink(&ROOT, root, b"f").await.unwrap();
        one.reap(file.inode, file.generation).await.unwrap();
        assert_eq!(two.getattr(file).await, Err(Errno::ESTALE));
    });
    cluster.write_back();
    assert_eq!(cluster.partitions[0].count(kdfs_format::sets::KIND_FILE), 0);
}

#[test]
fn permissions_owners_and_times() {
    let cluster = Cluster::new(2);
    cluster.run(10, async {
        let (one, two, root) = (cluster.node(1), cluster.node(2), cluster.root());
        let other = Caller { uid: 1001, gid: 1001, groups: vec![50] };
        let shared = one.mkdir(&ROOT, root, b"shared", 0o1777).await.unwrap().file;
        let chmod = |mode| Changes { permissions: Some(mode), ..Changes::default() };
        let file = one.mknod(&USER, shared, b"f", 0o100600, 0).await.unwrap().file;
        assert_eq!(two.open(&other, file, Access::READ).await, Err(Errno::EACCES));
        assert_eq!(two.unlink(&other, shared, b"f").await, Err(Errno::EPERM), "sticky");
        let moved = two.rename(&other, (shared, b"f"), (shared, b"g"), RenameMode::Replace).await;
        assert_eq!(moved, Err(Errno::EPERM), "sticky");
        assert_eq!(two.setattr(&other, file, chmod(0o777)).await, Err(Errno::EPERM));
        assert_eq!(two.setattr(&USER, file, chmod(0o4755)).await.unwrap().permissions, 0o4755);
        // Writing takes the set-id bits away, chown too.
        one.write(&USER, file, 0, b"x").await.unwrap();
        assert_eq!(two.getattr(file).await.unwrap().permissions, 0o755);
        let chown = Changes { uid: Some(1001), gid: Some(50), ..Changes::default() };
        assert_eq!(two.setattr(&USER, file, chown).await, Err(Errno::EPERM));
        two.setattr(&ROOT, file, chmod(0o6755)).await.unwrap();
        let given = one.setattr(&ROOT, file, chown).await.unwrap();
        assert_eq!((given.uid, given.gid, given.permissions), (1001, 50, 0o755));
        // Times: others may set them to now if they may write.
        let at = Changes { mtime: Some(SetTime::At(Timestamp::new(77, 5))), ..Changes::default() };
        let now = Changes { mtime: Some(SetTime::Now), ..Changes::default() };
        assert_eq!(one.setattr(&USER, file, at).await, Err(Errno::EPERM));
        assert_eq!(one.setattr(&USER, file, now).await, Err(Errno::EACCES));
        two.setattr(&other, file, chmod(0o666)).await.unwrap();
        assert!(one.setattr(&USER, file, now).await.is_ok());
        assert_eq!(one.setattr(&other, file, at).await.unwrap().mtime, Timestamp::new(77, 5));
        // Group inheritance.
        two.setattr(&ROOT, shared, Changes { gid: Some(50), ..chmod(0o2777) }).await.unwrap();
        let below = one.mkdir(&USER, shared, b"below", 0o755).await.unwrap();
        assert_eq!((below.gid, below.permissions), (50, 0o2755));
        assert_eq!(one.mknod(&USER, root, b"no", FILE, 0).await, Err(Errno::EACCES));
        assert_eq!(one.mknod(&USER, shared, b"dev", 0o020600, 5).await, Err(Errno::EPERM));
        assert_eq!(one.mknod(&ROOT, shared, b"dev", 0o020600, 5).await.unwrap().rdev, 5);
        assert_eq!(two.access(&USER, shared, Access::CHANGE_ENTRIES).await, Ok(()));
        assert_eq!(two.access(&USER, root, Access::WRITE).await, Err(Errno::EACCES));
    });
}

#[test]
fn times_move_with_changes() {
    let cluster = Cluster::new(2);
    cluster.run(10, async {
        let (one, two, root) = (cluster.node(1), cluster.node(2), cluster.root());
        let before = one.getattr(root).await.unwrap();
        let made = two.mknod(&ROOT, root, b"f", FILE, 0).await.unwrap();
        let after = one.getattr(root).await.unwrap();
        assert!(after.mtime.parts() > before.mtime.parts() && after.ctime == after.mtime);
        let mut last = made.ctime.parts();
        for fs in [one, two, one, two] {
            fs.write(&ROOT, made.file, 0, b"x").await.unwrap();
            let now = one.getattr(made.file).await.unwrap();
            assert!(now.ctime.parts() > last && now.mtime == now.ctime && now.atime == made.atime);
            last = now.ctime.parts();
        }
    });
}

#[test]
fn large_directories_are_listed_once_each() {
    let cluster = Cluster::new(2);
    cluster.run(20, async {
        let (one, two, root) = (cluster.node(1), cluster.node(2), cluster.root());
        let directory = one.mkdir(&ROOT, root, b"d", 0o755).await.unwrap().file;
        let mut expected = vec![".".to_string(), "..".to_string()];
        for number in 0..700 {
            let name = format!("a name of some length, number {number}");
            [one, two][number % 2].mknod(&ROOT, directory, name.as_bytes(), FILE, 0).await.unwrap();
            expected.push(name);
        }
        expected.sort();
        for fs in [one, two] {
            let mut listed = names(fs, directory).await;
            assert_eq!(listed[..2], [".", ".."]);
            listed.sort();
            assert_eq!(listed, expected);
        }
        let plus = two.readdir_plus(directory, 0, 1000).await.unwrap();
        assert!(plus.iter().all(|entry| entry.attributes.is_some_and(|found| found.file == entry.file)));
        for number in 0..700 {
            let name = format!("a name of some length, number {number}");
            [two, one][number % 2].unlink(&ROOT, directory, name.as_bytes()).await.unwrap();
        }
        assert_eq!(names(one, directory).await, [".", ".."]);
        // It has become one leaf again, so that it is listed as quickly as it looks.
        let set = kdfs_format::sets::dir_set(directory.inode, directory.generation);
        let first = kddm_rdma::ObjectKey::new(kddm_rdma::SetId(set), kdfs_format::directory::FIRST_PAGE);
        let page = one.node().get(first).await.unwrap();
        assert_eq!(page[4], 1, "a leaf");
        drop(page);
        two.rmdir(&ROOT, root, b"d").await.unwrap();
    });
}

#[test]
fn durability_asks_every_partition_on_the_way() {
    let cluster = Cluster::new(3);
    cluster.run(10, async {
        let commits =
            |id: usize| cluster.partitions[id - 1].commits.load(std::sync::atomic::Ordering::Relaxed);
        let directory = cluster.node(2).mkdir(&ROOT, cluster.root(), b"d", 0o755).await.unwrap().file;
        let file = cluster.node(2).mknod(&ROOT, directory, b"f", FILE, 0).await.unwrap().file;
        cluster.node(3).fsync(file).await.unwrap();
        assert_eq!((commits(1), commits(2), commits(3)), (1, 1, 0));
        cluster.node(3).fsync(file).await.unwrap();
        assert_eq!((commits(1), commits(2), commits(3)), (2, 2, 0), "each fsync asks anew");
        for fs in &cluster.nodes {
            fs.publish_space(&kdfs_fs::PartitionSpace::new((1, 1, 1), (1, 1))).await.unwrap();
        }
        cluster.node(1).sync().await.unwrap();
        assert_eq!((commits(1), commits(2), commits(3)), (3, 3, 1));
    });
}

#[test]
fn space_is_the_sum_of_who_answers() {
    let cluster = Cluster::new(3);
    cluster.run(10, async {
        for id in [1, 3] {
            let space = kdfs_fs::PartitionSpace::new((1000, 500, 400), (1 << 24, 7));
            cluster.node(id).publish_space(&space).await.unwrap();
        }
        let sum = cluster.node(2).statfs().await.unwrap();
        assert_eq!((sum.partitions, sum.total, sum.available, sum.files_free), (2, 2000, 800, 14));
    });
}

#[test]
fn paths_are_resolved_for_administration() {
    let cluster = Cluster::new(1);
    cluster.run(10, async {
        let (fs, root) = (cluster.node(1), cluster.root());
        let directory = fs.mkdir(&ROOT, root, b"d", 0o700).await.unwrap().file;
        let file = fs.mknod(&ROOT, directory, b"f", FILE, 0).await.unwrap().file;
        assert_eq!(fs.resolve(b"/d//f").await.unwrap().file, file);
        assert_eq!(fs.resolve(b"").await.unwrap().file, root);
        assert_eq!(fs.resolve(b"/d/g").await, Err(Errno::ENOENT));
        assert_eq!(fs.resolve(b"/d/f/x").await, Err(Errno::ENOTDIR));
    });
}
