//! `kddm put`.

use super::named::{Object, Patience};
use crate::outcome::with_codes;
use anyhow::{Context, Result, bail};
use clap::Args;
use kdfs_client::HoldOptions;
use std::{
    io::{self, Read},
    process::ExitCode,
};

/// Write the standard input into an object.
///
/// Reads all input, grabs the object (an exclusive hold), writes the bytes into it, and puts it: from then on nobody, on any node, sees
/// what was there before. Behind input that is shorter than the object come zeros; input that is longer is an error, and
/// changes nothing.
#[derive(Args, Debug)]
#[command(after_help = with_codes(EXAMPLES))]
pub struct Arguments {
    #[command(flatten)]
    object: Object,
    #[command(flatten)]
    patience: Patience,
    /// Leave the bytes behind the input as they are.
    #[arg(long)]
    keep_rest: bool,
    /// Fail if nobody has touched the object yet, instead of making it.
    #[arg(long)]
    existing: bool,
}

const EXAMPLES: &str = "\
Examples:
  echo hello | kddm put notes 7 --dir /tmp/try
  kddm put notes 7 --dir /tmp/try <file            at most as long as an object of the set (kddm set stat)
  printf 'J' | kddm put notes 7 --dir /tmp/try --keep-rest    only the first byte
  kddm put notes 7 --dir /tmp/try </dev/null       all zeros";

/// Writes it.
pub fn run(arguments: &Arguments) -> Result<ExitCode> {
    let (session, set) = arguments.object.open()?;
    let bytes = input(set.object_size(), &arguments.object)?;
    let options = HoldOptions { wait: arguments.patience.wait(), only_existing: arguments.existing };
    let told = |error| arguments.object.error(error, &session);
    let mut guard = set.grab_with(arguments.object.object, options).map_err(told)?;
    let (begin, rest) = guard.split_at_mut(bytes.len());
    begin.copy_from_slice(&bytes);
    if !arguments.keep_rest {
        rest.fill(0);
    }
    guard.put().map_err(told)?;
    Ok(ExitCode::SUCCESS)
}

/// All of the input, before anybody has to wait for us.
fn input(most: u32, Object { set, object, .. }: &Object) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let read = io::stdin().lock().take(u64::from(most) + 1).read_to_end(&mut bytes);
    read.context("the standard input cannot be read")?;
    if bytes.len() > most as usize {
        bail!(
            "{set}/{object}: the input is longer than the {most} bytes of the set's objects; nothing was changed"
        );
    }
    Ok(bytes)
}
