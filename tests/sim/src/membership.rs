//! Who belongs to the cluster, who decides that, and what is promised when a node is lost.
//!
//! This is the place where views are put in. As long as the view is the configured list, a loss is what each node's fabric
//! tells it, and the simulator keeps to what docs/assumptions.md asks for (N5, N9):
//!
//! - one node is away at a time, and it returns when its peers have noticed and nobody holds what has its home there;
//! - after the *end* of a process, objects that it was home of, or may have had the only copy of, may be what they were at
//!   any moment since their last sync, or lost;
//! - while a process is *given up alive*, it and the others go on with what each believes. Nothing is promised of the objects
//!   it was home of or had changed, nor of what it sees, until all is at rest.

use crate::cluster::Cluster;
use crate::world::World;
use kddm_history::Who;
use kddm_object::{NodeId, ObjectKey};
use std::collections::BTreeSet;

/// The objects that a node's end may change.
fn touched(world: &World, id: NodeId) -> BTreeSet<ObjectKey> {
    let ledger = world.ledger.lock();
    let at_home = ledger.homes.iter().filter(|(_, home)| **home == id).map(|(&key, _)| key);
    let owned = ledger.owned.get(&id).into_iter().flatten().copied();
    let left = ledger.seen.get(&id).into_iter().flatten().filter(|key| ledger.lossy.contains(key)).copied();
    // What it asks for it may be about to make.
    let busy = ledger.busy.keys().filter(|(who, _)| who.node == id.get()).map(|&(_, key)| key);
    at_home.chain(owned).chain(left).chain(busy).collect()
}

/// A process is about to end.
pub fn ends(world: &World, id: NodeId) {
    let who = Who { node: id.get(), thread: u8::MAX };
    let touched = touched(world, id);
    touched.iter().for_each(|&key| world.history.lock().loss(key, who));
    let mut ledger = world.ledger.lock();
    ledger.lossy.extend(touched);
    ledger.seen.remove(&id);
    ledger.troubled = true;
    ledger.owned.remove(&id);
}

/// A node that goes on living is about to be given up by others, or to give them up.
pub fn is_given_up(world: &World, id: NodeId) {
    let keys = touched(world, id);
    let mut ledger = world.ledger.lock();
    ledger.troubled = true;
    ledger.suspects.insert(id);
    let held = ledger.held.keys().filter(|(who, _)| who.node == id.get()).map(|&(_, key)| key);
    let keys: BTreeSet<ObjectKey> = keys.into_iter().chain(held.collect::<Vec<_>>()).collect();
    keys.into_iter().for_each(|key| world.blur(&mut ledger, key));
}

/// Whether a node may be lost now: nobody else is.
pub fn may_be_lost(world: &World, cluster: &Cluster, id: NodeId) -> bool {
    let all_met = cluster.alive().all(|(id, _)| has_met_all(world, cluster, id));
    let others = world.ledger.lock().suspects.iter().all(|&suspect| suspect == id);
    cluster.get(id).is_some() && cluster.away().is_empty() && all_met && others
}

/// Whether a node that has ended may return.
pub fn may_return(world: &World, cluster: &Cluster, id: NodeId) -> bool {
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
