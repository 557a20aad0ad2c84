//! Where an installed node keeps its things.

use kddm_object::NodeId;
use std::path::{Path, PathBuf};

/// The cluster file of an installed node.
pub const CLUSTER_FILE: &str = "/etc/kdfs/cluster.toml";

/// Where installed servers keep their sockets.
pub const RUN_DIRECTORY: &str = "/run/kdfs";

/// The admin socket of `node`'s server in the run directory `run` ([`RUN_DIRECTORY`] when installed).
pub fn socket(run: &Path, node: NodeId) -> PathBuf {
    run.join(format!("{node}.sock"))
}
