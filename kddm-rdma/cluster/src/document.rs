//! The text of a cluster file ⇄ [`Cluster`].

use crate::{
    Cluster, ClusterError, DEFAULT_PORT, MIN_ARENA_BYTES, Member, MetricsAt, Rdma,
    cluster::DEFAULT_ARENA_BYTES, format_size, node_id_of, parse_size,
};
use kddm_object::{NodeId, limits::MAX_NODES};
use serde::{Deserialize, Serialize};
use std::{collections::BTreeMap, net::IpAddr, ops::Range, path::Path};
use toml::{Spanned, Value};

impl Cluster {
    /// The cluster that `text`, read from `file`, describes. A relative key file is relative to `file`.
    ///
    /// # Errors
    /// What is wrong, in which line, and what to write instead.
    pub fn parse(text: &str, file: &Path) -> Result<Cluster, ClusterError> {
        parse(text, file).map_err(|(span, what)| ClusterError::Text {
            file: file.to_owned(),
            line: 1 + text.bytes().take(span.start).filter(|&byte| byte == b'\n').count(),
            what,
        })
    }

    /// The cluster as the text of `file`, from which [`Cluster::parse`] makes it again.
    pub fn to_text(&self, file: &Path) -> String {
        let document = Written {
            id: self.id.to_string(),
            key_file: beside(file, &self.key_file).display().to_string(),
            fabric: self.fabric.to_string(),
            arena: format_size(self.arena_bytes),
            port: self.port,
            root: self.root,
            metrics: self.metrics.map(written_metrics),
            rdma: self.rdma.clone(),
            node: self.nodes.iter().map(|member| self.written(member)).collect(),
        };
        toml::to_string(&document).expect("strings, numbers and a list of tables are always valid TOML")
    }

    fn written(&self, member: &Member) -> WrittenNode {
        let rdma = self.rdma_of.get(&member.id).cloned().unwrap_or_default();
        let metrics = self.metrics_of.get(&member.id).copied().map(written_metrics);
        WrittenNode { id: member.id.get(), address: member.address, metrics, rdma }
    }
}

/// `path` as `file` names it: relative to the directory that both lie in, if they do.
fn beside<'a>(file: &Path, path: &'a Path) -> &'a Path {
    let relative = file.parent().and_then(|directory| path.strip_prefix(directory).ok());
    relative.filter(|relative| !relative.as_os_str().is_empty()).unwrap_or(path)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    id: Spanned<String>,
    key_file: Spanned<String>,
    fabric: Option<Spanned<String>>,
    arena: Option<Spanned<String>>,
    port: Option<Spanned<i64>>,
    root: Option<Spanned<i64>>,
    metrics: Option<Spanned<Value>>,
    #[serde(default = "open")]
    rdma: Spanned<Rdma>,
    #[serde(default)]
    node: Vec<Spanned<Node>>,
}

fn open() -> Spanned<Rdma> {
    Spanned::new(0..0, Rdma::default())
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Node {
    id: Option<Spanned<i64>>,
    address: Spanned<String>,
    metrics: Option<Spanned<Value>>,
    #[serde(default = "open")]
    rdma: Spanned<Rdma>,
}

#[derive(Serialize)]
struct Written {
    id: String,
    key_file: String,
    fabric: String,
    arena: String,
    port: u16,
    #[serde(skip_serializing_if = "Option::is_none")]
    root: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    metrics: Option<Value>,
    #[serde(skip_serializing_if = "Rdma::is_open")]
    rdma: Rdma,
    node: Vec<WrittenNode>,
}

#[derive(Serialize)]
struct WrittenNode {
    id: u8,
    address: IpAddr,
    #[serde(skip_serializing_if = "Option::is_none")]
    metrics: Option<Value>,
    #[serde(skip_serializing_if = "Rdma::is_open")]
    rdma: Rdma,
}

/// Where in the text, and what is wrong there.
type Wrong = (Range<usize>, String);

fn parse(text: &str, file: &Path) -> Result<Cluster, Wrong> {
    let document: Document = toml::from_str(text).map_err(|error| {
        (
            error.span().unwrap_or(0..0),
            format!("{}; see docs/operations.md for the keys of this file", error.message()),
        )
    })?;
    let directory = file.parent().unwrap_or(Path::new(""));
    let cluster = Cluster {
        id: at(&document.id, |id| id.parse().map_err(|e| format!("id: {e}")))?,
        key_file: at(&document.key_file, |path| match Path::new(path).file_name() {
            None => {
                Err(format!("key_file = {path:?} names no file: name the one that `kddm key new FILE` made"))
            }
            Some(_) => Ok(directory.join(path)),
        })?,
        fabric: optional(&document.fabric, |name| name.parse())?.unwrap_or_default(),
        arena_bytes: optional(&document.arena, |size| arena(size))?.unwrap_or(DEFAULT_ARENA_BYTES),
        port: optional(&document.port, |&port| within("port", port, 1, 65535))?.unwrap_or(DEFAULT_PORT),
        root: optional(&document.root, |&root| within("root", root, 1, u32::MAX).and_then(inode))?,
        nodes: nodes(&document.node)?,
        metrics: optional(&document.metrics, metrics)?,
        metrics_of: metrics_of(&document.node)?,
        rdma_of: rdma_of(&document.node)?,
        rdma: at(&document.rdma, device)?,
    };
    check_metrics(&cluster, &document.metrics)?;
    Ok(cluster)
}

/// A port, or an address with one.
fn metrics(value: &Value) -> Result<MetricsAt, String> {
    match value {
        Value::Integer(port) => within("metrics", *port, 1, 65535).map(MetricsAt::Port),
        Value::String(text) => text.parse().map(MetricsAt::Socket).map_err(|_| {
            format!("metrics = {text:?} is no address with a port: write \"127.0.0.1:9536\", or a port alone for loopback")
        }),
        _ => Err("metrics is a port, as 9536, or an address with one, as \"127.0.0.1:9536\"".to_owned()),
    }
}

fn written_metrics(at: MetricsAt) -> Value {
    match at {
        MetricsAt::Port(port) => Value::Integer(port.into()),
        MetricsAt::Socket(socket) => Value::String(socket.to_string()),
    }
}

fn check_metrics(cluster: &Cluster, given: &Option<Spanned<Value>>) -> Result<(), Wrong> {
    let taken = |member: &&Member| cluster.metrics(member) == Some(cluster.socket(member));
    match cluster.nodes.iter().find(taken) {
        Some(member) => Err((
            given.as_ref().map_or(0..0, Spanned::span),
            format!(
                "metrics: node {} listens for its peers on {} already; give the metrics another port",
                member.id,
                cluster.socket(member)
            ),
        )),
        None => Ok(()),
    }
}

/// Called when the nodes have been found to be right.
fn metrics_of(tables: &[Spanned<Node>]) -> Result<BTreeMap<NodeId, MetricsAt>, Wrong> {
    let given = tables.iter().map(Spanned::as_ref).filter_map(|node| Some((node, node.metrics.as_ref()?)));
    given.map(|(node, value)| Ok((member(node)?.id, at(value, metrics)?))).collect()
}

/// An inode number has a node's id in its highest byte, and a number from 1 on below.
fn inode(root: u32) -> Result<u32, String> {
    match NodeId::new((root >> 24) as u8) {
        Ok(_) if root & 0xff_ffff != 0 => Ok(root),
        _ => Err(format!(
            "root = {root} is no inode's number: write that of the root directory, node * 16777216 + 1 (`kddm status` shows it)"
        )),
    }
}

fn device(rdma: &Rdma) -> Result<Rdma, String> {
    match rdma.port {
        Some(0) => Err("port = 0 is out of range: ports of a device are numbered from 1".to_owned()),
        _ => Ok(rdma.clone()),
    }
}

fn arena(size: &str) -> Result<u64, String> {
    let bytes = parse_size(size).map_err(|what| format!("arena: {what}"))?;
    if bytes < MIN_ARENA_BYTES {
        return Err(format!(
            "arena = {size:?} is too small: write at least {:?}",
            format_size(MIN_ARENA_BYTES)
        ));
    }
    Ok(bytes)
}

fn nodes(tables: &[Spanned<Node>]) -> Result<Vec<Member>, Wrong> {
    if tables.is_empty() {
        return Err((0..0, "no node is listed: add a [[node]] with an address for each".to_owned()));
    }
    let mut members: Vec<Member> = Vec::new();
    for table in tables {
        let member = member(table.as_ref())?;
        for other in &members {
            if other.id == member.id {
                let what = format!(
                    "{} and {} are both node {}: give one of them another `id`",
                    other.address, member.address, member.id
                );
                return Err((table.span(), what));
            }
            if other.address.to_canonical() == member.address.to_canonical() {
                let what = format!(
                    "node {} and node {} have the same address {}",
                    other.id, member.id, member.address
                );
                return Err((table.span(), format!("{what}: each node needs one of its own")));
            }
        }
        members.push(member);
    }
    members.sort_by_key(|member| member.id);
    Ok(members)
}

/// Called when the nodes have been found to be right.
fn rdma_of(tables: &[Spanned<Node>]) -> Result<BTreeMap<NodeId, Rdma>, Wrong> {
    let chosen = tables.iter().map(Spanned::as_ref).filter(|node| !node.rdma.as_ref().is_open());
    chosen.map(|node| Ok((member(node)?.id, at(&node.rdma, device)?))).collect()
}

fn member(node: &Node) -> Result<Member, Wrong> {
    let address = at(&node.address, |text| {
        text.parse::<IpAddr>().map_err(|_| {
            format!("address {text:?} is no IP address: write one like \"10.0.0.1\" (no name, no port; the port is the cluster's)")
        })
    })?;
    if address.is_unspecified() || address.is_multicast() {
        let what = format!(
            "{address} is the address of no single machine: write the one that the node's peers reach it by"
        );
        return Err((node.address.span(), what));
    }
    let given = optional(&node.id, |&id| within("id", id, 1, MAX_NODES as u8))?;
    let id = match given {
        Some(id) => NodeId::new(id).ok(),
        None => node_id_of(address),
    };
    let id = id.ok_or_else(|| {
        (
            node.address.span(),
            format!("the last byte of {address} is no node id: give the node an `id` from 1 to 254"),
        )
    })?;
    Ok(Member { id, address })
}

fn at<T, U>(value: &Spanned<T>, parse: impl FnOnce(&T) -> Result<U, String>) -> Result<U, Wrong> {
    parse(value.as_ref()).map_err(|what| (value.span(), what))
}

fn optional<T, U>(
    value: &Option<Spanned<T>>,
    parse: impl FnOnce(&T) -> Result<U, String>,
) -> Result<Option<U>, Wrong> {
    value.as_ref().map(|value| at(value, parse)).transpose()
}

fn within<T: TryFrom<i64> + Into<i64> + Copy>(name: &str, value: i64, low: T, high: T) -> Result<T, String> {
    let (least, most) = (low.into(), high.into());
    match T::try_from(value) {
        Ok(number) if (least..=most).contains(&value) => Ok(number),
        _ => Err(format!("{name} = {value} is out of range: write a whole number from {least} to {most}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Fabric;

    const HEAD: &str = "id = \"ab010203-0405-0607-0809-0a0b0c0d0e0f\"\nkey_file = \"k\"\n";

    fn parse(text: &str) -> Result<Cluster, String> {
        Cluster::parse(text, Path::new("/etc/kdfs/cluster.toml")).map_err(|e| e.to_string())
    }

    #[test]
    fn defaults_and_the_node_id_rule() {
        let cluster = parse(&format!(
            "{HEAD}[[node]]\naddress = \"10.0.0.9\"\n[[node]]\naddress=\"fe80::1\"\nid = 2\n"
        ))
        .unwrap();
        assert_eq!(cluster.key_file, Path::new("/etc/kdfs/k"));
        assert_eq!((cluster.fabric, cluster.port, cluster.root), (Fabric::Tcp, DEFAULT_PORT, None));
        assert_eq!(cluster.members().iter().map(|n| n.get()).collect::<Vec<_>>(), [2, 9]);
        let nine = cluster.nodes[1];
        assert_eq!(cluster.socket(&nine).to_string(), "10.0.0.9:5336");
        assert_eq!(cluster.peers_of(cluster.nodes[0].id), [(nine.id, cluster.socket(&nine))]);
    }

    #[test]
    fn what_is_written_is_read() {
        let text = format!(
            "{HEAD}arena = \"64 MiB\"\nport = 7000\nroot = 16777217\n[[node]]\naddress = \"127.0.0.1\"\n[[node]]\naddress = \"127.0.0.2\"\n"
        );
        let cluster = parse(&text).unwrap();
        assert_eq!(cluster.arena_bytes, 64 << 20);
        assert_eq!(parse(&cluster.to_text(Path::new("/etc/kdfs/cluster.toml"))).unwrap(), cluster);
    }

    #[test]
    fn a_relative_file_is_read_again_as_it_was_written() {
        let text = format!("{HEAD}[[node]]\naddress = \"10.0.0.1\"\n");
        let file = Path::new("here/cluster.toml");
        let cluster = Cluster::parse(&text, file).unwrap();
        assert_eq!(cluster.key_file, Path::new("here/k"));
        assert_eq!(Cluster::parse(&cluster.to_text(file), file).unwrap(), cluster);
    }

    #[test]
    fn devices_are_chosen_for_all_and_for_one() {
        let cluster = parse(&format!(
            "{HEAD}fabric = \"verbs\"\n[rdma]\ndevice = \"mlx5_0\"\nport = 2\n\
             [[node]]\naddress = \"10.0.0.1\"\n[[node]]\naddress = \"10.0.0.2\"\nrdma = {{ gid_index = 5 }}\n\
             [[node]]\naddress = \"10.0.0.3\"\nrdma = {{ device = \"rxe0\" }}\n"
        ))
        .unwrap();
        let of = |id| cluster.rdma(NodeId::new(id).unwrap());
        let device = |name: &str, port, gid_index| Rdma { device: Some(name.to_owned()), port, gid_index };
        assert_eq!(cluster.fabric, Fabric::Verbs);
        assert_eq!(of(1), device("mlx5_0", Some(2), None));
        assert_eq!(of(2), device("mlx5_0", Some(2), Some(5)));
        assert_eq!(of(3), device("rxe0", None, None));
        assert_eq!(parse(&cluster.to_text(Path::new("/etc/kdfs/cluster.toml"))).unwrap(), cluster);
    }

    #[test]
    fn metrics_are_told_on_loopback_unless_an_address_is_given() {
        let cluster = parse(&format!(
            "{HEAD}metrics = 9536\n[[node]]\naddress = \"10.0.0.1\"\n[[node]]\naddress = \"127.0.0.2\"\n\
             [[node]]\naddress = \"10.0.0.3\"\nmetrics = \"10.0.0.3:9100\"\n"
        ))
        .unwrap();
        let told: Vec<_> =
            cluster.nodes.iter().map(|node| cluster.metrics(node).unwrap().to_string()).collect();
        assert_eq!(told, ["127.0.0.1:9536", "127.0.0.2:9536", "10.0.0.3:9100"]);
        assert_eq!(parse(&cluster.to_text(Path::new("/etc/kdfs/cluster.toml"))).unwrap(), cluster);
        let without = parse(&format!("{HEAD}[[node]]\naddress = \"10.0.0.1\"\n")).unwrap();
        assert_eq!(without.metrics(&without.nodes[0]), None);
    }

    #[test]
    fn every_mistake_is_named_with_its_line_and_remedy() {
        let node = "[[node]]\naddress = \"10.0.0.1\"\n";
        let cases = [
            (format!("{HEAD}colour = 3\n{node}"), 3, "unknown field `colour`"),
            (format!("{HEAD}{node}weight = 1\n"), 5, "unknown field `weight`"),
            (
                format!("{HEAD}fabric = \"ether\"\n{node}"),
                3,
                "this version has \"tcp\", \"verbs\" and \"shm\"",
            ),
            (format!("{HEAD}[rdma]\ngid = 3\n{node}"), 4, "unknown field `gid`"),
            (format!("{HEAD}arena = \"64 MB\"\n{node}"), 3, "for example \"64 MiB\""),
            (format!("{HEAD}arena = \"4 KiB\"\n{node}"), 3, "at least \"8 MiB\""),
            (format!("{HEAD}port = 70000\n{node}"), 3, "from 1 to 65535"),
            (format!("{HEAD}root = 0\n{node}"), 3, "from 1 to 4294967295"),
            (format!("{HEAD}root = 16777216\n{node}"), 3, "no inode's number"),
            (format!("{HEAD}[rdma]\nport = 0\n{node}"), 3, "numbered from 1"),
            (format!("{HEAD}{node}rdma = {{ port = 0 }}\n"), 5, "numbered from 1"),
            (format!("{HEAD}[[node]]\nid = 1\naddress = \"0.0.0.0\"\n"), 5, "no single machine"),
            (format!("{HEAD}{node}[[node]]\nid = 2\naddress = \"::ffff:10.0.0.1\"\n"), 5, "the same address"),
            (format!("{HEAD}metrics = 70000\n{node}"), 3, "from 1 to 65535"),
            (format!("{HEAD}metrics = \"here\"\n{node}"), 3, "\"127.0.0.1:9536\""),
            (format!("{HEAD}metrics = true\n{node}"), 3, "as 9536"),
            (format!("{HEAD}metrics = \"10.0.0.1:5336\"\n{node}"), 3, "another port"),
            (format!("{HEAD}{node}metrics = \":9536\"\n"), 5, "\"127.0.0.1:9536\""),
            (format!("{HEAD}{node}{node}"), 5, "both node 1"),
            (format!("{HEAD}{node}[[node]]\nid = 2\naddress = \"10.0.0.1\"\n"), 5, "the same address"),
            (format!("{HEAD}{node}id = 255\n"), 5, "from 1 to 254"),
            (format!("{HEAD}[[node]]\naddress = \"10.0.0.255\"\n"), 4, "give the node an `id`"),
            (format!("{HEAD}[[node]]\naddress = \"alpha\"\n"), 4, "no IP address"),
            (HEAD.to_owned(), 1, "add a [[node]]"),
            (format!("key_file = \"k\"\n{node}"), 1, "missing field `id`"),
            (format!("id = \"lab\"\nkey_file = \"k\"\n{node}"), 1, "uuidgen"),
            (
                format!("{}key_file = \"\"\n{node}", HEAD.lines().next().map(|l| format!("{l}\n")).unwrap()),
                2,
                "kddm key new",
            ),
            ("id = \n".to_owned(), 1, "see docs/operations.md"),
        ];
        for (text, line, part) in cases {
            let error = parse(&text).expect_err(&text);
            assert!(error.starts_with(&format!("/etc/kdfs/cluster.toml:{line}: ")), "{error}\n{text}");
            assert!(error.contains(part), "{error}\n{text}");
        }
    }
}
