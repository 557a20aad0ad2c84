//! Three nodes of one process that meet, for tests of what a member of the cluster does that it must not: node 1, which is done wrong;
//! node 2, which does it; and node 3, which goes on.

use crate::{
    Event, Transport,
    tcp::{Greeting, TcpConfig},
};
use kddm_cluster::{ClusterId, Key};
use kddm_coherence::{Body, Message};
use kddm_memory::{Arena, ArenaConfig};
use kddm_object::{Incarnation, NodeId, ObjectKey, SetId, ViewId};
use std::{
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};

/// What a test waits for comes at once, or not at all: so long, on a busy machine.
const PATIENCE: Duration = Duration::from_secs(30);

pub(crate) fn node(id: u8) -> NodeId {
    NodeId::new(id).unwrap()
}

pub(crate) fn message(number: u32) -> Message {
    let key = ObjectKey::new(SetId(1), number);
    Message { view: ViewId(1), incarnation: Incarnation(1), clock: 0, key, body: Body::Evict }
}

pub(crate) fn arena() -> Arc<Arena> {
    Arc::new(Arena::new(ArenaConfig::new(8 << 20)).unwrap())
}

/// Node `me` of `nodes`, with addresses in a network of this process and the test.
pub(crate) fn config(me: u8, nodes: u8, network: u8, port: u16) -> TcpConfig {
    let address = |id: u8| SocketAddr::from(([127, network, std::process::id() as u8, id], port));
    TcpConfig {
        me: node(me),
        incarnation: Incarnation(1),
        listen: address(me),
        peers: (1..=nodes).filter(|&id| id != me).map(|id| (node(id), address(id))).collect(),
        cluster: ClusterId([1; 16]),
        key: Key::from_bytes([5; 32]),
        greeting: Greeting { protocol_version: 1, format_version: 1, root: None },
    }
}

pub(crate) struct Meeting<T> {
    pub(crate) nodes: [T; 3],
    pub(crate) arenas: [Arc<Arena>; 3],
    pub(crate) told: [Vec<Event>; 3],
}

impl<T: Transport> Meeting<T> {
    /// Starts them, and waits until each has met the others. No two tests of a process share network and port.
    pub(crate) fn start(network: u8, port: u16, start: impl Fn(TcpConfig, Arc<Arena>) -> T) -> Meeting<T> {
        let arenas = [1, 2, 3].map(|_| arena());
        let nodes =
            [1, 2, 3].map(|id| start(config(id, 3, network, port), arenas[usize::from(id) - 1].clone()));
        let mut meeting = Meeting { nodes, arenas, told: Default::default() };
        let has_met =
            |told: &Vec<Event>| told.iter().filter(|event| matches!(event, Event::PeerUp(..))).count() == 2;
        meeting.until("all to meet", |told| told.iter().all(has_met));
        meeting.told.iter_mut().for_each(Vec::clear);
        meeting
    }

    pub(crate) fn poll(&mut self) {
        self.nodes.iter_mut().zip(&mut self.told).for_each(|(node, told)| node.poll(told));
    }

    pub(crate) fn until(&mut self, what: &str, done: impl Fn(&[Vec<Event>; 3]) -> bool) {
        let start = Instant::now();
        loop {
            self.poll();
            if done(&self.told) {
                return;
            }
            assert!(start.elapsed() < PATIENCE, "waited too long for {what}; told {:?}", self.told);
        }
    }
}

/// Why the session with node `id` ended, as far as that was told.
pub(crate) fn end_of(told: &[Event], id: u8) -> Option<&str> {
    told.iter().find_map(|event| match event {
        Event::PeerDown { node: lost, reason, .. } if *lost == node(id) => Some(reason.as_ref()),
        _ => None,
    })
}
