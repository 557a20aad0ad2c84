//! The fabric over RDMA: InfiniBand, RoCE, soft-RoCE.
//!
//! Peers meet over tcp ([`crate::tcp`]: the same authentication, sessions and heartbeats), and tell each other there, and only there,
//! the numbers of their queue pairs and the keys of their slabs. Two queue pairs a peer: messages go by SEND into a receive queue that
//! all peers share, object bytes by one-sided READ through the second, so that bulk never stands before a message.
//!
//! 1. Nothing is registered for remote writing.
//! 2. **Credits.** Messages that are queued together go together, as a parcel. A node sends a peer no more parcels than the peer has
//!    receive buffers for it; beside each goes the number of those that were taken, so that the receiver is always ready (`outbox`).
//! 3. **A READ lands once.** Its slot is the device's from when it is posted until its completion, good or flushed, was polled.
//! 4. **A queue pair that fails** is replaced, both of them and at both ends (`link`): when everything posted has completed, the two
//!    tell each other how many parcels they have taken, and go on from there. Messages are neither lost nor doubled; READs that did not
//!    come to their turn are posted again; the one that the peer's device refused has failed. Nobody above sees any of it.
//! 5. When a session ends, its queue pairs break at once, so that the peer's READs fail from then on.
//!
//! A READ asks nobody: that a slot was given to another object meanwhile is not seen ([`Transport::checks_generations`]).
//!
//! [`Transport::checks_generations`]: crate::Transport::checks_generations

mod config;
mod exchange;
#[cfg(feature = "fuzz")]
#[doc(hidden)]
pub mod fuzz;
mod hardware;
mod link;
mod outbox;
mod queues;
mod reads;
mod slabs;
mod transport;
mod work;

#[cfg(test)]
mod tests;

pub use config::{StartError, VerbsConfig};
pub use kddm_verbs::{Choice, VerbsError};

use crate::{
    Event,
    tcp::{Tcp, Told},
};
use hardware::Hardware;
use kddm_memory::Arena;
use kddm_object::NodeId;
use kddm_verbs::Completion;
use link::Link;
use std::{collections::VecDeque, sync::Arc};

/// A node's end of the verbs fabric.
pub struct Verbs {
    tcp: Tcp,
    /// By node id. Before the hardware: queue pairs end first.
    links: Vec<Option<Box<Link>>>,
    /// What is to be posted or said to them.
    unflushed: Vec<NodeId>,
    /// To whom something is queued that can wait.
    lazy: Vec<NodeId>,
    hardware: Hardware,
    /// What the peers' sessions told, while a link of the last session is still ending.
    told: VecDeque<Told>,
    completed: Vec<Completion>,
    /// What has come last.
    parcel: Vec<u8>,
    /// Links to whose queue pairs nothing is posted any more.
    drained: Vec<NodeId>,
    /// Polls since the connections were looked at.
    polls: u32,
    /// The next poll is the last before sleeping.
    before_sleep: bool,
    broken: bool,
}

impl Verbs {
    /// Opens the device, listens, and begins to dial.
    ///
    /// # Errors
    /// No device can be used, memory cannot be registered, or see [`Tcp::start`]. Peers that are not there are no error.
    pub fn start(config: VerbsConfig, arena: Arc<Arena>) -> Result<Verbs, StartError> {
        let VerbsConfig { control, choice } = config;
        let hardware = Hardware::open(&choice, control.listen.ip(), control.peers.len(), arena.clone())?;
        let tcp = Tcp::start_for("verbs", control, arena)?;
        let [completions, news] = hardware.descriptors();
        tcp.watch(completions, false).and_then(|()| tcp.watch(news, true)).map_err(StartError::Watch)?;
        Ok(Verbs {
            tcp,
            links: (0..=u8::MAX).map(|_| None).collect(),
            unflushed: Vec::new(),
            lazy: Vec::new(),
            hardware,
            told: VecDeque::new(),
            completed: Vec::new(),
            parcel: Vec::new(),
            drained: Vec::new(),
            polls: 0,
            before_sleep: true,
            broken: false,
        })
    }

    /// Work requests for READs so far: neighbours that are queued together share one.
    pub fn read_requests(&self) -> u64 {
        self.hardware.read_requests
    }

    /// Breaks the queue pairs to a peer, as a fault of the network would, for tests: everything goes on by itself.
    pub fn break_queue_pairs(&mut self, peer: NodeId) {
        if let Some(link) = &mut self.links[usize::from(peer.get())] {
            link.fail("a test broke it", &mut self.hardware, &mut self.tcp);
        }
    }

    fn tell(&mut self, event: Event) {
        self.hardware.events.push(event);
    }
}
