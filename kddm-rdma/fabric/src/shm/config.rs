//! Why a shm fabric may not start.

use crate::tcp::{FabricError, TcpConfig};
use kddm_object::NodeId;
use std::{
    io,
    net::{IpAddr, UdpSocket},
};

/// Why the fabric does not start. Nothing was left behind.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// There is no memory to share with it.
    #[error(
        "node {node} at {address} is on another host: fabric = \"shm\" is for nodes that share one host's memory; write \
         fabric = \"tcp\" or \"verbs\" in cluster.toml, on all nodes"
    )]
    Elsewhere {
        /// The node.
        node: NodeId,
        /// Its address.
        address: IpAddr,
    },
    /// The connections on which peers meet.
    #[error(transparent)]
    Control(#[from] FabricError),
    /// The socket through which descriptors are passed.
    #[error(
        "no Unix socket for the descriptors of shared memory: {0}; check the limit on open files (ulimit -n)"
    )]
    Door(io::Error),
}

/// Whether all nodes are on this host.
pub(super) fn check_host(config: &TcpConfig) -> Result<(), StartError> {
    for &(node, address) in &config.peers {
        // Only an address of this host can be bound.
        if let Err(error) = UdpSocket::bind((address.ip(), 0))
            && error.kind() == io::ErrorKind::AddrNotAvailable
        {
            return Err(StartError::Elsewhere { node, address: address.ip() });
        }
    }
    Ok(())
}
