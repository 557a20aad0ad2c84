//! The guests' clock. Under emulation their time stamp counter is the host's. A guest would find out its pace at boot, by a few
//! milliseconds of an emulated timer: on a busy host it would be wrong by a factor, and with it every timeout. So it is told.

use quanta::Clock;
use std::fs;
use std::thread;
use std::time::{Duration, Instant};

/// What Linux says of a counter that runs at one pace, whatever the processor does.
const STEADY: [&str; 3] = ["constant_tsc", "nonstop_tsc", "rdtscp"];

/// The longer it is looked at, the better its pace is known: so, to some millionths.
const LOOK: Duration = Duration::from_millis(20);

/// How often it is read at either end; what was interrupted least counts.
const READINGS: usize = 16;

/// What the kernel of an emulated guest is told of its clock.
pub fn words() -> String {
    match is_steady() {
        true => format!("tsc=reliable tsc_early_khz={}", pace()),
        // An emulated timer at the host's pace, which is slow to read.
        false => "tsc=unstable clocksource=hpet".to_owned(),
    }
}

fn is_steady() -> bool {
    let about = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let flags = about.lines().find(|line| line.starts_with("flags")).unwrap_or_default();
    STEADY.iter().all(|flag| flags.split_whitespace().any(|word| word == *flag))
}

/// Thousands of ticks in a second.
fn pace() -> u128 {
    let clock = Clock::new();
    let (first, begin) = read(&clock);
    thread::sleep(LOOK);
    let (last, end) = read(&clock);
    u128::from(last - first) * 1_000_000 / (end - begin).as_nanos()
}

/// The counter, and when it was that.
fn read(clock: &Clock) -> (u64, Instant) {
    let readings = (0..READINGS).map(|_| {
        let before = Instant::now();
        let ticks = clock.raw();
        (before.elapsed(), ticks, before)
    });
    let (took, ticks, before) = readings.min_by_key(|(took, ..)| *took).expect("more than none");
    (ticks, before + took / 2)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pace_is_the_same_however_often_it_is_asked_for() {
        if !is_steady() {
            return;
        }
        let paces: Vec<u128> = (0..5).map(|_| pace()).collect();
        let [least, most] = [paces.iter().min(), paces.iter().max()].map(|pace| *pace.expect("five"));
        assert!(most - least <= least / 2000, "{paces:?}");
    }
}
