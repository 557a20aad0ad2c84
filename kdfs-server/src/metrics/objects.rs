//! kddm_…: objects, messages, READs, memory.

use super::exposition::{Labels, Page, alone, label};
use kddm_memory::{Holds, Usage};
use kddm_rdma::{
    NodeStatus,
    figures::{Figures, OperationKind, Outcome},
};
use std::fmt;

pub fn write(figures: &Figures, holds: &Holds, page: &mut Page<'_>) -> fmt::Result {
    operations(figures, page)?;
    messages(figures, page)?;
    reads(figures, page)?;
    linkers(figures, page)?;
    peers(&figures.status, page)?;
    arena(&figures.status.memory, figures, page)?;
    page.gauge(
        "kddm_holds",
        "Holds now, by kind",
        [(label("hold", "shared"), holds.shared), (label("hold", "exclusive"), holds.exclusive)],
    )?;
    page.gauge(
        "kddm_contended_objects",
        "Objects held here for whose holds' end somebody waits",
        alone(holds.revoked),
    )
}

fn operations(figures: &Figures, page: &mut Page<'_>) -> fmt::Result {
    let all = || {
        let ends = |kind: OperationKind| Outcome::ALL.iter().map(move |outcome| (kind, *outcome));
        OperationKind::ALL
            .iter()
            .flat_map(move |kind| ends(*kind))
            .filter(|(kind, outcome)| kind.can_end(*outcome))
    };
    let labels = |kind: OperationKind, outcome: Outcome| -> Labels {
        vec![("operation", kind.name().into()), ("outcome", outcome.name().into())]
    };
    page.counter(
        "kddm_operations",
        "Operations that have ended, by kind and outcome",
        all().map(|(kind, outcome)| (labels(kind, outcome), figures.count(kind, outcome))),
    )?;
    page.durations(
        "kddm_operation_duration_seconds",
        "How long operations took that were no hits, by kind and outcome",
        all()
            .filter(|(_, outcome)| *outcome != Outcome::Hit)
            .map(|(kind, outcome)| (labels(kind, outcome), figures.times(kind, outcome))),
    )?;
    page.gauge(
        "kddm_operations_waiting",
        "Operations that have begun and not ended",
        alone(figures.waiting),
    )?;
    let results = figures.families.iter().flat_map(|family| {
        let failed = family.failed();
        [("hit", family.hits), ("miss", family.misses() - failed), ("failed", failed)]
            .map(|(result, count)| (vec![("set", family.name.clone()), ("result", result.into())], count))
    });
    page.counter("kddm_set_operations", "Operations by kind of set; hits are estimated from samples", results)
}

fn messages(figures: &Figures, page: &mut Page<'_>) -> fmt::Result {
    let by_kind = |count: fn(&(u64, u64)) -> u64| {
        figures
            .messages
            .iter()
            .map(move |(kind, sent, received)| (label("kind", kind.name()), count(&(*sent, *received))))
    };
    page.counter("kddm_messages_sent", "Messages sent, by kind", by_kind(|counts| counts.0))?;
    page.counter("kddm_messages_received", "Messages received, by kind", by_kind(|counts| counts.1))
}

fn reads(figures: &Figures, page: &mut Page<'_>) -> fmt::Result {
    let NodeStatus { counts, fabric, .. } = &figures.status;
    for (name, help, count) in [
        ("kddm_reads_issued", "READs of peers' memory that were posted", fabric.reads_issued),
        ("kddm_reads_failed", "READs of those that failed", fabric.reads_failed),
        (
            "kddm_reads_served",
            "READs of this node's memory that its process has answered",
            fabric.reads_served,
        ),
        ("kddm_read_bytes", "Bytes of objects that READs were posted for", figures.read_bytes),
        ("kddm_speculations", "READs that were posted beside their requests", counts.speculations),
        (
            "kddm_good_speculations",
            "READs of those that spared one after the grant",
            counts.good_speculations,
        ),
        ("kddm_fabric_sent_bytes", "Bytes handed to the network", fabric.bytes_sent),
        ("kddm_fabric_received_bytes", "Bytes that came from the network", fabric.bytes_received),
    ] {
        page.counter(name, help, alone(count))?;
    }
    Ok(())
}

fn linkers(figures: &Figures, page: &mut Page<'_>) -> fmt::Result {
    let calls = figures.linker_calls.iter().map(|(name, count)| (label("call", name), *count));
    page.counter("kddm_linker_calls", "Calls of IO linkers, by what they were called for", calls)?;
    page.gauge(
        "kddm_dirty_objects",
        "Objects of this node's device that are newer than there",
        alone(figures.dirty),
    )
}

fn peers(status: &NodeStatus, page: &mut Page<'_>) -> fmt::Result {
    let peers = status.peers.iter().map(|peer| (label("peer", peer.node), u32::from(peer.up.is_some())));
    page.gauge("kddm_peer_up", "Whether a peer is connected", peers)
}

fn arena(memory: &Usage, figures: &Figures, page: &mut Page<'_>) -> fmt::Result {
    for (name, help, value) in [
        ("kddm_arena_bytes", "Bytes that the arena may have", memory.capacity),
        ("kddm_arena_slab_bytes", "Bytes of a slab", memory.slab_bytes),
        ("kddm_arena_slabs", "Slabs that there are", memory.slabs),
        ("kddm_arena_slabs_limit", "Slabs that there may be", memory.slabs_limit),
        ("kddm_arena_objects", "Objects that have a copy here", memory.objects),
        ("kddm_arena_index_bytes", "Bytes of the object index", memory.index_bytes),
    ] {
        page.gauge(name, help, alone(value))?;
    }
    let slots = memory.classes.iter().flat_map(|class| {
        [("used", class.used), ("free", class.free)].map(|(state, count)| {
            (vec![("slot_bytes", class.slot_size.to_string()), ("state", state.into())], count)
        })
    });
    page.gauge("kddm_arena_slots", "Slots by size class, used and free", slots)?;
    let used: usize = memory.classes.iter().map(|class| class.used).sum();
    let quarantined = figures.quarantined;
    page.gauge(
        "kddm_arena_retained_slots",
        "Slots kept for who has yet to fetch them",
        alone(used.saturating_sub(memory.objects + quarantined)),
    )?;
    page.gauge("kddm_arena_quarantined_slots", "Slots that wait since a peer was lost", alone(quarantined))?;
    page.counter(
        "kddm_evictions",
        "Copies that were asked to make room",
        alone(figures.status.counts.evictions),
    )
}
