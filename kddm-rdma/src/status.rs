//! What a node can tell about itself.

use crate::PeerState;
use kddm_fabric::Counters;
use kddm_memory::Usage;
use kddm_object::{Incarnation, NodeId, ObjectKey, Word};

/// A node as it is now.
#[derive(Clone, Debug)]
pub struct NodeStatus {
    /// This node.
    pub me: NodeId,
    /// This life of it.
    pub incarnation: Incarnation,
    /// All members, ascending, this node among them.
    pub members: Vec<NodeId>,
    /// The other members: there or not, and why not.
    pub peers: Vec<PeerState>,
    /// Gets and grabs, by how they ended.
    pub counts: Counts,
    /// What the fabric has moved.
    pub fabric: Counters,
    /// What of the arena is in use.
    pub memory: Usage,
}

/// What has happened since the node started.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Counts {
    /// Gets and grabs that needed nothing but the state word. A close estimate: the counters are not synchronised.
    pub hits: u64,
    /// Operations that needed the engine.
    pub misses: u64,
    /// Operations that failed.
    pub failed: u64,
    /// Linker calls made.
    pub linker_calls: u64,
    /// Copies that were asked to make room.
    pub evictions: u64,
    /// READs posted beside their requests, where the object was last.
    pub speculations: u64,
    /// Those of them that spared a READ after the grant.
    pub good_speculations: u64,
    /// Copies asked for ahead of gets in order.
    pub read_ahead: u64,
}

/// One object, as this node sees it.
#[derive(Clone, Debug)]
pub struct ObjectDump {
    /// The object.
    pub key: ObjectKey,
    /// Its home; `None` if the set is unknown or its home is no member.
    pub home: Option<NodeId>,
    /// The state word of the local copy.
    pub word: Option<Word>,
    /// Operations of this node that have begun and not ended.
    pub waiting: u32,
    /// The protocol's state here, for people: the directory entry if this is the home, and the local copy.
    pub state: String,
}
