//! A node's end of the simulated network.

use super::network::{Network, SimNode};
use crate::{Counters, Event, PeerState, Transport, wire};
use kddm_coherence::{Message, ReadToken};
use kddm_object::{Incarnation, Location, NodeId, SlotId, limits::MAX_OBJECT_SIZE};
use parking_lot::Mutex;
use std::{os::fd::RawFd, sync::Arc};

/// A node's end of a [`SimNetwork`](super::SimNetwork), for one life of the node.
pub struct SimTransport {
    network: Arc<Mutex<Network>>,
    node: NodeId,
    life: u64,
    bytes: Vec<u8>,
}

impl SimTransport {
    pub(super) fn new(network: Arc<Mutex<Network>>, node: NodeId, life: u64) -> SimTransport {
        SimTransport { network, node, life, bytes: Vec::new() }
    }

    /// Works on the node, unless a later life has its place.
    fn with<T>(&self, work: impl FnOnce(&mut SimNode) -> T) -> Option<T> {
        let mut network = self.network.lock();
        network.nodes.get_mut(&self.node).filter(|node| node.life == self.life).map(work)
    }

    fn session(&self, peer: NodeId) -> Option<u64> {
        self.with(|node| node.peers.get(&peer).map(|&(session, _)| session).filter(|_| node.alive))?
    }
}

impl Transport for SimTransport {
    fn send(&mut self, to: NodeId, message: &Message) {
        let Some(session) = self.session(to) else { return };
        // What travels is bytes: a message that the wire changes would be seen here.
        self.bytes.clear();
        wire::encode(message, &mut self.bytes);
        let arriving = wire::decode(&self.bytes).expect("what encode writes is what decode reads");
        let length = self.bytes.len() as u64;
        self.with(|node| {
            node.counters.messages_sent += 1;
            node.counters.bytes_sent += length;
        });
        self.network.lock().send(self.node, to, session, arriving);
    }

    fn read(&mut self, token: ReadToken, source: Location, landing: SlotId, length: u32) {
        self.with(|node| node.counters.reads_issued += 1);
        match self.session(source.node).filter(|_| length <= MAX_OBJECT_SIZE) {
            Some(session) => self.network.lock().read(self.node, session, token, source, landing, length),
            None => {
                self.with(|node| {
                    node.counters.reads_failed += 1;
                    node.inbox.push(Event::ReadDone(token, false));
                });
            }
        }
    }

    fn flush(&mut self) {}

    fn poll(&mut self, events: &mut Vec<Event>) {
        self.with(|node| events.append(&mut node.inbox));
    }

    fn descriptor(&self) -> Option<RawFd> {
        None
    }

    fn counters(&self) -> Counters {
        self.with(|node| node.counters).unwrap_or_default()
    }

    fn peers(&self) -> Vec<PeerState> {
        let network = self.network.lock();
        let Some(me) = network.nodes.get(&self.node) else { return Vec::new() };
        let others = network.nodes.keys().filter(|&&other| other != self.node);
        let state = |&node: &NodeId| {
            let up = me.peers.get(&node).map(|&(_, incarnation)| incarnation);
            let reason = match up {
                Some(_) => String::new(),
                None => me.reasons.get(&node).cloned().unwrap_or_else(|| "not met yet".to_owned()),
            };
            PeerState { node, up, reason, refused: false }
        };
        others.map(state).collect()
    }

    fn forbid_returns(&mut self) {
        self.with(|node| node.forbids_returns = true);
    }

    fn renew(&mut self, life: Incarnation) {
        let mut network = self.network.lock();
        if network.nodes.get(&self.node).is_some_and(|node| node.life == self.life) {
            self.life = network.renew(self.node, life);
        }
    }

    fn disconnect(&mut self) {
        let mut network = self.network.lock();
        if network.nodes.get(&self.node).is_some_and(|node| node.life == self.life) {
            network.leave(self.node);
        }
    }
}
