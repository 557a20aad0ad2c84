//! `kddm bench`.

mod report;

use crate::{attach, outcome::with_codes};
use anyhow::{Context, Result};
use clap::Args;
use indicatif::ProgressBar;
use kdfs_client::{Session, Set, SetOptions};
use report::{Case, Report};
use std::{
    io::{Write, stdout},
    process::ExitCode,
    time::{Duration, Instant},
};

/// Quick figures of this node's ring, and of an object that goes to and fro between two nodes of this host.
///
/// In a set of its own, which is gone in the end: a round trip of the ring that asks for nothing; gets and grabs of an object that this
/// node has (hits); and, if two nodes of the cluster run here, grabs of an object that the other node has changed last. Times are
/// from the call until the hold, with its bytes, is the program's; puts are not counted in.
///
/// They are a first look. What is measured beside its floors, in the same run, is kddm-bench's (docs/benchmarks.md).
#[derive(Args, Debug)]
#[command(after_help = with_codes(EXAMPLES))]
pub struct Arguments {
    #[command(flatten)]
    node: attach::Node,
    /// How often each is done.
    #[arg(long, value_name = "N", default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(1..))]
    count: u32,
    /// Bytes of the objects, in several sets if there are several.
    #[arg(long, value_name = "BYTES", value_delimiter = ',', default_values_t = [64, 4096])]
    size: Vec<u32>,
    /// Look for an answer for up to so many microseconds before sleeping.
    #[arg(long, value_name = "MICROSECONDS")]
    spin: Option<u64>,
    /// Print JSON: {"commit", "host", "kernel", "cases": [{"case", "node", "bytes", "count", "min_us", "p50_us", …}]}.
    #[arg(long)]
    json: bool,
}

const EXAMPLES: &str = "\
Examples:
  kddm bench --dir /tmp/try                        the lowest node, and it and the next one
  kddm bench --dir /tmp/try --node 2               node 2 alone
  kddm bench --dir /tmp/try --spin 100             where a core is to spare
  kddm bench --dir /tmp/try --json | jq '.cases[] | {case, p50_us}'";

/// Measures, and prints.
pub fn run(arguments: &Arguments) -> Result<ExitCode> {
    let sessions = arguments.node.running(2)?;
    let first = &sessions[0];
    for session in &sessions {
        if let Some(spin) = arguments.spin {
            session.spin(Duration::from_micros(spin));
        }
    }
    let progress = ProgressBar::new(1 + 3 * arguments.size.len() as u64);
    let mut bench = Bench { count: arguments.count, report: Report::default(), progress };
    bench.take("round trip", first, None, || first.ping())?;
    for &size in &arguments.size {
        let scratch = Scratch::make(first, size)?;
        bench.hits(first, &scratch.set)?;
        if let Some(second) = sessions.get(1) {
            let set = second.open_set(&scratch.name).context("on the second node")?;
            bench.ping_pong([first, second], [&scratch.set, &set], arguments.node.fabric())?;
        }
    }
    bench.progress.finish_and_clear();
    if sessions.len() < 2 {
        bench.report.left_out.push("grab ping-pong: it takes two nodes of the cluster on this host".into());
    }
    let mut out = stdout().lock();
    match arguments.json {
        true => writeln!(out, "{}", serde_json::to_string_pretty(&bench.report)?)?,
        false => writeln!(out, "{}", bench.report)?,
    }
    Ok(ExitCode::SUCCESS)
}

struct Bench {
    count: u32,
    report: Report,
    progress: ProgressBar,
}

impl Bench {
    /// Times `what`, and adds the case.
    fn take<T>(
        &mut self,
        case: &str,
        on: &Session,
        bytes: Option<u32>,
        what: impl Fn() -> kdfs_client::Result<T>,
    ) -> Result<()> {
        // What happens for the first time is not what happens all the time.
        for _ in 0..self.count.min(100) {
            what()?;
        }
        let mut times = Vec::with_capacity(self.count as usize);
        for _ in 0..self.count {
            let begin = Instant::now();
            let got = what()?;
            times.push(begin.elapsed());
            drop(got);
        }
        self.add(Case::new(case, times).on(on.node().to_string(), bytes));
        Ok(())
    }

    fn hits(&mut self, session: &Session, set: &Set) -> Result<()> {
        let bytes = Some(set.object_size());
        self.take("get hit", session, bytes, || set.get(0))?;
        self.take("grab hit", session, bytes, || set.grab(0))
    }

    /// Each grab finds the object where the other node has changed it.
    fn ping_pong(&mut self, sessions: [&Session; 2], sets: [&Set; 2], fabric: Option<String>) -> Result<()> {
        let mut times = Vec::with_capacity(self.count as usize);
        for turn in 0..self.count + 20 {
            let begin = Instant::now();
            let mut guard = sets[turn as usize % 2].grab(1)?;
            let time = begin.elapsed();
            if let Some(byte) = guard.first_mut() {
                *byte = byte.wrapping_add(1);
            }
            guard.put()?;
            if turn >= 20 {
                times.push(time);
            }
        }
        let nodes = format!("{}, {}", sessions[0].node(), sessions[1].node());
        self.add(Case::new("grab ping-pong", times).on(nodes, Some(sets[0].object_size())).over(fabric));
        Ok(())
    }

    fn add(&mut self, case: Case) {
        self.report.cases.push(case);
        self.progress.inc(1);
    }
}

/// A set of our own, as long as it is needed.
struct Scratch {
    session: Session,
    name: String,
    set: Set,
}

impl Scratch {
    fn make(session: &Session, size: u32) -> Result<Scratch> {
        let name = format!("kddm-bench-{}-{}-{size}", session.node(), std::process::id());
        let set = session.create_set(&name, SetOptions::new(size))?;
        Ok(Scratch { session: session.clone(), name, set })
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if let Err(error) = self.session.destroy_set(&self.name) {
            eprintln!("kddm: set {:?} stays behind: {error}; kddm set destroy {0}", self.name);
        }
    }
}
