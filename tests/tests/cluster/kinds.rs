//! Files of every kind, open on one node while another changes, renames or unlinks them.

use kddm_tests::{Cluster, errno_of};
use nix::errno::Errno;
use std::fs::{self, File};
use std::os::unix::fs::{FileExt, FileTypeExt, MetadataExt, symlink};

/// A file without a name lives until its last close, whichever node closes it, and then its space is free again.
#[test]
fn unlinked_on_one_node_while_open_on_another() {
    let cluster = Cluster::up(2);
    for (maker, opener) in [(1, 2), (2, 1)] {
        let bytes = vec![maker; 100_000];
        fs::write(cluster.at(maker, "doomed"), &bytes).unwrap();
        let open = File::options().read(true).write(true).open(cluster.at(opener, "doomed")).unwrap();
        let inode = open.metadata().unwrap().ino();
        fs::remove_file(cluster.at(maker, "doomed")).unwrap();
        assert_eq!(errno_of(fs::metadata(cluster.at(opener, "doomed"))), Errno::ENOENT);
        let mut read = vec![0; 100_000];
        open.read_exact_at(&mut read, 0).unwrap();
        assert_eq!(read, bytes);
        open.write_all_at(b"still here", 99_995).unwrap();
        let metadata = open.metadata().unwrap();
        assert_eq!((metadata.nlink(), metadata.len()), (0, 100_005));
        // A file of the same name is another one.
        fs::write(cluster.at(maker, "doomed"), "new").unwrap();
        open.read_exact_at(&mut read[..10], 99_995).unwrap();
        assert_eq!(&read[..10], b"still here");
        assert_ne!(fs::metadata(cluster.at(opener, "doomed")).unwrap().ino(), inode);
        fs::remove_file(cluster.at(opener, "doomed")).unwrap();
    }
}

/// The native directory of an unlinked file goes after its last close.
#[test]
fn the_space_of_unlinked_files_comes_back() {
    let cluster = Cluster::up(2);
    let names = ["doomed", "gone"];
    let [open, gone] = names.map(|name| {
        fs::write(cluster.at(1, name), vec![1; 50_000]).unwrap();
        File::open(cluster.at(2, name)).unwrap()
    });
    let partition = cluster.playground().partition(1);
    let [native, other] = [&open, &gone].map(|file| {
        let local = file.metadata().unwrap().ino() & 0xff_ffff;
        partition.join(format!("{}-{}/{local}", local / 100 * 100, local / 100 * 100 + 99))
    });
    for name in names {
        fs::remove_file(cluster.at(2, name)).unwrap();
    }
    open.sync_all().unwrap();
    // Durable they are; this waits for the native files too.
    cluster.playground().sync().unwrap();
    assert!(native.exists() && other.exists(), "{} or {other:?} went while it was open", native.display());
    drop(gone);
    eventually("the native directory of the one that is closed goes", || !other.exists());
    assert!(native.exists(), "{} went while the file was open", native.display());
    drop(open);
    eventually("the native directory goes", || !native.exists());
}

fn eventually(what: &str, holds: impl Fn() -> bool) {
    for _ in 0..200 {
        if holds() {
            return;
        }
        // Nothing wakes us: the partition is written behind.
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
    panic!("{what}: not within 10 s");
}

#[test]
fn links_devices_and_holes_are_the_same_everywhere() {
    let cluster = Cluster::up(2);
    fs::write(cluster.at(1, "file"), "x").unwrap();
    fs::hard_link(cluster.at(2, "file"), cluster.at(2, "second")).unwrap();
    assert_eq!(fs::metadata(cluster.at(1, "file")).unwrap().nlink(), 2);
    fs::remove_file(cluster.at(1, "file")).unwrap();
    assert_eq!(fs::metadata(cluster.at(2, "second")).unwrap().nlink(), 1);

    symlink("second", cluster.at(2, "link")).unwrap();
    assert_eq!(fs::read_link(cluster.at(1, "link")).unwrap().to_str(), Some("second"));
    assert_eq!(fs::read_to_string(cluster.at(1, "link")).unwrap(), "x");
    let longest = "t".repeat(4095);
    symlink(&longest, cluster.at(1, "long")).unwrap();
    assert_eq!(fs::read_link(cluster.at(2, "long")).unwrap().to_str(), Some(&longest[..]));

    cluster.shell(r#"mkfifo "$N1/fifo"; mknod "$N1/null" c 1 3; mknod "$N1/block" b 7 200"#).succeeds();
    assert!(fs::metadata(cluster.at(2, "fifo")).unwrap().file_type().is_fifo());
    let null = fs::metadata(cluster.at(2, "null")).unwrap();
    assert!(null.file_type().is_char_device());
    assert_eq!(null.rdev(), nix::sys::stat::makedev(1, 3));
    assert!(fs::metadata(cluster.at(2, "block")).unwrap().file_type().is_block_device());

    let holes = File::create(cluster.at(1, "holes")).unwrap();
    holes.write_all_at(b"end", 5 << 20).unwrap();
    let bytes = fs::read(cluster.at(2, "holes")).unwrap();
    assert_eq!(bytes.len(), (5 << 20) + 3);
    assert!(bytes[..5 << 20].iter().all(|&byte| byte == 0));
}

/// What lay behind the new end is gone, also when the file grows again, and after a restart.
#[test]
fn nothing_old_comes_back_after_truncate_and_extend() {
    let mut cluster = Cluster::up(2);
    fs::write(cluster.at(1, "file"), vec![0xee; 40_000]).unwrap();
    File::open(cluster.at(1, "file")).unwrap().sync_all().unwrap();
    File::options().write(true).open(cluster.at(2, "file")).unwrap().set_len(5000).unwrap();
    File::options().write(true).open(cluster.at(1, "file")).unwrap().set_len(40_000).unwrap();
    let check = |cluster: &Cluster| {
        for node in [1, 2] {
            let bytes = fs::read(cluster.at(node, "file")).unwrap();
            assert_eq!(bytes.len(), 40_000);
            assert!(
                bytes[..5000].iter().all(|&byte| byte == 0xee) && bytes[5000..].iter().all(|&byte| byte == 0)
            );
        }
    };
    check(&cluster);
    cluster.restart();
    check(&cluster);
}

/// Locks are cluster-wide or refused: two nodes never both hold one.
#[test]
fn no_lock_is_held_twice() {
    use nix::fcntl::{Flock, FlockArg};
    let cluster = Cluster::up(2);
    fs::write(cluster.at(1, "locked"), "").unwrap();
    let lock = |node| {
        let file = File::options().write(true).open(cluster.at(node, "locked")).unwrap();
        Flock::lock(file, FlockArg::LockExclusiveNonblock).map_err(|(_, error)| error)
    };
    let held = [lock(1), lock(2)];
    let granted = held.iter().filter(|lock| lock.is_ok()).count();
    assert!(granted <= 1, "both nodes hold the lock");
}

/// The two files exchange places, or the call changes nothing.
#[test]
fn renames_that_exchange_and_that_refuse_to_replace() {
    use nix::fcntl::{AT_FDCWD, RenameFlags, renameat2};
    let cluster = Cluster::up(2);
    fs::create_dir(cluster.at(1, "d")).unwrap();
    fs::write(cluster.at(1, "a"), "A").unwrap();
    fs::write(cluster.at(2, "d/b"), "B").unwrap();
    let rename =
        |node, flags| renameat2(AT_FDCWD, &cluster.at(node, "a"), AT_FDCWD, &cluster.at(node, "d/b"), flags);
    assert_eq!(rename(2, RenameFlags::RENAME_NOREPLACE), Err(Errno::EEXIST));
    rename(2, RenameFlags::RENAME_EXCHANGE).unwrap();
    assert_eq!(fs::read_to_string(cluster.at(1, "a")).unwrap(), "B");
    assert_eq!(fs::read_to_string(cluster.at(1, "d/b")).unwrap(), "A");
}

#[test]
fn statfs_counts_every_partition() {
    let cluster = Cluster::up(2);
    let [one, two] = [1, 2].map(|node| nix::sys::statvfs::statvfs(&cluster.at(node, "")).unwrap());
    assert_eq!(one.blocks(), two.blocks());
    let native = nix::sys::statvfs::statvfs(&cluster.playground().partition(1)).unwrap();
    let bytes =
        |figures: &nix::sys::statvfs::Statvfs| figures.blocks() as u128 * figures.fragment_size() as u128;
    assert!(bytes(&one) >= bytes(&native) * 3 / 2, "only one partition is counted");
    assert_eq!(one.name_max(), 255);
}
