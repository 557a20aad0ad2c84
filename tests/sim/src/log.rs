//! What happened, in order: lines for people, and a number that two runs of one seed must share.

use parking_lot::Mutex;
use rustc_hash::FxHasher;
use std::fmt::Display;
use std::hash::{Hash, Hasher};
use std::io::Write;
use std::sync::Arc;
use std::time::Duration;

/// The event log.
#[derive(Clone)]
pub struct Log(Arc<Mutex<Inner>>);

struct Inner {
    hash: FxHasher,
    events: u64,
    shown: bool,
}

impl Log {
    /// A log that is printed if `shown`.
    pub fn new(shown: bool) -> Log {
        Log(Arc::new(Mutex::new(Inner { hash: FxHasher::default(), events: 0, shown })))
    }

    /// Notes an event on a node (0: none): `what` tells it apart, `line` is for people.
    pub fn note<L: Display>(&self, now: Duration, node: u8, what: impl Hash, line: impl FnOnce() -> L) {
        let mut log = self.0.lock();
        (now.as_nanos() as u64, node).hash(&mut log.hash);
        what.hash(&mut log.hash);
        log.events += 1;
        if log.shown {
            let at = now.as_nanos() as u64;
            let (millis, nanos) = (at / 1_000_000, at % 1_000_000);
            // Whoever closes the pipe has seen enough.
            let _ = writeln!(std::io::stdout(), "{millis:6}.{nanos:06} ms  n{node} {}", line());
        }
    }

    /// The number of all that has happened so far.
    pub fn fingerprint(&self) -> u64 {
        self.0.lock().hash.finish()
    }

    /// How many events there were.
    pub fn events(&self) -> u64 {
        self.0.lock().events
    }

    /// Whether it is printed.
    pub fn is_shown(&self) -> bool {
        self.0.lock().shown
    }
}
