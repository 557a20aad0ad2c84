//! What exit codes say.

use kdfs_client::{Error, Refusal};
use nix::libc;
use std::{io, process::ExitCode};

/// The end of a command's help.
pub fn with_codes(examples: &str) -> String {
    format!("{examples}\n\n{CODES}")
}

const CODES: &str = "\
Exit codes: 0 done; 1 not done, with the reason; 2 wrong usage; 3 there is no such set, object or file;
4 this user may not; 5 somebody holds it (--nonblock, --timeout).";

/// The exit code that says best what the server refused.
pub fn code_of(error: &anyhow::Error) -> u8 {
    if is_conflict(error) {
        return 5;
    }
    code_of_errno(refusal(error).map(Refusal::errno))
}

fn code_of_errno(errno: Option<i32>) -> u8 {
    match errno {
        Some(libc::ENOENT | libc::ESTALE) => 3,
        Some(libc::EACCES | libc::EPERM) => 4,
        _ => 1,
    }
}

/// Whether somebody else had what was wanted.
pub fn is_conflict(error: &anyhow::Error) -> bool {
    matches!(refusal(error), Some(Refusal::WouldBlock | Refusal::TimedOut))
}

fn refusal(error: &anyhow::Error) -> Option<Refusal> {
    error.chain().find_map(|cause| cause.downcast_ref::<Error>()?.refusal())
}

/// Whether whoever read the output has gone.
pub fn is_unread(error: &anyhow::Error) -> bool {
    let mut causes = error.chain().filter_map(|cause| cause.downcast_ref::<io::Error>());
    causes.any(|error| error.kind() == io::ErrorKind::BrokenPipe)
}

/// Failures, with files of kDFS and of this host, of a command that goes on with what is left.
#[derive(Debug, Default)]
pub struct Failures(Option<u8>);

impl Failures {
    /// Says what failed; the first one gives the exit code.
    pub fn tell(&mut self, error: &anyhow::Error) {
        eprintln!("kddm: {error:#}");
        let mut causes = error.chain().filter_map(|cause| cause.downcast_ref::<io::Error>());
        let own = causes.find_map(io::Error::raw_os_error);
        self.0.get_or_insert(own.map_or_else(|| code_of(error), |errno| code_of_errno(Some(errno))));
    }

    /// Takes note of an outcome.
    pub fn note(&mut self, outcome: anyhow::Result<()>) {
        if let Err(error) = outcome {
            self.tell(&error);
        }
    }

    /// The exit code of it all.
    pub fn code(self) -> ExitCode {
        self.0.map_or(ExitCode::SUCCESS, ExitCode::from)
    }
}
