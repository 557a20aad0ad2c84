//! Who runs where: both sides of a ratio are placed alike.

use anyhow::{Context, Result, ensure};
use nix::{
    sched::{CpuSet, sched_getaffinity, sched_setaffinity},
    unistd::Pid,
};
use std::fs;

/// The processors that this process may use.
#[derive(Clone, Debug)]
pub struct Processors(Vec<usize>);

impl Processors {
    /// Those that this thread may use now.
    ///
    /// # Errors
    /// The kernel does not say.
    pub fn allowed() -> Result<Processors> {
        let may =
            sched_getaffinity(Pid::from_raw(0)).context("asking for the processors that may be used")?;
        let may: Vec<usize> = (0..CpuSet::count()).filter(|&cpu| may.is_set(cpu) == Ok(true)).collect();
        ensure!(!may.is_empty(), "there is no processor that may be used");
        Ok(Processors(may))
    }

    /// Keeps a thread (0: this one), and all that it starts from now on, to the processor whose turn it is.
    ///
    /// # Errors
    /// The thread is gone, or another user's.
    pub fn keep(&self, thread: Pid, turn: usize) -> Result<()> {
        let mut one = CpuSet::new();
        one.set(self.0[turn % self.0.len()])?;
        sched_setaffinity(thread, &one).context("keeping to one processor")
    }
}

/// The thread of a process that has this name.
///
/// # Errors
/// There is none.
pub fn thread_named(process: Pid, name: &str) -> Result<Pid> {
    let tasks = format!("/proc/{process}/task");
    for task in fs::read_dir(&tasks).with_context(|| format!("reading {tasks}"))? {
        let task = task?;
        if fs::read_to_string(task.path().join("comm")).is_ok_and(|comm| comm.trim_end() == name) {
            return Ok(Pid::from_raw(task.file_name().to_string_lossy().parse()?));
        }
    }
    anyhow::bail!("process {process} has no thread {name}")
}
