//! Where an installed node keeps its things.

use kddm_object::NodeId;
use std::path::{Path, PathBuf};

/// The cluster file of an installed node.
pub const CLUSTER_FILE: &str = "/etc/kdfs/cluster.toml";

/// Where installed servers keep their sockets.
pub const RUN_DIRECTORY: &str = "/run/kdfs";

/// Where the servers of the cluster that `file` describes keep their sockets: those of a playground beside it.
pub fn run_directory(file: &Path) -> PathBuf {
    match file.parent() {
        Some(beside) if file != Path::new(CLUSTER_FILE) => beside.join("run"),
        _ => PathBuf::from(RUN_DIRECTORY),
    }
}

/// Where programs attach to `node`'s server, in the run directory `run`: open to every user.
pub fn ring(run: &Path, node: NodeId) -> PathBuf {
    run.join(format!("{node}.ring"))
}

/// The admin socket of `node`'s server in the run directory `run` ([`RUN_DIRECTORY`] when installed).
pub fn socket(run: &Path, node: NodeId) -> PathBuf {
    run.join(format!("{node}.sock"))
}
