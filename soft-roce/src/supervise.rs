//! From the first qemu to the last: boots the guests, lets them run the command together, and always ends.

use crate::initramfs;
use crate::job::Job;
use crate::kernel::Kernel;
use crate::machine::Machine;
use crate::options::Options;
use crate::port::{GO, Message};
use crate::report::{Report, Stream};
use crate::wire;
use anyhow::{Context, Result, anyhow, bail, ensure};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use std::io::{BufReader, Write};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::{Duration, Instant};

/// A boot takes three seconds; this is for a machine with a lot else to do.
const BOOT_LIMIT: Duration = Duration::from_secs(120);

/// The time was up.
const TIMED_OUT: u8 = 124;
/// As the shell says it of a process that was killed.
const VANISHED: u8 = 137;

/// Variables that a command has in any case, if the caller has them.
const PASSED_ON: [&str; 5] = ["PATH", "HOME", "USER", "LANG", "TERM"];

/// What the supervisor waits for.
enum Event {
    /// A guest said something.
    Said(u8, Message),
    /// A guest's qemu has ended; if it spoke garbage before, what.
    Ended(u8, Option<String>),
    /// Somebody wants this program to end.
    Signal(i32),
}

/// Boots the guests and runs the command; the exit code.
///
/// # Errors
/// If the guests could not be booted.
pub fn run(options: &Options) -> Result<u8> {
    let (tell, events) = channel();
    // First of all, so that no signal finds a qemu that nobody ends.
    listen_for_signals(tell.clone())?;
    let temporary = tempfile::Builder::new().prefix("soft-roce-").tempdir().context("making a folder")?;
    let work = folder(options.work.as_deref(), temporary.path(), "work")?;
    let share = folder(options.share.as_deref(), temporary.path(), "share")?;
    let kernel = Kernel::obtain(&cache()?)?;
    let mut guests = Guests { options, machines: Vec::new(), events, report: Report::default() };
    let name = temporary.path().file_name().unwrap_or_default().to_string_lossy();
    guests.start(&kernel, &name, &work, &share, &tell)?;
    if let Some(signal) = guests.boot()? {
        return Ok(signal);
    }
    guests.go()
}

struct Guests<'a> {
    options: &'a Options,
    machines: Vec<Machine>,
    events: Receiver<Event>,
    report: Report,
}

impl Guests<'_> {
    fn start(
        &mut self,
        kernel: &Kernel,
        name: &str,
        work: &Path,
        share: &Path,
        tell: &Sender<Event>,
    ) -> Result<()> {
        let environment = environment(&self.options.env)?;
        let directory = std::env::current_dir().context("finding the working directory")?;
        for (rank, wire) in (0..self.options.guests).zip(wire::lay(self.options.guests)?) {
            let job = Job {
                rank,
                guests: self.options.guests,
                run: name.to_owned(),
                command: self.options.command.clone(),
                directory: directory.clone(),
                share: share.to_owned(),
                environment: environment.clone(),
            };
            let archive = initramfs::build(kernel, &job, self.options.mtu)?;
            let machine = Machine::start(self.options, rank, &kernel.image, &archive, work, share, wire)?;
            listen_to(rank, &machine, tell.clone())?;
            self.machines.push(machine);
        }
        Ok(())
    }

    /// Until every guest is ready; a code, if somebody wants an end.
    fn boot(&mut self) -> Result<Option<u8>> {
        let deadline = Instant::now() + BOOT_LIMIT;
        let mut missing: Vec<u8> = (0..self.options.guests).collect();
        while !missing.is_empty() {
            match self.next(deadline) {
                Some(Event::Said(rank, Message::Ready)) => missing.retain(|other| *other != rank),
                Some(Event::Said(rank, Message::Failed(reason))) => {
                    bail!("guest {rank} is not ready: {reason}\n{}", self.last_words(rank));
                }
                Some(Event::Said(rank, message)) => {
                    bail!("BUG: guest {rank} said {message:?} before it was ready")
                }
                Some(Event::Ended(rank, _)) => {
                    bail!("guest {rank} ended at boot; its last words were\n{}", self.last_words(rank));
                }
                Some(Event::Signal(signal)) => return Ok(Some(killed_by(signal))),
                None => bail!(
                    "guest {} was not ready after {} s; its last words were\n{}",
                    missing[0],
                    BOOT_LIMIT.as_secs(),
                    self.last_words(missing[0])
                ),
            }
        }
        Ok(None)
    }

    /// Lets all begin, and waits for all.
    fn go(&mut self) -> Result<u8> {
        for machine in &mut self.machines {
            // One that is gone already says so by its event.
            let _ = machine.port.write_all(&[GO]);
        }
        let deadline = Instant::now() + Duration::from_secs(self.options.timeout);
        let mut running: Vec<u8> = (0..self.options.guests).collect();
        let mut first = 0;
        while !running.is_empty() {
            let code = match self.next(deadline) {
                Some(Event::Said(rank, Message::Out(bytes))) => {
                    self.report.output(rank, Stream::Out, &bytes);
                    continue;
                }
                Some(Event::Said(rank, Message::Err(bytes))) => {
                    self.report.output(rank, Stream::Err, &bytes);
                    continue;
                }
                // A guest whose command has ended stays up for the others, and says no more.
                Some(Event::Said(rank, message)) if running.contains(&rank) => {
                    running.retain(|other| *other != rank);
                    self.ended(rank, message)?
                }
                Some(Event::Ended(rank, garbage)) if running.contains(&rank) => {
                    running.retain(|other| *other != rank);
                    self.vanished(rank, garbage)
                }
                Some(Event::Said(..) | Event::Ended(..)) => continue,
                Some(Event::Signal(signal)) => return Ok(killed_by(signal)),
                None => {
                    for rank in running {
                        self.report.end(rank);
                        self.report
                            .note(rank, &format!("still running after {} s: ended", self.options.timeout));
                    }
                    return Ok(TIMED_OUT);
                }
            };
            first = if first == 0 { code } else { first };
        }
        Ok(first)
    }

    fn ended(&mut self, rank: u8, message: Message) -> Result<u8> {
        self.report.end(rank);
        match message {
            Message::Exit(code) => {
                if code != 0 {
                    self.report.note(rank, &format!("ended with {code}"));
                }
                Ok(code)
            }
            message => Err(anyhow!("BUG: guest {rank} said {message:?} in place of an exit code")),
        }
    }

    fn vanished(&mut self, rank: u8, garbage: Option<String>) -> u8 {
        self.report.end(rank);
        let machine = &self.machines[usize::from(rank)];
        let how = match garbage {
            Some(garbage) => format!("spoke garbage ({garbage})"),
            None if machine.panicked() => "panicked".into(),
            None => "powered off".into(),
        };
        if self.options.may_vanish.contains(&rank) && how == "powered off" {
            self.report.note(rank, "powered off, as it may");
            return 0;
        }
        self.report.note(rank, &format!("{how} before its command had ended\n{}", machine.last_words()));
        VANISHED
    }

    fn next(&self, deadline: Instant) -> Option<Event> {
        // The listener for signals never hangs up: no event means that the time is up.
        self.events.recv_timeout(deadline.saturating_duration_since(Instant::now())).ok()
    }

    fn last_words(&self, rank: u8) -> String {
        self.machines[usize::from(rank)].last_words()
    }
}

fn listen_to(rank: u8, machine: &Machine, tell: Sender<Event>) -> Result<()> {
    let mut port = BufReader::new(machine.port.try_clone()?);
    std::thread::Builder::new().name(format!("guest {rank}")).spawn(move || {
        loop {
            let event = match Message::read(&mut port) {
                Ok(Some(message)) => Event::Said(rank, message),
                Ok(None) => Event::Ended(rank, None),
                // In the middle of a frame: it went off while it said something.
                Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => Event::Ended(rank, None),
                Err(error) => Event::Ended(rank, Some(error.to_string())),
            };
            let last = matches!(event, Event::Ended(..));
            if tell.send(event).is_err() || last {
                return;
            }
        }
    })?;
    Ok(())
}

fn listen_for_signals(tell: Sender<Event>) -> Result<()> {
    let mut signals = signal_hook::iterator::Signals::new([SIGINT, SIGTERM, SIGHUP])?;
    std::thread::Builder::new().name("signals".into()).spawn(move || {
        for signal in signals.forever() {
            if tell.send(Event::Signal(signal)).is_err() {
                return;
            }
        }
    })?;
    Ok(())
}

fn killed_by(signal: i32) -> u8 {
    eprintln!("soft-roce: interrupted; the guests are ended");
    u8::try_from(128 + signal).unwrap_or(u8::MAX)
}

/// The folder that was asked for, else one that goes away at the end.
fn folder(wanted: Option<&Path>, temporary: &Path, name: &str) -> Result<PathBuf> {
    let path = wanted.map_or_else(|| temporary.join(name), Path::to_owned);
    std::fs::create_dir_all(&path).with_context(|| format!("creating {}", path.display()))?;
    Ok(path.canonicalize()?)
}

/// `target/soft-roce`, beside the folder in which this program was built.
fn cache() -> Result<PathBuf> {
    let program = std::env::current_exe().context("finding this program")?;
    Ok(program.ancestors().nth(2).context("finding the folder of this program")?.join("soft-roce"))
}

fn environment(wanted: &[String]) -> Result<Vec<(String, String)>> {
    let mut variables: Vec<(String, String)> =
        PASSED_ON.iter().filter_map(|name| Some(((*name).into(), std::env::var(name).ok()?))).collect();
    for word in wanted {
        let (name, value) = match word.split_once('=') {
            Some((name, value)) => (name, Some(value.to_owned())),
            None => (word.as_str(), std::env::var(word).ok()),
        };
        ensure!(!name.is_empty(), "--env {word}: a variable has a name");
        // One that the caller does not have, the command does not have either.
        variables.extend(value.map(|value| (name.to_owned(), value)));
    }
    Ok(variables)
}
