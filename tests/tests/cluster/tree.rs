//! A real tree: copied in on one node, the same on every other, after a restart, and with little memory.

use kddm_bench::playground::Options;
use kddm_bench::tree::{Tree, compare, copy, stage};
use kddm_tests::Cluster;

fn staged(cluster: &Cluster) -> Tree {
    stage(None, &cluster.directory().join("tree"), 600, 20 << 20).expect("a source tree on this machine")
}

#[track_caller]
fn same(cluster: &Cluster, tree: &Tree, nodes: &[u8]) {
    for &node in nodes {
        let differences = compare(&tree.path, &cluster.at(node, "tree"), tree.files).expect("readable trees");
        assert!(differences.is_empty(), "through node {node}:\n{}", differences.join("\n"));
    }
}

#[test]
fn what_goes_in_on_one_node_comes_out_on_the_others_and_outlives_a_restart() {
    in_and_out("shm");
}

#[test]
fn what_goes_in_on_one_node_comes_out_on_the_others_and_outlives_a_restart_over_tcp() {
    in_and_out("tcp");
}

fn in_and_out(fabric: &str) {
    let mut cluster = Cluster::over(fabric, 3);
    let tree = staged(&cluster);
    copy(&tree.path, &cluster.at(1, "tree"), tree.files).unwrap();
    same(&cluster, &tree, &[2, 3]);
    cluster.restart();
    same(&cluster, &tree, &[3, 1]);
    // The other way: copied through a node that is not the root's, removed through a third.
    copy(&tree.path, &cluster.at(2, "again"), tree.files).unwrap();
    let differences = compare(&tree.path, &cluster.at(1, "again"), tree.files).unwrap();
    assert!(differences.is_empty(), "{}", differences.join("\n"));
    std::fs::remove_dir_all(cluster.at(3, "again")).unwrap();
    assert!(!cluster.at(1, "again").exists());
}

#[test]
fn memory_of_a_fraction_of_the_tree_is_enough() {
    let small = Options { arena: Some(8 << 20), ..Options::nodes(2) };
    let mut cluster = Cluster::with(small);
    let tree = staged(&cluster);
    assert!(tree.bytes > 20 << 20, "the tree is no larger than the arena");
    copy(&tree.path, &cluster.at(2, "tree"), tree.files).unwrap();
    same(&cluster, &tree, &[1, 2]);
    cluster.set_options(Options::nodes(2));
    cluster.restart();
    same(&cluster, &tree, &[1]);
}
