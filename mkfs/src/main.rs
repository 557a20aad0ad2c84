//! `mkfs.kdfs`: makes a native directory a partition of kDFS.
#![forbid(unsafe_code)]

mod arguments;
mod identity;
mod partition;
mod replace;

use anyhow::{Context, Result};
use arguments::Arguments;
use clap::Parser;
use identity::NodeSource;
use kdfs_format::{FORMAT_VERSION, Superblock, Timestamp};
use partition::Found;
use replace::Replaced;
use std::fs::File;
use std::io::Read;
use std::process::ExitCode;
use std::time::SystemTime;

/// The directory was refused and is unchanged: it holds something.
const EXIT_REFUSED: u8 = 3;

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    match run(&arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("mkfs.kdfs: {error:#}");
            ExitCode::from(if error.is::<partition::Refused>() { EXIT_REFUSED } else { 1 })
        }
    }
}

fn run(arguments: &Arguments) -> Result<()> {
    let directory = &arguments.directory;
    let identity = identity::find(arguments)?;
    let found = partition::inspect(directory, arguments.force)?;
    let replaced = match &found {
        Found::Nothing => Replaced::default(),
        Found::Partition { .. } | Found::Files => replace::remove_partition(directory)?,
    };
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let mut superblock = Superblock::new(identity.node, arguments.root_node, random()?, Timestamp::from(now))
        .context("BUG: the node ids were checked")?;
    superblock.cluster = identity.cluster.unwrap_or_default();
    partition::write(directory, &superblock)
        .with_context(|| format!("cannot format {}", directory.display()))?;
    report(arguments, &superblock, &identity.source, &found, &replaced);
    Ok(())
}

fn report(
    arguments: &Arguments,
    superblock: &Superblock,
    source: &NodeSource,
    found: &Found,
    replaced: &Replaced,
) {
    let kept: Vec<String> = replaced.kept.iter().map(|path| path.display().to_string()).collect();
    if arguments.json {
        let summary = serde_json::json!({
            "directory": arguments.directory,
            "node": superblock.node,
            "node_from": source.to_string(),
            "root_node": arguments.root_node,
            "root_inode": superblock.root.get(),
            "holds_root": superblock.holds_root(),
            "format_version": FORMAT_VERSION,
            "partition": hex(&superblock.partition),
            "cluster": hex(&superblock.cluster),
            "replaced": matches!(found, Found::Partition { .. }),
            "inodes_removed": replaced.inodes,
            "kept": kept,
        });
        println!("{summary}");
        return;
    }
    if let Found::Partition { node } = found {
        println!("removed the old partition (of node {node}) and its {} inodes", replaced.inodes);
    }
    for path in &kept {
        println!("left alone: {path} (not made by kDFS; it is no part of the new partition)");
    }
    println!("{} is now the partition of node {} ({source})", arguments.directory.display(), superblock.node);
    let place = if superblock.holds_root() { "here" } else { "on that node" };
    println!("root directory: inode {:#010x} of node {}, {place}", superblock.root, arguments.root_node);
    println!("next: mount -t kdfs {} MOUNT_POINT", arguments.directory.display());
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn random() -> Result<[u8; 16]> {
    let mut bytes = [0; 16];
    File::open("/dev/urandom")
        .and_then(|mut source| source.read_exact(&mut bytes))
        .context("cannot read /dev/urandom, which names the partition; mount a /dev that has it")?;
    Ok(bytes)
}
