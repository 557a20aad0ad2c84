//! What goes wrong, when.

use crate::cluster::Cluster;
use crate::council::{Council, Gone};
use crate::executor::Life;
use crate::membership;
use crate::world::World;
use fastrand::Rng;
use kddm_object::NodeId;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// Something that happens to the cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Fault {
    /// A process ends at once.
    Kill,
    /// A process ends in good order.
    Leave,
    /// It is gone, after having left.
    Gone(NodeId, Life),
    /// It returns, as soon as it may.
    Return(NodeId),
    /// Its programs go on, as soon as it works.
    Work(NodeId),
    /// A node is not heard, does not hear, or both, until it is given up and longer.
    Lose,
    /// A node leaves in good order, under load.
    Depart,
    /// A link is cut for a moment.
    Cut,
    /// A process stands still for a moment.
    Stop,
    /// It goes on.
    Resume(NodeId, Life),
    /// Links work again.
    Heal(NodeId, NodeId),
    /// A link is slow for the rest of the round.
    Slow,
}

/// What is going to go wrong in a round, and to get right again.
pub struct Troubles {
    world: Arc<World>,
    rng: Rng,
    agenda: BTreeMap<(Duration, u32), Fault>,
    number: u32,
}

impl Troubles {
    /// None yet.
    pub fn none(world: Arc<World>, rng: Rng) -> Troubles {
        Troubles { world, rng, agenda: BTreeMap::new(), number: 0 }
    }

    /// Those of the next round, within about `within`.
    pub fn begin(world: Arc<World>, rng: Rng, within: Duration) -> Troubles {
        let mut troubles = Troubles::none(world, rng);
        let faults = troubles.world.plan.faults;
        let all = [
            ([Fault::Kill, Fault::Leave], faults.ends),
            ([Fault::Lose; 2], faults.losses),
            ([Fault::Depart; 2], faults.departs),
            ([Fault::Cut; 2], faults.cuts),
            ([Fault::Stop; 2], faults.stops),
            ([Fault::Slow; 2], faults.slow),
        ];
        for (kinds, times) in all {
            for _ in 0..times {
                let time = Duration::from_nanos(troubles.rng.u64(0..=within.as_nanos() as u64));
                let kind = kinds[troubles.rng.usize(0..2)];
                troubles.at(troubles.world.executor.now() + time, kind);
            }
        }
        troubles
    }

    /// When the next comes.
    pub fn next_at(&self) -> Option<Duration> {
        self.agenda.first_key_value().map(|(&(time, _), _)| time)
    }

    /// Nothing new goes wrong: only what gets right again is left.
    pub fn only_repairs(&mut self) {
        let repair = |fault: &Fault| {
            matches!(
                fault,
                Fault::Gone(..) | Fault::Return(_) | Fault::Work(_) | Fault::Resume(..) | Fault::Heal(..)
            )
        };
        self.agenda.retain(|_, fault| repair(fault));
    }

    /// Lets happen what is due.
    pub fn happen(&mut self, cluster: &mut Cluster, mut council: Option<&mut Council>) {
        while let Some(entry) = self.agenda.first_entry() {
            if entry.key().0 > self.world.executor.now() {
                return;
            }
            let fault = entry.remove();
            self.one(fault, cluster, council.as_deref_mut());
        }
    }

    /// A process ends because the council says so, and returns.
    pub fn ends(&mut self, gone: Gone, cluster: &mut Cluster) {
        let node = match gone {
            Gone::Expelled(node) => node,
            Gone::Left(node) => {
                cluster.leave(node);
                node
            }
        };
        cluster.end(node);
        let away = self.within(1, 50_000);
        self.at(self.world.executor.now() + away, Fault::Return(node));
    }

    fn one(&mut self, fault: Fault, cluster: &mut Cluster, council: Option<&mut Council>) {
        let (world, now) = (self.world.clone(), self.world.executor.now());
        let members = world.plan.members.clone();
        let victim = members[self.rng.usize(0..members.len())];
        let other = members[self.rng.usize(0..members.len())];
        match fault {
            Fault::Kill if membership::may_be_lost(&world, cluster, victim) => {
                world.coverage.count("fault: killed");
                membership::ends(&world, cluster, victim);
                cluster.end(victim);
                let away = self.within(1, 50_000);
                self.at(now + away, Fault::Return(victim));
            }
            Fault::Leave if membership::may_be_lost(&world, cluster, victim) => {
                world.coverage.count("fault: left");
                membership::ends(&world, cluster, victim);
                cluster.leave(victim);
                let gone = self.within(0, 1_000);
                let life = cluster.get(victim).map_or(Life(0), |alive| alive.life);
                self.at(now + gone, Fault::Gone(victim, life));
            }
            Fault::Gone(node, life) if cluster.get(node).is_some_and(|alive| alive.life == life) => {
                membership::ends(&world, cluster, node);
                cluster.end(node);
                let away = self.within(1, 50_000);
                self.at(now + away, Fault::Return(node));
            }
            Fault::Return(node) if cluster.get(node).is_some() => {}
            Fault::Return(node) if membership::may_return(&world, cluster, node) => {
                world.coverage.count("fault: returned");
                cluster.begin(node);
                self.at(now, Fault::Work(node));
            }
            Fault::Work(node)
                if world.plan.views.is_some() || membership::has_met_all(&world, cluster, node) =>
            {
                cluster.begin_programs(node, world.plan.operations / 2);
            }
            Fault::Work(node) if cluster.get(node).is_some() => {
                self.at(now + Duration::from_micros(100), fault)
            }
            Fault::Return(_) => self.at(now + Duration::from_millis(2), fault),
            Fault::Lose if membership::may_be_lost(&world, cluster, victim) && members.len() > 1 => {
                world.coverage.count("fault: lost, alive");
                let silence = world.plan.network.silence;
                let mut until = now + silence + self.within(0, 2_000_000);
                if let Some(council) = council {
                    // With views it may be over before anybody has noticed.
                    let most = [50_000, 1_000_000, 6_000_000][self.rng.usize(0..3)];
                    until = now + self.within(1, most);
                    council.cut_off(victim, until);
                    if self.rng.u8(0..4) == 0 {
                        return; // its peers reach it all the same
                    }
                } else {
                    membership::is_given_up(&world, cluster, victim);
                }
                let (deaf, dumb) = [(true, true), (true, false), (false, true)][self.rng.usize(0..3)];
                for &peer in members.iter().filter(|&&peer| peer != victim) {
                    // They meet one after the other.
                    let until = until + self.within(0, 20_000);
                    if dumb {
                        self.cut(victim, peer, until);
                    }
                    if deaf {
                        self.cut(peer, victim, until);
                    }
                }
            }
            Fault::Depart if victim != members[0] && council.is_some_and(|it| it.let_leave(victim)) => {
                world.coverage.count("fault: leaves in good order");
            }
            Fault::Cut if victim != other => {
                let silence = world.plan.network.silence.as_micros() as u64;
                // With views, two members may lose each other.
                let longest = if world.plan.views.is_some() { silence * 2 } else { silence / 2 };
                let most = [1_000, 100_000, longest][self.rng.usize(0..3)];
                let until = now + self.within(1, most);
                self.cut(victim, other, until);
                if self.rng.bool() {
                    self.cut(other, victim, until);
                    world.coverage.count("fault: link cut");
                } else {
                    world.coverage.count("fault: link cut one way");
                }
            }
            Fault::Stop => {
                if let Some(alive) = cluster.get(victim).filter(|alive| !world.executor.is_paused(alive.life))
                {
                    world.coverage.count("fault: process stopped");
                    world.executor.pause(alive.life, true);
                    let mosts = [1_000, 100_000, 1_000_000];
                    let most = mosts[self.rng.usize(0..if world.plan.views.is_some() { 3 } else { 2 })];
                    let time = self.within(1, most);
                    self.at(now + time, Fault::Resume(victim, alive.life));
                }
            }
            Fault::Resume(_, life) => world.executor.pause(life, false),
            Fault::Heal(from, to) => world.network.heal(from, to),
            Fault::Slow if victim != other => {
                world.coverage.count("fault: link slow");
                world.network.slow(victim, other, self.rng.u32(2..=30));
            }
            _ => return,
        }
        world.log.note(now, 0, (fault, victim, other), || format!("{fault:?} (n{victim}, n{other})"));
    }

    fn cut(&mut self, from: NodeId, to: NodeId, until: Duration) {
        self.world.network.cut(from, to);
        self.at(until, Fault::Heal(from, to));
    }

    fn within(&mut self, least: u64, most: u64) -> Duration {
        Duration::from_micros(self.rng.u64(least..=most))
    }

    fn at(&mut self, time: Duration, fault: Fault) {
        self.number += 1;
        self.agenda.insert((time, self.number), fault);
    }
}
