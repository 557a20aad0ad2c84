//! What the system lets a server have: locked memory, open files.

use super::{
    finding::{Finding, State},
    wanted::Wanted,
};
use kddm_cluster::{Fabric, format_size};
use kddm_memory::ArenaConfig;
use nix::sys::resource::{RLIM_INFINITY, Resource, getrlimit};

/// Descriptors that a server has open beside slabs, connections and files of its partition.
const OTHER_FILES: u64 = 64;
/// Files of its partition that a server keeps open.
const PARTITION_FILES: u64 = 256;

/// Looks at limits. A server raises its own as far as it may.
pub fn look(wanted: &Wanted) -> Vec<Finding> {
    let hard = |resource| getrlimit(resource).map_or(RLIM_INFINITY, |(_, hard)| hard);
    vec![
        judge_locked(hard(Resource::RLIMIT_MEMLOCK), may_lock_any(), wanted),
        judge_files(hard(Resource::RLIMIT_NOFILE), wanted),
    ]
}

/// CAP_IPC_LOCK: limits on locked memory do not count.
fn may_lock_any() -> bool {
    rustix::thread::capabilities(None)
        .is_ok_and(|sets| sets.effective.contains(rustix::thread::CapabilitySet::IPC_LOCK))
}

fn judge_locked(limit: u64, any: bool, wanted: &Wanted) -> Finding {
    const NAME: &str = "locked memory";
    // Every node of this machine locks its own arena; the limit is that of each process.
    let arena = wanted.arena;
    let size = if limit == RLIM_INFINITY { "no limit".to_owned() } else { format_size(limit) };
    if any {
        return Finding::ok(NAME, format!("{size}, and this user is above it (CAP_IPC_LOCK)"));
    }
    let found = format!("{size}, for an arena of {}", format_size(arena));
    if limit >= arena {
        return Finding::ok(NAME, found);
    }
    let remedy = "LimitMEMLOCK=infinity in the server's unit, or `* - memlock unlimited` in \
                  /etc/security/limits.conf, or a smaller `arena` in the cluster file";
    match wanted.fabric {
        Fabric::Verbs => {
            Finding::problem(NAME, format!("{found}: it cannot be registered with an RDMA device"), remedy)
        }
        fabric @ (Fabric::Tcp | Fabric::Shm) => {
            Finding::ok(NAME, format!("{found}: enough for fabric {fabric}, which locks none"))
        }
    }
}

fn judge_files(limit: u64, wanted: &Wanted) -> Finding {
    const NAME: &str = "open files";
    let ArenaConfig { bytes, slab_bytes } = ArenaConfig::new(wanted.arena as usize);
    let slabs = (bytes / slab_bytes) as u64;
    let least = slabs + wanted.peers as u64 + OTHER_FILES;
    let all = least + wanted.peers as u64 + PARTITION_FILES;
    let found = format!("up to {limit}, of which {slabs} for the arena's slabs, {} for peers", wanted.peers);
    let remedy =
        format!("LimitNOFILE={} in the server's unit, or ulimit -Hn, or a smaller `arena`", all.max(4096));
    let state = match limit {
        _ if limit >= all => State::Ok,
        _ if limit >= least => State::Note,
        _ => State::Problem,
    };
    match state {
        State::Ok => Finding::ok(NAME, found),
        _ => Finding::of(state, NAME, format!("{found}; {all} are needed when all is in use"), remedy),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn locked_memory_matters_to_verbs_and_to_users_without_the_capability() {
        let judge = |limit, any, fabric| judge_locked(limit, any, &Wanted::only(fabric));
        assert_eq!(judge(8 << 20, false, Fabric::Verbs).state, State::Problem);
        assert!(judge(8 << 20, false, Fabric::Verbs).found.starts_with("8 MiB, for an arena of 64 MiB"));
        assert_eq!(judge(8 << 20, true, Fabric::Verbs).state, State::Ok);
        assert_eq!(judge(64 << 20, false, Fabric::Verbs).state, State::Ok);
        assert_eq!(judge(RLIM_INFINITY, false, Fabric::Verbs).state, State::Ok);
        assert_eq!(judge(8 << 20, false, Fabric::Tcp).state, State::Ok);
    }

    #[test]
    fn few_files_are_too_few_by_degrees() {
        let wanted = Wanted { arena: 4 << 30, ..Wanted::only(Fabric::Tcp) };
        let state = |limit| judge_files(limit, &wanted).state;
        assert_eq!(state(20_000), State::Ok);
        assert_eq!(state(1200), State::Note);
        assert_eq!(state(1024), State::Problem, "1024 slabs alone");
    }
}
