//! Ours and the floor in alternating blocks of one run, with what the fabrics moved.

use super::cases::{REQUESTER, Spec, Which};
use super::conductor::{Cluster, times};
use super::control::{Deed, Keys, Moved, Order, Times};
use super::fabric::Kind;
use super::pattern::{Program, Rank, Walk};
use crate::report::{Case, Latencies};
use anyhow::Result;
use std::time::Duration;

/// How much is measured.
#[derive(Clone, Copy, Debug)]
pub struct Size {
    /// Samples of each case, about.
    pub count: u32,
    /// Samples in a block.
    pub block: u32,
    /// Whether a block that does not count goes before.
    pub warm: bool,
}

/// A row, and the distributions behind it.
pub struct Measured {
    /// The row.
    pub case: Case,
    /// Ours.
    pub ours: Latencies,
    /// The floor's, where there is one.
    pub floor: Option<Latencies>,
    /// How often the floor was walked in a second.
    pub floor_ops_s: Option<f64>,
}

/// What is collected over the blocks of a case.
#[derive(Default)]
pub struct Samples {
    /// Ours.
    pub ours: Latencies,
    /// The floor's.
    pub floor: Latencies,
    /// What the fabrics moved for ours.
    pub moved: Moved,
    /// How many operations that was for.
    pub operations: u64,
    /// How long they took together, ns.
    pub all: u64,
    /// How long the floor took for all its walks, ns.
    pub floor_all: u64,
}

/// A cluster, and the numbers of objects that nobody has touched yet.
pub struct Bench<'a> {
    /// The nodes.
    pub cluster: &'a Cluster,
    /// The fabric between them.
    pub fabric: Kind,
    /// How much.
    pub size: Size,
    next: u32,
}

impl<'a> Bench<'a> {
    /// On `cluster`.
    pub fn new(cluster: &'a Cluster, fabric: Kind, size: Size) -> Bench<'a> {
        Bench { cluster, fabric, size, next: 0 }
    }

    /// Objects that nobody has touched.
    pub fn fresh(&mut self, home: Option<Rank>, bytes: u32, count: u32) -> Keys {
        let first = self.next;
        self.next += count;
        Keys { home, bytes, first, count }
    }

    /// Has `rank` do it to all of them.
    pub fn act(&self, rank: Rank, deed: Deed, keys: Keys) -> Result<()> {
        self.cluster.one(rank, &Order::Do(deed, keys)).map(drop)
    }

    /// Does something, and adds what was moved for it, until all nodes are at rest again.
    pub fn counted<R>(&self, samples: &mut Samples, work: impl FnOnce(&Cluster) -> Result<R>) -> Result<R> {
        let before = self.cluster.settle()?;
        let result = work(self.cluster)?;
        samples.moved = sum(samples.moved, self.cluster.settle()?, before);
        Ok(result)
    }

    /// Takes samples in blocks of about `count`, of which the first, that warms connections and caches up, does not count.
    ///
    /// # Errors
    /// Those of `take`.
    pub fn blocks(
        &mut self,
        count: u32,
        mut take: impl FnMut(&mut Bench<'a>, &mut Samples) -> Result<()>,
    ) -> Result<Samples> {
        if self.size.warm {
            take(self, &mut Samples::default())?;
        }
        let mut samples = Samples::default();
        for _ in 0..self.size.count.div_ceil(count).max(1) {
            take(self, &mut samples)?;
        }
        Ok(samples)
    }

    /// Measures one operation at a time.
    pub fn single(&mut self, spec: &Spec) -> Result<Measured> {
        let program = Program::of(&spec.walk, REQUESTER)?;
        let count = self.size.block;
        let samples = self.blocks(count, |bench, samples| {
            let keys = bench.fresh(Some(spec.home), spec.bytes, count);
            let others = bench.fresh(Some(spec.home), spec.bytes, count);
            for &(rank, deed, which) in &spec.before {
                bench.act(rank, deed, if which == Which::Measured { keys } else { others })?;
            }
            // One by one only where each needs something of its own just before.
            let parts = if spec.just_before.is_empty() { vec![keys] } else { keys.singles().collect() };
            for part in parts {
                for &(rank, deed) in &spec.just_before {
                    bench.act(rank, deed, part)?;
                }
                let order = Order::Time(spec.deed, part);
                let taken = bench.counted(samples, |cluster| times(cluster.one(REQUESTER, &order)?))?;
                samples.add(&taken);
            }
            bench.floor(samples, &program, count, 1)?;
            bench.forget(spec, keys, others)
        })?;
        let row = self.row(&spec.name, u64::from(spec.bytes), samples);
        let case = Case { home: Some(spec.place.into()), sharers: spec.sharers, ..row.case };
        Ok(Measured { case, ..row })
    }

    /// Removes what was touched, so that memory stays as full as it is.
    fn forget(&self, spec: &Spec, keys: Keys, others: Keys) -> Result<()> {
        if spec.deed != Deed::Remove {
            self.act(spec.home, Deed::Remove, keys)?;
        }
        if spec.before.iter().any(|&(_, _, which)| which == Which::Others) {
            self.act(spec.home, Deed::Remove, others)?;
        }
        Ok(())
    }

    /// What the bare fabric takes for `walk`: a row without anything of ours.
    pub fn bare(&self, name: &str, bytes: u32, walk: &Walk) -> Result<Measured> {
        let program = Program::of(walk, REQUESTER)?;
        let mut samples = Samples::default();
        self.floor(&mut Samples::default(), &program, self.size.block, 1)?;
        self.floor(&mut samples, &program, self.size.count, 1)?;
        let case = Case::new(name, &samples.floor).on("n1");
        let case = Case { fabric: Some(self.fabric.name().into()), bytes: Some(bytes.into()), ..case };
        Ok(Measured { case, ours: samples.floor, floor: None, floor_ops_s: None })
    }

    /// Adds `rounds` of the floor, `width` at a time.
    pub fn floor(&self, samples: &mut Samples, program: &Program, rounds: u32, width: u32) -> Result<()> {
        if !program.is_empty() {
            let taken = self.cluster.walk(program, rounds, width)?;
            taken.each.iter().for_each(|&time| samples.floor.add(Duration::from_nanos(time)));
            samples.floor_all += taken.all;
        }
        Ok(())
    }

    /// The row of what was collected.
    pub fn row(&self, name: &str, bytes: u64, samples: Samples) -> Measured {
        let Samples { ours, floor, moved, operations, floor_all, .. } = samples;
        let floor_ops_s = (floor_all > 0).then(|| floor.count() as f64 / (floor_all as f64 / 1e9));
        let each = |count: u64| Some((count as f64 / operations.max(1) as f64 * 100.0).round() / 100.0);
        let mut case = Case::new(name, &ours).on("n1").moving(bytes);
        if floor.count() > 0 {
            case = case.beside(self.fabric.floor(), &floor);
        }
        let speculated = moved.speculated > 0;
        let case = Case {
            fabric: Some(self.fabric.name().into()),
            messages: each(moved.sent),
            reads: each(moved.reads),
            speculated: each(moved.speculated).filter(|_| speculated),
            good: speculated.then(|| moved.good as f64 / moved.speculated as f64),
            ..case
        };
        Measured { case, ours, floor: Some(floor).filter(|floor| floor.count() > 0), floor_ops_s }
    }
}

impl Samples {
    /// Adds operations of ours.
    pub fn add(&mut self, taken: &Times) {
        taken.each.iter().for_each(|&time| self.ours.add(Duration::from_nanos(time)));
        self.operations += taken.each.len() as u64;
        self.all += taken.all;
    }
}

/// What there was, and what came between `before` and `after`.
fn sum(so_far: Moved, after: Moved, before: Moved) -> Moved {
    Moved {
        sent: so_far.sent + after.sent - before.sent,
        received: so_far.received + after.received - before.received,
        reads: so_far.reads + after.reads - before.reads,
        speculated: so_far.speculated + after.speculated - before.speculated,
        good: so_far.good + after.good - before.good,
        quiet: after.quiet,
    }
}
