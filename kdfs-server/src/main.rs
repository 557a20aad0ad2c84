//! `kdfs-server`: the daemon of a node.
#![forbid(unsafe_code)]

mod doctor;

use anyhow::{Context, Result};
use clap::{Parser, Subcommand};
use kddm_object::NodeId;
use kdfs_server::{
    Options,
    log::{self, LogFormat},
    start,
};
use nix::{
    sys::resource::{Resource, getrlimit, setrlimit},
    unistd::{dup2_stdout, setsid},
};
use signal_hook::{
    consts::{SIGINT, SIGTERM},
    iterator::Signals,
};
use std::{
    env,
    fs::{File, OpenOptions},
    io::{self, Write},
    path::PathBuf,
    process::ExitCode,
    str::FromStr,
    thread,
};
use tracing_subscriber::EnvFilter;

/// The server of a kDFS node.
///
/// Usually started by `mount -t kdfs`, by `kddm playground up`, or by systemd. It stays in the foreground and logs to
/// standard error; SIGTERM ends it in good order: it unmounts, writes everything back and leaves the cluster.
///
/// What is logged is chosen with the environment variable KDFS_LOG, for example KDFS_LOG=debug.
#[derive(Parser, Debug)]
#[command(name = "kdfs-server", version, args_conflicts_with_subcommands = true)]
struct Arguments {
    #[command(subcommand)]
    command: Option<Command>,
    /// The cluster file.
    #[arg(long, value_name = "FILE", default_value = kddm_cluster::paths::CLUSTER_FILE)]
    config: PathBuf,
    /// Which node this is, 1 to 254.
    #[arg(long, value_name = "ID", value_parser = node)]
    node: Option<NodeId>,
    /// The node's partition, made by mkfs.kdfs. Not given: the node is diskless.
    #[arg(long, value_name = "DIR")]
    partition: Option<PathBuf>,
    /// The root directory's inode number; needed by a diskless node, if the cluster file does not have it.
    #[arg(long, value_name = "INODE")]
    root: Option<u32>,
    /// Where kddm and mount.kdfs reach it. Not given: /run/kdfs/ID.sock.
    #[arg(long, value_name = "FILE")]
    socket: Option<PathBuf>,
    /// Log into this file instead.
    #[arg(long, value_name = "FILE")]
    log: Option<PathBuf>,
    /// How lines of the log look: text, or json with one object a line. Not given: as the environment variable
    /// KDFS_LOG_FORMAT says, else text.
    #[arg(long, value_name = "FORMAT", value_parser = LogFormat::from_str)]
    log_format: Option<LogFormat>,
    /// End with the last mount.
    #[arg(long)]
    on_demand: bool,
    /// For programs that start it: become a session of its own, and say on standard output, in one line, `ready` or
    /// `failed: REASON`.
    #[arg(long)]
    report: bool,
    /// For tests that must see stale bytes: break coherence.
    #[arg(long, hide = true)]
    unsound_skip_invalidations: bool,
}

#[derive(Subcommand, Debug)]
enum Command {
    Doctor(doctor::Arguments),
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    if let Some(Command::Doctor(arguments)) = &arguments.command {
        return doctor::run(arguments);
    }
    if arguments.report {
        // It fails only in a process that leads its group already: one started by hand.
        let _ = setsid();
    }
    match run(&arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let reason = format!("{error:#}");
            eprintln!("kdfs-server: {reason}");
            report(&arguments, &format!("failed: {}", reason.replace('\n', " ")));
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &Arguments) -> Result<()> {
    begin_log(arguments)?;
    raise_limits();
    // Before anything is started, so that a signal is never missed.
    let mut signals = Signals::new([SIGTERM, SIGINT])?;
    let (server, listener) = start(&Options {
        config: arguments.config.clone(),
        node: arguments.node,
        partition: arguments.partition.clone(),
        root: arguments.root,
        socket: arguments.socket.clone(),
        on_demand: arguments.on_demand,
        workers: thread::available_parallelism().map_or(2, |cores| cores.get().clamp(2, 8)),
        unsound_keep_copies: arguments.unsound_skip_invalidations,
    })?;
    let stopped = server.clone();
    thread::Builder::new().name("signals".into()).spawn(move || {
        for _ in &mut signals {
            stopped.stop();
        }
    })?;
    report(arguments, "ready");
    let result = server.run();
    drop(listener);
    result.map_err(anyhow::Error::msg)
}

/// One line for whoever started us, who then need not listen any more.
fn report(arguments: &Arguments, line: &str) {
    if !arguments.report {
        return;
    }
    let mut output = io::stdout();
    // Whoever started us may have gone; the log has it too.
    let _ = writeln!(output, "{line}").and_then(|()| output.flush());
    if let Ok(nothing) = File::options().write(true).open("/dev/null") {
        let _ = dup2_stdout(&nothing);
    }
}

fn begin_log(arguments: &Arguments) -> Result<()> {
    let format = log_format(arguments)?;
    let filter = EnvFilter::try_from_env("KDFS_LOG").unwrap_or_else(|_| EnvFilter::new("info"));
    match &arguments.log {
        Some(file) => {
            let opened = OpenOptions::new().create(true).append(true).open(file);
            let opened = opened.with_context(|| format!("{}: the log cannot be written", file.display()))?;
            log::begin(format, filter, opened)?;
        }
        None => log::begin(format, filter, io::stderr)?,
    }
    Ok(())
}

fn log_format(arguments: &Arguments) -> Result<LogFormat> {
    match (arguments.log_format, env::var("KDFS_LOG_FORMAT")) {
        (Some(format), _) => Ok(format),
        (None, Ok(name)) => name.parse().map_err(|error| anyhow::anyhow!("KDFS_LOG_FORMAT: {error}")),
        (None, Err(_)) => Ok(LogFormat::default()),
    }
}

/// Slabs and the partition's files are descriptors; slabs that an RDMA device reads are locked in memory.
fn raise_limits() {
    for resource in [Resource::RLIMIT_NOFILE, Resource::RLIMIT_MEMLOCK] {
        if let Ok((_, hard)) = getrlimit(resource) {
            // Best effort: what is too little shows up as an error of its own.
            let _ = setrlimit(resource, hard, hard);
        }
    }
}

fn node(text: &str) -> Result<NodeId, String> {
    let number: u8 =
        text.parse().map_err(|_| format!("{text:?} is no node id: write a number from 1 to 254"))?;
    NodeId::new(number).map_err(|error| error.to_string())
}
