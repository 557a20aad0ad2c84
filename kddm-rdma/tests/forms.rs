//! The other forms of the operations: timed ones.

mod cluster;

use cluster::{Cluster, page};
use futures_lite::future::{block_on, or, poll_once};
use kddm_rdma::{Host, OpError, Options};
use std::pin::pin;
use std::time::Duration;

/// Fails the test instead of hanging it.
fn within<T>(cluster: &Cluster, seconds: u64, future: impl Future<Output = T>) -> T {
    let late = async {
        cluster.host.sleep(Duration::from_secs(seconds)).await;
        panic!("not done after {seconds} s");
    };
    block_on(or(future, late))
}

const SHORT: Duration = Duration::from_millis(20);
const LONG: Duration = Duration::from_secs(60);

fn rest(cluster: &Cluster) {
    while !cluster.nodes.iter().all(|node| node.is_quiet()) {
        std::thread::yield_now();
    }
}

#[test]
fn who_is_late_hears_so_and_nothing_stays_held() {
    let cluster = Cluster::new(2);
    let (one, two) = (&cluster.nodes[0], &cluster.nodes[1]);
    for object in 0..4 {
        let key = page(object * 64);
        within(&cluster, 20, async {
            let held = one.grab_for(key, Options::default(), LONG).await.unwrap();
            let late = two.get_for(key, Options::default(), SHORT).await.map(drop);
            assert_eq!(late, Err(OpError::TimedOut));
            let late = two.grab_for(key, Options::default(), Duration::ZERO).await.map(drop);
            assert_eq!(late, Err(OpError::TimedOut));
            let late = one.get_for(key, Options::default(), SHORT).await.map(drop);
            assert_eq!(late, Err(OpError::TimedOut), "threads of one node exclude each other too");
            drop(held);
            drop(two.grab_for(key, Options::default(), LONG).await.unwrap());
            drop(one.grab_for(key, Options::default(), LONG).await.unwrap());
        });
        rest(&cluster);
    }
}

#[test]
fn who_left_the_line_is_not_handed_the_object() {
    let cluster = Cluster::new(4);
    let key = page(0);
    let [one, two, three, ..] = &cluster.nodes[..] else { unreachable!() };
    within(&cluster, 20, async {
        let held = one.grab(key).await.unwrap();
        let mut next = pin!(two.grab(key));
        assert!(poll_once(&mut next).await.is_none());
        // It is named the successor by now: whoever comes stands in line.
        while !cluster.nodes.iter().any(|home| home.dump(key).state.contains("busy")) {
            std::thread::yield_now();
        }
        let late = three.grab_for(key, Options::default(), SHORT).await.map(drop);
        assert_eq!(late, Err(OpError::TimedOut));
        while !three.is_quiet() {
            std::thread::yield_now();
        }
        drop(held);
        drop(next.await.unwrap());
        rest(&cluster);
        let misses = two.status().counts.misses;
        drop(two.grab(key).await.unwrap());
        assert_eq!(two.status().counts.misses, misses, "it went on to a node that did not wait any more");
    });
}
