//! The simulated network under the suite.

use crate::fixture::{Fixture, node};
use kddm_fabric::{
    Transport,
    sim::{SimConfig, SimNetwork, SimTransport},
};
use kddm_memory::Arena;
use kddm_object::{Incarnation, NodeId};
use std::{collections::BTreeMap, sync::Arc, time::Duration};

pub struct Sim {
    network: SimNetwork,
    transports: BTreeMap<NodeId, SimTransport>,
}

impl Sim {
    fn links_of(&self, frozen: NodeId, change: impl Fn(&SimNetwork, NodeId, NodeId)) {
        for &other in self.transports.keys().filter(|&&other| other != frozen) {
            change(&self.network, frozen, other);
            change(&self.network, other, frozen);
        }
    }
}

impl Fixture for Sim {
    fn start(arenas: &[Arc<Arena>]) -> Sim {
        let network = SimNetwork::new(SimConfig::new(seed()));
        let attach = |(place, arena): (usize, &Arc<Arena>)| {
            let id = node(place as u8 + 1);
            (id, network.attach(id, Incarnation(1), arena.clone()))
        };
        let transports = arenas.iter().enumerate().map(attach).collect();
        Sim { network, transports }
    }

    fn transport(&mut self, node: NodeId) -> Option<&mut dyn Transport> {
        self.transports.get_mut(&node).map(|transport| transport as _)
    }

    fn wait(&mut self) {
        if !self.network.step() {
            self.network.advance(self.network.now() + Duration::from_secs(1));
        }
    }

    fn now(&self) -> Duration {
        self.network.now()
    }

    fn kill(&mut self, node: NodeId) {
        self.network.kill(node);
        self.transports.remove(&node);
    }

    fn revive(&mut self, node: NodeId, incarnation: Incarnation, arena: Arc<Arena>) {
        self.transports.insert(node, self.network.attach(node, incarnation, arena));
    }

    fn freeze(&mut self, node: NodeId) {
        self.links_of(node, SimNetwork::cut);
    }

    fn thaw(&mut self, node: NodeId) {
        self.links_of(node, SimNetwork::heal);
    }
}

/// KDDM_SEED repeats a run.
pub fn seed() -> u64 {
    let given = std::env::var("KDDM_SEED").ok().and_then(|seed| seed.parse().ok());
    let seed = given.unwrap_or_else(|| u64::from(std::process::id()));
    println!("seed {seed}: repeat with KDDM_SEED={seed}");
    seed
}
