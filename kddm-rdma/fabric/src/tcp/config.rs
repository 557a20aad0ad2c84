//! What a tcp fabric is started with, and why it may not start.

use kddm_cluster::{ClusterId, Key};
use kddm_object::{Incarnation, NodeId};
use std::{io, net::SocketAddr};

/// What a node needs to meet its peers.
#[derive(Clone, Debug)]
pub struct TcpConfig {
    /// This node.
    pub me: NodeId,
    /// This life of it; larger than that of any earlier life.
    pub incarnation: Incarnation,
    /// Where it listens, and the address from which it dials.
    pub listen: SocketAddr,
    /// The other nodes and where they listen.
    pub peers: Vec<(NodeId, SocketAddr)>,
    /// The cluster.
    pub cluster: ClusterId,
    /// What proves membership.
    pub key: Key,
    /// What else peers must agree on.
    pub greeting: Greeting,
}

/// What two nodes compare before they talk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Greeting {
    /// The version of messages and handshake contents.
    pub protocol_version: u32,
    /// The version of the partitions' format.
    pub format_version: u32,
    /// The root directory's inode number, if this node knows it.
    pub root: Option<u32>,
}

/// Why a fabric does not start. Nothing was left behind.
#[derive(Debug, thiserror::Error)]
pub enum FabricError {
    /// Listening failed.
    #[error("node {me} cannot listen on {address}: {error}; {}", listen_remedy(error))]
    Listen {
        /// This node.
        me: NodeId,
        /// Where.
        address: SocketAddr,
        /// What the system said.
        error: io::Error,
    },
    /// The list of peers cannot be right.
    #[error("{0}")]
    Peers(String),
    /// The system refused something every process can have.
    #[error("{what}: {error}; check the limit on open files (ulimit -n)")]
    System {
        /// What was wanted.
        what: &'static str,
        /// What the system said.
        error: io::Error,
    },
}

fn listen_remedy(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::AddrInUse => {
            "another server runs there already (kddm status), or another program uses the port: \
             choose another `port` in cluster.toml, on all nodes"
        }
        io::ErrorKind::AddrNotAvailable => {
            "this machine has no such address: correct the node's address in cluster.toml, or give this node its id"
        }
        _ => "correct the node's address or the port in cluster.toml",
    }
}

impl TcpConfig {
    pub(super) fn check(&self) -> Result<(), FabricError> {
        for (place, (node, address)) in self.peers.iter().enumerate() {
            if *node == self.me || address == &self.listen {
                let what = format!("the list of peers names this node (node {node}, {address}) itself");
                return Err(FabricError::Peers(what));
            }
            if let Some((other, _)) = self.peers[..place].iter().find(|(id, at)| id == node || at == address)
            {
                let what =
                    format!("two peers have one id or one address: node {other} and node {node}, {address}");
                return Err(FabricError::Peers(what));
            }
        }
        Ok(())
    }
}
