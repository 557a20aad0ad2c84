//! What a guest is told, and the plan of addresses.

use serde::{Deserialize, Serialize};
use std::net::Ipv4Addr;
use std::path::PathBuf;

/// Where a guest finds its job.
pub const PATH: &str = "/run/soft-roce.json";
/// The RDMA device of a guest.
pub const DEVICE: &str = "rxe0";
/// The network device of a guest.
pub const NETDEV: &str = "eth0";

/// What one guest is to do.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Job {
    /// Its rank, from 0.
    pub rank: u8,
    /// How many guests there are.
    pub guests: u8,
    /// A name that no other run has.
    pub run: String,
    /// The command and its arguments.
    pub command: Vec<String>,
    /// Where it runs.
    pub directory: PathBuf,
    /// The folder that may be written.
    pub share: PathBuf,
    /// Variables of the caller that are passed on.
    pub environment: Vec<(String, String)>,
}

impl Job {
    /// All variables of the command; `gid` is the index of the address in the device's table.
    pub fn variables(&self, gid: usize) -> Vec<(String, String)> {
        let all: Vec<String> = (0..self.guests).map(|rank| address(rank).to_string()).collect();
        let mut variables = self.environment.clone();
        let mut set = |name: &str, value: String| variables.push((name.into(), value));
        set("SOFT_ROCE_RUN", self.run.clone());
        set("SOFT_ROCE_RANK", self.rank.to_string());
        set("SOFT_ROCE_GUESTS", self.guests.to_string());
        set("SOFT_ROCE_ADDRESS", address(self.rank).to_string());
        set("SOFT_ROCE_ADDRESSES", all.join(" "));
        set("SOFT_ROCE_DEVICE", DEVICE.into());
        set("SOFT_ROCE_GID", gid.to_string());
        set("SOFT_ROCE_SHARE", self.share.display().to_string());
        if self.guests == 2 {
            set("SOFT_ROCE_PEER", address(1 - self.rank).to_string());
        }
        variables
    }
}

/// The address of a guest, in a /24 that exists on the wire only.
pub fn address(rank: u8) -> Ipv4Addr {
    Ipv4Addr::new(10, 77, 0, rank + 1)
}

/// The Ethernet address of a guest. The switch knows from its last byte where a frame goes.
pub fn mac(rank: u8) -> [u8; 6] {
    [0x52, 0x54, 0, 0, 0, rank]
}
