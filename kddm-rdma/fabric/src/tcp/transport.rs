//! The contract, kept.

use super::{
    COMPLETIONS, FIRST_CONNECTION, LISTENER, NEWS, READY, TIMER, Tcp, WAKER,
    channel::Channel,
    codec::Control,
    connections::{Connection, Phase},
    peer::Peer,
    session::Session,
    shared::{End, Shared, Told},
};
use crate::{Counters, Event, PeerState, Transport};
use kddm_coherence::{Message, ReadToken};
use kddm_object::{Incarnation, Location, NodeId, SlotId, limits::MAX_OBJECT_SIZE};
use mio::{Events, event};
use std::{
    io::ErrorKind,
    os::fd::{AsRawFd, RawFd},
    time::{Duration, Instant},
};

impl Transport for Tcp {
    fn send(&mut self, to: NodeId, message: &Message) {
        self.in_session(to, |session, channel, shared| {
            shared.counters.messages_sent += 1;
            session.send(message, channel)
        });
    }

    fn send_lazily(&mut self, to: NodeId, message: &Message) {
        let before = self.unflushed.len();
        self.send(to, message);
        // A connection that was in the list before has something urgent.
        if self.unflushed.len() > before
            && let Some(place) = self.unflushed.pop()
            && let Some(Some(connection)) = self.connections.get_mut(place)
        {
            connection.unflushed = false;
            if !self.lazy.contains(&place) {
                self.lazy.push(place);
            }
        }
    }

    fn read(&mut self, token: ReadToken, source: Location, landing: SlotId, length: u32) {
        self.shared.counters.reads_issued += 1;
        let asked = length <= MAX_OBJECT_SIZE
            && self.in_session(source.node, |session, channel, _| {
                session.read(token, source, landing, length, channel)
            });
        if !asked {
            self.shared.read_done(token, false);
            self.wake();
        }
    }

    fn flush(&mut self) {
        self.unflushed.append(&mut self.lazy);
        self.flush_urgent();
    }

    fn arm(&mut self) -> bool {
        self.flush();
        false
    }

    fn flush_urgent(&mut self) {
        if self.unflushed.is_empty() {
            return;
        }
        self.shared.now = Instant::now();
        while let Some(place) = self.unflushed.pop() {
            let Some(Some(connection)) = self.connections.get_mut(place) else { continue };
            connection.unflushed = false;
            if let Err(end) = self.shared.flush(&mut connection.channel) {
                self.break_later(place, end);
            }
        }
    }

    fn poll(&mut self, events: &mut Vec<Event>) {
        self.look();
        events.extend(self.shared.told.drain(..).filter_map(|told| match told {
            Told::Event(event) => Some(event),
            Told::Said(..) => None,
        }));
    }

    fn descriptor(&self) -> Option<RawFd> {
        Some(self.poll.as_raw_fd())
    }

    fn counters(&self) -> Counters {
        self.shared.counters
    }

    fn peers(&self) -> Vec<PeerState> {
        self.peers.iter().map(Peer::state).collect()
    }

    fn forbid_returns(&mut self) {
        self.shared.forbids_returns = true;
    }

    fn renew(&mut self, life: Incarnation) {
        self.begin_life(life);
    }

    fn disconnect(&mut self) {
        self.listener = None;
        self.accept_at = None;
        let reason = format!("node {} leaves", self.shared.config.me);
        for place in 0..self.connections.len() {
            let Some(mut connection) = self.connections[place].take() else { continue };
            let goodbye = Control::goodbye(true, &reason);
            connection.last_word(&goodbye, &mut self.shared);
            self.ended(connection, End::Closed { certain: false, reason: "this node has left".to_owned() });
        }
        self.peers.iter_mut().for_each(|peer| peer.dial_at = None);
        self.wake();
    }
}

impl Tcp {
    /// Looks once at everything; what there is to tell is in `told` afterwards.
    pub(super) fn look(&mut self) {
        self.shared.now = Instant::now();
        let mut ready = std::mem::replace(&mut self.ready, Events::with_capacity(0));
        loop {
            match self.poll.poll(&mut ready, Some(Duration::ZERO)) {
                Ok(()) => {}
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) => {
                    tracing::error!(reason = %error, "the fabric cannot poll its connections");
                    break;
                }
            }
            ready.iter().for_each(|event| self.happened(event));
            if ready.iter().count() < READY {
                break;
            }
        }
        self.ready = ready;
        for place in std::mem::take(&mut self.again) {
            self.drive(place, false);
        }
        self.keep_time();
        self.flush_urgent();
        if !self.again.is_empty() {
            self.wake();
        }
    }

    /// Does something in the session with `node`; false if there is none.
    pub(super) fn in_session(
        &mut self,
        node: NodeId,
        work: impl FnOnce(&mut Session, &mut Channel, &mut Shared) -> Result<(), String>,
    ) -> bool {
        let Some((place, _)) = self.peer(node).and_then(|peer| peer.session) else { return false };
        let Some(Some(connection)) = self.connections.get_mut(place) else { return false };
        let Connection { channel, phase: Phase::Session(session), unflushed, .. } = &mut **connection else {
            return false;
        };
        let done = work(session, channel, &mut self.shared);
        if !std::mem::replace(unflushed, true) {
            self.unflushed.push(place);
        }
        if let Err(reason) = done {
            self.break_later(place, End::Fault(reason));
        }
        true
    }

    /// A connection turned out to be broken while somebody else was being served: it ends with the next poll.
    pub(super) fn break_later(&mut self, place: usize, end: End) {
        if let Some(Some(connection)) = self.connections.get_mut(place) {
            connection.broken.get_or_insert(end);
            self.again.push(place);
            self.wake();
        }
    }

    fn happened(&mut self, event: &event::Event) {
        match event.token() {
            LISTENER => self.accept(),
            TIMER => self.timer_fired = true,
            WAKER => {}
            // Looking has taken this from the descriptor, which says it once. Whoever would sleep now has to look, and arm, again.
            COMPLETIONS => self.wake(),
            NEWS => self.news = true,
            token => self.drive(token.0 - FIRST_CONNECTION, event.is_read_closed() || event.is_error()),
        }
    }
}
