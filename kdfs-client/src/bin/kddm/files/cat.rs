//! `kddm cat`.

use super::path::{KdfsPath, Parser};
use crate::{
    attach,
    outcome::{Failures, with_codes},
};
use anyhow::Result;
use clap::Args;
use kdfs_client::{OpenOptions, Session};
use std::{
    io::{Write, stdout},
    process::ExitCode,
};

/// Print files of kDFS, without a mount.
///
/// The server looks at the permissions of this user, as for a mount.
#[derive(Args, Debug)]
#[command(after_help = with_codes(EXAMPLES))]
pub struct Arguments {
    /// Paths from the root of kDFS.
    #[arg(value_name = "PATH", required = true, value_parser = Parser)]
    paths: Vec<KdfsPath>,
    #[command(flatten)]
    node: attach::Node,
}

const EXAMPLES: &str = "\
Examples:
  kddm cat kdfs:/etc/motd --dir /tmp/try
  kddm cat kdfs:/part-1 /part-2 --dir /tmp/try >whole    the prefix may be left out";

/// Bytes that are asked for together.
const TRANSFER: usize = 1 << 20;

/// Prints them.
pub fn run(arguments: &Arguments) -> Result<ExitCode> {
    let session = arguments.node.attach()?;
    let mut failures = Failures::default();
    for path in &arguments.paths {
        failures.note(print(&session, path)?);
    }
    Ok(failures.code())
}

/// Fails as a whole only if the output cannot be written.
fn print(session: &Session, path: &KdfsPath) -> Result<Result<()>> {
    let file = match session.open(path.path(), OpenOptions::read()) {
        Ok(file) => file,
        Err(error) => return Ok(Err(path.error(error))),
    };
    let (mut bytes, mut place) = (vec![0; TRANSFER], 0);
    loop {
        match file.read_at(&mut bytes, place) {
            Ok(0) => return Ok(Ok(())),
            Ok(read) => {
                stdout().lock().write_all(&bytes[..read])?;
                place += read as u64;
            }
            Err(error) => return Ok(Err(path.error(error))),
        }
    }
}
