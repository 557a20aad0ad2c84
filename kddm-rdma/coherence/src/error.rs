//! Why an operation on an object failed.

use kddm_object::{NodeId, SetId};

/// Why an operation failed. Whatever the error, the object is as it was before the operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum OpError {
    /// Nobody touched the object, and the operation did not want to be first.
    #[error("the object does not exist, and the operation was not to create it")]
    Absent,
    /// A try would have had to wait.
    #[error("the object is held elsewhere")]
    WouldBlock,
    /// The set is unknown, at this node or at its home.
    #[error("there is no set {0}")]
    NoSet(SetId),
    /// The set was destroyed, and its number is never used again.
    #[error("set {0} was destroyed; open it by its name to see whether there is a new one")]
    Destroyed(SetId),
    /// The policy names a home that is no node of the cluster.
    #[error("set {0} has its home on a node that is not in the cluster")]
    NoHome(SetId),
    /// The device failed.
    #[error("the device of the object's home failed: {}", std::io::Error::from_raw_os_error(*.0))]
    Device(i32),
    /// The time that the caller gave it is over.
    #[error("it could not be had in time: somebody holds it, or a node that is needed is slow")]
    TimedOut,
    /// A node that the operation needs is gone. The operation may be repeated when it is back.
    #[error("node {0} is not reachable")]
    PeerLost(NodeId),
    /// This node is no member of the cluster's view any more. It has to be started again.
    #[error("this node was expelled from the cluster; start it again")]
    Expelled,
    /// The object's last copy died with a node.
    #[error("the object's last copy was lost with a node; remove it or write it anew")]
    Lost,
    /// No memory, and nothing that could be evicted.
    #[error("the node's arena is full of objects in use; give it more memory (arena size in cluster.toml)")]
    NoMemory,
}

/// What other nodes hear of [`OpError::NoMemory`] at an object's home, as of a failure of its device.
pub(crate) const ENOMEM: i32 = 12;
