//! Bounded overtaking: homes serve in the order of arrival, so no node comes twice before one that waits.
//!
//! A *visit* of a node is a run of exclusive holds there without one elsewhere between them: while nobody has asked for the object
//! yet, those are hits, and as many as they like. From the moment at which a request has reached the home, and what it orders has
//! reached the owner, another node may come once before it: it may have asked earlier. A node asks for one thing at a time, so
//! whoever waits behind another thread of its node counts from when that one was served; and no such thread, having come
//! later, comes twice before it.

use kddm_history::Who;
use kddm_object::ObjectKey;
use parking_lot::Mutex;
use std::collections::BTreeMap;

/// The holds of a round, in the order in which they began.
#[derive(Default)]
pub struct Fairness(Mutex<BTreeMap<ObjectKey, Vec<Turn>>>);

struct Turn {
    who: Who,
    /// `None` if it ended without a hold.
    exclusive: Option<bool>,
    asked: u64,
    got: u64,
}

impl Fairness {
    /// A request that ended, with a hold or without.
    pub fn note(&self, key: ObjectKey, who: Who, exclusive: Option<bool>, asked: u64, got: u64) {
        self.0.lock().entry(key).or_default().push(Turn { who, exclusive, asked, got });
    }

    /// Forgets all.
    pub fn begin_round(&self) {
        self.0.lock().clear();
    }

    /// How many waited long enough to be overtaken. `reached`: how long a request and its order need at most.
    ///
    /// # Errors
    /// Who was overtaken unfairly.
    pub fn check(&self, reached: u64) -> Result<u64, String> {
        let mut judged = 0;
        for (key, turns) in &*self.0.lock() {
            let visits = visits(turns);
            for (place, turn) in turns
                .iter()
                .enumerate()
                .filter(|(_, turn)| turn.exclusive.is_some() && turn.got > turn.asked + reached)
            {
                judged += 1;
                let earlier = &turns[..place];
                let served = earlier.iter().rev().find(|other| other.who.node == turn.who.node);
                let since = turn.asked.max(served.map_or(0, |other| other.got)) + reached;
                let mut came: BTreeMap<Who, u32> = BTreeMap::new();
                let behind = |other: &&Turn| {
                    other.exclusive.is_some()
                        && other.who.node == turn.who.node
                        && other.asked > turn.asked
                        && (other.exclusive == Some(true) || turn.exclusive == Some(true))
                };
                for other in earlier.iter().filter(behind) {
                    *came.entry(other.who).or_default() += 1;
                }
                for visit in visits.iter().filter(|visit| visit.asked > since && visit.until < turn.got) {
                    *came.entry(Who { node: visit.node, thread: u8::MAX }).or_default() += 1;
                }
                if let Some((who, times)) = came.iter().find(|(_, times)| **times > 1) {
                    return Err(format!(
                        "{} asked for {key:?} at {} ns and got it at {} ns; {who}, which asked after {since} ns, came {times} times \
                         before it",
                        turn.who, turn.asked, turn.got
                    ));
                }
            }
        }
        Ok(judged)
    }
}

struct Visit {
    node: u8,
    /// When the first of it was asked for.
    asked: u64,
    /// When the last of it began.
    until: u64,
}

fn visits(turns: &[Turn]) -> Vec<Visit> {
    let mut visits: Vec<Visit> = Vec::new();
    for turn in turns.iter().filter(|turn| turn.exclusive == Some(true)) {
        match visits.last_mut().filter(|visit| visit.node == turn.who.node) {
            Some(visit) => {
                visit.until = turn.got;
                visit.asked = visit.asked.min(turn.asked);
            }
            None => visits.push(Visit { node: turn.who.node, asked: turn.asked, until: turn.got }),
        }
    }
    visits
}

#[cfg(test)]
mod tests {
    use super::*;
    use kddm_object::SetId;

    const KEY: ObjectKey = ObjectKey::new(SetId(1), 1);

    fn told(turns: &[(u8, u64, u64)]) -> bool {
        let fairness = Fairness::default();
        for &(node, asked, got) in turns {
            fairness.note(KEY, Who { node, thread: 0 }, Some(true), asked, got);
        }
        fairness.check(10).is_ok()
    }

    #[test]
    fn coming_twice_before_who_waits_is_seen() {
        assert!(told(&[(1, 0, 1), (2, 20, 30), (1, 2, 40)]));
        assert!(!told(&[(3, 0, 1), (2, 20, 30), (3, 25, 35), (2, 31, 40), (1, 2, 50)]));
        assert!(told(&[(3, 0, 1), (2, 20, 30), (2, 31, 33), (2, 34, 40), (1, 2, 50)]), "hits of one visit");
    }
}
