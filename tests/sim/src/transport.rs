//! A node's end of the network, with a record of what goes over it.

use crate::executor::Executor;
use crate::log::Log;
use kddm_coherence::{Message, ReadToken};
use kddm_fabric::sim::SimTransport;
use kddm_fabric::{Counters, Event, PeerState, Transport};
use kddm_object::{Incarnation, Location, NodeId, SlotId};
use std::os::fd::RawFd;

/// The simulated transport, recorded.
pub struct Recorded {
    /// What does the work.
    pub inner: SimTransport,
    /// Whose end it is.
    pub me: NodeId,
    /// The clock.
    pub executor: Executor,
    /// Where to note.
    pub log: Log,
    /// UNSOUND: lost lives return, whatever the node says.
    pub lets_return: bool,
}

impl Recorded {
    fn note(&self, event: &Event) {
        let (now, me) = (self.executor.now(), self.me.get());
        match event {
            Event::Message(from, message) => {
                let (from, key, body) = (*from, message.key, &message.body);
                self.log.note(now, me, (from, message), || format!("<- n{from} {key:?} {body:?}"));
            }
            Event::ReadDone(token, good) => {
                let (token, good) = (*token, *good);
                let read = if good { "READ done" } else { "READ failed" };
                self.log.note(now, me, (token, good), || format!("{read} {}", token.0));
            }
            Event::PeerUp(peer, life) => {
                let (peer, life) = (*peer, *life);
                self.log.note(now, me, (peer, life), || format!("peer n{peer} is there, life {life}"));
            }
            Event::PeerDown { node, certain, reason } => {
                self.log.note(now, me, (node, certain), || format!("peer n{node} is gone: {reason}"));
            }
            Event::Outlived { by } => {
                self.log.note(now, me, by, || format!("outlived, as n{by} says"));
            }
            Event::Refused { reason, .. } => self.log.note(now, me, reason, || reason.clone()),
        }
    }
}

impl Transport for Recorded {
    fn send(&mut self, to: NodeId, message: &Message) {
        let (key, body) = (message.key, &message.body);
        let line = || format!("-> n{to} {key:?} {body:?}");
        self.log.note(self.executor.now(), self.me.get(), (to, message), line);
        self.inner.send(to, message);
    }

    fn read(&mut self, token: ReadToken, source: Location, landing: SlotId, length: u32) {
        let line = || format!("READ {} of {source:?} into {landing:?}", token.0);
        self.log.note(self.executor.now(), self.me.get(), (token, source, landing), line);
        self.inner.read(token, source, landing, length);
    }

    fn flush(&mut self) {
        self.inner.flush();
    }

    fn poll(&mut self, events: &mut Vec<Event>) {
        let before = events.len();
        self.inner.poll(events);
        events[before..].iter().for_each(|event| self.note(event));
    }

    fn descriptor(&self) -> Option<RawFd> {
        None
    }

    fn counters(&self) -> Counters {
        self.inner.counters()
    }

    fn peers(&self) -> Vec<PeerState> {
        self.inner.peers()
    }

    fn forbid_returns(&mut self) {
        if !self.lets_return {
            self.inner.forbid_returns();
        }
    }

    fn renew(&mut self, life: Incarnation) {
        self.log.note(self.executor.now(), self.me.get(), life, || format!("begins life {life}"));
        self.inner.renew(life);
    }

    fn disconnect(&mut self) {
        self.inner.disconnect();
    }
}
