//! Which node this is: said, or found from the host's addresses.

use crate::arguments::Arguments;
use anyhow::{Context, Result, bail};
use kddm_cluster::{Cluster, node_id_of, paths::CLUSTER_FILE};
use std::fmt;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

/// This node.
pub struct Identity {
    /// Its id.
    pub node: u8,
    /// How the id was found.
    pub source: NodeSource,
    /// The cluster, if a cluster file was read.
    pub cluster: Option<[u8; 16]>,
}

/// How a node id was found; for the report.
pub enum NodeSource {
    /// `--node`.
    Given,
    /// The last byte of an address.
    Address(IpAddr),
    /// The cluster file lists this address of the host.
    Member(IpAddr, PathBuf),
}

impl fmt::Display for NodeSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            NodeSource::Given => write!(f, "as given"),
            NodeSource::Address(address) => write!(f, "the last byte of {address}"),
            NodeSource::Member(address, file) => write!(f, "{address} in {}", file.display()),
        }
    }
}

/// Finds the id of this node.
pub fn find(arguments: &Arguments) -> Result<Identity> {
    let installed = Path::new(CLUSTER_FILE);
    let file = arguments.config.clone().or_else(|| installed.exists().then(|| installed.to_owned()));
    let cluster = file.as_deref().map(Cluster::load).transpose()?;
    let (node, source) = match (arguments.node, &cluster, file) {
        (Some(node), cluster, file) => (known(node, cluster.as_ref(), file.as_deref())?, NodeSource::Given),
        (None, Some(cluster), Some(file)) => among(cluster, &file, &candidates(arguments)?)?,
        _ => alone(arguments, &candidates(arguments)?)?,
    };
    Ok(Identity { node, source, cluster: cluster.map(|cluster| cluster.id.0) })
}

/// A given id has to be in the cluster file, if there is one.
fn known(node: u8, cluster: Option<&Cluster>, file: Option<&Path>) -> Result<u8> {
    let (Some(cluster), Some(file)) = (cluster, file) else { return Ok(node) };
    if cluster.nodes.iter().any(|member| member.id.get() == node) {
        return Ok(node);
    }
    bail!(
        "{}: lists no node {node}; it lists {}: add [[node]] with its id and address there, or give another --config",
        file.display(),
        listed(cluster)
    )
}

/// The member that has an address of this host.
fn among(cluster: &Cluster, file: &Path, addresses: &[IpAddr]) -> Result<(u8, NodeSource)> {
    let mine: Vec<_> = cluster.nodes.iter().filter(|member| addresses.contains(&member.address)).collect();
    match mine.as_slice() {
        [member] => Ok((member.id.get(), NodeSource::Member(member.address, file.to_owned()))),
        [] => bail!(
            "{}: lists no address of this host ({}); it lists {}: add this node, or say --node ID",
            file.display(),
            joined(addresses),
            listed(cluster)
        ),
        several => bail!(
            "{}: lists several addresses of this host (nodes {}): say which with --node ID",
            file.display(),
            several.iter().map(|member| member.id.to_string()).collect::<Vec<_>>().join(", ")
        ),
    }
}

/// No cluster file: the last byte of the only address.
fn alone(arguments: &Arguments, addresses: &[IpAddr]) -> Result<(u8, NodeSource)> {
    let usable: Vec<IpAddr> = match arguments.address {
        Some(address) => vec![address],
        None => addresses.iter().copied().filter(|a| a.is_ipv4() && !a.is_loopback()).collect(),
    };
    let [address] = usable.as_slice() else {
        bail!(
            "this host has {} addresses ({}), so its node id is open: say --node ID, or --address ADDRESS",
            usable.len(),
            joined(&usable)
        )
    };
    match node_id_of(*address) {
        Some(node) => Ok((node.get(), NodeSource::Address(*address))),
        None => bail!("the last byte of {address} is no node id (1 to 254): say --node ID"),
    }
}

/// The address that was given, or those of the host's interfaces.
fn candidates(arguments: &Arguments) -> Result<Vec<IpAddr>> {
    if let Some(address) = arguments.address {
        return Ok(vec![address]);
    }
    let interfaces = nix::ifaddrs::getifaddrs()
        .context("cannot list the addresses of this host; say --node ID or --address ADDRESS")?;
    Ok(interfaces
        .filter_map(|interface| {
            let address = interface.address?;
            let v4 = address.as_sockaddr_in().map(|v4| IpAddr::from(v4.ip()));
            v4.or_else(|| address.as_sockaddr_in6().map(|v6| IpAddr::from(v6.ip())))
        })
        .collect())
}

fn listed(cluster: &Cluster) -> String {
    let each = |member: &kddm_cluster::Member| format!("{} ({})", member.id, member.address);
    cluster.nodes.iter().map(each).collect::<Vec<_>>().join(", ")
}

fn joined(addresses: &[IpAddr]) -> String {
    match addresses {
        [] => "none".to_owned(),
        _ => addresses.iter().map(IpAddr::to_string).collect::<Vec<_>>().join(", "),
    }
}
