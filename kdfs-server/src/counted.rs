//! Requests that somebody made, counted: how they ended, and how long they took.

use kddm_rdma::figures::{Distribution, SharedDistribution};
use nix::errno::Errno;
use std::{
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    time::Duration,
};

/// How a request ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// As was asked.
    Done,
    /// With an error that a program may expect: no such entry, no permission.
    Refused,
    /// With an error that says that something does not work (EIO).
    Failed,
    /// Nobody waited for it any more.
    GivenUp,
}

impl End {
    /// All of them, in the order of their numbers.
    pub const ALL: [End; 4] = [End::Done, End::Refused, End::Failed, End::GivenUp];

    /// Of an error, or of none.
    pub fn of<T>(result: &Result<T, Errno>) -> End {
        match result {
            Ok(_) => End::Done,
            Err(Errno::EIO) => End::Failed,
            Err(_) => End::Refused,
        }
    }
}

/// Requests by name. Many threads count.
#[derive(Debug)]
pub struct Requests {
    names: &'static [&'static str],
    of: Vec<OfRequest>,
}

#[derive(Debug, Default)]
struct OfRequest {
    times: SharedDistribution,
    ends: [AtomicU64; End::ALL.len()],
}

impl Requests {
    /// Requests of these names.
    pub fn named(names: &'static [&'static str]) -> Requests {
        Requests { names, of: names.iter().map(|_| OfRequest::default()).collect() }
    }

    /// A request has ended. `request` is its place among the names; what has none is not counted.
    pub fn count(&self, request: usize, end: End, time: Duration) {
        if let Some(of) = self.of.get(request) {
            of.times.record(time);
            of.ends[end as usize].fetch_add(1, Relaxed);
        }
    }

    /// How long requests took, by name.
    pub fn times(&self) -> Vec<(&'static str, Distribution)> {
        self.names.iter().copied().zip(self.of.iter().map(|of| of.times.load())).collect()
    }

    /// How they ended, by name.
    pub fn ends(&self) -> Vec<(&'static str, End, u64)> {
        let all = self.names.iter().zip(&self.of);
        all.flat_map(|(&name, of)| End::ALL.map(|end| (name, end, of.ends[end as usize].load(Relaxed))))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_counted_under_their_names() {
        let requests = Requests::named(&["lookup", "unlink"]);
        requests.count(1, End::of(&Err::<(), _>(Errno::ENOENT)), Duration::from_micros(3));
        requests.count(2, End::Done, Duration::ZERO);
        let counted: Vec<_> = requests.ends().into_iter().filter(|(.., count)| *count > 0).collect();
        assert_eq!(counted, [("unlink", End::Refused, 1)]);
        let timed: Vec<_> = requests.times().into_iter().filter(|(_, times)| times.count() > 0).collect();
        assert_eq!((timed.len(), timed[0].0), (1, "unlink"));
    }
}
