//! What programs ask for, counted.

use super::work::Outcome;
use crate::counted::{End, Requests};
use kddm_object::Hold;
use kddm_rdma::figures::Distribution;
use kddm_ring::{Refusal, Request};
use std::{
    array,
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    time::Duration,
};

/// Requests by name.
const REQUESTS: [&str; 30] = [
    "nothing",
    "get",
    "grab",
    "put",
    "prefetch",
    "remove",
    "flush",
    "sync",
    "cancel",
    "local",
    "get_range",
    "grab_range",
    "create_set",
    "open_set",
    "destroy_set",
    "list_sets",
    "open",
    "close",
    "read",
    "write",
    "stat",
    "readdir",
    "fsync",
    "truncate",
    "unlink",
    "mkdir",
    "rmdir",
    "rename",
    "readlink",
    "symlink",
];
/// Such as say nothing that is known.
const MALFORMED: usize = REQUESTS.len();

/// How requests end, in the order of [`End::ALL`].
const OUTCOMES: [&str; End::ALL.len()] = ["done", "refused", "failed", "cancelled"];

/// The programs of a server.
#[derive(Debug)]
pub struct RingFigures {
    /// What the ring thread answered at once. It alone counts, so it need not lock the bus.
    at_once: [[AtomicU64; End::ALL.len()]; MALFORMED + 1],
    /// What had to wait.
    waited: Requests,
    attached: AtomicU64,
    turned_away: AtomicU64,
    corrupt: AtomicU64,
}

/// As they are now.
#[derive(Debug)]
pub struct RingTold {
    /// Requests by name and outcome.
    pub ends: Vec<(&'static str, &'static str, u64)>,
    /// How long those took that had to wait, by name.
    pub times: Vec<(&'static str, Distribution)>,
    /// Programs that were let in.
    pub attached: u64,
    /// Programs that were not.
    pub turned_away: u64,
    /// Programs that were ended for what was in their rings.
    pub corrupt: u64,
}

impl Default for RingFigures {
    fn default() -> RingFigures {
        RingFigures {
            at_once: array::from_fn(|_| array::from_fn(|_| AtomicU64::new(0))),
            waited: Requests::named(&REQUESTS),
            attached: AtomicU64::new(0),
            turned_away: AtomicU64::new(0),
            corrupt: AtomicU64::new(0),
        }
    }
}

impl RingFigures {
    /// The ring thread has answered a request; `request` as [`number`] says.
    #[inline]
    pub fn at_once(&self, request: usize, outcome: &Outcome) {
        let count = &self.at_once[request.min(MALFORMED)][end_of(outcome) as usize];
        count.store(count.load(Relaxed) + 1, Relaxed);
    }

    /// A request that had to wait so long has ended.
    pub fn waited(&self, request: usize, outcome: &Outcome, time: Duration) {
        self.waited.count(request, end_of(outcome), time);
    }

    /// A program was let in.
    pub fn count_attached(&self) {
        self.attached.fetch_add(1, Relaxed);
    }

    /// A program was not.
    pub fn count_turned_away(&self) {
        self.turned_away.fetch_add(1, Relaxed);
    }

    /// A program was ended for what was in its ring.
    pub fn count_corrupt(&self) {
        self.corrupt.fetch_add(1, Relaxed);
    }

    pub fn told(&self) -> RingTold {
        let waited = self.waited.ends();
        let waited = waited.chunks(End::ALL.len()).map(Some).chain([None]);
        let names = REQUESTS.into_iter().chain(["malformed"]);
        let ends = names.zip(&self.at_once).zip(waited).flat_map(|((name, at_once), waited)| {
            let all = at_once.iter().enumerate();
            all.map(move |(end, count)| {
                let waited = waited.map_or(0, |waited| waited[end].2);
                (name, OUTCOMES[end], count.load(Relaxed) + waited)
            })
        });
        RingTold {
            ends: ends.collect(),
            times: self.waited.times(),
            attached: self.attached.load(Relaxed),
            turned_away: self.turned_away.load(Relaxed),
            corrupt: self.corrupt.load(Relaxed),
        }
    }
}

/// What an outcome says of the system: programs may expect most refusals.
#[inline]
fn end_of(outcome: &Outcome) -> End {
    match outcome {
        Ok(_) => End::Done,
        Err(Refusal::Cancelled) => End::GivenUp,
        Err(
            Refusal::Device(_)
            | Refusal::PeerLost(_)
            | Refusal::Expelled
            | Refusal::Lost
            | Refusal::NoMemory
            | Refusal::NoHome
            | Refusal::File(nix::libc::EIO),
        ) => End::Failed,
        Err(_) => End::Refused,
    }
}

/// The place of a request in [`REQUESTS`], or behind it.
#[inline]
pub fn number(request: Option<&Request>) -> usize {
    let Some(request) = request else { return MALFORMED };
    match request {
        Request::Nothing => 0,
        Request::Hold { hold: Hold::Shared, .. } => 1,
        Request::Hold { hold: Hold::Exclusive, .. } => 2,
        Request::Put { .. } => 3,
        Request::Prefetch { .. } => 4,
        Request::Remove { .. } => 5,
        Request::Flush { .. } => 6,
        Request::Sync { .. } => 7,
        Request::Cancel { .. } => 8,
        Request::Local { .. } => 9,
        Request::HoldRange { hold: Hold::Shared, .. } => 10,
        Request::HoldRange { hold: Hold::Exclusive, .. } => 11,
        Request::CreateSet { .. } => 12,
        Request::OpenSet { .. } => 13,
        Request::DestroySet { .. } => 14,
        Request::ListSets { .. } => 15,
        Request::Open { .. } => 16,
        Request::Close { .. } => 17,
        Request::Read { .. } => 18,
        Request::Write { .. } => 19,
        Request::Stat { .. } => 20,
        Request::ReadDirectory { .. } => 21,
        Request::Fsync { .. } => 22,
        Request::Truncate { .. } => 23,
        Request::Unlink { .. } => 24,
        Request::MakeDirectory { .. } => 25,
        Request::RemoveDirectory { .. } => 26,
        Request::Rename { .. } => 27,
        Request::ReadLink { .. } => 28,
        Request::Symlink { .. } => 29,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use kddm_ring::{Done, Region};

    #[test]
    fn what_was_answered_at_once_and_what_had_to_wait_count_together() {
        let figures = RingFigures::default();
        let path = Region::default();
        let unlink = number(Some(&Request::Unlink { path }));
        figures.at_once(unlink, &Err(Refusal::File(nix::libc::ENOENT)));
        figures.at_once(unlink, &Ok(Done::default()));
        figures.waited(unlink, &Ok(Done::default()), Duration::from_micros(3));
        figures.waited(unlink, &Err(Refusal::Cancelled), Duration::from_micros(3));
        figures.at_once(number(None), &Err(Refusal::Malformed));
        let told = figures.told();
        let counted: Vec<_> = told.ends.into_iter().filter(|(.., count)| *count > 0).collect();
        let expected = [
            ("unlink", "done", 2),
            ("unlink", "refused", 1),
            ("unlink", "cancelled", 1),
            ("malformed", "refused", 1),
        ];
        assert_eq!(counted, expected);
        let timed: Vec<_> = told.times.into_iter().filter(|(_, times)| times.count() > 0).collect();
        assert_eq!((timed.len(), timed[0].0, timed[0].1.count()), (1, "unlink", 2));
    }

    #[test]
    fn what_does_not_work_is_told_from_what_may_be_expected() {
        assert_eq!(end_of(&Err(Refusal::File(nix::libc::EIO))), End::Failed);
        assert_eq!(end_of(&Err(Refusal::PeerLost(2))), End::Failed);
        assert_eq!(end_of(&Err(Refusal::WouldBlock)), End::Refused);
    }
}
