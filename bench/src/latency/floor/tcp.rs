//! Bare TCP: a connection for each pair of nodes, as many bytes as the tcp fabric puts on the wire, and nothing done with them.
//!
//! ```text
//! greeting   0..16 the run | 16 rank
//! frame      0..4 length | 4..8 tag | 8..12 what: 0 message, 1 READ, 2 its bytes | 12..16 bytes wanted | 16..length zeros
//! ```

use super::{Bare, MAX_READ, Tag};
use crate::latency::control::accept;
use crate::latency::pattern::Rank;
use anyhow::{Context, Result, bail, ensure};
use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token};
use std::io::{ErrorKind, Read, Write};
use std::net::{self, IpAddr, SocketAddr, TcpListener};
use std::time::{Duration, Instant};

/// What the tcp fabric adds to a message: the length of a record, the head of a frame, the seal.
const AROUND: u32 = 2 + 4 + 16;
/// A READ, as that fabric asks for it.
const READ_BYTES: u32 = AROUND + 20;
/// What it puts before the bytes that it answers with.
const DATA_BYTES: u32 = AROUND + 12;

const HEAD: usize = 16;
/// Bytes of the longest frame.
const LONGEST: usize = (MAX_READ + DATA_BYTES) as usize;
/// Bytes that one system call may bring.
const INBOX: usize = 4 * LONGEST;
/// How long others may take to come.
const PATIENCE: Duration = Duration::from_secs(20);

const MESSAGE: u32 = 0;
const READ: u32 = 1;
const DATA: u32 = 2;

/// A node's end.
pub struct BareTcp {
    me: Rank,
    run: [u8; 16],
    listener: TcpListener,
    poll: Poll,
    events: Events,
    /// By rank; none at our own.
    streams: Vec<Option<Stream>>,
}

struct Stream {
    socket: TcpStream,
    inbox: Vec<u8>,
    /// What of it has come and is not parsed.
    filled: usize,
    out: Vec<u8>,
    written: usize,
}

impl BareTcp {
    /// Listens on `address`, on a port of its own. `run` tells our connections from those of strangers.
    ///
    /// # Errors
    /// The system's.
    pub fn start(me: Rank, address: IpAddr, run: [u8; 16]) -> Result<BareTcp> {
        let listener = TcpListener::bind((address, 0)).with_context(|| format!("listening on {address}"))?;
        let poll = Poll::new().context("no descriptor for epoll")?;
        Ok(BareTcp { me, run, listener, poll, events: Events::with_capacity(64), streams: Vec::new() })
    }

    fn dial(&self, address: SocketAddr) -> Result<net::TcpStream> {
        let mut stream = net::TcpStream::connect_timeout(&address, PATIENCE)
            .with_context(|| format!("connecting the floor to {address}"))?;
        stream.write_all(&self.run)?;
        stream.write_all(&[self.me])?;
        Ok(stream)
    }

    /// The next connection of this run; strangers are sent away.
    fn meet(&self, deadline: Instant) -> Result<(Rank, net::TcpStream)> {
        loop {
            let mut stream = accept(&self.listener, deadline)?.context("a node did not connect its floor")?;
            stream.set_read_timeout(Some(Duration::from_secs(1)))?;
            let mut greeting = [0; 17];
            if stream.read_exact(&mut greeting).is_ok() && greeting[..16] == self.run {
                return Ok((greeting[16], stream));
            }
        }
    }

    fn stream(&mut self, rank: Rank) -> Result<&mut Stream> {
        let stream = self.streams.get_mut(usize::from(rank)).and_then(Option::as_mut);
        stream.with_context(|| format!("the floor has no connection to rank {rank}"))
    }
}

impl Bare for BareTcp {
    fn announcement(&self) -> Vec<u8> {
        self.listener.local_addr().map(|address| address.to_string().into_bytes()).unwrap_or_default()
    }

    fn connect(&mut self, announced: &[Vec<u8>]) -> Result<()> {
        let deadline = Instant::now() + PATIENCE;
        let mut met: Vec<Option<net::TcpStream>> = announced.iter().map(|_| None).collect();
        for (place, address) in met.iter_mut().zip(announced).take(usize::from(self.me)) {
            let address = std::str::from_utf8(address).ok().and_then(|address| address.parse().ok());
            *place = Some(self.dial(address.context("a node announced no address for its floor")?)?);
        }
        for _ in usize::from(self.me) + 1..announced.len() {
            let (rank, stream) = self.meet(deadline)?;
            let place = met.get_mut(usize::from(rank)).filter(|place| rank > self.me && place.is_none());
            *place.with_context(|| format!("rank {rank} connects its floor, and should not"))? = Some(stream);
        }
        for (rank, stream) in met.into_iter().enumerate() {
            let stream = stream.map(|stream| Stream::new(stream, &self.poll, rank)).transpose()?;
            self.streams.push(stream);
        }
        Ok(())
    }

    fn send(&mut self, to: Rank, tag: Tag, bytes: u32) -> Result<()> {
        self.stream(to)?.frame(MESSAGE, tag, AROUND + bytes, 0);
        Ok(())
    }

    fn read(&mut self, from: Rank, tag: Tag, bytes: u32) -> Result<()> {
        ensure!(bytes <= MAX_READ, "a READ of {bytes} bytes: {MAX_READ} are possible");
        self.stream(from)?.frame(READ, tag, READ_BYTES, bytes);
        Ok(())
    }

    fn flush(&mut self) -> Result<()> {
        self.streams.iter_mut().flatten().try_for_each(Stream::flush)
    }

    fn poll(&mut self, arrived: &mut Vec<Tag>, patience: Duration) -> Result<()> {
        match self.poll.poll(&mut self.events, Some(patience)) {
            Err(error) if error.kind() == ErrorKind::Interrupted => return Ok(()),
            result => result.context("sleeping on the floor's connections")?,
        }
        for event in &self.events {
            let rank = event.token().0;
            let Some(stream) = self.streams.get_mut(rank).and_then(Option::as_mut) else { continue };
            if event.is_writable() {
                stream.flush()?;
            }
            let closing = event.is_read_closed();
            let drained = if event.is_readable() { stream.drain(arrived, closing) } else { Ok(()) };
            drained.with_context(|| format!("the floor's connection to rank {rank}"))?;
        }
        Ok(())
    }
}

impl Stream {
    fn new(stream: net::TcpStream, poll: &Poll, rank: usize) -> Result<Stream> {
        stream.set_nodelay(true)?;
        stream.set_nonblocking(true)?;
        let mut socket = TcpStream::from_std(stream);
        poll.registry().register(&mut socket, Token(rank), Interest::READABLE | Interest::WRITABLE)?;
        Ok(Stream { socket, inbox: vec![0; INBOX], filled: 0, out: Vec::new(), written: 0 })
    }

    fn frame(&mut self, what: u32, tag: Tag, length: u32, wanted: u32) {
        let end = self.out.len() + (length as usize).max(HEAD);
        for word in [length, tag, what, wanted] {
            self.out.extend_from_slice(&word.to_le_bytes());
        }
        self.out.resize(end, 0);
    }

    fn flush(&mut self) -> Result<()> {
        while self.written < self.out.len() {
            match self.socket.write(&self.out[self.written..]) {
                Ok(count) => self.written += count,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error.into()),
            }
        }
        self.out.clear();
        self.written = 0;
        Ok(())
    }

    /// Reads all that is there, answers READs, and says what has arrived. `closing`: no new edge will tell of the end.
    fn drain(&mut self, arrived: &mut Vec<Tag>, closing: bool) -> Result<()> {
        loop {
            match self.socket.read(&mut self.inbox[self.filled..]) {
                Ok(0) => bail!("the other side has ended"),
                Ok(count) => self.filled += count,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return self.flush(),
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) => return Err(error.into()),
            }
            // A short read has emptied the socket (epoll(7)); what comes later is a new edge.
            let emptied = !closing && self.filled < self.inbox.len();
            self.parse(arrived)?;
            if emptied {
                return self.flush();
            }
        }
    }

    fn parse(&mut self, arrived: &mut Vec<Tag>) -> Result<()> {
        let mut start = 0;
        while let Some(head) = self.inbox[start..self.filled].first_chunk::<HEAD>() {
            let word = |at: usize| u32::from_le_bytes([head[at], head[at + 1], head[at + 2], head[at + 3]]);
            let [length, tag, what, wanted] = [word(0), word(4), word(8), word(12)];
            ensure!((HEAD..=LONGEST).contains(&(length as usize)), "a frame of {length} bytes");
            if self.filled - start < length as usize {
                break;
            }
            start += length as usize;
            match what {
                MESSAGE | DATA => arrived.push(tag),
                READ if wanted <= MAX_READ => self.frame(DATA, tag, DATA_BYTES + wanted, 0),
                _ => bail!("a frame that no floor sends: {what}, {wanted} bytes wanted"),
            }
        }
        self.inbox.copy_within(start..self.filled, 0);
        self.filled -= start;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::latency::floor::{serve, walk};
    use crate::latency::pattern::Program;
    use crate::latency::pattern::Step::{All, Message, Read};
    use std::net::Ipv4Addr;
    use std::thread;

    const RUN: [u8; 16] = [7; 16];

    /// Starts `nodes` of them and has each do something when all have met. They end when all are done.
    fn meet<R: Send>(nodes: Rank, part: impl Fn(Rank, &mut BareTcp) -> R + Sync) -> Vec<R> {
        let start = |rank| BareTcp::start(rank, Ipv4Addr::LOCALHOST.into(), RUN).unwrap();
        let bare: Vec<BareTcp> = (0..nodes).map(start).collect();
        let announced: Vec<_> = bare.iter().map(Bare::announcement).collect();
        thread::scope(|scope| {
            let begin = |(mut bare, rank): (BareTcp, Rank)| {
                let (announced, part) = (&announced, &part);
                scope.spawn(move || {
                    bare.connect(announced).unwrap();
                    (part(rank, &mut bare), bare)
                })
            };
            let threads: Vec<_> = bare.into_iter().zip(0..).map(begin).collect();
            let ends: Vec<_> = threads.into_iter().map(|thread| thread.join().unwrap()).collect();
            ends.into_iter().map(|(result, _)| result).collect()
        })
    }

    #[test]
    fn walks_that_fork_and_join_are_done_as_often_as_asked_for() {
        let sharer = |rank| vec![Message(rank, 60), Message(0, 64)];
        let granted = vec![Message(0, 96), Read(1, MAX_READ)];
        let grab =
            vec![Message(2, 68), All(vec![granted, sharer(1), sharer(2)]), Message(1, 300), Message(0, 64)];
        let program = Program::of(&grab, 0).unwrap();
        for (rounds, width) in [(20, 1), (3, 8), (100, 8)] {
            let walked = meet(3, |rank, bare| match rank {
                0 => walk(bare, &program, rounds, width, Duration::ZERO).unwrap().each.len(),
                rank => serve(bare, &program, rank, Duration::from_micros(10)).map(|()| 0).unwrap(),
            });
            assert_eq!(walked, [rounds as usize, 0, 0]);
        }
    }

    #[test]
    fn the_end_of_one_is_an_error_for_the_others() {
        let program = Program::of(&vec![Message(1, 68), Message(0, 96)], 0).unwrap();
        let results = meet(2, |rank, bare| match rank {
            0 => walk(bare, &program, 1, 1, Duration::ZERO).map(|_| ()),
            _ => {
                bare.streams.clear();
                Ok(())
            }
        });
        assert!(format!("{:#}", results[0].as_ref().unwrap_err()).contains("rank 1"), "{results:?}");
    }

    #[test]
    fn strangers_are_sent_away() {
        let bare = BareTcp::start(0, Ipv4Addr::LOCALHOST.into(), RUN).unwrap();
        let address = bare.listener.local_addr().unwrap();
        let friend = || [&RUN[..], &[1]].concat();
        for greeting in [vec![0; 17], b"short".to_vec(), friend()] {
            net::TcpStream::connect(address).unwrap().write_all(&greeting).unwrap();
        }
        let (rank, _) = bare.meet(Instant::now() + PATIENCE).unwrap();
        assert_eq!(rank, 1);
    }

    #[test]
    fn frames_that_no_floor_sends_are_errors() {
        let results = meet(2, |rank, bare| match rank {
            // The first edge says that there is room to write.
            0 => (0..4).try_for_each(|_| bare.poll(&mut Vec::new(), Duration::from_secs(10))),
            _ => bare.stream(0).and_then(|stream| {
                stream.frame(READ, 1, READ_BYTES, u32::MAX);
                stream.flush()
            }),
        });
        assert!(format!("{:#}", results[0].as_ref().unwrap_err()).contains("no floor sends"), "{results:?}");
    }
}
