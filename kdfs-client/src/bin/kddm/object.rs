//! What people call sets and objects.

use anyhow::{Result, bail};
use clap::Args;
use kddm_cluster::admin::{Reply, Request};
use kdfs_client::{
    Connection,
    mount_options::{self, inode},
};
use kdfs_format::sets;

/// An object, as the command line names it.
#[derive(Args, Clone, Debug)]
pub struct Named {
    /// inode, bitmap, open, statfs; dir:INODE or file:INODE (with @GENERATION for an earlier life of the number); a
    /// set's number; or the name that a program gave to a set.
    set: String,
    /// The object's number: an inode (16777217, 0x1000001 or 1:1), a page of a file (0 is the first) or of a directory
    /// (1 is the root page of its tree).
    #[arg(value_parser = number)]
    pub object: u32,
}

impl Named {
    /// The number of its set, asking `server` where that has to be known.
    ///
    /// # Errors
    /// There is no such set.
    pub fn set(&self, server: &mut Connection) -> Result<u64> {
        let name = self.set.as_str();
        Ok(match name.split_once(':') {
            None => match name {
                "inode" => sets::INODE_SET,
                "bitmap" => sets::BITMAP_SET,
                "open" => sets::OPEN_SET,
                "statfs" => sets::STATFS_SET,
                _ => plain(name, server)?,
            },
            Some(("dir", subject)) => of_inode(subject, server, sets::dir_set)?,
            Some(("file", subject)) => of_inode(subject, server, sets::file_set)?,
            Some(_) => plain(name, server)?,
        })
    }
}

/// What people call a set, as far as its number says.
pub fn set_name(set: u64) -> String {
    let (inode, generation) = ((set >> 24) as u32, set as u32 & sets::GENERATION_MASK);
    let subject = || format!("{}:{}@{generation}", sets::node_of(inode), sets::local_of(inode));
    match (set >> 56) as u8 {
        _ if set == sets::INODE_SET => "inode".to_owned(),
        _ if set == sets::BITMAP_SET => "bitmap".to_owned(),
        _ if set == sets::OPEN_SET => "open".to_owned(),
        _ if set == sets::STATFS_SET => "statfs".to_owned(),
        sets::KIND_DIR => format!("dir:{}", subject()),
        sets::KIND_FILE => format!("file:{}", subject()),
        _ => format!("{set:#x}"),
    }
}

fn number(text: &str) -> Result<u32, String> {
    mount_options::number(text)
        .ok_or_else(|| format!("{text:?} is no object number: write 7, 0x7 or, for an inode, 1:7"))
}

fn of_inode(subject: &str, server: &mut Connection, set: fn(u32, u32) -> u64) -> Result<u64> {
    if let Some((number, generation)) = subject.split_once('@') {
        return Ok(set(inode(number)?, generation.parse()?));
    }
    match server.ask(&Request::Inode { inode: inode(subject)? })? {
        Reply::Where(found) => Ok(set(found.inode, found.generation)),
        other => bail!("an answer to another question: {other:?}"),
    }
}

/// A number, or a name in the registry.
fn plain(name: &str, server: &mut Connection) -> Result<u64> {
    let number = match name.strip_prefix("0x") {
        Some(digits) => u64::from_str_radix(digits, 16),
        None => name.parse(),
    };
    if let Ok(number) = number {
        return Ok(number);
    }
    match server.ask(&Request::Named { name: name.to_owned() }) {
        Ok(Reply::Set(set)) => Ok(set),
        Ok(other) => bail!("an answer to another question: {other:?}"),
        Err(error) => bail!(
            "{error:#}; a set is inode, bitmap, open, statfs, dir:INODE, file:INODE, a number, or a name from `create_set`"
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sets_are_called_what_they_are_asked_for_by() {
        let inode = sets::inode_number(2, 7).unwrap();
        for (set, name) in [
            (sets::INODE_SET, "inode"),
            (sets::dir_set(inode, 3), "dir:2:7@3"),
            (sets::file_set(inode, 1), "file:2:7@1"),
            (255 << 56 | 5, "0xff00000000000005"),
        ] {
            assert_eq!(set_name(set), name);
        }
    }
}
