//! A playground's directory: what lies where, and how a new one is made.

use super::up::Wanted;
use anyhow::{Context, Result, bail, ensure};
use kddm_cluster::{Cluster, ClusterId, Fabric, Key, Member, MetricsAt, parse_size, paths};
use kddm_object::NodeId;
use kdfs_client::{Connection, programs};
use kdfs_format::sets;
use std::{
    fs,
    net::{IpAddr, Ipv4Addr, TcpListener},
    path::{Path, PathBuf},
    process::Command,
};

/// The node whose partition holds the root directory.
const ROOT_NODE: u8 = 1;

const DEFAULT_ARENA: &str = "64 MiB";

/// Ports below those that the kernel gives to outgoing connections.
const PORTS: std::ops::Range<u16> = 20_000..32_000;

/// ```text
/// DIR/cluster.toml  cluster.key
/// DIR/run/K.sock
/// DIR/nK/part       DIR/nK/mnt       DIR/nK/server.log
/// ```
#[derive(Debug)]
pub struct Playground {
    dir: PathBuf,
    /// What DIR/cluster.toml says.
    pub cluster: Cluster,
}

impl Playground {
    /// The playground in `dir`; `None` if none is there.
    ///
    /// # Errors
    /// Its cluster file is damaged.
    pub fn open(dir: &Path) -> Result<Option<Playground>> {
        let Ok(dir) = fs::canonicalize(dir) else { return Ok(None) };
        let file = dir.join("cluster.toml");
        if !file.exists() {
            return Ok(None);
        }
        Ok(Some(Playground { cluster: Cluster::load(&file)?, dir }))
    }

    /// Makes `wanted.dir` a playground: key, partitions, mount points, and last the cluster file.
    ///
    /// # Errors
    /// The directory has other things in it, or cannot be written.
    pub fn create(wanted: &Wanted) -> Result<Playground> {
        let nodes = wanted.nodes.unwrap_or(2);
        let diskless = wanted.diskless.unwrap_or(0);
        ensure!((1..=254).contains(&nodes), "--nodes {nodes}: a cluster has 1 to 254 nodes");
        ensure!(diskless < nodes, "--diskless {diskless}: node 1 needs a partition, for the root directory");
        let dir = empty_directory(&wanted.dir)?;
        let key_file = dir.join("cluster.key");
        if !key_file.exists() {
            Key::create(&key_file)?;
        }
        let port = free_port(nodes, None)?;
        let cluster = Cluster {
            id: ClusterId::generate()?,
            key_file: "cluster.key".into(),
            fabric: wanted.fabric.unwrap_or(Fabric::Shm),
            arena_bytes: arena(wanted.arena.as_deref().unwrap_or(DEFAULT_ARENA))?,
            port,
            root: sets::inode_number(ROOT_NODE, sets::ROOT_LOCAL_ID),
            metrics: Some(MetricsAt::Port(free_port(nodes, Some(port))?)),
            metrics_of: Default::default(),
            rdma: Default::default(),
            rdma_of: Default::default(),
            nodes: (1..=nodes).map(member).collect::<Result<_>>()?,
        };
        let mut playground = Playground { dir, cluster };
        for member in playground.cluster.nodes.clone() {
            fs::create_dir_all(playground.mount(&member))?;
            if member.id.get() <= nodes - diskless {
                playground.format(&member)?;
            }
        }
        playground.cluster.save(&playground.config())?;
        // As read back: with the key file's path made absolute.
        playground.cluster = Cluster::load(&playground.config())?;
        Ok(playground)
    }

    /// Gives all arenas this size, or the usual one, from their next start on.
    ///
    /// # Errors
    /// It is no size, or the cluster file cannot be written.
    pub fn set_arena(&mut self, size: Option<&str>) -> Result<()> {
        self.cluster.arena_bytes = arena(size.unwrap_or(DEFAULT_ARENA))?;
        let written = Cluster { key_file: "cluster.key".into(), ..self.cluster.clone() };
        Ok(written.save(&self.config())?)
    }

    /// The cluster file.
    pub fn config(&self) -> PathBuf {
        self.dir.join("cluster.toml")
    }

    /// The admin socket of a node.
    pub fn socket(&self, member: &Member) -> PathBuf {
        paths::socket(&self.dir.join("run"), member.id)
    }

    /// A node's mount point.
    pub fn mount(&self, member: &Member) -> PathBuf {
        self.node(member).join("mnt")
    }

    /// A node's partition; a diskless one has none.
    pub fn partition(&self, member: &Member) -> Option<PathBuf> {
        Some(self.node(member).join("part")).filter(|path| path.exists())
    }

    /// The server of a node, if it runs; it may be hung, or dying.
    pub fn connect(&self, member: &Member) -> Option<Connection> {
        Connection::open(&self.socket(member)).ok()
    }

    /// The server of a node, if it answers.
    pub fn server(&self, member: &Member) -> Option<Connection> {
        let mut server = self.connect(member)?;
        server.set_patience(super::PATIENCE).and_then(|()| server.status()).ok().map(|_| server)
    }

    /// How the server of a node is started.
    pub fn start(&self, member: &Member, unsound: bool) -> programs::ServerStart {
        programs::ServerStart {
            config: self.config(),
            node: member.id.get(),
            partition: self.partition(member),
            root: self.cluster.root,
            socket: self.socket(member),
            log: self.node(member).join("server.log"),
            on_demand: false,
            unsound,
        }
    }

    fn node(&self, member: &Member) -> PathBuf {
        self.dir.join(format!("n{}", member.id))
    }

    fn format(&self, member: &Member) -> Result<()> {
        let partition = self.node(member).join("part");
        fs::create_dir_all(&partition)?;
        let program = programs::find("mkfs.kdfs");
        let mut command = Command::new(&program);
        command.arg("--force").arg("--node").arg(member.id.to_string());
        let output = command.arg(&partition).arg(ROOT_NODE.to_string()).output().with_context(|| {
            format!("{}: cannot be run; install it beside kddm or in PATH", program.display())
        })?;
        if !output.status.success() {
            bail!("{}", String::from_utf8_lossy(&output.stderr).trim());
        }
        Ok(())
    }
}

fn empty_directory(dir: &Path) -> Result<PathBuf> {
    fs::create_dir_all(dir.join("run")).with_context(|| format!("{}: cannot be made", dir.display()))?;
    let dir = fs::canonicalize(dir)?;
    for entry in fs::read_dir(&dir)? {
        let name = entry?.file_name();
        let ours = ["run", "cluster.key"].iter().any(|own| name == *own)
            || name.to_str().and_then(|name| name.strip_prefix('n')?.parse::<u8>().ok()).is_some();
        ensure!(
            ours,
            "{}: is no playground and has other things in it ({}); give an empty or new directory",
            dir.display(),
            name.to_string_lossy()
        );
    }
    Ok(dir)
}

fn member(id: u8) -> Result<Member> {
    Ok(Member { id: NodeId::new(id)?, address: address(id) })
}

fn address(id: u8) -> IpAddr {
    Ipv4Addr::new(127, 0, 0, id).into()
}

fn arena(size: &str) -> Result<u64> {
    let bytes = parse_size(size).map_err(|what| anyhow::anyhow!("--arena: {what}"))?;
    ensure!(bytes >= kddm_cluster::MIN_ARENA_BYTES, "--arena {size}: too small, give at least 8 MiB");
    Ok(bytes)
}

/// A port that is free on the addresses of all nodes, and not the one that is `taken` already. Begins at another place in each process, so that two playgrounds
/// that are made at once seldom meet.
fn free_port(nodes: u8, taken: Option<u16>) -> Result<u16> {
    let count = PORTS.len() as u32;
    let first = std::process::id().wrapping_mul(7919) % count;
    let free = |port: u16| {
        taken != Some(port) && (1..=nodes).all(|id| TcpListener::bind((address(id), port)).is_ok())
    };
    (0..count)
        .map(|step| PORTS.start + ((first + step) % count) as u16)
        .find(|&port| free(port))
        .context("no port from 20000 to 31999 is free on the loopback addresses")
}
