//! A configured peer: whether there is a session with it, when to dial it again, and why it is not there.

use crate::{Event, PeerState};
use kddm_object::{Incarnation, NodeId};
use std::{
    collections::BTreeMap,
    net::{IpAddr, SocketAddr},
    time::{Duration, Instant},
};

const FIRST_RETRY: Duration = Duration::from_millis(50);
const LAST_RETRY: Duration = Duration::from_secs(1);

/// Strangers whose refusals are remembered, so that each is told once.
const STRANGERS: usize = 64;

pub(super) struct Peer {
    pub(super) node: NodeId,
    pub(super) address: SocketAddr,
    /// The connection of the session, and the peer's life.
    pub(super) session: Option<(usize, Incarnation)>,
    /// When this node dials: never if the peer does, a session lasts, or a dial is under way.
    pub(super) dial_at: Option<Instant>,
    retry: Duration,
    reason: String,
    refused: Option<String>,
}

impl Peer {
    /// A peer that has not been met. Of two nodes the one with the larger id dials.
    pub(super) fn new(me: NodeId, node: NodeId, address: SocketAddr, now: Instant) -> Peer {
        let (dial_at, reason) = match node < me {
            true => (Some(now), format!("dialling {address}")),
            false => (None, format!("it has not called from {} yet: is its server running?", address.ip())),
        };
        Peer { node, address, session: None, dial_at, retry: FIRST_RETRY, reason, refused: None }
    }

    pub(super) fn state(&self) -> PeerState {
        let up = self.session.map(|(_, incarnation)| incarnation);
        PeerState {
            node: self.node,
            up,
            reason: if up.is_some() { String::new() } else { self.reason.clone() },
            refused: self.refused.is_some(),
        }
    }

    /// A session begins.
    pub(super) fn up(&mut self, connection: usize, incarnation: Incarnation) {
        self.session = Some((connection, incarnation));
        self.dial_at = None;
        self.retry = FIRST_RETRY;
        self.refused = None;
    }

    /// A session has ended.
    pub(super) fn down(&mut self, me: NodeId, reason: &str, now: Instant) {
        self.session = None;
        self.reason = reason.to_owned();
        self.again(me, now);
    }

    /// A dial has failed.
    pub(super) fn failed(&mut self, me: NodeId, reason: String, now: Instant) {
        self.reason = reason;
        self.again(me, now);
    }

    /// It was refused, or refuses; the event if that is news.
    pub(super) fn refuse(&mut self, reason: &str) -> Option<Event> {
        self.reason = reason.to_owned();
        if self.refused.as_deref() == Some(reason) {
            return None;
        }
        self.refused = Some(reason.to_owned());
        Some(Event::Refused { node: Some(self.node), reason: reason.to_owned() })
    }

    fn again(&mut self, me: NodeId, now: Instant) {
        if self.node < me {
            self.dial_at = Some(now + self.retry);
            self.retry = (self.retry * 2).min(LAST_RETRY);
        }
    }
}

/// Callers that are no peer, or that do not say who they are.
#[derive(Default)]
pub(super) struct Strangers(BTreeMap<IpAddr, String>);

impl Strangers {
    /// One was refused; the event if that is news and there is still room to remember it.
    pub(super) fn refuse(&mut self, remote: IpAddr, reason: &str) -> Option<Event> {
        let known = self.0.get(&remote);
        if known.is_some_and(|last| last == reason) || (known.is_none() && self.0.len() >= STRANGERS) {
            return None;
        }
        self.0.insert(remote, reason.to_owned());
        Some(Event::Refused { node: None, reason: reason.to_owned() })
    }
}
