//! Random histories of a service that works, right and then spoilt, judged by a second checker that tries every order.
//!
//! `SEED=s` replays one.

mod service;

use fastrand::Rng;
use kddm_history::{Ended, History, Mode, Touch, Who};
use service::{Event, Kind, Service, Story};

/// The history as the checker gets it.
fn recorded(story: &Story) -> History<u8> {
    let mut history = History::default();
    let mut calls: Vec<Option<kddm_history::Call<u8>>> = story.operations.iter().map(|_| None).collect();
    for event in &story.events {
        let (place, ends) = match *event {
            Event::Begins(place) => (place, false),
            Event::Ends(place) => (place, true),
        };
        let operation = &story.operations[place];
        let who = Who { node: 1, thread: operation.thread };
        match (operation.kind, ends) {
            (Kind::Acquire(mode, touch, _), false) => {
                calls[place] = Some(history.acquire(0, who, mode, touch));
            }
            (Kind::Hold(touch, ..), false) => calls[place] = Some(history.hold(0, who, touch)),
            (Kind::FoundNothing, false) => {
                calls[place] = Some(history.acquire(0, who, Mode::Shared, Touch::Refuse));
            }
            (Kind::Remove, false) => calls[place] = Some(history.remove(0, who)),
            (Kind::Sync, false) => calls[place] = Some(history.sync(0, who)),
            (Kind::Loss, false) => history.loss(0, who),
            (Kind::Put(mode, wrote), false) => history.put(0, who, mode, wrote),
            (Kind::Put(..) | Kind::Loss, true) => {}
            (kind, true) => {
                let ended = match kind {
                    Kind::Acquire(_, _, saw) if operation.certain => Ended::Held(saw),
                    Kind::Hold(_, saw, wrote) if operation.certain => Ended::Had { saw, wrote },
                    Kind::FoundNothing => Ended::FoundNothing,
                    _ if operation.certain => Ended::Done,
                    _ => Ended::Unknown,
                };
                history.end(calls[place].take().expect("it began"), ended);
            }
        }
    }
    history
}

/// In every third seed of whole holds.
fn service(threads: u8, crashes: u16, seed: u64) -> Service {
    let service = Service::new(threads, crashes);
    if seed.is_multiple_of(3) { service.of_whole_holds() } else { service }
}

fn seeds(most: u64) -> Vec<u64> {
    match std::env::var("SEED") {
        Ok(seed) => vec![seed.parse().expect("SEED is a number")],
        Err(_) => (0..most).collect(),
    }
}

#[test]
fn what_a_service_that_works_shows_is_right() {
    for seed in seeds(3000) {
        let rng = &mut Rng::with_seed(seed);
        let threads = rng.u8(1..=6);
        let crashes = if rng.bool() { 40 } else { 0 };
        let story = service(threads, crashes, seed).run(rng, 60);
        if let Err(violation) = recorded(&story).check() {
            panic!("SEED={seed}: {violation}");
        }
    }
}

#[test]
fn every_verdict_is_that_of_trying_every_order() {
    let (mut right, mut wrong) = (0, 0);
    for seed in seeds(20_000) {
        let rng = &mut Rng::with_seed(seed);
        let (threads, crashes, operations) =
            (rng.u8(2..=4), [0, 40, 4000][rng.usize(0..3)], rng.usize(4..=9));
        let mut story = service(threads, crashes, seed).run(rng, operations);
        story.spoil(rng);
        let (verdict, truth) = (recorded(&story).check(), story.is_right());
        match truth {
            true => right += 1,
            false => wrong += 1,
        }
        let text = verdict.as_ref().err().map(ToString::to_string).unwrap_or_default();
        assert_eq!(verdict.is_ok(), truth, "SEED={seed}: {story:#?}\n{text}");
    }
    if std::env::var("SEED").is_err() {
        assert!(right > 2000 && wrong > 2000, "{right} right, {wrong} wrong: one of them is hardly tested");
    }
}

#[test]
fn a_hundred_thousand_operations_on_one_object() {
    for seed in seeds(2) {
        let rng = &mut Rng::with_seed(seed);
        // What nobody knows of a crash stays open to the end.
        let story = Service::new(16, 2 * seed as u16).run(rng, 100_000);
        let explored =
            recorded(&story).check().unwrap_or_else(|violation| panic!("SEED={seed}: {violation}"));
        assert!(explored.operations >= 100_000);
        let each = explored.states as f64 / explored.operations as f64;
        assert!(each < 100.0, "SEED={seed}: {each} states tried for each operation");
        println!("{} operations, {each:.1} states tried for each", explored.operations);
    }
}
