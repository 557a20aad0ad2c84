//! The `kddm` command: what people do to a cluster.
#![forbid(unsafe_code)]

mod doctor;
mod dump;
mod locate;
mod object;
mod playground;
mod select;
mod status;
mod top;
mod trace;

use anyhow::Result;
use clap::{Args, Parser, Subcommand};
use kddm_cluster::{Key, admin::Request, paths};
use select::{Cluster, Selection};
use std::{path::PathBuf, process::ExitCode};

/// Look after a kDDM cluster: try one on this host, ask it how it is, ask where things are.
///
/// Every command talks to the servers of this host over their sockets. Which cluster: the installed one
/// (/etc/kdfs/cluster.toml), another (--config FILE), or a playground (--dir DIR).
#[derive(Parser, Debug)]
#[command(name = "kddm", version, after_help = EXAMPLES)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

const EXAMPLES: &str = "\
Examples:
  kddm doctor                                      is this machine ready? What is missing, and the remedy
  kddm playground up --nodes 2 --dir /tmp/try      two nodes: /tmp/try/n1/mnt and /tmp/try/n2/mnt
  cp -r /etc/ssl /tmp/try/n1/mnt; ls /tmp/try/n2/mnt/ssl
  kddm status --dir /tmp/try
  kddm where /tmp/try/n2/mnt/ssl                   which node has it, and in which native directory
  kddm dump dir:1:1 1 --dir /tmp/try               the root directory's first page, on every node
  kddm trace dir:1:1 1 --for 10 --dir /tmp/try     what happens to it in the next ten seconds
  kddm playground down --dir /tmp/try

Exit codes: 0 done; 1 not done, with the reason; 2 wrong usage.";

#[derive(Subcommand, Debug)]
enum Command {
    /// A cluster on this host, to try things.
    #[command(subcommand)]
    Playground(playground::Command),
    /// What of this machine stands in the way of a node, and what to do about it.
    Doctor(doctor::Arguments),
    /// How the nodes are.
    Status(status::Arguments),
    /// The cluster's key.
    #[command(subcommand)]
    Key(KeyCommand),
    /// Where an entry of a mounted name space lives: its inode, node and native directory.
    Where(locate::Arguments),
    /// The state of an object on every node.
    Dump(dump::Arguments),
    /// Who is busy with what: sets, hit ratio, latencies, the hottest and the most contended objects.
    Top(top::Arguments),
    /// What happens to an object, on all nodes, in order.
    Trace(trace::Arguments),
    /// Make everything durable, on every node of this host.
    Sync(Which),
    /// Unmount, sync and end the servers of this host.
    Stop(Which),
}

#[derive(Subcommand, Debug)]
enum KeyCommand {
    /// Make a new key in FILE (mode 0600), which must not exist. Every node of a cluster needs a copy.
    New {
        /// The file to make.
        file: PathBuf,
    },
}

#[derive(Args, Debug)]
struct Which {
    #[command(flatten)]
    cluster: Selection,
    /// Only this node.
    #[arg(long, value_name = "ID")]
    node: Option<u8>,
}

fn main() -> ExitCode {
    match run(Arguments::parse().command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("kddm: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(command: Command) -> Result<()> {
    match command {
        Command::Playground(command) => playground::run(command),
        Command::Doctor(arguments) => doctor::run(&arguments),
        Command::Status(arguments) => status::run(&arguments),
        Command::Key(KeyCommand::New { file }) => {
            Key::create(&file)?;
            println!(
                "{}: a new key; copy it to every node, mode 0600, and name it as key_file in {}",
                file.display(),
                paths::CLUSTER_FILE
            );
            Ok(())
        }
        Command::Where(arguments) => locate::run(&arguments),
        Command::Dump(arguments) => dump::run(&arguments),
        Command::Top(arguments) => top::run(&arguments),
        Command::Trace(arguments) => trace::run(&arguments),
        Command::Sync(which) => each(&which, &Request::Sync),
        Command::Stop(which) => each(&which, &Request::Stop),
    }
}

/// Asks every server of this host, or the one that is named, the same.
fn each(which: &Which, request: &Request) -> Result<()> {
    let cluster = Cluster::load(&which.cluster)?;
    let nodes = cluster.here(which.node)?;
    for (_, mut server) in nodes {
        let process = server.process()?;
        server.ask(request)?;
        if *request == Request::Stop {
            process.wait(playground::PATIENCE)?;
        }
    }
    Ok(())
}
