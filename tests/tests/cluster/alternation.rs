//! No read is older than the last write, whichever node made it.

use kddm_bench::alternate::{Options, Outcome, run};
use kddm_bench::playground;
use kddm_bench::random::fresh_seed;
use kddm_tests::Cluster;
use std::fs;
use std::os::unix::fs::FileExt;
use std::thread;

fn alternate(cluster: &Cluster, a: u8, b: u8, rounds: u64) -> Outcome {
    let seed = fresh_seed();
    println!("nodes {a} and {b}: {rounds} rounds, seed {seed}");
    let outcome =
        run([&cluster.at(a, ""), &cluster.at(b, "")], Options { rounds, seed }).expect("a directory");
    assert_eq!(outcome.rounds, rounds);
    outcome
}

#[test]
fn two_nodes_never_show_an_old_byte() {
    two_nodes("shm");
}

#[test]
fn two_nodes_never_show_an_old_byte_over_tcp() {
    two_nodes("tcp");
}

fn two_nodes(fabric: &str) {
    let cluster = Cluster::over(fabric, 2);
    let outcome = alternate(&cluster, 1, 2, 2000);
    assert!(outcome.clean(), "{outcome:#?}");
}

#[test]
fn neither_do_three_in_any_pairing_at_once() {
    let cluster = Cluster::up(3);
    thread::scope(|scope| {
        let runs = [(1, 2), (2, 3), (3, 1)].map(|(a, b)| {
            let cluster = &cluster;
            scope.spawn(move || alternate(cluster, a, b, 300))
        });
        for run in runs {
            let outcome = run.join().expect("no panic");
            assert!(outcome.clean(), "{outcome:#?}");
        }
    });
}

#[test]
fn without_invalidations_old_bytes_are_seen() {
    let cluster = Cluster::with(playground::Options { unsound: true, ..playground::Options::nodes(2) });
    let outcome = alternate(&cluster, 1, 2, 200);
    assert!(outcome.stale > 0, "the alternation test is blind: {outcome:#?}");
}

/// O_APPEND is atomic in the whole cluster: no record of any writer is lost or cut.
#[test]
fn appends_of_all_nodes_are_all_there() {
    const RECORDS: usize = 100;
    let cluster = Cluster::up(3);
    fs::write(cluster.at(1, "log"), "").unwrap();
    thread::scope(|scope| {
        for node in 1..=3 {
            let path = cluster.at(node, "log");
            scope.spawn(move || {
                let mut log = fs::File::options().append(true).open(path).unwrap();
                for record in 0..RECORDS {
                    let line = format!("{node}:{record:06}:{}\n", "x".repeat(record * 7 % 90));
                    std::io::Write::write_all(&mut log, line.as_bytes()).unwrap();
                }
            });
        }
    });
    for node in 1..=3 {
        let text = fs::read_to_string(cluster.at(node, "log")).unwrap();
        for writer in 1..=3 {
            let mine: Vec<_> = text.lines().filter(|line| line.starts_with(&format!("{writer}:"))).collect();
            assert_eq!(mine.len(), RECORDS, "node {node} shows {} records of node {writer}", mine.len());
            for (record, line) in mine.iter().enumerate() {
                assert_eq!(**line, format!("{writer}:{record:06}:{}", "x".repeat(record * 7 % 90)));
            }
        }
    }
}

/// Writers of different bytes of one page do not undo each other.
#[test]
fn neighbours_in_one_page_do_not_undo_each_other() {
    let cluster = Cluster::up(2);
    fs::write(cluster.at(1, "page"), [0; 4096]).unwrap();
    thread::scope(|scope| {
        for node in 1..=2u8 {
            let path = cluster.at(node, "page");
            scope.spawn(move || {
                let file = fs::File::options().write(true).open(path).unwrap();
                for at in (u64::from(node) - 1..4096).step_by(32) {
                    file.write_all_at(&[node], at).unwrap();
                }
            });
        }
    });
    let bytes = fs::read(cluster.at(2, "page")).unwrap();
    for (at, &byte) in bytes.iter().enumerate() {
        let known = if at % 32 < 2 { at % 32 + 1 } else { 0 };
        assert_eq!(usize::from(byte), known, "byte {at}");
    }
}
