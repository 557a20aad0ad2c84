//! The targets without guidance: the corpus again, and for a second each blind changes of it. `make fuzz` is the long way.
//!
//! `KDDM_FUZZ_SECONDS`: how long each; `KDDM_FUZZ_SEED`: which changes. What breaks a property is written to a file, with the command that
//! tries it again.

use kddm_fuzz::{TARGETS, Target, change, corpus, target};
use std::{
    collections::BTreeSet,
    env, fs,
    panic::{AssertUnwindSafe, catch_unwind},
    path::Path,
    time::{Duration, Instant},
};

/// Each target has a test of its own, so that one does not hide another.
macro_rules! smoke {
    ($($test:ident: $target:literal,)*) => {
        $(#[test]
        fn $test() {
            smoke(target($target).expect("a target"));
        })*

        #[test]
        fn every_target_is_run() {
            let run = BTreeSet::from([$($target),*]);
            let there: BTreeSet<&str> = TARGETS.iter().map(|target| target.name).collect();
            assert_eq!(run, there);
        }
    };
}

smoke! {
    messages_of_the_protocol: "wire",
    records_of_tcp: "frames",
    control_messages: "control",
    callers: "opening",
    sessions: "session",
    words_of_verbs: "verbs-word",
    offers_of_shm: "shm-offer",
    rings_of_shm: "shm-ring",
    rings_of_programs: "ring",
    the_admin_protocol: "admin",
    cluster_files: "cluster-file",
    key_files: "key-file",
    superblocks: "superblock",
    inodes: "inode",
    directory_pages: "directory",
    bitmap_pages: "bitmap",
    checkpoint_headers: "batch",
    logs: "log",
    requests_of_the_kernel: "fuse",
    mount_options: "mount-options",
}

#[test]
fn seeds_are_in_the_corpus_as_they_would_be_written_now() {
    for target in TARGETS {
        let corpus = corpus::read(&target).unwrap_or_else(|error| panic!("{}: {error}", target.name));
        for seed in (target.seeds)() {
            let there = corpus.contains(&seed);
            assert!(there, "{}: {} is not what it was: cargo run -p kddm-fuzz -- seeds", target.name, seed.0);
        }
    }
}

fn smoke(target: Target) {
    let inputs = corpus::read(&target).expect("a corpus");
    inputs.iter().for_each(|(_, input)| try_out(&target, input));
    let seed =
        env::var("KDDM_FUZZ_SEED").map_or_else(|_| fastrand::u64(..), |seed| seed.parse().expect("a number"));
    let seconds = env::var("KDDM_FUZZ_SECONDS").map_or(1.0, |seconds| seconds.parse().expect("a number"));
    let (begin, time) = (Instant::now(), Duration::from_secs_f64(seconds));
    let mut random = fastrand::Rng::with_seed(seed);
    let mut tried = 0;
    while begin.elapsed() < time {
        let mut input = inputs[random.usize(..inputs.len())].1.clone();
        let other = &inputs[random.usize(..inputs.len())].1;
        change::change(&mut input, other, target.longest, &mut random);
        try_out(&target, &input);
        tried += 1;
    }
    println!("{}: {} inputs of the corpus, {tried} changed ones, seed {seed}", target.name, inputs.len());
    assert!(tried > 0, "no input was tried in {time:?}");
}

/// Checks `input`; keeps it if it breaks a property.
fn try_out(target: &Target, input: &[u8]) {
    if let Err(panic) = catch_unwind(AssertUnwindSafe(|| (target.check)(input))) {
        let file =
            Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{}-{:08x}", target.name, fastrand::u32(..)));
        fs::write(&file, input).expect("the build's folder can be written");
        println!("try it again: cargo run -p kddm-fuzz -- run {} {}", target.name, file.display());
        println!("then mend what it found, and keep it: mv it to tests/fuzz/corpus/{}", target.name);
        std::panic::resume_unwind(panic);
    }
}
