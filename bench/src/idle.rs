//! What an idle server costs: processor time and memory beside its arena.

use anyhow::{Context, Result};
use nix::unistd::{Pid, SysconfVar, sysconf};
use std::time::Duration;

/// What a process has used so far, or holds now.
#[derive(Clone, Copy, Debug)]
pub struct Usage {
    /// Processor time of all its threads since it began.
    pub cpu: Duration,
    /// Resident memory that belongs to no arena: anonymous pages and mapped programs.
    pub beside_arena: u64,
    /// Resident shared memory, the slabs of the arena.
    pub arena: u64,
}

/// The usage of process `pid` now.
///
/// # Errors
/// If it is gone.
pub fn usage(pid: Pid) -> Result<Usage> {
    let read = |name: &str| {
        let path = format!("/proc/{pid}/{name}");
        std::fs::read_to_string(&path).with_context(|| format!("reading {path}"))
    };
    let status = read("status")?;
    let bytes = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok()).map_or(0, |kib| kib << 10)
    };
    let stat = read("stat")?;
    // Fields after the parenthesised name; utime and stime are the 14th and 15th of all (proc_pid_stat(5)).
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    let ticks = |at: usize| fields.get(at).and_then(|field| field.parse::<u64>().ok()).unwrap_or_default();
    let per_second = sysconf(SysconfVar::CLK_TCK)?.unwrap_or(100) as u64;
    Ok(Usage {
        cpu: Duration::from_millis((ticks(11) + ticks(12)) * 1000 / per_second),
        beside_arena: bytes("RssAnon") + bytes("RssFile"),
        arena: bytes("RssShmem"),
    })
}
