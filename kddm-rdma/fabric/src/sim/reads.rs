//! READs: several copies of parts, in any order, some made twice.

use super::network::{Action, Network};
use crate::Event;
use kddm_coherence::ReadToken;
use kddm_object::{Location, NodeId, SlotId};

pub(super) struct Reading {
    /// Who reads.
    pub(super) node: NodeId,
    session: u64,
    token: ReadToken,
    source: Location,
    landing: SlotId,
    length: u32,
    parts: u32,
    /// Copies that are still to be made.
    left: u32,
    good: bool,
    /// Parts that wait for a link to be healed.
    stalled: Vec<u32>,
}

/// What a READ meets at its source.
enum Met {
    /// The memory that was meant.
    Memory,
    /// A link that is cut, or an end that does not know of the session yet.
    NotYet { cut: bool },
    /// A session that is over there.
    Nothing,
}

impl Network {
    /// `node`, in `session` with the owner, issues a READ.
    pub(super) fn read(
        &mut self,
        node: NodeId,
        session: u64,
        token: ReadToken,
        source: Location,
        landing: SlotId,
        length: u32,
    ) {
        let most = u64::from(self.config.read_parts.min(length).max(1));
        let parts = self.random.within(1, most) as u32;
        self.number += 1;
        let read = self.number;
        let mut left = 0;
        for part in 0..parts {
            let twice = self.random.within(0, 99) < u64::from(self.config.repeated_percent);
            for _ in 0..if twice { 2 } else { 1 } {
                let time = self.now + self.delay_of(node, source.node) + self.delay_of(source.node, node);
                self.at(time, Action::Part(read, part));
                left += 1;
            }
        }
        let stalled = Vec::new();
        let reading =
            Reading { node, session, token, source, landing, length, parts, left, good: true, stalled };
        self.reads.insert(read, reading);
    }

    pub(super) fn copy_part(&mut self, read: u64, part: u32) {
        let Some(reading) = self.reads.get(&read) else { return };
        let good = match self.meets(reading) {
            Met::NotYet { cut: true } => {
                self.reads.entry(read).and_modify(|reading| reading.stalled.push(part));
                return;
            }
            Met::NotYet { cut: false } => {
                let time = self.now + self.delay();
                return self.at(time, Action::Part(read, part));
            }
            Met::Nothing => false,
            Met::Memory => self.copy(reading, part),
        };
        let Some(reading) = self.reads.get_mut(&read) else { return };
        reading.good &= good;
        reading.left -= 1;
        if reading.left == 0 {
            let time = self.now + self.delay();
            self.at(time, Action::ReadDone(read));
        }
    }

    pub(super) fn read_done(&mut self, read: u64) {
        if let Some(reading) = self.reads.remove(&read) {
            self.complete(&reading, reading.good);
        }
    }

    /// The session of `node` with `peer` is over: its READs fail, and nothing of them lands any more.
    pub(super) fn fail_reads(&mut self, node: NodeId, peer: NodeId) {
        let theirs = |reading: &Reading| reading.node == node && reading.source.node == peer;
        let failed: Vec<u64> =
            self.reads.iter().filter(|(_, reading)| theirs(reading)).map(|(&read, _)| read).collect();
        for read in failed {
            if let Some(reading) = self.reads.remove(&read) {
                self.complete(&reading, false);
            }
        }
    }

    /// A link works again.
    pub(super) fn resume_reads(&mut self, a: NodeId, b: NodeId) {
        let pair = |reading: &Reading| {
            (reading.node, reading.source.node) == (a, b) || (reading.node, reading.source.node) == (b, a)
        };
        let mut parts = Vec::new();
        for (&read, reading) in self.reads.iter_mut().filter(|(_, reading)| pair(reading)) {
            parts.extend(reading.stalled.drain(..).map(|part| (read, part)));
        }
        for (read, part) in parts {
            let time = self.now + self.delay();
            self.at(time, Action::Part(read, part));
        }
    }

    fn meets(&self, reading: &Reading) -> Met {
        let (here, there) = (reading.node, reading.source.node);
        if self.is_cut(here, there) || self.is_cut(there, here) {
            return Met::NotYet { cut: true };
        }
        let Some(source) = self.nodes.get(&there).filter(|source| source.alive) else { return Met::Nothing };
        match source.newest.get(&here) {
            Some(&newest) if newest == reading.session && source.peers.contains_key(&here) => Met::Memory,
            Some(&newest) if newest >= reading.session => Met::Nothing,
            _ => Met::NotYet { cut: false },
        }
    }

    fn copy(&self, reading: &Reading, part: u32) -> bool {
        let bound =
            |part: u32| (u64::from(reading.length) * u64::from(part) / u64::from(reading.parts)) as usize;
        let (start, end) = (bound(part), bound(part + 1));
        let (Some(reader), Some(source)) =
            (self.nodes.get(&reading.node), self.nodes.get(&reading.source.node))
        else {
            return false;
        };
        let mut bytes = vec![0; end];
        source.arena.copy_out(reading.source.slot, reading.source.generation, &mut bytes)
            && reader.arena.copy_in(reading.landing, start, &bytes[start..])
    }

    fn complete(&mut self, reading: &Reading, good: bool) {
        if let Some(source) = self.nodes.get_mut(&reading.source.node).filter(|_| good) {
            source.counters.reads_served += 1;
            source.counters.bytes_sent += u64::from(reading.length);
        }
        if let Some(reader) = self.nodes.get_mut(&reading.node) {
            reader.counters.reads_failed += u64::from(!good);
            reader.counters.bytes_received += if good { u64::from(reading.length) } else { 0 };
            reader.inbox.push(Event::ReadDone(reading.token, good));
        }
    }
}
