//! RDMA devices, their ports and GIDs, and which of them a node uses.

use super::{
    finding::{Finding, State},
    wanted::{Wanted, WantedNode},
};
use kddm_cluster::Fabric;
use std::net::IpAddr;

/// What there is of RDMA.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(dead_code, reason = "with the feature `verbs` the first is never said, without it only that")]
pub enum Rdma {
    /// The program cannot say.
    NotBuilt,
    /// Why there is nothing.
    Nothing(String),
    /// By name.
    Devices(Vec<Result<Device, String>>),
}

/// A device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Device {
    pub name: String,
    pub ports: Vec<Result<Port, String>>,
    /// READs in flight that a connection issues, and answers.
    pub reads: (u8, u8),
}

/// A port of a device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Port {
    pub number: u8,
    pub state: &'static str,
    pub active: bool,
    pub ethernet: bool,
    /// Bytes of a packet, at most.
    pub mtu: u32,
    pub lid: u16,
    pub gids: Vec<Gid>,
}

/// An address of a port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gid {
    pub index: u32,
    pub kind: &'static str,
    pub address: IpAddr,
}

/// What a node would use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Used {
    pub device: String,
    pub port: u8,
    /// The LID, on InfiniBand.
    pub lid: Option<u16>,
    /// The GID, on Ethernet.
    pub gid: Option<Gid>,
}

/// Looks at devices.
pub fn look(wanted: &Wanted) -> Vec<Finding> {
    #[cfg(feature = "verbs")]
    let (rdma, used) = (super::devices::look(), super::devices::used);
    #[cfg(not(feature = "verbs"))]
    let (rdma, used) = (Rdma::NotBuilt, |_: &WantedNode| Err(String::new()));

    let mut findings = judge(&rdma, wanted);
    if matches!(&rdma, Rdma::Devices(devices) if !devices.is_empty()) {
        findings.extend(wanted.nodes.iter().map(|node| judge_used(node, used(node), wanted)));
    }
    findings
}

fn judge(rdma: &Rdma, wanted: &Wanted) -> Vec<Finding> {
    const TCP: &str = "fabric tcp works without";
    const MAKE: &str = "to get a device: load its driver, or, without hardware, make one of a network interface \
                        (modprobe -a rdma_rxe crc32_generic; rdma link add rxe0 type rxe netdev eth0)";
    let missing = |found: String, remedy: &str| {
        let remedy = match wanted.fabric {
            Fabric::Verbs => format!("{remedy}; or fabric = \"tcp\" in the cluster file"),
            Fabric::Tcp | Fabric::Shm => remedy.to_owned(),
        };
        vec![Finding::of(wanted.without_rdma(), "RDMA", found, remedy)]
    };
    match rdma {
        Rdma::NotBuilt => missing(
            format!("this program was built without it; {TCP}"),
            "build kdfs-server with its feature `verbs`, which is on unless it is switched off",
        ),
        Rdma::Nothing(why) => missing(format!("no RDMA ({why}); {TCP}"), MAKE),
        Rdma::Devices(devices) if devices.is_empty() => missing(format!("no RDMA device; {TCP}"), MAKE),
        Rdma::Devices(devices) => devices.iter().flat_map(|device| judge_device(device, wanted)).collect(),
    }
}

fn judge_device(device: &Result<Device, String>, wanted: &Wanted) -> Vec<Finding> {
    let device = match device {
        Ok(device) => device,
        Err(error) => {
            let remedy = "run kddm doctor as the user that runs the server";
            return vec![Finding::of(wanted.without_rdma(), "RDMA device", error, remedy)];
        }
    };
    let (issues, answers) = device.reads;
    let ports = match device.ports.len() {
        1 => "1 port".to_owned(),
        several => format!("{several} ports"),
    };
    let found = format!("{ports}; a connection has {issues} READs in flight, and answers {answers}");
    let mut findings = vec![Finding::ok(format!("device {}", device.name), found)];
    findings.extend(device.ports.iter().flat_map(|port| judge_port(&device.name, port)));
    findings
}

/// A port that nobody uses is in nobody's way: whether it is used, [`judge_used`] says.
fn judge_port(device: &str, port: &Result<Port, String>) -> Vec<Finding> {
    let port = match port {
        Ok(port) => port,
        Err(error) => return vec![Finding::note(format!("{device} ports"), error, "dmesg may say why")],
    };
    let name = format!("{device} port {}", port.number);
    let found = match port.ethernet {
        true => format!("{}, Ethernet (RoCE), packets of {} bytes", port.state, port.mtu),
        false => format!("{}, InfiniBand, packets of {} bytes, LID {}", port.state, port.mtu, port.lid),
    };
    let finding = match (port.active, port.ethernet && port.mtu < 4096) {
        (false, _) => Finding::note(
            &name,
            found,
            match port.ethernet {
                true => "check cable and switch, and that its network interface is up (ip link set … up)",
                false => "check cable and switch, and that a subnet manager runs (opensm, or the switch's)",
            },
        ),
        (true, true) => Finding::note(
            &name,
            found,
            "objects of 4096 bytes fit into one packet where the interface and the switch have an MTU of 4200 or more",
        ),
        (true, false) => Finding::ok(&name, found),
    };
    vec![finding, judge_gids(format!("{name} GIDs"), port)]
}

fn judge_gids(name: String, port: &Port) -> Finding {
    let gids: Vec<_> =
        port.gids.iter().map(|gid| format!("{}: {} {}", gid.index, gid.kind, gid.address)).collect();
    match gids.is_empty() && port.ethernet {
        true => Finding::note(name, "none", "give its network interface an IP address"),
        false => Finding::ok(name, gids.join(", ")),
    }
}

fn judge_used(node: &WantedNode, used: Result<Used, String>, wanted: &Wanted) -> Finding {
    let name = format!("RDMA of {}", node.name());
    let used = match used {
        Ok(used) => used,
        Err(error) => {
            let remedy = "where another device, port or GID is to be used: [rdma] in the cluster file";
            return Finding::of(wanted.without_rdma(), name, error, remedy);
        }
    };
    let place = format!("{} port {}", used.device, used.port);
    let Some(gid) = used.gid else {
        let lid = used.lid.unwrap_or(0);
        return Finding::ok(name, format!("{place}, LID {lid}"));
    };
    let found = format!("{place}, GID {} ({})", gid.index, gid.address);
    let why = match node.address {
        _ if node.rdma.gid_index.is_some() => "which was chosen",
        Some(address) if address == gid.address => "the node's own address",
        None if gid.address.is_ipv4() => "the first of an IPv4 address",
        None => "the first of RoCE v2",
        Some(address) => {
            let found = format!("{found}, because no GID is of the node's address {address}");
            let remedy = "is that address on another interface? Peers must reach the one that is used: if they do \
                          not, give gid_index in [rdma] in the cluster file";
            return Finding::of(State::Note, name, found, remedy);
        }
    };
    Finding::ok(name, format!("{found}: {why}"))
}

#[cfg(test)]
#[path = "rdma/tests.rs"]
mod tests;
