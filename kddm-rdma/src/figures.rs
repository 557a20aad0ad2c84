//! What a node has done, in figures: what `/metrics`, `kddm top` and the tests are told.
//!
//! A hit counts with one load and one store of its thread's own, and one in hundreds is looked at more closely (`hits`). All else is
//! counted under the engine's lock, by what passes there (`observer`).

mod distribution;
mod hits;
mod observer;
mod outcome;
mod sketch;

pub use distribution::{Distribution, STEPS, SharedDistribution};
pub(crate) use hits::Hits;
pub use observer::Misses;
pub(crate) use observer::{LINKER_CALLS, Observer};
pub use outcome::{OperationKind, Outcome};
pub use sketch::Weighed;

use crate::NodeStatus;
use kddm_coherence::MessageKind;
use kddm_object::{ObjectKey, SetId};

/// What a node has done since it started.
#[derive(Clone, Debug)]
pub struct Figures {
    /// Peers, fabric, memory.
    pub status: NodeStatus,
    /// Gets and grabs that were hits, close estimates.
    pub hits: [u64; 2],
    /// The kinds of sets.
    pub families: Vec<FamilyFigures>,
    /// The sets that were used most lately, a bounded number, the most used first.
    pub sets: Vec<SetFigures>,
    /// The objects that were missed most lately, a bounded number, the most missed first.
    pub hottest: Vec<Weighed<ObjectKey>>,
    /// The objects that were waited for most lately, a bounded number, the most contended first.
    pub contended: Vec<Weighed<ObjectKey>>,
    /// Operations under way.
    pub waiting: usize,
    /// Messages sent and received.
    pub messages: Vec<(MessageKind, u64, u64)>,
    /// Bytes of objects that READs were posted for.
    pub read_bytes: u64,
    /// Linker calls by name.
    pub linker_calls: Vec<(&'static str, u64)>,
    /// Slots that wait for the end of a quarantine.
    pub quarantined: usize,
    /// Objects homed here that differ, or may differ, from what the device has.
    pub dirty: usize,
    pub(crate) times: Vec<Distribution>,
}

/// All sets of one kind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FamilyFigures {
    /// The kind.
    pub kind: u8,
    /// Its name.
    pub name: String,
    /// Gets and grabs that were hits, an estimate from samples.
    pub hits: u64,
    /// Other operations, by outcome.
    pub ends: [u64; Outcome::ALL.len()],
}

/// One set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SetFigures {
    /// The set.
    pub set: SetId,
    /// Gets and grabs that were hits, an estimate from samples, since it came among the most used.
    pub hits: u64,
    /// Other operations since then.
    pub misses: Misses,
}

impl Figures {
    /// Operations of that kind that ended so: how often, and how long they took. Hits take no time that is measured.
    pub fn times(&self, kind: OperationKind, outcome: Outcome) -> Distribution {
        match (kind, outcome) {
            (_, Outcome::Hit) => Distribution::default(),
            _ => self.times.get(observer::place(kind, outcome)).copied().unwrap_or_default(),
        }
    }

    /// How many operations of that kind ended so.
    pub fn count(&self, kind: OperationKind, outcome: Outcome) -> u64 {
        match (kind, outcome) {
            (OperationKind::Get, Outcome::Hit) => self.hits[0],
            (OperationKind::Grab, Outcome::Hit) => self.hits[1],
            _ => self.times(kind, outcome).count(),
        }
    }
}

impl FamilyFigures {
    /// Operations that were no hits.
    pub fn misses(&self) -> u64 {
        self.ends.iter().sum()
    }

    /// Those of them that did not end as they were meant to.
    pub fn failed(&self) -> u64 {
        Outcome::ALL
            .iter()
            .filter(|outcome| !outcome.is_good())
            .map(|outcome| self.ends[*outcome as usize])
            .sum()
    }
}
