//! One session with a peer: descriptors exchanged, then messages and READs, until it ends.
//!
//! The end with the smaller id invites the other to its door. Each offers its ring, its bell and its slabs; an end that has the other's ring
//! is up: it may write, whether or not the other has come so far, and begins to look at its own ring.

use super::{
    News,
    bell::Bell,
    door::random,
    offer::{self, Invitation, Offer, Received, SLABS_AT_A_TIME},
    reads::Reads,
    ring::{Inbox, Outlet},
    slabs::PeerSlabs,
};
use crate::{Event, tcp::Tcp, wire};
use kddm_coherence::{Message, ReadToken};
use kddm_memory::Arena;
use kddm_object::{Incarnation, Location, NodeId, SlotId};
use rustix::io::Errno;
use std::{
    collections::VecDeque,
    io,
    os::fd::{AsFd, AsRawFd, OwnedFd},
};

/// Messages may wait for a peer that does not take them up to this; then the session ends.
const MESSAGE_BACKLOG: usize = 16 << 20;

/// What is written is published when there is so much, so that the peer can begin while there is more to say.
const UNPUBLISHED: u64 = 8 << 10;

/// A session.
pub(super) struct Link {
    pub(super) node: NodeId,
    incarnation: Incarnation,
    ticket: [u8; 16],
    connection: Option<OwnedFd>,
    /// Offers that the connection has not taken yet: what, and the descriptors.
    offers: VecDeque<(Offer, Vec<OwnedFd>)>,
    /// Slabs that are offered, or will be.
    told_slabs: u16,
    inbox: Inbox,
    bell: Bell,
    peer: Option<Peer>,
    /// Messages that found no room in the ring.
    overflow: VecDeque<Vec<u8>>,
    overflow_bytes: usize,
    scratch: Vec<u8>,
    reads: Reads,
    /// It did what it must not: nothing more is believed.
    faulty: bool,
    /// It is in the list of those to flush.
    pub(super) unflushed: bool,
    /// It is in the list of those to read from.
    pub(super) reading: bool,
}

/// What the peer has offered.
struct Peer {
    outlet: Outlet,
    bell: OwnedFd,
    slabs: PeerSlabs,
}

impl Link {
    /// A session with this life of `node` has begun.
    pub(super) fn begin(node: NodeId, incarnation: Incarnation, arena: &Arena) -> io::Result<Box<Link>> {
        let (inbox, ring) = Inbox::new()?;
        let bell = Bell::new()?;
        let config = arena.config();
        let ticket = random()?;
        let offer = Offer::Ring {
            ticket,
            slab_bytes: config.slab_bytes as u32,
            slab_limit: (config.bytes / config.slab_bytes) as u16,
        };
        let offers = VecDeque::from([(offer, vec![ring, bell.as_fd().try_clone_to_owned()?])]);
        Ok(Box::new(Link {
            node,
            incarnation,
            ticket,
            connection: None,
            offers,
            told_slabs: 0,
            inbox,
            bell,
            peer: None,
            overflow: VecDeque::new(),
            overflow_bytes: 0,
            scratch: Vec::new(),
            reads: Reads::default(),
            faulty: false,
            unflushed: false,
            reading: false,
        }))
    }

    pub(super) fn is_up(&self) -> bool {
        self.peer.is_some()
    }

    pub(super) fn ticket(&self) -> [u8; 16] {
        self.ticket
    }

    pub(super) fn is_met(&self) -> bool {
        self.connection.is_some()
    }

    /// Nothing more of it is believed; its session is about to end.
    pub(super) fn set_faulty(&mut self) {
        self.faulty = true;
    }

    /// Goes where the peer has invited to.
    ///
    /// # Errors
    /// There is nobody.
    pub(super) fn come(&mut self, invitation: Invitation, arena: &Arena, tcp: &Tcp) -> Result<(), String> {
        let came = super::door::come_to(&invitation.name).and_then(|connection| {
            tcp.watch(connection.as_raw_fd(), true)?;
            Ok(connection)
        });
        let connection = came.map_err(|error| {
            format!(
                "its Unix socket cannot be reached: {error}; over shm all nodes must run on one host, in one network \
                 namespace, as one user"
            )
        })?;
        self.ticket = invitation.ticket;
        if let Some((Offer::Ring { ticket, .. }, _)) = self.offers.front_mut() {
            *ticket = invitation.ticket;
        }
        self.meet(connection, arena)
    }

    /// The two ends are connected by `connection`, which is watched.
    ///
    /// # Errors
    /// It does not work.
    pub(super) fn meet(&mut self, connection: OwnedFd, arena: &Arena) -> Result<(), String> {
        self.connection = Some(connection);
        self.offer_slabs(arena)
    }

    /// Offers what slabs there are that the peer was not told of.
    ///
    /// # Errors
    /// The connection does not work.
    pub(super) fn offer_slabs(&mut self, arena: &Arena) -> Result<(), String> {
        while self.told_slabs < arena.slabs() {
            let first = self.told_slabs;
            let end = arena.slabs().min(first + SLABS_AT_A_TIME as u16);
            let descriptors = (first..end).filter_map(|slab| arena.slab_descriptor(slab));
            let descriptors: io::Result<Vec<_>> = descriptors.collect();
            let descriptors =
                descriptors.map_err(|error| format!("this node's slabs cannot be told of: {error}"))?;
            self.offers.push_back((Offer::Slabs(first), descriptors));
            self.told_slabs = end;
        }
        self.send_offers()
    }

    /// Sends what offers the connection takes.
    pub(super) fn send_offers(&mut self) -> Result<(), String> {
        let Some(connection) = &self.connection else { return Ok(()) };
        while let Some((offer, descriptors)) = self.offers.front() {
            let borrowed: Vec<_> = descriptors.iter().map(AsFd::as_fd).collect();
            match offer::send(connection, *offer, &borrowed) {
                Ok(true) => drop(self.offers.pop_front()),
                Ok(false) => return Ok(()),
                // The peer has gone: its control connection tells of it.
                Err(Errno::PIPE | Errno::CONNRESET) => return Ok(()),
                Err(error) => return Err(format!("descriptors cannot be passed to it: {error}")),
            }
        }
        Ok(())
    }

    /// Takes what the peer offers.
    ///
    /// # Errors
    /// What it must not offer.
    pub(super) fn take_offers(&mut self, news: &mut News, tcp: &Tcp) -> Result<(), String> {
        while let Some(connection) = &self.connection {
            match offer::receive(connection) {
                Received::Offer(offer, descriptors) => self.take_offer(offer, descriptors, news, tcp)?,
                // If it has gone, its control connection tells of it.
                Received::Nothing | Received::Closed => return Ok(()),
                Received::Junk => return Err("it offers something that no fabric of this version has".into()),
            }
        }
        Ok(())
    }

    pub(super) fn take_offer(
        &mut self,
        offer: Offer,
        descriptors: Vec<OwnedFd>,
        news: &mut News,
        tcp: &Tcp,
    ) -> Result<(), String> {
        match (offer, &mut self.peer) {
            (Offer::Ring { ticket, slab_bytes, slab_limit }, None) if ticket == self.ticket => {
                let Ok([ring, bell]) = <[OwnedFd; 2]>::try_from(descriptors) else {
                    return Err("it offers a ring without descriptors".to_owned());
                };
                let slabs = PeerSlabs::new(slab_bytes, slab_limit)?;
                let outlet =
                    Outlet::map(ring).map_err(|error| format!("its ring cannot be mapped: {error}"))?;
                tcp.watch(bell.as_raw_fd(), false).map_err(|error| format!("it has no bell: {error}"))?;
                self.peer = Some(Peer { outlet, bell, slabs });
                news.events.push(Event::PeerUp(self.node, self.incarnation));
                Ok(())
            }
            (Offer::Ring { .. }, _) => Err("it offers a ring that nobody asked for".to_owned()),
            (Offer::Slabs(_), None) => Err("it offers slabs before its ring".to_owned()),
            (Offer::Slabs(first), Some(peer)) => {
                peer.slabs.add(first, descriptors)?;
                self.reads.slabs_have_come();
                Ok(())
            }
        }
    }

    /// Writes a message, to be published.
    ///
    /// # Errors
    /// The peer counts wrong, or does not take what it is sent.
    pub(super) fn send(&mut self, message: &Message, news: &mut News) -> Result<(), String> {
        let Some(peer) = &mut self.peer else { return Ok(()) };
        self.scratch.clear();
        wire::encode(message, &mut self.scratch);
        news.counters.messages_sent += 1;
        news.counters.bytes_sent += self.scratch.len() as u64;
        if self.overflow.is_empty() && peer.outlet.write(&self.scratch)? {
            if peer.outlet.unpublished() >= UNPUBLISHED {
                self.publish();
            }
            return Ok(());
        }
        self.overflow_bytes += self.scratch.len();
        self.overflow.push_back(self.scratch.clone());
        self.publish();
        match self.overflow_bytes {
            0..MESSAGE_BACKLOG => Ok(()),
            waiting => Err(format!("it does not take what it is sent: {waiting} bytes wait")),
        }
    }

    /// Publishes what was written, and what there is room for now.
    ///
    /// # Errors
    /// The peer counts wrong.
    pub(super) fn flush(&mut self) -> Result<(), String> {
        if let Some(peer) = &mut self.peer {
            while let Some(message) = self.overflow.front()
                && !self.faulty
                && peer.outlet.write(message)?
            {
                self.overflow_bytes -= message.len();
                self.overflow.pop_front();
            }
        }
        self.publish();
        Ok(())
    }

    /// Whether every message is in the peer's memory.
    pub(super) fn is_through(&self) -> bool {
        self.overflow.is_empty()
    }

    fn publish(&mut self) {
        if let Some(peer) = &mut self.peer
            && peer.outlet.publish()
        {
            self.bell.ring();
        }
    }

    /// Takes the messages that have come.
    ///
    /// # Errors
    /// What the peer must not write.
    pub(super) fn take_messages(&mut self, news: &mut News) -> Result<(), String> {
        if self.peer.is_none() || self.faulty {
            return Ok(());
        }
        news.taken.clear();
        if self.inbox.take(&mut news.taken)? {
            self.bell.ring();
        }
        news.counters.bytes_received += news.taken.len() as u64;
        let mut rest = &news.taken[..];
        while let Some(message) = wire::take(&mut rest).map_err(|error| error.to_string())? {
            news.counters.messages_received += 1;
            news.events.push(Event::Message(self.node, message));
        }
        Ok(())
    }

    #[cfg(test)]
    pub(super) fn peer_memory(&self) -> &kddm_memory::SharedBytes {
        self.peer.as_ref().expect("it is up").outlet.memory()
    }

    #[cfg(test)]
    pub(super) fn connection(&self) -> Option<&OwnedFd> {
        self.connection.as_ref()
    }

    pub(super) fn read(&mut self, token: ReadToken, source: Location, landing: SlotId, length: u32) {
        self.reads.add(token, source, landing, length);
    }

    /// Copies what was to be read, at most `budget` bytes; whether there is more.
    pub(super) fn copy(&mut self, arena: &Arena, budget: &mut usize, news: &mut News) -> bool {
        let Some(peer) = &self.peer else { return false };
        while let Some((reading, good)) = self.reads.copy(&peer.slabs, arena, budget) {
            // Whether the session was over is looked at after the copy: then what was read had not been reused.
            let good = good && !self.faulty && !peer.outlet.is_over();
            news.counters.bytes_received += if good { u64::from(reading.length) } else { 0 };
            news.read_done(reading.token, good);
        }
        self.reads.has_more()
    }

    /// From now on the peer rings.
    pub(super) fn sleep(&self) {
        self.inbox.sleep();
    }

    /// The peer need not ring.
    pub(super) fn wake(&self) {
        self.inbox.wake();
    }

    /// The session is over: what came before comes first, READs fail, and then it is told of.
    pub(super) fn end(mut self, certain: bool, reason: String, news: &mut News, tcp: &Tcp) {
        self.inbox.end();
        let Some(peer) = self.peer.as_ref() else { return };
        tcp.unwatch(peer.bell.as_raw_fd());
        if let Err(reason) = self.take_messages(news) {
            tracing::warn!(peer = %self.node, reason, "what came last is no message");
        }
        for token in self.reads.drain() {
            news.read_done(token, false);
        }
        news.events.push(Event::PeerDown { node: self.node, certain, reason });
    }
}

impl News {
    pub(super) fn read_done(&mut self, token: ReadToken, good: bool) {
        self.counters.reads_failed += u64::from(!good);
        self.events.push(Event::ReadDone(token, good));
    }
}
