//! Bare verbs: two queue pairs for each pair of nodes, as the verbs fabric has them, messages by SEND, bytes by READ, and nothing done
//! with them: no credits, no parsing, no engine.

use super::{Bare, MAX_READ, Tag};
use crate::latency::pattern::Rank;
use anyhow::{Context, Result, bail, ensure};
use kddm_verbs::{
    Address, Buffer, Chain, Choice, Completion, Completions, Domain, Outcome, QueuePair, QueuePairConfig,
    RECEIVE, Receives, Source,
};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use serde::{Deserialize, Serialize};
use std::net::IpAddr;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::time::Duration;

/// Bytes of the longest message.
const MESSAGE: u32 = 512;
/// Messages that may come before the first is looked at, from each node.
const RECEIVES: u32 = 512;
/// Work requests of a queue pair.
const DEPTH: u32 = 512;
/// Every so many messages is signalled.
const SIGNAL: u32 = 16;

/// A node's end.
pub struct BareVerbs {
    me: Rank,
    /// By rank; none at our own.
    peers: Vec<Option<Peer>>,
    receives: Receives,
    completions: Completions,
    /// What messages are, where READs land, and what others READ.
    memory: Arc<Buffer>,
    completed: Vec<Completion>,
}

struct Peer {
    messages: QueuePair,
    reads: QueuePair,
    source: Option<Source>,
    /// What has been sent so far.
    sent: u32,
    queued: Chain,
    asked: Chain,
}

/// What a node tells the others.
#[derive(Serialize, Deserialize)]
struct Announced {
    /// By rank: for the messages and the READs of that node.
    queue_pairs: Vec<Option<[Address; 2]>>,
    memory: Source,
}

impl BareVerbs {
    /// Opens the device that the fabric would take for `address`, and makes queue pairs for all of `nodes`.
    ///
    /// # Errors
    /// No device, or the device's.
    pub fn start(me: Rank, nodes: usize, address: IpAddr) -> Result<BareVerbs> {
        let domain = Domain::new(Choice::default().find(address)?)?;
        let others = nodes as u32 - 1;
        let completions = Completions::new(&domain, others * (RECEIVES + 2 * DEPTH))?;
        let receives = Receives::new(&domain, others * RECEIVES, MESSAGE as usize)?;
        let memory = domain.buffer(MAX_READ as usize)?;
        let make = |first_packet: u32| {
            let config = QueuePairConfig { depth: DEPTH, landings: 1, inline: MESSAGE, serves_reads: true };
            QueuePair::new(&domain, &completions, &receives, config, first_packet)
        };
        let peer = |rank: usize| -> Result<Option<Peer>> {
            if rank == usize::from(me) {
                return Ok(None);
            }
            let (messages, reads) = (make(std::process::id())?, make(std::process::id() + 1)?);
            let (queued, asked) = (Chain::default(), Chain::default());
            Ok(Some(Peer { messages, reads, source: None, sent: 0, queued, asked }))
        };
        let peers = (0..nodes).map(peer).collect::<Result<_>>()?;
        Ok(BareVerbs { me, peers, receives, completions, memory, completed: Vec::new() })
    }

    fn peer(&mut self, rank: Rank) -> Result<&mut Peer> {
        let peer = self.peers.get_mut(usize::from(rank)).and_then(Option::as_mut);
        peer.with_context(|| format!("the floor has no queue pairs to rank {rank}"))
    }

    fn look(&mut self, arrived: &mut Vec<Tag>) -> Result<()> {
        loop {
            let more = self.completions.poll(&mut self.completed)?;
            for completion in self.completed.drain(..) {
                match completion.outcome {
                    Outcome::Received { immediate, .. } => {
                        self.receives.post(completion.work)?;
                        arrived.push(immediate);
                    }
                    Outcome::Done if completion.work & READ != 0 => arrived.push(completion.work as Tag),
                    Outcome::Done => {}
                    outcome => bail!("a queue pair of the floor failed: {}", outcome.text()),
                }
            }
            if !more {
                return Ok(());
            }
        }
    }
}

/// Set in the numbers of READs.
const READ: u64 = 1 << 62;
const _: () = assert!(READ != RECEIVE);

impl Bare for BareVerbs {
    fn announcement(&self) -> Vec<u8> {
        let addresses = |peer: &Peer| [peer.messages.address(), peer.reads.address()];
        let queue_pairs = self.peers.iter().map(|peer| peer.as_ref().map(addresses)).collect();
        serde_json::to_vec(&Announced { queue_pairs, memory: self.memory.source() }).unwrap_or_default()
    }

    fn connect(&mut self, announced: &[Vec<u8>]) -> Result<()> {
        ensure!(announced.len() == self.peers.len(), "{} announcements", announced.len());
        for (rank, words) in announced.iter().enumerate() {
            let Some(peer) = &mut self.peers[rank] else { continue };
            let theirs: Announced =
                serde_json::from_slice(words).with_context(|| format!("what rank {rank} announced"))?;
            let addresses = theirs.queue_pairs.get(usize::from(self.me)).copied().flatten();
            let [messages, reads] = addresses
                .with_context(|| format!("rank {rank} announced no queue pairs for rank {}", self.me))?;
            peer.messages.connect(&messages)?;
            peer.reads.connect(&reads)?;
            peer.source = Some(theirs.memory);
        }
        Ok(())
    }

    fn send(&mut self, to: Rank, tag: Tag, bytes: u32) -> Result<()> {
        ensure!(bytes <= MESSAGE, "a message of {bytes} bytes: {MESSAGE} are possible");
        let memory = self.memory.clone();
        let peer = self.peer(to)?;
        let inline = bytes <= peer.messages.inline();
        let signalled = peer.sent.is_multiple_of(SIGNAL);
        peer.sent = peer.sent.wrapping_add(1);
        peer.queued.send(0, &memory, 0..bytes as usize, tag, signalled, inline);
        Ok(())
    }

    fn read(&mut self, from: Rank, tag: Tag, bytes: u32) -> Result<()> {
        let landing = self.memory.landing(0..bytes as usize);
        let landing = landing.with_context(|| format!("a READ of {bytes} bytes: {MAX_READ} are possible"))?;
        let peer = self.peer(from)?;
        let source = peer.source.with_context(|| format!("rank {from} has not announced its memory"))?;
        peer.asked.read(READ | u64::from(tag), source, [landing]);
        Ok(())
    }

    fn flush(&mut self) -> Result<()> {
        for peer in self.peers.iter_mut().flatten() {
            peer.queued.post(&peer.messages)?;
            peer.asked.post(&peer.reads)?;
        }
        Ok(())
    }

    fn poll(&mut self, arrived: &mut Vec<Tag>, patience: Duration) -> Result<()> {
        self.look(arrived)?;
        if !arrived.is_empty() || patience.is_zero() {
            return Ok(());
        }
        self.completions.arm()?;
        self.look(arrived)?;
        if !arrived.is_empty() {
            return Ok(());
        }
        let timeout = PollTimeout::try_from(patience).unwrap_or(PollTimeout::MAX);
        readable(&self.completions, timeout).context("sleeping on the floor's completions")?;
        self.look(arrived)
    }
}

fn readable(completions: &Completions, timeout: PollTimeout) -> nix::Result<()> {
    let descriptor = completions.as_fd();
    poll(&mut [PollFd::new(descriptor, PollFlags::POLLIN)], timeout).map(drop)
}
