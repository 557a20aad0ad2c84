//! `kdfs-server doctor`, which `kddm doctor` runs: what of this machine stands in the way of a node, and what to do.
//!
//! Each file looks at one concern. What was seen is judged by functions of facts alone, so that tests can show them any machine.

mod clock;
mod cluster;
#[cfg(feature = "verbs")]
mod devices;
mod finding;
mod fuse;
mod kernel;
mod limits;
mod memory;
mod modules;
mod rdma;
mod wanted;

use finding::Finding;
use kddm_cluster::Fabric;
use kddm_object::NodeId;
use std::{
    io::{self, Write},
    net::IpAddr,
    path::PathBuf,
    process::ExitCode,
};
use wanted::Wanted;

/// What of this machine stands in the way of a node, and what to do about it. `kddm doctor` runs this, and explains it.
#[derive(clap::Args, Clone, Debug)]
pub struct Arguments {
    /// The cluster file. Not given: that of an installed node, if there is one.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Which node this is. Not given: those whose addresses are this machine's.
    #[arg(long, value_name = "ID", value_parser = crate::node)]
    node: Option<NodeId>,
    /// This machine's address, where no cluster file says it.
    #[arg(long, value_name = "IP", conflicts_with = "config")]
    address: Option<IpAddr>,
    /// Ask for this fabric, whatever the cluster file says: tcp, verbs or shm.
    #[arg(long, value_name = "NAME")]
    fabric: Option<Fabric>,
    /// Use this RDMA device.
    #[arg(long, value_name = "NAME")]
    device: Option<String>,
    /// Use this port of it.
    #[arg(long, value_name = "NUMBER")]
    device_port: Option<u8>,
    /// Use the GID at this index.
    #[arg(long, value_name = "INDEX")]
    gid_index: Option<u32>,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

/// Prints everything that was found. The exit code is 1 if anything stands in the way.
pub fn run(arguments: &Arguments) -> ExitCode {
    let (wanted, mut findings) = cluster::look(arguments);
    findings.extend(everything_else(&wanted));
    let text = match arguments.json {
        true => format!("{}\n", finding::json(&findings)),
        false => finding::text(&findings, &wanted.fabric.to_string()),
    };
    // Whoever reads may have seen enough; the exit code says the same.
    let _ = io::stdout().write_all(text.as_bytes());
    ExitCode::from(u8::from(finding::any_problem(&findings)))
}

fn everything_else(wanted: &Wanted) -> Vec<Finding> {
    [
        kernel::look(),
        fuse::look(wanted),
        memory::look(wanted),
        limits::look(wanted),
        modules::look(wanted),
        rdma::look(wanted),
        clock::look(),
    ]
    .concat()
}
