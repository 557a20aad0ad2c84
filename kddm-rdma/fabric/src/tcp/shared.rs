//! What all connections of a fabric share.

use super::{
    TcpConfig,
    channel::Channel,
    codec::{Control, Hello, Standing, Unreadable},
};
use crate::{Counters, Event};
use kddm_coherence::ReadToken;
use kddm_memory::Arena;
use kddm_object::{Incarnation, NodeId, NodeSet};
use std::{
    cmp::Ordering,
    collections::BTreeMap,
    io,
    sync::Arc,
    time::{Duration, Instant},
};

/// The name of this fabric.
pub(super) const TCP: &str = "tcp";

pub(super) struct Shared {
    pub(super) config: TcpConfig,
    pub(super) arena: Arc<Arena>,
    pub(super) counters: Counters,
    /// What the next poll tells.
    pub(super) told: Vec<Told>,
    /// What peers must use, too, to be let in.
    pub(super) fabric: &'static str,
    /// The time of this turn.
    pub(super) now: Instant,
    /// This node's life.
    pub(super) life: Incarnation,
    /// The last life of each peer that was met.
    pub(super) lives: BTreeMap<NodeId, Incarnation>,
    /// Those of them that last.
    pub(super) up: NodeSet,
    /// Peers that were lost in the last life that was met.
    pub(super) lost: NodeSet,
    /// Lost lives do not return.
    pub(super) forbids_returns: bool,
}

/// Why a connection ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// The other side or the network ended it. `certain`: the other side's process is known to hold nothing any more.
    Closed { certain: bool, reason: String },
    /// The other side did what it must not; it is told.
    Fault(String),
    /// Nothing has come for so long.
    Silent(Duration),
    /// One side does not let the other in. `tell`: the other side does not know it yet.
    Refused { reason: String, tell: bool },
}

impl End {
    /// The network failed with `error`.
    pub(super) fn network(error: &io::Error) -> End {
        // A reset comes from a kernel whose process is gone; silence and missing routes say nothing about the process.
        let certain = matches!(error.kind(), io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe);
        End::Closed { certain, reason: format!("the connection broke: {error}") }
    }
}

/// One thing that the next poll tells.
#[derive(Debug)]
#[allow(clippy::large_enum_variant)] // as in `Event`
pub(crate) enum Told {
    /// What every fabric tells.
    Event(Event),
    /// A peer's word to the fabric that is built on this one.
    Said(NodeId, Vec<u8>),
}

impl Shared {
    pub(super) fn new(config: TcpConfig, arena: Arc<Arena>, fabric: &'static str) -> Shared {
        Shared {
            life: config.incarnation,
            config,
            arena,
            counters: Counters::default(),
            told: Vec::new(),
            fabric,
            now: Instant::now(),
            lives: BTreeMap::new(),
            up: NodeSet::EMPTY,
            lost: NodeSet::EMPTY,
            forbids_returns: false,
        }
    }

    pub(super) fn tell(&mut self, event: Event) {
        self.told.push(Told::Event(event));
    }

    pub(super) fn tell_if(&mut self, event: Option<Event>) {
        self.told.extend(event.map(Told::Event));
    }

    /// What this node says of itself.
    pub(super) fn hello(&self) -> Hello {
        self.config.hello(self.life, self.fabric)
    }

    /// How this node stands to `peer`, which comes in that life.
    pub(super) fn standing(&self, peer: NodeId, life: Incarnation) -> Standing {
        let mut others = self.up;
        others.remove(peer);
        // A session that its other end has given up already is lost, too.
        let known = self.lost.contains(peer) || self.up.contains(peer);
        let lost = self.forbids_returns && known && self.lives.get(&peer) == Some(&life);
        Standing { lost, peers: others.len() as u8 }
    }

    /// Of this node and `peer`, whether this one has to begin a new life.
    pub(super) fn gives_way(&self, ours: Standing, peer: NodeId, theirs: Standing) -> bool {
        match ours.peers.cmp(&theirs.peers) {
            Ordering::Less => true,
            Ordering::Equal => self.config.me > peer,
            Ordering::Greater => false,
        }
    }

    /// Whether peers only meet here, and another fabric moves messages and bytes.
    pub(super) fn is_control(&self) -> bool {
        self.fabric != TCP
    }

    /// Hands `channel` to the network.
    pub(super) fn flush(&mut self, channel: &mut Channel) -> Result<(), End> {
        channel.flush(self.now, &mut self.counters).map_err(|error| End::network(&error))
    }

    /// Tells that a READ is over.
    pub(super) fn read_done(&mut self, token: ReadToken, good: bool) {
        self.counters.reads_failed += u64::from(!good);
        self.tell(Event::ReadDone(token, good));
    }

    /// A life that is over does not come back: its messages would be taken for news.
    pub(super) fn check_incarnation(&self, node: NodeId, incarnation: Incarnation) -> Result<(), String> {
        match self.lives.get(&node) {
            Some(last) if incarnation < *last => Err(format!(
                "node {node} comes as incarnation {incarnation}, but node {} has met incarnation {last}: its partition \
                 was formatted anew or brought back from a copy; restart the servers of all nodes",
                self.config.me
            )),
            _ => Ok(()),
        }
    }

    /// Why a session ends whose peer sent a control message.
    pub(super) fn goodbye(&self, body: &[u8]) -> End {
        match self.control(body) {
            Ok(Control::Goodbye { leaving, reason }) => End::Closed { certain: leaving, reason },
            Ok(other) => End::Fault(format!("{other:?} in the middle of a session")),
            Err(_) => End::Fault("an unreadable control message in the middle of a session".to_owned()),
        }
    }

    pub(super) fn control(&self, body: &[u8]) -> Result<Control, Unreadable> {
        Control::decode(self.config.greeting.protocol_version, body)
    }
}
