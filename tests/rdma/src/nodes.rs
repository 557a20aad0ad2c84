//! Nodes for tests: over which fabric, at which addresses, with which objects.

use crate::watched::{Breakable, Breaks, Seen, Watched};
use anyhow::{Context, Result};
use clap::ValueEnum;
use kddm_bench::random::Random;
use kddm_cluster::{ClusterId, Key};
use kddm_fabric::shm::Shm;
use kddm_fabric::tcp::{Greeting, Tcp, TcpConfig};
use kddm_fabric::verbs::{Verbs, VerbsConfig};
use kddm_rdma::{
    Arena, ArenaConfig, Durability, Home, Host, Incarnation, LinuxHost, Loss, Node, NodeConfig, NodeId,
    ObjectKey, SetFamily, SetId, SetPolicy, Transport,
};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

/// A fabric between processes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Fabric {
    /// Memory that the processes of this machine share.
    Shm,
    /// Any network.
    Tcp,
    /// The RDMA device of this machine.
    Verbs,
}

/// The kind of the sets of tests.
const KIND: u8 = 20;
const ARENA: usize = 16 << 20;

/// Object `number` of `bytes` bytes, with its home at node `home`.
pub fn object(home: u8, bytes: u32, number: u32) -> ObjectKey {
    ObjectKey::new(SetId::from_parts(KIND, bytes, 0), u32::from(home) << 24 | number)
}

/// Node `id`.
///
/// # Panics
/// If there is none of that number.
pub fn id(id: usize) -> NodeId {
    u8::try_from(id).ok().and_then(|id| NodeId::new(id).ok()).expect("a node's number")
}

/// The family of these objects.
pub struct Family;

impl SetFamily for Family {
    fn kind(&self) -> u8 {
        KIND
    }
    fn name(&self) -> &str {
        "objects of tests"
    }
    fn policy(&self, set: SetId) -> Option<SetPolicy> {
        let (home, durability) = (Home::ObjectBits, Durability::Volatile);
        Some(SetPolicy { object_size: set.subject(), home, durability })
    }
}

/// A node of several: node k + 1 is at address k.
#[derive(Clone, Debug)]
pub struct Start {
    /// Which fabric.
    pub fabric: Fabric,
    /// Which of the addresses is this node's.
    pub place: usize,
    /// Everybody's.
    pub addresses: Vec<IpAddr>,
    /// Where all listen.
    pub port: u16,
    /// It keeps copies that it should drop.
    pub unsound: bool,
    /// It READs beside requests.
    pub speculate: bool,
    /// Queue pairs break after so many events, on the average, and where that comes from.
    pub breaks: Option<(usize, u64)>,
}

impl Start {
    /// Starts it.
    ///
    /// # Errors
    /// The fabric does not start.
    pub fn run(&self) -> Result<(Node, Arc<Seen>)> {
        let arena = Arc::new(Arena::new(ArenaConfig::new(ARENA))?);
        let host = LinuxHost::start(1)?;
        let incarnation = Incarnation(host.wall().as_nanos() as u64);
        let control = self.control(incarnation);
        let (transport, seen): (Box<dyn Transport>, _) = match self.fabric {
            Fabric::Shm => self.watch(Shm::start(control, arena.clone())?),
            Fabric::Tcp => self.watch(Tcp::start(control, arena.clone())?),
            Fabric::Verbs => {
                let config = VerbsConfig { control, choice: Default::default() };
                self.watch(Verbs::start(config, arena.clone()).context("the fabric over RDMA")?)
            }
        };
        let config = config(self.place, self.addresses.len(), incarnation, self.speculate, self.unsound);
        let node = Node::start(config, transport, arena, host, vec![Arc::new(Family)])?;
        Ok((node, seen))
    }

    fn watch<T: Breakable + 'static>(&self, transport: T) -> (Box<dyn Transport>, Arc<Seen>) {
        let peers: Vec<NodeId> = self.peers().map(|(peer, _)| peer).collect();
        let breaks =
            self.breaks.map(|(every, seed)| Breaks { every, random: Random::new(seed), peers, left: every });
        let (watched, seen) = Watched::new(transport, breaks);
        (Box::new(watched), seen)
    }

    fn peers(&self) -> impl Iterator<Item = (NodeId, SocketAddr)> {
        let all = self.addresses.iter().enumerate().filter(|(place, _)| *place != self.place);
        all.map(|(place, &address)| (id(place + 1), SocketAddr::new(address, self.port)))
    }

    fn control(&self, incarnation: Incarnation) -> TcpConfig {
        TcpConfig {
            me: id(self.place + 1),
            incarnation,
            listen: SocketAddr::new(self.addresses[self.place], self.port),
            peers: self.peers().collect(),
            cluster: ClusterId(*b"tests over RDMA!"),
            key: Key::from_bytes([42; 32]),
            greeting: Greeting { protocol_version: 1, format_version: 1, root: None },
        }
    }
}

/// What node `place` + 1 of so many is told at birth.
pub fn config(
    place: usize,
    nodes: usize,
    incarnation: Incarnation,
    speculate: bool,
    unsound: bool,
) -> NodeConfig {
    NodeConfig {
        me: id(place + 1),
        incarnation,
        members: (1..=nodes).map(id).collect(),
        loss: Loss::Local,
        inline_max: 256,
        speculate,
        unsound_keep_copies: unsound,
    }
}

impl Fabric {
    /// As the command line has it.
    pub fn name(self) -> &'static str {
        match self {
            Fabric::Shm => "shm",
            Fabric::Tcp => "tcp",
            Fabric::Verbs => "verbs",
        }
    }
}

impl Breakable for Shm {
    /// As over tcp.
    fn break_beneath(&mut self, _: NodeId) {}
}

impl Breakable for Tcp {
    /// There is nothing beneath a session of tcp that it could outlive.
    fn break_beneath(&mut self, _: NodeId) {}
}
