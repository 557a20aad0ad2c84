//! Starts a node of a cluster of two, on this machine: 127.0.0.1 and 127.0.0.2.

use kddm_cluster::{ClusterId, Key};
use kddm_fabric::tcp::{Greeting, Tcp, TcpConfig};
use kddm_rdma::{Arena, ArenaConfig, Host, Incarnation, LinuxHost, Node, NodeConfig, NodeId, SetFamily};
use std::{error::Error, net::SocketAddr, sync::Arc};

pub fn address(node: NodeId, port: u16) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, node.get()], port))
}

/// Node `me`, whose sets are those of `families`; ready when its peer is there.
pub fn start(me: u8, port: u16, families: Vec<Arc<dyn SetFamily>>) -> Result<Node, Box<dyn Error>> {
    let me = NodeId::new(me)?;
    let members = [NodeId::new(1)?, NodeId::new(2)?];
    let host = LinuxHost::start(1)?;
    // A node that comes back must be seen to be another life of it: the clock is good enough for that.
    let incarnation = Incarnation(host.wall().as_nanos() as u64);
    let arena = Arc::new(Arena::new(ArenaConfig::new(16 << 20))?);
    let fabric = TcpConfig {
        me,
        incarnation,
        listen: address(me, port),
        peers: members.iter().filter(|&&peer| peer != me).map(|&peer| (peer, address(peer, port))).collect(),
        cluster: ClusterId(*b"two nodes, 1 box"),
        // Everybody can read this key: enough between two programs that play, and nothing more.
        key: Key::from_bytes(*b"an example has nothing to hide!!"),
        greeting: Greeting { protocol_version: 1, format_version: 1, root: None },
    };
    let transport = Box::new(Tcp::start(fabric, arena.clone())?);
    let config = NodeConfig {
        me,
        incarnation,
        members: members.into(),
        loss: kddm_rdma::Loss::Local,
        inline_max: 256,
        speculate: true,
        unsound_keep_copies: false,
    };
    Ok(Node::start(config, transport, arena, host, families)?)
}
