//! READs of a peer's memory: waiting, being copied, over.

use super::slabs::{Found, PeerSlabs};
use kddm_coherence::ReadToken;
use kddm_memory::Arena;
use kddm_object::{Location, SlotId};
use std::collections::VecDeque;

/// READs of one peer.
#[derive(Default)]
pub(super) struct Reads {
    /// In order.
    waiting: VecDeque<Reading>,
    /// Those of slabs that the peer has not told of yet.
    unmapped: Vec<Reading>,
}

/// A READ.
#[derive(Clone, Copy)]
pub(super) struct Reading {
    pub(super) token: ReadToken,
    pub(super) source: Location,
    pub(super) landing: SlotId,
    pub(super) length: u32,
    copied: u32,
}

impl Reads {
    pub(super) fn add(&mut self, token: ReadToken, source: Location, landing: SlotId, length: u32) {
        self.waiting.push_back(Reading { token, source, landing, length, copied: 0 });
    }

    /// The peer has told of more slabs.
    pub(super) fn slabs_have_come(&mut self) {
        self.waiting.extend(self.unmapped.drain(..));
    }

    /// Copies at most `budget` bytes, and takes off it what was copied. The READ that is over, if one is, and whether its bytes are there.
    pub(super) fn copy(
        &mut self,
        slabs: &PeerSlabs,
        arena: &Arena,
        budget: &mut usize,
    ) -> Option<(Reading, bool)> {
        while let Some(reading) = self.waiting.front_mut() {
            let (slab, start) = match slabs.find(reading.source, reading.length) {
                Found::At(slab, start) => (slab, start),
                Found::Nowhere => return Some((self.waiting.pop_front()?, false)),
                Found::NotYet => {
                    self.unmapped.extend(self.waiting.pop_front());
                    continue;
                }
            };
            let done = reading.copied as usize;
            let part = (reading.length as usize - done).min(*budget);
            if part == 0 {
                return None;
            }
            let good = arena.copy_across(reading.landing, done, slab, start + done, part);
            *budget -= part;
            reading.copied += part as u32;
            if !good || reading.copied == reading.length {
                return Some((self.waiting.pop_front()?, good));
            }
        }
        None
    }

    /// Whether there is something to copy.
    pub(super) fn has_more(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// All that are not over.
    pub(super) fn drain(&mut self) -> impl Iterator<Item = ReadToken> + '_ {
        self.waiting.drain(..).chain(self.unmapped.drain(..)).map(|reading| reading.token)
    }
}
