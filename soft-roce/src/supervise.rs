//! From the first qemu to the last: boots the guests, lets them run the command together, and always ends.

use crate::clock;
use crate::event::{Event, listen_for_signals, listen_to};
use crate::initramfs;
use crate::job::Job;
use crate::kernel::Kernel;
use crate::machine::Machine;
use crate::options::Options;
use crate::place::Place;
use crate::port::{GO, Message};
use crate::programs;
use crate::report::{Report, say};
use crate::wire;
use anyhow::{Context, Result, bail};
use std::io::Write;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::{Duration, Instant};

/// A boot takes three seconds; this is for a machine with a lot else to do (with sixteen processes for two processors it was seen to take
/// more than two minutes).
const BOOT_LIMIT: Duration = Duration::from_secs(300);

/// The time was up.
const TIMED_OUT: u8 = 124;
/// As the shell says it of a process that writes into a pipe that nobody reads.
const UNHEARD: u8 = 141;
/// As the shell says it of a process that was killed.
const VANISHED: u8 = 137;

/// Boots the guests and runs the command; the exit code.
///
/// # Errors
/// If the guests could not be booted.
pub fn run(options: &Options) -> Result<u8> {
    options.check()?;
    programs::check()?;
    let environment = options.environment()?;
    let (tell, events) = sync_channel(256);
    // Before the first qemu, so that no signal leaves one behind.
    listen_for_signals(tell.clone())?;
    let place = Place::new(options)?;
    let kernel = Kernel::obtain(&place.cache)?;
    let mut guests = Guests { options, machines: Vec::new(), events, report: Report::default() };
    guests.start(&kernel, &place, &environment, &tell)?;
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
        place: &Place,
        environment: &[(String, String)],
        tell: &SyncSender<Event>,
    ) -> Result<()> {
        let directory = std::env::current_dir().context("finding the working directory")?;
        let clock = clock::words();
        for (rank, wire) in (0..self.options.guests).zip(wire::lay(self.options.guests)?) {
            let job = Job {
                rank,
                guests: self.options.guests,
                run: place.name(),
                command: self.options.command.clone(),
                directory: directory.clone(),
                share: place.share.clone(),
                environment: environment.to_vec(),
            };
            let archive = initramfs::build(kernel, &job, self.options.mtu)?;
            let machine = Machine::start(self.options, rank, &kernel.image, &archive, &clock, place, wire)?;
            listen_to(rank, machine.port.try_clone()?, tell.clone())?;
            self.machines.push(machine);
        }
        Ok(())
    }

    /// Until every guest is ready; a code, if somebody wants an end.
    fn boot(&mut self) -> Result<Option<u8>> {
        let begin = Instant::now();
        let deadline = begin + BOOT_LIMIT;
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
                    "guest {} was not ready after {} s, in which {}; its last words were\n{}",
                    missing[0],
                    BOOT_LIMIT.as_secs(),
                    self.machines[usize::from(missing[0])].share(),
                    self.last_words(missing[0])
                ),
            }
        }
        say(&format!(
            "soft-roce: {} ready after {:.1} s",
            self.options.guests,
            begin.elapsed().as_secs_f32()
        ));
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
        let mut codes = Vec::new();
        while !running.is_empty() {
            match self.next(deadline) {
                Some(Event::Said(rank, Message::Output(stream, bytes))) => {
                    if self.report.output(rank, stream, &bytes).is_err() {
                        return Ok(UNHEARD);
                    }
                }
                // Its machine stays up for the others.
                Some(Event::Said(rank, Message::Exit(code))) => {
                    running.retain(|other| *other != rank);
                    codes.push(self.ended(rank, code));
                }
                Some(Event::Said(rank, message)) => {
                    bail!("BUG: guest {rank} said {message:?} after its start")
                }
                Some(Event::Ended(rank, garbage)) if running.contains(&rank) => {
                    running.retain(|other| *other != rank);
                    codes.push(self.vanished(rank, garbage));
                }
                Some(Event::Ended(..)) => {}
                Some(Event::Signal(signal)) => return Ok(killed_by(signal)),
                None => return Ok(self.out_of_time(&running)),
            }
        }
        Ok(codes.into_iter().find(|code| *code != 0).unwrap_or(0))
    }

    fn ended(&mut self, rank: u8, code: u8) -> u8 {
        self.report.end(rank);
        if code != 0 {
            self.report.note(rank, &format!("ended with {code}"));
        }
        code
    }

    fn out_of_time(&mut self, running: &[u8]) -> u8 {
        for rank in running {
            self.report.end(*rank);
            let share = self.machines[usize::from(*rank)].share();
            self.report
                .note(*rank, &format!("still running after {} s: ended ({share})", self.options.timeout));
        }
        TIMED_OUT
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

fn killed_by(signal: i32) -> u8 {
    say("soft-roce: interrupted; the guests are ended");
    u8::try_from(128 + signal).unwrap_or(u8::MAX)
}
