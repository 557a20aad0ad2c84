//! The meeting itself: [`Hello`] one way, [`Welcome`] and three descriptors the other.

use crate::{
    bell::Bell,
    ends::{ProgramEnd, ServerEnd},
    hello::{HELLO_BYTES, Hello, HelloError, WELCOME_BYTES, Welcome},
    layout::Layout,
};
use kddm_memory::Unshareable;
use rustix::event::{
    Timespec,
    epoll::{self, EventData, EventFlags},
};
use rustix::io::Errno;
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage,
    SendFlags, recvmsg, sendmsg,
};
use std::{
    io::{self, IoSlice, IoSliceMut, Read},
    mem::MaybeUninit,
    os::{
        fd::{AsFd, BorrowedFd, OwnedFd},
        unix::net::UnixStream,
    },
    time::Duration,
};
use zerocopy::{FromBytes, IntoBytes};

/// Why an attachment does not come to be, or why it ended.
#[derive(Debug, thiserror::Error)]
pub enum MeetingError {
    /// What the other says.
    #[error(transparent)]
    Hello(#[from] HelloError),
    /// It hung up.
    #[error("the server hung up before it answered; its log says why")]
    HungUp,
    /// Its memory.
    #[error("the memory that the server gave cannot be used: {0}")]
    Memory(#[from] Unshareable),
    /// The system refused.
    #[error("{0}")]
    System(#[from] io::Error),
}

/// An attachment, as the program has it.
#[derive(Debug)]
pub struct Met {
    /// Submissions, completions, window.
    pub end: ProgramEnd,
    /// Wakes the server.
    pub server: Bell,
    /// Wakes the program.
    pub program: Bell,
    /// Sizes.
    pub layout: Layout,
    /// The server's node.
    pub node: u8,
}

/// The program's part: says hello, and takes what the server gives.
///
/// # Errors
/// See [`MeetingError`].
pub fn greet(stream: &mut UnixStream, hello: &Hello) -> Result<Met, MeetingError> {
    // A socket's buffer has room for so little. A program that does not ignore SIGPIPE must not die of a server that does.
    let sent = rustix::net::send(&*stream, hello.as_bytes(), SendFlags::NOSIGNAL);
    if sent.map_err(io::Error::from)? < HELLO_BYTES {
        return Err(MeetingError::HungUp);
    }
    let mut bytes = [0; WELCOME_BYTES];
    let mut descriptors = Vec::new();
    let mut read = 0;
    while read < WELCOME_BYTES {
        match receive(stream, &mut bytes[read..], &mut descriptors)? {
            0 => return Err(MeetingError::HungUp),
            more => read += more,
        }
    }
    let welcome = Welcome::read_from_bytes(&bytes).map_err(|_| HelloError::Stranger("server"))?;
    let (layout, node) = welcome.layout()?;
    let [memory, server, program] =
        <[OwnedFd; 3]>::try_from(descriptors).map_err(|_| HelloError::Stranger("server"))?;
    let end = ProgramEnd::map(memory, layout)?;
    Ok(Met { end, server: Bell::passed(server), program: Bell::passed(program), layout, node })
}

/// The server's part: reads what the program says.
///
/// # Errors
/// See [`MeetingError`].
pub fn listen(stream: &mut UnixStream) -> Result<Hello, MeetingError> {
    let mut bytes = [0; HELLO_BYTES];
    stream.read_exact(&mut bytes)?;
    Hello::read_from_bytes(&bytes).map_err(|_| HelloError::Stranger("program").into())
}

/// The server's part: lets the program in.
///
/// # Errors
/// The kernel's.
pub fn let_in(stream: &UnixStream, layout: Layout, node: u8) -> io::Result<(ServerEnd, Bell, Bell)> {
    let (end, memory) = ServerEnd::new(layout)?;
    let (server, program) = (Bell::new()?, Bell::new()?);
    let descriptors = [memory.as_fd(), server.as_fd(), program.as_fd()];
    send(stream, &Welcome::to(layout, node), &descriptors)?;
    Ok((end, server, program))
}

/// The server's part: says why not, or why not any longer.
pub fn turn_away(stream: &UnixStream, reason: &str, node: u8) {
    // The program may be gone, and then need not know.
    let _ = send(stream, &Welcome::refuse(reason, node), &[]);
}

/// The program's part: what the server said last, after it hung up.
pub fn farewell(stream: &mut UnixStream) -> String {
    let mut bytes = [0; WELCOME_BYTES];
    let said = stream.read_exact(&mut bytes).ok().and_then(|()| Welcome::read_from_bytes(&bytes).ok());
    match said.map(|welcome| welcome.layout()) {
        Some(Err(reason)) => reason.to_string(),
        _ => "the server ended".into(),
    }
}

fn send(stream: &UnixStream, welcome: &Welcome, descriptors: &[BorrowedFd<'_>]) -> io::Result<()> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(3))];
    let mut beside = SendAncillaryBuffer::new(&mut space);
    if !descriptors.is_empty() {
        beside.push(SendAncillaryMessage::ScmRights(descriptors));
    }
    // A socket's buffer has room for so little: it goes whole, or not at all.
    let flags = SendFlags::NOSIGNAL | SendFlags::DONTWAIT;
    let sent = sendmsg(stream, &[IoSlice::new(welcome.as_bytes())], &mut beside, flags)?;
    if sent == WELCOME_BYTES { Ok(()) } else { Err(io::ErrorKind::WriteZero.into()) }
}

fn receive(stream: &UnixStream, into: &mut [u8], descriptors: &mut Vec<OwnedFd>) -> io::Result<usize> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(3))];
    let mut beside = RecvAncillaryBuffer::new(&mut space);
    let received = rustix::io::retry_on_intr(|| {
        recvmsg(stream, &mut [IoSliceMut::new(into)], &mut beside, RecvFlags::CMSG_CLOEXEC)
    })?;
    for message in beside.drain() {
        if let RecvAncillaryMessage::ScmRights(passed) = message {
            descriptors.extend(passed);
        }
    }
    Ok(received.bytes)
}

/// Where a program sleeps: on its bell, and on the end of its server.
#[derive(Debug)]
pub struct Sleeper {
    poll: OwnedFd,
    _bell: Bell,
}

const BELL: u64 = 0;
const STREAM: u64 = 1;

impl Sleeper {
    /// On the bell, and on the connection to the server, which says nothing more until it says good-bye.
    ///
    /// # Errors
    /// The kernel's: too many descriptors are open.
    pub fn new(bell: Bell, stream: &UnixStream) -> io::Result<Sleeper> {
        let poll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        // Nobody reads the bell: each ring is an edge.
        let edges = EventFlags::IN | EventFlags::ET;
        epoll::add(&poll, &bell, EventData::new_u64(BELL), edges)?;
        epoll::add(&poll, stream, EventData::new_u64(STREAM), EventFlags::IN | EventFlags::RDHUP)?;
        Ok(Sleeper { poll, _bell: bell })
    }

    /// Sleeps until the bell rings, but not longer than `time`.
    ///
    /// # Errors
    /// The server has hung up.
    pub fn wait(&self, time: Option<Duration>) -> io::Result<()> {
        let time = time.and_then(|time| Timespec::try_from(time).ok());
        let mut events = [MaybeUninit::uninit(); 2];
        let waited = epoll::wait(&self.poll, &mut events, time.as_ref());
        let (events, _) = match waited {
            Err(Errno::INTR) => return Ok(()),
            waited => waited?,
        };
        match events.iter().any(|event| event.data.u64() == STREAM) {
            true => Err(io::ErrorKind::ConnectionReset.into()),
            false => Ok(()),
        }
    }
}

impl AsFd for Sleeper {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.poll.as_fd()
    }
}
