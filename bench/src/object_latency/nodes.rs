//! Three nodes in this process, connected over tcp on loopback, and sets for them.

use anyhow::{Context, Result};
use kddm_cluster::{ClusterId, KEY_BYTES, Key};
use kddm_fabric::tcp::{Greeting, Tcp, TcpConfig};
use kddm_rdma::{
    Arena, ArenaConfig, Exclusive, Home, Incarnation, LinuxHost, Node, NodeConfig, NodeId, ObjectKey,
    SetFamily, SetId, SetPolicy, Shared,
};
use std::future::Future;
use std::net::{SocketAddr, TcpListener};
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context as TaskContext, Poll, Wake, Waker};
use std::thread::{self, Thread};

/// The kind of the sets here.
const KIND: u8 = 200;
/// Bytes that ride in messages, as a server has it.
const INLINE_MAX: u32 = 256;

/// Nodes 1 to n.
pub struct Nodes {
    nodes: Vec<Node>,
    _host: Arc<LinuxHost>,
}

impl Nodes {
    /// Starts `count` nodes with arenas of `arena` bytes and waits until they have met.
    pub fn start(count: u8, arena: usize) -> Result<Nodes> {
        let host = LinuxHost::start(1)?;
        let addresses = free_addresses(count)?;
        let members: Vec<NodeId> = addresses.iter().map(|(node, _)| *node).collect();
        let mut nodes = Vec::new();
        for (me, listen) in &addresses {
            let memory = Arc::new(Arena::new(ArenaConfig::new(arena))?);
            let peers = addresses.iter().filter(|(node, _)| node != me).copied().collect();
            let transport = Tcp::start(config(*me, *listen, peers), memory.clone())?;
            let node = NodeConfig {
                me: *me,
                incarnation: Incarnation(1),
                members: members.clone(),
                loss: kddm_rdma::Loss::Local,
                inline_max: INLINE_MAX,
                speculate: true,
                unsound_keep_copies: false,
            };
            let families: Vec<Arc<dyn SetFamily>> = vec![Arc::new(Homed)];
            nodes.push(Node::start(node, Box::new(transport), memory, host.clone(), families)?);
        }
        nodes.iter().for_each(|node| wait(node.connected()));
        Ok(Nodes { nodes, _host: host })
    }

    /// Node `id`, from 1.
    pub fn node(&self, id: u8) -> &Node {
        &self.nodes[usize::from(id) - 1]
    }

    /// A get on node `id`.
    pub fn get(&self, id: u8, key: ObjectKey) -> Result<Shared> {
        wait(self.node(id).get(key)).with_context(|| format!("get of {key} on node {id}"))
    }

    /// A grab on node `id`.
    pub fn grab(&self, id: u8, key: ObjectKey) -> Result<Exclusive> {
        wait(self.node(id).grab(key)).with_context(|| format!("grab of {key} on node {id}"))
    }

    /// Messages sent and READs issued by all nodes so far.
    pub fn traffic(&self) -> [u64; 2] {
        let counters = self.nodes.iter().map(|node| node.status().fabric);
        counters.fold([0, 0], |[messages, reads], counters| {
            [messages + counters.messages_sent, reads + counters.reads_issued]
        })
    }
}

impl Drop for Nodes {
    fn drop(&mut self) {
        self.nodes.iter().for_each(Node::shutdown);
    }
}

/// Object `object` of a set of objects of `bytes` bytes, whose home is node `home`.
pub fn object(home: u8, bytes: u32, object: u32) -> ObjectKey {
    ObjectKey::new(SetId::from_parts(KIND, u32::from(home) << 24 | bytes, 0), object)
}

/// Sets whose id says where their home is and how large their objects are.
struct Homed;

impl SetFamily for Homed {
    fn kind(&self) -> u8 {
        KIND
    }
    fn name(&self) -> &str {
        "measured"
    }
    fn policy(&self, set: SetId) -> Option<SetPolicy> {
        Some(SetPolicy { home: Home::SubjectBits, ..SetPolicy::volatile(set.subject() & 0xff_ffff) })
    }
}

/// Polls once: a hit is ready then. Inlined as an `.await` is, or the future is moved before it is polled.
#[inline(always)]
pub fn at_once<T>(future: impl Future<Output = T>) -> Option<T> {
    match pin!(future).poll(&mut TaskContext::from_waker(Waker::noop())) {
        Poll::Ready(value) => Some(value),
        Poll::Pending => None,
    }
}

/// Waits on this thread.
pub fn wait<T>(future: impl Future<Output = T>) -> T {
    struct Unpark(Thread);
    impl Wake for Unpark {
        fn wake(self: Arc<Unpark>) {
            self.0.unpark();
        }
    }
    thread_local! {
        static WAKER: Waker = Waker::from(Arc::new(Unpark(thread::current())));
    }
    let mut future = pin!(future);
    WAKER.with(|waker| {
        let mut context = TaskContext::from_waker(waker);
        loop {
            match future.as_mut().poll(&mut context) {
                Poll::Ready(value) => return value,
                Poll::Pending => thread::park(),
            }
        }
    })
}

fn config(me: NodeId, listen: SocketAddr, peers: Vec<(NodeId, SocketAddr)>) -> TcpConfig {
    TcpConfig {
        me,
        incarnation: Incarnation(1),
        listen,
        peers,
        cluster: ClusterId([7; 16]),
        key: Key::from_bytes([7; KEY_BYTES]),
        greeting: Greeting { protocol_version: 1, format_version: 1, root: None },
    }
}

/// One port for all: node k listens on 127.0.0.k.
fn free_addresses(count: u8) -> Result<Vec<(NodeId, SocketAddr)>> {
    let address = |id: u8, port: u16| SocketAddr::from(([127, 0, 0, id], port));
    let first = 12_000 + (std::process::id() % 6000) as u16;
    let port = (first..first + 2000)
        .find(|&port| (1..=count).all(|id| TcpListener::bind(address(id, port)).is_ok()))
        .context("no port is free on the loopback addresses")?;
    (1..=count).map(|id| Ok((NodeId::new(id)?, address(id, port)))).collect()
}
