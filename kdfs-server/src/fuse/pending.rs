//! Requests that wait, so that a process killed meanwhile gets out.
//!
//! The kernel tells of any signal (INTERRUPT), but like a disk's file system's calls, these are not interruptible:
//! an operation that has begun also ends. Only when the caller is being killed is it answered at once; the
//! operation then ends unseen.

use nix::{fcntl, sys::stat::Mode, unistd};
use parking_lot::Mutex;
use std::collections::HashMap;

/// The requests of a mount that were not answered at once, with the thread that waits for each.
#[derive(Debug, Default)]
pub struct Pending(Mutex<HashMap<u64, u32>>);

impl Pending {
    /// Request `unique` of thread `pid` waits.
    pub fn insert(&self, unique: u64, pid: u32) {
        self.0.lock().insert(unique, pid);
    }

    /// Takes request `unique`: whoever gets `true` answers it.
    pub fn take(&self, unique: u64) -> bool {
        self.0.lock().remove(&unique).is_some()
    }

    /// The thread that waits for request `unique`; `None` if it is answered (or has not been seen yet).
    pub fn waits(&self, unique: u64) -> Option<u32> {
        self.0.lock().get(&unique).copied()
    }

    /// How many wait.
    pub fn count(&self) -> usize {
        self.0.lock().len()
    }
}

/// Whether thread `pid` is being killed: SIGKILL is pending (any signal that ends a process becomes one), or it
/// is gone.
pub fn is_dying(pid: u32) -> bool {
    let Some(status) = read_status(pid) else { return true };
    ["SigPnd:", "ShdPnd:"]
        .iter()
        .filter_map(|name| field(&status, name))
        .filter_map(|mask| u64::from_str_radix(mask, 16).ok())
        .any(|mask| mask & (1 << (nix::libc::SIGKILL - 1)) != 0)
}

/// The supplementary groups of thread `pid`.
pub fn groups_of(pid: u32) -> Vec<u32> {
    let status = read_status(pid).unwrap_or_default();
    let groups = field(&status, "Groups:").unwrap_or_default();
    groups.split_whitespace().filter_map(|group| group.parse().ok()).collect()
}

fn field<'a>(status: &'a str, name: &str) -> Option<&'a str> {
    status.lines().find_map(|line| line.strip_prefix(name)).map(str::trim)
}

fn read_status(pid: u32) -> Option<String> {
    let path = format!("/proc/{pid}/status");
    let flags = fcntl::OFlag::O_RDONLY | fcntl::OFlag::O_CLOEXEC;
    let file = fcntl::open(path.as_str(), flags, Mode::empty()).ok()?;
    let mut status = vec![0; 16 << 10];
    let mut length = 0;
    while length < status.len() {
        match unistd::read(&file, &mut status[length..]).ok()? {
            0 => break,
            more => length += more,
        }
    }
    status.truncate(length);
    String::from_utf8(status).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_living_thread_is_not_dying_and_a_gone_one_is() {
        assert!(!is_dying(std::process::id()));
        assert!(is_dying(u32::MAX));
    }

    #[test]
    fn groups_are_those_of_the_process() {
        let own: Vec<u32> = unistd::getgroups().unwrap().into_iter().map(|group| group.as_raw()).collect();
        let mut seen = groups_of(std::process::id());
        seen.sort_unstable();
        let mut expected = own;
        expected.sort_unstable();
        assert_eq!(seen, expected);
    }

    #[test]
    fn one_answers() {
        let pending = Pending::default();
        pending.insert(3, 77);
        assert_eq!(pending.waits(3), Some(77));
        assert!(pending.take(3) && !pending.take(3));
        assert_eq!(pending.count(), 0);
    }
}
