//! What goes into a step of the core, and what comes out.

use crate::{Message, OpError};
use kddm_object::{FirstTouch, Hold, Incarnation, Location, NodeId, ObjectKey, SlotId, ViewId};

/// A local operation, named by the caller. Unique among the unfinished ones of the node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct OpId(pub u64);

/// A READ that the core asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ReadToken(pub u64);

/// What a thread of this node wants and could not have by a hit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Asked {
    /// A hold.
    Hold {
        /// Get or grab.
        hold: Hold,
        /// What to do with an untouched object.
        first_touch: FirstTouch,
        /// Fail instead of waiting for somebody's hold.
        try_only: bool,
        /// The caller frees memory by what it does: it may use the reserve.
        reserve: bool,
    },
    /// A copy without a hold, so that a later hold of that kind hits. It is given up as soon as anybody asks for it.
    Prefetch {
        /// What the later hold is to be.
        hold: Hold,
        /// What to do with an untouched object.
        first_touch: FirstTouch,
    },
    /// The end of the object.
    Remove,
    /// Everything put so far on the device.
    Sync,
    /// The local copy away, unless it is the last.
    Flush,
    /// The end of the object's set, with all that is in it: from the end of this operation on nobody gets a hold.
    Destroy,
}

/// A local operation on one object.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Operation {
    /// The caller's name for it.
    pub op: OpId,
    /// The object.
    pub key: ObjectKey,
    /// What is wanted.
    pub asked: Asked,
}

/// A numbered membership, agreed upon elsewhere. Views of a cluster are numbered without gaps that matter: a node may miss some.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct View {
    /// Its number.
    pub id: ViewId,
    /// Who belongs to it.
    pub members: Vec<Member>,
    /// The cluster begins with it: nobody has touched anything.
    pub founding: bool,
}

/// A node in a view.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Member {
    /// The node.
    pub node: NodeId,
    /// Its life: messages of any other are dropped.
    pub life: Incarnation,
    /// It is leaving in good order: still a holder of copies, no home any more.
    pub leaving: bool,
}

/// One thing that happened.
#[allow(
    clippy::large_enum_variant,
    reason = "small objects ride inside: a box would be an allocation a message"
)]
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Input {
    /// A local operation begins. It ends with exactly one [`Effect::Complete`], unless cancelled before.
    Begin(Operation),
    /// The caller lost interest. If [`Effect::Complete`] was emitted before, nothing happens here (and the caller puts).
    Cancel(ObjectKey, OpId),
    /// A put left the word revoked and unheld ([`kddm_object::Release::Notify`]).
    Released(ObjectKey),
    /// A message. Messages of one sender come in the order in which they were sent.
    Message(NodeId, Message),
    /// A READ landed (true) or failed without touching anything afterwards (false).
    ReadDone(ReadToken, bool),
    /// A linker call ended.
    LinkerDone(ObjectKey, LinkerReply),
    /// The caller, who holds the object shared at its home, has written its bytes to the device.
    Cleaned(ObjectKey),
    /// The node is short of memory: drop or move this copy if nobody uses it.
    Evict(ObjectKey),
    /// Nothing can be evicted for this object: whoever waits for a slot of it is refused.
    OutOfMemory(ObjectKey),
    /// Slots became free: whoever waits for one may try again.
    MemoryFreed,
    /// A peer is there, in this life.
    PeerUp(NodeId, Incarnation),
    /// A peer's life has ended as far as this node is concerned: its process is gone, or it was silent for too long. It comes
    /// back as a new incarnation, and both begin with nothing of each other.
    PeerDown(NodeId),
    /// Others had given this node up while it lived, or it had given them up: it begins a new life ([`crate::Loss::Local`]). Every peer is
    /// down; what has its home here, and was not lost with them, it still has.
    Renewed(Incarnation),
    /// The next view ([`crate::Loss::Agreed`]). It is adopted as soon as all its members are up.
    View(View),
    /// The leases of all nodes that are not in this view have run out: they use nothing any more.
    Fenced(ViewId),
    /// This node's lease from the quorum has run out (false) or is there again (true).
    Lease(bool),
}

/// A call of the set's IO linker, made at the object's home.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum LinkerCall {
    /// Fill `slot` from the device; if the device has nothing and `make` is set, make the object (first touch).
    Insert {
        /// Where to put the bytes.
        slot: SlotId,
        /// Make it if it is not there.
        make: bool,
    },
    /// First touch of a volatile object, at the requester: fill `slot`.
    FirstTouch {
        /// Where to put the bytes.
        slot: SlotId,
    },
    /// Write the bytes of `slot`, which is held shared meanwhile, to the device.
    Sync {
        /// The bytes.
        slot: SlotId,
    },
    /// Remove the object from the device.
    Remove,
}

/// How a linker call ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum LinkerReply {
    /// Done; an insert or first touch has filled the slot.
    Ok,
    /// An insert found nothing and was not to make anything.
    Absent,
    /// The device failed with this errno.
    Failed(i32),
}

/// What the node has to do after a step, in this order.
#[allow(
    clippy::large_enum_variant,
    reason = "small objects ride inside: a box would be an allocation a message"
)]
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Effect {
    /// Send; reliable, in order per peer. Never to this node itself.
    Send(NodeId, Message),
    /// READ `length` bytes at `source` into `landing`; answer with [`Input::ReadDone`].
    Read {
        /// The READ's name.
        token: ReadToken,
        /// From there.
        source: Location,
        /// To this slot of the node.
        landing: SlotId,
        /// So many bytes.
        length: u32,
    },
    /// Call the linker; answer with [`Input::LinkerDone`]. At most one call per object is under way.
    Linker(ObjectKey, LinkerCall),
    /// A local operation ended. For a hold `Ok(Some(slot))`: the word of that slot already counts the hold, and the
    /// caller ends it with a release of the word. For anything else `Ok(None)`.
    Complete(OpId, Result<Option<SlotId>, OpError>),
    /// No slot was free for an object of this set: evict something ([`Input::Evict`]), or fail who waits.
    NeedMemory(ObjectKey),
    /// The local copy's mode went from the first to the second (for the linker's notifications).
    Changed(ObjectKey, kddm_object::Mode, kddm_object::Mode),
}
