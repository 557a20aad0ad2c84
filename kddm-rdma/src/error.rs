//! Why a node does not start.

use kddm_object::NodeId;
use std::io;

/// Why a node does not start.
#[derive(Debug, thiserror::Error)]
pub enum NodeError {
    /// The node is not in its own list of members.
    #[error(
        "node {0} is not among the members of the cluster; add it to cluster.toml, or start it with its own id"
    )]
    NotAMember(NodeId),
    /// Two families claim one kind.
    #[error("two set families have the kind {0}; each needs its own, 1 to 254")]
    KindTaken(u8),
    /// The arena already belongs to a node.
    #[error("the arena already belongs to a node; every node needs an arena of its own")]
    ArenaTaken,
    /// The operating system refused something.
    #[error("{what}: {source}")]
    System {
        /// What was tried.
        what: &'static str,
        /// Why it failed.
        source: io::Error,
    },
}
