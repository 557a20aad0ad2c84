//! The load on one host, over shm and over tcp: that it finds nothing where nothing is, and something where something is.

use kddm_bench::random::fresh_seed;
use kddm_rdma_tests::{here, ports};
use std::path::Path;

/// Several processes, each a node, with further arguments.
fn load(fabric: &str, nodes: usize, arguments: &[&str]) {
    let seed = std::env::var("SEED").unwrap_or_else(|_| fresh_seed().to_string());
    let port = ports::free(3).to_string();
    let usual = ["load", "--fabric", fabric, "--port", &port, "--seed", &seed];
    let all: Vec<String> = usual.iter().chain(arguments).map(|&word| word.to_owned()).collect();
    let folder = tempfile::tempdir().expect("a temporary folder");
    let program = Path::new(env!("CARGO_BIN_EXE_kddm-rdma-tests"));
    here::run(program, nodes, folder.path(), &all).unwrap_or_else(|error| {
        panic!("{error:#}; again: kddm-rdma-tests here {nodes} -- {}", all.join(" "));
    });
}

#[test]
fn over_tcp_nodes_in_several_processes_agree_and_are_seen_not_to() {
    agree_and_are_seen_not_to("tcp");
}

#[test]
fn over_shm_nodes_in_several_processes_agree_and_are_seen_not_to() {
    agree_and_are_seen_not_to("shm");
}

fn agree_and_are_seen_not_to(fabric: &str) {
    load(fabric, 2, &["--operations", "3000"]);
    load(fabric, 3, &["--operations", "3000", "--threads", "3"]);
    load(fabric, 2, &["--operations", "500", "--unsound"]);
}
