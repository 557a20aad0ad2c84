//! `kddm rm`.

use super::path::{KdfsPath, Parser};
use crate::{
    attach,
    outcome::{Failures, with_codes},
};
use anyhow::Result;
use clap::Args;
use kdfs_client::{Refusal, Session};
use nix::libc;
use std::process::ExitCode;

/// Remove files of kDFS, and with -r directories, without a mount.
#[derive(Args, Debug)]
#[command(after_help = with_codes(EXAMPLES))]
pub struct Arguments {
    /// Paths from the root of kDFS.
    #[arg(value_name = "PATH", required = true, value_parser = Parser)]
    paths: Vec<KdfsPath>,
    /// Directories, with all that is below them.
    #[arg(short, long)]
    recursive: bool,
    /// It is no error if it is not there.
    #[arg(short, long)]
    force: bool,
    #[command(flatten)]
    node: attach::Node,
}

const EXAMPLES: &str = "\
Examples:
  kddm rm kdfs:/results/draft --dir /tmp/try
  kddm rm -rf kdfs:/results --dir /tmp/try";

/// Removes them.
pub fn run(arguments: &Arguments) -> Result<ExitCode> {
    let session = arguments.node.attach()?;
    let mut failures = Failures::default();
    for path in &arguments.paths {
        let removed = if arguments.recursive { tree(&session, path) } else { file(&session, path) };
        match removed {
            Err(error) if arguments.force && error.refusal() == Some(Refusal::File(libc::ENOENT)) => {}
            removed => failures.note(removed.map_err(|error| path.error(error))),
        }
    }
    Ok(failures.code())
}

fn file(session: &Session, path: &KdfsPath) -> kdfs_client::Result<()> {
    session.remove_file(path.path())
}

fn tree(session: &Session, path: &KdfsPath) -> kdfs_client::Result<()> {
    if !session.symlink_metadata(path.path())?.is_dir() {
        return file(session, path);
    }
    for entry in session.read_dir(path.path())? {
        let entry = entry?;
        let below = path.join(&entry.name);
        match entry.is_dir() {
            _ if entry.is_dot() => {}
            true => tree(session, &below)?,
            false => file(session, &below)?,
        }
    }
    session.remove_dir(path.path())
}
