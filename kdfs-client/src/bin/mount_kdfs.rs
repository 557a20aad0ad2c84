//! `mount -t kdfs DIR|NONE MOUNT_POINT`: what mount(8) calls. As `umount.kdfs`, what umount(8) calls.
#![forbid(unsafe_code)]

use anyhow::{Context, Result, bail, ensure};
use clap::Parser;
use kddm_cluster::{Cluster, admin::Request, paths};
use kdfs_client::{Connection, mount_options::MountOptions, mount_table, mounting, programs};
use kdfs_format::{SUPERBLOCK_SIZE, UnverifiedSuperblock, paths::SUPERBLOCK};
use std::{
    env,
    fs::{self, File},
    io::Read,
    net::{IpAddr, UdpSocket},
    path::{Path, PathBuf},
    process::ExitCode,
};

/// Mount a kDFS name space.
///
/// DIR is this node's partition, made by `mkfs.kdfs DIR ROOT_NODEID`; NONE mounts on a node without one, which
/// needs root=INODE. The node's server is started if it does not run, and ends with the last mount that it was
/// started for. Usually called as `mount -t kdfs DIR|NONE MOUNT_POINT -o OPTIONS`.
///
/// Options: root=INODE (16777217, 0x1000001 or 1:1), node=ID (which node, when this host has several), config=FILE
/// (default /etc/kdfs/cluster.toml), socket=FILE (the server's admin socket, default /run/kdfs/ID.sock, or run/ID.sock
/// beside the cluster file), log=FILE (of a server that is started), and ro, nosuid, nodev, noexec, noatime.
///
/// Exit codes are those of mount(8): 0 mounted, 1 wrong usage, 2 the system, 32 not mounted.
#[derive(Parser, Debug)]
#[command(name = "mount.kdfs", version, verbatim_doc_comment)]
struct Arguments {
    /// The partition's directory, or NONE.
    #[arg(value_name = "DIR|NONE")]
    source: String,
    /// Where to mount.
    mount_point: PathBuf,
    /// Options, separated by commas.
    #[arg(short, value_name = "OPTIONS")]
    options: Vec<String>,
    /// The type that mount(8) was given.
    #[arg(short = 't', hide = true)]
    _type: Option<String>,
    /// Ignore unknown options.
    #[arg(short)]
    sloppy: bool,
    /// Only check, do not mount.
    #[arg(short)]
    fake: bool,
    /// Say more.
    #[arg(short)]
    verbose: bool,
    /// Accepted; there is no /etc/mtab to write.
    #[arg(short)]
    no_mtab: bool,
}

const USAGE: u8 = 1;
const NOT_MOUNTED: u8 = 32;

fn main() -> ExitCode {
    let name = env::args_os().next().unwrap_or_default();
    let name = Path::new(&name).file_name().unwrap_or_default().to_string_lossy().into_owned();
    if name.starts_with("umount.") {
        return end(&name, NOT_MOUNTED, unmount());
    }
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => {
            drop(error.print());
            return if error.use_stderr() { USAGE.into() } else { ExitCode::SUCCESS };
        }
    };
    match options(&arguments) {
        Ok(options) => end("mount.kdfs", NOT_MOUNTED, run(&arguments, options)),
        Err(error) => end("mount.kdfs", USAGE, Err(error)),
    }
}

fn end(name: &str, code: u8, result: Result<()>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{name}: {error:#}");
            code.into()
        }
    }
}

fn options(arguments: &Arguments) -> Result<MountOptions> {
    let mut options = MountOptions::default();
    for list in &arguments.options {
        for word in list.split(',') {
            match options.add(word) {
                Err(_) if arguments.sloppy => {}
                result => result?,
            }
        }
    }
    Ok(options)
}

fn run(arguments: &Arguments, options: MountOptions) -> Result<()> {
    let config = options.config.clone().unwrap_or_else(|| PathBuf::from(paths::CLUSTER_FILE));
    let config = fs::canonicalize(&config).unwrap_or(config);
    let cluster = Cluster::load(&config)?;
    let place = Place::find(&arguments.source, &options, &cluster)?;
    let socket = options.socket.clone().unwrap_or_else(|| default_socket(&config, place.node));
    if arguments.verbose || arguments.fake {
        println!("node {} by {}", place.node, socket.display());
    }
    if arguments.fake {
        return Ok(());
    }
    mounting::check(&arguments.mount_point)?;
    let (mut server, started) = match Connection::open(&socket) {
        Ok(server) => (server, false),
        Err(_) => (start(&config, &place, &options, &socket)?, true),
    };
    let result = place
        .check(&mut server)
        .and_then(|()| mounting::mount_at(&mut server, &place.source, &arguments.mount_point, options.flags));
    if result.is_err() && started {
        // What stopping says does not matter beside the first error.
        drop(server.ask(&Request::Stop));
    }
    result
}

/// Which node is meant.
struct Place {
    node: u8,
    partition: Option<PathBuf>,
    root: Option<u32>,
    source: String,
}

impl Place {
    fn find(source: &str, options: &MountOptions, cluster: &Cluster) -> Result<Place> {
        let partition = match source {
            "NONE" | "none" => None,
            directory => Some(fs::canonicalize(directory).with_context(|| {
                format!("{directory}: the partition's directory (or NONE) has to be given")
            })?),
        };
        let node = match &partition {
            Some(directory) => {
                let node = node_of(directory)?;
                if let Some(wanted) = options.node.filter(|&wanted| wanted != node) {
                    bail!("{}: is the partition of node {node}, not of node={wanted}", directory.display());
                }
                node
            }
            None => match options.node {
                Some(node) => node,
                None => local_node(cluster)?,
            },
        };
        let root = options.root.or(cluster.root);
        if partition.is_none() && root.is_none() {
            bail!(
                "a node without a partition has to be told the root directory: -o root=INODE (1:1 for node 1's)"
            );
        }
        let source = partition.as_ref().map_or("NONE".into(), |directory| directory.display().to_string());
        Ok(Place { node, partition, root: options.root.or(cluster.root), source })
    }

    /// That the running server is the one that is meant.
    fn check(&self, server: &mut Connection) -> Result<()> {
        let status = server.status()?;
        ensure!(status.id == self.node, "the server there is node {}, not node {}", status.id, self.node);
        if let Some(partition) = &self.partition {
            let served = status.partition.as_ref();
            ensure!(
                served == Some(partition),
                "node {} runs with {}, not with {}; stop it first (kddm stop), or mount that one",
                self.node,
                served.map_or("no partition".into(), |served| served.display().to_string()),
                partition.display()
            );
        }
        if let (Some(wanted), Some(root)) = (self.root, status.root) {
            ensure!(wanted == root, "node {} has its root at inode {root}, not at root={wanted}", self.node);
        }
        Ok(())
    }
}

fn start(config: &Path, place: &Place, options: &MountOptions, socket: &Path) -> Result<Connection> {
    let start = programs::ServerStart {
        config: config.to_owned(),
        node: place.node,
        partition: place.partition.clone(),
        root: place.root,
        socket: socket.to_owned(),
        log: options.log.clone().unwrap_or_else(|| programs::installed_log(place.node)),
        on_demand: true,
        unsound: false,
    };
    match start.spawn()?.wait() {
        Ok(_) => Connection::open(socket),
        // Perhaps another mount was quicker, and its server is the one.
        Err(error) => Connection::open(socket).map_err(|_| error),
    }
}

/// Beside a cluster file that is not the installed one, so that playgrounds do not meet.
fn default_socket(config: &Path, node: u8) -> PathBuf {
    let run = match config.parent() {
        Some(directory) if config != Path::new(paths::CLUSTER_FILE) => directory.join("run"),
        _ => PathBuf::from(paths::RUN_DIRECTORY),
    };
    run.join(format!("{node}.sock"))
}

fn node_of(partition: &Path) -> Result<u8> {
    let file = partition.join(SUPERBLOCK);
    let mut bytes = vec![0; SUPERBLOCK_SIZE];
    File::open(&file).and_then(|mut file| file.read_exact(&mut bytes)).with_context(|| {
        format!(
            "{}: not a kDFS partition (no readable superblock {:?}); format it: mkfs.kdfs {} ROOT_NODEID",
            partition.display(),
            SUPERBLOCK,
            partition.display()
        )
    })?;
    let superblock = UnverifiedSuperblock::parse(&bytes).and_then(UnverifiedSuperblock::verify);
    Ok(superblock.with_context(|| file.display().to_string())?.node)
}

/// The node whose address this host has.
fn local_node(cluster: &Cluster) -> Result<u8> {
    let is_local = |address: IpAddr| UdpSocket::bind((address, 0)).is_ok();
    let local: Vec<u8> =
        cluster.nodes.iter().filter(|node| is_local(node.address)).map(|node| node.id.get()).collect();
    match local[..] {
        [node] => Ok(node),
        [] => bail!("this host has the address of no node of the cluster; say which one it is: -o node=ID"),
        _ => bail!("this host has the addresses of the nodes {local:?}; say which one is meant: -o node=ID"),
    }
}

/// `umount.kdfs MOUNT_POINT …`: unmounts, and returns when what was written is durable.
fn unmount() -> Result<()> {
    let argument = env::args_os().skip(1).find(|word| !word.to_string_lossy().starts_with('-'));
    let point = PathBuf::from(argument.context("usage: umount.kdfs MOUNT_POINT")?);
    let point = fs::canonicalize(&point).unwrap_or(point);
    let server = mount_table::mount_at(&point)?.and_then(|mount| Connection::of_mount(&mount));
    match server {
        Some(mut server) => server.ask(&Request::Unmount { point }).map(drop),
        None => mounting::unmount_alone(&point).map(drop),
    }
}
