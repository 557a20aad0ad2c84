//! A partition under a real node and file system, on the disk in memory.

use super::disk::{Image, MemoryDisk, Step};
use super::whole;
use super::world::{config, formatted, open, root};
use crate::partition::Partition;
use crate::partition::native::Writer;
use futures_lite::future::{block_on, or, try_zip};
use kddm_cluster::{ClusterId, Key};
use kddm_fabric::tcp::{Greeting, Tcp, TcpConfig};
use kddm_memory::{Arena, ArenaConfig};
use kddm_rdma::{BoxFuture, Disk, Host, Job, LinuxHost, Node, NodeConfig};
use kdfs_fs::{Access, Caller, Changes, Errno, FileId, FileSystem, FsConfig, RenameMode};
use parking_lot::Mutex;
use std::sync::{Arc, mpsc};
use std::time::Duration;

/// Linux, but for its disk.
struct Mixed {
    linux: Arc<LinuxHost>,
    disk: MemoryDisk,
}

impl Host for Mixed {
    fn now(&self) -> Duration {
        self.linux.now()
    }
    fn wall(&self) -> Duration {
        self.linux.wall()
    }
    fn random(&self) -> u64 {
        self.linux.random()
    }
    fn spawn(&self, task: BoxFuture<'static, ()>) {
        self.linux.spawn(task);
    }
    fn run_blocking(&self, job: Job) {
        self.linux.run_blocking(job);
    }
    fn sleep(&self, time: Duration) -> BoxFuture<'static, ()> {
        self.linux.sleep(time)
    }
    fn disk(&self) -> &dyn Disk {
        &self.disk
    }
    fn spawn_thread(&self, name: &str, body: Job) {
        self.linux.spawn_thread(name, body);
    }
}

/// A node with a partition and nobody else.
pub struct Server {
    pub disk: MemoryDisk,
    pub partition: Arc<Partition>,
    node: Node,
    pub fs: FileSystem,
    linux: Arc<LinuxHost>,
}

impl Server {
    pub fn start(image: Image, arena: usize) -> Server {
        let linux = LinuxHost::start(2).unwrap();
        let disk = MemoryDisk::new(image);
        let host: Arc<dyn Host> = Arc::new(Mixed { linux: linux.clone(), disk: disk.clone() });
        let partition = Partition::open(host.clone(), &config()).unwrap();
        let (me, incarnation) = (config().node, partition.incarnation());
        let arena = Arc::new(Arena::new(ArenaConfig::new(arena)).unwrap());
        let tcp = TcpConfig {
            me,
            incarnation,
            listen: "127.0.0.1:0".parse().unwrap(),
            peers: Vec::new(),
            cluster: ClusterId([1; 16]),
            key: Key::from_bytes([2; 32]),
            greeting: Greeting { protocol_version: 1, format_version: 1, root: Some(partition.root()) },
        };
        let fabric = Tcp::start(tcp, arena.clone()).unwrap();
        let setup = NodeConfig {
            me,
            incarnation,
            members: vec![me],
            loss: kddm_rdma::Loss::Local,
            inline_max: 256,
            speculate: true,
            unsound_keep_copies: false,
        };
        let families = kdfs_fs::families(Some(partition.linker()));
        let node = Node::start(setup, Box::new(fabric), arena, host.clone(), families).unwrap();
        let orphans: Arc<std::sync::OnceLock<FileSystem>> = Arc::default();
        let reap = orphans.clone();
        let orphan: kdfs_fs::OrphanSink = Arc::new(move |inode, generation| {
            let fs = reap.get().unwrap().clone();
            fs.node().host().clone().spawn(Box::pin(async move {
                fs.reap(inode, generation).await.ok();
            }));
        });
        let here = Some(me);
        let fs = FileSystem::new(
            node.clone(),
            FsConfig { root: partition.root(), here, orphan: orphan.clone(), unsound_keep_names: false },
        );
        assert!(orphans.set(fs.clone()).is_ok());
        partition.start(node.clone(), orphan);
        Server { disk, partition, node, fs, linux }
    }

    /// Ends in good order; what it leaves.
    fn stop(self) -> Image {
        self.partition.close().unwrap();
        self.node.shutdown();
        self.disk.image()
    }

    pub fn file(&self, name: &str) -> FileId {
        let caller = Caller::ROOT;
        let write = Access::WRITE;
        let made = block_on(self.fs.create(&caller, self.fs.root(), name.as_bytes(), 0o644, write, false));
        made.unwrap().0.file
    }

    pub fn write(&self, file: FileId, offset: u64, bytes: &[u8]) {
        assert_eq!(block_on(self.fs.write(&Caller::ROOT, file, offset, bytes)), Ok(bytes.len()));
    }

    pub fn truncate(&self, file: FileId, size: u64) {
        let changes = Changes { size: Some(size), ..Changes::default() };
        block_on(self.fs.setattr(&Caller::ROOT, file, changes)).unwrap();
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.node.shutdown();
        self.linux.shutdown();
    }
}

pub const ARENA: usize = 16 << 20;

fn bytes_of(image: &Image, path: &str) -> Option<Vec<u8>> {
    let partition = open(&MemoryDisk::new(image.clone())).unwrap();
    let files = whole::walk(&partition).unwrap_or_else(|what| panic!("{what}"));
    files.get(path).map(|inode| whole::read(&partition, inode))
}

#[test]
fn what_was_written_is_there_after_a_good_end() {
    let server = Server::start(formatted(), ARENA);
    let file = server.file("a");
    server.write(file, 3, b"hello");
    server.fs.release(file);
    let image = server.stop();
    assert_eq!(bytes_of(&image, "/a").unwrap(), b"\0\0\0hello");
    assert!(!image.contents().contains_key(&root().join("....batch")));
}

#[test]
fn the_content_of_a_file_ends_where_the_file_does() {
    let server = Server::start(formatted(), ARENA);
    let file = server.file("a");
    let content = root().join("0-99/2/.content");
    server.write(file, 0, b"hello");
    block_on(server.partition.commit(false)).unwrap();
    assert_eq!(server.disk.image().contents()[&content], b"hello");
    server.write(file, 5000, b"more");
    block_on(server.partition.commit(true)).unwrap();
    assert_eq!(server.disk.length(&content).unwrap(), 5004);
    server.truncate(file, 3);
    server.write(file, 3, b"p");
    block_on(server.partition.commit(true)).unwrap();
    assert_eq!(server.disk.image().contents()[&content], b"help");
    // What was written ahead of its attributes is not cut off with the zeros of an older size.
    let native = &server.partition.device.native;
    native.write_content(2, 0, &[b"help, ahead".as_slice(), &[0; 4085]].concat(), Writer::Ahead).unwrap();
    native.trim(2, 4).unwrap();
    assert_eq!(server.disk.length(&content).unwrap(), 4096);
}

#[test]
fn what_fsync_acknowledged_survives_the_loss_of_power() {
    let server = Server::start(formatted(), ARENA);
    let file = server.file("durable");
    server.write(file, 0, &[7; 9000]);
    block_on(server.fs.fsync(file)).unwrap();
    let other = server.file("volatile");
    server.write(other, 0, &[8; 9000]);
    assert_eq!(bytes_of(&server.disk.image().without_power(|| false), "/durable").unwrap(), [7; 9000]);

    // Cut, written anew, and again durable: neither the old bytes nor the old cut come back.
    server.truncate(file, 100);
    server.write(file, 5000, &[9; 10]);
    block_on(server.fs.fsync(file)).unwrap();
    let mut expected = vec![7; 100];
    expected.resize(5000, 0);
    expected.extend([9; 10]);
    assert_eq!(bytes_of(&server.disk.image().without_power(|| false), "/durable").unwrap(), expected);
}

/// Who asks for durability waits for the checkpoint and for nothing else: not for the bytes in their places, nor for the
/// native files of what was asked before.
#[test]
fn fsync_ends_when_the_checkpoint_is_durable() {
    let server = Server::start(formatted(), ARENA);
    block_on(server.partition.commit(true)).unwrap();
    // Nobody brings anything to the native files now.
    let settling = server.partition.device.settling.lock();
    let begin = server.disk.moment();
    for number in 0..5 {
        let (name, before) = (format!("f{number}"), server.disk.moment());
        let file = server.file(&name);
        server.write(file, 0, &[number + 1; 4096]);
        block_on(server.fs.fsync(file)).unwrap();
        let syncs = server.disk.steps()[before..].iter().filter(|step| step.is_sync()).count();
        // The first makes the log, and its name.
        assert_eq!(syncs, if number == 0 { 2 } else { 1 }, "{:?}", &server.disk.steps()[before..]);
        let image = server.disk.image().without_power(|| false);
        assert_eq!(bytes_of(&image, &format!("/{name}")).unwrap(), [number + 1; 4096]);
    }
    let elsewhere =
        |step: &Step| matches!(step, Step::Write(path, ..) if !path.to_string_lossy().contains("batch"));
    let early: Vec<_> = server.disk.steps()[begin..].iter().filter(|step| elsewhere(step)).cloned().collect();
    assert!(early.is_empty(), "{early:?}");
    drop(settling);
    assert_eq!(bytes_of(&server.stop(), "/f4").unwrap(), [5; 4096]);
}

/// The disk is asked to make a checkpoint durable, and does not answer: files can be read and changed meanwhile.
#[test]
fn holds_are_not_kept_while_a_checkpoint_is_made_durable() {
    let server = Server::start(formatted(), ARENA);
    let file = server.file("a");
    server.write(file, 0, b"first");
    let (reached, at_disk) = mpsc::channel();
    let (go_on, gate) = mpsc::channel::<()>();
    let gate = Mutex::new((reached, gate));
    server.disk.watch(move |step| {
        if matches!(step, Step::SyncFile(path) if path.to_string_lossy().contains("batch")) {
            let gate = gate.lock();
            // The test has ended: nobody waits.
            gate.0.send(()).and_then(|()| gate.1.recv().map_err(|_| mpsc::SendError(()))).ok();
        }
    });
    std::thread::scope(|scope| {
        let fsync = scope.spawn(|| block_on(server.fs.fsync(file)));
        at_disk.recv().unwrap();
        server.write(file, 0, b"other");
        server.file("b");
        let mut read = [0; 5];
        assert_eq!(block_on(server.fs.read(file, 0, &mut read)), Ok(5));
        assert_eq!(&read, b"other");
        drop(go_on);
        fsync.join().unwrap().unwrap();
    });
    server.disk.watch(|_| {});
    let image = server.stop();
    assert_eq!(bytes_of(&image, "/a").unwrap(), b"other");
}

#[test]
fn many_fsyncs_at_a_time_share_checkpoints() {
    let server = Server::start(formatted(), ARENA);
    let files: Vec<FileId> = (0..40).map(|number| server.file(&format!("f{number}"))).collect();
    let before = server.disk.steps().len();
    std::thread::scope(|scope| {
        for &file in &files {
            let fs = &server.fs;
            scope.spawn(move || {
                assert_eq!(block_on(fs.write(&Caller::ROOT, file, 0, b"mine")), Ok(4));
                block_on(fs.fsync(file)).unwrap();
            });
        }
    });
    let steps = &server.disk.steps()[before..];
    let is_log = |path: &std::path::Path| path.to_string_lossy().contains("batch");
    let commits = steps.iter().filter(|step| matches!(step, Step::SyncFile(path) if is_log(path))).count();
    assert!(commits < 20, "{commits} checkpoints for 40 fsyncs");
    let image = server.disk.image().without_power(|| false);
    assert!((0..40).all(|number| bytes_of(&image, &format!("/f{number}")).unwrap() == b"mine"));
}

#[test]
fn nothing_is_written_when_nothing_has_changed() {
    let server = Server::start(formatted(), ARENA);
    server.file("a");
    block_on(server.partition.commit(true)).unwrap();
    block_on(server.partition.commit(true)).unwrap();
    let quiet = server.disk.moment();
    for durable in [false, true, true] {
        block_on(server.partition.commit(durable)).unwrap();
    }
    assert_eq!(server.disk.moment(), quiet, "{:?}", &server.disk.steps()[quiet..]);
}

#[test]
fn a_full_disk_is_reported_and_loses_nothing() {
    let server = Server::start(formatted(), ARENA);
    let kept = server.file("kept");
    server.write(kept, 0, b"safe");
    block_on(server.fs.fsync(kept)).unwrap();
    for room in [0, 1, 300, 5000, 9500, 14000] {
        server.disk.set_room(room);
        let file = server.file(&format!("file{room}"));
        server.write(file, 0, &[5; 8192]);
        assert_eq!(block_on(server.fs.fsync(file)), Err(Errno::ENOSPC), "room {room}");
        let partition = open(&MemoryDisk::new(server.disk.image())).unwrap();
        let files = whole::walk(&partition).unwrap_or_else(|what| panic!("room {room}: {what}"));
        assert_eq!(whole::read(&partition, &files["/kept"]), b"safe");
        server.disk.set_room(u64::MAX);
        block_on(server.fs.fsync(file)).unwrap();
        // The room is told again, so that the next file can be made.
        block_on(server.partition.commit(false)).unwrap();
    }
    let image = server.stop();
    for room in [0, 300, 14000] {
        assert_eq!(bytes_of(&image, &format!("/file{room}")).unwrap(), [5; 8192]);
    }
}

#[test]
fn more_than_the_arena_holds_goes_through_it() {
    let server = Server::start(formatted(), 8 << 20);
    let file = server.file("large");
    let block: Vec<u8> = (0..1 << 20).map(|at: u32| (at / 7) as u8).collect();
    for index in 0..12 {
        server.write(file, index << 20, &block);
    }
    // Written again after a cut that no checkpoint has committed: these bytes wait in the next one.
    server.truncate(file, 5000);
    for index in 0..12 {
        server.write(file, (index << 20) + 8192, &block);
    }
    let mut read = vec![0; 1 << 20];
    for index in 0..12 {
        assert_eq!(block_on(server.fs.read(file, (index << 20) + 8192, &mut read)), Ok(1 << 20));
        assert!(read == block, "MiB {index}");
    }
    server.fs.release(file);
    let found = bytes_of(&server.stop(), "/large").unwrap();
    assert!(found[..5000] == block[..5000] && found[5000..8192] == [0; 3192]);
    assert!(found[8192..].chunks(1 << 20).all(|chunk| chunk == block));
}

/// Cutting, or removing, a large file that is nearly nothing but holes needs no call of the linker for each of them.
#[test]
fn a_sparse_file_is_cut_and_removed_at_once() {
    // The disk in memory has no holes.
    const SIZE: u64 = 64 << 20;
    let server = Server::start(formatted(), ARENA);
    let calls = || server.node.status().counts.linker_calls;
    let file = server.file("sparse");
    for end in [0, 5000] {
        server.write(file, 100_000, b"middle");
        server.write(file, SIZE - 3, b"end");
        // One of them leaves memory, or not.
        block_on(server.partition.commit(true)).unwrap();
        let before = calls();
        server.truncate(file, end);
        assert!(calls() - before < 500, "{} calls to cut", calls() - before);
        let mut bytes = [1; 10];
        server.write(file, SIZE, b"more");
        assert_eq!(block_on(server.fs.read(file, 100_000, &mut bytes)), Ok(10));
        assert_eq!(bytes, [0; 10]);
    }
    let before = calls();
    server.fs.release(file);
    block_on(server.fs.unlink(&Caller::ROOT, server.fs.root(), b"sparse")).unwrap();
    while block_on(server.fs.getattr(file)) != Err(Errno::ESTALE) {
        std::thread::yield_now();
    }
    assert!(calls() - before < 500, "{} calls to remove", calls() - before);
}

#[test]
fn orphans_of_an_unclean_end_are_reaped() {
    let server = Server::start(formatted(), ARENA);
    let file = server.file("doomed");
    server.write(file, 0, &[1; 5000]);
    block_on(server.fs.unlink(&Caller::ROOT, server.fs.root(), b"doomed")).unwrap();
    block_on(server.partition.commit(false)).unwrap();
    let image = server.disk.image();
    assert!(image.contents().keys().any(|path| path.ends_with("0-99/2/.meta")), "it is still open");

    let server = Server::start(image, ARENA);
    while block_on(server.fs.getattr(file)) != Err(Errno::ESTALE) {
        std::thread::yield_now();
    }
    let image = server.stop();
    assert!(!image.contents().keys().any(|path| path.starts_with(root().join("0-99/2"))));
    bytes_of(&image, "/doomed");
}

/// Creates, writes, renames over, links, truncates and removes, in a directory of its own and in a common one.
async fn busy(fs: &FileSystem, id: u32, rounds: u32) -> kdfs_fs::Result<()> {
    let caller = Caller::ROOT;
    let root = fs.root();
    let own = fs.mkdir(&caller, root, format!("d{id}").as_bytes(), 0o755).await?.file;
    for round in 0..rounds {
        let name = format!("new{id}");
        let made = fs.create(&caller, own, name.as_bytes(), 0o644, Access::WRITE, true).await?.0.file;
        fs.write(&caller, made, 0, &vec![round as u8 + 1; 3000 + 1000 * round as usize % 9000]).await?;
        let target = format!("f{}", round % 7);
        let common = [own, root][(round % 3 == 0) as usize];
        fs.rename(&caller, (own, name.as_bytes()), (common, target.as_bytes()), RenameMode::Replace).await?;
        if round % 4 == 1 {
            fs.link(&caller, made, root, format!("l{id}.{round}").as_bytes()).await?;
        }
        if round % 5 == 2 {
            // To nothing: a cut inside a page is an overwrite of that page, which no checkpoint guards.
            fs.setattr(&caller, made, Changes { size: Some(0), ..Changes::default() }).await?;
        }
        fs.release(made);
        if round % 6 == 3 {
            fs.unlink(&caller, own, target.as_bytes()).await.or_else(missing)?;
        }
        if round % 8 == 4 {
            let sub = format!("s{id}");
            fs.mkdir(&caller, own, sub.as_bytes(), 0o755).await?;
            fs.rename(&caller, (own, sub.as_bytes()), (root, sub.as_bytes()), RenameMode::Replace).await?;
            fs.rmdir(&caller, root, sub.as_bytes()).await?;
        }
    }
    Ok(())
}

fn missing(errno: Errno) -> kdfs_fs::Result<()> {
    if errno == Errno::ENOENT { Ok(()) } else { Err(errno) }
}

#[test]
fn killed_at_any_write_every_operation_is_whole_or_missing() {
    let server = Server::start(formatted(), ARENA);
    let (fs, partition) = (server.fs.clone(), server.partition.clone());
    let checkpoints = async {
        for durable in [false, false, true].into_iter().cycle() {
            partition.commit(durable).await.unwrap();
        }
        unreachable!("the cycle has no end")
    };
    block_on(or(try_zip(busy(&fs, 1, 60), busy(&fs, 2, 60)), checkpoints)).unwrap();
    block_on(partition.commit(true)).unwrap();
    let steps = server.disk.steps();
    drop(server);
    let stride = (steps.len() / 150).max(1);
    let mut image = formatted();
    let mut most = 0;
    for (moment, step) in steps.iter().enumerate() {
        if moment % stride == 0 {
            let partition = open(&MemoryDisk::new(image.clone())).unwrap();
            match whole::walk(&partition) {
                Ok(files) => {
                    most = most.max(files.len());
                    for (path, inode) in files.iter().filter(|(_, inode)| !inode.is_directory()) {
                        let bytes = whole::read(&partition, inode);
                        // Each file was written once, with one byte over and over: attributes never run ahead of bytes.
                        let good =
                            bytes.first().is_none_or(|first| *first != 0 && bytes.iter().all(|b| b == first));
                        let runs: Vec<_> =
                            bytes.chunk_by(|a, b| a == b).map(|run| (run[0], run.len())).collect();
                        assert!(
                            good,
                            "killed before step {moment}: {path} (inode {:#x}) has {runs:?}",
                            inode.inode
                        );
                    }
                }
                Err(what) => panic!("killed before step {moment} of {}: {what}", steps.len()),
            }
        }
        image.step(step).unwrap();
    }
    assert!(most > 15, "the partition never had more than {most} files");
}

#[test]
fn several_thousand_files_are_not_slow() {
    let server = Server::start(formatted(), 64 << 20);
    let began = std::time::Instant::now();
    for number in 0..3000 {
        let file = server.file(&format!("file number {number}"));
        server.write(file, 0, &[number as u8; 2000]);
        server.fs.release(file);
    }
    let created = began.elapsed();
    block_on(server.partition.commit(false)).unwrap();
    println!("3000 files: created in {created:?}, with the checkpoint {:?}", began.elapsed());
    assert!(began.elapsed() < Duration::from_secs(20));
    let partition = open(&MemoryDisk::new(server.disk.image())).unwrap();
    assert_eq!(whole::walk(&partition).unwrap().len(), 3000);
}
