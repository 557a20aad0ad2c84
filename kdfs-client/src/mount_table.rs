//! What is mounted: `/proc/self/mountinfo`.

use anyhow::{Context, Result};
use std::{
    ffi::OsString,
    fs,
    os::unix::ffi::OsStringExt,
    path::{Path, PathBuf},
};

/// The type under which the kernel lists our mounts.
pub const TYPE: &str = "fuse.kdfs";

/// A mounted kDFS.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mount {
    /// Where.
    pub point: PathBuf,
    /// What mount was given: the partition's directory, or NONE.
    pub source: String,
    /// The mount's device, `0:57`.
    pub device: String,
}

/// The kDFS mounts that this process sees.
///
/// # Errors
/// `/proc` is not mounted.
pub fn mounts() -> Result<Vec<Mount>> {
    let table = fs::read("/proc/self/mountinfo").context("/proc/self/mountinfo: is /proc mounted?")?;
    Ok(table.split(|&byte| byte == b'\n').filter_map(parse).collect())
}

/// The kDFS mount at `point`, the topmost if there are several.
///
/// # Errors
/// As [`mounts`].
pub fn mount_at(point: &Path) -> Result<Option<Mount>> {
    Ok(mounts()?.into_iter().rfind(|mount| mount.point == point))
}

/// The kDFS mount that `path` lies in.
///
/// # Errors
/// As [`mounts`].
pub fn mount_of(path: &Path) -> Result<Option<Mount>> {
    let inside = mounts()?.into_iter().filter(|mount| path.starts_with(&mount.point));
    Ok(inside.max_by_key(|mount| mount.point.as_os_str().len()))
}

/// `36 35 0:57 / /mnt/a\040b rw,… shared:1 - fuse.kdfs SOURCE rw,…`
fn parse(line: &[u8]) -> Option<Mount> {
    let mut fields = line.split(|&byte| byte == b' ');
    let device = String::from_utf8_lossy(fields.nth(2)?).into_owned();
    let point = PathBuf::from(OsString::from_vec(unescape(fields.nth(1)?)));
    let mut tail = fields.skip_while(|field| *field != b"-").skip(1);
    let matches = tail.next()? == TYPE.as_bytes();
    let source = String::from_utf8_lossy(&unescape(tail.next()?)).into_owned();
    matches.then_some(Mount { point, source, device })
}

/// Spaces and the like stand there as `\040`.
fn unescape(field: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(field.len());
    let mut rest = field;
    while let Some((&first, after)) = rest.split_first() {
        let octal = match (first, after) {
            (b'\\', [a, b, c, ..]) => {
                std::str::from_utf8(&[*a, *b, *c]).ok().and_then(|digits| u8::from_str_radix(digits, 8).ok())
            }
            _ => None,
        };
        bytes.push(octal.unwrap_or(first));
        rest = if octal.is_some() { &after[3..] } else { after };
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn our_lines_are_found_with_spaces_in_names() {
        let line = br"36 35 0:57 / /tmp/my\040dir/n1/mnt rw,nosuid shared:4 - fuse.kdfs /tmp/my\040dir/n1/part rw,user_id=0";
        let mount = parse(line).unwrap();
        assert_eq!(mount.point, Path::new("/tmp/my dir/n1/mnt"));
        assert_eq!((mount.source.as_str(), mount.device.as_str()), ("/tmp/my dir/n1/part", "0:57"));
    }

    #[test]
    fn others_are_not() {
        for line in [
            &b"22 1 8:1 / / rw - ext4 /dev/sda1 rw"[..],
            b"",
            b"1 2 3",
            b"36 35 0:57 / /mnt rw - fuse.sshfs x rw",
        ] {
            assert_eq!(parse(line), None);
        }
    }
}
