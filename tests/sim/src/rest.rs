//! What must be so when nothing is left to happen.

use crate::cluster::Cluster;
use crate::world::World;
use kddm_memory::Arena;
use kddm_object::limits::SLOT_SIZES;
use kddm_object::{Mode, NodeId, ObjectKey, SlotId};
use std::collections::BTreeMap;

/// Conservation: every request has ended, every slot is free or a copy's, copies agree with each other.
///
/// # Errors
/// What is left over.
pub fn check(world: &World, cluster: &Cluster) -> Result<(), String> {
    let keys: Vec<ObjectKey> = world.ledger.lock().homes.keys().copied().collect();
    let mut copies: BTreeMap<ObjectKey, Vec<(NodeId, Mode)>> = BTreeMap::new();
    for (id, alive) in cluster.alive() {
        if !alive.node.is_quiet() {
            return Err(format!("node {id} is not at rest:{}", describe(world, cluster)));
        }
        for (slot, key) in tenants(&alive.arena) {
            if alive.arena.lookup(key) != Some(slot) {
                let state = describe(world, cluster);
                return Err(format!(
                    "node {id}: {slot:?} still belongs to {key:?}, though nobody finds it:{state}"
                ));
            }
        }
        for &key in &keys {
            let Some(word) = alive.node.dump(key).word else { continue };
            if word.held() || word.revoke() || word.mode() == Mode::None {
                return Err(format!("node {id}: the copy of {key:?} is left with {word:?}"));
            }
            copies.entry(key).or_default().push((id, word.mode()));
        }
    }
    for (key, copies) in copies {
        if copies.len() > 1 && copies.iter().any(|(_, mode)| *mode == Mode::Exclusive) {
            return Err(format!("{key:?} is exclusive beside other copies: {copies:?}"));
        }
    }
    Ok(())
}

/// The slots that are not free, and whose they are.
pub fn tenants(arena: &Arena) -> Vec<(SlotId, ObjectKey)> {
    let usage = arena.usage();
    let most = (usage.slab_bytes / SLOT_SIZES[0] as usize) as u16;
    let slots = (0..usage.slabs as u16).flat_map(|slab| (0..most).map(move |index| SlotId::new(slab, index)));
    slots.filter_map(|slot| Some((slot, arena.key_of(slot)?))).collect()
}

/// What the nodes know of the objects that somebody uses or waits for.
pub fn describe(world: &World, cluster: &Cluster) -> String {
    let (keys, busy) = {
        let ledger = world.ledger.lock();
        let busy: Vec<_> = ledger.busy.keys().copied().collect();
        let held: Vec<_> = ledger.held.keys().copied().collect();
        let mut keys: Vec<ObjectKey> = busy.iter().map(|&(_, key)| key).collect();
        if keys.is_empty() {
            keys.extend(ledger.homes.keys());
        }
        keys.sort_unstable();
        keys.dedup();
        (keys, format!("\n  waiting: {busy:?}\n  holding: {held:?}"))
    };
    let mut text = busy;
    for (id, alive) in cluster.alive() {
        let status = alive.node.status();
        let up: Vec<String> = status
            .peers
            .iter()
            .map(|peer| {
                format!("n{} {}", peer.node, peer.up.map_or("away".into(), |life| format!("life {life}")))
            })
            .collect();
        let quiet = if alive.node.is_quiet() { "quiet" } else { "not quiet" };
        text += &format!("\n  node {id}: {quiet}; peers {}", up.join(", "));
        for &key in keys.iter().take(12) {
            let dump = alive.node.dump(key);
            if dump.state != "nothing known" {
                text += &format!("\n    {key:?} (home {:?}): {} {:?}", dump.home, dump.state, dump.word);
            }
        }
    }
    text
}
