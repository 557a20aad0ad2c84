//! `kddm-rdma-tests`: a process of a test over real RDMA.
#![forbid(unsafe_code)]

use anyhow::{Context, Result};
use clap::{Args, Parser, Subcommand};
use kddm_bench::random::fresh_seed;
use kddm_rdma_tests::nodes::{Fabric, Start};
use kddm_rdma_tests::{Place, files, here, run, serve};
use std::net::IpAddr;
use std::path::PathBuf;
use std::process::ExitCode;

/// A process of a test over real RDMA: started in every guest by soft-roce/run, or on this host by `here`.
///
/// Exits with 0 if everything is as it should be, 1 if not, 2 if the command line is wrong.
#[derive(Parser)]
#[command(version, max_term_width = 110)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Nodes work on the same objects; rank 0 looks for an order that explains what they saw
    Load(LoadArguments),
    /// kDFS in each guest: a tree in here and out there, alternation, a server that is killed, a guest that goes off
    Files {
        /// A tree of files, which every guest sees
        tree: PathBuf,
        /// Rounds of the alternation
        #[arg(long, default_value_t = 500)]
        rounds: u64,
        /// Where every choice comes from
        #[arg(long)]
        seed: u64,
    },
    /// Runs a command of this program as several processes on this host: `here 2 -- load --fabric tcp`
    Here {
        /// How many
        nodes: usize,
        /// What each runs
        #[arg(last = true, required = true)]
        arguments: Vec<String>,
    },
    /// A node that does as its standard input says
    Serve {
        /// Over which fabric
        #[arg(long, value_enum)]
        fabric: Fabric,
        /// Where all nodes listen
        #[arg(long)]
        port: u16,
        /// Which of the addresses is its own, from 0
        place: usize,
        /// All of them
        #[arg(required = true)]
        addresses: Vec<IpAddr>,
    },
}

#[derive(Args)]
struct LoadArguments {
    /// Over which fabric
    #[arg(long, value_enum, default_value = "verbs")]
    fabric: Fabric,
    /// The first of three ports that nobody uses
    #[arg(long, default_value_t = 5400)]
    port: u16,
    /// Where every choice comes from [default: a fresh one, for a run of one process]
    #[arg(long)]
    seed: Option<u64>,
    /// Threads of each node
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u8).range(1..16))]
    threads: u8,
    /// Operations of each thread
    #[arg(long, default_value_t = 1000)]
    operations: u32,
    /// Break queue pairs after so many messages and READs, on the average
    #[arg(long, value_parser = at_least_one)]
    break_every: Option<usize>,
    /// Nodes keep copies that they should drop; that must be seen
    #[arg(long)]
    unsound: bool,
}

fn at_least_one(text: &str) -> Result<usize, String> {
    text.parse().ok().filter(|&number| number > 0).ok_or_else(|| "a number from 1 on".into())
}

fn main() -> ExitCode {
    match run_command(Arguments::parse().command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("kddm-rdma-tests: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run_command(command: Command) -> Result<()> {
    match command {
        Command::Load(load) => {
            let options = run::Options {
                fabric: load.fabric,
                port: load.port,
                seed: load.seed.unwrap_or_else(fresh_seed),
                threads: load.threads,
                operations: load.operations,
                break_every: load.break_every,
                unsound: load.unsound,
            };
            run::run(&Place::from_environment()?, &options)
        }
        Command::Files { tree, rounds, seed } => {
            files::run(&Place::from_environment()?, &files::Options { tree, rounds, seed })
        }
        Command::Here { nodes, arguments } => {
            let me = std::env::current_exe().context("finding this program")?;
            here::run(&me, nodes, &std::env::temp_dir(), &arguments)
        }
        Command::Serve { fabric, port, place, addresses } => {
            let (unsound, speculate, breaks) = (false, false, None);
            serve::run(&Start { fabric, place, addresses, port, unsound, speculate, breaks })
        }
    }
}
