//! What has occurred, by name: a check that is never met checks nothing.

use parking_lot::Mutex;
use std::collections::BTreeMap;

/// How often what has occurred.
#[derive(Default)]
pub struct Coverage(Mutex<Counts>);

/// The same, as plain numbers.
pub type Counts = BTreeMap<&'static str, u64>;

impl Coverage {
    /// It occurred.
    pub fn count(&self, what: &'static str) {
        self.add(what, 1);
    }

    /// It occurred so many times.
    pub fn add(&self, what: &'static str, times: u64) {
        if times > 0 {
            *self.0.lock().entry(what).or_default() += times;
        }
    }

    /// All of it.
    pub fn counts(&self) -> Counts {
        self.0.lock().clone()
    }
}

/// What must occur in a run of many seeds.
pub const EXPECTED: [&str; 48] = [
    "get held",
    "write held",
    "grab held",
    "hit",
    "try refused",
    "try held",
    "found nothing",
    "existing held",
    "manual held",
    "told: lost",
    "told: peer lost",
    "told: device failed",
    "told: no memory",
    "operation dropped",
    "hold died with its node",
    "remove done",
    "remove failed",
    "sync done",
    "sync failed",
    "flush done",
    "two held",
    "checkpointed by hand",
    "set created",
    "set refused: exists",
    "set opened",
    "set unknown",
    "set destroyed",
    "READ issued",
    "READ failed",
    "eviction",
    "fault: killed",
    "fault: left",
    "fault: returned",
    "fault: link cut",
    "fault: link cut one way",
    "fault: process stopped",
    "fault: link slow",
    "fault: device failed",
    "job done though its node died",
    "told: expelled",
    "told: no home",
    "fault: leaves in good order",
    "view: joined",
    "view: left in good order",
    "view: expelled alive",
    "view: expelled with a lease",
    "view: expelled, and knows",
    "view: lease ran out",
];
