//! `kddm grab`.

mod edit;
mod under;

pub use under::Under;

use super::named::{Object, Patience};
use crate::outcome::is_conflict;
use anyhow::{Result, bail};
use clap::Args;
use kdfs_client::{HoldOptions, Session};
use std::{ffi::OsString, process::ExitCode};
use under::Child;

/// Run a command under the exclusive hold of an object, as flock(1) does under the lock of a file.
///
/// Nobody on any node of the cluster has any hold of the object while CMD runs. The hold ends when CMD ends, in whatever way, and CMD
/// ends when the hold does: if kddm is killed, so is CMD (not what CMD itself has started); if the node's server ends, CMD gets
/// SIGTERM. Signals that somebody sends to kddm go on to CMD; what a terminal sends reaches both.
///
/// CMD must not itself get or grab the same object: it would wait for its own hold. With --edit the object's bytes go through it.
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub struct Arguments {
    #[command(flatten)]
    object: Object,
    #[command(flatten)]
    patience: Patience,
    /// A shared hold: others may have shared ones as well, and nobody an exclusive one.
    #[arg(short, long)]
    shared: bool,
    /// The exit code if somebody else holds it (--nonblock, --timeout).
    #[arg(short = 'E', long, value_name = "CODE", default_value_t = 1)]
    conflict_exit_code: u8,
    /// CMD reads the object (without the zeros at its end) from its standard input; what it writes becomes the object, if it exits with 0.
    #[arg(long, conflicts_with = "shared")]
    edit: bool,
    /// The command and its arguments.
    #[arg(value_name = "CMD", required = true, last = true)]
    command: Vec<OsString>,
}

const EXAMPLES: &str = "\
Examples (with --dir /tmp/try, or KDDM_DIR=/tmp/try):
  kddm set create locks --size 0                   objects without bytes: locks
  kddm grab locks 1 -- ./nightly                   one at a time in the whole cluster
  kddm grab locks 1 -n -E 0 -- ./nightly           … who comes second has nothing to do
  kddm grab locks 1 -w 10 -- sh -c 'one; two'      … or has waited ten seconds
  kddm grab n 0 --edit -- awk '{ print $1 + 1 }'   a counter that loses no increment

Exit codes: CMD's own (128 + N if signal N killed it); 1, or that of -E: somebody else holds the object;
2 wrong usage; 125 kddm failed, with the reason; 126 CMD cannot be run; 127 CMD is not found.";

/// kddm itself failed.
const FAILED: u8 = 125;

/// Runs the command.
pub fn run(arguments: &Arguments) -> ExitCode {
    let error = match run_under_hold(arguments) {
        Ok(code) => return code.into(),
        Err(error) => error,
    };
    eprintln!("kddm: {error:#}");
    if is_conflict(&error) { arguments.conflict_exit_code.into() } else { FAILED.into() }
}

fn run_under_hold(arguments: &Arguments) -> Result<u8> {
    let (session, set) = arguments.object.open()?;
    let options = HoldOptions { wait: arguments.patience.wait(), only_existing: false };
    let object = arguments.object.object;
    let told = |error| arguments.object.error(error, &session);
    let run = || Child::start(&arguments.command, false)?.wait(&session);
    if arguments.shared {
        let _held = set.get_with(object, options).map_err(told)?;
        return run();
    }
    let held = set.grab_with(object, options).map_err(told)?;
    if arguments.edit {
        return edit::run(held, arguments, &session);
    }
    let code = run();
    drop(held);
    code
}

impl Arguments {
    /// What `--edit` may not do.
    fn too_long(&self, size: usize) -> Result<u8> {
        let Object { set, object, .. } = &self.object;
        bail!(
            "{set}/{object}: the command wrote more than the {size} bytes of the set's objects; nothing was changed"
        )
    }

    /// An error of the hold's end.
    fn error(&self, error: kdfs_client::Error, session: &Session) -> anyhow::Error {
        self.object.error(error, session)
    }
}
