//! Making a mount: /dev/fuse, mount(2), and the descriptor's way to the server.

use crate::{Connection, mount_options::Flags, mount_table};
use anyhow::{Context, Result, bail};
use kddm_cluster::admin::Request;
use nix::{
    errno::Errno,
    fcntl::{OFlag, open},
    mount::{MntFlags, mount, umount2},
    sys::stat::Mode,
};
use std::{
    fs,
    os::fd::AsRawFd,
    path::{Path, PathBuf},
};

/// Mounts the name space of `server`'s node at `point`, and returns when its root has answered.
///
/// # Errors
/// Says what is wrong and what to do; then nothing is mounted.
pub fn mount_at(server: &mut Connection, source: &str, point: &Path, flags: Flags) -> Result<()> {
    let point = check(point)?;
    let device =
        open("/dev/fuse", OFlag::O_RDWR | OFlag::O_CLOEXEC, Mode::empty()).map_err(|error| match error {
            Errno::ENOENT | Errno::ENODEV => {
                anyhow::anyhow!("/dev/fuse: {error}; the kernel has no FUSE here, try: modprobe fuse")
            }
            _ => anyhow::anyhow!("/dev/fuse: {error}; mounting needs root"),
        })?;
    let data = format!(
        "fd={},rootmode=40000,user_id=0,group_id=0,default_permissions,allow_other",
        device.as_raw_fd()
    );
    mount(Some(source), &point, Some(mount_table::TYPE), flags.0, Some(data.as_str())).map_err(|error| {
        let remedy = if error == Errno::EPERM { "; mounting needs root" } else { "" };
        anyhow::anyhow!("{}: mount: {error}{remedy}", point.display())
    })?;
    let request = Request::Mount { point: point.clone(), options: Vec::new() };
    if let Err(error) = server.ask_with(&request, &device) {
        // Nobody serves it: lazily, because a process may already wait in it. Closing the device ends its wait.
        let _ = umount2(&point, MntFlags::MNT_DETACH);
        return Err(error).with_context(|| format!("{}: not mounted", point.display()));
    }
    Ok(())
}

/// Takes the mount at `point` away without its server's help. True: only lazily, because it was busy.
///
/// # Errors
/// It is not mounted, or we may not.
pub fn unmount_alone(point: &Path) -> Result<bool> {
    match umount2(point, MntFlags::empty()) {
        Ok(()) => Ok(false),
        Err(Errno::EBUSY | Errno::ENOTCONN) => {
            umount2(point, MntFlags::MNT_DETACH)
                .with_context(|| format!("{}: cannot be unmounted", point.display()))?;
            Ok(true)
        }
        Err(error) => Err(error).with_context(|| format!("{}: cannot be unmounted", point.display())),
    }
}

/// The mount point as the kernel will know it.
///
/// # Errors
/// Nothing can be mounted there.
pub fn check(point: &Path) -> Result<PathBuf> {
    let canonical = fs::canonicalize(point).map_err(|error| match error.raw_os_error() {
        Some(nix::libc::ENOTCONN) => anyhow::anyhow!(
            "{}: a mount without a server is there (its server died); first: umount {}",
            point.display(),
            point.display()
        ),
        _ => anyhow::anyhow!("{}: {error}; the mount point has to be a directory", point.display()),
    })?;
    if !canonical.is_dir() {
        bail!("{}: the mount point has to be a directory", point.display());
    }
    Ok(canonical)
}
