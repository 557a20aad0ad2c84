//! Servers with nothing to do cost nothing; a full disk costs nobody his data.

use kddm_bench::idle::usage;
use kddm_bench::playground::Options;
use kddm_tests::{Cluster, errno_of};
use nix::errno::Errno;
use nix::mount::{MsFlags, mount};
use std::fs::{self, File};
use std::io::Write;
use std::thread;
use std::time::Duration;

#[test]
fn idle_servers_use_no_processor_time_and_little_memory() {
    let cluster = Cluster::up(2);
    for at in 0..200 {
        fs::write(cluster.at(1, &format!("file-{at}")), vec![1; 10_000]).unwrap();
        fs::read(cluster.at(2, &format!("file-{at}"))).unwrap();
    }
    cluster.playground().sync().unwrap();
    let pids = [1, 2].map(|node| cluster.playground().pid(node).unwrap());
    // What is left to do behind the sync is done soon; then there is only a heartbeat a second. The kernel counts
    // in steps of 10 ms.
    let mut used = Vec::new();
    for _ in 0..6 {
        let before = pids.map(|pid| usage(pid).unwrap().cpu);
        thread::sleep(Duration::from_secs(4));
        let time = (0..2).map(|at| usage(pids[at]).unwrap().cpu - before[at]).max().unwrap_or_default();
        used.push(time);
        if time <= Duration::from_millis(20) {
            break;
        }
    }
    println!("processor time in windows of 4 s: {used:?}");
    assert!(used.last() <= Some(&Duration::from_millis(20)), "idle servers do not come to rest: {used:?}");
    for pid in pids {
        let beside = usage(pid).unwrap().beside_arena;
        println!("{} KiB beside the arena", beside >> 10);
        assert!(beside <= 64 << 20, "{} MiB beside the arena", beside >> 20);
    }
}

/// Unmounts the small file system when the test is over.
struct Small(std::path::PathBuf);

impl Drop for Small {
    fn drop(&mut self) {
        let _ = nix::mount::umount2(&self.0, nix::mount::MntFlags::MNT_DETACH);
    }
}

#[test]
fn a_full_native_disk_refuses_and_loses_nothing() {
    let mut cluster = Cluster::prepared(Options::nodes(2));
    let partition = cluster.directory().join("n1/part");
    fs::create_dir_all(&partition).unwrap();
    let size = Some("size=12m");
    mount(Some("tmpfs"), &partition, Some("tmpfs"), MsFlags::empty(), size).expect("a small file system");
    let small = Small(partition);
    cluster.start().unwrap();

    let kept = vec![7; 1 << 20];
    fs::write(cluster.at(1, "kept"), &kept).unwrap();
    File::open(cluster.at(1, "kept")).unwrap().sync_all().unwrap();
    // Through either node: the file lies on the small partition.
    let mut large = File::create(cluster.at(1, "large")).unwrap();
    let mut refused = None;
    for _ in 0..40 {
        let result = large.write_all(&vec![8; 1 << 20]).and_then(|()| large.sync_all());
        if let Err(error) = result {
            refused = error.raw_os_error().map(Errno::from_raw);
            break;
        }
    }
    assert_eq!(refused, Some(Errno::ENOSPC), "40 MiB fit into 12");
    drop(large);
    // Everything else goes on, and the space comes back.
    assert_eq!(fs::read(cluster.at(2, "kept")).unwrap(), kept);
    fs::write(cluster.at(2, "elsewhere"), "on node 2's own disk").unwrap();
    fs::remove_file(cluster.at(1, "large")).unwrap();
    let mut result = Err(std::io::Error::other("not tried"));
    for _ in 0..50 {
        result = fs::write(cluster.at(1, "again"), &kept)
            .and_then(|()| File::open(cluster.at(1, "again"))?.sync_all());
        if result.is_ok() {
            break;
        }
        // The space of a removed file comes back with the next checkpoint.
        thread::sleep(Duration::from_millis(200));
    }
    result.expect("space after the large file has gone");
    cluster.restart();
    assert_eq!(fs::read(cluster.at(2, "kept")).unwrap(), kept);
    assert_eq!(fs::read(cluster.at(2, "again")).unwrap(), kept);
    assert_eq!(errno_of(fs::metadata(cluster.at(1, "large"))), Errno::ENOENT);
    drop(cluster);
    drop(small);
}
