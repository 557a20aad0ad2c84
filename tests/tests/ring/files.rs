//! Files through the ring, beside the mounts.

use crate::attach;
use kddm_tests::Cluster;
use kdfs_client::{Attach, Error, File, OpenOptions, Refusal, SetOptions};
use nix::libc;
use std::{
    fs,
    io::{Read, Write},
    os::unix::fs::{MetadataExt, symlink},
};

#[test]
fn files_are_the_same_through_mount_and_ring() {
    let cluster = Cluster::up(2);
    let session = attach(&cluster, 2);
    let bytes: Vec<u8> = (0..3_000_000_u32).flat_map(|n| (n as u16).to_le_bytes()).collect();
    fs::write(cluster.at(1, "written"), &bytes).unwrap();
    let mut read = Vec::new();
    session.open("/written", OpenOptions::read()).unwrap().read_to_end(&mut read).unwrap();
    assert!(read == bytes);
    let mut file = session.open("made", OpenOptions::write().create_new(0o640)).unwrap();
    file.write_all(&bytes).unwrap();
    file.sync().unwrap();
    drop(file);
    assert!(fs::read(cluster.at(1, "made")).unwrap() == bytes);
    let (ring, mount) = (session.metadata("/made").unwrap(), fs::metadata(cluster.at(1, "made")).unwrap());
    assert_eq!((ring.len(), ring.permissions()), (mount.len(), mount.mode() & 0o7777));
    assert_eq!((ring.facts().modified, u64::from(ring.facts().inode)), (mount.mtime(), mount.ino()));
    let file = session.open("made", OpenOptions::read_write()).unwrap();
    file.set_len(10).unwrap();
    file.write_at(b"end", 8).unwrap();
    assert_eq!(fs::metadata(cluster.at(1, "made")).unwrap().len(), 11);
    let mut appended = session.open("made", OpenOptions::write().append()).unwrap();
    appended.write_all(b"!").unwrap();
    assert!(fs::read(cluster.at(2, "made")).unwrap().ends_with(b"end!"));
}

#[test]
fn paths_lead_where_the_kernel_leads_them() {
    let cluster = Cluster::up(1);
    let session = attach(&cluster, 1);
    session.create_dir("/a", 0o755).unwrap();
    session.create_dir("/a/b/", 0o755).unwrap();
    fs::write(cluster.at(1, "a/b/file"), "x").unwrap();
    symlink("b/../b", cluster.at(1, "a/relative")).unwrap();
    symlink("/a/b/file", cluster.at(1, "a/absolute")).unwrap();
    symlink("loop", cluster.at(1, "loop")).unwrap();
    for path in ["a/b/file", "/a//b/./file", "a/relative/file", "a/absolute", "../a/b/../b/file"] {
        assert_eq!(session.metadata(path).unwrap().len(), 1, "{path}");
    }
    assert!(session.symlink_metadata("a/absolute").unwrap().is_symlink());
    assert!(session.symlink_metadata("a/relative/").unwrap().is_dir());
    session.symlink("absolute", "a/link").unwrap();
    assert_eq!(session.read_link("a/link").unwrap().as_os_str(), "absolute");
    let errno = |path: &str| session.metadata(path).unwrap_err().refusal();
    assert_eq!(errno("loop"), Some(Refusal::File(libc::ELOOP)));
    assert_eq!(errno("a/none"), Some(Refusal::File(libc::ENOENT)));
    assert_eq!(errno("a/b/file/"), Some(Refusal::File(libc::ENOTDIR)));
    assert_eq!(errno("a/b/file/x"), Some(Refusal::File(libc::ENOTDIR)));
    assert_eq!(errno(&"x/".repeat(3000)), Some(Refusal::File(libc::ENAMETOOLONG)));
    session.rename("a/b/file", "a/moved").unwrap();
    session.remove_file("a/moved").unwrap();
    assert_eq!(session.remove_dir("a").unwrap_err().refusal(), Some(Refusal::File(libc::ENOTEMPTY)));
    session.remove_dir("a/b").unwrap();
}

#[test]
fn a_large_directory_is_listed_once() {
    let cluster = Cluster::up(1);
    for number in 0..1500 {
        fs::write(cluster.at(1, &format!("file-with-a-name-{number}")), "").unwrap();
    }
    let session = attach(&cluster, 1);
    let entries: kdfs_client::Result<Vec<_>> = session.read_dir("/").unwrap().collect();
    let mut names: Vec<_> = entries.unwrap().into_iter().map(|entry| entry.name).collect();
    names.sort();
    names.dedup();
    assert_eq!(names.len(), 1502, "with . and ..");
}

#[test]
fn an_open_file_outlives_its_name_until_its_program_ends() {
    let cluster = Cluster::up(1);
    let session = attach(&cluster, 1);
    let mut file = session.open("file", OpenOptions::read_write().create_new(0o600)).unwrap();
    file.write_all(b"still here").unwrap();
    fs::remove_file(cluster.at(1, "file")).unwrap();
    std::thread::sleep(std::time::Duration::from_millis(1500));
    let mut read = [0; 10];
    assert_eq!(file.read_at(&mut read, 0).unwrap(), 10);
    assert_eq!(&read, b"still here");
}

/// Bytes that tell where they are.
fn pattern(thread: usize, length: usize) -> Vec<u8> {
    (0..length as u32).map(|at| (at ^ at >> 8 ^ at >> 16) as u8 ^ thread as u8).collect()
}

/// Threads that share a window with room for two records, and another program.
#[test]
fn what_is_appended_at_once_lies_together() {
    const THREADS: u8 = 4;
    const RECORDS: usize = 40;
    const RECORD: usize = 30_000;
    let cluster = Cluster::up(1);
    let session = Attach::default().window(64 << 10).to(cluster.ring(1)).unwrap();
    let other = attach(&cluster, 1);
    let append = OpenOptions::write().create(0o600).append();
    std::thread::scope(|scope| {
        for thread in 0..THREADS {
            let session = if thread == 0 { &other } else { &session };
            scope.spawn(move || {
                let log = session.open("/log", append).unwrap();
                for _ in 0..RECORDS {
                    log.write_at(&[thread; RECORD], 0).unwrap();
                }
            });
        }
    });
    let log = fs::read(cluster.at(1, "log")).unwrap();
    assert_eq!(log.len(), usize::from(THREADS) * RECORDS * RECORD);
    for (place, record) in log.chunks(RECORD).enumerate() {
        assert!(record.iter().all(|&byte| byte == record[0]), "record {place} has others' bytes in it");
    }
    let long = session.open("/log", append).unwrap();
    let refused = long.write_at(&[9; 100_000], 0).unwrap_err();
    assert!(matches!(refused, Error::Window(_)), "{refused}");
    assert_eq!(session.metadata("/log").unwrap().len(), log.len() as u64, "nothing was written");
}

#[test]
fn many_threads_move_long_files_through_a_small_window() {
    const THREADS: usize = 8;
    const BYTES: usize = 1_000_003;
    let cluster = Cluster::up(1);
    // Less than a page for each thread.
    let session = Attach::default().window(16 << 10).to(cluster.ring(1)).unwrap();
    let open =
        |thread| session.open(format!("/file {thread}"), OpenOptions::read_write().create(0o600)).unwrap();
    let files: Vec<File> = (0..THREADS).map(open).collect();
    std::thread::scope(|scope| {
        for (thread, file) in files.iter().enumerate() {
            scope.spawn(move || {
                let (bytes, mut back) = (pattern(thread, BYTES), vec![0; BYTES + 1]);
                file.write_at(&bytes, 0).unwrap();
                assert_eq!(file.read_at(&mut back, 0).unwrap(), BYTES);
                assert!(back[..BYTES] == bytes);
            });
        }
    });
    let seen = fs::read(cluster.at(1, "file 5")).unwrap();
    assert!(seen == pattern(5, BYTES), "the kernel sees the same");
    let held = session.create_set("set", SetOptions::new(12 << 10)).unwrap();
    let file = session.open("/file 1", OpenOptions::read()).unwrap();
    let held = held.grab(0).unwrap();
    assert_eq!(file.read_at(&mut vec![0; BYTES], 0).unwrap(), BYTES, "a page is left");
    drop(held);
}
