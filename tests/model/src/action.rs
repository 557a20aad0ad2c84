//! What can happen next.

use kddm_object::{Hold, NodeId, ObjectKey};

/// What a thread wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Want {
    /// get or grab.
    Hold(Hold),
    /// The same without waiting.
    Try(Hold),
    /// Only if somebody touched it.
    Existing(Hold),
    /// Grab without bytes.
    Manual,
    /// A copy.
    Prefetch,
    /// A hold of every object: copies of all on their way together, then the holds, in ascending order.
    Range(Hold),
    /// The end of the object.
    Remove,
    /// The bytes on the device.
    Sync,
    /// The local copy away.
    Flush,
    /// The end of the object's set.
    Destroy,
}

/// One thing that can happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Action {
    /// A thread starts an operation.
    Start(NodeId, usize, ObjectKey, Want),
    /// A thread ends its hold.
    Put(NodeId, usize),
    /// A thread takes the next step of its hit, its put or its range.
    Go(NodeId, usize),
    /// The program that the thread stands for dies; another takes its place.
    Die(NodeId, usize),
    /// A thread loses patience.
    Cancel(NodeId, usize),
    /// The next message from the first node to the second arrives.
    Deliver(NodeId, NodeId),
    /// The READ takes its next step.
    Read(usize),
    /// The READ starts over, as after a retransmission.
    Repeat(usize),
    /// The linker call ends.
    Linker(usize),
    /// The linker call fails.
    LinkerFails(usize),
    /// The node wants the copy's slot back.
    Evict(NodeId, ObjectKey),
    /// The node will find no slot for the object.
    OutOfMemory(NodeId, ObjectKey),
    /// The node's process dies; so many of its messages still arrive at each peer.
    Kill(NodeId, usize),
    /// It starts again.
    Restart(NodeId),
    /// The cluster goes on without the node, which may be dead or only be taken for dead.
    Expel(NodeId),
    /// The cluster takes the node in.
    Admit(NodeId),
    /// The node begins to leave in good order …
    Leave(NodeId),
    /// … and is gone.
    Left(NodeId),
    /// The node hears of the newest view.
    TellView(NodeId),
    /// The node hears that no other node has a lease.
    TellFenced(NodeId),
    /// The expelled node's lease runs out.
    LeaseEnds(NodeId),
}
