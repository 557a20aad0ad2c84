//! A network in memory: deterministic, everything from one seed, time only as the driver lets it pass.
//!
//! Between two nodes messages keep their order, as the contract says; nothing else is kept. A READ is several copies of
//! parts, in any order, some of them made twice, so that bytes change under it. Links are cut and healed one way at a time;
//! a link that stays cut is noticed as silence; one that is slow is not. A killed node's peers hear of it, unless they are cut off; it comes back by
//! [`SimNetwork::attach`].
//!
//! One thread drives it: [`SimNetwork::step`], then poll the transports for which [`SimNetwork::pending`] says so.

mod network;
mod random;
mod reads;
mod transport;

pub use transport::SimTransport;

use kddm_memory::Arena;
use kddm_object::{Incarnation, NodeId};
use network::Network;
use parking_lot::Mutex;
use std::{sync::Arc, time::Duration};

/// How the network behaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SimConfig {
    /// Everything that is random comes from it.
    pub seed: u64,
    /// The shortest way of a message or of a step of a READ.
    pub least_delay: Duration,
    /// The longest.
    pub most_delay: Duration,
    /// A READ is at most so many copies of parts.
    pub read_parts: u32,
    /// Of a hundred parts, so many are copied twice.
    pub repeated_percent: u32,
    /// A link that is cut for so long is noticed.
    pub silence: Duration,
}

impl SimConfig {
    /// A network of ordinary unpleasantness.
    pub fn new(seed: u64) -> SimConfig {
        SimConfig {
            seed,
            least_delay: Duration::from_micros(1),
            most_delay: Duration::from_micros(100),
            read_parts: 4,
            repeated_percent: 25,
            silence: Duration::from_secs(4),
        }
    }
}

/// The network, as its driver holds it.
#[derive(Clone)]
pub struct SimNetwork(Arc<Mutex<Network>>);

impl SimNetwork {
    /// A network without nodes.
    pub fn new(config: SimConfig) -> SimNetwork {
        SimNetwork(Arc::new(Mutex::new(Network::new(config))))
    }

    /// `node` begins a life, with that memory. Every other living node will meet it. A life that it still has is killed.
    pub fn attach(&self, node: NodeId, incarnation: Incarnation, arena: Arc<Arena>) -> SimTransport {
        let life = self.0.lock().attach(node, incarnation, arena);
        SimTransport::new(self.0.clone(), node, life)
    }

    /// The process of `node` ends at once. What it had sent still arrives, and then the news of its end, which is certain.
    pub fn kill(&self, node: NodeId) {
        self.0.lock().kill(node);
    }

    /// From now on nothing gets from `from` to `to`; it waits. After [`SimConfig::silence`] `to` gives `from` up.
    pub fn cut(&self, from: NodeId, to: NodeId) {
        self.0.lock().cut(from, to);
    }

    /// The link works again, and what waited goes on, as far as the session still lasts.
    pub fn heal(&self, from: NodeId, to: NodeId) {
        self.0.lock().heal(from, to);
    }

    /// From now on everything takes `times` as long from `from` to `to`; once as long as ever.
    pub fn slow(&self, from: NodeId, to: NodeId, times: u32) {
        self.0.lock().slow(from, to, times);
    }

    /// Lets the next thing happen, and time pass until then. False if nothing is left to happen.
    pub fn step(&self) -> bool {
        self.0.lock().step(None)
    }

    /// Lets everything happen that happens until `time`, and time pass until then.
    pub fn advance(&self, time: Duration) {
        self.0.lock().advance(time);
    }

    /// When the next thing happens.
    pub fn next_at(&self) -> Option<Duration> {
        self.0.lock().next_at()
    }

    /// The time.
    pub fn now(&self) -> Duration {
        self.0.lock().now
    }

    /// The nodes that are about to be told that their life is over, and were not named by an earlier call.
    pub fn outlived(&self) -> Vec<NodeId> {
        std::mem::take(&mut self.0.lock().outlived)
    }

    /// Whether a poll of `node`'s transport would tell something.
    pub fn pending(&self, node: NodeId) -> bool {
        self.0.lock().nodes.get(&node).is_some_and(|node| !node.inbox.is_empty())
    }
}
