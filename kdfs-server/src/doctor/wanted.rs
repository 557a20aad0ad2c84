//! What this machine is asked for.

use super::finding::State;
use kddm_cluster::{Fabric, Rdma};
use kddm_object::NodeId;
use std::net::IpAddr;

/// What this machine is asked for: by the cluster file, by options, or, without either, by nobody.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// How bytes are to move.
    pub fabric: Fabric,
    /// Memory for objects, bytes.
    pub arena: u64,
    /// The nodes that are to run here.
    pub nodes: Vec<WantedNode>,
    /// How many other nodes each has to do with.
    pub peers: usize,
    /// Whether there is a cluster file: a node that mounts is wanted.
    pub configured: bool,
}

/// A node that is to run here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WantedNode {
    /// Which; `None` where no cluster file says.
    pub id: Option<NodeId>,
    /// Its address.
    pub address: Option<IpAddr>,
    /// Its device, as far as it is chosen.
    pub rdma: Rdma,
}

impl WantedNode {
    /// What to call it.
    pub fn name(&self) -> String {
        self.id.map_or_else(|| "this node".to_owned(), |id| format!("node {id}"))
    }
}

impl Wanted {
    /// How bad it is if RDMA lacks something.
    pub fn without_rdma(&self) -> State {
        match self.fabric {
            Fabric::Verbs => State::Problem,
            Fabric::Tcp | Fabric::Shm => State::Note,
        }
    }

    /// How bad it is if kDFS cannot be mounted.
    pub fn without_mounts(&self) -> State {
        if self.configured { State::Problem } else { State::Note }
    }

    /// A machine of which nothing but a fabric is asked, for tests.
    #[cfg(test)]
    pub fn only(fabric: Fabric) -> Wanted {
        let rdma = Rdma::default();
        let nodes = vec![WantedNode { id: None, address: None, rdma }];
        Wanted { fabric, arena: 64 << 20, nodes, peers: 1, configured: false }
    }
}
