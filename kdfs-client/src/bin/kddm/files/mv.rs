//! `kddm mv`.

use super::path::{KdfsPath, Parser, name_of};
use crate::{
    attach,
    outcome::{Failures, with_codes},
};
use anyhow::{Result, ensure};
use clap::Args;
use std::process::ExitCode;

/// Rename entries of kDFS, or move them to another directory of it, without a mount.
#[derive(Args, Debug)]
#[command(after_help = with_codes(EXAMPLES))]
pub struct Arguments {
    /// What is there, and last where it goes: another name, which is replaced if it is there, or a directory.
    #[arg(value_name = "PATH", required = true, num_args = 2.., value_parser = Parser)]
    paths: Vec<KdfsPath>,
    #[command(flatten)]
    node: attach::Node,
}

const EXAMPLES: &str = "\
Examples:
  kddm mv kdfs:/results/draft kdfs:/results/final --dir /tmp/try
  kddm mv kdfs:/a kdfs:/b kdfs:/directory --dir /tmp/try

From or to this host: kddm cp.";

/// Moves them.
pub fn run(arguments: &Arguments) -> Result<ExitCode> {
    let session = arguments.node.attach()?;
    let Some((target, sources)) = arguments.paths.split_last() else { return Ok(ExitCode::SUCCESS) };
    let into = session.metadata(target.path()).is_ok_and(|found| found.is_dir());
    ensure!(into || sources.len() == 1, "{target}: is no directory, and several things cannot become one");
    let mut failures = Failures::default();
    for source in sources {
        let to = if into { target.join(name_of(source.path())?) } else { target.clone() };
        let moved = session.rename(source.path(), to.path());
        failures.note(moved.map_err(|error| source.error(error).context(format!("to {to}"))));
    }
    Ok(failures.code())
}
