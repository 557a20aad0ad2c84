//! Shared memory under the suite.

use crate::{
    fixture::{Cluster, Fixture, message, node, numbers, reads},
    suite::pattern,
    tcp::{configs, wait_for},
};
use kddm_coherence::ReadToken;
use kddm_fabric::{
    Transport,
    shm::{self, StartError},
    tcp::TcpConfig,
};
use kddm_memory::Arena;
use kddm_object::{Incarnation, NodeId};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::{Duration, Instant},
};

pub struct Shm {
    configs: BTreeMap<NodeId, TcpConfig>,
    transports: BTreeMap<NodeId, shm::Shm>,
    frozen: BTreeSet<NodeId>,
    start: Instant,
}

impl Fixture for Shm {
    const SERVES_READS: bool = false;

    fn start(arenas: &[Arc<Arena>]) -> Shm {
        let configs = configs(arenas.len() as u8);
        let start = |(config, arena): (&TcpConfig, &Arc<Arena>)| {
            (config.me, shm::Shm::start(config.clone(), arena.clone()).unwrap())
        };
        let transports = configs.values().zip(arenas).map(start).collect();
        Shm { configs, transports, frozen: BTreeSet::new(), start: Instant::now() }
    }

    fn transport(&mut self, node: NodeId) -> Option<&mut dyn Transport> {
        let hot = !self.frozen.contains(&node);
        self.transports.get_mut(&node).filter(|_| hot).map(|transport| transport as _)
    }

    fn wait(&mut self) {
        let frozen = &self.frozen;
        let hot = self.transports.iter_mut().filter(|(node, _)| !frozen.contains(node));
        let mut hot: Vec<_> = hot.map(|(_, hot)| hot).collect();
        hot.iter_mut().for_each(|transport| {
            transport.arm();
        });
        // What came before does not tell of itself: it is polled for soon.
        wait_for(hot.into_iter().map(|hot| &*hot as &dyn Transport), Duration::from_millis(10));
    }

    fn now(&self) -> Duration {
        self.start.elapsed()
    }

    fn kill(&mut self, node: NodeId) {
        self.transports.remove(&node); // the kernel closes its sockets, as after a crash of the process
    }

    fn revive(&mut self, node: NodeId, incarnation: Incarnation, arena: Arc<Arena>) {
        let config = TcpConfig { incarnation, ..self.configs[&node].clone() };
        self.transports.insert(node, shm::Shm::start(config, arena).unwrap());
    }

    fn freeze(&mut self, node: NodeId) {
        self.frozen.insert(node);
    }

    fn thaw(&mut self, node: NodeId) {
        self.frozen.remove(&node);
    }
}

/// Slabs that are added later are told of before anybody can be told of their slots.
#[test]
fn over_shm_slabs_that_come_later_can_be_read() {
    let mut cluster = Cluster::<Shm>::met(3);
    for object in 0..12 {
        // a slab holds one
        let bytes = pattern(object, 1 << 20);
        let source = cluster.object(2, object, &bytes);
        let landing = cluster.slot(1, object, 1 << 20);
        cluster.forget();
        // What tells of the slot goes another way than what tells of its slab; and here the READ is there first.
        cluster.at(1).read(ReadToken(object.into()), source, landing, 1 << 20);
        cluster.at(1).flush();
        cluster.at(2).send(node(3), &message(object));
        cluster.at(2).flush();
        cluster.until("the READ", |told| !reads(&told[0]).is_empty());
        assert_eq!(reads(cluster.told(1)), [(object.into(), true)]);
        assert!(cluster.bytes(1, landing, 1 << 20) == bytes);
    }
}

/// More than the ring has room for, to a peer that does not look: nothing is lost or doubled, and the peer asks for the rest.
#[test]
fn over_shm_a_full_ring_is_waited_for() {
    const MESSAGES: u32 = 20_000;
    let mut cluster = Cluster::<Shm>::met(2);
    cluster.forget();
    for number in 0..MESSAGES {
        cluster.at(1).send(node(2), &message(number));
        if number % 1000 == 999 {
            cluster.at(1).flush();
        }
    }
    cluster.at(2).poll(&mut Vec::new()); // to be lost on purpose: what it takes makes room
    cluster.until("the rest", |told| numbers(&told[1], 1).last() == Some(&(MESSAGES - 1)));
    let came = numbers(cluster.told(2), 1);
    assert!(came.len() > MESSAGES as usize / 2, "the ring holds only so many");
    assert_eq!(came, (MESSAGES - came.len() as u32..MESSAGES).collect::<Vec<_>>());
}

#[test]
fn over_shm_a_peer_elsewhere_is_named() {
    let mut config = configs(2).remove(&node(1)).unwrap();
    config.peers[0].1 = "192.0.2.7:15336".parse().unwrap(); // TEST-NET-1 (RFC 5737): nobody's
    match shm::Shm::start(config, crate::fixture::arena()) {
        Err(error @ StartError::Elsewhere { .. }) => {
            assert!(error.to_string().contains("node 2 at 192.0.2.7 is on another host"), "{error}");
        }
        other => panic!("{:?}", other.map(drop)),
    }
}
