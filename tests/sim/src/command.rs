//! Many seeds, on all cores: what `kddm-sim` and the tests do.

use crate::coverage::Counts;
use crate::files;
use crate::findings::Finding;
use crate::log::Log;
use crate::plan::Plan;
use crate::run::{Report, run};
use anyhow::{Context, Result};
use clap::Parser;
use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, mpsc};
use std::time::{Duration, Instant};

/// Whole kDDM nodes in a simulated world, from seeds.
///
/// Each seed is a cluster of its own: nodes, sets, programs, and what goes wrong. Without --seed, the seeds in
/// tests/sim/regressions come first.
///
/// Exit status: 0 nothing found; 2 a wrong answer; 3 a stall, something that never ends; 4 a panic. With several findings, the
/// highest. 1 if the command itself failed.
#[derive(Clone, Debug, Parser)]
#[command(name = "kddm-sim")]
pub struct Command {
    /// How many seeds; as many as fit into --seconds if not given
    #[arg(long)]
    pub seeds: Option<u64>,
    /// The first seed
    #[arg(long)]
    pub seed: Option<u64>,
    /// Stop after so many seconds
    #[arg(long)]
    pub seconds: Option<u64>,
    /// Print every event (of one seed, as a rule)
    #[arg(long)]
    pub log: bool,
    /// Run every seed twice and compare all that has happened
    #[arg(long)]
    pub twice: bool,
    /// No seed has agreed views
    #[arg(long)]
    pub isolation: bool,
    /// The file system instead of objects: operations of all nodes beside a model, on partitions that end and begin again
    #[arg(long)]
    pub files: bool,
    /// Say what occurred
    #[arg(long)]
    pub coverage: bool,
    /// Simulations at a time; one a core if not given
    #[arg(long)]
    pub threads: Option<usize>,
}

/// What came of many seeds.
#[derive(Default)]
pub struct Outcome {
    /// Seeds run.
    pub seeds: u64,
    /// Operations explained.
    pub operations: u64,
    /// Simulated time.
    pub simulated: Duration,
    /// What occurred.
    pub coverage: Counts,
    /// What is wrong, by seed.
    pub findings: BTreeMap<u64, Finding>,
    /// Real time.
    pub took: Duration,
    shown: bool,
}

/// A seed in which something was wrong once, and what.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Regression {
    /// The seed.
    pub seed: u64,
    /// What was wrong.
    pub what: String,
}

/// The seeds in `tests/sim/regressions`.
///
/// # Errors
/// The file cannot be understood.
pub fn regressions() -> Result<Vec<Regression>> {
    const TEXT: &str = include_str!("../regressions");
    let lines = TEXT.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
    lines
        .map(|line| {
            let (seed, what) = line.split_once(' ').context("a seed and what was wrong with it")?;
            let seed = seed.parse().with_context(|| format!("tests/sim/regressions: {line}"))?;
            Ok(Regression { seed, what: what.trim().to_owned() })
        })
        .collect()
}

impl Command {
    /// Runs the seeds that were asked for.
    pub fn run(&self) -> Outcome {
        let first = self.seed.unwrap_or(0);
        let count =
            self.seeds.unwrap_or(if self.seed.is_some() && self.seconds.is_none() { 1 } else { u64::MAX });
        self.all(first..first.saturating_add(count), self.seconds)
    }

    /// Runs known seeds.
    pub fn regressions(&self, regressions: &[Regression]) -> Outcome {
        self.all(regressions.iter().map(|regression| regression.seed), None)
    }

    fn all(&self, seeds: impl Iterator<Item = u64> + Send, seconds: Option<u64>) -> Outcome {
        let begun = Instant::now();
        let cores = std::thread::available_parallelism().map_or(1, |cores| cores.get());
        let threads = if self.log { 1 } else { self.threads.unwrap_or(cores) };
        let seeds = Mutex::new(seeds);
        let (enough, done) = (AtomicBool::new(false), AtomicU64::new(0));
        let (reports, results) = mpsc::channel();
        let mut outcome = Outcome { shown: self.coverage, ..Outcome::default() };
        std::thread::scope(|scope| {
            for _ in 0..threads {
                let (reports, seeds, enough) = (reports.clone(), &seeds, &enough);
                scope.spawn(move || {
                    while !enough.load(Ordering::Relaxed) {
                        let next = seeds.lock().ok().and_then(|mut seeds| seeds.next());
                        let Some(seed) = next else { return };
                        if reports.send((seed, self.one(seed))).is_err() {
                            return;
                        }
                    }
                });
            }
            drop(reports);
            for (seed, result) in results {
                outcome.seeds += 1;
                match result {
                    Ok(report) => outcome.count(&report),
                    Err(finding) => {
                        println!("{finding}\nreplay: {}", self.replay(seed));
                        outcome.findings.insert(seed, finding);
                    }
                }
                let total = done.fetch_add(1, Ordering::Relaxed) + 1;
                if total % 1000 == 0 {
                    println!("{total} seeds, {} findings", outcome.findings.len());
                }
                let late = seconds.is_some_and(|seconds| begun.elapsed() >= Duration::from_secs(seconds));
                if late || outcome.findings.len() >= 50 {
                    enough.store(true, Ordering::Relaxed);
                }
            }
        });
        outcome.took = begun.elapsed();
        outcome
    }

    fn one(&self, seed: u64) -> Result<Report, Finding> {
        let once = || match self.files {
            true => caught(|| files::run(seed, Log::new(self.log))),
            false => run_caught(Plan::of(seed, self.isolation), Log::new(self.log)),
        };
        let report = once()?;
        if self.twice {
            let again = once()?;
            if (again.fingerprint, again.events) != (report.fingerprint, report.events) {
                return Err(Finding::Wrong(format!(
                    "two runs of one seed differ: {} events ({:x}), then {} ({:x})",
                    report.events, report.fingerprint, again.events, again.fingerprint
                )));
            }
        }
        Ok(report)
    }

    fn replay(&self, seed: u64) -> String {
        let isolation = if self.isolation { " --isolation" } else { "" };
        let files = if self.files { " --files" } else { "" };
        format!("cargo run -p kddm-sim -- --seed {seed}{isolation}{files} --log")
    }
}

/// Runs the plan of a seed; a panic is a finding, too.
///
/// # Errors
/// What is wrong.
pub fn run_caught(plan: Plan, log: Log) -> Result<Report, Finding> {
    caught(|| run(plan, log))
}

fn caught(run: impl FnOnce() -> Result<Report, Finding>) -> Result<Report, Finding> {
    catch_unwind(AssertUnwindSafe(run)).unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().cloned();
        let text = text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
        Err(Finding::Panic(text.unwrap_or_else(|| "without a word".to_owned())))
    })
}

impl Outcome {
    fn count(&mut self, report: &Report) {
        self.operations += report.operations as u64;
        self.simulated += report.time;
        for (what, times) in &report.coverage {
            *self.coverage.entry(what).or_default() += times;
        }
    }

    /// Takes what came of others, too.
    pub fn add(&mut self, other: Outcome) {
        self.seeds += other.seeds;
        self.operations += other.operations;
        self.simulated += other.simulated;
        self.took += other.took;
        self.shown |= other.shown;
        self.findings.extend(other.findings);
        for (what, times) in other.coverage {
            *self.coverage.entry(what).or_default() += times;
        }
    }

    /// Says what came of it.
    pub fn print(&self) {
        if self.shown {
            self.coverage.iter().for_each(|(what, times)| println!("{times:10} {what}"));
        }
        let each = self.seeds as f64 / self.took.as_secs_f64().max(1e-9);
        println!(
            "{} operations in {:.0} simulated seconds explained; {each:.0} seeds a second",
            self.operations,
            self.simulated.as_secs_f64()
        );
        println!("{} seeds, {} findings", self.seeds, self.findings.len());
    }

    /// The exit status.
    pub fn status(&self) -> u8 {
        self.findings.values().map(Finding::status).max().unwrap_or(0)
    }
}
