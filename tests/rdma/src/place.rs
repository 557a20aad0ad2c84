//! Where a process stands among the others: what `soft-roce/run` puts into the environment of each guest's command, or what
//! [`crate::here`] puts there on one host.

use anyhow::{Context, Result, ensure};
use std::env;
use std::net::IpAddr;
use std::path::PathBuf;

/// One of several processes that were started together.
#[derive(Clone, Debug)]
pub struct Place {
    /// Its number.
    pub rank: usize,
    /// Everybody's address, by rank.
    pub addresses: Vec<IpAddr>,
    /// A folder that all of them see.
    pub share: PathBuf,
}

impl Place {
    /// As `SOFT_ROCE_RANK`, `SOFT_ROCE_ADDRESSES` and `SOFT_ROCE_SHARE` say.
    ///
    /// # Errors
    /// Which of them is missing or wrong.
    pub fn from_environment() -> Result<Place> {
        let rank = variable("SOFT_ROCE_RANK")?.parse().context("SOFT_ROCE_RANK")?;
        let addresses = variable("SOFT_ROCE_ADDRESSES")?;
        let addresses = addresses.split_whitespace().map(str::parse).collect::<Result<Vec<IpAddr>, _>>();
        let addresses = addresses.context("SOFT_ROCE_ADDRESSES")?;
        ensure!(rank < addresses.len(), "rank {rank} of {}", addresses.len());
        Ok(Place { rank, addresses, share: variable("SOFT_ROCE_SHARE")?.into() })
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.addresses.len()
    }
}

fn variable(name: &str) -> Result<String> {
    env::var(name).with_context(|| format!("{name} is not set: start this by soft-roce/run, or by `here`"))
}
