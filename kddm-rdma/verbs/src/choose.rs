//! Which device, port and GID a node uses.

use crate::{Device, Gid, GidKind, Link, Port, VerbsError, devices};
use std::{net::IpAddr, sync::Arc};

/// What a node's configuration says; what it leaves open is found.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Choice {
    /// The device's name. Otherwise the one that has the node's address, or the only one.
    pub device: Option<String>,
    /// The port. Otherwise the first that is active.
    pub port: Option<u8>,
    /// The GID's index, on Ethernet. Otherwise the RoCE v2 GID of the node's address, or the first of an IPv4 address.
    pub gid_index: Option<u32>,
}

/// A device, a port of it, and the address that peers reach it by.
#[derive(Clone)]
pub struct Endpoint {
    /// The device.
    pub device: Arc<Device>,
    /// The port.
    pub port: Port,
    /// Its GID; all zeros where it is not needed (InfiniBand).
    pub gid: Gid,
}

impl Choice {
    /// The endpoint of the node at `address`.
    ///
    /// # Errors
    /// There is none that can be used: why, and what to do.
    pub fn find(&self, address: IpAddr) -> Result<Endpoint, VerbsError> {
        let there = devices()?;
        match (&self.device, &there[..]) {
            (_, []) => Err(VerbsError::NoDevice),
            (Some(name), _) => self.of(Device::open(name)?, address),
            (None, [only]) => self.of(Device::open(only)?, address),
            (None, several) => {
                for name in several {
                    let device = Device::open(name)?;
                    if has(&device, address) {
                        return self.of(device, address);
                    }
                }
                Err(VerbsError::Ambiguous { address, there: several.join(", ") })
            }
        }
    }

    fn of(&self, device: Arc<Device>, address: IpAddr) -> Result<Endpoint, VerbsError> {
        let port = match self.port {
            Some(number) => device.port(number)?,
            None => first_active(&device, address)?,
        };
        if !port.is_active() {
            let (device, port, state) = (device.name().to_owned(), port.number, port.state);
            return Err(VerbsError::PortDown { device, port, state });
        }
        let gid = match port.link {
            Link::InfiniBand => device.gid(&port, 0).unwrap_or(NO_GID),
            Link::Ethernet => self.gid(&device, &port, address)?,
        };
        Ok(Endpoint { device, port, gid })
    }

    fn gid(&self, device: &Device, port: &Port, address: IpAddr) -> Result<Gid, VerbsError> {
        let Some(index) = self.gid_index else {
            let gids = || device.gids(port).into_iter().filter(|gid| gid.kind == GidKind::RoceV2);
            let found = gids()
                .find(|gid| gid.address() == address)
                .or_else(|| gids().find(|gid| gid.address().is_ipv4()));
            return found
                .or_else(|| gids().next())
                .ok_or_else(|| VerbsError::NoGid { device: device.name().to_owned(), port: port.number });
        };
        let wrong = |why: String| VerbsError::WrongGid {
            device: device.name().to_owned(),
            port: port.number,
            index,
            why,
        };
        match device.gid(port, index) {
            Some(gid) if gid.kind == GidKind::RoceV2 => Ok(gid),
            Some(gid) => Err(wrong(format!("{} there is for {:?}, not RoCE v2", gid.address(), gid.kind))),
            None => Err(wrong("there is none".to_owned())),
        }
    }
}

const NO_GID: Gid = Gid { index: 0, kind: GidKind::InfiniBand, bytes: [0; 16] };

/// The first active port, one that has the address before others; the first of all if none is active.
fn first_active(device: &Device, address: IpAddr) -> Result<Port, VerbsError> {
    let ports: Vec<Port> =
        (1..=device.limits().ports).filter_map(|number| device.port(number).ok()).collect();
    let active = || ports.iter().filter(|port| port.is_active());
    let with_address = active().find(|port| device.gids(port).iter().any(|gid| gid.address() == address));
    match with_address.or_else(|| active().next()).or(ports.first()) {
        Some(port) => Ok(*port),
        None => device.port(1),
    }
}

fn has(device: &Device, address: IpAddr) -> bool {
    let mut ports = (1..=device.limits().ports).filter_map(|number| device.port(number).ok());
    ports.any(|port| device.gids(&port).iter().any(|gid| gid.address() == address))
}
