//! `kddm cp`.

mod copier;
mod place;

use super::path::name_of;
use crate::{attach, outcome::with_codes};
use anyhow::{Result, ensure};
use clap::Args;
use copier::Copier;
use place::Place;
use std::process::ExitCode;

/// Copy files between this host and kDFS, or within kDFS, without a mount.
///
/// Paths that begin with kdfs: are of kDFS, all others of this host. Permission bits are those of the source, without this process's umask;
/// owner and times are new. Symbolic links are copied as such with -r, else followed. Nothing is made durable: see kddm sync.
#[derive(Args, Debug)]
#[command(after_help = with_codes(EXAMPLES))]
pub struct Arguments {
    /// What is copied, and last where it goes: a name, which is overwritten if it is there, or a directory.
    #[arg(value_name = "PATH", required = true, num_args = 2.., value_parser = Place::parser())]
    paths: Vec<Place>,
    /// Directories, with all that is below them.
    #[arg(short, long, visible_short_alias = 'R')]
    recursive: bool,
    #[command(flatten)]
    node: attach::Node,
}

const EXAMPLES: &str = "\
Examples:
  kddm cp /etc/motd kdfs:/ --dir /tmp/try
  kddm cp -r /etc/ssl kdfs:/ssl --dir /tmp/try     in …
  kddm cp -r kdfs:/ssl /tmp/ssl --dir /tmp/try --node 2    … and back, through another node
  kddm cp kdfs:/a kdfs:/b kdfs:/directory --dir /tmp/try
  date | kddm cp /dev/stdin kdfs:/stamp --dir /tmp/try";

/// Copies them.
pub fn run(arguments: &Arguments) -> Result<ExitCode> {
    let Some((target, sources)) = arguments.paths.split_last() else { return Ok(ExitCode::SUCCESS) };
    let some = arguments.paths.iter().any(Place::is_of_kdfs);
    ensure!(some, "none of these paths is of kDFS: write kdfs:/dir/file, or use cp(1)");
    let session = arguments.node.attach()?;
    let into = target.is_directory(&session);
    ensure!(into || sources.len() == 1, "{target}: is no directory, and several things cannot become one");
    let mut copier = Copier::new(&session, arguments.recursive);
    for source in sources {
        match into {
            // As cp(1): what is in the root itself goes right into the directory.
            true if name_of(source.path()).is_ok() => {
                copier.copy_all(source, &target.join(name_of(source.path())?));
            }
            _ => copier.copy_all(source, target),
        }
    }
    Ok(copier.end())
}
