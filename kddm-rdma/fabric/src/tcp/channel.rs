//! A stream of sealed records, both ways, never blocking.

use super::{
    codec::Control,
    frame::{self, Kind},
    noise::{Handshake, MAX_RECORD, Sealed, TAG_BYTES},
};
use crate::Counters;
use mio::net::TcpStream;
use std::{
    io::{self, ErrorKind, Read, Write},
    time::Instant,
};

/// Two records: there is always room for what completes the first.
const INBOX_BYTES: usize = 2 * (2 + MAX_RECORD);

/// A record with this much in it is sealed; one more frame still fits.
const SEAL_BYTES: usize = 24 << 10;

/// An output buffer that grew beyond this is given back when it is empty.
const KEPT_BYTES: usize = 1 << 20;

const _: () = assert!(SEAL_BYTES + frame::CHUNK_BYTES + 64 + TAG_BYTES <= MAX_RECORD);

/// How a connection got ready to be parsed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Filled {
    /// Nothing more is there now.
    Drained,
    /// There may be more than fitted.
    Full,
    /// The other side has closed; what came before is in the inbox.
    Closed,
}

pub(super) struct Channel {
    stream: TcpStream,
    inbox: Vec<u8>,
    /// What is not parsed yet: `inbox[start..end]`.
    start: usize,
    end: usize,
    /// Frames of the record that is being filled.
    plain: Vec<u8>,
    /// What the network has not taken yet: `out[written..]`.
    out: Vec<u8>,
    written: usize,
    sealed: Option<Sealed>,
    /// The end of the stream has been announced: no new edge will tell of it.
    closing: bool,
    /// When bytes last came.
    pub(super) heard: Instant,
    /// When bytes last went.
    pub(super) spoke: Instant,
}

impl Channel {
    pub(super) fn new(stream: TcpStream, now: Instant) -> Channel {
        Channel {
            stream,
            inbox: Vec::new(),
            start: 0,
            end: 0,
            plain: Vec::new(),
            out: Vec::new(),
            written: 0,
            sealed: None,
            closing: false,
            heard: now,
            spoke: now,
        }
    }

    pub(super) fn stream(&mut self) -> &mut TcpStream {
        &mut self.stream
    }

    /// Reads what is there, as far as it fits. `closing`: the end of the stream has just been announced.
    pub(super) fn fill(
        &mut self,
        closing: bool,
        now: Instant,
        counters: &mut Counters,
    ) -> io::Result<Filled> {
        self.closing |= closing;
        self.inbox.resize(INBOX_BYTES, 0);
        self.inbox.copy_within(self.start..self.end, 0);
        (self.start, self.end) = (0, self.end - self.start);
        while self.end < INBOX_BYTES {
            match self.stream.read(&mut self.inbox[self.end..]) {
                Ok(0) => return Ok(Filled::Closed),
                Ok(count) => {
                    self.end += count;
                    self.heard = now;
                    counters.bytes_received += count as u64;
                    // A short read has emptied the socket (epoll(7)); what comes later is a new edge.
                    if self.end < INBOX_BYTES && !self.closing {
                        return Ok(Filled::Drained);
                    }
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(Filled::Drained),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(Filled::Full)
    }

    /// Takes exactly `N` bytes in the clear, once they are there.
    pub(super) fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let bytes = *self.inbox[self.start..self.end].first_chunk()?;
        self.start += N;
        Some(bytes)
    }

    /// What has come and is not parsed yet.
    pub(super) fn pending(&self) -> &[u8] {
        &self.inbox[self.start..self.end]
    }

    /// Opens the next record into `plain` and says how long it is; `None` until it is complete.
    pub(super) fn record(&mut self, plain: &mut [u8]) -> Result<Option<usize>, String> {
        let Some(sealed) = &mut self.sealed else { return Ok(None) };
        let pending = &self.inbox[self.start..self.end];
        let Some((length, rest)) = pending.split_first_chunk() else { return Ok(None) };
        let length = usize::from(u16::from_le_bytes(*length));
        if length < TAG_BYTES + frame::HEAD_BYTES {
            return Err(format!("a record of {length} bytes is too short"));
        }
        let Some(record) = rest.get(..length) else { return Ok(None) };
        let opened = sealed.open(record, plain).map_err(|_| "a record was altered on its way".to_owned())?;
        self.start += 2 + length;
        Ok(Some(opened))
    }

    /// Queues bytes in the clear.
    pub(super) fn clear(&mut self, bytes: &[u8]) {
        self.out.extend_from_slice(bytes);
    }

    /// From now on everything is sealed.
    pub(super) fn seal_with(&mut self, handshake: Handshake) -> Result<(), String> {
        self.sealed = Some(handshake.finish().map_err(|error| error.to_string())?);
        Ok(())
    }

    /// Queues a frame.
    pub(super) fn frame(&mut self, kind: Kind, write: impl FnOnce(&mut Vec<u8>)) -> Result<(), String> {
        frame::append(&mut self.plain, kind, write);
        if self.plain.len() >= SEAL_BYTES { self.seal() } else { Ok(()) }
    }

    /// Queues bytes that need not be frames.
    #[cfg(test)]
    pub(super) fn anything(&mut self, bytes: &[u8]) {
        self.plain.extend_from_slice(bytes);
    }

    /// Queues a control message, in a record of its own.
    pub(super) fn control(&mut self, version: u32, control: &Control) -> Result<(), String> {
        self.seal()?;
        self.frame(Kind::Control, |out| control.encode(version, out))?;
        self.seal()
    }

    /// Bytes that wait for the network.
    pub(super) fn backlog(&self) -> usize {
        self.out.len() - self.written + self.plain.len()
    }

    /// Hands the network what it takes. What is left goes when the stream is writable again.
    pub(super) fn flush(&mut self, now: Instant, counters: &mut Counters) -> io::Result<()> {
        self.seal().map_err(io::Error::other)?;
        while self.written < self.out.len() {
            match self.stream.write(&self.out[self.written..]) {
                Ok(count) => {
                    self.written += count;
                    self.spoke = now;
                    counters.bytes_sent += count as u64;
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        self.out.clear();
        self.out.shrink_to(KEPT_BYTES);
        self.written = 0;
        Ok(())
    }

    fn seal(&mut self) -> Result<(), String> {
        if self.plain.is_empty() {
            return Ok(());
        }
        // The network takes from the front: do not let what it took pile up before what it did not.
        if self.written > KEPT_BYTES {
            self.out.drain(..self.written);
            self.written = 0;
        }
        let sealed = self.sealed.as_mut().ok_or("BUG: a frame before the handshake")?;
        sealed.seal(&self.plain, &mut self.out).map_err(|error| error.to_string())?;
        self.plain.clear();
        Ok(())
    }
}
