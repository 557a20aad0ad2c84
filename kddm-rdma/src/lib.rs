//! A kDDM node: coherent objects for the programs of a cluster.
#![forbid(unsafe_code)]

mod error;
mod family;
pub mod host;
mod linker;
mod node;
mod options;
mod registry;
mod status;

pub use error::NodeError;
pub use family::SetFamily;
pub use host::{BoxFuture, Disk, Host, Job, LinuxHost};
pub use kddm_coherence::OpError;
pub use kddm_fabric::{PeerState, Transport};
pub use kddm_object::{
    Durability, FirstTouch, Home, Incarnation, Mode, NodeId, ObjectKey, SetId, SetPolicy,
};
pub use linker::{Inserted, IoLinker, Keep};
pub use node::{Exclusive, Node, NodeConfig, Shared};
pub use options::Options;
pub use registry::RegistryError;
pub use status::{Counts, NodeStatus, ObjectDump};
