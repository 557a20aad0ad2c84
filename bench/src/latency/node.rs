//! A node for measuring, its sets, and waiting for what it does.

use super::fabric::{self, FabricConfig, Kind};
use super::pattern::Rank;
use anyhow::{Context, Result, bail};
use kddm_cluster::{ClusterId, KEY_BYTES, Key};
use kddm_rdma::{
    Arena, ArenaConfig, Home, Incarnation, LinuxHost, Loss, Node, NodeConfig, NodeId, ObjectKey, SetFamily,
    SetId, SetPolicy,
};
use std::future::Future;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context as TaskContext, Poll, Wake, Waker};
use std::thread::{self, Thread};
use std::time::{Duration, Instant};

/// The kind of the sets here.
const KIND: u8 = 200;
/// Bytes that ride in messages, as a server has it.
pub const INLINE_MAX: u32 = 256;
/// Bytes of a node's memory.
const ARENA: usize = 128 << 20;

/// The node with that place in the list of addresses.
///
/// # Errors
/// If there are more than 254.
pub fn id(rank: Rank) -> Result<NodeId> {
    Ok(NodeId::new(rank.wrapping_add(1))?)
}

/// Starts the node of `rank` in the cluster of those who listen on `addresses`. `run` is what they have in common.
///
/// # Errors
/// If its memory or its fabric cannot be had.
pub fn start(kind: Kind, rank: Rank, addresses: &[SocketAddr], run: [u8; 16]) -> Result<Node> {
    let named = addresses.iter().zip(0..).map(|(&address, rank)| Ok((id(rank)?, address)));
    let named: Vec<(NodeId, SocketAddr)> = named.collect::<Result<_>>()?;
    let &(me, listen) = named.get(usize::from(rank)).context("the rank is not in the list of addresses")?;
    let arena = Arc::new(Arena::new(ArenaConfig::new(ARENA))?);
    let mut key = [0; KEY_BYTES];
    key[..run.len()].copy_from_slice(&run);
    let fabric = FabricConfig {
        me,
        listen,
        peers: named.iter().filter(|(node, _)| *node != me).copied().collect(),
        cluster: ClusterId(run),
        key: Key::from_bytes(key),
    };
    let fabric = fabric::start_fabric(kind, fabric, arena.clone())?;
    let config = NodeConfig {
        me,
        incarnation: Incarnation(1),
        members: named.iter().map(|(node, _)| *node).collect(),
        loss: Loss::Local,
        inline_max: INLINE_MAX,
        speculate: true,
        unsound_keep_copies: false,
    };
    let families: Vec<Arc<dyn SetFamily>> = vec![Arc::new(Measured)];
    Ok(Node::start(config, fabric, arena, LinuxHost::start(1)?, families)?)
}

/// Waits until `node` has met all others.
///
/// # Errors
/// If somebody is missing after `patience`; says who, and what was seen of him.
pub fn meet(node: &Node, patience: Duration) -> Result<()> {
    if wait_until(node.connected(), Instant::now() + patience).is_some() {
        return Ok(());
    }
    let peers = node.status().peers.into_iter().filter(|peer| peer.up.is_none());
    let missing: Vec<String> = peers.map(|peer| format!("node {}: {}", peer.node, peer.reason)).collect();
    bail!("not all nodes have met over the fabric within {patience:?}: {}", missing.join("; "))
}

/// Object `object` of a set of objects of `bytes` bytes, whose home is the node of rank `home`, or follows from a hash.
pub fn object(home: Option<Rank>, bytes: u32, object: u32) -> ObjectKey {
    let home = home.map_or(0, |rank| rank.wrapping_add(1));
    ObjectKey::new(SetId::from_parts(KIND, u32::from(home) << 24 | bytes, 0), object)
}

/// Sets whose id says where their home is and how large their objects are.
struct Measured;

impl SetFamily for Measured {
    fn kind(&self) -> u8 {
        KIND
    }
    fn name(&self) -> &str {
        "measured"
    }
    fn policy(&self, set: SetId) -> Option<SetPolicy> {
        let home = if set.subject() >> 24 == 0 { Home::Hash } else { Home::SubjectBits };
        Some(SetPolicy { home, ..SetPolicy::volatile(set.subject() & 0xff_ffff) })
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
    let mut future = pin!(future);
    with_waker(|context| {
        loop {
            match future.as_mut().poll(context) {
                Poll::Ready(value) => return value,
                Poll::Pending => thread::park(),
            }
        }
    })
}

/// Waits on this thread; nothing if it is not over in time.
fn wait_until<T>(future: impl Future<Output = T>, deadline: Instant) -> Option<T> {
    let mut future = pin!(future);
    with_waker(|context| {
        loop {
            if let Poll::Ready(value) = future.as_mut().poll(context) {
                return Some(value);
            }
            let left = deadline.checked_duration_since(Instant::now())?;
            thread::park_timeout(left);
        }
    })
}

/// The waker of this thread, made once.
fn with_waker<R>(action: impl FnOnce(&mut TaskContext<'_>) -> R) -> R {
    struct Unpark(Thread);
    impl Wake for Unpark {
        fn wake(self: Arc<Unpark>) {
            self.0.unpark();
        }
    }
    thread_local! {
        static WAKER: Waker = Waker::from(Arc::new(Unpark(thread::current())));
    }
    WAKER.with(|waker| action(&mut TaskContext::from_waker(waker)))
}
