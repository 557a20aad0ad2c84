//! Whether what the nodes saw can be explained, though their clocks are only nearly the same.
//!
//! Each operation counts as had at one moment between the earliest time at which it may have begun and the latest at which it may
//! have ended: a get between being asked for and granted, a grab from there to its put. That is sound, whatever the clocks said. What
//! it leaves out, that holds keep others out, is looked at where the clocks leave no doubt.

use crate::clocks::{Clock, Nanos};
use crate::load::{Entry, Log, What};
use kddm_history::{Call, Ended, History, Touch, Who};
use std::time::Duration;

/// What was looked at.
#[derive(Clone, Copy, Debug, Default)]
pub struct Verdict {
    /// Operations.
    pub operations: usize,
    /// Orders that the checker tried.
    pub states: usize,
    /// Holds that certainly lasted for some time.
    pub certain: usize,
    /// How long the longest operation waited to be granted.
    pub longest: Duration,
    /// Of operations of other nodes than the first, how much the interval was widened: the median, and the most.
    pub widened: [Duration; 2],
}

/// Judges the logs of all nodes, whose clocks these are.
///
/// # Errors
/// What cannot be explained.
pub fn judge(logs: &[Log], clocks: &[Clock]) -> Result<Verdict, String> {
    let wrong: Vec<&String> = logs.iter().flat_map(|log| &log.wrong).collect();
    if let Some(first) = wrong.first() {
        return Err(format!("{} things that must not be, such as {first}", wrong.len()));
    }
    let all = || {
        logs.iter()
            .zip(clocks)
            .zip(1..)
            .flat_map(|((log, clock), node)| log.entries.iter().map(move |entry| (entry, clock, node)))
    };
    let mut verdict = Verdict { operations: all().count(), ..Verdict::default() };
    let waited = all().map(|(entry, ..)| entry.times[1] - entry.times[0]).max().unwrap_or_default();
    verdict.longest = Duration::from_nanos(waited.unsigned_abs());
    let others = all().filter(|(.., node)| *node > 1);
    let mut errors: Vec<Duration> = others.map(|(entry, clock, _)| clock.error(entry.times[3])).collect();
    errors.sort_unstable();
    if let Some(most) = errors.last() {
        verdict.widened = [errors[errors.len() / 2], *most];
    }
    verdict.states = have_an_order(all())?;
    verdict.certain = keep_others_out(all())?;
    Ok(verdict)
}

type Noted<'a> = (&'a Entry, &'a Clock, u8);

/// Looks for an order.
fn have_an_order<'a>(all: impl Iterator<Item = Noted<'a>>) -> Result<usize, String> {
    let all: Vec<Noted> = all.collect();
    let mut events: Vec<(Nanos, bool, usize)> = Vec::with_capacity(2 * all.len());
    for (place, (entry, clock, _)) in all.iter().enumerate() {
        // Whoever got has seen it by the grant; what was grabbed changes until the put is over.
        let last = if matches!(entry.what, What::Got(_)) { 1 } else { 3 };
        events.push((clock.of(entry.times[0]).0, false, place));
        events.push((clock.of(entry.times[last]).1, true, place));
    }
    events.sort_unstable();
    let mut history = History::default();
    let mut calls: Vec<Option<Call<usize>>> = all.iter().map(|_| None).collect();
    for (time, ends, place) in events {
        let (entry, _, node) = all[place];
        let who = Who { node, thread: entry.thread };
        history.at(time.unsigned_abs());
        match (ends, calls[place].take()) {
            (true, Some(call)) => history.end(call, ended(entry.what)),
            _ => {
                calls[place] = Some(match entry.what {
                    What::Removed => history.remove(entry.object, who),
                    What::Absent => history.hold(entry.object, who, Touch::Refuse),
                    _ => history.hold(entry.object, who, Touch::Make),
                });
            }
        }
    }
    history.check().map(|explored| explored.states).map_err(|violation| violation.to_string())
}

fn ended(what: What) -> Ended {
    match what {
        What::Got(saw) => Ended::Had { saw: saw.into(), wrote: None },
        What::Grabbed(saw, wrote) => Ended::Had { saw: saw.into(), wrote: wrote.map(u64::from) },
        What::Refused => Ended::Refused,
        What::Absent => Ended::FoundNothing,
        What::Removed => Ended::Done,
    }
}

/// No grab was certainly had while another hold was; how many holds certainly lasted.
fn keep_others_out<'a>(all: impl Iterator<Item = Noted<'a>>) -> Result<usize, String> {
    let held = all.filter_map(|(entry, clock, node)| {
        let exclusive = match entry.what {
            What::Got(_) => false,
            What::Grabbed(..) => true,
            _ => return None,
        };
        let (from, to) = (clock.of(entry.times[1]).1, clock.of(entry.times[2]).0);
        (from < to).then_some((entry.object, from, to, exclusive, (node, entry)))
    });
    let mut held: Vec<_> = held.collect();
    held.sort_unstable_by_key(|&(object, from, ..)| (object, from));
    for (place, &(object, _, to, exclusive, who)) in held.iter().enumerate() {
        let during = held[place + 1..].iter().take_while(|other| other.0 == object && other.1 < to);
        for &(_, _, _, other_exclusive, other) in during {
            if exclusive || other_exclusive {
                return Err(format!("two held object {object} at once: {who:?} and {other:?}"));
            }
        }
    }
    Ok(held.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(what: What, times: [Nanos; 4]) -> Entry {
        Entry { thread: 0, object: 0, what, times: times.map(|time| 1000 * time) }
    }

    fn judged(nodes: [Vec<Entry>; 2]) -> bool {
        let logs = nodes.map(|entries| Log { entries, wrong: Vec::new() });
        judge(&logs, &[Clock::default(), Clock::default()]).is_ok()
    }

    #[test]
    fn what_is_stale_or_lost_or_held_twice_is_seen() {
        let wrote = |saw, value, at| entry(What::Grabbed(saw, Some(value)), [at, at + 1, at + 2, at + 3]);
        let got = |saw, at| entry(What::Got(saw), [at, at + 1, at + 5, at + 6]);
        assert!(judged([vec![wrote(0, 5, 0), got(6, 20)], vec![wrote(5, 6, 10)]]));
        assert!(
            judged([vec![wrote(0, 5, 0), wrote(5, 6, 10)], vec![entry(What::Got(5), [8, 11, 11, 12])]]),
            "it may have been before"
        );
        assert!(!judged([vec![wrote(0, 5, 0)], vec![got(0, 10)]]), "stale");
        assert!(!judged([vec![wrote(0, 5, 0)], vec![wrote(0, 6, 10), got(6, 20)]]), "an update is lost");
        let long = |saw, at| entry(What::Grabbed(saw, None), [at, at + 1, at + 9, at + 10]);
        assert!(judged([vec![long(0, 0)], vec![long(0, 20)]]));
        assert!(!judged([vec![long(0, 0)], vec![long(0, 5)]]), "two hold it");
        let removed = |at| entry(What::Removed, [at, at + 1, at + 1, at + 1]);
        assert!(judged([vec![wrote(0, 5, 0)], vec![removed(10), got(0, 20)]]));
        assert!(!judged([vec![wrote(0, 5, 0)], vec![removed(10), got(5, 20)]]), "it came back");
    }
}
