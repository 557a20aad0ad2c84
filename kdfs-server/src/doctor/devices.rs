//! RDMA devices, seen through kddm-verbs.

use super::{
    rdma::{self, Device, Port, Rdma, Used},
    wanted::WantedNode,
};
use kddm_verbs::{Choice, Gid, GidKind, Link, VerbsError, devices};
use std::net::{IpAddr, Ipv4Addr};

/// What there is.
pub fn look() -> Rdma {
    match devices() {
        Ok(names) => Rdma::Devices(names.iter().map(|name| device(name)).collect()),
        Err(VerbsError::NoKernelSupport) => Rdma::Nothing("the kernel has none, or it is not loaded".into()),
        Err(error) => Rdma::Nothing(error.to_string()),
    }
}

/// What the fabric would use for this node.
pub fn used(node: &WantedNode) -> Result<Used, String> {
    let kddm_cluster::Rdma { device, port, gid_index } = node.rdma.clone();
    let address = node.address.unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED));
    let endpoint =
        Choice { device, port, gid_index }.find(address).map_err(|error: VerbsError| error.to_string())?;
    let infiniband = endpoint.port.link == Link::InfiniBand;
    Ok(Used {
        device: endpoint.device.name().to_owned(),
        port: endpoint.port.number,
        lid: infiniband.then_some(endpoint.port.lid),
        gid: (!infiniband).then(|| gid(&endpoint.gid)),
    })
}

fn device(name: &str) -> Result<Device, String> {
    let device = kddm_verbs::Device::open(name).map_err(|error| error.to_string())?;
    let limits = device.limits();
    let port = |number| {
        let port = device.port(number).map_err(|error| error.to_string())?;
        Ok(Port {
            number,
            state: port.state,
            active: port.is_active(),
            ethernet: port.link == Link::Ethernet,
            mtu: port.mtu,
            lid: port.lid,
            gids: device.gids(&port).iter().map(gid).collect(),
        })
    };
    Ok(Device {
        name: name.to_owned(),
        ports: (1..=limits.ports).map(port).collect(),
        reads: (limits.reads_issued, limits.reads_answered),
    })
}

fn gid(gid: &Gid) -> rdma::Gid {
    let kind = match gid.kind {
        GidKind::InfiniBand => "InfiniBand",
        GidKind::RoceV1 => "RoCE v1",
        GidKind::RoceV2 => "RoCE v2",
    };
    rdma::Gid { index: gid.index, kind, address: gid.address() }
}
