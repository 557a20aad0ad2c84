//! `kddm playground`: a cluster on this host.

mod directory;
mod down;
mod up;

use anyhow::Result;
use clap::Subcommand;
use kddm_cluster::Fabric;
use std::{path::PathBuf, time::Duration};

/// How long an orderly end may take.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// A cluster on this host, to try things.
#[derive(Subcommand, Debug)]
pub enum Command {
    /// Start N nodes: node K has its partition in DIR/nK/part and its mount at DIR/nK/mnt.
    ///
    /// An existing DIR is started again as it is, with its files; nodes that run already are left alone, a node that
    /// died is started and mounted again.
    Up {
        /// How many nodes, 1 to 254; of an existing DIR: those that it has.
        #[arg(long, value_name = "N")]
        nodes: Option<u8>,
        /// Where everything of the playground is.
        #[arg(long, value_name = "DIR")]
        dir: PathBuf,
        /// How bytes move between the nodes: shm (memory that they share), tcp, or verbs (RDMA, where this host has a device). Not given: shm,
        /// or what an existing DIR has.
        #[arg(long)]
        fabric: Option<Fabric>,
        /// Memory for objects on each node, as "128 MiB". Not given: 64 MiB, whatever it was before.
        #[arg(long, value_name = "SIZE")]
        arena: Option<String>,
        /// How many of the nodes (the last ones) have no partition.
        #[arg(long, value_name = "K")]
        diskless: Option<u8>,
        /// For tests that must see stale bytes: break coherence.
        #[arg(long, hide = true)]
        unsound_skip_invalidations: bool,
    },
    /// Unmount everything, write everything back, end all nodes. DIR keeps its files.
    Down {
        /// The playground's directory.
        #[arg(long, value_name = "DIR")]
        dir: PathBuf,
    },
}

/// Does it.
pub fn run(command: Command) -> Result<()> {
    match command {
        Command::Up { nodes, dir, fabric, arena, diskless, unsound_skip_invalidations: unsound } => {
            up::run(&up::Wanted { nodes, dir, fabric, arena, diskless, unsound })
        }
        Command::Down { dir } => down::run(&dir),
    }
}
