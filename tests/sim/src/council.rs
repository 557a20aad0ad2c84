//! Who decides on views, in plans that have them: a council that every node reaches unless it is cut off, and that keeps to what
//! docs/protocol.md asks of it.
//!
//! It lends leases and takes those into the next view who ask for it, leaves out those who died, and those whom it cannot reach: at
//! once, or when their lease has run out. A view is fenced when no living node outside it has a lease or does not know that it
//! is outside. What it says takes time, and nodes that stand still hear it later.

use crate::cluster::{Alive, Cluster};
use crate::membership;
use crate::plan::ViewPlan;
use crate::world::World;
use fastrand::Rng;
use kddm_object::{Incarnation, NodeId};
use kddm_rdma::{Member, Standing, View, ViewId};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

type Life = (NodeId, Incarnation);

/// A process that is to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Gone {
    /// It knows that it was expelled.
    Expelled(NodeId),
    /// It has left in good order.
    Left(NodeId),
}

/// The council.
pub struct Council {
    world: Arc<World>,
    rng: Rng,
    plan: ViewPlan,
    number: u32,
    members: Vec<Member>,
    /// Lives that are or were members: none becomes one again.
    known: BTreeSet<Life>,
    /// Until when each life may use what it has. Lives that are over, or know that they were expelled, have no lease.
    leases: BTreeMap<Life, Duration>,
    /// What each life has heard of: the newest view, and the newest that is fenced.
    heard: BTreeMap<Life, (ViewId, ViewId)>,
    /// Nodes that nobody reaches until then.
    cut_off: BTreeMap<NodeId, Duration>,
    letters: BTreeMap<(Duration, u32), (Life, Letter)>,
    written: u32,
    look_at: Duration,
}

enum Letter {
    Lease(Duration),
    View(View),
    Fenced(ViewId),
}

impl Council {
    /// That of a new cluster: the first view has the founders.
    pub fn found(world: Arc<World>, rng: Rng, plan: ViewPlan, cluster: &Cluster) -> Council {
        let founders = cluster.alive().take(plan.founders);
        let members: Vec<Member> = founders.map(|(node, alive)| member(node, alive)).collect();
        Council {
            known: members.iter().map(|member| (member.node, member.life)).collect(),
            world,
            rng,
            plan,
            number: 1,
            members,
            leases: BTreeMap::new(),
            heard: BTreeMap::new(),
            cut_off: BTreeMap::new(),
            letters: BTreeMap::new(),
            written: 0,
            look_at: Duration::ZERO,
        }
    }

    /// When it does something next.
    pub fn next_at(&self) -> Duration {
        let letter = self.letters.first_key_value().map(|(&(time, _), _)| time);
        letter.map_or(self.look_at, |time| time.min(self.look_at))
    }

    /// Until then the council and this node do not hear each other.
    pub fn cut_off(&mut self, node: NodeId, until: Duration) {
        let end = self.cut_off.entry(node).or_default();
        *end = until.max(*end);
    }

    /// A member begins to leave in good order, if others stay. False if it cannot.
    pub fn let_leave(&mut self, node: NodeId) -> bool {
        let stays = |member: &&Member| !member.leaving && member.node != node;
        let others = self.number > 1 && self.members.iter().any(|member| stays(&member));
        let Some(leaver) = self.members.iter_mut().find(|it| it.node == node && !it.leaving) else {
            return false;
        };
        leaver.leaving = others;
        if others {
            self.world.ledger.lock().departing.insert(node);
            self.decide("leaves", node);
        }
        others
    }

    /// Whether every process that lives is a member of the present view, which grants everywhere.
    pub fn is_calm(&self, cluster: &Cluster) -> bool {
        let settled = |alive: &Alive| {
            let standing = alive.node.membership().standing();
            let whole = standing.leased && standing.lost.is_empty();
            standing.view.0 == self.number && standing.settled && whole
        };
        let stays = |(id, alive): (NodeId, &Alive)| self.has(id, alive) && settled(alive);
        let now = self.world.executor.now();
        let reached = self.cut_off.values().all(|&until| until <= now);
        reached && cluster.alive().all(stays) && self.members.iter().all(|it| !it.leaving)
    }

    /// Lets happen what is due. Says whose processes are to end.
    pub fn happen(&mut self, cluster: &Cluster) -> Vec<Gone> {
        let now = self.world.executor.now();
        while let Some(entry) = self.letters.first_entry().filter(|entry| entry.key().0 <= now) {
            let (to, letter) = entry.remove();
            self.arrives(to, letter, cluster);
        }
        if self.look_at > now {
            return Vec::new();
        }
        self.look_at = now + self.plan.lease / 4;
        self.look(cluster)
    }

    fn arrives(&mut self, to: Life, letter: Letter, cluster: &Cluster) {
        let Some(alive) = self.reaches(to.0, cluster).filter(|alive| alive.incarnation == to.1) else {
            return;
        };
        let membership = alive.node.membership();
        let heard = self.heard.entry(to).or_default();
        match letter {
            Letter::Lease(until) => membership.lease(until),
            Letter::Fenced(view) => {
                heard.1 = heard.1.max(view);
                membership.fenced(view);
            }
            Letter::View(view) => {
                heard.0 = heard.0.max(view.id);
                if !view.members.iter().any(|member| (member.node, member.life) == to) {
                    membership::is_out(&self.world, cluster, to.0);
                    self.leases.remove(&to);
                }
                membership.adopt(view);
            }
        }
    }

    /// The process of a node, if the council and it hear each other.
    fn reaches<'a>(&self, node: NodeId, cluster: &'a Cluster) -> Option<&'a Alive> {
        let now = self.world.executor.now();
        let cut = self.cut_off.get(&node).is_some_and(|&until| now < until);
        cluster.get(node).filter(|alive| !cut && !self.world.executor.is_paused(alive.life))
    }

    fn has(&self, node: NodeId, alive: &Alive) -> bool {
        self.members.iter().any(|member| (member.node, member.life) == (node, alive.incarnation))
    }

    fn look(&mut self, cluster: &Cluster) -> Vec<Gone> {
        let ids = self.world.plan.members.clone();
        let mut gone = Vec::new();
        self.world.view(self.number, self.is_settled(cluster));
        for &id in &ids {
            self.look_at_process(id, cluster);
            if let Some(alive) = self.reaches(id, cluster) {
                gone.extend(self.look_at_standing(id, alive, cluster));
            }
        }
        self.try_fence(cluster);
        for &id in &ids {
            if let Some(alive) = self.reaches(id, cluster) {
                self.write(id, alive);
            }
        }
        gone
    }

    /// A member that died, or that nobody reaches, is left out of the next view.
    fn look_at_process(&mut self, id: NodeId, cluster: &Cluster) {
        let now = self.world.executor.now();
        let lives = |life: Life| cluster.get(id).is_some_and(|alive| alive.incarnation == life.1);
        self.leases.retain(|&life, _| life.0 != id || lives(life));
        let Some(member) = self.members.iter().find(|member| member.node == id) else { return };
        let life = (id, member.life);
        if !lives(life) {
            return self.leave_out(id, "died");
        }
        let ran_out = self.leases.get(&life).is_some_and(|&until| until <= now);
        if self.reaches(id, cluster).is_none() && (ran_out || self.rng.u8(0..8) == 0) {
            self.world.coverage.count(if ran_out {
                "view: lease ran out"
            } else {
                "view: expelled with a lease"
            });
            self.leave_out(id, "cannot be reached");
        }
    }

    fn look_at_standing(&mut self, id: NodeId, alive: &Alive, cluster: &Cluster) -> Option<Gone> {
        let Standing { view, expelled, drained, lost, .. } = alive.node.membership().standing();
        let life = (id, alive.incarnation);
        if expelled {
            self.world.coverage.count("view: expelled, and knows");
            return Some(Gone::Expelled(id));
        }
        if !self.has(id, alive) {
            // Before the first view is known everywhere, a second one would have nobody who knows the cluster.
            let begun = self.number > 1 || self.is_settled(cluster);
            if begun && self.known.insert(life) {
                self.world.coverage.count("view: joined");
                self.members.push(member(id, alive));
                self.members.sort_unstable_by_key(|member| member.node);
                self.decide("joins", id);
            }
            return None;
        }
        if view.0 == self.number && !lost.is_empty() {
            match lost.iter().find(|_| self.rng.bool()) {
                Some(other) => self.leave_out(other, "is not connected with another member"),
                None => self.decide("lost a connection", id),
            }
        }
        let leaving = self.members.iter().any(|member| member.node == id && member.leaving);
        let done = leaving && drained && self.world.executor.programs_of(alive.life) == 0;
        if done && self.is_settled(cluster) {
            self.world.coverage.count("view: left in good order");
            self.members.retain(|member| member.node != id);
            self.leases.remove(&life);
            self.heard.insert(life, (ViewId(self.number), ViewId(self.number)));
            self.decide("has left", id);
            return Some(Gone::Left(id));
        }
        None
    }

    /// Whether all members have heard that all homes of the present view grant.
    fn is_settled(&self, cluster: &Cluster) -> bool {
        self.members.iter().all(|member| {
            self.reaches(member.node, cluster).is_some_and(|alive| {
                let standing = alive.node.membership().standing();
                alive.incarnation == member.life && standing.view.0 == self.number && standing.settled
            })
        })
    }

    fn leave_out(&mut self, id: NodeId, why: &'static str) {
        self.members.retain(|member| member.node != id);
        self.world.ledger.lock().troubled = true;
        self.decide(why, id);
    }

    fn decide(&mut self, why: &'static str, about: NodeId) {
        self.number += 1;
        self.world.view(self.number, false);
        if self.members.iter().all(|member| member.leaving) {
            // Somebody has to keep the directories.
            self.members.iter_mut().for_each(|member| member.leaving = false);
        }
        let (number, members) = (self.number, &self.members);
        let now = self.world.executor.now();
        self.world.log.note(now, 0, (number, members.len(), about), || {
            format!("view {number}, because n{about} {why}: {members:?}")
        });
    }

    /// Nobody outside has a lease any more: what such nodes do counts no more.
    fn try_fence(&mut self, cluster: &Cluster) {
        let now = self.world.executor.now();
        let inside = |members: &[Member], life: Life| members.iter().any(|it| (it.node, it.life) == life);
        let outside: Vec<Life> =
            self.leases.keys().copied().filter(|&life| !inside(&self.members, life)).collect();
        for life in outside {
            if self.leases.get(&life).is_some_and(|&until| until <= now) {
                membership::is_out(&self.world, cluster, life.0);
                self.leases.remove(&life);
            }
        }
    }

    fn is_fenced(&self) -> bool {
        let inside = |life: &Life| self.members.iter().any(|it| (it.node, it.life) == *life);
        self.leases.keys().all(inside)
    }

    /// What this life has to hear.
    fn write(&mut self, id: NodeId, alive: &Alive) {
        let (life, member) = ((id, alive.incarnation), self.has(id, alive));
        let (view, fenced) = self.heard.get(&life).copied().unwrap_or_default();
        let number = ViewId(self.number);
        if member {
            let until = self.world.executor.now() + self.plan.lease;
            self.leases.insert(life, until);
            self.post(life, Letter::Lease(until));
        }
        if view < number && (member || self.known.contains(&life)) {
            let (members, founding) = (self.members.clone(), self.number == 1);
            self.post(life, Letter::View(View { id: number, members, founding }));
        }
        if member && fenced < number && self.is_fenced() {
            self.post(life, Letter::Fenced(number));
        }
    }

    fn post(&mut self, to: Life, letter: Letter) {
        let most = self.world.plan.most_delay().as_nanos() as u64 * 4;
        let time = self.world.executor.now() + Duration::from_nanos(self.rng.u64(0..=most));
        self.written += 1;
        self.letters.insert((time, self.written), (to, letter));
    }
}

fn member(node: NodeId, alive: &Alive) -> Member {
    Member { node, life: alive.incarnation, leaving: false }
}
