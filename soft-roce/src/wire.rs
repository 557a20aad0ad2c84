//! The wire: a switch, one thread, with a socket to each guest. Between two guests it costs a few hundredths of a READ
//! against a socket from one to the other.
//!
//! A frame is qemu's: its length in four bytes, big-endian, then the Ethernet frame. A guest that takes nothing any more
//! loses frames, as on a real switch, and never stops the others.

use crate::job;
use crate::report::say;
use anyhow::Result;
use mio::net::UnixStream;
use mio::{Events, Interest, Poll, Token};
use std::io::{ErrorKind, Read, Write};
use std::os::unix::net::UnixStream as Socket;

/// What may wait for one guest.
const WAITING: usize = 8 << 20;

/// The guests' ends of a wire between `guests` of them, by rank.
///
/// # Errors
/// If there are no sockets to be had.
pub fn lay(guests: u8) -> Result<Vec<Socket>> {
    let mut ends = Vec::new();
    let mut plugs = Vec::new();
    for _ in 0..guests {
        let (end, plug) = Socket::pair()?;
        plug.set_nonblocking(true)?;
        plugs.push(Plug {
            stream: UnixStream::from_std(plug),
            open: true,
            come: Vec::new(),
            waiting: Vec::new(),
        });
        ends.push(end);
    }
    let poll = Poll::new()?;
    for (rank, plug) in plugs.iter_mut().enumerate() {
        poll.registry().register(&mut plug.stream, Token(rank), Interest::READABLE | Interest::WRITABLE)?;
    }
    std::thread::Builder::new().name("wire".into()).spawn(move || {
        if let Err(error) = switch(poll, plugs) {
            say(&format!("soft-roce: the wire broke: {error}"));
        }
    })?;
    Ok(ends)
}

/// The switch's end of one guest's socket.
struct Plug {
    stream: UnixStream,
    open: bool,
    come: Vec<u8>,
    waiting: Vec<u8>,
}

impl Plug {
    /// Takes in what has come; whether the plug is still open.
    fn fill(&mut self) {
        let mut buffer = [0; 65536];
        while self.open {
            match self.stream.read(&mut buffer) {
                Ok(0) => self.open = false,
                Ok(length) => self.come.extend(&buffer[..length]),
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(_) => self.open = false,
            }
        }
    }

    fn flush(&mut self) {
        let mut written = 0;
        while self.open && written < self.waiting.len() {
            match self.stream.write(&self.waiting[written..]) {
                Ok(length) => written += length,
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(_) => self.open = false,
            }
        }
        self.waiting.drain(..written);
    }
}

fn switch(mut poll: Poll, mut plugs: Vec<Plug>) -> std::io::Result<()> {
    let mut events = Events::with_capacity(16);
    while plugs.iter().any(|plug| plug.open) {
        match poll.poll(&mut events, None) {
            Err(error) if error.kind() != ErrorKind::Interrupted => return Err(error),
            _ => {}
        }
        for event in &events {
            let from = event.token().0;
            plugs[from].fill();
            let come = std::mem::take(&mut plugs[from].come);
            let rest = forward(&mut plugs, from, &come);
            plugs[from].come = come[rest..].to_vec();
            for plug in &mut plugs {
                plug.flush();
            }
        }
    }
    Ok(())
}

/// Hands on every whole frame in `bytes`; where the first one that is not whole begins.
fn forward(plugs: &mut [Plug], from: usize, bytes: &[u8]) -> usize {
    let mut at = 0;
    while let Some(length) = bytes.get(at..at + 4) {
        let length = u32::from_be_bytes(length.try_into().expect("four bytes")) as usize;
        let Some(frame) = bytes.get(at..at + 4 + length) else { break };
        at += 4 + length;
        for (rank, plug) in plugs.iter_mut().enumerate() {
            let fits = plug.waiting.len() + frame.len() <= WAITING;
            if rank != from && plug.open && fits && goes_to(&frame[4..], rank) {
                plug.waiting.extend(frame);
            }
        }
    }
    at
}

/// Whether an Ethernet frame is for this guest: by its address, or because it is for many.
fn goes_to(frame: &[u8], rank: usize) -> bool {
    let Some(address) = frame.get(..6) else { return false };
    let for_many = address[0] & 1 != 0;
    for_many || u8::try_from(rank).is_ok_and(|rank| *address == job::mac(rank))
}
