//! READs of a peer's memory: waiting, posted (neighbours together), over.

use super::{
    slabs::{Found, PeerSlabs, Slabs},
    work::{Kind, Work},
};
use kddm_coherence::ReadToken;
use kddm_object::{Location, NodeId, SlotId};
use kddm_verbs::{Chain, Landing, Outcome, Source};
use std::collections::VecDeque;

/// Bytes of one merged READ, at most: others go between.
const MERGED_BYTES: u32 = 256 << 10;

/// READs of one peer, in order.
#[derive(Default)]
pub(super) struct Reads {
    waiting: VecDeque<Reading>,
    /// Those of slabs that the peer has not told of yet.
    keyless: Vec<Reading>,
    /// Posted; they complete in this order.
    flying: VecDeque<Reading>,
    /// Work requests that are posted.
    posted: u32,
    /// Those of the flying that were flushed, or failed in a way that says nothing about them.
    again: Vec<Reading>,
    landings: Vec<Landing>,
}

#[derive(Clone, Copy)]
struct Reading {
    token: ReadToken,
    source: Location,
    landing: SlotId,
    length: u32,
}

/// What limits the posting of READs.
#[derive(Clone, Copy)]
pub(super) struct Bounds {
    /// Work requests at a time.
    pub(super) depth: u32,
    /// Slots that one lands in.
    pub(super) landings: usize,
}

impl Reads {
    pub(super) fn add(&mut self, token: ReadToken, source: Location, landing: SlotId, length: u32) {
        self.waiting.push_back(Reading { token, source, landing, length });
    }

    /// Appends the READs that may go now. `failed` hears of those that cannot.
    pub(super) fn post(
        &mut self,
        chain: &mut Chain,
        (node, epoch): (NodeId, u32),
        (own, theirs): (&Slabs, &PeerSlabs),
        bounds: Bounds,
        mut failed: impl FnMut(ReadToken),
    ) {
        while self.posted < bounds.depth {
            let Some(reading) = self.waiting.pop_front() else { return };
            let source = match theirs.find(reading.source, reading.length) {
                Found::At(source) => source,
                Found::NotYet => {
                    self.keyless.push(reading);
                    continue;
                }
                Found::Nowhere => {
                    failed(reading.token);
                    continue;
                }
            };
            let Some(landing) = own.landing(reading.landing, reading.length) else {
                failed(reading.token);
                continue;
            };
            self.landings.clear();
            self.landings.push(landing);
            self.flying.push_back(reading);
            self.merge(source, reading.length, (own, theirs), bounds);
            let work = Work::new(Kind::Read, node, epoch, self.landings.len() as u32);
            chain.read(work.to_u64(), source, self.landings.drain(..));
            self.posted += 1;
        }
    }

    /// Takes those that follow, in the queue and in the peer's memory, to the READ of `length` bytes at `source`.
    fn merge(
        &mut self,
        source: Source,
        mut length: u32,
        (own, theirs): (&Slabs, &PeerSlabs),
        bounds: Bounds,
    ) {
        while let Some(&next) = self.waiting.front()
            && self.landings.len() < bounds.landings
            && length + next.length <= MERGED_BYTES
            && theirs.find(next.source, next.length)
                == Found::At(Source { address: source.address + u64::from(length), key: source.key })
            && let Some(landing) = own.landing(next.landing, next.length)
        {
            self.landings.push(landing);
            self.flying.push_back(next);
            self.waiting.pop_front();
            length += next.length;
        }
    }

    /// A work request of `count` READs is over. `over` hears of those that will not be tried again.
    pub(super) fn complete(
        &mut self,
        count: u32,
        outcome: Outcome,
        mut over: impl FnMut(ReadToken, u32, bool),
    ) {
        self.posted = self.posted.saturating_sub(1);
        for _ in 0..count {
            let Some(reading) = self.flying.pop_front() else { return };
            match outcome {
                Outcome::Done => over(reading.token, reading.length, true),
                _ if outcome.is_refused() => over(reading.token, reading.length, false),
                _ => self.again.push(reading),
            }
        }
    }

    /// The peer has told of more slabs.
    pub(super) fn keys_have_come(&mut self) {
        self.waiting.extend(self.keyless.drain(..));
    }

    /// The queue pair has gone; everything posted was completed.
    pub(super) fn end_epoch(&mut self) {
        self.posted = 0;
        self.again.extend(self.flying.drain(..));
        while let Some(reading) = self.again.pop() {
            self.waiting.push_front(reading);
        }
    }

    /// The session is over, and nothing is posted: all that are left.
    pub(super) fn drain(&mut self) -> impl Iterator<Item = ReadToken> + '_ {
        let flying = self.again.drain(..).chain(self.flying.drain(..));
        flying.chain(self.waiting.drain(..)).chain(self.keyless.drain(..)).map(|reading| reading.token)
    }
}
