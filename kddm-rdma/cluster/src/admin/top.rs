//! What a server tells of who is busy with what.

use serde::{Deserialize, Serialize};
use std::time::Duration;

/// What a node has done since it started, and with which objects lately.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Top {
    /// The node.
    pub node: u8,
    /// Gets that were hits.
    pub get_hits: u64,
    /// Grabs that were hits.
    pub grab_hits: u64,
    /// Operations that were no hits.
    pub operations: Vec<Ended>,
    /// Operations by kind of set, and by set for those that were used most lately; hits are estimated from samples.
    pub sets: Vec<SetUse>,
    /// The objects that were missed most lately, the most missed first.
    pub hottest: Vec<Weight>,
    /// The objects that were waited for most lately, the most contended first.
    pub contended: Vec<Weight>,
    /// Operations that have begun and not ended.
    pub waiting: u64,
    /// Shared holds now.
    pub shared_holds: u64,
    /// Exclusive holds now.
    pub exclusive_holds: u64,
}

/// Operations of one kind that ended in one way.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ended {
    /// get, grab, prefetch, remove, sync, flush, destroy.
    pub operation: String,
    /// As in docs/metrics.md.
    pub outcome: String,
    /// How long they took.
    pub times: Times,
}

/// How often something took how long.
#[derive(Clone, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Times {
    /// How often: up to 1 µs, 2 µs, 4 µs and so on; the last took longer than all before.
    pub counts: Vec<u64>,
    /// How long all of it took.
    pub nanos: u64,
}

impl Times {
    /// How often.
    pub fn count(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// An upper bound, less than twice too long, of how long the quicker part `quantile` (0 to 1) took. `None` if it never happened.
    pub fn quantile(&self, quantile: f64) -> Option<Duration> {
        let wanted = (self.count() as f64 * quantile).ceil().max(1.0) as u64;
        let mut sum = 0;
        let step = self.counts.iter().position(|count| {
            sum += count;
            sum >= wanted
        })?;
        Some(Duration::from_micros(1_u64.checked_shl(step as u32).unwrap_or(u64::MAX)))
    }

    /// Adds what another has counted.
    pub fn add(&mut self, other: &Times) {
        self.counts.resize(self.counts.len().max(other.counts.len()), 0);
        for (count, more) in self.counts.iter_mut().zip(&other.counts) {
            *count += more;
        }
        self.nanos += other.nanos;
    }

    /// What was counted since `before`.
    pub fn since(&self, before: &Times) -> Times {
        let before_at = |step: usize| before.counts.get(step).copied().unwrap_or_default();
        let counts = self.counts.iter().enumerate();
        Times {
            counts: counts.map(|(step, count)| count.saturating_sub(before_at(step))).collect(),
            nanos: self.nanos.saturating_sub(before.nanos),
        }
    }
}

/// How a set, or a kind of sets, was used.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SetUse {
    /// The set; none for all sets of the kind.
    pub set: Option<u64>,
    /// The kind's name.
    pub kind: String,
    /// Hits, about.
    pub hits: u64,
    /// Other operations.
    pub misses: u64,
    /// Those of them that did not end as they were meant to.
    pub failed: u64,
    /// How long those that were no hits took; of a kind it is not known.
    pub times: Option<Times>,
}

/// An object, and how much of something it had lately.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Weight {
    /// Its set.
    pub set: u64,
    /// Its number there.
    pub object: u32,
    /// So much; it halves every ten seconds.
    pub weight: u64,
}

/// Who holds an object on a node, and who waits for it there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Holder {
    /// The object's set.
    pub set: u64,
    /// Its number there.
    pub object: u32,
    /// The mode of the node's copy: none, shared, exclusive.
    pub mode: String,
    /// Whether the node is the object's home.
    pub home: bool,
    /// Shared holds.
    pub readers: u32,
    /// Whether it is held exclusively.
    pub writer: bool,
    /// Operations of the node that have begun and not ended.
    pub waiting: u32,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_added_subtracted_and_ranked() {
        let early = Times { counts: vec![1, 2], nanos: 10 };
        let mut late = early.clone();
        let more = Times { counts: vec![0, 0, 6], nanos: 90 };
        late.add(&more);
        assert_eq!(late, Times { counts: vec![1, 2, 6], nanos: 100 });
        assert_eq!(late.since(&early), more);
        assert_eq!(late.quantile(0.3), Some(Duration::from_micros(2)));
        assert_eq!(late.quantile(0.99), Some(Duration::from_micros(4)));
        assert_eq!(Times::default().quantile(0.5), None);
    }
}
