//! Whether two nodes may talk: everything that must agree, and what to do if it does not.

use super::{TcpConfig, codec::Hello};
use kddm_cluster::ClusterId;
use kddm_object::{Incarnation, NodeId};
use std::net::IpAddr;

impl TcpConfig {
    /// What this node says of itself.
    pub(super) fn hello(&self, life: Incarnation, fabric: &str) -> Hello {
        Hello {
            cluster: self.cluster.0,
            node: self.me.get(),
            incarnation: life.0,
            format_version: self.greeting.format_version,
            root: self.greeting.root,
            fabric: fabric.to_owned(),
        }
    }

    /// The peer that says `hello` from `remote`, or what is wrong and what to do.
    pub(super) fn examine(
        &self,
        hello: &Hello,
        remote: IpAddr,
        fabric: &str,
    ) -> Result<(NodeId, Incarnation), String> {
        let me = self.me;
        if hello.cluster != self.cluster.0 {
            return Err(format!(
                "{remote} belongs to cluster {}, node {me} to cluster {}: they have one key but cluster files with \
                 different ids; copy one cluster.toml to all nodes of a cluster, and give each cluster its own key",
                ClusterId(hello.cluster),
                self.cluster
            ));
        }
        let node = NodeId::new(hello.node).map_err(|error| format!("{remote}: {error}"))?;
        if node == me {
            return Err(format!(
                "{remote} says that it is node {me}, as node {me} at {} does: give one of them another `id` in \
                 cluster.toml, on all nodes",
                self.listen.ip()
            ));
        }
        let Some((_, address)) = self.peers.iter().find(|(peer, _)| *peer == node) else {
            return Err(format!(
                "{remote} says that it is node {node}, which node {me}'s cluster file does not list: copy one \
                 cluster.toml to all nodes and restart them"
            ));
        };
        if address.ip() != remote {
            return Err(format!(
                "{remote} says that it is node {node}, but node {me}'s cluster file gives node {node} the address {}: \
                 either a second server runs with that id, or the cluster files differ",
                address.ip()
            ));
        }
        if hello.fabric != fabric {
            return Err(format!(
                "node {node} ({remote}) uses the fabric {:?}, node {me} {fabric:?}: write one `fabric` in the cluster.toml of \
                 all nodes",
                hello.fabric
            ));
        }
        let format = self.greeting.format_version;
        if hello.format_version != format {
            return Err(format!(
                "node {node} ({remote}) has partitions of format version {}, node {me} of version {format}: install \
                 the same version of kDFS on all nodes",
                hello.format_version
            ));
        }
        match (hello.root, self.greeting.root) {
            (Some(theirs), Some(ours)) if theirs != ours => Err(format!(
                "node {node} ({remote}) has the root directory {theirs} (of node {}), node {me} has {ours} (of node \
                 {}): their partitions belong to different file systems; format one of them again with mkfs.kdfs \
                 and the other's ROOT_NODEID, or correct `root`",
                theirs >> 24,
                ours >> 24
            )),
            _ => Ok((node, Incarnation(hello.incarnation))),
        }
    }

    /// What to say of a peer with another protocol version.
    pub(super) fn other_version(&self, theirs: u32, remote: IpAddr) -> String {
        format!(
            "{remote} speaks protocol version {theirs}, node {} version {}: install the same version of kDDM on all \
             nodes",
            self.me, self.greeting.protocol_version
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tcp::Greeting;
    use kddm_cluster::Key;

    fn node(id: u8) -> NodeId {
        NodeId::new(id).unwrap()
    }

    fn config() -> TcpConfig {
        TcpConfig {
            me: node(1),
            incarnation: Incarnation(4),
            listen: "10.0.0.1:5336".parse().unwrap(),
            peers: vec![
                (node(2), "10.0.0.2:5336".parse().unwrap()),
                (node(3), "10.0.0.3:5336".parse().unwrap()),
            ],
            cluster: ClusterId([7; 16]),
            key: Key::from_bytes([0; 32]),
            greeting: Greeting { protocol_version: 1, format_version: 1, root: Some(1 << 24 | 1) },
        }
    }

    #[test]
    fn every_difference_is_named_with_its_remedy() {
        let good = Hello { node: 2, incarnation: 9, ..config().hello(Incarnation(4), "tcp") };
        let from: IpAddr = "10.0.0.2".parse().unwrap();
        assert_eq!(config().examine(&good, from, "tcp"), Ok((node(2), Incarnation(9))));
        assert!(config().examine(&Hello { root: None, ..good.clone() }, from, "tcp").is_ok());
        let cases = [
            (Hello { cluster: [8; 16], ..good.clone() }, "one cluster.toml"),
            (Hello { node: 1, ..good.clone() }, "another `id`"),
            (Hello { node: 0, ..good.clone() }, "no node id"),
            (Hello { node: 9, ..good.clone() }, "does not list"),
            (Hello { node: 3, ..good.clone() }, "a second server"),
            (Hello { fabric: "verbs".to_owned(), ..good.clone() }, "write one `fabric`"),
            (Hello { format_version: 2, ..good.clone() }, "same version of kDFS"),
            (Hello { root: Some(2 << 24 | 1), ..good.clone() }, "ROOT_NODEID"),
        ];
        for (hello, part) in cases {
            let reason = config().examine(&hello, from, "tcp").unwrap_err();
            assert!(reason.contains(part) && reason.contains("10.0.0.2"), "{reason}");
        }
    }
}
