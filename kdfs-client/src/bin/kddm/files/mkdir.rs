//! `kddm mkdir`.

use super::path::{KdfsPath, Parser, masked};
use crate::{
    attach,
    outcome::{Failures, with_codes},
};
use anyhow::Result;
use clap::Args;
use kdfs_client::{Refusal, Session};
use nix::libc;
use std::process::ExitCode;

/// Make directories of kDFS, without a mount.
#[derive(Args, Debug)]
#[command(after_help = with_codes(EXAMPLES))]
pub struct Arguments {
    /// Paths from the root of kDFS.
    #[arg(value_name = "PATH", required = true, value_parser = Parser)]
    paths: Vec<KdfsPath>,
    /// Make those above it too; it is no error if it is there.
    #[arg(short, long)]
    parents: bool,
    #[command(flatten)]
    node: attach::Node,
}

const EXAMPLES: &str = "\
Examples:
  kddm mkdir kdfs:/results --dir /tmp/try
  kddm mkdir -p kdfs:/results/2026/11 --dir /tmp/try";

/// Makes them.
pub fn run(arguments: &Arguments) -> Result<ExitCode> {
    let session = arguments.node.attach()?;
    let mut failures = Failures::default();
    for path in &arguments.paths {
        let made = if arguments.parents { make_all(&session, path) } else { make(&session, path) };
        failures.note(made);
    }
    Ok(failures.code())
}

fn make(session: &Session, path: &KdfsPath) -> Result<()> {
    session.create_dir(path.path(), masked(0o777)).map_err(|error| path.error(error))
}

fn make_all(session: &Session, path: &KdfsPath) -> Result<()> {
    let mut above: Vec<_> = path.path().ancestors().filter(|above| above.file_name().is_some()).collect();
    above.reverse();
    for directory in above {
        match session.create_dir(directory, masked(0o777)) {
            Err(error) if error.refusal() == Some(Refusal::File(libc::EEXIST)) => {
                let is_directory = session.metadata(directory).is_ok_and(|found| found.is_dir());
                if !is_directory {
                    return Err(path.error(error));
                }
            }
            made => made.map_err(|error| path.error(error))?,
        }
    }
    Ok(())
}
