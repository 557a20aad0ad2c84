//! Who belongs to the cluster, who decides that, and what is promised when a node is lost.
//!
//! With agreed views (see `council`) nodes end, return, are expelled, join and leave at any time. When one is lost, any object of
//! which it had more than an ordinary copy, or the last one, or which it asked for, may be what it was at any moment, or lost; so may those of
//! which it is the fixed home; and whatever nobody has may count as lost. All else is as if nothing had happened.
//!
//! Where the view is the configured list, a loss is what each node's fabric tells it, and the simulator keeps to what
//! docs/assumptions.md asks for (N5, N9):
//!
//! - one node is away at a time, and it returns when its peers have noticed and nobody holds what has its home there;
//! - after the *end* of a process, objects that it was home of, or may have had the only copy of, may be what they were at
//!   any moment since their last sync, or lost;
//! - while a process is *given up alive*, it and the others go on with what each believes. Nothing is promised of the objects
//!   it was home of or had changed, nor of what it sees, until all is at rest.

use crate::cluster::{Alive, Cluster};
use crate::world::World;
use crate::{rest, sets};
use kddm_history::Who;
use kddm_object::{Mode, NodeId, ObjectKey};
use std::collections::BTreeSet;

/// The objects that a node's end may change.
fn touched(world: &World, cluster: &Cluster, id: NodeId) -> BTreeSet<ObjectKey> {
    // More than what its programs asked for: homes that are short of memory give it objects, too.
    let held = cluster.get(id).map_or_else(BTreeSet::new, |alive| more_than_copies(cluster, id, alive));
    let ledger = world.ledger.lock();
    let at_home = ledger.homes.iter().filter(|(_, home)| **home == id).map(|(&key, _)| key);
    let owned = ledger.owned.get(&id).into_iter().flatten().copied();
    let left = ledger.seen.get(&id).into_iter().flatten().filter(|key| ledger.lossy.contains(key)).copied();
    // What it asks for it may be about to make.
    let busy = ledger.busy.keys().filter(|(who, _)| who.node == id.get()).map(|&(_, key)| key);
    match world.plan.views {
        Some(_) => {
            at_home.filter(|key| !sets::is_moving(key.set)).chain(held).chain(left).chain(busy).collect()
        }
        None => at_home.chain(owned).chain(held).chain(left).chain(busy).collect(),
    }
}

/// The objects of which a node has more than a copy that others can do without. It need not know that: its home may have
/// chosen what it takes for an ordinary copy to be the one that stays.
fn more_than_copies(cluster: &Cluster, id: NodeId, alive: &Alive) -> BTreeSet<ObjectKey> {
    let has = |alive: &Alive, key| alive.node.dump(key).word.is_some_and(|word| word.mode() != Mode::None);
    let elsewhere = |key| cluster.alive().any(|(other, alive)| other != id && has(alive, key));
    let is_more = |key: &ObjectKey| {
        let dump = alive.node.dump(*key);
        let shared = dump.word.is_some_and(|word| word.mode() == Mode::Shared);
        !shared || !elsewhere(*key) || !dump.state.split("; ").any(|part| part == "copy")
    };
    rest::tenants(&alive.arena).into_iter().map(|(_, key)| key).filter(is_more).collect()
}

/// A process is about to end.
pub fn ends(world: &World, cluster: &Cluster, id: NodeId) {
    if world.ledger.lock().out.contains(&id) {
        return;
    }
    let who = Who { node: id.get(), thread: u8::MAX };
    let touched = touched(world, cluster, id);
    touched.iter().for_each(|&key| world.history.lock().loss(key, who));
    if world.plan.views.is_some() {
        let known: BTreeSet<ObjectKey> =
            world.ledger.lock().homes.keys().chain(&world.plan.objects).copied().collect();
        known.into_iter().for_each(|key| doubt(world, key, who));
    }
    let mut ledger = world.ledger.lock();
    ledger.ever_lost = true;
    ledger.lossy.extend(touched);
    ledger.seen.remove(&id);
    ledger.troubled = true;
    ledger.owned.remove(&id);
}

/// From now on an object that nobody has may count as lost.
pub fn doubt(world: &World, key: ObjectKey, who: Who) {
    if sets::can_be_lost(key.set) {
        world.history.lock().doubt(key, who);
    }
}

/// A node that lives was expelled, and knows it or has no lease any more: its holds are over, and what it has is gone.
pub fn is_out(world: &World, cluster: &Cluster, id: NodeId) {
    ends(world, cluster, id);
    let mut ledger = world.ledger.lock();
    if ledger.out.insert(id) {
        world.coverage.count("view: expelled alive");
    }
    ledger.holds.retain(|_, &mut (who, key, mode)| {
        let theirs = who.node == id.get();
        if theirs {
            world.coverage.count("hold outlived its lease");
            world.history.lock().holder_dies(key, who, mode);
        }
        !theirs
    });
}

/// A node that goes on living is about to be given up by others, or to give them up.
pub fn is_given_up(world: &World, cluster: &Cluster, id: NodeId) {
    let keys = touched(world, cluster, id);
    let mut ledger = world.ledger.lock();
    ledger.troubled = true;
    ledger.suspects.insert(id);
    let held = ledger.held.keys().filter(|(who, _)| who.node == id.get()).map(|&(_, key)| key);
    let keys: BTreeSet<ObjectKey> = keys.into_iter().chain(held.collect::<Vec<_>>()).collect();
    keys.into_iter().for_each(|key| world.blur(&mut ledger, key));
}

/// Whether a node may be lost now: nobody else is.
pub fn may_be_lost(world: &World, cluster: &Cluster, id: NodeId) -> bool {
    if world.plan.views.is_some() {
        return cluster.get(id).is_some();
    }
    let all_met = cluster.alive().all(|(id, _)| has_met_all(world, cluster, id));
    let others = world.ledger.lock().suspects.iter().all(|&suspect| suspect == id);
    cluster.get(id).is_some() && cluster.away().is_empty() && all_met && others
}

/// Whether a node that has ended may return.
pub fn may_return(world: &World, cluster: &Cluster, id: NodeId) -> bool {
    if world.plan.views.is_some() {
        return true;
    }
    let noticed = cluster.alive().all(|(peer, alive)| {
        let up = alive.node.status().peers.iter().any(|state| state.node == id && state.up.is_some());
        !up && !world.network.pending(peer)
    });
    let ledger = world.ledger.lock();
    let of_it = |key: &ObjectKey| ledger.homes.get(key) == Some(&id);
    noticed && !ledger.held.keys().any(|(_, key)| of_it(key))
}

/// Whether a node works: it knows of all that live, for what it asks may come from any of them.
pub fn has_met_all(world: &World, cluster: &Cluster, id: NodeId) -> bool {
    let Some(alive) = cluster.get(id) else { return false };
    let peers = alive.node.status().peers;
    let is_there = |other| peers.iter().any(|state| state.node == other && state.up.is_some());
    !world.network.pending(id) && cluster.alive().all(|(other, _)| other == id || is_there(other))
}

/// All is at rest and everybody is there: everything is promised again.
pub fn is_whole(world: &World) {
    let mut ledger = world.ledger.lock();
    let mut history = world.history.lock();
    history.close();
    for key in std::mem::take(&mut ledger.blurred) {
        history.clear(key);
    }
    ledger.suspects.clear();
    ledger.troubled = false;
}
