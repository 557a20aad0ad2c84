//! The same on one host: as many processes on loopback addresses as there would be guests, over shm or tcp.

use anyhow::{Context, Result, bail};
use std::path::Path;
use std::process::{Child, Command};

/// Runs `program` with `arguments` as each of `nodes` processes, to their ends.
///
/// # Errors
/// One of them failed.
pub fn run(program: &Path, nodes: usize, share: &Path, arguments: &[String]) -> Result<()> {
    let addresses: Vec<String> = (1..=nodes).map(|node| format!("127.0.0.{node}")).collect();
    let start = |rank: usize| {
        let mut command = Command::new(program);
        command.args(arguments).env("SOFT_ROCE_RANK", rank.to_string()).env("SOFT_ROCE_SHARE", share);
        command.env("SOFT_ROCE_ADDRESSES", addresses.join(" "));
        command.spawn().with_context(|| format!("starting {}", program.display()))
    };
    let children: Vec<Child> = (0..nodes).map(start).collect::<Result<_>>()?;
    let mut failed = Vec::new();
    for (rank, mut child) in children.into_iter().enumerate() {
        let status = child.wait()?;
        if !status.success() {
            failed.push(format!("rank {rank}: {status}"));
        }
    }
    match failed.is_empty() {
        true => Ok(()),
        false => bail!("{}", failed.join(", ")),
    }
}
