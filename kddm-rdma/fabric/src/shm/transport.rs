//! The contract, kept.

use super::{
    Shm, Sleep,
    door::Guest,
    link::Link,
    offer::{Invitation, Offer},
};
use crate::{
    Counters, Event, PeerState, Transport,
    tcp::{Told, decode_word, encode_word},
};
use kddm_coherence::{Message, ReadToken};
use kddm_object::{Incarnation, Location, NodeId, SlotId, limits::MAX_OBJECT_SIZE};
use std::{
    os::fd::{AsRawFd, RawFd},
    time::{Duration, Instant},
};

/// The connections are looked at after sleeping, and after so many polls: that takes a system call, looking at rings none.
const POLLS: u32 = 32;

/// Bytes that are copied in one turn, so that a large READ does not stop the others for long.
const COPY_TURN: usize = 256 << 10;

/// What was sent before a good-bye has so much time to find room in the peer's ring.
const LAST_WORDS: Duration = Duration::from_millis(200);

impl Transport for Shm {
    fn send(&mut self, to: NodeId, message: &Message) {
        if self.write(to, message) {
            self.flush_later(to);
        }
    }

    fn send_lazily(&mut self, to: NodeId, message: &Message) {
        if self.write(to, message) && !self.lazy.contains(&to) {
            self.lazy.push(to);
        }
    }

    fn read(&mut self, token: ReadToken, source: Location, landing: SlotId, length: u32) {
        self.news.counters.reads_issued += 1;
        let done = match self.up(source.node) {
            None => Some(false),
            Some(_) if length > MAX_OBJECT_SIZE => Some(false),
            Some(_) if length == 0 => Some(true),
            Some(link) => {
                link.read(token, source, landing, length);
                None
            }
        };
        match done {
            None => self.read_later(source.node),
            Some(good) => self.news.read_done(token, good),
        }
    }

    fn flush(&mut self) {
        while let Some(node) = self.lazy.pop() {
            self.flush_later(node);
        }
        self.flush_urgent();
    }

    fn flush_urgent(&mut self) {
        self.follow_arena();
        self.publish();
        self.copy();
        self.wake_poller();
    }

    fn finished(&mut self, events: &mut Vec<Event>) {
        events.append(&mut self.news.events);
    }

    fn poll(&mut self, events: &mut Vec<Event>) {
        if self.is_time_for_connections() {
            self.poll_connections();
        }
        self.take_messages();
        self.publish();
        self.copy();
        if !self.news.events.is_empty() && std::mem::take(&mut self.asleep) {
            self.links.iter().flatten().for_each(|link| link.wake());
            self.sleep = Sleep::No;
        }
        events.append(&mut self.news.events);
        // A copy that is to go on.
        self.wake_poller();
    }

    fn descriptor(&self) -> Option<RawFd> {
        self.tcp.descriptor()
    }

    fn arm(&mut self) -> bool {
        // Who polls only once for each sleep has not come to it.
        if self.sleep == Sleep::Over {
            self.poll_connections();
        }
        self.flush();
        self.links.iter().flatten().for_each(|link| link.sleep());
        self.asleep = true;
        self.sleep = Sleep::Next;
        true
    }

    fn checks_generations(&self) -> bool {
        false
    }

    fn counters(&self) -> Counters {
        self.tcp.counters_beside(self.news.counters)
    }

    fn peers(&self) -> Vec<PeerState> {
        let link = |node: NodeId| self.links.get(usize::from(node.get()))?.as_ref();
        let is_up = |node| link(node).is_some_and(|link| link.is_up());
        self.tcp.peers_beside(is_up, "memory is being shared with it")
    }

    fn forbid_returns(&mut self) {
        self.tcp.forbid_returns();
    }

    fn renew(&mut self, life: Incarnation) {
        self.tcp.renew(life);
    }

    fn disconnect(&mut self) {
        // What is in the peer's memory before our good-bye is taken before it.
        let deadline = Instant::now() + LAST_WORDS;
        self.flush();
        while !self.links.iter().flatten().all(|link| link.is_through()) && Instant::now() < deadline {
            self.flush_all();
        }
        self.tcp.disconnect();
    }
}

impl Shm {
    /// Looking at the connections takes note of bells. The last look before sleeping does not, so that a bell which rings meanwhile is heard;
    /// and whatever connections have is heard, too.
    fn is_time_for_connections(&mut self) -> bool {
        self.polls += 1;
        let now = match self.sleep {
            Sleep::Next => false,
            Sleep::Over => true,
            Sleep::No => self.polls >= POLLS,
        };
        self.sleep = if self.sleep == Sleep::Next { Sleep::Over } else { Sleep::No };
        if now {
            self.polls = 0;
        }
        now
    }

    fn up(&mut self, node: NodeId) -> Option<&mut Link> {
        link_of(&mut self.links, node).filter(|link| link.is_up())
    }

    /// Writes a message; false if it is dropped.
    fn write(&mut self, to: NodeId, message: &Message) -> bool {
        self.follow_arena();
        let Some(link) = link_of(&mut self.links, to).filter(|link| link.is_up()) else { return false };
        let written = link.send(message, &mut self.news);
        self.check(to, written);
        true
    }

    fn flush_later(&mut self, node: NodeId) {
        if let Some(link) = link_of(&mut self.links, node)
            && !std::mem::replace(&mut link.unflushed, true)
        {
            self.unflushed.push(node);
        }
    }

    fn read_later(&mut self, node: NodeId) {
        if let Some(link) = link_of(&mut self.links, node)
            && !std::mem::replace(&mut link.reading, true)
        {
            self.reading.push_back(node);
        }
    }

    /// Publishes what was written.
    fn publish(&mut self) {
        while let Some(node) = self.unflushed.pop() {
            let Some(link) = link_of(&mut self.links, node) else { continue };
            link.unflushed = false;
            let flushed = link.flush();
            self.check(node, flushed);
        }
        self.tcp.flush_urgent();
    }

    fn flush_all(&mut self) {
        for place in 0..self.links.len() {
            if let Some(link) = &mut self.links[place] {
                let (node, flushed) = (link.node, link.flush());
                self.check(node, flushed);
            }
        }
    }

    /// Copies what was to be read: one turn.
    fn copy(&mut self) {
        let mut budget = COPY_TURN;
        while budget > 0
            && let Some(node) = self.reading.pop_front()
        {
            let Some(link) = link_of(&mut self.links, node) else { continue };
            link.reading = link.copy(&self.arena, &mut budget, &mut self.news);
            if link.reading {
                self.reading.push_back(node);
            }
        }
    }

    /// Whoever is about to sleep, or sleeps, does not if there is more to copy.
    fn wake_poller(&self) {
        if self.asleep && !self.reading.is_empty() {
            self.tcp.wake();
        }
    }

    /// A peer that did what it must not is lost.
    fn check(&mut self, node: NodeId, done: Result<(), String>) {
        if let Err(reason) = done {
            if let Some(link) = link_of(&mut self.links, node) {
                link.set_faulty();
            }
            self.tcp.fault(node, reason);
        }
    }

    /// Slabs that the arena has added are told of before anything can be said about their slots.
    fn follow_arena(&mut self) {
        if std::mem::replace(&mut self.slabs, self.arena.slabs()) == self.slabs {
            return;
        }
        for place in 0..self.links.len() {
            if let Some(link) = self.links[place].as_mut().filter(|link| link.is_met()) {
                let (node, offered) = (link.node, link.offer_slabs(&self.arena));
                self.check(node, offered);
            }
        }
    }

    fn take_messages(&mut self) {
        for place in 0..self.links.len() {
            if let Some(link) = &mut self.links[place] {
                let (node, taken) = (link.node, link.take_messages(&mut self.news));
                let waits = !link.is_through();
                self.check(node, taken);
                if waits {
                    self.flush_later(node);
                }
            }
        }
    }

    /// Looks at the connections, and at what comes through Unix sockets.
    fn poll_connections(&mut self) {
        if self.tcp.poll_control(&mut self.told) {
            self.poll_sockets();
        }
        while let Some(told) = self.told.pop_front() {
            self.heed(told);
        }
    }

    fn poll_sockets(&mut self) {
        self.door.accept(|stranger| self.tcp.watch(stranger.as_raw_fd(), true));
        for guest in self.door.guests() {
            self.let_in(guest);
        }
        for place in 0..self.links.len() {
            if let Some(link) = &mut self.links[place] {
                let node = link.node;
                let taken = link.take_offers(&mut self.news, &self.tcp).and_then(|()| link.send_offers());
                self.check(node, taken);
                self.read_later(node);
            }
        }
    }

    /// Somebody shows a ticket.
    fn let_in(&mut self, guest: Guest) {
        let Guest { connection, offer, descriptors } = guest;
        let Offer::Ring { ticket: shown, .. } = offer else { return };
        let me = self.me;
        let invited = |link: &&mut Box<Link>| me < link.node && !link.is_met() && link.ticket() == shown;
        let Some(link) = self.links.iter_mut().flatten().find(invited) else { return };
        let node = link.node;
        let met = link
            .meet(connection, &self.arena)
            .and_then(|()| link.take_offer(offer, descriptors, &mut self.news, &self.tcp));
        self.check(node, met);
    }

    fn heed(&mut self, told: Told) {
        let down = |node| move |told: &Told| matches!(told, Told::Event(Event::PeerDown { node: lost, .. }) if *lost == node);
        match told {
            // A session that is over already: an answer would be heard in the next one.
            Told::Event(Event::PeerUp(node, _)) | Told::Said(node, _) if self.told.iter().any(down(node)) => {
            }
            Told::Event(Event::PeerUp(node, incarnation)) => self.begin(node, incarnation),
            Told::Event(Event::PeerDown { node, certain, reason }) => {
                if let Some(link) = self.links[usize::from(node.get())].take() {
                    if !link.is_up() {
                        self.tcp.never_was(node);
                    }
                    link.end(certain, reason, &mut self.news, &self.tcp);
                }
            }
            Told::Event(event) => self.news.events.push(event),
            Told::Said(node, word) => self.said(node, &word),
        }
    }

    fn begin(&mut self, node: NodeId, incarnation: Incarnation) {
        match Link::begin(node, incarnation, &self.arena) {
            Ok(link) => {
                if self.me < node {
                    let invitation = Invitation { name: self.door.name(), ticket: link.ticket() };
                    self.tcp.say(node, &encode_word(&invitation));
                }
                self.links[usize::from(node.get())] = Some(link);
            }
            Err(error) => self.tcp.fault(node, format!("no memory can be shared with it: {error}")),
        }
    }

    /// The peer invites this node.
    fn said(&mut self, node: NodeId, word: &[u8]) {
        let Some(link) = link_of(&mut self.links, node) else { return };
        let came = match decode_word::<Invitation>(word) {
            Some(invitation) if node < self.me && !link.is_met() => {
                link.come(invitation, &self.arena, &self.tcp)
            }
            _ => Err("it says something that no fabric of this version says".to_owned()),
        };
        self.check(node, came);
    }
}

/// The session with a node, if it is one of the cluster and there is one.
fn link_of(links: &mut [Option<Box<Link>>], node: NodeId) -> Option<&mut Link> {
    links.get_mut(usize::from(node.get()))?.as_deref_mut()
}
