//! The programs of others that this one runs: where they are, what they bring when they are missing, what they said.

use anyhow::{Context, Result, ensure};
use std::path::PathBuf;
use std::process::Command;

/// Program and Debian package. All are asked for at once, so that a person is told once.
const NEEDED: [(&str, &str); 7] = [
    ("qemu-system-x86_64", "qemu-system-x86"),
    ("busybox", "busybox-static"),
    ("rdma", "iproute2"),
    ("xz", "xz-utils"),
    ("depmod", "kmod"),
    ("dpkg-deb", "dpkg"),
    ("apt-get", "apt"),
];

/// # Errors
/// If one is missing, with the command that installs it.
pub fn check() -> Result<()> {
    ensure!(
        std::env::consts::ARCH == "x86_64",
        "the guests run the host's programs on x86_64, and this is {}",
        std::env::consts::ARCH
    );
    let missing: Vec<_> = NEEDED.iter().filter(|(program, _)| find(program).is_none()).collect();
    let programs: Vec<&str> = missing.iter().map(|(program, _)| *program).collect();
    let packages: Vec<&str> = missing.iter().map(|(_, package)| *package).collect();
    ensure!(
        missing.is_empty(),
        "not found: {}; as root: apt-get install {}",
        programs.join(", "),
        packages.join(" ")
    );
    Ok(())
}

/// Where a program is: in PATH, or where a user's PATH does not look.
pub fn find(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = std::env::split_paths(&path).chain(["/usr/sbin".into(), "/sbin".into()]);
    folders.map(|folder| folder.join(program)).find(|path| path.is_file())
}

/// Runs a command to its end.
///
/// # Errors
/// If it fails; with what it said.
pub fn said(command: &mut Command) -> Result<String> {
    let name = command.get_program().to_string_lossy().into_owned();
    let output = command.output().with_context(|| format!("running {name}"))?;
    let words = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{name} failed: {}", words.trim());
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}
