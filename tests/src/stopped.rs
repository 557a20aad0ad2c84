//! A server that stands still.

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::fs;
use std::time::{Duration, Instant};

/// A process of which no thread runs, until this is dropped.
pub struct Stopped(Pid);

impl Stopped {
    /// Stops it, and returns when it stands: kill(2) returns as soon as the signal is sent, and threads that are
    /// running then go on until the kernel gets hold of them, long enough to answer a message or two.
    pub fn new(pid: Pid) -> Stopped {
        kill(pid, Signal::SIGSTOP).expect("a process of the test");
        let stopped = Stopped(pid);
        let begin = Instant::now();
        while !stands(pid) {
            assert!(begin.elapsed() < Duration::from_secs(10), "process {pid} does not stop");
            std::thread::sleep(Duration::from_millis(1));
        }
        stopped
    }
}

impl Drop for Stopped {
    fn drop(&mut self) {
        let _ = kill(self.0, Signal::SIGCONT);
    }
}

fn stands(pid: Pid) -> bool {
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).expect("a process of the test");
    tasks.flatten().all(|task| {
        let stat = fs::read_to_string(task.path().join("stat")).unwrap_or_default();
        // The state follows the name, which is in parentheses and may contain some.
        stat.rsplit_once(") ").is_none_or(|(_, rest)| rest.starts_with('T'))
    })
}
