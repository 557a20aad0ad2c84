//! What the hub's clock was when another's said so and so, with a bound (Cristian, *Probabilistic clock synchronization*, 1989).
//!
//! The hub asks the others for their time, before, during and after a run. An answer says: when their clock was at `theirs`, ours was
//! between asking and hearing. Between answers the two clocks are taken to drift by no more than so much; if they do, the
//! answers contradict each other, and that is an error.

use crate::meeting::Line;
use anyhow::{Result, bail};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::Sender;
use std::time::{Duration, Instant};

/// So many millionths clocks may drift from each other. Crystals do by less than a tenth of it.
const DRIFT: i128 = 1000;
/// Questions before and after a run, and the pause between those during it.
const CALM: usize = 40;
const PAUSE: Duration = Duration::from_millis(15);

/// A time of one process, in nanoseconds.
pub type Nanos = i64;

/// This process's clock.
#[derive(Clone, Copy, Debug)]
pub struct Here(Instant);

impl Here {
    /// Starts at 0.
    pub fn start() -> Here {
        Here(Instant::now())
    }

    /// The time.
    pub fn now(self) -> Nanos {
        self.0.elapsed().as_nanos() as Nanos
    }
}

/// An answer: their clock was at `theirs` when ours was between the two others.
#[derive(Clone, Copy, Debug)]
struct Answer {
    theirs: Nanos,
    earliest: Nanos,
    latest: Nanos,
}

/// Another's clock, as the hub knows it.
#[derive(Clone, Debug, Default)]
pub struct Clock(Vec<Answer>);

/// Answers the hub until it has no more questions.
pub fn answer(mut line: Line, here: Here) {
    while line.hear::<()>().is_ok() {
        if line.say(&here.now()).is_err() {
            return;
        }
    }
}

/// Asks all the others until `over`, and says when it has asked enough to begin with; their clocks, by rank, our own first.
///
/// # Errors
/// Somebody has gone, or the clocks drift too much.
pub fn ask(mut lines: Vec<Line>, here: Here, ready: &Sender<()>, over: &AtomicBool) -> Result<Vec<Clock>> {
    let mut answers: Vec<Vec<Answer>> = lines.iter().map(|_| Vec::new()).collect();
    let mut round = |lines: &mut Vec<Line>| -> Result<()> {
        for (line, answers) in lines.iter_mut().zip(&mut answers) {
            let earliest = here.now();
            line.say(&())?;
            let theirs = line.hear()?;
            answers.push(Answer { theirs, earliest, latest: here.now() });
        }
        Ok(())
    };
    (0..CALM).try_for_each(|_| round(&mut lines))?;
    ready.send(())?;
    while !over.load(Ordering::Acquire) {
        std::thread::sleep(PAUSE);
        round(&mut lines)?;
    }
    (0..CALM).try_for_each(|_| round(&mut lines))?;
    let others = answers.into_iter().map(Clock::new);
    [Ok(Clock::default())].into_iter().chain(others).collect()
}

impl Clock {
    /// Every answer says something about every other.
    fn new(mut answers: Vec<Answer>) -> Result<Clock> {
        for place in 1..answers.len() {
            let [before, after] = [answers[place - 1], answers[place]];
            answers[place].narrow(before.at(after.theirs));
        }
        for place in (1..answers.len()).rev() {
            let [before, after] = [answers[place - 1], answers[place]];
            answers[place - 1].narrow(after.at(before.theirs));
        }
        match answers.iter().find(|answer| answer.earliest > answer.latest) {
            Some(answer) => bail!("clocks drift by more than {DRIFT} in a million: {answer:?}"),
            None => Ok(Clock(answers)),
        }
    }

    /// Between which times of the hub it was `theirs` there.
    pub fn of(&self, theirs: Nanos) -> (Nanos, Nanos) {
        let after = self.0.partition_point(|answer| answer.theirs <= theirs);
        let near = self.0[after.saturating_sub(1)..].iter().take(2);
        let told = near.map(|answer| answer.at(theirs)).reduce(|a, b| (a.0.max(b.0), a.1.min(b.1)));
        told.unwrap_or((theirs, theirs))
    }

    /// How far the two bounds are apart at `theirs`.
    pub fn error(&self, theirs: Nanos) -> Duration {
        let (earliest, latest) = self.of(theirs);
        Duration::from_nanos((latest - earliest).unsigned_abs())
    }
}

impl Answer {
    /// What it says of another moment.
    fn at(self, theirs: Nanos) -> (Nanos, Nanos) {
        let passed = theirs - self.theirs;
        let drift = (i128::from(passed.abs()) * DRIFT / 1_000_000) as Nanos;
        (self.earliest + passed - drift, self.latest + passed + drift)
    }

    fn narrow(&mut self, (earliest, latest): (Nanos, Nanos)) {
        self.earliest = self.earliest.max(earliest);
        self.latest = self.latest.min(latest);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Answers of a clock that was 5 s ahead at 0 and runs faster by `drift` in a million; ways take from 0.1 to 9 ms.
    fn answers(drift: i64) -> Vec<Answer> {
        let theirs = |time: i64| 5_000_000_000 + time + time * drift / 1_000_000;
        let mut random = kddm_bench::random::Random::new(3);
        let mut way = || 100_000 + random.below(9_000_000) as Nanos;
        let answer = |at: i64| {
            let time = at * 20_000_000;
            Answer { theirs: theirs(time), earliest: time - way(), latest: time + way() }
        };
        (0..500).map(answer).collect()
    }

    #[test]
    fn the_truth_lies_between_the_bounds_which_are_narrow() {
        for drift in [-900, 0, 30, 900] {
            let clock = Clock::new(answers(drift)).expect("within what is believed");
            for time in (0..10_000_000_000i64).step_by(1_234_567) {
                let theirs = 5_000_000_000 + time + time * drift / 1_000_000;
                let (earliest, latest) = clock.of(theirs);
                assert!(earliest <= time && time <= latest, "{earliest} {time} {latest}");
                assert!(latest - earliest < 4_000_000, "{drift}: {}", latest - earliest);
            }
        }
    }

    #[test]
    fn a_clock_that_drifts_too_much_is_found_out() {
        assert!(Clock::new(answers(5000)).is_err());
        let mut jumps = answers(0);
        jumps[300..].iter_mut().for_each(|answer| answer.theirs += 30_000_000);
        assert!(Clock::new(jumps).is_err());
    }

    #[test]
    fn the_own_clock_is_known() {
        assert_eq!(Clock::default().of(77), (77, 77));
    }
}
