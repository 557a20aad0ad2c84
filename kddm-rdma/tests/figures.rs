//! What a node says that it has done is what it has done.

mod cluster;

use cluster::{Cluster, page, small, stored};
use futures_lite::future::{block_on, poll_once};
use kddm_rdma::figures::{Figures, OperationKind, Outcome};
use kddm_rdma::{FirstTouch, Home, Node, ObjectKey, OpError, Options, Owner};
use std::pin::pin;
use std::time::Duration;

/// How often each outcome of `kind` has come about since `before`.
fn since(before: &Figures, node: &Node, kind: OperationKind) -> Vec<(Outcome, u64)> {
    let now = node.figures();
    let grown = |outcome: &Outcome| (*outcome, now.count(kind, *outcome) - before.count(kind, *outcome));
    Outcome::ALL.iter().map(grown).filter(|(_, count)| *count > 0).collect()
}

/// An object whose home is the node at `place`.
fn homed(cluster: &Cluster, place: usize, make: fn(u32) -> ObjectKey) -> ObjectKey {
    let home = cluster.nodes[place].me();
    let keys = (0..1000).map(make);
    let mut at_home = keys.filter(|&key| cluster.nodes[0].dump(key).home == Some(home));
    at_home.next().expect("hashes are spread")
}

#[test]
fn operations_are_told_apart_by_where_the_bytes_came_from() {
    let cluster = Cluster::new(3);
    let [home, two, three] = [0, 1, 2].map(|place| &cluster.nodes[place]);
    let (get, grab) = (OperationKind::Get, OperationKind::Grab);
    for make in [small, page] {
        let key = homed(&cluster, 0, make);
        let before = [home, two, three].map(Node::figures);
        drop(block_on(home.grab(key)).unwrap());
        assert_eq!(since(&before[0], home, grab), [(Outcome::Made, 1)], "{key}");
        drop(block_on(two.get(key)).unwrap());
        assert_eq!(since(&before[1], two, get), [(Outcome::Home, 1)], "{key}");
        drop(block_on(two.get(key)).unwrap());
        assert_eq!(since(&before[1], two, get), [(Outcome::Hit, 1), (Outcome::Home, 1)], "{key}");
        drop(block_on(two.grab(key)).unwrap());
        assert_eq!(since(&before[1], two, grab), [(Outcome::Upgraded, 1)], "{key}");
        drop(block_on(three.get(key)).unwrap());
        assert_eq!(since(&before[2], three, get), [(Outcome::Owner, 1)], "{key}");
        // At the home itself nothing of what it says to itself is a message.
        drop(block_on(home.get(key)).unwrap());
        assert_eq!(since(&before[0], home, get), [(Outcome::Owner, 1)], "{key}");
        drop(block_on(home.grab(key)).unwrap());
        assert_eq!(since(&before[0], home, grab), [(Outcome::Upgraded, 1), (Outcome::Made, 1)], "{key}");
        let figures = home.figures();
        let upgrades = figures.times(grab, Outcome::Upgraded);
        assert!(upgrades.count() > 0 && upgrades.nanos > 0, "its time is measured");
    }
}

#[test]
fn devices_refusals_and_ends_that_nobody_waits_for() {
    let cluster = Cluster::new(2);
    let [home, two] = [0, 1].map(|place| &cluster.nodes[place]);
    let key = homed(&cluster, 0, stored);
    cluster.device.objects.lock().insert(key, vec![7; 4096]);
    let before = [home, two].map(Node::figures);
    let get = OperationKind::Get;
    drop(block_on(home.get(key)).unwrap());
    assert_eq!(since(&before[0], home, get), [(Outcome::Device, 1)]);
    let refuse = Options { first_touch: FirstTouch::Refuse, ..Options::default() };
    assert_eq!(block_on(two.get_with(homed(&cluster, 0, small), refuse)).unwrap_err(), OpError::Absent);

    let held = block_on(home.grab(key)).unwrap();
    assert_eq!(block_on(two.try_get(key, Options::default())).unwrap_err(), OpError::WouldBlock);
    let late = block_on(two.get_for(key, Options::default(), Duration::from_millis(5)));
    assert_eq!(late.unwrap_err(), OpError::TimedOut);
    {
        let mut waits = pin!(two.get(key));
        assert!(block_on(poll_once(waits.as_mut())).is_none());
        assert_eq!((two.figures().waiting, two.dump(key).waiting), (1, 1));
    }
    assert_eq!((two.figures().waiting, two.dump(key).waiting), (0, 0));
    let ends = [Outcome::Absent, Outcome::WouldBlock, Outcome::TimedOut, Outcome::Cancelled];
    assert_eq!(since(&before[1], two, get), ends.map(|outcome| (outcome, 1)));
    drop(held);
    block_on(home.remove(key)).unwrap();
    assert_eq!(since(&before[0], home, OperationKind::Remove), [(Outcome::Done, 1)]);
    let calls = home.figures().linker_calls;
    assert!(
        calls.contains(&("remove", 1)) && calls.iter().any(|(name, count)| *name == "insert" && *count > 0)
    );
    let stored = home.figures().families.into_iter().find(|family| family.name == "stored").unwrap();
    assert_eq!((stored.misses(), stored.failed()), (3, 0), "a get, a grab and a remove");
}

#[test]
fn who_holds_what_others_wait_for_is_shown() {
    let cluster = Cluster::new(2);
    let [home, two] = [0, 1].map(|place| &cluster.nodes[place]);
    let key = homed(&cluster, 0, small);
    let held = block_on(home.grab(key)).unwrap();
    let mut waits = pin!(two.grab(key));
    assert!(block_on(poll_once(waits.as_mut())).is_none());
    // The recall is on its way: it has come when the word says so.
    while !home.dump(key).word.is_some_and(|word| word.revoke()) {
        std::thread::yield_now();
    }
    let waits_here = {
        let mut here = pin!(home.get(key));
        assert!(block_on(poll_once(here.as_mut())).is_none());
        home.dump(key)
    };
    assert!(waits_here.word.is_some_and(|word| word.writer()) && waits_here.waiting == 1, "{waits_here:?}");
    drop(held);
    drop(block_on(waits).unwrap());
    let contended = home.figures().contended;
    assert_eq!(contended.first().map(|of| (of.key, of.weight)), Some((key, 1)), "{contended:?}");
    let hottest = two.figures().hottest;
    assert_eq!(hottest.first().map(|of| (of.key, of.weight)), Some((key, 1)), "{hottest:?}");
}

#[test]
fn messages_and_bytes_that_were_read_add_up() {
    let cluster = Cluster::new(2);
    let [home, two] = [0, 1].map(|place| &cluster.nodes[place]);
    let key = homed(&cluster, 0, page);
    drop(block_on(home.grab(key)).unwrap());
    let before = two.figures();
    drop(block_on(two.get(key)).unwrap());
    let after = two.figures();
    assert_eq!(after.read_bytes - before.read_bytes, 4096);
    let sum = |figures: &Figures| {
        figures.messages.iter().fold((0, 0), |(sent, received), of| (sent + of.1, received + of.2))
    };
    let fabric = &after.status.fabric;
    assert_eq!(sum(&after), (fabric.messages_sent, fabric.messages_received));
    let named = |name: &str| after.messages.iter().find(|of| of.0.name() == name).map(|of| (of.1, of.2));
    assert_eq!(named("REQ"), Some((1, 0)));
    assert_eq!(after.families.len(), 4, "the registry, registered sets and the test's own");
    let policy = kddm_rdma::SetPolicy { home: Home::Hash, ..kddm_rdma::SetPolicy::volatile(8) };
    block_on(two.create_set("named", policy, Owner { uid: 0, gid: 0, mode: 0o600 })).unwrap();
    assert!(two.figures().sets.iter().any(|used| used.set.0 == 0 && used.misses.times.count() > 0));
}
