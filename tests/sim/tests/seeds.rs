//! As many seeds as fit into half a minute, those first in which something was wrong once.

use clap::Parser;
use kddm_sim::{Command, EXPECTED, Finding, Log, Plan, files, regressions, run};

fn command(arguments: &[&str]) -> Command {
    Command::parse_from(["kddm-sim"].iter().chain(arguments))
}

#[test]
fn seeds_find_nothing_and_everything_occurs() {
    let mut outcome = command(&[]).regressions(&regressions().expect("the file is as it says it is"));
    outcome.add(command(&["--seconds", "30"]).run());
    outcome.print();
    assert_eq!(outcome.status(), 0, "see the findings above");
    // On the slowest machine there are a few hundred seeds; each thing occurs in one of ten at least.
    let never: Vec<&str> = EXPECTED.into_iter().filter(|what| !outcome.coverage.contains_key(what)).collect();
    assert!(never.is_empty(), "never in {} seeds: {never:?}", outcome.seeds);
}

#[test]
fn file_systems_do_what_the_model_does() {
    let outcome = command(&["--files", "--seeds", "250"]).run();
    outcome.print();
    assert_eq!(outcome.status(), 0, "see the findings above");
    let never: Vec<&str> =
        files::EXPECTED.into_iter().filter(|what| !outcome.coverage.contains_key(what)).collect();
    assert!(never.is_empty(), "never in {} seeds: {never:?}", outcome.seeds);
    assert_eq!(command(&["--files", "--seeds", "20", "--twice"]).run().status(), 0);
}

#[test]
fn a_seed_tells_the_same_story_each_time() {
    let outcome = command(&["--seed", "1000", "--seeds", "60", "--twice"]).run();
    assert_eq!(outcome.status(), 0, "see the findings above");
    assert_eq!(outcome.seeds, 60);
}

#[test]
fn seeds_differ() {
    let fingerprint = |seed| run(Plan::of(seed, false), Log::new(false)).map(|report| report.fingerprint);
    assert_ne!(fingerprint(1).unwrap(), fingerprint(2).unwrap());
}

#[test]
fn findings_have_different_statuses() {
    let findings =
        [Finding::Wrong(String::new()), Finding::Stall(String::new()), Finding::Panic(String::new())];
    assert_eq!(findings.map(|finding| finding.status()), [2, 3, 4]);
}
