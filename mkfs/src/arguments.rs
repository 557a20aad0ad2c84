//! The command line.

use clap::Parser;
use kdfs_format::sets::MAX_NODE;
use std::net::IpAddr;
use std::path::PathBuf;

/// Make a native directory a partition of kDFS.
///
/// A kDFS file system is the union of the partitions of its nodes. Each partition is a directory of a native file
/// system, best a file system of its own. Every node formats its own once, all with the same ROOT_NODEID: the root
/// directory lies on that node.
#[derive(Debug, Parser)]
#[command(name = "mkfs.kdfs", version, after_long_help = EXAMPLES)]
pub struct Arguments {
    /// The directory to format. It must exist and be empty (lost+found may be there).
    #[arg(value_name = "DIR_PATHNAME")]
    pub directory: PathBuf,

    /// The node that holds the root directory, 1 to 254; the same on every node.
    #[arg(value_name = "ROOT_NODEID", value_parser = node_id)]
    pub root_node: u8,

    /// The id of this node, 1 to 254. Not given: the id that the cluster file gives to an address of this host, or
    /// the last byte of this host's only address.
    #[arg(long, value_name = "ID", value_parser = node_id)]
    pub node: Option<u8>,

    /// The address of this node, if the host has several.
    #[arg(long, value_name = "ADDRESS", conflicts_with = "node")]
    pub address: Option<IpAddr>,

    /// The cluster file; /etc/kdfs/cluster.toml is used if it is there.
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,

    /// Format a directory that is not empty. A partition that is there is removed with all its files; files that
    /// kDFS did not make stay, and are named.
    #[arg(long)]
    pub force: bool,

    /// Print what was done as JSON.
    #[arg(long)]
    pub json: bool,
}

const EXAMPLES: &str = "\
Examples, on two nodes with the addresses 10.0.0.1 and 10.0.0.2:
  node 1:  mkfs.kdfs /srv/kdfs 1        # the root directory lies here
  node 2:  mkfs.kdfs /srv/kdfs 1        # the superblock only
  any:     mount -t kdfs /srv/kdfs /mnt/kdfs

  mkfs.kdfs --node 3 /tmp/part 1        # this is node 3, whatever its address
  mkfs.kdfs --force --json /srv/kdfs 1  # start again: removes every file of the old partition

Limits: 254 nodes; 2^24 - 1 files and directories on each; a file has at most 2^44 bytes.

Exit codes: 0 formatted; 1 failed; 2 wrong arguments; 3 refused, because the directory holds something, nothing
was changed.";

fn node_id(text: &str) -> Result<u8, String> {
    match text.parse::<u32>() {
        Ok(id) if (1..=u32::from(MAX_NODE)).contains(&id) => Ok(id as u8),
        _ => Err(format!("{text:?} is no node id: a node id is a whole number from 1 to {MAX_NODE}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        <Arguments as clap::CommandFactory>::command().debug_assert();
    }

    #[test]
    fn node_ids_are_1_to_254() {
        assert_eq!((node_id("1"), node_id("254")), (Ok(1), Ok(254)));
        for wrong in ["0", "255", "300", "-1", "one", "", "1.0"] {
            assert!(node_id(wrong).is_err(), "{wrong}");
        }
    }
}
