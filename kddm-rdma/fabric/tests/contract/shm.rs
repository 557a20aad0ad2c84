//! Shared memory under the suite.

use crate::{
    fixture::{Cluster, message, node, numbers, reads},
    suite::pattern,
    tcp::{Nodes, Start, configs},
};
use kddm_coherence::ReadToken;
use kddm_fabric::{
    shm::{self, StartError},
    tcp::TcpConfig,
};
use kddm_memory::Arena;
use std::sync::Arc;

pub type Shm = Nodes<shm::Shm>;

impl Start for shm::Shm {
    fn begin(config: TcpConfig, arena: Arc<Arena>) -> shm::Shm {
        shm::Shm::start(config, arena).unwrap()
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
