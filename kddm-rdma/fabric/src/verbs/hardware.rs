//! What the links to all peers share: the device and its queues.

use super::{outbox::PLACE_BYTES, reads::Bounds as ReadBounds, slabs::Slabs, work::Work};
use crate::{Counters, Event};
use kddm_coherence::ReadToken;
use kddm_memory::Arena;
use kddm_object::NodeId;
use kddm_verbs::{Buffer, Chain, Choice, Completions, Domain, Limits, QueuePair, Receives, VerbsError};
use rustc_hash::FxHashMap;
use std::{net::IpAddr, os::fd::RawFd, sync::Arc};

/// Parcels of messages that a peer may send before the first is taken, where the device has room for so many.
const CREDITS: u32 = 64;
/// Empty parcels (what was taken) that may come beside them: one goes out for each half of the credits.
const BESIDE: u32 = 4;
/// READ work requests posted to a peer at a time, where the device has room for so many.
const READS: u32 = 64;
/// Slots that one READ lands in, at most.
const LANDINGS: u32 = 32;

pub(super) struct Hardware {
    pub(super) slabs: Slabs,
    pub(super) receives: Receives,
    pub(super) completions: Completions,
    pub(super) domain: Domain,
    pub(super) bounds: Bounds,
    /// Whose queue pair for messages it is.
    pub(super) numbers: FxHashMap<u32, NodeId>,
    pub(super) chain: Chain,
    pub(super) events: Vec<Event>,
    pub(super) counters: Counters,
    pub(super) read_requests: u64,
    nothing: Arc<Buffer>,
    first_packet: u32,
}

/// How much is under way with one peer at a time.
#[derive(Clone, Copy)]
pub(super) struct Bounds {
    /// Parcels that a peer may send.
    pub(super) credits: u32,
    /// Work requests for parcels.
    pub(super) sends: u32,
    pub(super) reads: ReadBounds,
}

impl Hardware {
    pub(super) fn open(
        choice: &Choice,
        address: IpAddr,
        peers: usize,
        arena: Arc<Arena>,
    ) -> Result<Hardware, VerbsError> {
        let endpoint = choice.find(address)?;
        let limits = endpoint.device.limits();
        kddm_verbs::check_memlock(endpoint.device.name(), arena.config().bytes)?;
        tracing::info!(
            device = endpoint.device.name(),
            port = endpoint.port.number,
            gid = %endpoint.gid.address(),
            mtu = endpoint.port.mtu,
            "RDMA device"
        );
        let domain = Domain::new(endpoint)?;
        let peers = (peers as u32).max(1);
        let bounds = Bounds::within(limits, peers);
        let completions = Completions::new(&domain, peers * bounds.completions())?;
        let receives = Receives::new(&domain, peers * bounds.receives(), PLACE_BYTES)?;
        Ok(Hardware {
            slabs: Slabs::new(&domain, arena)?,
            receives,
            completions,
            bounds,
            numbers: FxHashMap::default(),
            chain: Chain::default(),
            events: Vec::new(),
            counters: Counters::default(),
            read_requests: 0,
            nothing: domain.buffer(1)?,
            first_packet: std::process::id(),
            domain,
        })
    }

    pub(super) fn descriptors(&self) -> [RawFd; 2] {
        [self.completions.descriptor(), self.domain.endpoint().device.descriptor()]
    }

    /// Packets that still wander about from an earlier connection have other numbers.
    pub(super) fn first_packet(&mut self) -> u32 {
        self.first_packet = self.first_packet.wrapping_mul(0x9e37_79b1).wrapping_add(0x7f4a_7c15);
        self.first_packet >> 8
    }

    /// Posts an empty message that completes visibly, if only as flushed.
    pub(super) fn post_last(&mut self, work: Work, queue_pair: &QueuePair) -> Result<(), VerbsError> {
        self.chain.send(work.to_u64(), &self.nothing, 0..0, 0, true, false);
        self.chain.post(queue_pair)
    }

    pub(super) fn read_done(&mut self, token: ReadToken, good: bool) {
        self.counters.reads_failed += u64::from(!good);
        self.events.push(Event::ReadDone(token, good));
    }
}

impl Bounds {
    /// What the device has room for.
    fn within(limits: Limits, peers: u32) -> Bounds {
        let mut bounds = Bounds {
            credits: CREDITS,
            sends: 2 * CREDITS,
            reads: ReadBounds { depth: READS, landings: LANDINGS.min(limits.landings) as usize },
        };
        let fits = |bounds: &Bounds| {
            peers * bounds.receives() <= limits.receives
                && peers * bounds.completions() <= limits.completions
                && bounds.sends.max(bounds.reads.depth) < limits.work_requests
        };
        while bounds.credits > 8 && !fits(&bounds) {
            bounds.credits /= 2;
            bounds.sends /= 2;
            bounds.reads.depth /= 2;
        }
        bounds
    }

    fn receives(&self) -> u32 {
        self.credits + BESIDE
    }

    /// Everything that one peer can have completed at a time, the last work requests of broken queue pairs included.
    fn completions(&self) -> u32 {
        self.receives() + self.sends + self.reads.depth + 4
    }

    /// Every so many parcels is signalled.
    pub(super) fn signal(&self) -> u32 {
        (self.credits / 4).max(1)
    }
}
