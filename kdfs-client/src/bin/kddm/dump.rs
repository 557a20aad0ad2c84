//! `kddm dump`.

use crate::select::{Cluster, Selection};
use anyhow::{Result, bail};
use clap::Args;
use comfy_table::{Table, presets::NOTHING};
use kddm_cluster::admin::{Dump, Reply, Request};
use kdfs_client::{
    Connection,
    mount_options::{self, inode},
};
use kdfs_format::sets;

/// The state of an object on every node of this host: its home's directory entry, and each copy.
#[derive(Args, Debug)]
pub struct Arguments {
    /// inode, bitmap, open, statfs; dir:INODE or file:INODE (with @GENERATION for an earlier life of the number); or a
    /// set's number.
    set: String,
    /// The object's number: an inode (16777217, 0x1000001 or 1:1), a page of a file (0 is the first) or of a directory
    /// (1 is the root page of its tree).
    #[arg(value_parser = number)]
    object: u32,
    #[command(flatten)]
    cluster: Selection,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

/// Prints what each node says.
pub fn run(arguments: &Arguments) -> Result<()> {
    let mut servers = Cluster::load(&arguments.cluster)?.here(None)?;
    let set = set(&arguments.set, &mut servers[0].1)?;
    let mut dumps = Vec::new();
    for (_, server) in &mut servers {
        match server.ask(&Request::Dump { set, object: arguments.object })? {
            Reply::Dump(dump) => dumps.push(dump),
            other => bail!("an answer to another question: {other:?}"),
        }
    }
    if arguments.json {
        println!("{}", serde_json::to_string(&dumps)?);
    } else {
        println!("object {set:#018x}/{}", arguments.object);
        println!("{}", table(&dumps));
    }
    Ok(())
}

fn table(dumps: &[Dump]) -> Table {
    let mut table = Table::new();
    table.load_preset(NOTHING);
    for dump in dumps {
        for (place, (name, value)) in dump.fields.iter().enumerate() {
            let node = if place == 0 { format!("node {}", dump.node) } else { String::new() };
            table.add_row([&node, name, value]);
        }
    }
    table
}

fn number(text: &str) -> Result<u32, String> {
    mount_options::number(text)
        .ok_or_else(|| format!("{text:?} is no object number: write 7, 0x7 or, for an inode, 1:7"))
}

fn set(name: &str, server: &mut Connection) -> Result<u64> {
    Ok(match name.split_once(':') {
        None => match name {
            "inode" => sets::INODE_SET,
            "bitmap" => sets::BITMAP_SET,
            "open" => sets::OPEN_SET,
            "statfs" => sets::STATFS_SET,
            _ => plain(name)?,
        },
        Some(("dir", subject)) => of_inode(subject, server, sets::dir_set)?,
        Some(("file", subject)) => of_inode(subject, server, sets::file_set)?,
        Some(_) => plain(name)?,
    })
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

fn plain(name: &str) -> Result<u64> {
    let number = match name.strip_prefix("0x") {
        Some(digits) => u64::from_str_radix(digits, 16),
        None => name.parse(),
    };
    match number {
        Ok(number) => Ok(number),
        Err(_) => {
            bail!("{name:?} is no set: write inode, bitmap, open, statfs, dir:INODE, file:INODE, or a number")
        }
    }
}
