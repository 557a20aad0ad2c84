//! The core. (being written)
use crate::{Effect, Input, Store};
use kddm_object::{Incarnation, NodeId, ObjectKey};

/// What a core is told at birth.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Config {
    /// This node.
    pub me: NodeId,
    /// This life of it.
    pub incarnation: Incarnation,
    /// The members of the view, this node among them.
    pub members: Vec<NodeId>,
    /// Objects up to this size ride in messages; at most [`kddm_object::limits::INLINE_MAX`].
    pub inline_max: u32,
    /// UNSOUND, for showing that a test sees stale bytes: acknowledge invalidations without dropping the copy.
    pub unsound_keep_copies: bool,
}

/// The protocol's state on one node.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Core {
    config: Config,
}

impl Core {
    /// A node that knows no object yet. All peers are down until [`Input::PeerUp`].
    pub fn new(config: Config) -> Core {
        Core { config }
    }

    /// One step.
    pub fn step<S: Store>(&mut self, input: Input, store: &mut S, effects: &mut Vec<Effect>) {
        let _ = (input, store, effects, &self.config);
    }

    /// The objects homed here that differ, or may differ, from what the device has.
    pub fn dirty(&self) -> impl Iterator<Item = ObjectKey> + '_ {
        std::iter::empty()
    }
}
