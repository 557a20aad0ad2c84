//! `kddm get`.

use super::{
    named::{Object, Patience},
    text::trimmed,
};
use crate::outcome::with_codes;
use anyhow::Result;
use clap::Args;
use kdfs_client::HoldOptions;
use std::{
    io::{self, Write},
    process::ExitCode,
};

/// Print an object.
///
/// Gets the object (a shared hold: nobody changes it meanwhile), writes its bytes to the standard output, and puts it. All its bytes
/// are written, zeros at the end too; --trim leaves those out.
#[derive(Args, Debug)]
#[command(after_help = with_codes(EXAMPLES))]
pub struct Arguments {
    #[command(flatten)]
    object: Object,
    #[command(flatten)]
    patience: Patience,
    /// Without the zeros at its end: what was put, if that was text.
    #[arg(long)]
    trim: bool,
    /// Fail if nobody has touched the object yet, instead of making it, of zeros.
    #[arg(long)]
    existing: bool,
}

const EXAMPLES: &str = "\
Examples:
  kddm get notes 7 --dir /tmp/try --trim           what was put there
  kddm get notes 7 --dir /tmp/try | xxd            every byte
  kddm get notes 7 --dir /tmp/try --node 2         the same, from node 2
  kddm get notes 7 --dir /tmp/try -w 0.5           … if nobody has it grabbed for longer than half a second";

/// Prints it.
pub fn run(arguments: &Arguments) -> Result<ExitCode> {
    let (session, set) = arguments.object.open()?;
    let options = HoldOptions { wait: arguments.patience.wait(), only_existing: arguments.existing };
    let guard = set.get_with(arguments.object.object, options);
    let guard = guard.map_err(|error| arguments.object.error(error, &session))?;
    // Put before it is written: whoever reads slowly keeps nobody waiting.
    let bytes = guard.to_vec();
    drop(guard);
    let mut out = io::stdout().lock();
    out.write_all(if arguments.trim { trimmed(&bytes) } else { &bytes })?;
    out.flush()?;
    Ok(ExitCode::SUCCESS)
}
