//! What was written to the partition, and how long it took.

use kddm_rdma::figures::{Distribution, SharedDistribution};
use std::{
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    time::Duration,
};

/// Counted while a partition is open.
#[derive(Debug, Default)]
pub(crate) struct Counting {
    commits: Step,
    settles: Step,
    bytes: AtomicU64,
}

#[derive(Debug, Default)]
struct Step {
    times: SharedDistribution,
    failed: AtomicU64,
}

impl Step {
    fn count(&self, good: bool, time: Duration) {
        self.times.record(time);
        self.failed.fetch_add(u64::from(!good), Relaxed);
    }

    fn load(&self) -> StepFigures {
        StepFigures { times: self.times.load(), failed: self.failed.load(Relaxed) }
    }
}

impl Counting {
    /// A checkpoint was committed, or was not.
    pub fn committed(&self, good: bool, time: Duration) {
        self.commits.count(good, time);
    }

    /// What was committed was brought to the native files, or was not.
    pub fn settled(&self, good: bool, time: Duration) {
        self.settles.count(good, time);
    }

    /// So much was written to the log.
    pub fn logged(&self, bytes: u64) {
        self.bytes.fetch_add(bytes, Relaxed);
    }

    pub fn load(&self) -> WriteFigures {
        let (commits, settles) = (self.commits.load(), self.settles.load());
        WriteFigures { commits, settles, logged_bytes: self.bytes.load(Relaxed), ..WriteFigures::default() }
    }
}

/// What a partition has written since it was opened, and what waits.
#[derive(Clone, Debug, Default)]
pub struct WriteFigures {
    /// Checkpoints that were committed.
    pub commits: StepFigures,
    /// The bringing of what was committed to the native files.
    pub settles: StepFigures,
    /// Bytes written to the log.
    pub logged_bytes: u64,
    /// Bytes of the log that the native files do not have yet.
    pub log_bytes: u64,
    /// Bytes that wait for the next checkpoint, but for what is dirty in memory.
    pub draft_bytes: u64,
}

/// A step on the way to the disk.
#[derive(Clone, Debug, Default)]
pub struct StepFigures {
    /// How long it took.
    pub times: Distribution,
    /// How often it did not work.
    pub failed: u64,
}
