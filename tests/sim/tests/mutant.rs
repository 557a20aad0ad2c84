//! The simulator sees a broken protocol: nodes that acknowledge invalidations and keep their copies; nodes that were given up and go on
//! as if nothing had been; file systems that go on finding what a name has named.

use kddm_sim::{Deed, Faults, Log, Plan, files, run_caught};

#[test]
fn nodes_that_keep_invalidated_copies_are_caught() {
    let mut caught = 0;
    for seed in 0..40 {
        let mut plan = Plan::of(seed, false);
        plan.unsound_keep_copies = true;
        plan.deeds = vec![Deed::Get, Deed::Write];
        (plan.faults, plan.arena) = (Faults::default(), 8 << 20);
        caught += u32::from(run_caught(plan, Log::new(false)).is_err());
    }
    assert!(caught >= 10, "they were caught in {caught} of 40 seeds only");
}

#[test]
fn lives_that_were_lost_and_return_are_caught() {
    let caught = (0..1000).filter(|&seed| {
        let mut plan = Plan::of(seed, true);
        plan.unsound_returns = true;
        plan.faults.losses > 0 && run_caught(plan, Log::new(false)).is_err()
    });
    assert!(caught.take(2).count() == 2, "they were caught in less than two of 1000 seeds");
}

#[test]
fn names_that_are_remembered_too_long_are_caught() {
    let caught = (0..400).filter(|&seed| files::run_with(seed, Log::new(false), true).is_err());
    assert_eq!(caught.take(5).count(), 5, "they were caught in less than five of 400 seeds");
}
