//! What the suite needs of a fabric, and the log of what its nodes were told.

use kddm_coherence::{Body, Message, ReadToken};
use kddm_fabric::{Event, Transport};
use kddm_memory::{Arena, ArenaConfig};
use kddm_object::{Generation, Incarnation, Location, NodeId, ObjectKey, Rid, Seq, SetId, SlotId, ViewId};
use std::{
    sync::Arc,
    time::{Duration, Instant},
};

/// Some nodes, 1 to n, on one fabric.
pub trait Fixture: Sized {
    /// The owner's process answers READs: it counts them.
    const SERVES_READS: bool = true;
    /// Nodes that have begun to meet.
    fn start(arenas: &[Arc<Arena>]) -> Self;
    fn transport(&mut self, node: NodeId) -> Option<&mut dyn Transport>;
    /// Waits until something may have happened; not for nodes that are frozen.
    fn wait(&mut self);
    /// The fabric's time.
    fn now(&self) -> Duration;
    /// The node's process ends at once.
    fn kill(&mut self, node: NodeId);
    /// A new life.
    fn revive(&mut self, node: NodeId, incarnation: Incarnation, arena: Arc<Arena>);
    /// The node lives, but nobody hears of it, until it is thawed.
    fn freeze(&mut self, node: NodeId);
    fn thaw(&mut self, node: NodeId);
}

/// A fixture and what its nodes were told.
pub struct Cluster<F> {
    pub fabric: F,
    pub arenas: Vec<Arc<Arena>>,
    pub told: Vec<Vec<Event>>,
}

pub fn node(id: u8) -> NodeId {
    NodeId::new(id).unwrap()
}

pub fn arena() -> Arc<Arena> {
    Arc::new(Arena::new(ArenaConfig::new(16 << 20)).unwrap())
}

impl<F: Fixture> Cluster<F> {
    /// `nodes` nodes that have all met.
    pub fn met(nodes: u8) -> Cluster<F> {
        let arenas: Vec<_> = (0..nodes).map(|_| arena()).collect();
        let fabric = F::start(&arenas);
        let mut cluster = Cluster { fabric, arenas, told: vec![Vec::new(); usize::from(nodes)] };
        cluster.until("all to meet", |told| {
            told.iter().all(|told| {
                told.iter().filter(|e| matches!(e, Event::PeerUp(..))).count() >= usize::from(nodes) - 1
            })
        });
        cluster
    }

    pub fn at(&mut self, id: u8) -> &mut dyn Transport {
        self.fabric.transport(node(id)).expect("the node lives")
    }

    pub fn told(&self, id: u8) -> &[Event] {
        &self.told[usize::from(id) - 1]
    }

    pub fn forget(&mut self) {
        self.told.iter_mut().for_each(Vec::clear);
    }

    pub fn poll(&mut self) {
        for (place, told) in self.told.iter_mut().enumerate() {
            if let Some(transport) = self.fabric.transport(node(place as u8 + 1)) {
                transport.poll(told);
            }
        }
    }

    /// Lets time pass until `done`, which looks at what each node was told; at most 20 s of either time.
    pub fn until(&mut self, what: &str, done: impl Fn(&[Vec<Event>]) -> bool) {
        let (start, begin) = (Instant::now(), self.fabric.now());
        loop {
            self.poll();
            if done(&self.told) {
                return;
            }
            let late = start.elapsed().max(self.fabric.now() - begin) > Duration::from_secs(20);
            assert!(!late, "waited too long for {what}; told: {:?}", self.told);
            self.fabric.wait();
        }
    }

    /// An object of `bytes` in the arena of node `id`.
    pub fn object(&self, id: u8, object: u32, bytes: &[u8]) -> Location {
        let slot = self.slot(id, object, bytes.len());
        let arena = &self.arenas[usize::from(id) - 1];
        assert!(arena.copy_in(slot, 0, bytes));
        Location { node: node(id), slot, generation: arena.generation(slot) }
    }

    /// A slot to land in.
    pub fn slot(&self, id: u8, object: u32, length: usize) -> SlotId {
        let key = ObjectKey::new(SetId(u64::from(id)), object);
        self.arenas[usize::from(id) - 1].allocate(key, length as u32, true).expect("room")
    }

    /// What lies in a slot.
    pub fn bytes(&self, id: u8, slot: SlotId, length: usize) -> Vec<u8> {
        let arena = &self.arenas[usize::from(id) - 1];
        let mut bytes = vec![0; length];
        assert!(arena.copy_out(slot, arena.generation(slot), &mut bytes));
        bytes
    }
}

/// A message that can be told from others.
pub fn message(number: u32) -> Message {
    let body = match number % 3 {
        0 => Body::Evict,
        1 => Body::Retry { rid: Rid(number), seq: Seq(1) },
        _ => Body::Shared {
            seq: Seq(number),
            location: Location { node: node(3), slot: SlotId(number), generation: Generation(7) },
        },
    };
    let key = ObjectKey::new(SetId(1), number);
    Message { view: ViewId(1), incarnation: Incarnation(1), clock: 0, key, body }
}

/// The numbers of the messages of `from`, in the order in which they came.
pub fn numbers(told: &[Event], from: u8) -> Vec<u32> {
    let mine = |event: &Event| match event {
        Event::Message(sender, message) if *sender == node(from) => Some(message.key.object),
        _ => None,
    };
    told.iter().filter_map(mine).collect()
}

/// The READs that are over, in order.
pub fn reads(told: &[Event]) -> Vec<(u64, bool)> {
    let over = |event: &Event| match event {
        Event::ReadDone(ReadToken(token), good) => Some((*token, *good)),
        _ => None,
    };
    told.iter().filter_map(over).collect()
}
