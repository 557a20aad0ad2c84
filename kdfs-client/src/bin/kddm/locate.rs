//! `kddm where`.

use anyhow::{Context, Result, bail};
use clap::Args;
use kddm_cluster::{
    admin::{Reply, Request, Where},
    paths,
};
use kddm_object::NodeId;
use kdfs_client::{Connection, mount_table};
use std::{
    fs,
    path::{Path, PathBuf},
};

/// Where an entry of a mounted name space lives: its inode, node and native directory. Of a symbolic link: the link.
#[derive(Args, Debug)]
pub struct Arguments {
    /// A path in a mounted kDFS.
    path: PathBuf,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

/// Prints where it is.
pub fn run(arguments: &Arguments) -> Result<()> {
    let path = absolute(&arguments.path)?;
    let Some(mount) = mount_table::mount_of(&path)? else {
        bail!(
            "{}: does not lie in a mounted kDFS (findmnt -t {} lists them)",
            path.display(),
            mount_table::TYPE
        );
    };
    let Some(mut server) = Connection::of_mount(&mount) else {
        bail!("{}: the server of this mount is not found, or is dead", mount.point.display());
    };
    let inside = path.strip_prefix(&mount.point)?.to_owned();
    let found = match server.ask(&Request::Where { path: inside })? {
        Reply::Where(found) => found,
        other => bail!("an answer to another question: {other:?}"),
    };
    let directory = native(&server, &found);
    if arguments.json {
        let json = serde_json::json!({
            "inode": found.inode, "generation": found.generation, "node": found.node, "directory": directory,
        });
        println!("{json}");
    } else {
        let (node, local) = (found.node, found.inode & 0xff_ffff);
        println!("inode      {} ({node}:{local}), generation {}", found.inode, found.generation);
        println!("node       {node}");
        println!("directory  {}", directory.display());
    }
    Ok(())
}

/// The native directory with the path of its partition, if that node's server runs on this host.
fn native(server: &Connection, found: &Where) -> PathBuf {
    let partition = || {
        let node = NodeId::new(found.node).ok()?;
        let mut home = Connection::open(&paths::socket(server.socket().parent()?, node)).ok()?;
        home.status().ok()?.partition
    };
    partition().map_or_else(|| found.directory.clone(), |partition| partition.join(&found.directory))
}

fn absolute(path: &Path) -> Result<PathBuf> {
    let wrong = || path.display().to_string();
    fs::symlink_metadata(path).with_context(wrong)?;
    match (path.parent(), path.file_name()) {
        (Some(parent), Some(name)) => {
            let parent = if parent.as_os_str().is_empty() { Path::new(".") } else { parent };
            Ok(fs::canonicalize(parent).with_context(wrong)?.join(name))
        }
        _ => fs::canonicalize(path).with_context(wrong),
    }
}
