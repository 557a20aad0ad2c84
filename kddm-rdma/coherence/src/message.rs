//! What nodes say to each other. The table of senders, receivers and meanings is in `docs/protocol.md`.

use kddm_object::{
    FirstTouch, Incarnation, Location, Mode, NodeId, NodeSet, ObjectKey, Rid, Seq, ViewId, limits::INLINE_MAX,
};
use std::fmt;

/// One message about one object.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Message {
    /// The view in which it was sent.
    pub view: ViewId,
    /// The sender's life.
    pub incarnation: Incarnation,
    /// The shared periods that have begun at the sender as a home (speculation).
    pub clock: u64,
    /// The object.
    pub key: ObjectKey,
    /// What is said.
    pub body: Body,
}

impl Message {
    /// Whether nobody waits for it at once: it frees a slot, or ends a transaction whose object is in use.
    pub fn can_wait(&self) -> bool {
        matches!(self.body, Body::Fetched { .. } | Body::Done { .. })
    }
}

/// What a requester wants of the home.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum RequestKind {
    /// A shared copy.
    Get = 1,
    /// The only copy.
    Grab = 2,
    /// The end of the object, on every node and on the device.
    Remove = 3,
    /// What was put so far on the device.
    Sync = 4,
}

/// REQ.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Request {
    /// What is wanted.
    pub kind: RequestKind,
    /// The request's number.
    pub rid: Rid,
    /// What to do if nobody touched the object before.
    pub first_touch: FirstTouch,
    /// Answer NACK instead of waiting for somebody's hold.
    pub try_only: bool,
    /// The requester has a valid shared copy.
    pub have: bool,
    /// Speculation: a location that may have been READ beside this request.
    pub hint: Option<Location>,
    /// Speculation: the largest clock received from this home before the READ was posted.
    pub seen: u64,
}

/// Where the bytes come from.
#[allow(
    clippy::large_enum_variant,
    reason = "small objects ride inside: a box would be an allocation a message"
)]
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Source {
    /// The requester's own copy is valid.
    Copy,
    /// READ them there.
    Read(Location),
    /// There, and the READ that was posted beside the request is good.
    Speculated(Location),
    /// Here they are.
    Bytes(Inline),
    /// Nobody has any: make the object.
    Make,
}

/// Which share of an exclusive object the home wants its owner to give.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum RecallKind {
    /// "Share with the requester": keep a shared copy, stay the named owner.
    Share = 1,
    /// "Your successor is the requester": keep the slot until FETCHED, nothing else.
    Yield = 2,
}

/// Why a request is not granted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Nack {
    /// Nobody touched the object and the request refused to be first.
    Absent,
    /// It would have had to wait.
    WouldBlock,
    /// The set is unknown at its home.
    NoSet,
    /// The device failed; an errno.
    Device(i32),
    /// The last copy died with a node. The object is lost until somebody removes it or grabs it afresh.
    Lost,
    /// A node that the request needs is not there.
    Peer(NodeId),
    /// Its hand-over may have died with the giver: ask anew.
    Again,
    /// The set was destroyed.
    Destroyed,
}

/// What the home of an earlier view knew of an object without any copy that survived.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Knew {
    /// Nobody has touched it, or it was removed.
    Untouched = 1,
    /// Somebody had it.
    Touched = 2,
    /// It was lost before.
    Lost = 3,
}

/// What becomes of a reported copy in the new view.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Keep {
    /// An ordinary copy, if it is valid; whatever was kept for somebody may go.
    Ordinary = 1,
    /// The named copy; whatever was kept may go.
    Named = 2,
    /// The newest of what was kept is the named copy.
    Newest = 3,
}

/// The bodies of messages. The numbers on the wire are in `kddm-fabric`'s wire module.
#[allow(
    clippy::large_enum_variant,
    reason = "small objects ride inside: a box would be an allocation a message"
)]
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Body {
    /// requester → home.
    Request(Request),
    /// home → requester: granted. `acks`: who will send ACK(seq). `owner`: whom to tell FETCHED.
    Grant {
        /// The request.
        rid: Rid,
        /// The transaction, or the entry's last one if this grant starts none.
        seq: Seq,
        /// Where the bytes are.
        source: Source,
        /// Nodes whose ACK completes a grab.
        acks: NodeSet,
        /// The node that keeps its slot until FETCHED; `None` if nobody does.
        owner: Option<NodeId>,
        /// The grant is exclusive.
        exclusive: bool,
    },
    /// home → requester: not granted. With `rid` 0 it answers EVICT: the naming stays where it is.
    Nack {
        /// The request, or 0.
        rid: Rid,
        /// Why.
        why: Nack,
    },
    /// home → requester of a remove or sync: it is done.
    Finished {
        /// The request.
        rid: Rid,
    },
    /// home → sharer: drop the copy when the request `after` is over; ACK to `requester`. With `keep`, a valid copy stays
    /// readable until FETCHED or RESTORE, whoever owned it: the home looks for bytes that survived a node.
    Invalidate {
        /// The transaction.
        seq: Seq,
        /// Who collects the acks.
        requester: NodeId,
        /// Its life: the addressee may not have met it yet.
        life: Incarnation,
        /// The addressee's own request that this follows.
        after: Rid,
        /// Retain a valid copy even if it is not the named one.
        keep: bool,
    },
    /// sharer → requester: dropped. Also home → requester, for a sharer that died.
    Ack {
        /// The transaction.
        seq: Seq,
        /// Who dropped its copy.
        of: NodeId,
        /// The slot that the sender keeps readable until FETCHED(seq), if it has one.
        retained: Option<Location>,
        /// The transaction for which that slot was first kept: the highest has the newest bytes.
        since: Seq,
    },
    /// home → exclusive owner.
    Recall {
        /// The transaction.
        seq: Seq,
        /// What to give.
        kind: RecallKind,
        /// To whom.
        requester: NodeId,
        /// Its life: the addressee may not have met it yet.
        life: Incarnation,
        /// The requester's request.
        rid: Rid,
        /// The addressee's own request that this follows.
        after: Rid,
        /// Refuse (REFUSED) instead of waiting for a hold.
        try_only: bool,
    },
    /// owner → home: a try would have to wait; nothing was changed.
    Refused {
        /// The transaction.
        seq: Seq,
    },
    /// holder → requester: takes the place of GRANT.
    Hand {
        /// The transaction.
        seq: Seq,
        /// The request.
        rid: Rid,
        /// Where the bytes are (`Read` or `Bytes`).
        source: Source,
        /// The hand-over is exclusive.
        exclusive: bool,
    },
    /// holder → home: downgraded; the named copy is there.
    Shared {
        /// The transaction.
        seq: Seq,
        /// The named copy.
        location: Location,
    },
    /// requester → home: acks and data are in. `location`: the slot, which after a first-touch get is the named copy.
    Done {
        /// The transaction.
        seq: Seq,
        /// The requester's slot.
        location: Location,
    },
    /// new owner → old owner: the slot kept for `seq` may go.
    Fetched {
        /// The transaction.
        seq: Seq,
    },
    /// owner → home: please name another copy, this node is short of memory.
    Evict,
    /// home → copyset: tell me when your READ of the object is done.
    Drain {
        /// The transaction.
        seq: Seq,
        /// The addressee's own request that this follows.
        after: Rid,
    },
    /// copyset → home.
    Drained {
        /// The transaction.
        seq: Seq,
    },
    /// home → old owner: the named copy is elsewhere now; yours is an ordinary one.
    Free {
        /// The transaction.
        seq: Seq,
    },
    /// home → requester whose hand-over may have died with its giver: forget what came for `rid`, unless it is complete.
    Retry {
        /// The request.
        rid: Rid,
        /// The transaction that is given up.
        seq: Seq,
    },
    /// home → holder of a retained slot: it is the named shared copy again.
    Restore {
        /// The transaction for which the slot was retained.
        seq: Seq,
    },
    /// holder → home: who was to fetch the slot kept for `seq` is dead. FETCHED is the answer, unless the home still needs it.
    Kept {
        /// The transaction.
        seq: Seq,
        /// Who is dead.
        to: NodeId,
        /// The life of it that is over.
        life: Incarnation,
    },
    /// requester → home: `rid` waits for a new grant; nothing of `seq` is left.
    Retrying {
        /// The request.
        rid: Rid,
        /// The transaction that was given up.
        seq: Seq,
    },
    /// home → everybody, at the end of a remove: let go of what you keep of the object. Answered by ACK.
    Discard {
        /// The transaction.
        seq: Seq,
    },
    /// holder → home of a new view: what it has of the object.
    Report {
        /// Of its copy; `None` if it has no valid one. Without `copy`: it has holds of a copy that means nothing any more.
        mode: Mode,
        /// Its copy was the named one.
        named: bool,
        /// Its valid copy.
        copy: Option<Location>,
        /// The newest bytes that it keeps without a right to use them.
        kept: Option<Location>,
        /// The view of the transaction for which they are kept …
        since_view: ViewId,
        /// … and its number: the highest has the newest bytes.
        since: Seq,
    },
    /// home of the last view → home of the new one.
    Knew {
        /// What it knew of the object …
        what: Knew,
        /// … in this view, the last that it served.
        view: ViewId,
    },
    /// member → member: objects homed by `homes` on one of `gone` died with their directory, unless somebody has them. With
    /// nobody gone: those homes may still be the only ones who know.
    Doubt {
        /// A view.
        view: ViewId,
        /// Its homes.
        homes: NodeSet,
        /// Those among them that ended with it.
        gone: NodeSet,
    },
    /// member → member: that was all, and every READ of the old view is over.
    Reported {
        /// The sender has served in an earlier view: it has told all doubts.
        established: bool,
        /// The last view of which the sender knows that all its homes granted.
        settled: ViewId,
    },
    /// home → holder: what becomes of the reported copy.
    Rebuilt {
        /// That.
        keep: Keep,
    },
    /// home → member: the directory is rebuilt, and grants.
    Opened,
    /// home → member: how many objects like this one could you take?
    AskRoom,
    /// member → home: so many. Also says that it does not take the object of an INJECT.
    Room {
        /// That it can spare.
        slots: u32,
    },
    /// home → member: take this object, there is no memory for it here.
    Inject,
    /// member → member: the set of this object has ended. Answered by FINISHED unless the number is 0.
    Destroy {
        /// The number of whoever ends it.
        rid: Rid,
    },
    /// requester → home: nobody waits for that request any more. If it stands in line still, NACK *again* answers; if it was
    /// started, its own end does.
    Cancel {
        /// The request's number.
        rid: Rid,
    },
}

/// Up to [`INLINE_MAX`] bytes of a small object, riding in a message.
#[derive(Clone, Copy)]
pub struct Inline {
    length: u16,
    bytes: [u8; INLINE_MAX],
}

impl Inline {
    /// A copy of `bytes`; `None` if there are more than [`INLINE_MAX`].
    pub fn new(bytes: &[u8]) -> Option<Inline> {
        let mut inline = Inline { length: u16::try_from(bytes.len()).ok()?, bytes: [0; INLINE_MAX] };
        inline.bytes.get_mut(..bytes.len())?.copy_from_slice(bytes);
        Some(inline)
    }

    /// The bytes.
    pub fn as_slice(&self) -> &[u8] {
        &self.bytes[..usize::from(self.length)]
    }
}

impl PartialEq for Inline {
    fn eq(&self, other: &Inline) -> bool {
        self.as_slice() == other.as_slice()
    }
}

impl Eq for Inline {}

impl std::hash::Hash for Inline {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.as_slice().hash(state);
    }
}

impl fmt::Debug for Inline {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes", self.length)
    }
}
