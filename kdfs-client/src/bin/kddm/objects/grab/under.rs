//! A command that runs as long as a hold lasts, and no longer.
//!
//! It is started by way of this program's own hidden command, which asks the kernel to kill it when its parent dies: only a process
//! can ask that for itself, and it is kept when the process goes on as another program.

use anyhow::{Context, Result, bail};
use kdfs_client::Session;
use nix::{
    poll::{PollFd, PollFlags, PollTimeout, poll},
    sys::{
        prctl,
        signal::{SigSet, Signal, kill},
        signalfd::{SfdFlags, SignalFd},
    },
    unistd::{Pid, getppid},
};
use rustix::process::{Pid as ProcessId, PidfdFlags, pidfd_open};
use std::{
    env,
    ffi::OsString,
    io::ErrorKind,
    os::{
        fd::{AsFd, OwnedFd},
        unix::process::{CommandExt, ExitStatusExt},
    },
    process::{ChildStdin, ChildStdout, Command, ExitCode, ExitStatus, Stdio},
};

/// The name of the hidden command.
const NAME: &str = "run-under-hold";

/// What goes on to the command.
const FORWARDED: [Signal; 6] =
    [Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP, Signal::SIGQUIT, Signal::SIGUSR1, Signal::SIGUSR2];

/// `si_code` of what the kernel itself sends: a terminal's signals reach the command without us.
const SENT_BY_KERNEL: i32 = 0x80;

/// What this program is when it was started by another kddm: on its way to be the command.
pub struct Under {
    parent: Pid,
    program: OsString,
    arguments: Vec<OsString>,
}

impl Under {
    /// Whether this process is that: `kddm run-under-hold PARENT CMD …`. Not one of clap's commands: people have no use for it.
    pub fn asked_for() -> Option<Under> {
        let mut arguments = env::args_os().skip(1);
        arguments.next().filter(|name| name == NAME)?;
        let parent = arguments.next()?.to_str()?.parse().ok()?;
        let program = arguments.next()?;
        Some(Under { parent: Pid::from_raw(parent), program, arguments: arguments.collect() })
    }

    /// Goes on as the command, which dies with the parent.
    pub fn run(self) -> ExitCode {
        let prepared = prctl::set_pdeathsig(Signal::SIGKILL).and_then(|()| signals().thread_unblock());
        if let Err(error) = prepared {
            eprintln!("kddm: {}: {error}", self.program.display());
            return super::FAILED.into();
        }
        if getppid() != self.parent {
            // It died before it could be watched, and the hold with it.
            return super::FAILED.into();
        }
        let error = Command::new(&self.program).args(self.arguments).exec();
        eprintln!("kddm: {}: {error}", self.program.display());
        let code = if error.kind() == ErrorKind::NotFound { 127 } else { 126 };
        code.into()
    }
}

/// A command that runs.
pub struct Child {
    process: std::process::Child,
    ends: OwnedFd,
    signals: SignalFd,
}

impl Child {
    /// Starts it; its input and output are pipes if `piped`.
    pub fn start(command: &[OsString], piped: bool) -> Result<Child> {
        let own = env::current_exe().context("this program's own path")?;
        signals().thread_block()?;
        let signals = SignalFd::with_flags(&signals(), SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK)?;
        let mut under = Command::new(&own);
        under.arg(NAME).arg(std::process::id().to_string()).args(command);
        if piped {
            under.stdin(Stdio::piped()).stdout(Stdio::piped());
        }
        let process = under.spawn().with_context(|| format!("{}: cannot be run", own.display()))?;
        let id = ProcessId::from_raw(process.id().cast_signed()).context("a process without a number")?;
        let ends = pidfd_open(id, PidfdFlags::empty()).context("the command cannot be watched")?;
        Ok(Child { process, ends, signals })
    }

    /// Its input and output, once.
    pub fn pipes(&mut self) -> Option<(ChildStdin, ChildStdout)> {
        Some((self.process.stdin.take()?, self.process.stdout.take()?))
    }

    /// Waits for its end, and hands signals on; its exit code.
    ///
    /// # Errors
    /// The attachment, and the hold with it, ended first. The command was told to end, and has.
    pub fn wait(&mut self, session: &Session) -> Result<u8> {
        loop {
            let mut watched = [self.ends.as_fd(), self.signals.as_fd(), session.as_fd()]
                .map(|fd| PollFd::new(fd, PollFlags::POLLIN));
            match poll(&mut watched, PollTimeout::NONE) {
                Ok(_) | Err(nix::errno::Errno::EINTR) => {}
                Err(error) => return Err(error).context("waiting for the command"),
            }
            let [ended, _, over] = watched.map(|fd| fd.any().unwrap_or(false));
            if ended {
                return Ok(code_of(self.process.wait()?));
            }
            self.forward()?;
            if over {
                return self.without_hold(session);
            }
        }
    }

    fn forward(&self) -> Result<()> {
        while let Some(signal) = self.signals.read_signal()? {
            if signal.ssi_code != SENT_BY_KERNEL {
                self.tell(Signal::try_from(signal.ssi_signo.cast_signed())?);
            }
        }
        Ok(())
    }

    fn without_hold(&mut self, session: &Session) -> Result<u8> {
        self.tell(Signal::SIGTERM);
        let reason = session.ping().err().map(|error| error.to_string()).unwrap_or_default();
        eprintln!("kddm: the hold is gone, and the command was told to end: {reason}");
        self.process.wait()?;
        bail!("the command ran without its hold for a moment; look at what it has done")
    }

    fn tell(&self, signal: Signal) {
        // It is our child, and not yet waited for: the number is its own. If it has ended, nothing is to be told.
        let _ = kill(Pid::from_raw(self.process.id().cast_signed()), signal);
    }
}

fn signals() -> SigSet {
    FORWARDED.into_iter().collect()
}

/// As a shell has it.
fn code_of(status: ExitStatus) -> u8 {
    match (status.code(), status.signal()) {
        (Some(code), _) => code as u8,
        (None, Some(signal)) => 128 + signal as u8,
        (None, None) => super::FAILED,
    }
}
