//! What the supervisor waits for: a thread for each guest's port and one for signals, all into one channel.

use crate::port::Message;
use anyhow::Result;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use std::io::{BufReader, ErrorKind};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::mpsc::SyncSender;

/// Those that ask for an end.
const SIGNALS: [i32; 3] = [SIGINT, SIGTERM, SIGHUP];

/// What the supervisor waits for.
#[derive(Debug)]
pub enum Event {
    /// A guest said something.
    Said(u8, Message),
    /// A guest's qemu has ended; if it spoke garbage before, what.
    Ended(u8, Option<String>),
    /// Somebody wants this program to end.
    Signal(i32),
}

/// Tells what guest `rank` says, and when its qemu hangs up.
///
/// # Errors
/// If there is no thread to be had.
pub fn listen_to(rank: u8, port: UnixStream, tell: SyncSender<Event>) -> Result<()> {
    let mut port = BufReader::new(port);
    std::thread::Builder::new().name(format!("guest {rank}")).spawn(move || {
        loop {
            let event = match Message::read(&mut port) {
                Ok(Some(message)) => Event::Said(rank, message),
                Err(error) if error.kind() == ErrorKind::InvalidData => {
                    Event::Ended(rank, Some(error.to_string()))
                }
                // Also in the middle of a message: it went off while it said something.
                Ok(None) | Err(_) => Event::Ended(rank, None),
            };
            let last = matches!(event, Event::Ended(..));
            if tell.send(event).is_err() || last {
                return;
            }
        }
    })?;
    Ok(())
}

/// Tells of signals.
///
/// # Errors
/// If they cannot be caught.
pub fn listen_for_signals(tell: SyncSender<Event>) -> Result<()> {
    let asked = Arc::new(AtomicBool::new(false));
    for signal in SIGNALS {
        // Who asks twice does not want to wait: the guests end with this process.
        signal_hook::flag::register_conditional_shutdown(signal, 128 + signal, asked.clone())?;
        signal_hook::flag::register(signal, asked.clone())?;
    }
    let mut signals = signal_hook::iterator::Signals::new(SIGNALS)?;
    std::thread::Builder::new().name("signals".into()).spawn(move || {
        for signal in signals.forever() {
            if tell.send(Event::Signal(signal)).is_err() {
                return;
            }
        }
    })?;
    Ok(())
}
