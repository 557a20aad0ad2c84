//! Bare shared memory: for each pair of nodes a ring each way and an eventfd each way, as the shm fabric has them, bytes by copying
//! from memory that the other has passed; and nothing done with them.

mod ring;

use super::{Bare, MAX_READ, Tag};
use crate::latency::pattern::Rank;
use anyhow::{Context, Result, bail, ensure};
use kddm_memory::SharedBytes;
use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Token};
use ring::{Inbox, Outlet};
use rustix::event::{EventfdFlags, eventfd};
use rustix::net::sockopt::{Timeout, set_socket_timeout};
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage,
    SendFlags, recvmsg, sendmsg,
};
use std::hint::black_box;
use std::io::{ErrorKind, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixListener, UnixStream};
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

/// Bytes are copied by so many.
const WORD: usize = size_of::<u64>();
/// How long others may take to come.
const PATIENCE: Duration = Duration::from_secs(20);

/// A node's end.
pub struct BareShm {
    me: Rank,
    run: [u8; 16],
    listener: UnixListener,
    poll: Poll,
    events: Events,
    /// By rank; none at our own.
    peers: Vec<Option<Peer>>,
    /// READs that were not told of yet.
    landed: Vec<Tag>,
    landing: Vec<u64>,
}

struct Peer {
    inbox: Inbox,
    outlet: Outlet,
    /// The one that we ring.
    bell: OwnedFd,
    _heard: OwnedFd,
    memory: SharedBytes,
}

/// What one end of a pair makes, and what of it goes to the other: the ring in which it takes, the bell that it rings, its memory.
struct Offer {
    inbox: Inbox,
    bell: OwnedFd,
    descriptors: [OwnedFd; 3],
}

impl BareShm {
    /// Waits for the others of this `run` at a Unix socket of its own.
    ///
    /// # Errors
    /// The system's.
    pub fn start(me: Rank, run: [u8; 16]) -> Result<BareShm> {
        let listener = UnixListener::bind_addr(&name(&run, me)?).context("a Unix socket for the floor")?;
        set_socket_timeout(&listener, Timeout::Recv, Some(PATIENCE))?;
        let poll = Poll::new().context("no descriptor for epoll")?;
        let (events, peers) = (Events::with_capacity(64), Vec::new());
        let (landed, landing) = (Vec::new(), vec![0; MAX_READ as usize / WORD]);
        Ok(BareShm { me, run, listener, poll, events, peers, landed, landing })
    }

    fn dial(&self, rank: Rank) -> Result<Peer> {
        let name = name(&self.run, rank)?;
        let stream = UnixStream::connect_addr(&name).with_context(|| format!("the floor of rank {rank}"))?;
        set_socket_timeout(&stream, Timeout::Recv, Some(PATIENCE))?;
        let offer = Offer::new()?;
        offer.send(&stream, self.me)?;
        let (_, theirs) = receive(&stream)?;
        self.peer(rank, offer, theirs)
    }

    /// The next of those who dial us.
    fn meet(&self) -> Result<(Rank, Peer)> {
        let (stream, _) = self.listener.accept().context("a node did not connect its floor")?;
        let (rank, theirs) = receive(&stream)?;
        ensure!(rank > self.me, "rank {rank} connects its floor, and should not");
        let offer = Offer::new()?;
        offer.send(&stream, self.me)?;
        Ok((rank, self.peer(rank, offer, theirs)?))
    }

    fn peer(&self, rank: Rank, mine: Offer, [ring, heard, memory]: [OwnedFd; 3]) -> Result<Peer> {
        let token = Token(usize::from(rank));
        self.poll.registry().register(&mut SourceFd(&heard.as_raw_fd()), token, Interest::READABLE)?;
        let memory = SharedBytes::map(memory, MAX_READ as usize).context("mapping memory of the floor")?;
        let Offer { inbox, bell, .. } = mine;
        Ok(Peer { inbox, outlet: Outlet::map(&ring)?, bell, _heard: heard, memory })
    }

    fn with(&mut self, rank: Rank) -> Result<&mut Peer> {
        let peer = self.peers.get_mut(usize::from(rank)).and_then(Option::as_mut);
        peer.with_context(|| format!("the floor has no ring to rank {rank}"))
    }

    fn look(&mut self, arrived: &mut Vec<Tag>) -> Result<()> {
        arrived.append(&mut self.landed);
        self.peers.iter_mut().flatten().try_for_each(|peer| peer.inbox.take(arrived))
    }
}

impl Bare for BareShm {
    fn announcement(&self) -> Vec<u8> {
        Vec::new()
    }

    fn connect(&mut self, announced: &[Vec<u8>]) -> Result<()> {
        let nodes = announced.len();
        let mut met: Vec<Option<Peer>> = (0..nodes).map(|_| None).collect();
        for rank in 0..self.me {
            met[usize::from(rank)] = Some(self.dial(rank)?);
        }
        for _ in usize::from(self.me) + 1..nodes {
            let (rank, peer) = self.meet()?;
            let place = met.get_mut(usize::from(rank)).filter(|place| place.is_none());
            *place.with_context(|| format!("rank {rank} connects its floor, and should not"))? = Some(peer);
        }
        self.peers = met;
        Ok(())
    }

    fn send(&mut self, to: Rank, tag: Tag, bytes: u32) -> Result<()> {
        let peer = self.with(to)?;
        let Peer { outlet, bell, .. } = peer;
        outlet.write(tag, bytes, || ring(bell))
    }

    fn read(&mut self, from: Rank, tag: Tag, bytes: u32) -> Result<()> {
        ensure!(bytes <= MAX_READ, "a READ of {bytes} bytes: {MAX_READ} are possible");
        let mut landing = std::mem::take(&mut self.landing);
        let memory = &self.with(from)?.memory;
        for (word, at) in landing.iter_mut().zip((0..bytes as usize).step_by(WORD)) {
            *word = memory.word(at).load(Relaxed);
        }
        self.landing = black_box(landing);
        self.landed.push(tag);
        Ok(())
    }

    fn flush(&mut self) -> Result<()> {
        for peer in self.peers.iter_mut().flatten() {
            if peer.outlet.publish() {
                ring(&peer.bell);
            }
        }
        Ok(())
    }

    fn poll(&mut self, arrived: &mut Vec<Tag>, patience: Duration) -> Result<()> {
        self.look(arrived)?;
        if !arrived.is_empty() || patience.is_zero() {
            return Ok(());
        }
        self.peers.iter().flatten().for_each(|peer| peer.inbox.sleep());
        self.look(arrived)?;
        if arrived.is_empty() {
            match self.poll.poll(&mut self.events, Some(patience)) {
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                result => result.context("sleeping on the floor's bells")?,
            }
        }
        self.peers.iter().flatten().for_each(|peer| peer.inbox.wake());
        self.look(arrived)
    }
}

impl Offer {
    fn new() -> Result<Offer> {
        let (inbox, ring) = Inbox::new()?;
        let bell = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK).context("no eventfd")?;
        let (_, memory) = SharedBytes::new(MAX_READ as usize).context("memory for the floor's READs")?;
        let passed = bell.try_clone()?;
        Ok(Offer { inbox, bell, descriptors: [ring, passed, memory] })
    }

    fn send(&self, stream: &UnixStream, me: Rank) -> Result<()> {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(3))];
        let mut beside = SendAncillaryBuffer::new(&mut space);
        let descriptors = self.descriptors.each_ref().map(AsFd::as_fd);
        beside.push(SendAncillaryMessage::ScmRights(&descriptors));
        let sent = sendmsg(stream, &[IoSlice::new(&[me])], &mut beside, SendFlags::NOSIGNAL);
        sent.context("passing the floor's descriptors").map(drop)
    }
}

fn receive(stream: &UnixStream) -> Result<(Rank, [OwnedFd; 3])> {
    let mut rank = [0];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(3))];
    let mut beside = RecvAncillaryBuffer::new(&mut space);
    let received = recvmsg(stream, &mut [IoSliceMut::new(&mut rank)], &mut beside, RecvFlags::CMSG_CLOEXEC)?;
    let passed = beside.drain().find_map(|message| match message {
        RecvAncillaryMessage::ScmRights(passed) => Some(passed.collect::<Vec<_>>()),
        _ => None,
    });
    match passed.map(<[OwnedFd; 3]>::try_from) {
        Some(Ok(descriptors)) if received.bytes == 1 => Ok((rank[0], descriptors)),
        _ => bail!("a node passes other descriptors than the floor's"),
    }
}

/// Nobody else knows the run.
fn name(run: &[u8; 16], rank: Rank) -> Result<SocketAddr> {
    let name = format!("kddm-bench-{:032x}-{rank}", u128::from_be_bytes(*run));
    Ok(SocketAddr::from_abstract_name(name)?)
}

/// Nobody reads a bell: each write is an edge.
fn ring(bell: &OwnedFd) {
    // Full, it has been rung.
    let _ = rustix::io::write(bell, &1u64.to_ne_bytes());
}
