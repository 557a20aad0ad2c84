//! Beginnings and ends of nodes.

mod cluster;

use cluster::{Cluster, Setup, id, page, small, stored};
use futures_lite::future::block_on;
use kddm_rdma::{Arena, ArenaConfig, Host, Incarnation, LinuxHost, Node, NodeConfig, NodeError, OpError};
use std::sync::Arc;
use std::time::{Duration, Instant};

fn config(me: u8, members: &[u8]) -> NodeConfig {
    NodeConfig {
        me: id(me),
        incarnation: Incarnation(1),
        members: members.iter().map(|&member| id(member)).collect(),
        loss: kddm_rdma::Loss::Local,
        inline_max: 256,
        speculate: true,
        unsound_keep_copies: false,
    }
}

#[test]
fn what_cannot_be_a_node_is_refused() {
    let host = LinuxHost::start(1).unwrap();
    let arena = Arc::new(Arena::new(ArenaConfig::new(1 << 20)).unwrap());
    let network = cluster::memory_fabric::Network::default();
    let start = |me, members: &[u8], families| {
        let wire = Box::new(network.join(id(me), arena.clone()));
        Node::start(config(me, members), wire, arena.clone(), host.clone(), families)
    };
    assert!(matches!(start(3, &[1, 2], vec![]), Err(NodeError::NotAMember(node)) if node == id(3)));
    let twice = vec![cluster::volatile_family(), cluster::volatile_family()];
    assert!(matches!(start(4, &[4], twice), Err(NodeError::KindTaken(cluster::VOLATILE))));
    let node = start(5, &[5], vec![cluster::volatile_family()]).unwrap();
    assert!(matches!(start(6, &[6], vec![]), Err(NodeError::ArenaTaken)));
    block_on(node.get(small(1))).unwrap();
}

#[test]
fn the_last_clone_ends_the_node_and_guards_outlive_it() {
    let host = LinuxHost::start(1).unwrap();
    let arena = Arc::new(Arena::new(ArenaConfig::new(1 << 20)).unwrap());
    let wire = Box::new(cluster::memory_fabric::Network::default().join(id(77), arena.clone()));
    let families = vec![cluster::volatile_family()];
    let node = Node::start(config(77, &[77]), wire, arena, host, families).unwrap();
    let clone = node.clone();
    let mut guard = block_on(node.grab(page(1))).unwrap();
    drop(node);
    wait_until(|| has_thread("kddm-node-77"));
    drop(clone);
    wait_until(|| !has_thread("kddm-node-77"));
    guard.fill(7);
    assert!(guard.iter().all(|&byte| byte == 7));
}

/// The kernel names and forgets threads a moment after they have begun and ended.
fn wait_until(condition: impl Fn() -> bool) {
    let began = Instant::now();
    while !condition() {
        assert!(began.elapsed() < Duration::from_secs(5));
        std::thread::yield_now();
    }
}

fn has_thread(name: &str) -> bool {
    std::fs::read_dir("/proc/self/task").unwrap().any(|task| {
        // Threads of other tests may end while we look.
        let comm = std::fs::read_to_string(task.unwrap().path().join("comm"));
        comm.is_ok_and(|comm| comm.trim() == name)
    })
}

#[test]
fn a_node_comes_back_in_another_life() {
    let mut cluster = Setup { tcp: true, ..Setup::nodes(2) }.start();
    block_on(async {
        for life in 2..5 {
            for object in 0..4 {
                drop(cluster.nodes[0].get(page(object * 64)).await.unwrap());
                drop(cluster.nodes[1].grab(page(object * 64)).await.unwrap());
            }
            cluster.restart(1, Incarnation(life));
            let one = &cluster.nodes[0];
            // What is volatile and was the other's is lost, and says so; whoever removes it begins anew.
            for object in 0..4 {
                let key = page(object * 64);
                let mut outcome = one.get(key).await.map(drop);
                if outcome == Err(OpError::Lost) {
                    one.remove(key).await.unwrap();
                    outcome = one.get(key).await.map(drop);
                }
                assert_eq!(outcome, Ok(()), "object {object} in life {life}: {:?}", one.dump(key));
            }
        }
    });
}

#[test]
fn a_shortage_that_cannot_end_is_told() {
    let cluster = Cluster::with_arena(2, 1 << 20);
    let (one, host) = (&cluster.nodes[0], &cluster.host);
    let began = host.now();
    let failed = block_on(async {
        for object in 0.. {
            if let Err(error) = one.grab(page(object)).await {
                return error;
            }
        }
        unreachable!()
    });
    assert_eq!(failed, OpError::NoMemory, "volatile objects have no device to go to");
    assert!(host.now() - began < Duration::from_secs(5));
    block_on(async {
        one.remove(page(0)).await.unwrap();
        drop(one.grab(page(0)).await.unwrap());
    });
}

#[test]
fn a_home_without_memory_refuses_others_too() {
    let cluster = Cluster::with_arena(2, 1 << 20);
    let (one, two) = (&cluster.nodes[0], &cluster.nodes[1]);
    let at_one = |object| one.dump(stored(object)).home == Some(id(1));
    let mut keys = (0..).filter(|&object| at_one(object)).map(stored);
    let mut held = Vec::new();
    block_on(async {
        // Everything that node 1 has is held, by itself.
        while let Ok(guard) = one.grab(keys.next().unwrap()).await {
            held.push(guard);
        }
        let began = cluster.host.now();
        let outcome = two.get(keys.next().unwrap()).await.map(drop);
        assert!(cluster.host.now() - began < Duration::from_secs(8), "{outcome:?} after a long time");
        held.clear();
        drop(two.get(keys.next().unwrap()).await.unwrap());
    });
}

#[test]
fn who_has_no_memory_for_what_others_grant_hears_of_it() {
    let cluster = Cluster::with_arena(2, 1 << 20);
    let (one, two) = (&cluster.nodes[0], &cluster.nodes[1]);
    let at_one = |object| one.dump(stored(object)).home == Some(id(1));
    let mut keys = (0..).filter(|&object| at_one(object)).map(stored);
    let mut held = Vec::new();
    block_on(async {
        let failed = loop {
            let began = cluster.host.now();
            match two.get(keys.next().unwrap()).await {
                Ok(guard) => held.push(guard),
                Err(error) => break (error, cluster.host.now() - began),
            }
        };
        assert!(failed.0 == OpError::NoMemory && failed.1 < Duration::from_secs(5), "{failed:?}");
        let last = keys.next().unwrap();
        held.clear();
        drop(two.grab(last).await.unwrap());
    });
}
