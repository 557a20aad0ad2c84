//! What the kernel asked for, and how long it took.

use super::request::Operation;
use kddm_rdma::figures::{Distribution, SharedDistribution};
use nix::errno::Errno;
use std::{
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    time::Duration,
};

/// The kernel's requests by name.
pub const OPERATIONS: [&str; 26] = [
    "lookup",
    "getattr",
    "setattr",
    "readlink",
    "symlink",
    "mknod",
    "mkdir",
    "unlink",
    "rmdir",
    "rename",
    "link",
    "open",
    "create",
    "read",
    "write",
    "release",
    "fsync",
    "opendir",
    "readdir",
    "readdirplus",
    "releasedir",
    "fsyncdir",
    "statfs",
    "lock",
    "destroy",
    "unknown",
];

/// How a request ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// As was asked.
    Done,
    /// With an error that a program may expect: no such entry, no permission.
    Refused,
    /// With an error that says that something does not work (EIO).
    Failed,
    /// Its process was killed meanwhile.
    Killed,
}

impl End {
    /// All of them, in the order of their numbers.
    pub const ALL: [End; 4] = [End::Done, End::Refused, End::Failed, End::Killed];

    /// Its name.
    pub const fn name(self) -> &'static str {
        match self {
            End::Done => "done",
            End::Refused => "refused",
            End::Failed => "failed",
            End::Killed => "killed",
        }
    }

    /// Of an answer.
    pub fn of<T>(result: &Result<T, Errno>) -> End {
        match result {
            Ok(_) => End::Done,
            Err(Errno::EIO) => End::Failed,
            Err(_) => End::Refused,
        }
    }
}

/// The requests of all mounts of a server.
#[derive(Debug, Default)]
pub struct FuseFigures([OfOperation; OPERATIONS.len()]);

#[derive(Debug, Default)]
struct OfOperation {
    times: SharedDistribution,
    ends: [AtomicU64; End::ALL.len()],
}

impl FuseFigures {
    /// A request has ended. `operation` is its place in [`OPERATIONS`].
    pub fn count(&self, operation: usize, end: End, time: Duration) {
        if let Some(of) = self.0.get(operation) {
            of.times.record(time);
            of.ends[end as usize].fetch_add(1, Relaxed);
        }
    }

    /// How long requests took, by operation.
    pub fn times(&self) -> Vec<(&'static str, Distribution)> {
        OPERATIONS.into_iter().zip(self.0.iter().map(|of| of.times.load())).collect()
    }

    /// How they ended, by operation.
    pub fn ends(&self) -> Vec<(&'static str, End, u64)> {
        let all = OPERATIONS.into_iter().zip(&self.0);
        all.flat_map(|(name, of)| End::ALL.map(|end| (name, end, of.ends[end as usize].load(Relaxed))))
            .collect()
    }
}

/// The place of an operation in [`OPERATIONS`]; of those that are not counted, none.
pub fn number(operation: &Operation<'_>) -> usize {
    match operation {
        Operation::Lookup { .. } => 0,
        Operation::Getattr => 1,
        Operation::Setattr(_) => 2,
        Operation::Readlink => 3,
        Operation::Symlink { .. } => 4,
        Operation::Mknod { .. } => 5,
        Operation::Mkdir { .. } => 6,
        Operation::Unlink { .. } => 7,
        Operation::Rmdir { .. } => 8,
        Operation::Rename { .. } => 9,
        Operation::Link { .. } => 10,
        Operation::Open(_) => 11,
        Operation::Create { .. } => 12,
        Operation::Read(_) => 13,
        Operation::Write { .. } => 14,
        Operation::Release(_) => 15,
        Operation::Fsync => 16,
        Operation::Opendir => 17,
        Operation::Readdir(_) => 18,
        Operation::Readdirplus(_) => 19,
        Operation::Releasedir(_) => 20,
        Operation::Fsyncdir => 21,
        Operation::Statfs => 22,
        Operation::Lock(_) => 23,
        Operation::Destroy => 24,
        Operation::Unknown => 25,
        // They have no answer.
        Operation::Init(..) | Operation::Interrupt(_) | Operation::Forget => OPERATIONS.len(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_counted_under_their_names() {
        let figures = FuseFigures::default();
        let operation = Operation::Unlink { name: b"x" };
        figures.count(number(&operation), End::of(&Err::<(), _>(Errno::ENOENT)), Duration::from_micros(3));
        figures.count(number(&Operation::Forget), End::Done, Duration::ZERO);
        let counted: Vec<_> = figures.ends().into_iter().filter(|(.., count)| *count > 0).collect();
        assert_eq!(counted, [("unlink", End::Refused, 1)]);
        let timed: Vec<_> = figures.times().into_iter().filter(|(_, times)| times.count() > 0).collect();
        assert_eq!((timed.len(), timed[0].0), (1, "unlink"));
    }
}
