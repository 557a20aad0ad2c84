//! Sets whose id says all of their policy, and the linkers of those that have a device.
//!
//! ```text
//! kind 10 volatile   kind 11 on a device, jobs   kind 12 on a device, without a change of thread
//! subject: node 8 | 0 × 12 | size 8 (its place in SIZES) | home 4
//! ```

use crate::device::Linker;
use kddm_rdma::{Durability, Home, HomeFunction, IoLinker, NodeId, ObjectKey, SetFamily, SetId, SetPolicy};
use std::sync::Arc;

/// The sizes of objects.
pub const SIZES: [u32; 7] = [0, 8, 64, 256, 1000, 4096, 65536];

const VOLATILE: u8 = 10;
const STORED: u8 = 11;
const STORED_AT_ONCE: u8 = 12;

/// What a set is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shape {
    /// Its place in [`SIZES`].
    pub size: u8,
    /// Which node keeps the directory.
    pub home: Home,
    /// Whether it has a device.
    pub stored: bool,
    /// Whether the device's calls are jobs of their own.
    pub jobs: bool,
}

impl Shape {
    /// The set of that shape, the `number`th.
    pub fn set(self, number: u32) -> SetId {
        let kind = match (self.stored, self.jobs) {
            (false, _) => VOLATILE,
            (true, true) => STORED,
            (true, false) => STORED_AT_ONCE,
        };
        let (home, node) = match self.home {
            Home::Hash | Home::Custom(_) => (0, 0),
            Home::Node(node) => (1, node.get()),
            Home::ObjectBits => (2, 0),
            // Which node is the subject's business.
            Home::SubjectBits => (3, (number % 2) as u8 + 1),
        };
        let subject = u32::from(node) << 24 | u32::from(self.size) << 4 | home;
        SetId::from_parts(kind, subject, number)
    }
}

/// Whether the objects of a set outlive the memory of the nodes.
pub fn is_stored(set: SetId) -> bool {
    matches!(set.kind(), STORED | STORED_AT_ONCE)
}

/// Whether it was created by name, so that it may be destroyed.
pub fn is_named(set: SetId) -> bool {
    set.kind() == 255
}

/// Whether the home of a set's objects moves when the members change.
pub fn is_moving(set: SetId) -> bool {
    // Sets by name are spread by hash; the registry has a place of its own.
    policy(set).map_or(set != SetId(0), |policy| matches!(policy.home, Home::Hash | Home::Custom(_)))
}

/// Whether the bytes of a set's objects can be lost.
pub fn can_be_lost(set: SetId) -> bool {
    policy(set).is_none_or(|policy| policy.object_size > 0 && policy.durability == Durability::Volatile)
}

/// The policy of a set of these kinds.
pub fn policy(set: SetId) -> Option<SetPolicy> {
    let subject = set.subject();
    let home = match subject & 0xf {
        // Every other says itself where its objects are, among others on nodes that are no members.
        0 if set.generation() % 2 == 1 => Home::Custom(HomeFunction { number: 1, home: one_of_four }),
        0 => Home::Hash,
        1 => Home::Node(NodeId::new((subject >> 24) as u8).ok()?),
        2 => Home::ObjectBits,
        3 => Home::SubjectBits,
        _ => return None,
    };
    let object_size = *SIZES.get((subject >> 4 & 0xff) as usize)?;
    let durability = if is_stored(set) { Durability::WriteBack } else { Durability::Volatile };
    (is_stored(set) || set.kind() == VOLATILE).then_some(SetPolicy { object_size, home, durability })
}

fn one_of_four(key: ObjectKey, _: &[NodeId]) -> Option<NodeId> {
    NodeId::new((key.object % 4) as u8).ok()
}

/// The home of an object.
pub fn home_of(key: ObjectKey, members: &[NodeId]) -> Option<NodeId> {
    policy(key.set)?.home_of(key, members)
}

struct Family {
    kind: u8,
    linker: Option<Arc<dyn IoLinker>>,
}

impl SetFamily for Family {
    fn kind(&self) -> u8 {
        self.kind
    }
    fn name(&self) -> &str {
        "simulated"
    }
    fn policy(&self, set: SetId) -> Option<SetPolicy> {
        policy(set)
    }
    fn linker(&self) -> Option<Arc<dyn IoLinker>> {
        self.linker.clone()
    }
    fn read_ahead(&self, set: SetId) -> u32 {
        [0, 8][set.generation() as usize % 2]
    }
}

/// The families of one life of a node.
pub fn families(linker: impl Fn(bool) -> Linker) -> Vec<Arc<dyn SetFamily>> {
    vec![
        Arc::new(Family { kind: VOLATILE, linker: None }),
        Arc::new(Family { kind: STORED, linker: Some(Arc::new(linker(true))) }),
        Arc::new(Family { kind: STORED_AT_ONCE, linker: Some(Arc::new(linker(false))) }),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_set_says_what_it_is() {
        let node = NodeId::new(3).unwrap();
        for home in [Home::Hash, Home::Node(node), Home::ObjectBits, Home::SubjectBits] {
            for (size, stored) in [(0, false), (5, true), (6, false)] {
                let set = Shape { size, home, stored, jobs: size > 0 }.set(8);
                let policy = policy(set).unwrap();
                assert_eq!((policy.home, policy.object_size), (home, SIZES[usize::from(size)]));
                assert_eq!(policy.durability == Durability::WriteBack, stored);
            }
        }
    }
}
