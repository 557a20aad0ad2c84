//! Paths of kDFS as people write them.

use anyhow::{Context, Error, Result, bail};
use std::{
    ffi::OsStr,
    fmt,
    os::unix::ffi::OsStrExt,
    path::{Path, PathBuf},
};

/// What tells a path of kDFS from one of this host.
pub const PREFIX: &[u8] = b"kdfs:";

/// A path from the root of kDFS.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KdfsPath(PathBuf);

impl KdfsPath {
    /// `kdfs:/dir/file`, or, where nothing else can be meant, `/dir/file`.
    ///
    /// # Errors
    /// It does not begin at the root.
    pub fn parse(text: &OsStr) -> Result<KdfsPath> {
        let bytes = text.as_bytes();
        let path = Path::new(OsStr::from_bytes(bytes.strip_prefix(PREFIX).unwrap_or(bytes)));
        if !path.is_absolute() {
            bail!("{}: paths of kDFS begin at its root: kdfs:/dir/file", text.display());
        }
        Ok(KdfsPath(path.to_owned()))
    }

    /// As the server takes it.
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// That entry of this directory.
    pub fn join(&self, name: &OsStr) -> KdfsPath {
        KdfsPath(self.0.join(name))
    }

    /// An error about it.
    pub fn error(&self, error: kdfs_client::Error) -> Error {
        Error::new(error).context(self.to_string())
    }
}

impl fmt::Display for KdfsPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "kdfs:{}", self.0.display())
    }
}

/// For clap.
#[derive(Clone, Debug)]
pub struct Parser;

impl clap::builder::TypedValueParser for Parser {
    type Value = KdfsPath;

    fn parse_ref(
        &self,
        command: &clap::Command,
        _: Option<&clap::Arg>,
        value: &OsStr,
    ) -> std::result::Result<KdfsPath, clap::Error> {
        KdfsPath::parse(value).map_err(|error| {
            clap::Error::raw(clap::error::ErrorKind::ValueValidation, format!("{error}\n")).with_cmd(command)
        })
    }
}

/// The name that an entry would have in another directory.
pub fn name_of(path: &Path) -> Result<&OsStr> {
    path.file_name()
        .with_context(|| format!("{}: has no name of its own; give the target's name", path.display()))
}

/// Permission bits without those that this process's umask keeps away; kDFS is told no umask.
pub fn masked(mode: u32) -> u16 {
    use nix::sys::stat::{Mode, umask};
    // It can only be read by setting it; nobody else runs in this process.
    let mask = umask(Mode::from_bits_truncate(0o077));
    umask(mask);
    (mode & 0o777 & !mask.bits()) as u16
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_begins_at_the_root_with_or_without_the_prefix() {
        let parse = |text: &str| KdfsPath::parse(OsStr::new(text));
        assert_eq!(parse("kdfs:/a/b").unwrap(), parse("/a/b").unwrap());
        assert_eq!(parse("kdfs:/a").unwrap().join(OsStr::new("b")).to_string(), "kdfs:/a/b");
        assert!(parse("kdfs:a").is_err() && parse("a").is_err() && parse("").is_err());
    }
}
