//! How fast the protocol's core is by itself: messages a second on one thread, and what they allocate.
//!
//! Cores hand their messages to each other directly; there is no fabric, no memory behind the slots, no lock. The time is that
//! of whole operations, with the local steps at their begin and end; a message is one that a core has handled.

mod workload;

use crate::allocations::counted;
use crate::progress::Progress;
use crate::report::{Case, Latencies};
use anyhow::{Context, Result, ensure};
use std::time::Instant;
use workload::{Plan, Workload};

/// How much is measured.
#[derive(Clone, Debug)]
pub struct Options {
    /// Rounds, each a block of every workload. The first is not counted.
    pub rounds: usize,
    /// Objects in the largest workload.
    pub objects: u32,
    /// Only workloads with this in their names.
    pub case: String,
}

/// What one workload has come to.
struct Measured {
    workload: Workload,
    times: Latencies,
    /// Of the fastest block: seconds for an operation and for a message.
    best: [f64; 2],
    operations: u64,
    messages: u64,
    reads: u64,
    /// READs beside requests, and those that were good.
    posted: u64,
    good: u64,
    allocated: Option<u64>,
}

/// All workloads in turn, round after round, so that a slow moment of the machine meets all of them.
///
/// # Errors
/// If an operation failed.
pub fn run(options: Options) -> Result<Vec<Case>> {
    let wanted = |workload: &Workload| workload.name().contains(&options.case);
    let mut all: Vec<Measured> =
        workload::all(options.objects).into_iter().filter(wanted).map(Measured::new).collect();
    ensure!(!all.is_empty(), "no workload has {:?} in its name", options.case);
    let mut progress = Progress::new("the core alone", options.rounds as u64 + 1);
    for round in 0..=options.rounds {
        for measured in &mut all {
            measured.block(round > 0).with_context(|| measured.workload.name())?;
        }
        progress.step();
    }
    Ok(all.iter().map(Measured::case).collect())
}

impl Measured {
    fn new(workload: Workload) -> Measured {
        Measured {
            workload,
            times: Latencies::default(),
            best: [f64::INFINITY; 2],
            operations: 0,
            messages: 0,
            reads: 0,
            posted: 0,
            good: 0,
            allocated: counted().map(|_| 0),
        }
    }

    /// One block; the first ones make tables and lines as large as they will be.
    fn block(&mut self, counts: bool) -> Result<()> {
        let Plan { before, evicted, timed } = self.workload.plan();
        let cores = &mut self.workload.cores;
        for act in before {
            cores.touch(act.node, act.key, act.hold)?;
        }
        for (node, key) in evicted {
            cores.evict(node, key);
        }
        let (traffic, speculations, heap) = (cores.traffic(), cores.speculations(), counted());
        let begin = Instant::now();
        for act in &timed {
            cores.touch(act.node, act.key, act.hold)?;
        }
        let time = begin.elapsed();
        if !counts {
            return Ok(());
        }
        let traffic = cores.traffic().since(traffic);
        let speculated = cores.speculations();
        self.posted += speculated.posted - speculations.posted;
        self.good += speculated.good - speculations.good;
        self.times.add_block(time, timed.len() as u32);
        let each = |count: u64| time.as_secs_f64() / count.max(1) as f64;
        let now = [each(timed.len() as u64), each(traffic.messages)];
        self.best = [self.best[0].min(now[0]), self.best[1].min(now[1])];
        self.operations += timed.len() as u64;
        self.messages += traffic.messages;
        self.reads += traffic.reads;
        if let (Some(sum), Some(before), Some(after)) = (&mut self.allocated, heap, counted()) {
            // The question itself has cost a byte.
            *sum += after.since(before).allocated.saturating_sub(1);
        }
        Ok(())
    }

    fn case(&self) -> Case {
        let each = |sum: u64| sum as f64 / self.operations.max(1) as f64;
        Case {
            nodes: Some(self.workload.nodes.into()),
            sharers: self.workload.sharers(),
            bytes: Some(self.workload.bytes.into()),
            count: self.operations,
            ops_s: Some(1.0 / self.best[0]),
            messages_s: (self.messages > 0).then(|| 1.0 / self.best[1]),
            messages: Some(each(self.messages)),
            reads: Some(each(self.reads)),
            speculated: (self.posted > 0).then(|| each(self.posted)),
            good: (self.posted > 0).then(|| self.good as f64 / self.posted as f64),
            allocated: self.allocated.map(each),
            ..Case::new(self.workload.name(), &self.times)
        }
    }
}
