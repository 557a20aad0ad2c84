//! Nodes, links and what is going to happen.

use super::{SimConfig, random::Random, reads::Reading};
use crate::{Counters, Event};
use kddm_coherence::Message;
use kddm_memory::Arena;
use kddm_object::{Incarnation, NodeId};
use std::{
    cmp::Reverse,
    collections::{BTreeMap, VecDeque},
    sync::Arc,
    time::Duration,
};

pub(super) struct Network {
    pub(super) config: SimConfig,
    pub(super) random: Random,
    pub(super) now: Duration,
    /// By time, then in the order in which it was decided.
    agenda: BTreeMap<(Duration, u64), Action>,
    decided: u64,
    pub(super) nodes: BTreeMap<NodeId, SimNode>,
    links: BTreeMap<(NodeId, NodeId), Link>,
    /// The newest session of each pair, smaller id first.
    sessions: BTreeMap<(NodeId, NodeId), Session>,
    pub(super) reads: BTreeMap<u64, Reading>,
    /// Nodes that are to be told that their life is over, and nobody has asked for yet.
    pub(super) outlived: Vec<NodeId>,
    /// Sessions, lives and READs are numbered together.
    pub(super) number: u64,
}

pub(super) struct SimNode {
    pub(super) life: u64,
    pub(super) alive: bool,
    incarnation: Incarnation,
    pub(super) arena: Arc<Arena>,
    pub(super) inbox: Vec<Event>,
    /// Peers that are up for this node, with the session and their life's number.
    pub(super) peers: BTreeMap<NodeId, (u64, Incarnation)>,
    /// The newest session that was ever up with a peer.
    pub(super) newest: BTreeMap<NodeId, u64>,
    pub(super) reasons: BTreeMap<NodeId, String>,
    pub(super) counters: Counters,
    /// Peers that were lost in that life.
    lost: BTreeMap<NodeId, Incarnation>,
    pub(super) forbids_returns: bool,
    /// Its life is over, and no other has begun.
    parted: bool,
}

#[derive(Clone, Copy)]
struct Session {
    number: u64,
    /// Ends that have not heard of it yet. Until they have, there is no other.
    unheard: u8,
}

/// One direction between two nodes.
#[derive(Default)]
struct Link {
    queue: VecDeque<(u64, Item)>,
    /// When the last of them arrives.
    last: Duration,
    cut: bool,
    /// How often it was cut.
    cuts: u64,
    /// Arrivals that wait for it to be healed.
    held: usize,
    /// How many times as long as usual everything takes, beyond once.
    slowness: u32,
}

/// What goes over a link, in a session.
enum Item {
    /// The session begins, for that life of the addressee.
    Up(u64, Incarnation),
    Message(Box<Message>),
    Down {
        certain: bool,
        reason: String,
    },
}

/// What is going to happen.
#[derive(Clone, Copy)]
pub(super) enum Action {
    /// The first item of the link arrives.
    Arrive(NodeId, NodeId),
    /// The two meet, if they can.
    Meet(NodeId, NodeId),
    /// The first gives the second up, if the link to it is still cut as it was then.
    Silence(NodeId, NodeId, u64),
    /// A part of a READ is copied.
    Part(u64, u32),
    /// A READ is over.
    ReadDone(u64),
}

impl Network {
    pub(super) fn new(config: SimConfig) -> Network {
        Network {
            config,
            random: Random::new(config.seed),
            now: Duration::ZERO,
            agenda: BTreeMap::new(),
            decided: 0,
            nodes: BTreeMap::new(),
            links: BTreeMap::new(),
            sessions: BTreeMap::new(),
            reads: BTreeMap::new(),
            outlived: Vec::new(),
            number: 0,
        }
    }

    pub(super) fn attach(&mut self, node: NodeId, incarnation: Incarnation, arena: Arc<Arena>) -> u64 {
        self.kill(node);
        self.number += 1;
        let newest = self.nodes.remove(&node).map(|old| old.newest).unwrap_or_default();
        let life = SimNode {
            life: self.number,
            alive: true,
            incarnation,
            arena,
            inbox: Vec::new(),
            peers: BTreeMap::new(),
            newest,
            reasons: BTreeMap::new(),
            counters: Counters::default(),
            lost: BTreeMap::new(),
            forbids_returns: false,
            parted: false,
        };
        self.nodes.insert(node, life);
        self.meet_all_later(node);
        self.number
    }

    fn meet_all_later(&mut self, node: NodeId) {
        let others: Vec<NodeId> = self.nodes.keys().copied().filter(|&other| other != node).collect();
        others.into_iter().for_each(|other| self.meet_later(node, other));
    }

    /// The life of `node` is over, but not its process.
    fn part(&mut self, node: NodeId, by: NodeId) {
        let Some(parting) = self.nodes.get_mut(&node) else { return };
        parting.parted = true;
        parting.inbox.push(Event::Outlived { by });
        self.outlived.push(node);
        let peers: Vec<(NodeId, u64)> =
            parting.peers.iter().map(|(&peer, &(session, _))| (peer, session)).collect();
        // Also of sessions that have begun for the other end alone.
        self.tell_the_end(node, false, "it begins a new life");
        for (peer, session) in peers {
            self.end(node, peer, session, false, "this node begins a new life");
        }
    }

    pub(super) fn renew(&mut self, node: NodeId, incarnation: Incarnation) -> u64 {
        self.number += 1;
        if let Some(renewed) = self.nodes.get_mut(&node) {
            renewed.life = self.number;
            renewed.incarnation = incarnation;
            renewed.parted = false;
            renewed.lost.clear();
        }
        self.meet_all_later(node);
        self.number
    }

    /// Of `a` and `b`, which would meet, the one that has to begin a new life before, if one of them has lost the other.
    fn gives_way(&self, a: NodeId, b: NodeId) -> Option<(NodeId, NodeId)> {
        let (one, other) = (self.nodes.get(&a)?, self.nodes.get(&b)?);
        let lost =
            one.lost.get(&b) == Some(&other.incarnation) || other.lost.get(&a) == Some(&one.incarnation);
        let forbidden = lost && (one.forbids_returns || other.forbids_returns);
        let fewer = (one.peers.len(), Reverse(a)) < (other.peers.len(), Reverse(b));
        forbidden.then_some(if fewer { (a, b) } else { (b, a) })
    }

    pub(super) fn kill(&mut self, node: NodeId) {
        let Some(dying) = self.nodes.get_mut(&node).filter(|dying| dying.alive) else { return };
        dying.alive = false;
        dying.peers.clear();
        dying.inbox.clear();
        self.reads.retain(|_, read| read.node != node);
        self.tell_the_end(node, true, "its server ended");
    }

    /// As a server leaves in good order: it hears the end of its own sessions.
    pub(super) fn leave(&mut self, node: NodeId) {
        let Some(leaving) = self.nodes.get_mut(&node).filter(|leaving| leaving.alive) else { return };
        let peers: Vec<(NodeId, u64)> =
            leaving.peers.iter().map(|(&peer, &(session, _))| (peer, session)).collect();
        self.tell_the_end(node, true, "it leaves");
        for (peer, session) in peers {
            self.end(node, peer, session, false, "this node has left");
        }
        if let Some(node) = self.nodes.get_mut(&node) {
            node.alive = false;
        }
    }

    fn tell_the_end(&mut self, node: NodeId, certain: bool, reason: &str) {
        let pairs: Vec<_> = self.sessions.iter().map(|(&pair, session)| (pair, session.number)).collect();
        for ((a, b), session) in pairs {
            if a == node || b == node {
                let other = if a == node { b } else { a };
                self.push(node, other, session, Item::Down { certain, reason: reason.to_owned() });
            }
        }
    }

    pub(super) fn cut(&mut self, from: NodeId, to: NodeId) {
        let link = self.links.entry((from, to)).or_default();
        if !std::mem::replace(&mut link.cut, true) {
            link.cuts += 1;
            let action = Action::Silence(to, from, link.cuts);
            self.at(self.now + self.config.silence, action);
        }
    }

    pub(super) fn heal(&mut self, from: NodeId, to: NodeId) {
        let Some(link) = self.links.get_mut(&(from, to)) else { return };
        link.cut = false;
        let held = std::mem::take(&mut link.held);
        for _ in 0..held {
            self.arrive_later(from, to);
        }
        self.resume_reads(from, to);
        self.meet_later(from, to);
    }

    pub(super) fn next_at(&self) -> Option<Duration> {
        self.agenda.first_key_value().map(|(&(time, _), _)| time)
    }

    pub(super) fn advance(&mut self, time: Duration) {
        while self.step(Some(time)) {}
        self.now = self.now.max(time);
    }

    /// The next thing, if it happens until `limit`.
    pub(super) fn step(&mut self, limit: Option<Duration>) -> bool {
        let Some(entry) = self.agenda.first_entry() else { return false };
        let time = entry.key().0;
        if limit.is_some_and(|limit| time > limit) {
            return false;
        }
        let action = entry.remove();
        self.now = self.now.max(time);
        match action {
            Action::Arrive(from, to) => self.arrive(from, to),
            Action::Meet(a, b) => self.meet(a, b),
            Action::Silence(at, of, cuts) => self.silence(at, of, cuts),
            Action::Part(read, part) => self.copy_part(read, part),
            Action::ReadDone(read) => self.read_done(read),
        }
        true
    }

    pub(super) fn send(&mut self, from: NodeId, to: NodeId, session: u64, message: Message) {
        self.push(from, to, session, Item::Message(Box::new(message)));
    }

    pub(super) fn is_cut(&self, from: NodeId, to: NodeId) -> bool {
        self.links.get(&(from, to)).is_some_and(|link| link.cut)
    }

    pub(super) fn delay(&mut self) -> Duration {
        let (least, most) =
            (self.config.least_delay.as_nanos() as u64, self.config.most_delay.as_nanos() as u64);
        Duration::from_nanos(self.random.within(least, most))
    }

    pub(super) fn at(&mut self, time: Duration, action: Action) {
        self.decided += 1;
        self.agenda.insert((time, self.decided), action);
    }

    fn meet_later(&mut self, a: NodeId, b: NodeId) {
        let time = self.now + self.delay();
        self.at(time, Action::Meet(a.min(b), a.max(b)));
    }

    /// A session of `a` and `b` begins, if both live, none has one, and both links work. Else something will make
    /// them try again: a life, a heal, an end.
    fn meet(&mut self, a: NodeId, b: NodeId) {
        let (Some(one), Some(other)) = (self.nodes.get(&a), self.nodes.get(&b)) else { return };
        let free = one.alive && other.alive && !one.peers.contains_key(&b) && !other.peers.contains_key(&a);
        let opening = self.sessions.get(&(a, b)).is_some_and(|session| session.unheard > 0);
        let parted = one.parted || other.parted;
        if !free || parted || opening || self.is_cut(a, b) || self.is_cut(b, a) {
            return;
        }
        if let Some((node, by)) = self.gives_way(a, b) {
            return self.part(node, by);
        }
        let (Some(one), Some(other)) = (self.nodes.get(&a), self.nodes.get(&b)) else { return };
        let (to_a, to_b) = (Item::Up(one.life, other.incarnation), Item::Up(other.life, one.incarnation));
        self.number += 1;
        self.sessions.insert((a, b), Session { number: self.number, unheard: 2 });
        self.push(b, a, self.number, to_a);
        self.push(a, b, self.number, to_b);
    }

    fn push(&mut self, from: NodeId, to: NodeId, session: u64, item: Item) {
        self.links.entry((from, to)).or_default().queue.push_back((session, item));
        self.arrive_later(from, to);
    }

    pub(super) fn slow(&mut self, from: NodeId, to: NodeId, times: u32) {
        self.links.entry((from, to)).or_default().slowness = times.saturating_sub(1);
    }

    /// A delay of what goes from `from` to `to`.
    pub(super) fn delay_of(&mut self, from: NodeId, to: NodeId) -> Duration {
        let slowness = self.links.get(&(from, to)).map_or(0, |link| link.slowness);
        self.delay() * slowness.saturating_add(1)
    }

    fn arrive_later(&mut self, from: NodeId, to: NodeId) {
        let time = self.now + self.delay_of(from, to);
        let link = self.links.entry((from, to)).or_default();
        link.last = link.last.max(time);
        let time = link.last;
        self.at(time, Action::Arrive(from, to));
    }

    fn arrive(&mut self, from: NodeId, to: NodeId) {
        let Some(link) = self.links.get_mut(&(from, to)) else { return };
        if link.cut {
            link.held += 1;
            return;
        }
        let Some((session, item)) = link.queue.pop_front() else { return };
        if let (Item::Up(..), Some(opening)) = (&item, self.sessions.get_mut(&(from.min(to), from.max(to)))) {
            opening.unheard -= 1;
            self.meet_later(from, to); // in case that nobody is there for it any more
        }
        let Some(node) = self.nodes.get_mut(&to).filter(|node| node.alive) else { return };
        let current = node.peers.get(&from).map(|&(session, _)| session);
        match item {
            Item::Up(life, incarnation) if life == node.life && !node.parted => {
                if let Some(old) = current {
                    self.end(to, from, old, false, "it connected anew");
                }
                self.begin(to, from, session, incarnation);
            }
            Item::Message(message) if current == Some(session) => {
                node.counters.messages_received += 1;
                node.inbox.push(Event::Message(from, *message));
            }
            Item::Down { certain, reason } if current == Some(session) => {
                self.end(to, from, session, certain, &reason);
            }
            Item::Up(..) | Item::Message(_) | Item::Down { .. } => {} // of a session that is over
        }
    }

    fn begin(&mut self, node: NodeId, peer: NodeId, session: u64, incarnation: Incarnation) {
        let Some(node) = self.nodes.get_mut(&node) else { return };
        node.peers.insert(peer, (session, incarnation));
        node.newest.insert(peer, session);
        node.inbox.push(Event::PeerUp(peer, incarnation));
    }

    /// `node`'s end of a session is over; the other end hears of it if it does not know.
    fn end(&mut self, node: NodeId, peer: NodeId, session: u64, certain: bool, reason: &str) {
        self.fail_reads(node, peer);
        if let Some(node) = self.nodes.get_mut(&node) {
            let life = node.peers.remove(&peer);
            node.lost.extend(life.map(|(_, incarnation)| (peer, incarnation)));
            node.reasons.insert(peer, reason.to_owned());
            node.inbox.push(Event::PeerDown { node: peer, certain, reason: reason.to_owned() });
        }
        self.push(
            node,
            peer,
            session,
            Item::Down { certain: false, reason: "it closed the session".to_owned() },
        );
        self.meet_later(node, peer);
    }

    fn silence(&mut self, at: NodeId, of: NodeId, cuts: u64) {
        let still = self.links.get(&(of, at)).is_some_and(|link| link.cut && link.cuts == cuts);
        let newest = self.sessions.get(&(at.min(of), at.max(of))).filter(|_| still);
        let Some(&Session { number: session, .. }) = newest else { return };
        let Some(node) = self.nodes.get(&at).filter(|node| node.alive) else { return };
        match node.peers.get(&of) {
            Some(_) => self.end(at, of, session, false, "nothing was heard from it for too long"),
            // The other end may be up while the beginning has not come here.
            None => {
                let reason = "it closed the session".to_owned();
                self.push(at, of, session, Item::Down { certain: false, reason });
            }
        }
    }
}
