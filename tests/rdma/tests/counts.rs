//! Messages and READs of each operation, whole nodes on each fabric: one table, that of docs/protocol.md, which `kddm-scale` counts in
//! virtual time at every size.

use futures_lite::future::block_on;
use kddm_fabric::sim::{SimConfig, SimNetwork};
use kddm_rdma::{Arena, ArenaConfig, Incarnation, LinuxHost, Node, ObjectKey, OpError, Transport};
use kddm_rdma_tests::nodes::{self, Fabric, Family, Start, object};
use kddm_rdma_tests::ports;
use kddm_scale::costs::Outcome;
use std::future::Future;
use std::net::IpAddr;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::thread;
use std::time::{Duration, Instant};

const NODES: u8 = 5;
const HOME: u8 = NODES;
const OWNER: u8 = 1;
/// Bytes that do not ride along.
const PAGE: u32 = 4096;

const TABLE: [Outcome; 9] = [
    Outcome::GetShared,
    Outcome::GetExclusive,
    Outcome::GrabShared(1),
    Outcome::GrabShared(2),
    Outcome::GrabShared(3),
    Outcome::Upgrade(1),
    Outcome::Upgrade(2),
    Outcome::Upgrade(3),
    Outcome::GrabExclusive,
];

#[test]
fn over_sim_the_documented_counts_hold() {
    let network = SimNetwork::new(SimConfig::new(7));
    let start = |place: usize| {
        let arena = Arc::new(Arena::new(ArenaConfig::new(8 << 20)).expect("an arena"));
        let life = Incarnation(1);
        let transport: Box<dyn Transport> =
            Box::new(network.attach(nodes::id(place + 1), life, arena.clone()));
        let host = LinuxHost::start(1).expect("threads");
        let config = nodes::config(place, NODES.into(), life, false, false);
        Node::start(config, transport, arena, host, vec![Arc::new(Family)]).expect("a node")
    };
    let nodes = (0..NODES.into()).map(start).collect();
    Cluster { nodes, network: Some(network.clone()) }.holds_the_table();
}

#[test]
fn over_shm_the_documented_counts_hold() {
    between_addresses(Fabric::Shm).holds_the_table();
}

#[test]
fn over_tcp_the_documented_counts_hold() {
    between_addresses(Fabric::Tcp).holds_the_table();
}

#[test]
#[ignore = "needs an RDMA device"]
fn over_verbs_the_documented_counts_hold() {
    between_addresses(Fabric::Verbs).holds_the_table();
}

fn between_addresses(fabric: Fabric) -> Cluster {
    let port = ports::free(NODES);
    let addresses: Vec<IpAddr> = (1..=NODES).map(|node| [127, 0, 0, node].into()).collect();
    let start = |place: usize| {
        let (unsound, speculate, breaks) = (false, false, None);
        let start = Start { fabric, place, addresses: addresses.clone(), port, unsound, speculate, breaks };
        start.run().expect("a node").0
    };
    Cluster { nodes: (0..NODES.into()).map(start).collect(), network: None }
}

/// Nodes of this process.
struct Cluster {
    nodes: Vec<Node>,
    /// What has to be driven by hand.
    network: Option<SimNetwork>,
}

/// What was sent, received and READ by all of them.
type Moved = (u64, u64, u64);

impl Cluster {
    fn holds_the_table(&self) {
        self.nodes.iter().for_each(|node| self.wait(node.connected()));
        for (outcome, number) in TABLE.into_iter().zip(0..) {
            let cost = self.cost(outcome, object(HOME, PAGE, number));
            assert_eq!(cost, outcome.documented(), "{outcome:?}");
        }
    }

    /// Messages and READs of an operation, until nothing more comes of it.
    fn cost(&self, outcome: Outcome, key: ObjectKey) -> (u64, u64) {
        let requester = if matches!(outcome, Outcome::Upgrade(_)) { OWNER } else { 2 };
        self.prepare(outcome, key, requester);
        let (before, _, reads_before) = self.settled();
        match outcome {
            Outcome::GrabShared(_) | Outcome::Upgrade(_) | Outcome::GrabExclusive => {
                self.grab(requester, key)
            }
            _ => self.get(requester, key),
        }
        let (after, _, reads_after) = self.settled();
        (after - before, reads_after - reads_before)
    }

    fn prepare(&self, outcome: Outcome, key: ObjectKey, requester: u8) {
        self.grab(OWNER, key);
        match outcome {
            Outcome::GetShared | Outcome::GrabShared(1) => {
                // Its own copy makes the object shared, and goes silently.
                self.get(requester, key);
                self.settled();
                self.done(self.node(requester).flush(key));
            }
            // The owner is one of the others that have copies.
            Outcome::GrabShared(others) => (3..2 + others).for_each(|sharer| self.get(sharer, key)),
            Outcome::Upgrade(others) => (2..2 + others).for_each(|sharer| self.get(sharer, key)),
            _ => {}
        }
    }

    fn node(&self, id: u8) -> &Node {
        &self.nodes[usize::from(id) - 1]
    }

    fn get(&self, id: u8, key: ObjectKey) {
        self.done(self.node(id).get(key));
    }

    fn grab(&self, id: u8, key: ObjectKey) {
        self.done(self.node(id).grab(key));
    }

    fn done<T>(&self, operation: impl Future<Output = Result<T, OpError>>) {
        drop(self.wait(operation).expect("an operation"));
    }

    fn wait<T>(&self, operation: impl Future<Output = T>) -> T {
        if self.network.is_none() {
            return block_on(operation);
        }
        let mut operation = pin!(operation);
        loop {
            match operation.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
                Poll::Ready(value) => return value,
                Poll::Pending => self.turn(),
            }
        }
    }

    fn turn(&self) {
        match &self.network {
            Some(network) => {
                network.step();
                self.nodes.iter().for_each(|node| while node.drive() {});
            }
            None => thread::yield_now(),
        }
    }

    /// Waits until nothing is under way: two looks in a row find everything quiet, all that was sent received, and the same
    /// (Mattern, *Algorithms for distributed termination detection*, 1987).
    fn settled(&self) -> Moved {
        let begin = Instant::now();
        let mut last = None;
        loop {
            assert!(begin.elapsed() < Duration::from_secs(20), "it does not come to rest: {last:?}");
            let quiet = self.nodes.iter().all(Node::is_quiet);
            let now = self.moved();
            if quiet && now.0 == now.1 && last == Some(now) {
                return now;
            }
            last = quiet.then_some(now);
            self.turn();
        }
    }

    fn moved(&self) -> Moved {
        self.nodes.iter().map(|node| node.status().fabric).fold((0, 0, 0), |sum, fabric| {
            (sum.0 + fabric.messages_sent, sum.1 + fabric.messages_received, sum.2 + fabric.reads_issued)
        })
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        self.nodes.iter().for_each(Node::shutdown);
    }
}
