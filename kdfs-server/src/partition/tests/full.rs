//! A full disk: what frees space has to work all the same, and a crash on the way loses nothing.

use super::crash::{File, Files, page, try_commit};
use super::disk::MemoryDisk;
use super::running::{ARENA, Server};
use super::whole;
use super::world::{file_key, formatted, inode_key, open, read_inode, root};
use futures_lite::future::block_on;
use kddm_rdma::Disk;
use kdfs_format::paths;
use kdfs_fs::{Caller, Errno};
use std::io;
use std::time::{Duration, Instant};

const MIB: usize = 1 << 20;

fn fill(server: &Server, name: &str, byte: u8) -> kdfs_fs::FileId {
    let file = server.file(name);
    for index in 0.. {
        server.write(file, (index * MIB) as u64, &vec![byte; MIB]);
        match block_on(server.fs.fsync(file)) {
            Ok(()) => assert!(index < 8, "{index} MiB fit into 8"),
            Err(errno) => {
                assert_eq!(errno, Errno::ENOSPC);
                break;
            }
        }
    }
    file
}

fn unlink(server: &Server, name: &str) {
    block_on(server.fs.unlink(&Caller::ROOT, server.fs.root(), name.as_bytes())).unwrap();
}

fn has(server: &Server, path: &str) -> bool {
    server.disk.exists(&root().join(path)).unwrap()
}

/// Makes checkpoints until `done`.
fn until(server: &Server, what: &str, mut done: impl FnMut(&io::Result<()>) -> bool) {
    let began = Instant::now();
    loop {
        let result = block_on(server.partition.commit(false));
        if done(&result) {
            return;
        }
        assert!(began.elapsed() < Duration::from_secs(15), "{what} never happened: {result:?}");
    }
}

#[test]
fn removals_need_no_room_and_a_crash_finds_everything_whole() {
    let image = formatted();
    let server = Server::start(image.clone(), 2 * ARENA);
    until(&server, "a reserve", |_| has(&server, paths::RESERVE));
    let begin = server.disk.moment();
    let before = server.disk.image();
    server.disk.set_capacity(8 << 20);
    let kept = server.file("kept");
    server.write(kept, 0, &vec![1; MIB]);
    block_on(server.fs.fsync(kept)).unwrap();
    let old = server.file("old");
    server.write(old, 0, &vec![2; 2 * MIB]);
    block_on(server.fs.fsync(old)).unwrap();
    server.fs.release(old);
    let large = fill(&server, "large", 3);
    let other = fill(&server, "other", 4);

    // Others wait for room with bytes in memory: this one's have to go before them.
    unlink(&server, "old");
    until(&server, "the removal of a file", |_| !has(&server, "0-99/3"));
    until(&server, "room for the others", |result| result.is_ok());
    server.truncate(large, 0);
    until(&server, "a cut", |result| result.is_ok());
    fill(&server, "large again", 5);
    server.fs.release(other);
    server.disk.fill();
    unlink(&server, "other");
    until(&server, "the removal of another file", |_| !has(&server, "0-99/5"));
    until(&server, "room", |result| result.is_ok());

    let steps = server.disk.steps();
    let mut image = before;
    let stride = (steps.len() / 200).max(1);
    let mut given_up = 0;
    for (moment, step) in steps.iter().enumerate().skip(begin) {
        let gone = matches!(step, super::disk::Step::SetLength(path, _) if path.ends_with(paths::RESERVE));
        given_up += usize::from(gone);
        if moment % stride == 0 || gone {
            let partition = open(&MemoryDisk::new(image.clone())).unwrap();
            let files = whole::walk(&partition).unwrap_or_else(|what| panic!("before step {moment}: {what}"));
            let expected = [("/kept", 1), ("/old", 2), ("/large", 3), ("/other", 4), ("/large again", 5)];
            for (path, byte) in expected {
                let Some(inode) = files.get(path) else { continue };
                let bytes = whole::read(&partition, inode);
                assert!(bytes.iter().all(|found| *found == byte), "before step {moment}: {path}");
            }
        }
        image.step(step).unwrap();
    }
    assert!(given_up > 0, "the disk was never so full that the reserve was needed");
    server.disk.set_capacity(u64::MAX);
    let large = server.file("last");
    server.write(large, 0, b"end");
    until(&server, "a new reserve", |_| has(&server, paths::RESERVE));
}

/// Bytes of a file that has the number of a removed one wait in the checkpoint with that removal.
#[test]
fn bytes_in_a_checkpoint_that_does_not_fit_wait_for_its_removals() {
    let disk = MemoryDisk::new(formatted());
    let partition = open(&disk).unwrap();
    let device = &partition.device;
    let written = |generation, stamp| {
        (0..300).for_each(|at| device.sync(file_key(2, generation, at), &page(stamp)).unwrap());
        Files::from([(2, File { generation, pages: vec![stamp; 300] })])
    };
    let files = written(5, 1);
    try_commit(&partition, &files, true).unwrap();
    device.settle().unwrap();
    device.native.take_reserve().unwrap();
    disk.fill();
    device.remove(inode_key(2)).unwrap();
    let files = written(6, 2);
    let error = try_commit(&partition, &files, true).unwrap_err();
    assert_eq!(error.raw_os_error(), Some(nix::libc::ENOSPC));
    let crashed = open(&MemoryDisk::new(disk.image().without_power(|| false))).unwrap();
    let inode = read_inode(&crashed, 2).unwrap();
    assert_eq!((inode.generation.get(), inode.size.get()), (6, 0));

    device.settle().unwrap();
    // Bytes and their copy in the checkpoint.
    disk.set_capacity(8 << 20);
    try_commit(&partition, &files, true).unwrap();
    device.settle().unwrap();
    let crashed = open(&MemoryDisk::new(disk.image().without_power(|| false))).unwrap();
    let mut bytes = vec![0; 4096];
    for at in 0..300 {
        crashed.device.insert(file_key(2, 6, at), &mut bytes).unwrap();
        assert_eq!(bytes, page(2), "page {at}");
    }
}

/// A symbolic link is committed with its target, or not at all.
#[test]
fn a_link_has_its_target_on_a_full_disk() {
    let server = Server::start(formatted(), ARENA);
    until(&server, "a reserve", |_| has(&server, paths::RESERVE));
    server.disk.fill();
    let begin = server.disk.moment();
    let before = server.disk.image();
    let target = [b't'; 3000];
    block_on(server.fs.symlink(&Caller::ROOT, server.fs.root(), b"link", &target)).unwrap();
    let file = server.file("file");
    server.write(file, 0, &[1; MIB]);
    until(&server, "the full disk", |result| result.is_err());
    let (mut image, mut seen) = (before, 0);
    for step in server.disk.steps().iter().skip(begin) {
        image.step(step).unwrap();
        let partition = open(&MemoryDisk::new(image.clone())).unwrap();
        if let Some(inode) = whole::walk(&partition).unwrap().get("/link") {
            assert_eq!(whole::read(&partition, inode), target);
            seen += 1;
        }
    }
    assert!(seen > 0, "the reserve has room for a link");
}

/// However many files are made while there is no room: what is removed then makes it.
#[test]
fn many_new_files_do_not_hold_removals_up() {
    let server = Server::start(formatted(), 4 * ARENA);
    until(&server, "a reserve", |_| has(&server, paths::RESERVE));
    server.disk.set_capacity(8 << 20);
    let old = server.file("old");
    server.write(old, 0, &vec![2; 2 * MIB]);
    block_on(server.fs.fsync(old)).unwrap();
    server.fs.release(old);
    until(&server, "a look at the room", |_| block_on(server.fs.statfs()).unwrap().total == 8 << 20);
    server.disk.fill();
    let mut made = 0;
    let refused = loop {
        let name = format!("a file of those that are too many for the disk, number {made}");
        let file = block_on(server.fs.mknod(&Caller::ROOT, server.fs.root(), name.as_bytes(), 0o100644, 0));
        match file {
            Ok(_) => made += 1,
            Err(errno) => break errno,
        }
        assert!(made < 100_000, "never refused");
    };
    assert_eq!(refused, Errno::ENOSPC);
    println!("{made} files were made before one was refused");
    unlink(&server, "old");
    until(&server, "the removal", |_| !has(&server, "0-99/2"));
    server.disk.set_capacity(u64::MAX);
    until(&server, "room for all", |result| result.is_ok());
    let partition = open(&MemoryDisk::new(server.disk.image())).unwrap();
    assert_eq!(whole::walk(&partition).unwrap().len(), made);
}
