//! Nodes without a partition, and nodes that go away.

use kddm_bench::alternate::{Options, run};
use kddm_bench::random::fresh_seed;
use kddm_tests::{ByHand, Cluster, MOUNT_1, Stopped, errno_of};
use nix::errno::Errno;
use std::fs::{self, File};
use std::time::{Duration, Instant};

/// Within this time a call that needs a lost node has failed.
const LIMIT: Duration = Duration::from_secs(5);

/// Copies that are still valid may be read until the loss is noticed; then, and in time, it is EIO.
fn fails_in_time(cluster: &Cluster, node: u8, name: &str) {
    let begin = Instant::now();
    loop {
        let result = fs::read(cluster.at(node, name));
        assert!(begin.elapsed() < LIMIT, "{name}: not failed after {:?}: {result:?}", begin.elapsed());
        if let Err(error) = result {
            assert_eq!(error.raw_os_error(), Some(Errno::EIO as i32), "{error}");
            return;
        }
    }
}

#[test]
fn a_node_is_lost_and_comes_back() {
    lost_and_back("shm");
}

#[test]
fn a_node_is_lost_and_comes_back_over_tcp() {
    lost_and_back("tcp");
}

fn lost_and_back(fabric: &str) {
    let mut cluster = Cluster::over(fabric, 2);
    fs::write(cluster.at(1, "on-1"), "one").unwrap();
    fs::write(cluster.at(2, "on-2"), vec![2; 30_000]).unwrap();
    File::open(cluster.at(2, "on-2")).unwrap().sync_all().unwrap();
    // Node 2 has the only new copy of a page of node 1's: with the node, that write is lost, the file is not.
    let mut open = File::options().append(true).open(cluster.at(1, "on-1")).unwrap();
    cluster.crash(2);
    fails_in_time(&cluster, 1, "on-2");

    let begin = Instant::now();
    assert_eq!(fs::read_to_string(cluster.at(1, "on-1")).unwrap(), "one");
    std::io::Write::write_all(&mut open, b" more").unwrap();
    fs::write(cluster.at(1, "new"), "made while alone").unwrap();
    open.sync_all().unwrap();
    assert!(begin.elapsed() < LIMIT, "what needs nobody took {:?}", begin.elapsed());
    let status = cluster.playground().status().unwrap();
    let states: Vec<_> = status.iter().map(|node| (node.id, node.state.as_str())).collect();
    assert_eq!(states, [(1, "alone"), (2, "down")]);

    cluster.start().unwrap();
    for node in [1, 2] {
        assert_eq!(fs::read(cluster.at(node, "on-2")).unwrap(), vec![2; 30_000]);
        assert_eq!(fs::read_to_string(cluster.at(node, "on-1")).unwrap(), "one more");
        assert_eq!(fs::read_to_string(cluster.at(node, "new")).unwrap(), "made while alone");
    }
    let seed = fresh_seed();
    let sides = [cluster.at(1, ""), cluster.at(2, "")];
    let outcome = run([&sides[0], &sides[1]], Options { rounds: 300, seed }).unwrap();
    assert!(outcome.clean(), "{outcome:#?}");
}

/// The root's node goes: the other can do nothing that needs it, says so in time, and is well when it returns.
#[test]
fn the_roots_node_is_lost_and_comes_back() {
    let mut cluster = Cluster::up(2);
    fs::create_dir(cluster.at(2, "folder")).unwrap();
    fs::write(cluster.at(2, "folder/file"), "kept").unwrap();
    File::open(cluster.at(2, "folder/file")).unwrap().sync_all().unwrap();
    cluster.crash(1);
    fails_in_time(&cluster, 2, "folder/file");
    cluster.start().unwrap();
    for node in [1, 2] {
        assert_eq!(fs::read_to_string(cluster.at(node, "folder/file")).unwrap(), "kept");
    }
}

/// A server that stands still is no better than a dead one, until it goes on.
#[test]
fn a_node_that_stands_still_holds_nobody_for_ever() {
    let cluster = Cluster::up(2);
    fs::write(cluster.at(2, "on-2"), "two").unwrap();
    fs::write(cluster.at(1, "on-1"), "one").unwrap();
    // What is not synced may go with a node.
    File::open(cluster.at(2, "on-2")).unwrap().sync_all().unwrap();
    let stopped = Stopped::new(cluster.playground().pid(2).unwrap());
    let begin = Instant::now();
    let refused = fs::write(cluster.at(1, "on-2"), "from 1");
    let waited = begin.elapsed();
    let own = fs::read_to_string(cluster.at(1, "on-1"));
    drop(stopped);
    assert_eq!(errno_of(refused), Errno::EIO);
    assert!(waited < LIMIT + Duration::from_secs(1), "failed only after {waited:?}");
    assert_eq!(own.unwrap(), "one");
    // It meets the others again by itself, with empty caches.
    let begin = Instant::now();
    while fs::read_to_string(cluster.at(1, "on-2")).is_err() {
        assert!(begin.elapsed() < Duration::from_secs(15), "the nodes do not meet again");
        std::thread::sleep(Duration::from_millis(50));
    }
    let seed = fresh_seed();
    let sides = [cluster.at(1, ""), cluster.at(2, "")];
    let outcome = run([&sides[0], &sides[1]], Options { rounds: 200, seed }).unwrap();
    assert!(outcome.clean(), "{outcome:#?}");
}

#[test]
fn a_node_without_a_partition_sees_and_makes_everything() {
    let hand = ByHand::new();
    hand.shell(r#""$MKFS" --node 1 "$P1" 1"#).succeeds();
    hand.shell(MOUNT_1).succeeds();
    let without_root = hand.shell(r#""$MOUNT" NONE "$M2" -o node=2,config="$C",log="$D/2.log""#).fails();
    assert!(without_root.contains("root=INODE"), "{without_root}");
    hand.shell(r#""$MOUNT" NONE "$M2" -o root=1:1,node=2,config="$C",log="$D/2.log""#).succeeds();
    let [one, two] = ["m1", "m2"].map(|mount| hand.path(mount));
    fs::write(two.join("from-2"), "no disk here").unwrap();
    assert_eq!(fs::read_to_string(one.join("from-2")).unwrap(), "no disk here");
    let seed = fresh_seed();
    let outcome = run([&one, &two], Options { rounds: 300, seed }).unwrap();
    assert!(outcome.clean(), "{outcome:#?}");
    // Made on a node without a partition, it lies on its parent's node and outlives everybody.
    hand.unmount();
    hand.shell(MOUNT_1).succeeds();
    assert_eq!(fs::read_to_string(one.join("from-2")).unwrap(), "no disk here");
}
