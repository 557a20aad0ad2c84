//! How a server comes to be.

use crate::{
    Server,
    admin::Listener,
    log,
    metrics::{self, Metrics},
    mounts::Mounts,
    partition::{Partition, PartitionConfig},
    reaper::Reaper,
    ring::Rings,
    server::Life,
};
use anyhow::{Context, Result};
use futures_lite::future::{block_on, or};
use kddm_cluster::{Cluster, ClusterError, Fabric, Key, Member, paths};
use kddm_fabric::{
    Transport,
    shm::Shm,
    tcp::{Greeting, Tcp, TcpConfig},
};
use kddm_memory::{Arena, ArenaConfig};
use kddm_object::{Incarnation, NodeId, limits::INLINE_MAX};
use kddm_rdma::{Host, LinuxHost, Node, NodeConfig};
use kdfs_format::FORMAT_VERSION;
use kdfs_fs::{FileSystem, FsConfig};
use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

/// How long a server that starts waits for its peers. After that it serves alone: what needs an absent peer fails.
const MEETING: Duration = Duration::from_secs(5);

/// What servers say to each other, and what it means. Servers of another version are not let in.
const PROTOCOL_VERSION: u32 = 3;

/// What a server is told.
#[derive(Clone, Debug)]
pub struct Options {
    /// The cluster file.
    pub config: PathBuf,
    /// Its node; not needed where the cluster has only one.
    pub node: Option<NodeId>,
    /// Its partition; none on a diskless node.
    pub partition: Option<PathBuf>,
    /// Inode number of the root directory. A partition knows it.
    pub root: Option<u32>,
    /// Its admin socket.
    pub socket: Option<PathBuf>,
    /// Whether it ends with its last mount.
    pub on_demand: bool,
    /// Threads for tasks.
    pub workers: usize,
    /// UNSOUND, for tests: copies are kept when they should be dropped.
    pub unsound_keep_copies: bool,
}

/// Starts the server of a node. It has met its peers, or waited for them, when this returns; its socket answers before.
///
/// # Errors
/// One sentence: what is wrong, where, and what to do. Nothing was left behind.
pub fn start(options: &Options) -> Result<(Arc<Server>, Listener)> {
    let cluster = Cluster::load(&options.config)?;
    let member = member(&cluster, options)?;
    log::set_node(member.id.get());
    let key = cluster.key()?;
    let host = LinuxHost::start(options.workers).context("the server's threads cannot be started")?;
    let socket =
        options.socket.clone().unwrap_or_else(|| paths::socket(paths::RUN_DIRECTORY.as_ref(), member.id));
    let listener = Listener::bind(&socket, &*host)?;
    let server = Arc::new(assemble(options, cluster, member, key, host, &socket)?);
    listener.serve(&server)?;
    metrics::serve(&server);
    block_on(or(server.node.connected(), server.host.sleep(MEETING)));
    if let Some(peer) = server.node.status().peers.into_iter().find(|peer| peer.refused) {
        // The one that waits may be right and the one that came wrong, but both cannot be served.
        server.abandon();
        anyhow::bail!("{}", peer.reason);
    }
    server.met();
    tracing::info!(state = ?server.state(), "ready");
    Ok((server, listener))
}

fn member(cluster: &Cluster, options: &Options) -> Result<Member> {
    let node = match (options.node, &cluster.nodes[..]) {
        (Some(node), _) => node,
        (None, [only]) => only.id,
        (None, _) => anyhow::bail!("which node this is has to be said: --node ID"),
    };
    cluster.member(node).copied().ok_or_else(|| {
        let listed: Vec<String> = cluster.nodes.iter().map(|member| member.id.to_string()).collect();
        ClusterError::NoNode { file: options.config.clone(), node, listed: listed.join(", ") }.into()
    })
}

fn assemble(
    options: &Options,
    cluster: Cluster,
    member: Member,
    key: Key,
    host: Arc<LinuxHost>,
    socket: &Path,
) -> Result<Server> {
    let root = options.root.or(cluster.root);
    let partition = match &options.partition {
        Some(directory) => {
            let config = PartitionConfig {
                directory: directory.clone(),
                node: member.id,
                root,
                cluster: Some(cluster.id.0),
            };
            Some(Partition::open(host.clone(), &config)?)
        }
        None => None,
    };
    let root = partition.as_ref().map(|partition| partition.root()).or(root);
    let root = root.context("a node without a partition has to be told the root directory: --root INODE")?;
    // A diskless node remembers nothing, so its lives are told apart by the clock.
    let incarnation = match &partition {
        Some(partition) => partition.incarnation(),
        None => Incarnation(host.wall().as_nanos() as u64),
    };
    let arena = Arc::new(Arena::new(ArenaConfig::new(cluster.arena_bytes as usize))?);
    let control = TcpConfig {
        me: member.id,
        incarnation,
        listen: cluster.socket(&member),
        peers: cluster.peers_of(member.id),
        cluster: cluster.id,
        key,
        greeting: Greeting {
            protocol_version: PROTOCOL_VERSION,
            format_version: FORMAT_VERSION,
            root: Some(root),
        },
    };
    let transport = transport(&cluster, control, arena.clone())?;
    let config = NodeConfig {
        me: member.id,
        incarnation,
        members: cluster.members(),
        loss: kddm_rdma::Loss::Local,
        inline_max: INLINE_MAX as u32,
        speculate: true,
        unsound_keep_copies: options.unsound_keep_copies,
    };
    let families = kdfs_fs::families(partition.as_ref().map(|partition| partition.linker()));
    let node = Node::start(config, transport, arena.clone(), host.clone(), families)?;
    let reaper = Arc::new(Reaper::new(host.clone()));
    let here = partition.as_ref().map(|_| member.id);
    let fs = FileSystem::new(
        node.clone(),
        FsConfig { root, here, orphan: reaper.sink(), unsound_keep_names: false },
    );
    reaper.begin(fs.clone());
    if let Some(partition) = &partition {
        // Before anybody can ask: a node that tells of no space counts as one without a partition.
        let space = partition.space().with_context(|| partition.directory().display().to_string())?;
        block_on(fs.publish_space(&space)).context("the node's own space cannot be told")?;
        partition.start(node.clone(), reaper.sink());
    }
    let (mounts, life, on_demand) = (Mounts::default(), Life::default(), options.on_demand);
    let run = socket.parent().unwrap_or(Path::new("."));
    let rings = Rings::open(&paths::ring(run, member.id), member.id, fs.clone(), host.clone())?;
    let metrics = Metrics::default();
    Ok(Server {
        cluster,
        member,
        host,
        arena,
        node,
        partition,
        fs,
        reaper,
        mounts,
        rings,
        metrics,
        on_demand,
        life,
    })
}

/// The fabric that the cluster file asks for.
fn transport(cluster: &Cluster, control: TcpConfig, arena: Arc<Arena>) -> Result<Box<dyn Transport>> {
    match cluster.fabric {
        Fabric::Tcp => Ok(Box::new(Tcp::start(control, arena)?)),
        Fabric::Verbs => verbs(cluster, control, arena),
        Fabric::Shm => Ok(Box::new(Shm::start(control, arena)?)),
    }
}

#[cfg(feature = "verbs")]
fn verbs(cluster: &Cluster, control: TcpConfig, arena: Arc<Arena>) -> Result<Box<dyn Transport>> {
    use kddm_fabric::verbs::{Choice, Verbs, VerbsConfig};
    let kddm_cluster::Rdma { device, port, gid_index } = cluster.rdma(control.me);
    let choice = Choice { device, port, gid_index };
    Ok(Box::new(Verbs::start(VerbsConfig { control, choice }, arena)?))
}

#[cfg(not(feature = "verbs"))]
fn verbs(_: &Cluster, _: TcpConfig, _: Arc<Arena>) -> Result<Box<dyn Transport>> {
    anyhow::bail!("fabric = \"verbs\": this server was built without RDMA; build it with the feature `verbs`")
}
