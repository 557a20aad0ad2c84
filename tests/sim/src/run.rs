//! One seed, from beginning to end.

use crate::cluster::Cluster;
use crate::council::Council;
use crate::coverage::Counts;
use crate::faults::Troubles;
use crate::findings::Finding;
use crate::log::Log;
use crate::plan::Plan;
use crate::turn::{Driven, ready, turn};
use crate::world::World;
use crate::{membership, rest};
use fastrand::Rng;
use kddm_object::NodeId;
use std::sync::Arc;
use std::time::Duration;

/// What came of a seed in which nothing is wrong.
#[derive(Clone, Debug)]
pub struct Report {
    /// The number of all that happened.
    pub fingerprint: u64,
    /// How many events were logged.
    pub events: u64,
    /// Operations that the history has.
    pub operations: usize,
    /// What occurred.
    pub coverage: Counts,
    /// Simulated time.
    pub time: Duration,
}

/// So long nobody may wait once nothing is wrong any more.
const PATIENCE: Duration = Duration::from_secs(60);

/// So much happens in no round between two ends of operations.
const STEPS: u64 = 2_000_000;

/// Runs the plan of a seed.
///
/// # Errors
/// What is wrong.
pub fn run(plan: Plan, log: Log) -> Result<Report, Finding> {
    let seed = plan.seed;
    if log.is_shown() {
        println!("{plan:#?}");
    }
    let world = World::new(plan, log);
    let mut rng = Rng::with_seed(seed ^ 0x51);
    let cluster = Cluster::start(world.clone(), rng.fork());
    let views = world.plan.views;
    let council = views.map(|views| Council::found(world.clone(), rng.fork(), views, &cluster));
    let mut simulator = Simulator { world, cluster, council, rng, troubles: None };
    let result = simulator.live();
    simulator.end();
    result
}

struct Simulator {
    world: Arc<World>,
    cluster: Cluster,
    council: Option<Council>,
    rng: Rng,
    troubles: Option<Troubles>,
}

impl Simulator {
    fn live(&mut self) -> Result<Report, Finding> {
        self.troubles = Some(Troubles::none(self.world.clone(), self.rng.fork()));
        // With views, those who are to join do so under load.
        if self.council.is_none() {
            self.until_met()?;
        }
        let plan = self.world.plan.clone();
        for _ in 0..plan.rounds {
            let each = plan.think / 2 + plan.hold + plan.most_delay() * 6;
            let within = each * plan.operations;
            self.troubles = Some(Troubles::begin(self.world.clone(), self.rng.fork(), within));
            plan.members.iter().for_each(|&id| self.cluster.begin_programs(id, plan.operations));
            self.round()?;
        }
        self.cluster.look_at_all();
        self.round()?;
        let explored = self.world.history.lock().check();
        let explored = explored.map_err(|violation| Finding::Wrong(violation.to_string()))?;
        self.count();
        let world = &self.world;
        Ok(Report {
            fingerprint: world.log.fingerprint(),
            events: world.log.events(),
            operations: explored.operations,
            coverage: world.coverage.counts(),
            time: world.executor.now(),
        })
    }

    /// Programs run to their ends, faults come and go, all comes to rest.
    fn round(&mut self) -> Result<(), Finding> {
        let world = self.world.clone();
        self.until("programs end", |it| {
            world.executor.programs() == 0 && it.troubles_over() && (it.council.is_none() || it.have_met())
        })?;
        self.until_met()?;
        self.until("all is at rest", |it| {
            world.executor.chores() == 0 && world.network.next_at().is_none() && it.is_idle()
        })?;
        rest::check(&world, &self.cluster).map_err(Finding::Wrong)?;
        let plan = &world.plan;
        if plan.is_fair() {
            let judged =
                world.fairness.check(2 * plan.most_delay().as_nanos() as u64).map_err(Finding::Wrong)?;
            world.coverage.add("waited long enough to be overtaken", judged);
        }
        world.fairness.begin_round();
        for &from in &plan.members {
            plan.members.iter().for_each(|&to| world.network.slow(from, to, 1));
        }
        membership::is_whole(&world);
        world.log.note(world.executor.now(), 0, "at rest", || "all is at rest");
        Ok(())
    }

    fn until_met(&mut self) -> Result<(), Finding> {
        self.until("nodes meet", Simulator::have_met)
    }

    fn have_met(&self) -> bool {
        let met = |(id, _)| membership::has_met_all(&self.world, &self.cluster, id);
        let calm = self.council.as_ref().is_none_or(|council| council.is_calm(&self.cluster));
        self.cluster.away().is_empty() && calm && self.cluster.alive().all(met)
    }

    fn troubles_over(&self) -> bool {
        self.troubles.as_ref().is_none_or(|troubles| troubles.next_at().is_none())
    }

    /// Lets things happen until `done`.
    fn until(&mut self, what: &str, done: impl Fn(&Simulator) -> bool) -> Result<(), Finding> {
        let mut begun = self.world.executor.now();
        let mut steps = 0;
        loop {
            // Programs that have ended have no use for what goes wrong.
            if let (0, Some(troubles)) = (self.world.executor.programs(), &mut self.troubles) {
                troubles.only_repairs();
            }
            if done(self) {
                return self.world.findings.check();
            }
            self.world.findings.check()?;
            if !self.troubles_over() {
                begun = self.world.executor.now();
            }
            if self.world.got_on() > begun {
                (begun, steps) = (self.world.got_on(), 0);
            }
            steps += 1;
            let late = steps > STEPS || self.world.executor.now().saturating_sub(begun) > PATIENCE;
            if late || !self.step() {
                let why = if late { "nobody gets on" } else { "nothing is left to happen" };
                let state = rest::describe(&self.world, &self.cluster);
                return Err(Finding::Stall(format!("waiting until {what}, {why}:{state}")));
            }
        }
    }

    fn driven(&self) -> Vec<Driven<'_>> {
        self.cluster.alive().map(|(id, alive)| (id, alive.life, &alive.node)).collect()
    }

    fn is_idle(&self) -> bool {
        let (tasks, nodes) = ready(&self.world.executor, &self.world.network, &self.driven());
        tasks.is_empty() && nodes.is_empty()
    }

    /// Lets one thing happen; false if nothing is left.
    fn step(&mut self) -> bool {
        let world = self.world.clone();
        let fault = self.troubles.as_ref().and_then(Troubles::next_at);
        let council = self.council.as_ref().map(Council::next_at);
        let other = [fault, council].into_iter().flatten().min();
        let alive = self.cluster.alive();
        let nodes: Vec<Driven<'_>> = alive.map(|(id, alive)| (id, alive.life, &alive.node)).collect();
        let happened = turn(&world.executor, &world.network, &nodes, &mut self.rng, other);
        // Before they hear it: what they have of others goes then.
        for node in world.network.outlived() {
            membership::is_given_up(&world, &self.cluster, node);
        }
        if let Some(troubles) = &mut self.troubles {
            troubles.happen(&mut self.cluster, self.council.as_mut());
            if let Some(council) = &mut self.council {
                council
                    .happen(&self.cluster)
                    .into_iter()
                    .for_each(|gone| troubles.ends(gone, &mut self.cluster));
            }
        }
        happened
    }

    fn count(&self) {
        let (world, coverage) = (&self.world, &self.world.coverage);
        for (_, alive) in self.cluster.alive() {
            let status = alive.node.status();
            coverage.add("eviction", status.counts.evictions);
            coverage.add("READ issued", status.fabric.reads_issued);
            coverage.add("READ failed", status.fabric.reads_failed);
        }
        world.plan.members.iter().for_each(|&id| {
            coverage.add("fault: device failed", world.device(id).failures());
        });
    }

    fn end(&mut self) {
        let ids: Vec<NodeId> = self.cluster.alive().map(|(id, _)| id).collect();
        ids.into_iter().for_each(|id| self.cluster.end(id));
    }
}
