//! What mounting takes: /dev/fuse, the mount helpers, root.

use super::{finding::Finding, wanted::Wanted};
use std::{
    fs::{self, OpenOptions},
    io,
    path::{Path, PathBuf},
};

/// What mount(8) and umount(8) call; without the first there is no `mount -t kdfs`.
const HELPERS: [&str; 4] =
    ["/sbin/mount.kdfs", "/sbin/umount.kdfs", "/sbin/mount.fuse.kdfs", "/sbin/umount.fuse.kdfs"];

/// Looks at what mounting takes.
pub fn look(wanted: &Wanted) -> Vec<Finding> {
    let opened = OpenOptions::new().read(true).write(true).open("/dev/fuse").map(drop);
    let helpers: Vec<_> = HELPERS.iter().map(|path| Helper::look(path)).collect();
    vec![judge_device(opened, wanted), judge_helpers(&helpers), judge_user(nix::unistd::geteuid().is_root())]
}

fn judge_device(opened: io::Result<()>, wanted: &Wanted) -> Finding {
    let Err(error) = opened else { return Finding::ok("/dev/fuse", "can be opened") };
    let remedy = match error.kind() {
        io::ErrorKind::NotFound => "modprobe fuse; in a container: --device /dev/fuse",
        io::ErrorKind::PermissionDenied => "chmod 666 /dev/fuse; in a container: --device /dev/fuse",
        _ => "modprobe fuse, or a kernel that has it (CONFIG_FUSE_FS)",
    };
    Finding::of(wanted.without_mounts(), "/dev/fuse", format!("kDFS cannot be mounted: {error}"), remedy)
}

/// A program that mount(8) calls.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Helper {
    path: &'static str,
    /// Where it leads; `None`: nowhere.
    target: Option<PathBuf>,
}

impl Helper {
    fn look(path: &'static str) -> Helper {
        Helper { path, target: fs::canonicalize(path).ok().filter(|target| target.is_file()) }
    }
}

fn judge_helpers(helpers: &[Helper]) -> Finding {
    const NAME: &str = "mount helper";
    let missing: Vec<_> =
        helpers.iter().filter(|helper| helper.target.is_none()).map(|helper| helper.path).collect();
    let Some(Helper { path, target: Some(target) }) = helpers.first() else {
        let found = "there is no /sbin/mount.kdfs, so `mount -t kdfs` does not work";
        return Finding::note(NAME, found, links("the program mount.kdfs", &missing));
    };
    let found = match target == Path::new(path) {
        true => format!("{path} is there"),
        false => format!("{path} is {}", target.display()),
    };
    if missing.is_empty() {
        return Finding::ok(NAME, found);
    }
    let found = format!("{found}; but there is no {}", missing.join(", no "));
    let why = "umount waits until all is written only with umount.fuse.kdfs";
    Finding::note(NAME, found, format!("{}; {why}", links(&target.display().to_string(), &missing)))
}

fn links(target: &str, missing: &[&str]) -> String {
    format!("as root, make links to {target}: {}", missing.join(" "))
}

fn judge_user(root: bool) -> Finding {
    match root {
        true => Finding::ok("user", "root"),
        false => Finding::note(
            "user",
            "not root: mounting takes root, and what was found is what this user may see and do",
            "run kddm doctor as the user that runs the server",
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::{super::finding::State, *};
    use kddm_cluster::Fabric;

    #[test]
    fn a_missing_device_stands_in_the_way_of_those_who_mount() {
        let mut wanted = Wanted::only(Fabric::Tcp);
        let missing = || Err(io::ErrorKind::NotFound.into());
        assert_eq!(judge_device(Ok(()), &wanted).state, State::Ok);
        assert_eq!(judge_device(missing(), &wanted).state, State::Note);
        wanted.configured = true;
        let finding = judge_device(missing(), &wanted);
        assert!(finding.state == State::Problem && finding.remedy.contains("modprobe fuse"), "{finding:?}");
        let closed = judge_device(Err(io::ErrorKind::PermissionDenied.into()), &wanted);
        assert!(closed.remedy.contains("chmod"), "{closed:?}");
    }

    #[test]
    fn helpers_are_named_where_they_lead_or_are_missing() {
        let to = |path, target: Option<&str>| Helper { path, target: target.map(PathBuf::from) };
        let whole =
            [to("/sbin/mount.kdfs", Some("/usr/bin/mount.kdfs")), to("/sbin/umount.kdfs", Some("/x"))];
        let finding = judge_helpers(&whole);
        assert_eq!(finding.state, State::Ok);
        assert_eq!(finding.found, "/sbin/mount.kdfs is /usr/bin/mount.kdfs");
        let half = [whole[0].clone(), to("/sbin/umount.kdfs", None)];
        let finding = judge_helpers(&half);
        assert_eq!(finding.state, State::Note);
        assert!(finding.remedy.contains("/usr/bin/mount.kdfs: /sbin/umount.kdfs"), "{finding:?}");
        let none = [to("/sbin/mount.kdfs", None), whole[1].clone()];
        assert!(judge_helpers(&none).found.contains("`mount -t kdfs` does not work"));
    }
}
