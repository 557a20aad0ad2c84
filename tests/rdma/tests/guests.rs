//! What guests do together over real RDMA: each test boots some, and runs this crate's program in all of them.
//!
//! `SEED=s` replays, as far as threads and clocks let it.

use kddm_bench::programs::built;
use kddm_bench::random::fresh_seed;
use kddm_bench::tree;
use nix::fcntl::{Flock, FlockArg};
use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::process::Command;
use std::time::Instant;

const PROGRAM: &str = env!("CARGO_BIN_EXE_kddm-rdma-tests");

/// The guests' commands end in a quarter of a minute where nothing else runs. Where much does, they need so long.
const TIMEOUT: &str = "600";

/// Guests are slow enough one run at a time, whatever process it is that runs a test. The turn lasts until the file is closed.
fn turn(program: &Path) -> Flock<File> {
    let program = File::open(program).expect("the program was built");
    Flock::lock(program, FlockArg::LockExclusive).map_err(|(_, error)| error).expect("a turn")
}

/// Runs `script` in `guests` guests, as `$P` this crate's program; all must end well, and each of `lines` must be said.
fn run(guests: u8, options: &[&str], script: &str, lines: &[&str]) {
    let soft_roce = built("kddm-soft-roce").unwrap_or_else(|error| panic!("{error}"));
    let _turn = turn(&soft_roce);
    let begin = Instant::now();
    let mut command = Command::new(soft_roce);
    command.args(["--guests", &guests.to_string(), "--timeout", TIMEOUT]).args(options);
    command.args(["--env", &format!("P={PROGRAM}"), "--", "sh", "-euc", script]);
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).expect("the workspace");
    let output = command.current_dir(root).output().expect("running soft-roce");
    let [out, error] = [&output.stdout, &output.stderr].map(|bytes| String::from_utf8_lossy(bytes));
    let again = || format!("again: soft-roce/run {:?}", command.get_args().collect::<Vec<_>>());
    assert!(output.status.success(), "{}: {out}\n{error}\n{}", output.status, again());
    for line in lines {
        assert!(out.contains(line), "{line:?} is not said:\n{out}\n{error}\n{}", again());
    }
    // Not by println!, which a test that passes does not show: these are figures to look at.
    let took = begin.elapsed();
    let _ = writeln!(std::io::stderr(), "{guests} guests, {took:.1?}:\n{out}");
}

fn seed() -> u64 {
    std::env::var("SEED").map_or_else(|_| fresh_seed(), |seed| seed.parse().expect("SEED is a number"))
}

#[test]
fn two_nodes_agree_whatever_becomes_of_their_queue_pairs() {
    let seed = seed();
    let script = format!(
        "$P load --seed {seed} --operations 2000
         $P load --seed {seed} --operations 2000 --break-every 100
         $P load --seed {seed} --operations 200 --unsound"
    );
    let lines = ["load: 2 nodes over Verbs", "queue pairs broken: 2 nodes", "left out: 2 nodes"];
    run(2, &[], &script, &lines);
}

#[test]
fn three_nodes_agree_whatever_becomes_of_their_queue_pairs() {
    let seed = seed();
    let script = format!(
        "$P load --seed {seed} --operations 800
         $P load --seed {seed} --operations 800 --break-every 100"
    );
    run(3, &[], &script, &["load: 3 nodes over Verbs", "queue pairs broken: 3 nodes"]);
}

#[test]
fn two_guests_share_files_until_one_goes_off() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let tree = tree::stage(None, &folder.path().join("tree"), 200, 0).expect("a tree");
    let seed = seed();
    let script =
        format!("tests/setup mount; exec $P files --rounds 500 --seed {seed} {}", tree.path.display());
    let lines = ["the same through guest 1", "alternated 500 rounds", "READs over verbs", "back", "went off"];
    run(2, &["--may-vanish", "1"], &script, &lines);
}
