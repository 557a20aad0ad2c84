//! What the cores are given to do. The requester is node 1, owner and sharers come next, the home is the last.

use crate::cores::{Cores, placed};
use crate::random::Random;
use kddm_object::{Hold, ObjectKey};

/// Operations in a block of those that go over a few objects.
const BLOCK: u32 = 256;
/// Bytes of an object that is READ.
const PAGE: u32 = 4096;
/// Bytes of one that rides in messages.
const SMALL: u32 = 64;
/// Bytes up to which objects ride, as a server has it.
const INLINE_MAX: u32 = 256;
/// Locations that a node remembers, as it does with an arena of 256 MiB or more.
const HINTS: usize = 1 << 16;

/// A get or grab with its put.
#[derive(Clone, Copy)]
pub(super) struct Act {
    pub node: u8,
    pub key: ObjectKey,
    pub hold: Hold,
}

/// A block: what brings the objects into the state that is wanted, and what is timed.
pub(super) struct Plan {
    pub before: Vec<Act>,
    /// Copies that go before the time begins.
    pub evicted: Vec<(u8, ObjectKey)>,
    pub timed: Vec<Act>,
}

/// What a block is made of.
#[derive(Clone, Copy)]
enum Shape {
    Hit,
    GetShared,
    GetRemembered,
    GetExclusive,
    Grab { sharers: u8 },
    Upgrade,
    HandOver,
    Many { objects: u32 },
}

pub(super) struct Workload {
    shape: Shape,
    pub nodes: u8,
    pub bytes: u32,
    pub cores: Cores,
    random: Random,
    /// Objects of the large workload that every node has touched.
    warm: bool,
}

/// All of them, the largest with `objects` objects.
pub(super) fn all(objects: u32) -> Vec<Workload> {
    let few = [
        (Shape::Hit, PAGE),
        (Shape::GetShared, PAGE),
        (Shape::GetRemembered, PAGE),
        (Shape::GetExclusive, PAGE),
        (Shape::Grab { sharers: 2 }, PAGE),
        (Shape::Grab { sharers: 3 }, PAGE),
        (Shape::Grab { sharers: 16 }, PAGE),
        (Shape::Upgrade, PAGE),
        (Shape::HandOver, PAGE),
        (Shape::HandOver, SMALL),
        (Shape::Many { objects }, PAGE),
    ];
    few.into_iter().map(|(shape, bytes)| Workload::new(shape, bytes)).collect()
}

impl Workload {
    fn new(shape: Shape, bytes: u32) -> Workload {
        let nodes = match shape {
            Shape::Grab { sharers } => sharers + 2,
            // Each of them home, owner and requester.
            Shape::Many { .. } => 3,
            _ => 4,
        };
        let hints = match shape {
            Shape::GetRemembered | Shape::Many { .. } => HINTS,
            _ => 0,
        };
        Workload {
            shape,
            nodes,
            bytes,
            cores: Cores::speculating(nodes, INLINE_MAX, hints),
            random: Random::new(1),
            warm: false,
        }
    }

    pub fn name(&self) -> String {
        let bytes = self.bytes;
        match self.shape {
            Shape::Hit => "get, hit".into(),
            Shape::GetShared => "get, shared elsewhere".into(),
            Shape::GetRemembered => "get, shared elsewhere, READ beside the request".into(),
            Shape::GetExclusive => "get, exclusive elsewhere".into(),
            Shape::Grab { .. } => "grab, shared elsewhere".into(),
            Shape::Upgrade => "grab, upgrade by the owner".into(),
            Shape::HandOver => format!("grab, exclusive elsewhere, {bytes} B"),
            Shape::Many { objects } => format!("gets and grabs of {objects} objects, at random"),
        }
    }

    /// Nodes with a copy when a timed operation begins, where it is always the same.
    pub fn sharers(&self) -> Option<u64> {
        match self.shape {
            Shape::Grab { sharers } => Some(sharers.into()),
            Shape::GetShared | Shape::GetRemembered | Shape::Upgrade => Some(2),
            _ => None,
        }
    }

    /// The next block.
    pub fn plan(&mut self) -> Plan {
        if let Shape::Many { objects } = self.shape {
            return self.plan_many(objects);
        }
        let (mut before, mut evicted, mut timed) = (Vec::new(), Vec::new(), Vec::new());
        for number in 0..BLOCK {
            let key = placed(self.nodes, self.bytes, number);
            let act = |node, hold| Act { node, key, hold };
            let (get, grab) = (|node| act(node, Hold::Shared), |node| act(node, Hold::Exclusive));
            match self.shape {
                Shape::Hit => before.push(get(1)),
                Shape::GetShared => before.extend([grab(2), get(3)]),
                Shape::GetRemembered => {
                    before.extend([grab(2), get(3), get(1)]);
                    evicted.push((1, key));
                }
                Shape::GetExclusive | Shape::HandOver => before.push(grab(2)),
                Shape::Grab { sharers } => {
                    before.push(grab(2));
                    before.extend((3..2 + sharers).map(get));
                }
                Shape::Upgrade => before.extend([grab(1), get(2)]),
                Shape::Many { .. } => {}
            }
            timed.push(match self.shape {
                Shape::Hit | Shape::GetShared | Shape::GetRemembered | Shape::GetExclusive => get(1),
                _ => grab(1),
            });
        }
        Plan { before, evicted, timed }
    }

    fn plan_many(&mut self, objects: u32) -> Plan {
        let nodes = self.nodes;
        let key = |number: u32| placed((number % u32::from(nodes)) as u8 + 1, PAGE, number);
        let mut before = Vec::new();
        if !std::mem::replace(&mut self.warm, true) {
            for number in 0..objects {
                before.push(Act { node: 1, key: key(number), hold: Hold::Exclusive });
                before.extend((2..=nodes).map(|node| Act { node, key: key(number), hold: Hold::Shared }));
            }
        }
        let mut act = || Act {
            node: self.random.below(nodes.into()) as u8 + 1,
            key: key(self.random.below(objects as usize) as u32),
            hold: if self.random.below(2) == 0 { Hold::Shared } else { Hold::Exclusive },
        };
        let timed = (0..BLOCK * 16).map(|_| act()).collect();
        Plan { before, evicted: Vec::new(), timed }
    }
}
