//! `kddm doctor`.

use crate::select::Selection;
use anyhow::Result;
use clap::Args;
use kddm_cluster::Fabric;
use kdfs_client::programs;
use std::{net::IpAddr, process::Command};

/// What of this machine stands in the way of a node, and what to do about it.
///
/// Looks at the cluster file and its key, at the node's address and port, the kernel and its FUSE, what mounting takes, memory and
/// limits, and RDMA: modules, devices, ports, GIDs, and which of them the node would use and why. It changes nothing. It
/// is meant to be run as root, on the machine that is or will be a node; without a cluster file it looks at the machine alone.
///
/// Each line is marked: ok; note, which is worth knowing and does not hinder what this node is asked for; problem, which does.
/// Below it stands what to do.
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub struct Arguments {
    #[command(flatten)]
    cluster: Selection,
    /// Which node this machine is. Not given: those whose addresses are this machine's.
    #[arg(long, value_name = "ID", value_parser = clap::value_parser!(u8).range(1..=254))]
    node: Option<u8>,
    /// This machine's address, where no cluster file says it.
    #[arg(long, value_name = "IP", conflicts_with_all = ["dir", "config"])]
    address: Option<IpAddr>,
    /// Ask for this fabric, whatever the cluster file says: tcp, verbs or shm.
    #[arg(long, value_name = "NAME")]
    fabric: Option<Fabric>,
    /// Use this RDMA device, whatever the cluster file says.
    #[arg(long, value_name = "NAME")]
    device: Option<String>,
    /// Use this port of the device.
    #[arg(long, value_name = "NUMBER")]
    device_port: Option<u8>,
    /// Use the GID at this index.
    #[arg(long, value_name = "INDEX")]
    gid_index: Option<u32>,
    /// Print JSON: [{"name", "state": "ok", "note" or "problem", "found", "remedy"}].
    #[arg(long)]
    json: bool,
}

const EXAMPLES: &str = "\
Examples:
  kddm doctor                                      an installed node, as /etc/kdfs/cluster.toml has it
  kddm doctor --dir /tmp/try                       the nodes of a playground
  kddm doctor --fabric verbs                       could this machine use RDMA? What is missing?
  kddm doctor --fabric verbs --address 10.0.0.1    … at this address: which GID is it?
  kddm doctor --json | jq '.[] | select(.state == \"problem\")'

Exit codes: 0 nothing stands in the way of the fabric that is asked for; 1 something does; 2 wrong usage.";

/// Goes on as `kdfs-server doctor`: what is looked at is the server's matter.
pub fn run(arguments: &Arguments) -> Result<()> {
    let mut command = Command::new(programs::find("kdfs-server"));
    command.arg("doctor");
    let mut give = |option: &str, value: Option<String>| {
        value.map(|value| command.arg(option).arg(value));
    };
    give("--node", arguments.node.map(|node| node.to_string()));
    give("--address", arguments.address.map(|address| address.to_string()));
    give("--fabric", arguments.fabric.map(|fabric| fabric.to_string()));
    give("--device", arguments.device.clone());
    give("--device-port", arguments.device_port.map(|port| port.to_string()));
    give("--gid-index", arguments.gid_index.map(|index| index.to_string()));
    if let Some(config) = arguments.cluster.config() {
        command.arg("--config").arg(config);
    }
    if arguments.json {
        command.arg("--json");
    }
    Err(programs::become_program(&mut command))
}
