//! The `kddm` command: what people do to a cluster.
#![forbid(unsafe_code)]

mod attach;
mod completion;
mod doctor;
mod dump;
mod files;
mod locate;
mod object;
mod objects;
mod outcome;
mod playground;
mod select;
mod status;
mod top;
mod trace;

use anyhow::Result;
use clap::{Args, Parser, Subcommand};
use kddm_cluster::{Key, admin::Request, paths};
use select::{Cluster, Selection};
use std::{
    path::{Path, PathBuf},
    process::ExitCode,
};

/// Look after a kDDM cluster, and use it from the shell: its objects and sets, and its files without a mount.
///
/// Every command talks to servers of this host over their sockets. Which cluster: the installed one
/// (/etc/kdfs/cluster.toml), another (--config FILE), or a playground (--dir DIR, or $KDDM_DIR).
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

  kddm set create notes --size 64 --dir /tmp/try   objects of 64 bytes …
  echo hello | kddm put notes 7 --dir /tmp/try --node 1
  kddm get notes 7 --dir /tmp/try --node 2 --trim  … that every node has
  kddm grab notes 7 --dir /tmp/try -- ./job        while ./job runs, nobody else has it
  kddm cp -r /etc/ssl kdfs:/ --dir /tmp/try        files, without a mount
  kddm playground down --dir /tmp/try

Exit codes: 0 done; 1 not done, with the reason; 2 wrong usage; more in each command's help.";

#[derive(Subcommand, Debug)]
enum Command {
    /// A cluster on this host, to try things.
    #[command(subcommand)]
    Playground(playground::Command),
    Doctor(doctor::Arguments),
    Status(status::Arguments),
    /// The cluster's key.
    #[command(subcommand)]
    Key(KeyCommand),
    Where(locate::Arguments),
    Dump(dump::Arguments),
    /// Who is busy with what: sets, hit ratio, latencies, the hottest and the most contended objects.
    Top(top::Arguments),
    /// What happens to an object, on all nodes, in order.
    Trace(trace::Arguments),
    /// Make everything durable, on every node of this host.
    Sync(Which),
    /// Unmount, sync and end the servers of this host.
    Stop(Which),
    /// Sets of objects: make, list, look at, end.
    ///
    /// A set has a name, the size of its objects, and, as a file has them, an owner and permission bits: who reads may get, who writes may
    /// grab and remove; its owner and root may end it. Its objects are there, as zeros, as soon as somebody touches them.
    #[command(subcommand)]
    Set(objects::set::Command),
    Get(objects::get::Arguments),
    Put(objects::put::Arguments),
    Grab(objects::grab::Arguments),
    Watch(objects::watch::Arguments),
    Bench(objects::bench::Arguments),
    Cat(files::cat::Arguments),
    Cp(files::cp::Arguments),
    Ls(files::ls::Arguments),
    Mkdir(files::mkdir::Arguments),
    Mv(files::mv::Arguments),
    Rm(files::rm::Arguments),
    Completion(completion::Arguments),
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
    if let Some(under) = objects::grab::Under::asked_for() {
        return under.run();
    }
    match run(Arguments::parse().command) {
        Ok(code) => code,
        Err(error) if outcome::is_unread(&error) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("kddm: {error:#}");
            outcome::code_of(&error).into()
        }
    }
}

fn run(command: Command) -> Result<ExitCode> {
    match command {
        Command::Set(command) => objects::set::run(&command),
        Command::Get(arguments) => objects::get::run(&arguments),
        Command::Put(arguments) => objects::put::run(&arguments),
        Command::Grab(arguments) => Ok(objects::grab::run(&arguments)),
        Command::Watch(arguments) => objects::watch::run(&arguments),
        Command::Bench(arguments) => objects::bench::run(&arguments),
        Command::Cat(arguments) => files::cat::run(&arguments),
        Command::Cp(arguments) => files::cp::run(&arguments),
        Command::Ls(arguments) => files::ls::run(&arguments),
        Command::Mkdir(arguments) => files::mkdir::run(&arguments),
        Command::Mv(arguments) => files::mv::run(&arguments),
        Command::Rm(arguments) => files::rm::run(&arguments),
        Command::Playground(command) => playground::run(command).map(done),
        Command::Doctor(arguments) => doctor::run(&arguments).map(done),
        Command::Status(arguments) => status::run(&arguments).map(done),
        Command::Completion(arguments) => completion::run(&arguments).map(done),
        Command::Key(KeyCommand::New { file }) => new_key(&file).map(done),
        Command::Where(arguments) => locate::run(&arguments).map(done),
        Command::Dump(arguments) => dump::run(&arguments).map(done),
        Command::Top(arguments) => top::run(&arguments).map(done),
        Command::Trace(arguments) => trace::run(&arguments).map(done),
        Command::Sync(which) => each(&which, &Request::Sync).map(done),
        Command::Stop(which) => each(&which, &Request::Stop).map(done),
    }
}

fn done((): ()) -> ExitCode {
    ExitCode::SUCCESS
}

fn new_key(file: &Path) -> Result<()> {
    Key::create(file)?;
    println!(
        "{}: a new key; copy it to every node, mode 0600, and name it as key_file in {}",
        file.display(),
        paths::CLUSTER_FILE
    );
    Ok(())
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
