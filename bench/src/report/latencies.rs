//! The durations of one operation.

use hdrhistogram::Histogram;
use std::time::Duration;

/// The durations of one operation, at three significant digits from 1 ns to 100 s.
#[derive(Clone)]
pub struct Latencies(Histogram<u64>);

impl Default for Latencies {
    fn default() -> Latencies {
        // The bounds are constants that `new_with_bounds` accepts.
        Latencies(Histogram::new_with_bounds(1, 100_000_000_000, 3).expect("constant bounds"))
    }
}

impl Latencies {
    /// Adds one duration.
    pub fn add(&mut self, time: Duration) {
        self.0.saturating_record((time.as_nanos() as u64).max(1));
    }

    /// Adds `count` operations that took `time` together, each as the mean of them.
    pub fn add_block(&mut self, time: Duration, count: u32) {
        self.add(time / count.max(1));
    }

    /// How many were added.
    pub fn count(&self) -> u64 {
        self.0.len()
    }

    /// The value that `share` (0 to 1) of the durations do not exceed, in µs.
    pub fn quantile_us(&self, share: f64) -> f64 {
        self.0.value_at_quantile(share) as f64 / 1000.0
    }
}
