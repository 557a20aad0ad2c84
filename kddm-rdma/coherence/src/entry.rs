//! The directory entry of an object: what its home knows, its one transaction, and the line of those who wait.

use crate::collect::{KeptCopies, Then};
use crate::speculation::Since;
use crate::{Knew, Request};
use kddm_object::{Location, NodeId, NodeSet, Rid, Seq};
use smallvec::SmallVec;

#[derive(Clone, Debug, PartialEq, Eq, Hash, Default)]
pub(crate) struct Entry {
    pub state: State,
    pub queue: SmallVec<[Pending; 1]>,
    /// Who waits for the device to have the bytes.
    pub syncing: SmallVec<[(NodeId, Rid); 1]>,
}

/// The nodes that may have a copy, each with its request that got it.
pub(crate) type Copies = SmallVec<[(NodeId, Rid); 3]>;

#[derive(Clone, Debug, PartialEq, Eq, Hash, Default)]
pub(crate) enum State {
    /// No node has it.
    #[default]
    Uncached,
    /// No node has it, and nobody touched it since its directory entry died or moved: the entry is there to say so.
    Untouched,
    /// The last copy died with a node, and there is no device.
    Lost,
    Shared {
        owner: Location,
        copies: Copies,
        since: Since,
    },
    Exclusive {
        owner: NodeId,
        rid: Rid,
    },
    Busy {
        seq: Seq,
        work: Work,
    },
}

/// The transaction under way.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Work {
    /// Ends with DONE.
    Grab { by: NodeId, request: Request, before: Before, retry: bool },
    /// A get of an exclusive object; ends with SHARED.
    Share { by: NodeId, request: Request, owner: (NodeId, Rid), retry: bool },
    /// Ends with DONE. `lost`: the object was lost, and the requester takes it as it is.
    FirstTouch { by: NodeId, request: Request, lost: bool },
    /// The linker fills the home's slot.
    Fill { by: NodeId, request: Request, started: bool },
    /// The home collects all copies. `due`: whose ACK is not in, each with its request that our INV follows.
    Collect { due: Copies, kept: KeptCopies, then: Then },
    /// The naming moves from `owner` to the home.
    Drain { owner: Location, copies: Copies, due: NodeSet },
    /// The linker removes the object. The newest bytes are kept until it has.
    Device { by: NodeId, rid: Rid, kept: KeptCopies },
}

/// What an object was before a grab.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Before {
    Shared(Location, Copies),
    Exclusive(NodeId, Rid),
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Pending {
    Request(NodeId, Request),
    Evict(NodeId),
}

impl Work {
    /// What is known of the object should no copy of it be found in the next view.
    pub fn knew(&self) -> Knew {
        match self {
            Work::FirstTouch { lost: true, .. } => Knew::Lost,
            Work::Fill { .. } | Work::Collect { then: Then::Discard(..), .. } | Work::FirstTouch { .. } => {
                Knew::Untouched
            }
            _ => Knew::Touched,
        }
    }

    /// Who alone may have the object by now, and reports it unless it dies.
    pub fn maker(&self) -> Option<NodeId> {
        match self {
            Work::FirstTouch { by, .. } => Some(*by),
            _ => None,
        }
    }

    /// Whether the transaction brings the object to `node`, or takes it from there.
    pub fn is_by(&self, node: NodeId) -> bool {
        match self {
            Work::Grab { by, before: Before::Exclusive(owner, _), .. }
            | Work::Share { by, owner: (owner, _), .. } => *by == node || *owner == node,
            Work::Grab { by, .. } => *by == node,
            _ => false,
        }
    }
}

impl Entry {
    pub fn is_quiet(&self) -> bool {
        self.queue.is_empty() && self.syncing.is_empty() && !matches!(self.state, State::Busy { .. })
    }

    /// State, owner, copyset and line, for people.
    pub fn outline(&self) -> String {
        let mut text = self.name();
        match &self.state {
            State::Shared { owner, copies, .. } => {
                let nodes: Vec<String> = copies.iter().map(|(node, _)| node.to_string()).collect();
                text += &format!(", owner {}, copies on {}", owner.node, nodes.join(" "));
            }
            State::Exclusive { owner, .. } => text += &format!(", owner {owner}"),
            _ => {}
        }
        if !self.queue.is_empty() {
            text += &format!(", {} requests in line", self.queue.len());
        }
        text
    }

    /// The state, by name.
    pub fn name(&self) -> String {
        let state = match &self.state {
            State::Uncached | State::Untouched => "uncached",
            State::Lost => "lost",
            State::Shared { .. } => "shared",
            State::Exclusive { .. } => "exclusive",
            State::Busy { work, .. } => match work {
                Work::Grab { before: Before::Shared(..), .. } => "busy: grab of shared",
                Work::Grab { before: Before::Exclusive(..), .. } => "busy: grab of exclusive",
                Work::Share { .. } => "busy: share",
                Work::FirstTouch { .. } => "busy: first touch",
                Work::Fill { .. } => "busy: fill",
                Work::Collect { then: Then::Remove(..) | Then::Discard(..), .. } => "busy: remove",
                Work::Collect { then: Then::Purge, .. } => "busy: purge",
                Work::Collect { then: Then::Salvage(..), .. } => "busy: salvage",
                Work::Drain { .. } => "busy: drain",
                Work::Device { .. } => "busy: device",
            },
        };
        state.into()
    }

    pub fn is_empty(&self) -> bool {
        self.is_quiet() && self.state == State::Uncached
    }
}
