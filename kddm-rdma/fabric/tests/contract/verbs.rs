//! RDMA under the suite: all nodes in one process, on the device of this machine.

use crate::{
    fixture::{Cluster, message, node, numbers, reads},
    suite::pattern,
    tcp::{Nodes, Start},
};
use kddm_coherence::ReadToken;
use kddm_fabric::{
    Event, Transport,
    tcp::TcpConfig,
    verbs::{self, VerbsConfig},
};
use kddm_memory::Arena;
use std::{sync::Arc, time::Duration};

pub type Verbs = Nodes<verbs::Verbs>;

impl Start for verbs::Verbs {
    fn begin(control: TcpConfig, arena: Arc<Arena>) -> verbs::Verbs {
        verbs::Verbs::start(VerbsConfig { control, choice: Default::default() }, arena).unwrap()
    }
}

/// Messages and READs go on, in order and once, whatever becomes of the queue pairs beneath.
#[test]
#[ignore = "needs an RDMA device"]
fn over_verbs_broken_queue_pairs_lose_and_double_nothing() {
    const ROUNDS: u32 = 2000;
    let mut cluster = Cluster::<Verbs>::met(2);
    let length = 4096;
    let sources: Vec<_> = [1, 2].map(|id| cluster.object(id, 0, &pattern(id.into(), length))).into();
    let landings: Vec<Vec<_>> =
        [1, 2].map(|id| (1..=20).map(|object| cluster.slot(id, object, length)).collect()).into();
    cluster.forget();
    for round in 0..ROUNDS {
        for id in [1u8, 2] {
            cluster.at(id).send(node(3 - id), &message(round));
            if round % 100 == 0 {
                let place = (round / 100) as usize;
                let (source, landing) = (sources[usize::from(2 - id)], landings[usize::from(id) - 1][place]);
                cluster.at(id).read(ReadToken(round.into()), source, landing, length as u32);
            }
            if round % 16 == 0 {
                cluster.at(id).flush();
            }
        }
        if round % 250 == 125 {
            let who = node(1 + (round / 250 % 2) as u8);
            let other = node(3 - who.get());
            cluster.fabric.transports.get_mut(&who).unwrap().break_queue_pairs(other);
        }
        if round % 50 == 0 {
            cluster.poll();
        }
    }
    cluster.until("everything", |told| {
        told.iter()
            .zip([2, 1])
            .all(|(told, from)| numbers(told, from).len() >= ROUNDS as usize && reads(told).len() >= 20)
    });
    for id in [1u8, 2] {
        assert_eq!(numbers(cluster.told(id), 3 - id), (0..ROUNDS).collect::<Vec<_>>());
        let mut over = reads(cluster.told(id));
        over.sort_unstable();
        assert_eq!(over, (0..20).map(|at| (at * 100, true)).collect::<Vec<_>>());
        for &landing in &landings[usize::from(id) - 1] {
            assert!(cluster.bytes(id, landing, length) == pattern((3 - id).into(), length));
        }
        let news =
            cluster.told(id).iter().filter(|e| matches!(e, Event::PeerUp(..) | Event::PeerDown { .. }));
        assert_eq!(news.count(), 0, "nobody above sees it");
    }
}

/// Slabs that are added later are told of before anybody can be told of their slots.
#[test]
#[ignore = "needs an RDMA device"]
fn over_verbs_slabs_that_come_later_can_be_read() {
    let mut cluster = Cluster::<Verbs>::met(3);
    for object in 0..12 {
        // a slab holds one
        let bytes = pattern(object, 1 << 20);
        let source = cluster.object(2, object, &bytes);
        let landing = cluster.slot(1, object, 1 << 20);
        cluster.forget();
        // What tells of the slot goes another way than what tells of its slab.
        cluster.at(2).send(node(3), &message(object));
        cluster.at(2).flush();
        cluster.at(1).read(ReadToken(object.into()), source, landing, 1 << 20);
        cluster.at(1).flush();
        cluster.until("the READ", |told| !reads(&told[0]).is_empty());
        assert_eq!(reads(cluster.told(1)), [(object.into(), true)]);
        assert!(cluster.bytes(1, landing, 1 << 20) == bytes);
    }
}

/// READs of neighbours that are queued together take few work requests, wherever they land.
#[test]
#[ignore = "needs an RDMA device"]
fn over_verbs_neighbours_are_read_together() {
    let mut cluster = Cluster::<Verbs>::met(2);
    let sources: Vec<_> = (0..64).map(|object| cluster.object(2, object, &pattern(object, 4096))).collect();
    let landings: Vec<_> = (0..64).rev().map(|object| cluster.slot(1, 1000 + 2 * object, 4096)).collect();
    for (token, (&source, &landing)) in (0..).zip(sources.iter().zip(&landings)) {
        cluster.at(1).read(ReadToken(token), source, landing, 4096);
    }
    cluster.at(1).flush();
    let requests = cluster.fabric.transports[&node(1)].read_requests();
    assert!((1..=4).contains(&requests), "64 READs of neighbours in {requests} requests");
    cluster.until("64 READs", |told| reads(&told[0]).len() == 64);
    for (object, &landing) in (0..).zip(&landings) {
        assert!(cluster.bytes(1, landing, 4096) == pattern(object, 4096), "object {object}");
    }
}

/// What completes between arming and the last look, which takes it and has nothing to tell, is not slept over: the descriptor
/// is readable once more, or the queue would tell of nothing that comes.
#[test]
#[ignore = "needs an RDMA device"]
fn over_verbs_what_the_last_look_takes_is_not_slept_over() {
    const ROUNDS: usize = 20;
    // More than go without one that completes visibly.
    const SENT: usize = 20;
    let mut cluster = Cluster::<Verbs>::met(2);
    let mut woken = 0;
    for round in 1..=ROUNDS {
        cluster.at(1).arm();
        for number in 0..SENT as u32 {
            cluster.at(1).send(node(2), &message(number));
            cluster.at(1).flush();
        }
        assert!(readable(cluster.at(1), Duration::from_secs(10)), "nothing completes");
        let mut told = Vec::new();
        cluster.at(1).poll(&mut told);
        assert_eq!(told, [], "that is nobody's business");
        woken += usize::from(readable(cluster.at(1), Duration::ZERO));
        cluster.until("the messages", |told| numbers(&told[1], 1).len() == SENT * round);
    }
    // Once in a while it was a heartbeat that came first.
    assert!(woken > ROUNDS / 2, "woken again in {woken} of {ROUNDS} rounds");
}

fn readable(transport: &dyn Transport, patience: Duration) -> bool {
    crate::tcp::wait_for([transport].into_iter(), patience)
}
