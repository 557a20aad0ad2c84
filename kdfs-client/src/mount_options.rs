//! The options of `mount -o`.

use anyhow::{Result, bail};
use kdfs_format::sets;
use nix::mount::MsFlags;
use std::path::PathBuf;

/// What `-o` said.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MountOptions {
    /// `root=INODE`: the root directory's inode number.
    pub root: Option<u32>,
    /// `node=ID`: which node of this host.
    pub node: Option<u8>,
    /// `config=FILE`: the cluster file.
    pub config: Option<PathBuf>,
    /// `socket=FILE`: the admin socket of the node's server.
    pub socket: Option<PathBuf>,
    /// `log=FILE`: where a server that is started writes its log.
    pub log: Option<PathBuf>,
    /// What every file system knows: `ro`, `nosuid`, …
    pub flags: Flags,
}

/// Flags of mount(2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Flags(pub MsFlags);

impl Default for Flags {
    fn default() -> Flags {
        Flags(MsFlags::empty())
    }
}

impl MountOptions {
    /// Adds what one `-o` argument says; later words win.
    ///
    /// # Errors
    /// A word that nobody knows, or a number that is none.
    pub fn add(&mut self, argument: &str) -> Result<()> {
        argument.split(',').filter(|word| !word.is_empty()).try_for_each(|word| self.word(word))
    }

    fn word(&mut self, word: &str) -> Result<()> {
        match word.split_once('=') {
            Some(("root", value)) => self.root = Some(inode(value)?),
            Some(("node", value)) => match value.parse() {
                Ok(node @ 1..=254) => self.node = Some(node),
                _ => bail!("node={value}: a node id is a whole number from 1 to 254"),
            },
            Some((name @ ("config" | "socket" | "log"), "")) => {
                bail!("{name}= names no file: write {name}=FILE")
            }
            Some(("config", value)) => self.config = Some(value.into()),
            Some(("socket", value)) => self.socket = Some(value.into()),
            Some(("log", value)) => self.log = Some(value.into()),
            // For mount(8), systemd and people.
            Some(("comment" | "user" | "uhelper" | "helper", _)) => {}
            _ if word.starts_with("x-") => {}
            _ => self.flag(word)?,
        }
        Ok(())
    }

    fn flag(&mut self, word: &str) -> Result<()> {
        let (set, clear) = match word {
            "ro" => (MsFlags::MS_RDONLY, MsFlags::empty()),
            "rw" => (MsFlags::empty(), MsFlags::MS_RDONLY),
            "nosuid" => (MsFlags::MS_NOSUID, MsFlags::empty()),
            "suid" => (MsFlags::empty(), MsFlags::MS_NOSUID),
            "nodev" => (MsFlags::MS_NODEV, MsFlags::empty()),
            "dev" => (MsFlags::empty(), MsFlags::MS_NODEV),
            "noexec" => (MsFlags::MS_NOEXEC, MsFlags::empty()),
            "exec" => (MsFlags::empty(), MsFlags::MS_NOEXEC),
            "noatime" => (MsFlags::MS_NOATIME, MsFlags::empty()),
            "nodiratime" => (MsFlags::MS_NODIRATIME, MsFlags::empty()),
            "relatime" | "atime" | "diratime" => (MsFlags::empty(), MsFlags::MS_NOATIME),
            "defaults"
            | "auto"
            | "noauto"
            | "nofail"
            | "_netdev"
            | "user"
            | "users"
            | "nouser"
            | "owner"
            | "group"
            | "async"
            | "default_permissions"
            | "allow_other" => (MsFlags::empty(), MsFlags::empty()),
            _ => bail!(
                "option {word:?} is not known; kDFS has root=INODE, node=ID, config=FILE, socket=FILE, log=FILE, and ro, nosuid, nodev, noexec, noatime"
            ),
        };
        self.flags.0 = (self.flags.0 | set) - clear;
        Ok(())
    }
}

/// An inode number: decimal, hexadecimal (`0x1000001`), or `NODE:LOCAL`.
///
/// # Errors
/// It is none of these, or no inode can have it.
pub fn inode(text: &str) -> Result<u32> {
    let can_be = |&number: &u32| sets::inode_number(sets::node_of(number), sets::local_of(number)).is_some();
    match number(text).filter(can_be) {
        Some(number) => Ok(number),
        None => bail!("{text:?} is no inode number: write 16777217, 0x1000001 or 1:1 (node:local id)"),
    }
}

/// The number of any object, in the same three forms.
pub fn number(text: &str) -> Option<u32> {
    match (text.split_once(':'), text.strip_prefix("0x")) {
        (Some((node, local)), _) => match (node.parse::<u32>(), local.parse::<u32>()) {
            (Ok(node @ 1..=254), Ok(local @ 1..=0xff_ffff)) => Some(node << 24 | local),
            _ => None,
        },
        (_, Some(digits)) => u32::from_str_radix(digits, 16).ok(),
        _ => text.parse().ok(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ours_and_everybodys_options() {
        let mut options = MountOptions::default();
        options.add("rw,nosuid,root=1:1,node=2").unwrap();
        options.add("config=/tmp/my dir/cluster.toml,suid,noatime,x-systemd.automount").unwrap();
        assert_eq!((options.root, options.node), (Some(0x0100_0001), Some(2)));
        assert_eq!(options.config, Some("/tmp/my dir/cluster.toml".into()));
        assert_eq!(options.flags.0, MsFlags::MS_NOATIME);
    }

    #[test]
    fn mistakes_are_named() {
        for (word, part) in [
            ("colour=red", "not known"),
            ("node=0", "1 to 254"),
            ("root=x", "no inode number"),
            ("log=", "log=FILE"),
        ] {
            let error = MountOptions::default().add(word).unwrap_err().to_string();
            assert!(error.contains(part), "{error}");
        }
    }

    #[test]
    fn inode_numbers_three_ways() {
        for text in ["16777217", "0x1000001", "1:1"] {
            assert_eq!(inode(text).unwrap(), 0x0100_0001);
        }
        for text in ["", "0:1", "1:0", "255:1", "-1", "4294967296", "0", "16777216", "0xff000001"] {
            assert!(inode(text).is_err(), "{text}");
        }
    }
}
