//! Nodes of one process with one file system, on partitions in memory.
#![allow(dead_code)]

pub mod partition;
pub mod random;

#[path = "../../../../kddm-rdma/tests/cluster/memory_fabric.rs"]
mod memory_fabric;

use futures_lite::future::{block_on, or};
use kddm_rdma::{
    Arena, ArenaConfig, Host, Incarnation, LinuxHost, Node, NodeConfig, NodeId, ObjectKey, SetId,
};
use kdfs_format::sets;
use kdfs_fs::{Caller, FileId, FileSystem, FsConfig, GRACE, families};
use memory_fabric::Network;
use partition::Partition;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

/// A user like any other.
pub const USER: Caller = Caller { uid: 1000, gid: 1000, groups: Vec::new() };
pub const ROOT: Caller = Caller::ROOT;

/// Nodes 1 to n, connected; the root directory is on node 1.
pub struct Cluster {
    pub nodes: Vec<FileSystem>,
    pub partitions: Vec<Arc<Partition>>,
    pub host: Arc<LinuxHost>,
}

impl Cluster {
    pub fn new(nodes: u8) -> Cluster {
        Cluster::with_arena(nodes, 16 << 20)
    }

    pub fn with_arena(nodes: u8, bytes: usize) -> Cluster {
        let partitions = (1..=nodes).map(|id| Arc::new(Partition::format(id))).collect();
        Cluster::start(partitions, bytes, Some)
    }

    /// As [`Cluster::new`], but only node 1 has a partition.
    pub fn diskless(nodes: u8) -> Cluster {
        let partitions = (1..=nodes).map(|id| Arc::new(Partition::format(id))).collect();
        Cluster::start(partitions, 16 << 20, |id| (id.get() == 1).then_some(id))
    }

    /// Nodes on partitions that are there already.
    pub fn start(
        partitions: Vec<Arc<Partition>>,
        bytes: usize,
        here: fn(NodeId) -> Option<NodeId>,
    ) -> Cluster {
        let host = LinuxHost::start(2).unwrap();
        let network = Network::default();
        let members: Vec<NodeId> = (1..).zip(&partitions).map(|(id, _)| NodeId::new(id).unwrap()).collect();
        let start = |(&me, partition): (&NodeId, &Arc<Partition>)| {
            let arena = Arc::new(Arena::new(ArenaConfig::new(bytes)).unwrap());
            let wire = network.join(me, arena.clone());
            let config = NodeConfig {
                me,
                incarnation: Incarnation(1),
                members: members.clone(),
                loss: kddm_rdma::Loss::Local,
                inline_max: 256,
                speculate: true,
                unsound_keep_copies: false,
            };
            let linker = here(me).map(|_| partition.clone() as Arc<dyn kddm_rdma::IoLinker>);
            let node = Node::start(config, Box::new(wire), arena, host.clone(), families(linker)).unwrap();
            *partition.node.lock() = Some(node.clone());
            file_system(node, here(me), host.clone())
        };
        let nodes: Vec<FileSystem> = members.iter().zip(&partitions).map(start).collect();
        for fs in &nodes {
            block_on(fs.node().connected());
        }
        Cluster { nodes, partitions, host }
    }

    /// Node `id`.
    pub fn node(&self, id: usize) -> &FileSystem {
        &self.nodes[id - 1]
    }

    pub fn root(&self) -> FileId {
        self.nodes[0].root()
    }

    /// Runs a test's operations, which have `seconds` to end.
    pub fn run<T>(&self, seconds: u64, test: impl Future<Output = T>) -> T {
        let too_late = async {
            self.host.sleep(Duration::from_secs(seconds)).await;
            panic!("not done after {seconds} s: some operation hangs");
        };
        block_on(or(test, too_late))
    }

    /// Runs tasks beside each other on the host's threads, all of which have `seconds` to end.
    pub fn beside<T, F>(&self, seconds: u64, tasks: impl IntoIterator<Item = F>) -> Vec<T>
    where
        T: Send + 'static,
        F: Future<Output = T> + Send + 'static,
    {
        let start = |task: F| {
            let (tell, hear) = std::sync::mpsc::channel();
            self.host.spawn(Box::pin(async move { tell.send(task.await).unwrap() }));
            hear
        };
        let ends: Vec<_> = tasks.into_iter().map(start).collect();
        let end = |end: &std::sync::mpsc::Receiver<T>| {
            end.recv_timeout(Duration::from_secs(seconds)).unwrap_or_else(|error| {
                self.explain();
                panic!("some operation hangs, or its task has panicked: {error}");
            })
        };
        ends.iter().map(end).collect()
    }

    /// Shows what every node knows of the objects that operations wait for.
    fn explain(&self) {
        let numbers = |node: u32| node << 24..=node << 24 | 12;
        let objects = [sets::INODE_SET, sets::BITMAP_SET, sets::OPEN_SET].into_iter().flat_map(|set| {
            (1..=self.nodes.len() as u32)
                .flat_map(numbers)
                .map(move |object| ObjectKey::new(SetId(set), object))
        });
        let page = ObjectKey::new(SetId(sets::dir_set(self.root().inode, self.root().generation)), 1);
        for key in objects.chain([page]) {
            for fs in &self.nodes {
                let dump = fs.node().dump(key);
                if dump.word.is_some() {
                    println!("{:?} {key:?}: {:?} {}", fs.node(), dump.word, dump.state);
                }
            }
        }
    }

    /// Writes everything that is in memory to the partitions.
    pub fn write_back(&self) {
        self.run(20, async {
            for fs in &self.nodes {
                for key in fs.node().dirty() {
                    fs.node().sync(key).await.unwrap();
                }
            }
        });
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        self.nodes.iter().for_each(|fs| fs.node().shutdown());
    }
}

/// A file system whose orphans are reaped as a server does.
fn file_system(node: Node, here: Option<NodeId>, host: Arc<LinuxHost>) -> FileSystem {
    let own: Arc<OnceLock<FileSystem>> = Arc::default();
    let reaper = Arc::downgrade(&own);
    let orphan = move |inode, generation| {
        let Some(fs) = reaper.upgrade().and_then(|own| own.get().cloned()) else { return };
        let clock = host.clone();
        host.spawn(Box::pin(async move {
            clock.sleep(GRACE).await;
            fs.reap(inode, generation).await.ok();
        }));
    };
    let config = FsConfig { root: 0x0100_0001, here, orphan: Arc::new(orphan), unsound_keep_names: false };
    let fs = FileSystem::new(node, config);
    own.set(fs.clone()).ok();
    // The reaper lives as long as the process: tests are short.
    std::mem::forget(own);
    fs
}
