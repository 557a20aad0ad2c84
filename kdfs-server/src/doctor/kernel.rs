//! The kernel: its version, what FUSE can do in it, and what else of it is used.

use super::finding::Finding;
use nix::{
    fcntl::{FcntlArg, SealFlag, fcntl},
    sys::memfd::{MFdFlags, memfd_create},
};
use std::{fs, path::Path};

/// The oldest kernel that anything is tested with.
const TESTED: Version = Version(6, 1);
/// FUSE_DIRECT_IO_ALLOW_MMAP.
const SHARED_MAPPINGS: Version = Version(6, 6);
/// FUSE_NOTIFY_INC_EPOCH.
const EPOCHS: Version = Version(6, 16);

/// A kernel's version.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Version(pub u32, pub u32);

impl Version {
    /// `6.1.0-56-amd64` is 6.1.
    fn parse(release: &str) -> Option<Version> {
        let mut numbers = release.split(|c: char| !c.is_ascii_digit());
        Some(Version(numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
    }
}

/// The release of the kernel that runs.
pub fn release() -> String {
    fs::read_to_string("/proc/sys/kernel/osrelease").map(|text| text.trim().to_owned()).unwrap_or_default()
}

/// The version of the kernel that runs, as far as its release tells; the oldest otherwise.
pub fn version() -> Version {
    Version::parse(&release()).unwrap_or(Version(0, 0))
}

/// Looks at the kernel.
pub fn look() -> Vec<Finding> {
    let mut findings = judge_version(&release());
    findings.push(judge_memfd(seal_a_memfd()));
    findings.push(judge_unused(
        Path::new("/dev/userfaultfd").exists() || Path::new("/proc/sys/vm/unprivileged_userfaultfd").exists(),
        fs::read_to_string("/proc/sys/kernel/io_uring_disabled").ok().is_some_and(|text| text.trim() == "2"),
    ));
    findings
}

fn judge_version(release: &str) -> Vec<Finding> {
    const NEWER: &str = "a newer kernel (Debian 13 has 6.12)";
    let Some(version) = Version::parse(release) else {
        let found = format!("the kernel's release, {release:?}, says no version");
        return vec![Finding::note(
            "kernel",
            found,
            "check that it is Linux 6.1 or newer, and /proc mounted",
        )];
    };
    let kernel = if version >= TESTED {
        Finding::ok("kernel", format!("Linux {release}"))
    } else {
        let found = format!("Linux {release}: older than 6.1, with which nothing is tested");
        Finding::note("kernel", found, NEWER)
    };
    let mappings = if version >= SHARED_MAPPINGS {
        Finding::ok("shared mappings", "files can be mapped shared (Linux 6.6 and newer)")
    } else {
        Finding::note(
            "shared mappings",
            "before Linux 6.6 a file cannot be mapped shared (mmap answers ENODEV); private mappings work",
            format!("{NEWER}, if programs need it (databases, some linkers)"),
        )
    };
    let names = if version >= EPOCHS {
        Finding::ok(
            "cached names",
            "the kernel can forget all names at once (Linux 6.16 and newer); this version keeps none there",
        )
    } else {
        Finding::ok(
            "cached names",
            "before Linux 6.16 the kernel cannot forget all names at once; this version keeps none there, so \
             nothing is lost",
        )
    };
    vec![kernel, mappings, names]
}

fn judge_memfd(sealed: nix::Result<()>) -> Finding {
    match sealed {
        Ok(()) => Finding::ok("memfd", "can be made and sealed: the arena's memory"),
        Err(error) => Finding::problem(
            "memfd",
            format!("memfd_create and its seals are refused: {error}; the arena is made of them"),
            "a kernel with CONFIG_MEMFD_CREATE, and a sandbox (seccomp) that allows memfd_create",
        ),
    }
}

fn judge_unused(userfaultfd: bool, no_io_uring: bool) -> Finding {
    let there = |there| if there { "there" } else { "not there" };
    let found = format!(
        "userfaultfd is {}, io_uring is {}: neither is needed",
        there(userfaultfd),
        there(!no_io_uring)
    );
    Finding::ok("other features", found)
}

fn seal_a_memfd() -> nix::Result<()> {
    let file = memfd_create(c"kddm-doctor", MFdFlags::MFD_CLOEXEC | MFdFlags::MFD_ALLOW_SEALING)?;
    fcntl(&file, FcntlArg::F_ADD_SEALS(SealFlag::F_SEAL_SHRINK | SealFlag::F_SEAL_GROW)).map(drop)
}

#[cfg(test)]
mod tests {
    use super::{super::finding::State, *};

    #[test]
    fn versions_are_read_and_compared_as_numbers() {
        assert_eq!(Version::parse("6.1.0-56-amd64"), Some(Version(6, 1)));
        assert_eq!(Version::parse("6.18"), Some(Version(6, 18)));
        assert_eq!(Version::parse("next"), None);
        assert!(Version(6, 16) > Version(6, 6) && Version(7, 0) > Version(6, 18));
    }

    #[test]
    fn old_kernels_are_told_what_they_lack() {
        let states = |release: &str| -> Vec<State> {
            judge_version(release).iter().map(|finding| finding.state).collect()
        };
        assert_eq!(states("6.18.3"), [State::Ok; 3]);
        assert_eq!(states("6.1.0-56-amd64"), [State::Ok, State::Note, State::Ok]);
        assert_eq!(states("5.10.0"), [State::Note, State::Note, State::Ok]);
        assert_eq!(states("what"), [State::Note]);
        assert!(judge_version("6.1")[1].found.contains("ENODEV"));
        assert!(judge_version("6.15")[2].found.contains("before Linux 6.16"));
    }

    #[test]
    fn without_memfd_there_is_no_arena() {
        assert_eq!(judge_memfd(seal_a_memfd()).state, State::Ok, "on this machine");
        assert_eq!(judge_memfd(Err(nix::errno::Errno::ENOSYS)).state, State::Problem);
    }
}
