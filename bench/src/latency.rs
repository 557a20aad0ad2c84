//! Latencies of objects between nodes, each a process of its own, beside their floors.
//!
//! ```text
//! rank 0  conducts, asks, writes the report   fabric (kDDM) ─┐ the same processes,
//! rank 1… do as they are told                 bare fabric   ─┘ in alternating blocks
//! ```
//!
//! `kddm-bench latency` starts all of them on this host, `kddm-bench latency-node` one of them on each host. docs/benchmarks.md
//! says what each case is.

mod cases;
mod conductor;
mod control;
mod crowd;
mod fabric;
mod floor;
mod here;
mod hits;
mod locks;
mod measure;
mod member;
mod node;
mod pattern;
mod pictures;
mod reference;
mod workloads;

pub use fabric::Kind;
pub use measure::Measured;
pub use pattern::Rank;

use crate::progress::Progress;
use crate::random::fresh_seed;
use crate::report::Report;
use anyhow::{Context, Result, ensure};
use conductor::Cluster;
use kddm_object::limits::MAX_NODES;
use measure::{Bench, Size};
use member::Place;
use pattern::Step::{Message, Read};
use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr, TcpListener};
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

/// Sizes of objects, bytes.
const SIZES: [u32; 2] = [4, 4096];
/// Where a node listens unless it is said otherwise; rank 0 conducts on the next port.
pub const PORT: u16 = 5340;
/// Blocks of hits, of 20,000 each.
const HIT_BLOCKS: usize = 101;

/// What is measured, and where.
#[derive(Clone, Debug, clap::Args)]
pub struct Options {
    /// What is between the nodes
    #[arg(long, value_enum, default_value_t = Kind::Tcp)]
    pub fabric: Kind,
    /// Samples of each case, about
    #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub count: u32,
    /// Few samples: shows that everything works, and measures nothing
    #[arg(long)]
    pub quick: bool,
    /// How long event loops, and floors, spin before they sleep, µs: for hosts with more cores than nodes
    #[arg(long, default_value_t = 0)]
    pub spin: u64,
    /// How long the nodes wait for each other, s
    #[arg(long, default_value_t = 30)]
    pub wait: u64,
    /// Where the report goes [default: target/report]
    #[arg(long)]
    pub out: Option<PathBuf>,
    /// What ib_read_lat, ib_send_lat and ib_read_bw printed on the same machines, in files of these names: to stand beside
    #[arg(long, value_name = "DIR")]
    pub perftest: Option<PathBuf>,
}

impl Options {
    fn size(&self) -> Size {
        match self.quick {
            true => Size { count: self.count.min(4), block: 4, warm: false },
            false => Size { count: self.count, block: 50, warm: true },
        }
    }

    fn patience(&self) -> Duration {
        Duration::from_secs(self.wait)
    }
}

/// The address of a node: `IP` or `IP:PORT`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Address(pub SocketAddr);

impl FromStr for Address {
    type Err = String;

    fn from_str(text: &str) -> Result<Address, String> {
        let whole = text.parse::<SocketAddr>().ok();
        let address = whole.or_else(|| Some(SocketAddr::new(text.parse::<IpAddr>().ok()?, PORT)));
        let address = address.ok_or_else(|| format!("{text:?} is neither IP nor IP:PORT"))?;
        match address.port() {
            0 | u16::MAX => Err(format!("{text:?}: this port and the next have to be ports")),
            _ => Ok(Address(address)),
        }
    }
}

/// Runs everything on this host, with a process for each of `nodes` nodes; writes the report. Each keeps to one processor, so that
/// ours and the floor are placed alike.
///
/// # Errors
/// If a node cannot be started, or anything fails.
pub fn run(nodes: Rank, options: &Options) -> Result<()> {
    let addresses = here::addresses(nodes)?;
    let listener = listen(&addresses)?;
    let others = here::Processes::start(&addresses, options)?;
    conduct(&listener, place(0, &addresses, true, options)?, options)?;
    others.end()
}

/// Is one node of a run: rank 0, which conducts and writes the report, or another, which does as it is told. `pin`: it keeps to
/// one processor, which follows from its rank.
///
/// # Errors
/// If somebody is not there, does not fit, or ends early, or anything fails.
pub fn run_node(rank: Rank, addresses: &[Address], pin: bool, options: &Options) -> Result<()> {
    let addresses: Vec<SocketAddr> = addresses.iter().map(|address| address.0).collect();
    let nodes = addresses.len();
    ensure!(
        usize::from(rank) < nodes,
        "--rank {rank}: with {nodes} addresses ranks go from 0 to {}",
        nodes - 1
    );
    ensure!(
        (2..=MAX_NODES).contains(&nodes),
        "--addresses: {nodes} of them; it takes from two nodes to {MAX_NODES}"
    );
    let different: BTreeSet<_> = addresses.iter().collect();
    ensure!(different.len() == nodes, "--addresses: one of them is there twice");
    let place = place(rank, &addresses, pin, options)?;
    match rank {
        0 => conduct(&listen(&addresses)?, place, options),
        _ => member::run(&place),
    }
}

fn place(rank: Rank, addresses: &[SocketAddr], pin: bool, options: &Options) -> Result<Place> {
    let (addresses, control) = (addresses.to_vec(), control(addresses)?);
    Ok(Place { rank, addresses, control, fabric: options.fabric, patience: options.patience(), pin })
}

fn control(addresses: &[SocketAddr]) -> Result<SocketAddr> {
    let first = addresses.first().context("--addresses is empty")?;
    Ok(SocketAddr::new(first.ip(), first.port() + 1))
}

fn listen(addresses: &[SocketAddr]) -> Result<TcpListener> {
    let control = control(addresses)?;
    TcpListener::bind(control).with_context(|| {
        format!("listening on {control}: the first of --addresses is to be this host's, and the port after it free")
    })
}

/// Rank 0: its own node is a member like the others.
fn conduct(listener: &TcpListener, place: Place, options: &Options) -> Result<()> {
    let directory = match &options.out {
        Some(directory) => directory.clone(),
        None => crate::report::directory()?,
    };
    std::fs::create_dir_all(&directory).with_context(|| format!("creating {}", directory.display()))?;
    let mut run = [0; 16];
    run[..8].copy_from_slice(&fresh_seed().to_le_bytes());
    run[8..].copy_from_slice(&fresh_seed().to_le_bytes());
    let own = place.clone();
    let member = std::thread::Builder::new().name("rank-0".into()).spawn(move || member::run(&own))?;
    let cluster = Cluster::gather(listener, &place, run, Duration::from_micros(options.spin))?;
    eprintln!("{} nodes have met over {}", cluster.nodes(), options.fabric.name());
    let mut report = Report::new(options.fabric.device(&place.addresses).as_deref());
    let (measured, left_out) = measure(&cluster, options)?;
    drop(cluster);
    member.join().ok().context("BUG: rank 0 panicked")??;
    report.cases = options.perftest.as_deref().map_or(Ok(Vec::new()), reference::rows)?;
    report.cases.extend(measured.iter().map(|measured| measured.case.clone()));
    report.left_out = left_out;
    println!("{}", report.table());
    report.left_out.iter().for_each(|case| println!("left out: {case}"));
    println!("{}", report.write_in(&directory, "latency")?.display());
    for path in pictures::draw(&measured, options.fabric, &directory)? {
        println!("{}", path.display());
    }
    Ok(())
}

/// All rows, and the cases that so few nodes cannot show.
fn measure(cluster: &Cluster, options: &Options) -> Result<(Vec<Measured>, Vec<String>)> {
    let size = options.size();
    let nodes = cluster.nodes();
    let specs: Vec<_> = SIZES.iter().flat_map(|&bytes| cases::all(nodes, bytes)).collect();
    let (there, missing): (Vec<_>, Vec<_>) = specs.into_iter().partition(|spec| spec.nodes <= nodes);
    let left_out: BTreeSet<String> = missing
        .iter()
        .map(|spec| format!("{} ({} nodes are needed, here are {nodes})", spec.name, spec.nodes))
        .collect();
    let holders: BTreeSet<Rank> = [2, nodes].into_iter().filter(|&holders| holders <= nodes).collect();

    let mut measured = hits::run(if options.quick { 3 } else { HIT_BLOCKS })?;
    let mut bench = Bench::new(cluster, options.fabric, size);
    let per_size = holders.len() + crowd::widths().count() + crowd::SHARING.len() + 1;
    let mut progress = Progress::new("latency", (there.len() + 2 + SIZES.len() * per_size) as u64);
    let mut add = |row: Result<Measured>| -> Result<()> {
        measured.push(row?);
        progress.step();
        Ok(())
    };
    let there_and_back = [Message(1, cases::wire::REQUEST), Message(0, cases::wire::GRANT)];
    add(bench.bare("bare message and back", cases::wire::REQUEST, &there_and_back.into()))?;
    for bytes in SIZES {
        add(bench.bare("bare READ", bytes, &vec![Read(1, bytes)]))?;
    }
    for spec in &there {
        add(bench.single(spec).with_context(|| format!("{}, {} B", spec.name, spec.bytes)))?;
    }
    for bytes in SIZES {
        for &holders in &holders {
            add(crowd::hand_over(&mut bench, holders, bytes))?;
        }
        for width in crowd::widths() {
            add(crowd::flight(&mut bench, width, bytes))?;
        }
        for percent in crowd::SHARING {
            add(crowd::mix(&mut bench, percent, bytes))?;
        }
    }
    add(crowd::range(&mut bench))?;
    Ok((measured, left_out.into_iter().collect()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_have_a_port_or_get_one() {
        let of = |text: &str| text.parse::<Address>().map(|address| address.0.to_string());
        assert_eq!(of("10.0.0.1").unwrap(), format!("10.0.0.1:{PORT}"));
        assert_eq!(of("10.0.0.1:77").unwrap(), "10.0.0.1:77");
        for wrong in ["", "host", "10.0.0.1:0", "10.0.0.1:65535", "10.0.0.1:x"] {
            assert!(of(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn hits_need_no_message_and_every_case_has_its_floor() {
        let rows = hits::run(3).unwrap();
        assert_eq!(rows.len(), 4);
        let good = |row: &Measured| row.case.ratio.is_some() && row.case.messages == Some(0.0);
        assert!(rows.iter().all(good));
    }
}
