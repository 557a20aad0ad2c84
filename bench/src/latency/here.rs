//! All nodes of a run as processes on this host.

use super::Options;
use super::pattern::Rank;
use crate::programs;
use anyhow::{Context, Result, ensure};
use std::net::{SocketAddr, TcpListener};
use std::process::{Child, Command, Stdio};

/// The processes of ranks 1 and up; they end with this.
pub struct Processes(Vec<Child>);

impl Processes {
    /// Starts this very program as the other nodes of `addresses`.
    ///
    /// # Errors
    /// If it is not built, or cannot be started.
    pub fn start(addresses: &[SocketAddr], options: &Options) -> Result<Processes> {
        let program = programs::built("kddm-bench")?;
        let list = addresses.iter().map(SocketAddr::to_string).collect::<Vec<_>>().join(",");
        let mut processes = Processes(Vec::new());
        for rank in 1..addresses.len() {
            let mut command = Command::new(&program);
            command.args(["latency-node", "--pin", "--rank", &rank.to_string(), "--addresses", &list]);
            command.args(["--fabric", options.fabric.name(), "--wait", &options.wait.to_string()]);
            let child = command.stdin(Stdio::null()).stdout(Stdio::null()).spawn();
            processes.0.push(child.with_context(|| format!("starting {}", program.display()))?);
        }
        Ok(processes)
    }

    /// Waits until all have ended by themselves.
    ///
    /// # Errors
    /// If one ended badly.
    pub fn end(mut self) -> Result<()> {
        for (child, rank) in self.0.iter_mut().zip(1..) {
            let status = child.wait().with_context(|| format!("waiting for the process of rank {rank}"))?;
            ensure!(status.success(), "the process of rank {rank} ended with {status}");
        }
        Ok(())
    }
}

impl Drop for Processes {
    fn drop(&mut self) {
        for child in &mut self.0 {
            // One that has ended is not hurt.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// 127.0.0.1 and up, on one port for all; the next port is free too.
///
/// # Errors
/// If there are none.
pub fn addresses(nodes: Rank) -> Result<Vec<SocketAddr>> {
    let address = |rank: Rank, port: u16| SocketAddr::from(([127, 0, 0, rank + 1], port));
    let free = |rank: Rank, port: u16| TcpListener::bind(address(rank, port)).is_ok();
    let first = 12_000 + (std::process::id() % 6000) as u16;
    let port = (first..first + 2000)
        .step_by(2)
        .find(|&port| free(0, port + 1) && (0..nodes).all(|rank| free(rank, port)))
        .context("no port is free on the loopback addresses")?;
    Ok((0..nodes).map(|rank| address(rank, port)).collect())
}
