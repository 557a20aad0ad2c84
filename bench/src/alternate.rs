//! The alternation test: what one directory was given, the other must show at once.
//!
//! Two directories, usually the mounts of two nodes, show one namespace. Each round changes a file through
//! one of them (overwrite, append, truncate, rewrite, rename over, unlink, create) and then reads it through
//! the other by open and read, by stat, and through a handle that was open before. The contents are known, so
//! that a read of anything older is seen. Every choice follows from the seed.

mod change;
mod look;

use crate::{progress::Progress, random::Random};
use anyhow::{Context, Result};
use change::Change;
use look::Look;
use std::collections::VecDeque;
use std::fs::File;
use std::path::{Path, PathBuf};

/// Files that a run alternates on, so that a change meets pages and names that both sides know from before.
const FILES: usize = 12;
/// Versions of a file that a wrong read is compared with, to say how old it is.
const REMEMBERED: usize = 16;
/// Findings that are described in words; all are counted.
const DESCRIBED: usize = 5;

/// What to run.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Changes in all.
    pub rounds: u64,
    /// Where every choice comes from.
    pub seed: u64,
}

/// What was found.
#[derive(Clone, Debug, Default)]
pub struct Outcome {
    /// Changes made.
    pub rounds: u64,
    /// Reads, stats and names looked at.
    pub looks: u64,
    /// Looks that did not show the last change.
    pub stale: u64,
    /// System calls that failed and should not have.
    pub errors: u64,
    /// The first few of both, in words.
    pub findings: Vec<String>,
}

impl Outcome {
    /// Whether every look showed the last change.
    pub fn clean(&self) -> bool {
        self.stale == 0 && self.errors == 0
    }

    fn look(&mut self, look: Look, subject: &mut Subject, sides: &[PathBuf; 2], place: &str) {
        self.looks += 1;
        match look.see(subject, sides) {
            Ok(None) => {}
            Ok(Some(difference)) => {
                self.stale += 1;
                self.describe(|| format!("{place}, {look}: {difference}"));
            }
            Err(error) => {
                self.errors += 1;
                self.describe(|| format!("{place}, {look}: {error}"));
            }
        }
    }

    fn describe(&mut self, text: impl FnOnce() -> String) {
        if self.findings.len() < DESCRIBED {
            self.findings.push(text());
        }
    }
}

/// One of the files, as it ought to be.
struct Subject {
    name: String,
    contents: Option<Vec<u8>>,
    past: VecDeque<Option<Vec<u8>>>,
    handles: [Option<File>; 2],
}

impl Subject {
    fn becomes(&mut self, contents: Option<Vec<u8>>) {
        self.past.push_front(std::mem::replace(&mut self.contents, contents));
        self.past.truncate(REMEMBERED);
    }
}

/// Alternates between `sides` below a fresh directory, which is removed in the end.
///
/// # Errors
/// If the directory cannot be made or removed: everything after that is a finding of the outcome.
pub fn run(sides: [&Path; 2], options: Options) -> Result<Outcome> {
    let folder = format!("alternate-{:x}-{}", options.seed, std::process::id());
    let sides = sides.map(|side| side.join(&folder));
    std::fs::create_dir(&sides[0]).with_context(|| format!("creating {}", sides[0].display()))?;
    if std::fs::symlink_metadata(&sides[1]).is_err() {
        // Not one namespace at all, or a stale one: every look below says so.
        let _ = std::fs::create_dir(&sides[1]);
    }
    let outcome = alternate(&sides, options, |_| true, &mut || Ok(()))?;
    for side in &sides {
        let _ = std::fs::remove_dir_all(side);
    }
    Ok(outcome)
}

/// Side `me` of an alternation whose other side is another process, perhaps on another machine, with the same options. `turn` returns
/// when both sides have called it: what one has done before, the other must see afterwards.
///
/// # Errors
/// If the directory cannot be made, or the other side has gone.
pub fn run_side(
    mine: &Path,
    me: usize,
    options: Options,
    turn: &mut dyn FnMut() -> Result<()>,
) -> Result<Outcome> {
    let side = mine.join(format!("alternate-{:x}", options.seed));
    if me == 0 {
        std::fs::create_dir(&side).with_context(|| format!("creating {}", side.display()))?;
    }
    turn()?;
    if std::fs::symlink_metadata(&side).is_err() {
        let _ = std::fs::create_dir(&side);
    }
    let outcome = alternate(&[side.clone(), side.clone()], options, |other| other == me, turn)?;
    turn()?;
    if me == 0 {
        let _ = std::fs::remove_dir_all(side);
    }
    Ok(outcome)
}

/// Makes the changes and looks of the sides that are `here`.
fn alternate(
    sides: &[PathBuf; 2],
    options: Options,
    here: impl Fn(usize) -> bool,
    turn: &mut dyn FnMut() -> Result<()>,
) -> Result<Outcome> {
    let mut random = Random::new(options.seed);
    let mut progress = Progress::new("alternating", options.rounds);
    let mut subjects: Vec<Subject> = (0..FILES)
        .map(|at| Subject {
            name: format!("file-{at}"),
            contents: None,
            past: VecDeque::new(),
            handles: [None, None],
        })
        .collect();
    let mut outcome = Outcome::default();
    for round in 0..options.rounds {
        let writer = random.below(2);
        let subject = &mut subjects[random.below(FILES)];
        let change = Change::choose(subject, &mut random);
        let place = format!("round {round}, {change} of {} on side {writer}", subject.name);
        if !here(writer) {
            change.know(subject);
        } else if let Err(error) = change.make(subject, sides, writer) {
            outcome.errors += 1;
            outcome.describe(|| format!("{place}: {error}"));
            subject.handles = [None, None];
        }
        turn()?;
        for look in Look::sequence(writer, &mut random).into_iter().filter(|look| here(look.side())) {
            outcome.look(look, subject, sides, &place);
        }
        turn()?;
        outcome.rounds += 1;
        progress.step();
    }
    Ok(outcome)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_directory_is_never_stale() {
        let directory = tempfile::tempdir().unwrap();
        let seed = crate::random::fresh_seed();
        let outcome =
            run([directory.path(), directory.path()], Options { rounds: 2000, seed }).expect("a directory");
        assert!(outcome.clean(), "seed {seed}: {outcome:?}");
        assert_eq!(outcome.rounds, 2000);
        assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 0, "something was left behind");
    }

    #[test]
    fn two_unrelated_directories_are_stale() {
        let [a, b] = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
        let outcome = run([a.path(), b.path()], Options { rounds: 200, seed: 1 }).expect("directories");
        assert!(outcome.stale > 100, "{outcome:?}");
        assert_eq!(outcome.findings.len(), DESCRIBED);
    }

    /// Two threads, each with a side, and a barrier between them.
    fn apart(sides: [&Path; 2], options: Options) -> [Outcome; 2] {
        let barrier = std::sync::Barrier::new(2);
        std::thread::scope(|scope| {
            let side = |me: usize| {
                let barrier = &barrier;
                scope.spawn(move || {
                    let mut turn = || {
                        barrier.wait();
                        Ok(())
                    };
                    run_side(sides[me], me, options, &mut turn).expect("a directory")
                })
            };
            [side(0), side(1)].map(|side| side.join().expect("its outcome"))
        })
    }

    #[test]
    fn two_processes_do_together_what_one_does() {
        let [a, b] = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
        let options = Options { rounds: 500, seed: crate::random::fresh_seed() };
        let same = apart([a.path(), a.path()], options);
        assert!(same.iter().all(Outcome::clean), "{same:#?}");
        let alone = run([b.path(), b.path()], options).expect("a directory");
        assert_eq!(same[0].looks + same[1].looks, alone.looks);
        let other = apart([a.path(), b.path()], options);
        assert!(other.iter().all(|outcome| outcome.stale > 50), "{other:#?}");
    }

    #[test]
    fn a_seed_replays() {
        let directory = tempfile::tempdir().unwrap();
        let looks = |seed| {
            run([directory.path(), directory.path()], Options { rounds: 300, seed })
                .expect("a directory")
                .looks
        };
        assert_eq!(looks(5), looks(5));
    }
}
