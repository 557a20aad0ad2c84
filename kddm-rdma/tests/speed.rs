//! A hit costs at most twice an uncontended lock, lookup included; 2.5 times at random over 65536 objects.

mod cluster;
#[path = "../memory/examples/hits/compare.rs"]
mod compare;
#[path = "../memory/examples/hits/locks.rs"]
mod locks;

use cluster::{Cluster, Setup, small};
use compare::{Case, OBJECTS, Way, cases, each};
use futures_lite::future::block_on;
use std::future::Future;
use std::pin::pin;
use std::task::{Context, Poll, Waker};

#[test]
fn a_hit_costs_no_more_than_promised() {
    let cluster = Setup { arena: 64 << 20, ..Setup::nodes(1) }.start();
    for object in 0..OBJECTS {
        drop(block_on(cluster.nodes[0].grab(small(object))).unwrap());
    }
    compare::hold_to_targets(|| measure(&cluster));
}

fn measure(cluster: &Cluster) -> Vec<Case> {
    let node = &cluster.nodes[0];
    let before = node.status().counts;
    let get = |objects: &[u32]| each(objects, |object| drop(at_once(node.get(small(object)))));
    let grab = |objects: &[u32]| each(objects, |object| drop(at_once(node.grab(small(object)))));
    // As programs have it.
    let awaited = |objects: &[u32]| {
        block_on(async {
            for &object in objects {
                drop(node.get(small(std::hint::black_box(object))).await);
            }
        });
    };
    let cases = cases(&[
        ("get + put", Way::Get(&get)),
        ("grab + put", Way::Grab(&grab)),
        ("get.await + put", Way::Get(&awaited)),
    ]);
    assert_eq!(node.status().counts.misses, before.misses, "what was measured were hits");
    cases
}

/// Polls once. Inlined as an `.await` is, or the future is moved before it is polled.
#[inline(always)]
fn at_once<T>(future: impl Future<Output = T>) -> T {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(value) => value,
        Poll::Pending => panic!("a hit was none"),
    }
}
