//! What is wrong with a run.

use parking_lot::Mutex;
use std::fmt;
use std::sync::Arc;

/// What a run can show.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Finding {
    /// A promise was broken.
    Wrong(String),
    /// Something never ends.
    Stall(String),
    /// The code panicked.
    Panic(String),
}

impl Finding {
    /// The exit status of a process that ends with it.
    pub fn status(&self) -> u8 {
        match self {
            Finding::Wrong(_) => 2,
            Finding::Stall(_) => 3,
            Finding::Panic(_) => 4,
        }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Finding::Wrong(what) => write!(f, "WRONG: {what}"),
            Finding::Stall(what) => write!(f, "STALL: {what}"),
            Finding::Panic(what) => write!(f, "PANIC: {what}"),
        }
    }
}

/// Where whoever sees something wrong says so; the first counts.
#[derive(Clone, Default)]
pub struct Findings(Arc<Mutex<Option<Finding>>>);

impl Findings {
    /// A promise was broken.
    pub fn wrong(&self, what: String) {
        self.0.lock().get_or_insert(Finding::Wrong(what));
    }

    /// The first finding.
    ///
    /// # Errors
    /// There is one.
    pub fn check(&self) -> Result<(), Finding> {
        self.0.lock().clone().map_or(Ok(()), Err)
    }
}
