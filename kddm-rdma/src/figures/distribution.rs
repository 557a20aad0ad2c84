//! How long things took: counts in steps of powers of two.

use std::{
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    time::Duration,
};

/// Steps: up to 1 µs, 2 µs, 4 µs and so on to 16.8 s, and whatever took longer.
pub const STEPS: usize = 26;

/// How often something took how long.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Distribution {
    /// How often, by step.
    pub counts: [u64; STEPS],
    /// How long all of it took, in nanoseconds.
    pub nanos: u64,
}

impl Distribution {
    /// The longest time that counts in `step`; `None` for the last, which has no end.
    pub fn end_of(step: usize) -> Option<Duration> {
        (step + 1 < STEPS).then(|| Duration::from_micros(1 << step))
    }

    /// Counts one.
    pub fn record(&mut self, time: Duration) {
        let nanos = nanos(time);
        self.counts[step_of(nanos)] += 1;
        self.nanos = self.nanos.wrapping_add(nanos);
    }

    /// Adds what another has counted.
    pub fn add(&mut self, other: &Distribution) {
        for (count, more) in self.counts.iter_mut().zip(other.counts) {
            *count += more;
        }
        self.nanos = self.nanos.wrapping_add(other.nanos);
    }

    /// How often.
    pub fn count(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// The end of the step in which the part `quantile` (0 to 1) of all has ended: an upper bound, less than twice too long.
    /// What took longer than all steps counts as the last end. `None` if nothing was counted.
    pub fn quantile(&self, quantile: f64) -> Option<Duration> {
        let wanted = (self.count() as f64 * quantile).ceil().max(1.0) as u64;
        let mut sum = 0;
        let step = self.counts.iter().position(|count| {
            sum += count;
            sum >= wanted
        })?;
        Distribution::end_of(step.min(STEPS - 2))
    }
}

/// A distribution that many threads add to.
#[derive(Debug, Default)]
pub struct SharedDistribution {
    counts: [AtomicU64; STEPS],
    nanos: AtomicU64,
}

impl SharedDistribution {
    /// Counts one.
    pub fn record(&self, time: Duration) {
        let nanos = nanos(time);
        self.counts[step_of(nanos)].fetch_add(1, Relaxed);
        self.nanos.fetch_add(nanos, Relaxed);
    }

    /// As it is now.
    pub fn load(&self) -> Distribution {
        let counts = std::array::from_fn(|step| self.counts[step].load(Relaxed));
        Distribution { counts, nanos: self.nanos.load(Relaxed) }
    }
}

fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

fn step_of(nanos: u64) -> usize {
    let micros = nanos.saturating_sub(1) / 1000;
    ((u64::BITS - micros.leading_zeros()) as usize).min(STEPS - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_counts_in_the_first_step_that_holds_it() {
        for (step, end) in (0..STEPS).filter_map(|step| Distribution::end_of(step).map(|end| (step, end))) {
            assert_eq!(step_of(nanos(end)), step);
            assert_eq!(step_of(nanos(end) + 1), step + 1);
        }
        assert_eq!((step_of(0), step_of(u64::MAX)), (0, STEPS - 1));
        assert_eq!(Distribution::end_of(STEPS - 2), Some(Duration::from_micros(1 << 24)));
    }

    #[test]
    fn quantiles_are_upper_bounds_less_than_twice_too_long() {
        let mut times = Distribution::default();
        assert_eq!(times.quantile(0.5), None);
        for micros in 1..=1000 {
            times.record(Duration::from_micros(micros));
        }
        for (quantile, exact) in [(0.5, 500), (0.99, 990), (1.0, 1000), (0.0, 1)] {
            let told = times.quantile(quantile).unwrap().as_micros();
            assert!((exact..2 * exact).contains(&told), "{quantile}: {told} for {exact}");
        }
        times.record(Duration::from_secs(3600));
        assert_eq!(times.quantile(1.0), Some(Duration::from_micros(1 << 24)));
    }

    #[test]
    fn a_shared_one_counts_the_same() {
        let (shared, mut alone) = (SharedDistribution::default(), Distribution::default());
        for nanos in [0, 999, 1001, 5_000_000, u64::MAX / 2] {
            shared.record(Duration::from_nanos(nanos));
            alone.record(Duration::from_nanos(nanos));
        }
        assert_eq!(shared.load(), alone);
    }
}
