//! Running programs as a user would, and what they say.

use kddm_bench::programs::{run, said};
use std::io;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

/// How long a program of a test may take.
const LIMIT: Duration = Duration::from_secs(90);

/// A script for sh, run with `-e`.
pub struct Shell(Command);

impl Shell {
    /// The script.
    pub fn new(script: &str) -> Shell {
        let mut command = Command::new("sh");
        command.args(["-euc", script]).env("LC_ALL", "C");
        Shell(command)
    }

    /// With a variable.
    #[must_use]
    pub fn env(mut self, name: &str, value: &Path) -> Shell {
        self.0.env(name, value);
        self
    }

    /// As another user, in one group and no other.
    #[must_use]
    pub fn user(mut self, uid: u32, gid: u32) -> Shell {
        self.0.uid(uid).gid(gid).current_dir("/");
        self
    }

    /// Runs it; it must succeed. Gives back what it printed, without the last line's end.
    #[track_caller]
    pub fn succeeds(mut self) -> String {
        let output = run(&mut self.0, LIMIT).unwrap_or_else(|error| panic!("{error:#}"));
        assert!(output.status.success(), "{:?}\n{}: {}", self.0, output.status, said(&output));
        String::from_utf8_lossy(&output.stdout).trim_end().to_owned()
    }

    /// Runs it; it must fail. Gives back all that it said.
    #[track_caller]
    pub fn fails(mut self) -> String {
        let output = run(&mut self.0, LIMIT).unwrap_or_else(|error| panic!("{error:#}"));
        assert!(!output.status.success(), "{:?}\nsucceeded: {}", self.0, said(&output));
        said(&output)
    }
}

/// The error number of a call that must fail.
#[track_caller]
pub fn errno_of<T>(result: io::Result<T>) -> nix::errno::Errno {
    match result {
        Ok(_) => panic!("the call succeeded"),
        Err(error) => nix::errno::Errno::from_raw(error.raw_os_error().unwrap_or_default()),
    }
}
