//! Nodes over sockets, and over shared memory: the same promises, and what only they can show.

mod cluster;

use cluster::{Setup, id, page, small};
use futures_lite::future::block_on;
use kddm_rdma::{Host, OpError};
use std::thread;
use std::time::{Duration, Instant};

const TCP: fn(u8) -> Setup = |nodes| Setup { tcp: true, ..Setup::nodes(nodes) };
const SHM: fn(u8) -> Setup = |nodes| Setup { shm: true, ..Setup::nodes(nodes) };

#[test]
fn counters_add_up() {
    counters(TCP(2));
}

#[test]
fn counters_add_up_over_shm() {
    counters(SHM(2));
}

fn counters(setup: Setup) {
    let cluster = setup.start();
    thread::scope(|scope| {
        for node in &cluster.nodes {
            for _ in 0..2 {
                scope.spawn(move || {
                    for round in 0..500 {
                        for key in [small(round % 2), page(round % 2)] {
                            let mut bytes = block_on(node.grab(key)).unwrap();
                            let next = u64::from_le_bytes(bytes[..8].try_into().unwrap()) + 1;
                            bytes[..8].copy_from_slice(&next.to_le_bytes());
                        }
                    }
                });
            }
        }
    });
    for key in [small(0), small(1), page(0), page(1)] {
        let bytes = block_on(cluster.nodes[1].get(key)).unwrap();
        assert_eq!(u64::from_le_bytes(bytes[..8].try_into().unwrap()), 1000);
    }
}

#[test]
fn who_waits_for_a_node_that_ends_hears_of_it() {
    waits_for_a_node_that_ends(TCP(2));
}

#[test]
fn who_waits_for_a_node_that_ends_hears_of_it_over_shm() {
    waits_for_a_node_that_ends(SHM(2));
}

fn waits_for_a_node_that_ends(setup: Setup) {
    let cluster = setup.start();
    let (one, two) = (&cluster.nodes[0], &cluster.nodes[1]);
    let held = block_on(two.grab(page(1))).unwrap();
    let began = Instant::now();
    thread::scope(|scope| {
        let waiting = scope.spawn(|| block_on(one.grab(page(1))).map(drop));
        while one.status().counts.misses < 1 {
            thread::yield_now();
        }
        two.shutdown();
        let outcome = waiting.join().unwrap();
        assert!(matches!(outcome, Err(OpError::PeerLost(_) | OpError::Lost)), "{outcome:?}");
    });
    assert!(began.elapsed() < Duration::from_secs(5));
    drop(held);
    let peer = one.status().peers.into_iter().find(|peer| peer.node == id(2)).unwrap();
    assert!(peer.up.is_none() && !peer.reason.is_empty(), "{peer:?}");
}

/// Processor time of this process so far.
fn processor_time() -> Duration {
    let usage = nix::sys::resource::getrusage(nix::sys::resource::UsageWho::RUSAGE_SELF).unwrap();
    let (user, system) = (usage.user_time(), usage.system_time());
    Duration::from_micros((user.tv_sec() + system.tv_sec()) as u64 * 1_000_000)
        + Duration::from_micros((user.tv_usec() + system.tv_usec()) as u64)
}

#[test]
fn idle_nodes_use_no_processor() {
    idle_nodes(TCP(3));
}

#[test]
fn idle_nodes_use_no_processor_over_shm() {
    idle_nodes(SHM(3));
}

/// Alone in its binary's run order it cannot be, so it looks for a quiet second among a few.
fn idle_nodes(setup: Setup) {
    let cluster = setup.start();
    for node in &cluster.nodes {
        drop(block_on(node.grab(page(1))).unwrap());
    }
    let mut least = Duration::MAX;
    for _ in 0..8 {
        let before = processor_time();
        block_on(cluster.host.sleep(Duration::from_millis(500)));
        least = least.min(processor_time() - before);
    }
    assert!(least < Duration::from_millis(5), "three idle nodes used {least:?} in half a second");
}
