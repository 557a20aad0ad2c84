//! A cluster, as its file describes it.
//!
//! ```toml
//! id = "6f1c2a9e-0b7d-4c55-9a53-0f3b1c2d4e5f"   # names the cluster; uuidgen makes one
//! key_file = "cluster.key"                      # relative to this file; `kddm key new` makes one
//! fabric = "tcp"                                # default
//! arena = "256 MiB"                             # memory for objects on each node; default
//! port = 5336                                   # default
//! metrics = 9536                                # a port on loopback for Prometheus; none if left out
//!
//! [rdma]                                        # with fabric = "verbs"; what is left out is found
//! device = "mlx5_0"
//! port = 1
//! gid_index = 3
//!
//! [[node]]
//! address = "10.0.0.1"                          # id 1: the last byte, unless `id` is given
//!
//! [[node]]
//! id = 7
//! address = "10.0.0.200"
//! rdma = { device = "mlx5_1" }                  # where this node differs
//! ```

use crate::ClusterId;
use kddm_object::NodeId;
use serde::{Deserialize, Serialize};
use std::{
    collections::BTreeMap,
    fmt,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::PathBuf,
    str::FromStr,
};

/// The port of a cluster whose file names none: KDDM on a telephone's keys.
pub const DEFAULT_PORT: u16 = 5336;

/// The smallest arena: a few slabs, so that each size class can have one.
pub const MIN_ARENA_BYTES: u64 = 8 << 20;

pub(crate) const DEFAULT_ARENA_BYTES: u64 = 256 << 20;

/// What a cluster file says, checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cluster {
    /// The cluster's name.
    pub id: ClusterId,
    /// The key's file.
    pub key_file: PathBuf,
    /// How bytes move.
    pub fabric: Fabric,
    /// Memory for objects on each node.
    pub arena_bytes: u64,
    /// The port on which every node listens.
    pub port: u16,
    /// The root directory's inode number, if the file names it (a node with a partition knows it from there).
    pub root: Option<u32>,
    /// Where the nodes tell their metrics.
    pub metrics: Option<MetricsAt>,
    /// Where nodes differ in that.
    pub metrics_of: BTreeMap<NodeId, MetricsAt>,
    /// Which RDMA device the nodes use.
    pub rdma: Rdma,
    /// Where nodes differ in that.
    pub rdma_of: BTreeMap<NodeId, Rdma>,
    /// The nodes, by id; ids and addresses are unique, and there is at least one.
    pub nodes: Vec<Member>,
}

/// A node of the cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Member {
    /// Its id.
    pub id: NodeId,
    /// Its address; it listens there and nowhere else.
    pub address: IpAddr,
}

/// Where a node tells its metrics, over HTTP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MetricsAt {
    /// A port on the loopback interface: of the node's own address if that is there (nodes of one host), else of 127.0.0.1.
    Port(u16),
    /// This address and port.
    Socket(SocketAddr),
}

/// How bytes move between the nodes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Fabric {
    /// Over any network.
    #[default]
    Tcp,
    /// By RDMA: InfiniBand, RoCE, soft-RoCE.
    Verbs,
    /// Through shared memory, where all nodes are on one host.
    Shm,
}

/// An RDMA device, as far as it is chosen; the rest is found.
#[derive(Clone, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rdma {
    /// Its name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub device: Option<String>,
    /// Its port, from 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub port: Option<u8>,
    /// The index of the port's GID, on Ethernet.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gid_index: Option<u32>,
}

impl Rdma {
    /// Whether nothing is chosen.
    pub fn is_open(&self) -> bool {
        *self == Rdma::default()
    }
}

impl Cluster {
    /// The member `id`.
    pub fn member(&self, id: NodeId) -> Option<&Member> {
        self.nodes.iter().find(|member| member.id == id)
    }

    /// Where `member` listens.
    pub fn socket(&self, member: &Member) -> SocketAddr {
        SocketAddr::new(member.address, self.port)
    }

    /// Where `member` tells its metrics, if it does.
    pub fn metrics(&self, member: &Member) -> Option<SocketAddr> {
        let at = self.metrics_of.get(&member.id).copied().or(self.metrics)?;
        Some(match at {
            MetricsAt::Socket(socket) => socket,
            MetricsAt::Port(port) if member.address.is_loopback() => SocketAddr::new(member.address, port),
            MetricsAt::Port(port) => SocketAddr::from((Ipv4Addr::LOCALHOST, port)),
        })
    }

    /// Which RDMA device `node` uses.
    pub fn rdma(&self, node: NodeId) -> Rdma {
        let own = self.rdma_of.get(&node).cloned().unwrap_or_default();
        match own.device {
            // Ports and GIDs are those of a device.
            Some(_) => own,
            None => Rdma {
                device: self.rdma.device.clone(),
                port: own.port.or(self.rdma.port),
                gid_index: own.gid_index.or(self.rdma.gid_index),
            },
        }
    }

    /// The ids, ascending.
    pub fn members(&self) -> Vec<NodeId> {
        self.nodes.iter().map(|member| member.id).collect()
    }

    /// Every node but `me`, with the place where it listens.
    pub fn peers_of(&self, me: NodeId) -> Vec<(NodeId, SocketAddr)> {
        self.nodes.iter().filter(|m| m.id != me).map(|m| (m.id, self.socket(m))).collect()
    }
}

impl fmt::Display for MetricsAt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            MetricsAt::Port(port) => port.fmt(f),
            MetricsAt::Socket(socket) => socket.fmt(f),
        }
    }
}

impl fmt::Display for Fabric {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Fabric::Tcp => "tcp",
            Fabric::Verbs => "verbs",
            Fabric::Shm => "shm",
        })
    }
}

impl FromStr for Fabric {
    type Err = String;

    fn from_str(text: &str) -> Result<Fabric, String> {
        match text {
            "tcp" => Ok(Fabric::Tcp),
            "verbs" => Ok(Fabric::Verbs),
            "shm" => Ok(Fabric::Shm),
            _ => {
                Err(format!("fabric {text:?} is not known: this version has \"tcp\", \"verbs\" and \"shm\""))
            }
        }
    }
}
