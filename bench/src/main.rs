//! `kddm-bench`: the demo, alternation, trees and latencies by hand.
#![forbid(unsafe_code)]

use anyhow::{Context, Result, bail, ensure};
use clap::{Parser, Subcommand};
use kddm_bench::{
    allocations::Counting, alternate, core_speed, counter, demo, fs_latency, interrupt, latency, playground,
    random, report::Report, ring, tree,
};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Shows, checks and measures kDDM and kDFS.
///
/// Exits with 0 if everything is as it should be, 1 if not (a stale read, a difference, a failed call), 2 if
/// the command line is wrong.
#[derive(Parser)]
#[command(version, max_term_width = 110)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Two nodes on this host: a tree copied and compared, alternation, restarts, latencies; all checked
    Demo {
        /// Files of the tree
        #[arg(long, default_value_t = 3000)]
        files: usize,
        /// Rounds of the alternation
        #[arg(long, default_value_t = 10_000)]
        rounds: u64,
        /// Calls of each kind whose latency is taken
        #[arg(long, default_value_t = 500)]
        calls: u32,
        /// Take the tree from this directory [default: the sources of our own dependencies]
        #[arg(long)]
        source: Option<PathBuf>,
        /// Where every random choice comes from [default: a fresh one, printed]
        #[arg(long)]
        seed: Option<u64>,
        /// Work below this directory [default: the system's directory for temporary files]
        #[arg(long)]
        dir: Option<PathBuf>,
    },
    /// Change files through one of two directories, read them through the other, and count stale reads
    Alternate {
        /// A directory, for example the mount of node 1
        a: PathBuf,
        /// Another that shows the same files, for example the mount of node 2
        b: PathBuf,
        /// How many changes
        #[arg(long, default_value_t = 10_000)]
        rounds: u64,
        /// Repeat the run that printed this seed
        #[arg(long)]
        seed: Option<u64>,
        /// Fail if no stale read is seen: for directories that are known not to be coherent
        #[arg(long)]
        expect_stale: bool,
    },
    /// Copy a real source tree in through one directory and compare it through another
    Tree {
        /// Where it is copied to, for example the mount of node 1
        a: PathBuf,
        /// Where it is compared, for example the mount of node 2
        b: PathBuf,
        /// Files of the tree
        #[arg(long, default_value_t = 3000)]
        files: usize,
        /// Take the tree from this directory [default: the sources of our own dependencies]
        #[arg(long)]
        source: Option<PathBuf>,
    },
    /// The demo's tree copied in, compared and removed over shm beside tcp, in alternating laps of one run; writes
    /// target/report/fabrics.json
    Fabrics {
        /// Files of the tree
        #[arg(long, default_value_t = 200)]
        files: usize,
        /// Laps over each
        #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..1000))]
        laps: u32,
        /// Take the tree from this directory [default: the sources of our own dependencies]
        #[arg(long)]
        source: Option<PathBuf>,
        /// Work below this directory: one in memory, such as /dev/shm, keeps the disk out of it [default: the system's directory
        /// for temporary files]
        #[arg(long)]
        dir: Option<PathBuf>,
    },
    /// Latencies of file-system calls beside a native directory; writes target/report/fs-latency.json
    FsLatency {
        /// The mounts, in the order n1, n2 … [default: a playground of two nodes, for this run]
        mounts: Vec<PathBuf>,
        /// A native directory, where there are mounts
        #[arg(long, requires = "mounts")]
        native: Option<PathBuf>,
        /// The fabric of the playground; or of the mounts, for the report
        #[arg(long, default_value = "shm")]
        fabric: String,
        /// Calls of each kind
        #[arg(long, default_value_t = 2000)]
        count: u32,
    },
    /// Latencies of get, grab and remove between nodes beside their floors, all nodes on this host; writes
    /// target/report/latency.json and pictures
    Latency {
        /// How many nodes, each a process, from 127.0.0.1 on; the original's matrix takes 4
        #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u8).range(2..=8))]
        nodes: latency::Rank,
        #[command(flatten)]
        options: latency::Options,
    },
    /// One node of the same, for several hosts: start it on each, with the same addresses. Rank 0 conducts and reports; its
    /// --count, --quick and --spin are those of all
    LatencyNode {
        /// This node's place in the list of addresses, from 0
        #[arg(long)]
        rank: latency::Rank,
        /// Where the nodes are, in the same order everywhere: IP or IP:PORT [default port: 5340; rank 0 also uses the next]
        #[arg(long, value_delimiter = ',', required = true)]
        addresses: Vec<latency::Address>,
        /// Keep to one processor, by rank: for nodes that share a host, so that both sides of a ratio are placed alike
        #[arg(long)]
        pin: bool,
        #[command(flatten)]
        options: latency::Options,
    },
    /// Round trips of the ring that programs attach through, beside two processes that hand each other a word; writes
    /// target/report/ring.json
    Ring {
        /// Rounds of each kind
        #[arg(long, default_value_t = 4000)]
        count: u32,
        /// Programs that are attached and do nothing
        #[arg(long, default_value_t = 1000)]
        programs: u32,
        /// Leave it to the kernel who runs on which processor, and not the two sides of everything to two processors
        #[arg(long)]
        anywhere: bool,
    },
    /// The other of those two processes
    #[command(hide = true)]
    RingFloor { waiting: ring::Waiting },
    /// Increment the counter of a set, as a program that is attached to a node
    Counter {
        /// Where the node lets programs in: /run/kdfs/ID.ring, or DIR/run/ID.ring of a playground
        ring: PathBuf,
        /// The set, which is made if there is none
        set: String,
        /// How often
        times: u64,
    },
    /// Messages a second of the protocol's core alone, on one thread; writes target/report/core-speed.json
    CoreSpeed {
        /// Rounds, each a block of every workload; the best counts
        #[arg(long, default_value_t = 60)]
        rounds: usize,
        /// Objects of the largest workload
        #[arg(long, default_value_t = 65_536, value_parser = clap::value_parser!(u32).range(1..1 << 24))]
        objects: u32,
        /// Only workloads with this in their names
        #[arg(long, default_value = "", hide_default_value = true)]
        case: String,
    },
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    match interrupt::clean_up_on_signals().map_err(Into::into).and_then(|()| run(arguments.command)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) if interrupt::stopping() => loop {
            // What failed was taken down under us; the thread that does it ends the process when it is done.
            std::thread::park();
        },
        Err(error) => {
            eprintln!("kddm-bench: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(command: Command) -> Result<()> {
    match command {
        Command::Demo { files, rounds, calls, source, seed, dir } => {
            let seed = seed.unwrap_or_else(random::fresh_seed);
            let dir = dir.unwrap_or_else(std::env::temp_dir);
            let directory = tempfile::Builder::new().prefix("kddm-demo-").tempdir_in(&dir);
            let directory = directory.with_context(|| format!("making a directory in {}", dir.display()))?;
            interrupt::remove_in_the_end(directory.path());
            demo::run(directory.path(), &demo::Size { files, bytes: 72 << 20, rounds, calls, source, seed })
        }
        Command::Alternate { a, b, rounds, seed, expect_stale } => {
            let seed = seed.unwrap_or_else(random::fresh_seed);
            alternate_once([a, b], alternate::Options { rounds, seed }, expect_stale)
        }
        Command::Tree { a, b, files, source } => tree_once([a, b], files, source),
        Command::Fabrics { files, laps, source, dir } => compare_fabrics(files, laps, source, dir),
        Command::FsLatency { mounts, native, fabric, count } => measure_calls(mounts, native, fabric, count),
        Command::Latency { nodes, options } => latency::run(nodes, &options),
        Command::LatencyNode { rank, addresses, pin, options } => {
            latency::run_node(rank, &addresses, pin, &options)
        }
        Command::Ring { count, programs, anywhere } => measure_ring(count, programs, anywhere),
        Command::RingFloor { waiting } => ring::answer(waiting),
        Command::Counter { ring, set, times } => {
            let value = counter::count(&ring, &set, times)?;
            println!("{value}");
            Ok(())
        }
        Command::CoreSpeed { rounds, objects, case } => {
            let mut report = Report::new(None);
            report.cases = core_speed::run(core_speed::Options { rounds, objects, case })?;
            publish(&report, "core-speed")
        }
    }
}

fn measure_calls(mounts: Vec<PathBuf>, native: Option<PathBuf>, fabric: String, count: u32) -> Result<()> {
    let directory = tempfile::Builder::new().prefix("kddm-latency-").tempdir()?;
    interrupt::remove_in_the_end(directory.path());
    let mut cluster = None;
    let mounts = if mounts.is_empty() {
        let options = playground::Options { fabric: fabric.clone(), ..playground::Options::nodes(2) };
        let started =
            cluster.insert(playground::Playground::up(&directory.path().join("cluster"), &options)?);
        vec![started.mount(1), started.mount(2)]
    } else {
        mounts
    };
    let named = mounts.into_iter().enumerate().map(|(at, mount)| (format!("n{}", at + 1), mount));
    let native = native.unwrap_or_else(|| directory.path().to_owned());
    let mut report = Report::new(None);
    report.cases = fs_latency::run(&fs_latency::Options { native, nodes: named.collect(), fabric, count })?;
    publish(&report, "fs-latency")
}

fn measure_ring(count: u32, programs: u32, anywhere: bool) -> Result<()> {
    let directory = tempfile::Builder::new().prefix("kddm-ring-").tempdir()?;
    interrupt::remove_in_the_end(directory.path());
    let mut report = Report::new(None);
    report.cases = ring::run(directory.path(), count, !anywhere)?;
    publish(&report, "ring")?;
    let one = playground::Options::nodes(1);
    let playground = playground::Playground::up(&directory.path().join("idle"), &one)?;
    let idle = ring::idle(&playground, programs, Duration::from_secs(10))?;
    println!(
        "{} programs that do nothing: {:.2} % of a core, {:.1} KiB each",
        idle.programs,
        idle.cores * 100.0,
        idle.bytes as f64 / 1024.0
    );
    playground.down()
}

fn compare_fabrics(files: usize, laps: u32, source: Option<PathBuf>, dir: Option<PathBuf>) -> Result<()> {
    let dir = dir.unwrap_or_else(std::env::temp_dir);
    let directory = tempfile::Builder::new().prefix("kddm-fabrics-").tempdir_in(&dir);
    let directory = directory.with_context(|| format!("making a directory in {}", dir.display()))?;
    interrupt::remove_in_the_end(directory.path());
    let tree = tree::stage(source.as_deref(), &directory.path().join("tree"), files, 20 << 20)?;
    let mut report = Report::new(None);
    report.cases = tree::fabrics::run(directory.path(), &tree, laps, ["shm", "tcp"])?;
    publish(&report, "fabrics")
}

fn publish(report: &Report, name: &str) -> Result<()> {
    println!("{}\n{}", report.table(), report.write(name)?.display());
    Ok(())
}

fn alternate_once(sides: [PathBuf; 2], options: alternate::Options, expect_stale: bool) -> Result<()> {
    let begin = Instant::now();
    println!("seed {} (replay with --rounds {} --seed {})", options.seed, options.rounds, options.seed);
    let outcome = alternate::run([&sides[0], &sides[1]], options)?;
    outcome.findings.iter().for_each(|finding| println!("  {finding}"));
    println!(
        "rounds {}, looks {}, stale {}, errors {}, {:.1} s",
        outcome.rounds,
        outcome.looks,
        outcome.stale,
        outcome.errors,
        begin.elapsed().as_secs_f64()
    );
    match (expect_stale, outcome.stale) {
        (true, 0) => bail!("no stale read was seen where some must be"),
        (false, _) if !outcome.clean() => bail!("{} stale reads, {} errors", outcome.stale, outcome.errors),
        _ => Ok(()),
    }
}

fn tree_once([a, b]: [PathBuf; 2], files: usize, source: Option<PathBuf>) -> Result<()> {
    let staging = tempfile::Builder::new().prefix("kddm-tree-").tempdir()?;
    interrupt::remove_in_the_end(staging.path());
    let tree = tree::stage(source.as_deref(), &staging.path().join("tree"), files, 0)?;
    let name = format!("tree-{}", std::process::id());
    let result = tree::copy(&tree.path, &a.join(&name), tree.files)
        .and_then(|()| tree::compare(&tree.path, &b.join(&name), tree.files));
    let removed = std::fs::remove_dir_all(a.join(&name));
    let differences = result?;
    differences.iter().for_each(|difference| println!("  {difference}"));
    println!("files {}, bytes {}, differences {}", tree.files, tree.bytes, differences.len());
    ensure!(differences.is_empty(), "{} differences", differences.len());
    removed.context("removing the copy")
}
