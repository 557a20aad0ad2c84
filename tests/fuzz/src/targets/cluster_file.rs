//! cluster.toml (`kddm_cluster::Cluster`).

use super::{Target, numbered};
use crate::bound::bounded;
use kddm_cluster::{Cluster, ClusterError, MIN_ARENA_BYTES, node_id_of};
use std::{
    collections::BTreeSet,
    path::{Component, Path},
};

pub(super) const TARGET: Target =
    Target { name: "cluster-file", what: "the text of cluster.toml", check, seeds, longest: 4096 };

fn check(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else { return };
    for file in ["/etc/kdfs/cluster.toml", "here/cluster.toml"] {
        read(text, Path::new(file));
    }
}

fn read(text: &str, file: &Path) {
    // A table costs some hundred bytes, and a key of three bytes can make one.
    let parsed = bounded(600 * text.len() + 8192, || Cluster::parse(text, file));
    match parsed {
        Ok(cluster) => {
            keeps_the_rules(&cluster);
            let again = Cluster::parse(&cluster.to_text(file), file);
            assert_eq!(again.map_err(|error| error.to_string()), Ok(cluster), "it does not come back");
        }
        Err(ClusterError::Text { line, what, .. }) => {
            let lines = 1 + text.bytes().filter(|&byte| byte == b'\n').count();
            assert!((1..=lines).contains(&line), "an error in line {line} of {lines}");
            assert!(!what.is_empty(), "an error that says nothing");
        }
        Err(other) => panic!("another error than one in the text: {other}"),
    }
}

fn keeps_the_rules(cluster: &Cluster) {
    assert!(!cluster.nodes.is_empty(), "no node");
    let ids = cluster.members();
    assert!(ids.windows(2).all(|pair| pair[0] < pair[1]), "ids are not ascending, or not unique: {ids:?}");
    let addresses: BTreeSet<_> = cluster.nodes.iter().map(|member| member.address.to_canonical()).collect();
    assert_eq!(addresses.len(), cluster.nodes.len(), "two nodes have one address");
    for member in &cluster.nodes {
        assert!(!member.address.is_unspecified() && !member.address.is_multicast(), "{}", member.address);
        assert_eq!(cluster.member(member.id), Some(member));
        assert_eq!(cluster.peers_of(member.id).len() + 1, cluster.nodes.len());
        assert_ne!(cluster.rdma(member.id).port, Some(0), "ports of devices are numbered from 1");
        let _ = node_id_of(member.address);
    }
    assert!(cluster.rdma_of.keys().all(|id| ids.contains(id)), "a device of no node");
    assert!(cluster.arena_bytes >= MIN_ARENA_BYTES, "an arena of {}", cluster.arena_bytes);
    assert_ne!(cluster.port, 0);
    if let Some(root) = cluster.root {
        assert!((1..=254).contains(&(root >> 24)) && root & 0xff_ffff != 0, "{root:#x} is no inode's number");
    }
    let last = cluster.key_file.components().next_back();
    assert!(matches!(last, Some(Component::Normal(_) | Component::ParentDir)), "{:?}", cluster.key_file);
}

const HEAD: &str = "id = \"ab010203-0405-0607-0809-0a0b0c0d0e0f\"\nkey_file = \"k\"\n";

fn seeds() -> Vec<(String, Vec<u8>)> {
    let texts = [
        format!("{HEAD}[[node]]\naddress = \"10.0.0.9\"\n[[node]]\naddress=\"fe80::1\"\nid = 2\n"),
        format!(
            "{HEAD}arena = \"64 MiB\"\nport = 7000\nroot = 16777217\nfabric = \"shm\"\n[[node]]\naddress = \"127.0.0.1\"\n"
        ),
        format!(
            "{HEAD}fabric = \"verbs\"\n[rdma]\ndevice = \"mlx5_0\"\nport = 2\ngid_index = 3\n\
             [[node]]\naddress = \"10.0.0.1\"\nrdma = {{ gid_index = 5 }}\n\
             [[node]]\naddress = \"10.0.0.200\"\nid = 7\nrdma = {{ device = \"rxe0\", port = 1 }}\n"
        ),
        format!(
            "# one\n{}key_file = '/k/../\u{e9}'\nnode = [{{ address = \"::1\", id = 254 }}]\n",
            &HEAD[..44]
        ),
        format!("{HEAD}[[node]]\naddress = \"10.0.0.1\"\n[[node]]\naddress = \"10.0.0.1\"\nid = 2\n"),
    ];
    numbered("cluster", texts.map(String::into_bytes))
}
