//! tcp over loopback under the suite, and what other fabrics whose peers meet over tcp have in common with it.

use crate::fixture::{Fixture, node};
use kddm_cluster::{ClusterId, Key};
use kddm_fabric::{
    Transport,
    tcp::{self, Greeting, TcpConfig},
};
use kddm_memory::Arena;
use kddm_object::{Incarnation, NodeId};
use mio::unix::SourceFd;
use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::{Duration, Instant},
};

/// A fabric whose peers meet over tcp.
pub trait Start: Transport + Sized {
    /// As of [`Fixture`].
    const SERVES_READS: bool = false;
    fn begin(config: TcpConfig, arena: Arc<Arena>) -> Self;
}

impl Start for tcp::Tcp {
    const SERVES_READS: bool = true;

    fn begin(config: TcpConfig, arena: Arc<Arena>) -> tcp::Tcp {
        tcp::Tcp::start(config, arena).unwrap()
    }
}

/// Its nodes, all in this process.
pub struct Nodes<T> {
    configs: BTreeMap<NodeId, TcpConfig>,
    pub transports: BTreeMap<NodeId, T>,
    frozen: BTreeSet<NodeId>,
    start: Instant,
}

pub type Tcp = Nodes<tcp::Tcp>;

/// Configurations of nodes 1 to n, on loopback addresses that no other test and no other process of the suite has.
pub fn configs(nodes: u8) -> BTreeMap<NodeId, TcpConfig> {
    static CLUSTERS: AtomicU32 = AtomicU32::new(0);
    let cluster = CLUSTERS.fetch_add(1, Ordering::Relaxed);
    let network = std::process::id().wrapping_mul(97).wrapping_add(cluster);
    let (high, low) = ((network >> 8) as u8, network as u8);
    let address = |id: u8| SocketAddr::from(([127, high.max(1), low, id], 15336));
    let config = |me: u8| TcpConfig {
        me: node(me),
        incarnation: Incarnation(1),
        listen: address(me),
        peers: (1..=nodes).filter(|&id| id != me).map(|id| (node(id), address(id))).collect(),
        cluster: ClusterId([1; 16]),
        key: Key::from_bytes([5; 32]),
        greeting: Greeting { protocol_version: 1, format_version: 1, root: Some(1 << 24 | 1) },
    };
    (1..=nodes).map(|me| (node(me), config(me))).collect()
}

/// Waits until one of the descriptors is readable; at most so long.
pub fn wait_for<'a>(transports: impl Iterator<Item = &'a dyn Transport>, time: Duration) -> bool {
    let mut poll = mio::Poll::new().unwrap();
    for transport in transports {
        let descriptor = transport.descriptor().expect("it has one");
        poll.registry().register(&mut SourceFd(&descriptor), mio::Token(0), mio::Interest::READABLE).unwrap();
    }
    let mut events = mio::Events::with_capacity(8);
    let _ = poll.poll(&mut events, Some(time)); // a signal may come
    !events.is_empty()
}

impl<T: Start> Fixture for Nodes<T> {
    const SERVES_READS: bool = T::SERVES_READS;

    fn start(arenas: &[Arc<Arena>]) -> Nodes<T> {
        let configs = configs(arenas.len() as u8);
        let begin =
            |(config, arena): (&TcpConfig, &Arc<Arena>)| (config.me, T::begin(config.clone(), arena.clone()));
        let transports = configs.values().zip(arenas).map(begin).collect();
        Nodes { configs, transports, frozen: BTreeSet::new(), start: Instant::now() }
    }

    fn transport(&mut self, node: NodeId) -> Option<&mut dyn Transport> {
        let hot = !self.frozen.contains(&node);
        self.transports.get_mut(&node).filter(|_| hot).map(|transport| transport as _)
    }

    fn wait(&mut self) {
        let hot = self.transports.iter_mut().filter(|(node, _)| !self.frozen.contains(node));
        let mut hot: Vec<_> = hot.map(|(_, hot)| hot).collect();
        let armed = hot.iter_mut().filter_map(|transport| transport.arm().then_some(())).count() > 0;
        // What came before arming does not tell of itself: it is polled for soon.
        let time = Duration::from_millis(if armed { 10 } else { 1000 });
        wait_for(hot.into_iter().map(|hot| &*hot as &dyn Transport), time);
    }

    fn now(&self) -> Duration {
        self.start.elapsed()
    }

    fn kill(&mut self, node: NodeId) {
        self.transports.remove(&node); // the kernel closes what it had open, as after a crash of the process
    }

    fn revive(&mut self, node: NodeId, incarnation: Incarnation, arena: Arc<Arena>) {
        let config = TcpConfig { incarnation, ..self.configs[&node].clone() };
        self.transports.insert(node, T::begin(config, arena));
    }

    fn freeze(&mut self, node: NodeId) {
        self.frozen.insert(node);
    }

    fn thaw(&mut self, node: NodeId) {
        self.frozen.remove(&node);
    }
}
