//! A kDDM node: coherent objects for the programs of a cluster.
//!
//! A [`Node`] shares objects with the other nodes of its cluster. Objects belong to sets; a set's family says how large they are, which
//! node is their home, and which [`IoLinker`] ties them to a device. `get` takes a shared hold, `grab` an exclusive one; the
//! bytes of the object are the guard's, and dropping the guard puts.
//!
//! ```text
//! Node ── hits       the state word alone: no lock, no memory, no engine
//!      ── engine     coherence core + fabric + table of operations, under one lock
//!      ── event loop a thread that sleeps on the fabric
//!      ── linkers    called without the lock; on threads of the host if they block
//! ```
//!
//! Threads that miss step the core themselves, and send what it says before they give the lock back. The examples `counter` and
//! `files` show all of it in a few lines.
#![forbid(unsafe_code)]

mod calls;
mod engine;
mod error;
mod event_loop;
mod family;
pub mod figures;
pub mod host;
mod inner;
mod linker;
mod many;
mod membership;
mod node;
mod operations;
mod options;
mod pressure;
mod quarantine;
mod read_ahead;
mod registry;
mod status;
mod store;
mod sync;
mod timed;
pub mod trace;
mod waiting;

pub use error::NodeError;
pub use family::SetFamily;
pub use host::{BoxFuture, Disk, Host, Job, LinuxHost};
pub use kddm_coherence::{Loss, Member, OpError, View};
pub use kddm_fabric::{Counters, PeerState, Transport};
pub use kddm_memory::{Arena, ArenaConfig, Exclusive, Shared, Usage};
pub use kddm_object::{
    Durability, FirstTouch, Home, HomeFunction, Incarnation, Mode, NodeId, ObjectKey, SetId, SetPolicy,
    ViewId,
};
pub use linker::{Inserted, IoLinker, Keep};
pub use membership::{Membership, Standing};
pub use node::{Node, NodeConfig};
pub use options::Options;
pub use registry::{Owner, RegistryError, SetInfo};
pub use status::{Counts, NodeStatus, ObjectDump};
