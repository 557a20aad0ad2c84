//! Several nodes in this process, and sets for them.
#![allow(dead_code)]

pub mod memory_fabric;

use kddm_cluster::{ClusterId, Key};
use kddm_fabric::shm::Shm;
use kddm_fabric::tcp::{Greeting, Tcp, TcpConfig};
use kddm_rdma::{
    Arena, ArenaConfig, Durability, Home, Incarnation, Inserted, IoLinker, LinuxHost, Node, NodeConfig,
    NodeId, ObjectKey, SetFamily, SetId, SetPolicy, Transport,
};
use memory_fabric::Network;
use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// Nodes 1 to n, connected.
pub struct Cluster {
    pub nodes: Vec<Node>,
    pub host: Arc<LinuxHost>,
    pub network: Network,
    pub device: Arc<Device>,
    members: Vec<NodeId>,
    setup: Setup,
    port: u16,
}

pub const VOLATILE: u8 = 10;
pub const STORED: u8 = 11;

/// Object `object` of a volatile set of 64-byte objects.
pub fn small(object: u32) -> ObjectKey {
    ObjectKey::new(SetId::from_parts(VOLATILE, 64, 0), object)
}

/// Object `object` of a volatile set of 4 KiB objects.
pub fn page(object: u32) -> ObjectKey {
    ObjectKey::new(SetId::from_parts(VOLATILE, 4096, 0), object)
}

/// Object `object` of a set of 4 KiB objects that lie on the device.
pub fn stored(object: u32) -> ObjectKey {
    ObjectKey::new(SetId::from_parts(STORED, 4096, 0), object)
}

pub fn id(node: u8) -> NodeId {
    NodeId::new(node).unwrap()
}

/// How a cluster is to be.
pub struct Setup {
    pub nodes: u8,
    pub arena: usize,
    pub device: Arc<Device>,
    /// Over sockets instead of memory.
    pub tcp: bool,
    /// Over memory that is shared as processes share it.
    pub shm: bool,
    /// Nodes do not drop their copies when another writes.
    pub unsound: bool,
    /// Beside the usual ones, at every node.
    pub families: Vec<Arc<dyn SetFamily>>,
}

impl Setup {
    pub fn nodes(nodes: u8) -> Setup {
        Setup {
            nodes,
            arena: 8 << 20,
            device: Arc::default(),
            tcp: false,
            shm: false,
            unsound: false,
            families: Vec::new(),
        }
    }

    pub fn start(self) -> Cluster {
        let mut cluster = Cluster {
            nodes: Vec::new(),
            host: LinuxHost::start(1).unwrap(),
            network: Network::default(),
            device: self.device.clone(),
            members: (1..=self.nodes).map(id).collect(),
            port: free_port(),
            setup: self,
        };
        cluster.nodes =
            cluster.members.iter().map(|&member| cluster.start_node(member, Incarnation(1))).collect();
        cluster.wait_until_connected();
        cluster
    }
}

impl Cluster {
    pub fn new(nodes: u8) -> Cluster {
        Setup::nodes(nodes).start()
    }

    /// Ends a node, at its place in `nodes`, and starts it again in another life. Not over memory.
    pub fn restart(&mut self, place: usize, life: Incarnation) {
        self.nodes[place].shutdown();
        let back = self.members[place];
        self.nodes[place] = self.start_node(back, life);
        let knows = |node: &Node| {
            let peers = node.status().peers;
            node.me() == back || peers.iter().any(|peer| peer.node == back && peer.up == Some(life))
        };
        while !self.nodes.iter().all(knows) {
            std::thread::yield_now();
        }
        self.wait_until_connected();
    }

    fn start_node(&self, me: NodeId, incarnation: Incarnation) -> Node {
        let arena = Arc::new(Arena::new(ArenaConfig::new(self.setup.arena)).unwrap());
        let transport: Box<dyn Transport> = if self.setup.tcp {
            Box::new(Tcp::start(self.tcp(me, incarnation), arena.clone()).unwrap())
        } else if self.setup.shm {
            Box::new(Shm::start(self.tcp(me, incarnation), arena.clone()).unwrap())
        } else {
            Box::new(self.network.join(me, arena.clone()))
        };
        let config = NodeConfig {
            me,
            incarnation,
            members: self.members.clone(),
            loss: kddm_rdma::Loss::Local,
            inline_max: 256,
            speculate: true,
            unsound_keep_copies: self.setup.unsound,
        };
        let mut families = self.setup.families.clone();
        families.push(volatile_family());
        families.push(Arc::new(Stored(self.device.clone())));
        Node::start(config, transport, arena, self.host.clone(), families).unwrap()
    }

    fn tcp(&self, me: NodeId, incarnation: Incarnation) -> TcpConfig {
        let address = |node: NodeId| SocketAddr::from(([127, 0, 0, node.get()], self.port));
        let peers = self.members.iter().filter(|&&peer| peer != me);
        TcpConfig {
            me,
            incarnation,
            listen: address(me),
            peers: peers.map(|&peer| (peer, address(peer))).collect(),
            cluster: ClusterId([7; 16]),
            key: Key::from_bytes([9; 32]),
            greeting: Greeting { protocol_version: 1, format_version: 1, root: None },
        }
    }

    fn wait_until_connected(&self) {
        for node in &self.nodes {
            futures_lite::future::block_on(node.connected());
        }
    }

    pub fn with_arena(nodes: u8, arena: usize) -> Cluster {
        Setup { arena, ..Setup::nodes(nodes) }.start()
    }
}

/// A port that nobody listened on a moment ago.
fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

impl Drop for Cluster {
    fn drop(&mut self) {
        self.nodes.iter().for_each(Node::shutdown);
    }
}

pub fn volatile_family() -> Arc<dyn SetFamily> {
    Arc::new(Volatile)
}

/// Sets whose subject is their objects' size.
struct Volatile;

impl SetFamily for Volatile {
    fn kind(&self) -> u8 {
        VOLATILE
    }
    fn name(&self) -> &str {
        "volatile"
    }
    fn policy(&self, set: SetId) -> Option<SetPolicy> {
        Some(SetPolicy::volatile(set.subject()))
    }
}

/// The same, on a device.
struct Stored(Arc<Device>);

impl SetFamily for Stored {
    fn kind(&self) -> u8 {
        STORED
    }
    fn name(&self) -> &str {
        "stored"
    }
    fn policy(&self, set: SetId) -> Option<SetPolicy> {
        let durability = Durability::WriteBack;
        Some(SetPolicy { object_size: set.subject(), home: Home::Hash, durability })
    }
    fn linker(&self) -> Option<Arc<dyn IoLinker>> {
        Some(self.0.clone())
    }
}

/// A device that remembers what was written, and fails when told to.
#[derive(Default)]
pub struct Device {
    pub objects: Mutex<BTreeMap<ObjectKey, Vec<u8>>>,
    pub syncs: AtomicU64,
    pub broken: AtomicBool,
}

impl Device {
    fn check(&self) -> io::Result<()> {
        let broken = self.broken.load(Ordering::Relaxed);
        if broken { Err(io::Error::from_raw_os_error(nix::libc::EIO)) } else { Ok(()) }
    }
}

impl IoLinker for Device {
    fn insert_object(&self, key: ObjectKey, bytes: &mut [u8]) -> io::Result<Inserted> {
        self.check()?;
        let objects = self.objects.lock();
        let Some(stored) = objects.get(&key) else { return Ok(Inserted::Absent) };
        bytes.copy_from_slice(stored);
        Ok(Inserted::Filled)
    }
    fn sync_object(&self, key: ObjectKey, bytes: &[u8]) -> io::Result<()> {
        self.check()?;
        self.syncs.fetch_add(1, Ordering::Relaxed);
        self.objects.lock().insert(key, bytes.to_vec());
        Ok(())
    }
    fn remove_object(&self, key: ObjectKey) -> io::Result<()> {
        self.check()?;
        self.objects.lock().remove(&key);
        Ok(())
    }
}
