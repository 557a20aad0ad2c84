//! A node's end of a fabric that counts what the node must not see, and breaks the queue pairs beneath it.

use kddm_bench::random::Random;
use kddm_coherence::{Message, ReadToken};
use kddm_fabric::verbs::Verbs;
use kddm_fabric::{Counters, Event, PeerState, Transport};
use kddm_object::{Incarnation, Location, NodeId, SlotId};
use std::os::fd::RawFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// What was seen so far.
#[derive(Debug, Default)]
pub struct Seen {
    /// Peers that were lost.
    pub lost: AtomicU64,
    /// Queue pairs that were broken.
    pub broken: AtomicU64,
}

/// A transport that can be made to fail beneath its contract.
pub trait Breakable: Transport {
    /// Whatever can break without anybody above seeing it.
    fn break_beneath(&mut self, peer: NodeId);
}

impl Breakable for Verbs {
    fn break_beneath(&mut self, peer: NodeId) {
        self.break_queue_pairs(peer);
    }
}

/// A transport, watched.
pub struct Watched<T> {
    inner: T,
    seen: Arc<Seen>,
    breaks: Option<Breaks>,
}

/// When which peer's queue pairs break.
pub struct Breaks {
    /// Events between two breaks, on the average.
    pub every: usize,
    /// Where the choices come from.
    pub random: Random,
    /// Whom they connect with.
    pub peers: Vec<NodeId>,
    /// Events until the next.
    pub left: usize,
}

impl<T: Breakable> Watched<T> {
    /// Without `breaks` nothing is broken.
    pub fn new(inner: T, breaks: Option<Breaks>) -> (Watched<T>, Arc<Seen>) {
        let seen = Arc::new(Seen::default());
        (Watched { inner, seen: seen.clone(), breaks }, seen)
    }

    fn break_some(&mut self, events: usize) {
        let Some(breaks) = &mut self.breaks else { return };
        if breaks.left > events {
            breaks.left -= events;
            return;
        }
        breaks.left = 1 + breaks.random.below(2 * breaks.every);
        let peer = breaks.peers[breaks.random.below(breaks.peers.len())];
        self.inner.break_beneath(peer);
        self.seen.broken.fetch_add(1, Relaxed);
    }
}

impl<T: Breakable> Transport for Watched<T> {
    fn send(&mut self, to: NodeId, message: &Message) {
        self.inner.send(to, message);
    }

    fn send_lazily(&mut self, to: NodeId, message: &Message) {
        self.inner.send_lazily(to, message);
    }

    fn read(&mut self, token: ReadToken, source: Location, landing: SlotId, length: u32) {
        self.inner.read(token, source, landing, length);
    }

    fn flush(&mut self) {
        self.inner.flush();
    }

    fn flush_urgent(&mut self) {
        self.inner.flush_urgent();
    }

    fn finished(&mut self, events: &mut Vec<Event>) {
        self.inner.finished(events);
    }

    fn poll(&mut self, events: &mut Vec<Event>) {
        let before = events.len();
        self.inner.poll(events);
        let new = &events[before..];
        let lost = new.iter().filter(|event| matches!(event, Event::PeerDown { .. })).count();
        let moved = new.iter().filter(|event| matches!(event, Event::Message(..) | Event::ReadDone(..)));
        let moved = moved.count();
        self.seen.lost.fetch_add(lost as u64, Relaxed);
        self.break_some(moved);
    }

    fn descriptor(&self) -> Option<RawFd> {
        self.inner.descriptor()
    }

    fn arm(&mut self) -> bool {
        self.inner.arm()
    }

    fn checks_generations(&self) -> bool {
        self.inner.checks_generations()
    }

    fn counters(&self) -> Counters {
        self.inner.counters()
    }

    fn peers(&self) -> Vec<PeerState> {
        self.inner.peers()
    }

    fn forbid_returns(&mut self) {
        self.inner.forbid_returns();
    }

    fn renew(&mut self, life: Incarnation) {
        self.inner.renew(life);
    }

    fn disconnect(&mut self) {
        self.inner.disconnect();
    }
}
