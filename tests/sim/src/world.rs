//! What everybody in a run shares: time, network, and the records of what is done.

use crate::coverage::Coverage;
use crate::device::Device;
use crate::executor::Executor;
use crate::fairness::Fairness;
use crate::findings::Findings;
use crate::log::Log;
use crate::plan::Plan;
use fastrand::Rng;
use kddm_fabric::sim::SimNetwork;
use kddm_history::{History, Mode, Who};
use kddm_object::{NodeId, ObjectKey};
use parking_lot::Mutex;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

/// The world of one seed.
pub struct World {
    /// What the seed stands for.
    pub plan: Plan,
    /// Time, tasks, jobs.
    pub executor: Executor,
    /// The network.
    pub network: SimNetwork,
    /// What happened.
    pub log: Log,
    /// What is wrong.
    pub findings: Findings,
    /// What programs did and saw.
    pub history: Mutex<History<ObjectKey>>,
    /// What occurred.
    pub coverage: Coverage,
    /// Who had to wait for whom.
    pub fairness: Fairness,
    /// Who has what.
    pub ledger: Mutex<Ledger>,
    devices: Vec<Arc<Device>>,
    values: AtomicU64,
    holds: AtomicU64,
    /// Views decided on; and how many of them all members had settled in.
    views: (AtomicU32, AtomicU32),
    /// When an operation of a program ended last, in nanoseconds.
    progress: AtomicU64,
}

/// Who has what, and what was lost in this round.
#[derive(Default)]
pub struct Ledger {
    /// Every object that anybody has used, with its home.
    pub homes: BTreeMap<ObjectKey, NodeId>,
    /// What threads hold or ask for, as often.
    pub busy: BTreeMap<(Who, ObjectKey), u32>,
    /// What threads hold, as often.
    pub held: BTreeMap<(Who, ObjectKey), u32>,
    /// Objects of which a node, in its present life, may have or have had the only copy.
    pub owned: BTreeMap<NodeId, BTreeSet<ObjectKey>>,
    /// Objects of which a node, in its present life, may have had a copy. After a loss any copy may be the only one.
    pub seen: BTreeMap<NodeId, BTreeSet<ObjectKey>>,
    /// Objects that a loss may have touched.
    pub lossy: BTreeSet<ObjectKey>,
    /// Nodes that others may have given up, while their programs run on.
    pub suspects: BTreeSet<NodeId>,
    /// Objects of which nothing is promised until all is at rest.
    pub blurred: BTreeSet<ObjectKey>,
    /// Holds that count, by number.
    pub holds: BTreeMap<u64, (Who, ObjectKey, Mode)>,
    /// Nodes that were expelled, or are about to end: what their present lives do counts no more.
    pub out: BTreeSet<NodeId>,
    /// Nodes that leave in good order: their programs begin nothing new.
    pub departing: BTreeSet<NodeId>,
    /// Some node was lost once.
    pub ever_lost: bool,
    /// A node was lost in this round, so that what needs it may fail.
    pub troubled: bool,
}

impl World {
    /// The world of `plan`, at its beginning.
    pub fn new(plan: Plan, log: Log) -> Arc<World> {
        let mut rng = Rng::with_seed(plan.seed ^ 0xdef1ce);
        let percent = plan.faults.device_percent;
        let devices = plan.members.iter().map(|_| Device::new(percent, rng.fork())).collect();
        Arc::new(World {
            executor: Executor::default(),
            network: SimNetwork::new(plan.network),
            log,
            findings: Findings::default(),
            history: Mutex::default(),
            coverage: Coverage::default(),
            fairness: Fairness::default(),
            ledger: Mutex::default(),
            devices,
            values: AtomicU64::new(0),
            holds: AtomicU64::new(0),
            views: Default::default(),
            progress: AtomicU64::new(0),
            plan,
        })
    }

    /// A value that nobody has written yet.
    pub fn next_value(&self) -> u64 {
        self.values.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// The newest view, and whether all members have settled in it.
    pub fn view(&self, number: u32, settled: bool) {
        self.views.0.store(number, Ordering::Relaxed);
        if settled {
            self.views.1.store(number, Ordering::Relaxed);
        }
    }

    /// How many views have begun; at every member, or at any.
    pub fn views_begun(&self, everywhere: bool) -> u32 {
        if everywhere { &self.views.1 } else { &self.views.0 }.load(Ordering::Relaxed)
    }

    /// The number of the next hold.
    pub fn next_hold(&self) -> u64 {
        self.holds.fetch_add(1, Ordering::Relaxed)
    }

    /// What of a node outlives it. Members are numbered from 1.
    pub fn device(&self, node: NodeId) -> &Arc<Device> {
        &self.devices[usize::from(node.get()) - 1]
    }

    /// An operation of a program has ended, one way or the other.
    pub fn get_on(&self) {
        self.progress.store(self.time(), Ordering::Relaxed);
    }

    /// When one ended last.
    pub fn got_on(&self) -> Duration {
        Duration::from_nanos(self.progress.load(Ordering::Relaxed))
    }

    /// Nanoseconds since the beginning.
    pub fn time(&self) -> u64 {
        self.executor.now().as_nanos() as u64
    }

    /// Notes what a program does.
    pub fn tell(&self, who: Who, key: ObjectKey, what: &str, value: u64) {
        let line = || format!("thread {} {what} {key:?} ({value})", who.thread);
        self.log.note(self.executor.now(), who.node, (who, key, what, value), line);
    }

    /// Stops promising anything about an object until the round's end.
    pub fn blur(&self, ledger: &mut Ledger, key: ObjectKey) {
        if ledger.blurred.insert(key) {
            self.history.lock().blur(key);
        }
    }
}

impl Ledger {
    /// A node begins a new life.
    pub fn begins(&mut self, node: NodeId) {
        self.out.remove(&node);
        self.departing.remove(&node);
    }

    /// Adds one to, or takes one from, what `who` has.
    pub fn count(counts: &mut BTreeMap<(Who, ObjectKey), u32>, who: Who, key: ObjectKey, more: bool) {
        let count = counts.entry((who, key)).or_default();
        *count = if more { *count + 1 } else { count.saturating_sub(1) };
        if *count == 0 {
            counts.remove(&(who, key));
        }
    }
}
