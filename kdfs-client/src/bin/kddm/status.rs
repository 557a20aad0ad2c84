//! `kddm status`.

use crate::select::{Cluster, Selection};
use anyhow::Result;
use clap::Args;
use comfy_table::{Table, presets::NOTHING};
use kddm_cluster::{
    Member,
    admin::{Program, State, Status},
};
use serde::Serialize;
use std::{
    collections::BTreeMap,
    net::{IpAddr, SocketAddr},
    path::PathBuf,
    time::Duration,
};

/// How the nodes are: starting, serving (all peers are there), alone (not all are), leaving, or down.
#[derive(Args, Debug)]
pub struct Arguments {
    #[command(flatten)]
    cluster: Selection,
    /// Print JSON: {"view", "nodes": [{"id", "pid", "address", "state", "mount", …}]}.
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Report {
    view: u32,
    cluster: String,
    fabric: String,
    nodes: Vec<Node>,
}

#[derive(Serialize)]
struct Node {
    id: u8,
    pid: Option<u32>,
    address: IpAddr,
    state: &'static str,
    mount: Option<PathBuf>,
    mounts: Vec<PathBuf>,
    partition: Option<PathBuf>,
    root: Option<u32>,
    metrics: Option<SocketAddr>,
    incarnation: Option<u64>,
    absent: BTreeMap<u8, String>,
    programs: Vec<Program>,
    counters: BTreeMap<String, u64>,
}

/// Prints the report. A node that does not answer is `down`; on another host, what the others say of it.
pub fn run(arguments: &Arguments) -> Result<()> {
    let cluster = Cluster::load(&arguments.cluster)?;
    let answers: Vec<(Member, Option<Status>)> =
        cluster.file.nodes.iter().map(|member| (*member, ask(&cluster, member))).collect();
    let known: Vec<&Status> = answers.iter().filter_map(|(_, status)| status.as_ref()).collect();
    let report = Report {
        view: known.iter().map(|status| status.view).max().unwrap_or(0),
        cluster: cluster.file.id.to_string(),
        fabric: cluster.file.fabric.to_string(),
        nodes: answers.iter().map(|(member, status)| node(member, status.as_ref(), &known)).collect(),
    };
    if arguments.json {
        println!("{}", serde_json::to_string(&report)?);
    } else {
        print(&report);
    }
    Ok(())
}

fn ask(cluster: &Cluster, member: &Member) -> Option<Status> {
    let mut server = cluster.server(member)?;
    server.set_patience(Duration::from_secs(5)).ok()?;
    server.status().ok()
}

fn node(member: &Member, status: Option<&Status>, known: &[&Status]) -> Node {
    let elsewhere =
        || known.iter().any(|other| other.peers.iter().any(|peer| peer.id == member.id.get() && peer.up));
    let state = match status.map(|status| status.state) {
        Some(State::Starting) => "starting",
        Some(State::Serving) => "serving",
        Some(State::Alone) => "alone",
        Some(State::Leaving) => "leaving",
        None if elsewhere() => "serving",
        None => "down",
    };
    let absent = status.map_or_else(BTreeMap::new, |status| {
        let absent = status.peers.iter().filter(|peer| !peer.up);
        absent.map(|peer| (peer.id, peer.reason.clone().unwrap_or_else(|| "not there yet".into()))).collect()
    });
    Node {
        id: member.id.get(),
        pid: status.map(|status| status.pid),
        address: member.address,
        state,
        mount: status.and_then(|status| status.mounts.first().cloned()),
        mounts: status.map(|status| status.mounts.clone()).unwrap_or_default(),
        partition: status.and_then(|status| status.partition.clone()),
        root: status.and_then(|status| status.root),
        metrics: status.and_then(|status| status.metrics),
        incarnation: status.map(|status| status.incarnation),
        absent,
        programs: status.map(|status| status.programs.clone()).unwrap_or_default(),
        counters: status.map(|status| status.counters.clone()).unwrap_or_default(),
    }
}

fn print(report: &Report) {
    println!("cluster {}, view {}, fabric {}", report.cluster, report.view, report.fabric);
    let mut table = Table::new();
    table.load_preset(NOTHING).set_header([
        "node",
        "address",
        "state",
        "pid",
        "metrics",
        "mount",
        "partition",
    ]);
    let dash = || "-".to_owned();
    for node in &report.nodes {
        table.add_row([
            node.id.to_string(),
            node.address.to_string(),
            node.state.to_owned(),
            node.pid.map_or_else(dash, |pid| pid.to_string()),
            node.metrics.map_or_else(dash, |socket| socket.to_string()),
            node.mount.as_ref().map_or_else(dash, |path| path.display().to_string()),
            node.partition.as_ref().map_or_else(|| "none".to_owned(), |path| path.display().to_string()),
        ]);
    }
    println!("{table}");
    for node in &report.nodes {
        for (peer, reason) in &node.absent {
            println!("node {} misses node {peer}: {reason}", node.id);
        }
    }
}
