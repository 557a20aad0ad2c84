//! How long to look before sleeping.
//!
//! As KVM's halt polling does it (Linux, Documentation/virt/kvm/halt-polling.rst): if what was waited for came soon after the sleeper had gone
//! to sleep, looking a little longer would have saved the wake-up, so the time grows; if it came late, looking was in vain, and the time
//! shrinks to nothing.

use std::time::Duration;

const FIRST: Duration = Duration::from_micros(10);

/// How long an end looks before it sleeps: between nothing and a bound.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Spin {
    now: Duration,
    most: Duration,
}

impl Spin {
    /// At most `most`; zero: it always sleeps at once.
    pub fn up_to(most: Duration) -> Spin {
        Spin { now: Duration::ZERO, most }
    }

    /// How long to look this time.
    #[inline]
    pub fn time(&self) -> Duration {
        self.now
    }

    /// What was waited for came after `time`, looking and sleeping together.
    pub fn came_after(&mut self, time: Duration) {
        if time <= self.now {
            return;
        }
        self.now = if time <= self.most {
            (2 * self.now).clamp(FIRST.min(self.most), self.most)
        } else if self.now / 2 < FIRST {
            Duration::ZERO
        } else {
            self.now / 2
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MICROSECOND: Duration = Duration::from_micros(1);

    #[test]
    fn it_grows_while_that_pays_and_ends_when_it_does_not() {
        let mut spin = Spin::up_to(50 * MICROSECOND);
        assert_eq!(spin.time(), Duration::ZERO);
        for expected in [10, 20, 40, 50, 50] {
            spin.came_after(spin.time() + MICROSECOND.min(50 * MICROSECOND - spin.time()));
            spin.came_after(spin.time());
            assert_eq!(spin.time(), expected * MICROSECOND);
        }
        for _ in 0..4 {
            spin.came_after(Duration::from_millis(1));
        }
        assert_eq!(spin.time(), Duration::ZERO);
    }

    #[test]
    fn without_a_bound_to_grow_to_it_never_looks() {
        let mut spin = Spin::up_to(Duration::ZERO);
        spin.came_after(Duration::from_nanos(1));
        spin.came_after(Duration::ZERO);
        assert_eq!(spin.time(), Duration::ZERO);
    }
}
