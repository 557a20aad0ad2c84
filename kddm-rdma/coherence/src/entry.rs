//! What the home knows of an object: its state, and, while there is something under way, its one transaction and the line
//! of those who wait. [`crate::directory`] keeps it.

use crate::collect::{KeptCopies, Then};
use crate::speculation::Since;
use crate::{Knew, Request};
use kddm_object::{Location, NodeId, NodeSet, Rid, Seq};
use smallvec::SmallVec;

/// The directory entry of an object, as its readers see it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Entry<'a> {
    /// While a transaction is under way: what the object was before it, if the transaction says no more of that itself.
    pub state: State<'a>,
    pub underway: Option<&'a Underway>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum State<'a> {
    /// No node has it.
    Uncached,
    /// No node has it, and nobody touched it since its directory entry died or moved: the entry is there to say so.
    Untouched,
    /// The last copy died with a node, and there is no device.
    Lost,
    Shared {
        owner: Location,
        copies: &'a [Holder],
        since: Since,
    },
    Exclusive {
        owner: NodeId,
        rid: Rid,
    },
}

/// A node that may have a copy, and its request that got it. Five bytes, so that an entry has room for some.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Holder {
    pub node: NodeId,
    rid: [u8; 4],
}

pub(crate) type Holders = SmallVec<[Holder; 4]>;

/// What is under way on an object.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Default)]
pub(crate) struct Underway {
    pub transaction: Option<Transaction>,
    pub line: SmallVec<[Pending; 1]>,
    /// Who waits for the device to have the bytes.
    pub syncing: SmallVec<[(NodeId, Rid); 1]>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Transaction {
    pub seq: Seq,
    pub work: Work,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Work {
    /// Of a shared or exclusive object, which the entry goes on saying; ends with DONE.
    Grab { by: NodeId, request: Request, retry: bool },
    /// A get of an exclusive object, which the entry goes on saying; ends with SHARED.
    Share { by: NodeId, request: Request, retry: bool },
    /// Ends with DONE. `lost`: the object was lost, and the requester takes it as it is.
    FirstTouch { by: NodeId, request: Request, lost: bool },
    /// The linker fills the home's slot.
    Fill { by: NodeId, request: Request, started: bool },
    /// The home collects all copies. `due`: whose ACK is not in, each with its request that our INV follows.
    Collect { due: Holders, kept: KeptCopies, then: Then },
    /// The naming moves from the owner of the shared object, which the entry goes on saying, to the home.
    Drain { due: NodeSet },
    /// The linker removes the object. The newest bytes are kept until it has.
    Device { by: NodeId, rid: Rid, kept: KeptCopies },
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Pending {
    Request(NodeId, Request),
    Evict(NodeId),
}

impl Holder {
    pub fn new(node: NodeId, rid: Rid) -> Holder {
        Holder { node, rid: rid.0.to_le_bytes() }
    }

    pub fn rid(&self) -> Rid {
        Rid(u32::from_le_bytes(self.rid))
    }
}

impl Work {
    /// Whether the entry goes on saying what the object was before.
    pub fn has_before(&self) -> bool {
        matches!(self, Work::Grab { .. } | Work::Share { .. } | Work::Drain { .. })
    }

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
}

impl Underway {
    pub fn is_over(&self) -> bool {
        self.transaction.is_none() && self.line.is_empty() && self.syncing.is_empty()
    }
}

impl<'a> Entry<'a> {
    pub fn transaction(&self) -> Option<&'a Transaction> {
        self.underway.and_then(|underway| underway.transaction.as_ref())
    }

    pub fn first_in_line(&self) -> Option<&'a Pending> {
        self.underway.and_then(|underway| underway.line.first())
    }

    pub fn is_busy(&self) -> bool {
        self.transaction().is_some()
    }

    pub fn is_quiet(&self) -> bool {
        self.underway.is_none()
    }

    pub fn is_empty(&self) -> bool {
        self.is_quiet() && self.state == State::Uncached
    }

    /// Whether the transaction under way brings the object to `node`, or takes it from there.
    pub fn is_moving(&self, node: NodeId) -> bool {
        let Some(Transaction { work: Work::Grab { by, .. } | Work::Share { by, .. }, .. }) =
            self.transaction()
        else {
            return false;
        };
        *by == node || matches!(self.state, State::Exclusive { owner, .. } if owner == node)
    }

    /// What is known of the object should no copy of it be found in the next view.
    pub fn knew(&self) -> Knew {
        match (self.transaction(), self.state) {
            (Some(transaction), _) => transaction.work.knew(),
            (None, State::Uncached | State::Untouched) => Knew::Untouched,
            (None, State::Lost) => Knew::Lost,
            (None, State::Shared { .. } | State::Exclusive { .. }) => Knew::Touched,
        }
    }

    /// State, owner, copyset and line, for people.
    pub fn outline(&self) -> String {
        let mut text = self.name();
        match self.state {
            _ if self.is_busy() => {}
            State::Shared { owner, copies, .. } => {
                let nodes: Vec<String> = copies.iter().map(|holder| holder.node.to_string()).collect();
                text += &format!(", owner {}, copies on {}", owner.node, nodes.join(" "));
            }
            State::Exclusive { owner, .. } => text += &format!(", owner {owner}"),
            _ => {}
        }
        let waiting = self.underway.map_or(0, |underway| underway.line.len());
        if waiting > 0 {
            text += &format!(", {waiting} requests in line");
        }
        text
    }

    /// The state, by name.
    pub fn name(&self) -> String {
        let state = match (self.transaction().map(|transaction| &transaction.work), self.state) {
            (None, State::Uncached | State::Untouched) => "uncached",
            (None, State::Lost) => "lost",
            (None, State::Shared { .. }) => "shared",
            (None, State::Exclusive { .. }) => "exclusive",
            (Some(Work::Grab { .. }), State::Exclusive { .. }) => "busy: grab of exclusive",
            (Some(work), _) => match work {
                Work::Grab { .. } => "busy: grab of shared",
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
}
