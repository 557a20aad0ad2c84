//! Memory for the arena, and its pages.

use super::{finding::Finding, wanted::Wanted};
use kddm_cluster::format_size;
use std::fs;

/// Looks at memory.
pub fn look(wanted: &Wanted) -> Vec<Finding> {
    let information = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let shared = fs::read_to_string("/sys/kernel/mm/transparent_hugepage/shmem_enabled").unwrap_or_default();
    vec![judge_memory(&information, wanted), judge_huge_pages(&information, &shared)]
}

fn judge_memory(information: &str, wanted: &Wanted) -> Finding {
    const NAME: &str = "memory";
    let nodes = wanted.nodes.len() as u64;
    let arenas = wanted.arena * nodes;
    let (Some(total), Some(available)) = (value(information, "MemTotal"), value(information, "MemAvailable"))
    else {
        return Finding::note(NAME, "how much there is cannot be told", "mount /proc");
    };
    let rounded = |bytes: u64| format_size(bytes >> 20 << 20);
    let found = format!(
        "{} of {} are available, for {} of objects",
        rounded(available),
        rounded(total),
        format_size(arenas)
    );
    let remedy = "a smaller `arena` in the cluster file, or more memory";
    if arenas > total {
        Finding::note(NAME, format!("{found}, which will not fit when they are all in use"), remedy)
    } else if arenas > available {
        Finding::note(
            NAME,
            format!("{found}, which will push others out (unless a server that runs has them)"),
            remedy,
        )
    } else {
        Finding::ok(NAME, found)
    }
}

fn judge_huge_pages(information: &str, shared: &str) -> Finding {
    let count = |name| counted(information, name).unwrap_or(0);
    let reserved = match count("HugePages_Total") {
        0 => "none reserved".to_owned(),
        total => format!(
            "{total} of {} reserved, {} free",
            format_size(value(information, "Hugepagesize").unwrap_or(0)),
            count("HugePages_Free")
        ),
    };
    let transparent = shared.split(['[', ']']).nth(1).unwrap_or("not there");
    let found = match transparent {
        "always" | "force" | "within_size" => {
            format!("{reserved}; the arena gets transparent ones ({transparent})")
        }
        _ => format!("{reserved}; transparent ones for shared memory: {transparent}. None are needed"),
    };
    Finding::ok("huge pages", found)
}

/// `MemTotal:  1024 kB` in bytes.
fn value(information: &str, name: &str) -> Option<u64> {
    counted(information, name)?.checked_mul(1024)
}

fn counted(information: &str, name: &str) -> Option<u64> {
    let line = information.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
    line.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::{super::finding::State, *};
    use kddm_cluster::Fabric;

    const SMALL: &str = "MemTotal:  131072 kB\nMemAvailable:  32768 kB\nHugePages_Total: 0\n";

    #[test]
    fn an_arena_fits_or_pushes_or_does_not_fit() {
        let with = |arena| judge_memory(SMALL, &Wanted { arena, ..Wanted::only(Fabric::Tcp) });
        assert_eq!(with(16 << 20).state, State::Ok);
        assert_eq!(with(16 << 20).found, "32 MiB of 128 MiB are available, for 16 MiB of objects");
        assert!(with(64 << 20).found.contains("push others out"));
        assert!(with(256 << 20).found.contains("will not fit"));
        assert_eq!(judge_memory("", &Wanted::only(Fabric::Tcp)).state, State::Note);
    }

    #[test]
    fn huge_pages_are_told_of() {
        let always = judge_huge_pages(SMALL, "[always] within_size advise never deny force\n");
        assert!(always.found.contains("the arena gets transparent ones"), "{always:?}");
        let reserved = "HugePages_Total: 8\nHugePages_Free: 3\nHugepagesize: 2048 kB\n";
        let finding = judge_huge_pages(reserved, "always [never]");
        assert!(finding.found.starts_with("8 of 2 MiB reserved, 3 free; "), "{finding:?}");
    }
}
