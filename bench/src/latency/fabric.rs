//! Which fabric is between the nodes: for kDDM, and bare for its floors. The one place to add another.

use super::floor::{Bare, BareShm, BareTcp, BareVerbs};
use super::pattern::Rank;
use anyhow::{Context, Result};
use clap::ValueEnum;
use kddm_cluster::{ClusterId, Key};
use kddm_fabric::shm::Shm;
use kddm_fabric::tcp::{Greeting, Tcp, TcpConfig};
use kddm_fabric::verbs::{Choice, Verbs, VerbsConfig};
use kddm_rdma::{Arena, Incarnation, NodeId, Transport};
use std::net::SocketAddr;
use std::sync::Arc;

/// A fabric.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Kind {
    /// Memory that the nodes of one host share
    Shm,
    /// Any network; READs are answered by the fabric's thread
    Tcp,
    /// RDMA, on the device that has the node's address, or the only one
    Verbs,
}

/// What a fabric is started with.
#[derive(Clone, Debug)]
pub struct FabricConfig {
    /// This node.
    pub me: NodeId,
    /// Where it listens (also for what a fabric exchanges before its own connections stand).
    pub listen: SocketAddr,
    /// The other nodes and where they listen.
    pub peers: Vec<(NodeId, SocketAddr)>,
    /// This run's cluster.
    pub cluster: ClusterId,
    /// Its key.
    pub key: Key,
}

impl Kind {
    /// As the report has it.
    pub fn name(self) -> &'static str {
        match self {
            Kind::Shm => "shm",
            Kind::Tcp => "tcp",
            Kind::Verbs => "verbs",
        }
    }

    /// What the floor is called in the report.
    pub fn floor(self) -> &'static str {
        match self {
            Kind::Shm => "bare shared memory",
            Kind::Tcp => "bare TCP",
            Kind::Verbs => "bare verbs",
        }
    }

    /// The device, where nodes are at `addresses`.
    pub fn device(self, addresses: &[SocketAddr]) -> Option<String> {
        let here = addresses.iter().all(|address| address.ip().is_loopback());
        match self {
            Kind::Shm => None,
            Kind::Tcp => here.then(|| "loopback".to_owned()),
            Kind::Verbs => {
                let endpoint =
                    addresses.first().and_then(|address| Choice::default().find(address.ip()).ok());
                endpoint.map(|endpoint| endpoint.device.name().to_owned())
            }
        }
    }
}

/// A node's end of the fabric.
///
/// # Errors
/// If it cannot be started: an address that cannot be listened on, no device.
pub fn start_fabric(kind: Kind, config: FabricConfig, arena: Arc<Arena>) -> Result<Box<dyn Transport>> {
    let FabricConfig { me, listen, peers, cluster, key } = config;
    let incarnation = Incarnation(1);
    let greeting = Greeting { protocol_version: 1, format_version: 1, root: None };
    let control = TcpConfig { me, incarnation, listen, peers, cluster, key, greeting };
    Ok(match kind {
        Kind::Shm => Box::new(Shm::start(control, arena)?),
        Kind::Tcp => Box::new(Tcp::start(control, arena)?),
        Kind::Verbs => Box::new(Verbs::start(VerbsConfig { control, choice: Choice::default() }, arena)?),
    })
}

/// The same fabric with no protocol above it, beside the first. `run` is a secret of this run.
///
/// # Errors
/// As [`start_fabric`].
pub fn start_bare(kind: Kind, me: Rank, addresses: &[SocketAddr], run: [u8; 16]) -> Result<Box<dyn Bare>> {
    let own = addresses.get(usize::from(me)).context("the rank is not in the list of addresses")?;
    Ok(match kind {
        Kind::Shm => Box::new(BareShm::start(me, run)?),
        Kind::Tcp => Box::new(BareTcp::start(me, own.ip(), run)?),
        Kind::Verbs => Box::new(BareVerbs::start(me, addresses.len(), own.ip())?),
    })
}
