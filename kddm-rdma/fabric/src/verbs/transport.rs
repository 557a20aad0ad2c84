//! The contract, kept.

use super::{Verbs, exchange::Word, link::Link, outbox::PLACE_BYTES, work::Work};
use crate::{
    Counters, Event, PeerState, Transport,
    tcp::{Told, decode_word},
};
use kddm_coherence::{Message, ReadToken};
use kddm_object::{Incarnation, Location, NodeId, SlotId, limits::MAX_OBJECT_SIZE};
use kddm_verbs::{Completion, Outcome, RECEIVE};
use std::{
    os::fd::RawFd,
    time::{Duration, Instant},
};

/// The connections are looked at before sleeping, and after so many polls: that takes a system call, looking for completions none.
const POLLS: u32 = 32;

/// What was sent before a good-bye has so much time to arrive.
const LAST_WORDS: Duration = Duration::from_millis(200);

impl Transport for Verbs {
    fn send(&mut self, to: NodeId, message: &Message) {
        if self.queue(to, message) {
            self.flush_later(to);
        }
    }

    fn send_lazily(&mut self, to: NodeId, message: &Message) {
        if self.queue(to, message) && !self.lazy.contains(&to) {
            self.lazy.push(to);
        }
    }

    fn read(&mut self, token: ReadToken, source: Location, landing: SlotId, length: u32) {
        self.follow_arena();
        self.hardware.counters.reads_issued += 1;
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
            None => self.flush_later(source.node),
            Some(good) => {
                self.hardware.read_done(token, good);
                self.tcp.wake();
            }
        }
    }

    fn flush(&mut self) {
        while let Some(node) = self.lazy.pop() {
            self.flush_later(node);
        }
        self.flush_urgent();
    }

    fn flush_urgent(&mut self) {
        self.post();
        if !self.hardware.events.is_empty() {
            self.tcp.wake();
        }
    }

    fn poll(&mut self, events: &mut Vec<Event>) {
        self.follow_arena();
        self.polls += 1;
        self.poll_completions();
        if std::mem::take(&mut self.before_sleep) || self.polls >= POLLS || !self.told.is_empty() {
            self.polls = 0;
            self.poll_connections();
        }
        self.post();
        events.append(&mut self.hardware.events);
    }

    fn descriptor(&self) -> Option<RawFd> {
        self.tcp.descriptor()
    }

    fn arm(&mut self) -> bool {
        self.flush();
        if let Err(error) = self.hardware.completions.arm() {
            self.break_down(&error.to_string());
        }
        self.before_sleep = true;
        true
    }

    fn checks_generations(&self) -> bool {
        false
    }

    fn counters(&self) -> Counters {
        self.tcp.counters_beside(self.hardware.counters)
    }

    fn peers(&self) -> Vec<PeerState> {
        let link = |node: NodeId| self.links.get(usize::from(node.get()))?.as_ref();
        let is_up = |node| link(node).is_some_and(|link| link.is_up());
        self.tcp.peers_beside(is_up, "its queue pairs are being connected")
    }

    fn forbid_returns(&mut self) {
        self.tcp.forbid_returns();
    }

    fn renew(&mut self, life: Incarnation) {
        self.tcp.renew(life);
    }

    fn disconnect(&mut self) {
        // A message that the peer's device has acknowledged is in the peer's queue before our good-bye is.
        let deadline = Instant::now() + LAST_WORDS;
        for node in (1..=u8::MAX).filter_map(|id| NodeId::new(id).ok()) {
            if let Some(link) = self.up(node) {
                link.want_through();
                self.flush_later(node);
            }
        }
        self.flush();
        while !self.is_through() && Instant::now() < deadline {
            self.poll_completions();
            self.flush();
        }
        self.tcp.disconnect();
    }
}

impl Verbs {
    /// Hands what is urgent to the device, and everything else to the network.
    fn post(&mut self) {
        while let Some(node) = self.unflushed.pop() {
            let Some(link) = &mut self.links[usize::from(node.get())] else { continue };
            link.unflushed = false;
            if let Err(error) = link.flush(&mut self.hardware) {
                link.fail(&error.to_string(), &mut self.hardware, &mut self.tcp);
            }
        }
        self.tcp.flush();
    }

    /// Queues a message; false if it is dropped.
    fn queue(&mut self, to: NodeId, message: &Message) -> bool {
        self.follow_arena();
        let Some(link) = self.up(to) else { return false };
        let queued = link.send(message);
        let full = link.has_full_parcel();
        self.hardware.counters.messages_sent += 1;
        if let Err(reason) = queued {
            self.tcp.fault(to, reason);
        }
        if full {
            // The peer can begin while there is more to say.
            self.flush_later(to);
            self.post();
        }
        true
    }

    fn up(&mut self, node: NodeId) -> Option<&mut Link> {
        self.links[usize::from(node.get())].as_deref_mut().filter(|link| link.is_up())
    }

    fn flush_later(&mut self, node: NodeId) {
        if let Some(link) = &mut self.links[usize::from(node.get())]
            && !std::mem::replace(&mut link.unflushed, true)
        {
            self.unflushed.push(node);
        }
    }

    /// Slabs that the arena has added are registered, and told of before anything can be said about their slots.
    fn follow_arena(&mut self) {
        if !self.hardware.slabs.follow(&self.hardware.domain) {
            return;
        }
        for link in self.links.iter_mut().flatten().filter(|link| !link.is_ending()) {
            link.tell_slabs(&self.hardware, &mut self.tcp);
        }
    }

    /// Takes what has completed.
    fn poll_completions(&mut self) {
        loop {
            let mut completed = std::mem::take(&mut self.completed);
            let more = match self.hardware.completions.poll(&mut completed) {
                Ok(more) => more,
                Err(error) => {
                    self.break_down(&error.to_string());
                    false
                }
            };
            completed.drain(..).for_each(|completion| self.completed(completion));
            self.completed = completed;
            if !more {
                return self.end_drained();
            }
        }
    }

    /// Everything that had completed was taken: queue pairs to which nothing is posted can go.
    fn end_drained(&mut self) {
        while let Some(node) = self.drained.pop() {
            let place = usize::from(node.get());
            let Some(link) = self.links[place].as_mut().filter(|link| link.is_drained()) else { continue };
            if let Err(reason) = link.gone(&mut self.hardware, &mut self.tcp) {
                self.tcp.fault(node, reason);
            }
            if link.is_over() {
                self.links[place] = None;
            }
        }
    }

    fn completed(&mut self, completion: Completion) {
        if completion.work & RECEIVE != 0 {
            self.received(completion);
        } else if let Some(work) = Work::from_u64(completion.work)
            && let Some(link) = &mut self.links[usize::from(work.node.get())]
        {
            link.complete(work, completion.outcome, &mut self.hardware, &mut self.tcp);
            if link.is_drained() {
                self.drained.push(work.node);
            }
            self.flush_later(work.node);
        }
    }

    fn received(&mut self, completion: Completion) {
        // Of a queue pair that has gone: the peer will send it again.
        if let Some(&node) = self.hardware.numbers.get(&completion.queue_pair)
            && let Some(link) = &mut self.links[usize::from(node.get())]
        {
            if let Outcome::Received { length, immediate } = completion.outcome {
                let mut parcel = std::mem::take(&mut self.parcel);
                parcel.resize((length as usize).min(PLACE_BYTES), 0);
                self.hardware.receives.read(completion.work, &mut parcel);
                if let Err(reason) = link.take(&parcel, immediate, &mut self.hardware) {
                    self.tcp.fault(node, reason);
                }
                self.parcel = parcel;
            } else {
                let why = format!("what came could not be received: {}", completion.outcome.text());
                link.fail(&why, &mut self.hardware, &mut self.tcp);
            }
            self.flush_later(node);
        }
        if let Err(error) = self.hardware.receives.post(completion.work) {
            self.break_down(&error.to_string());
        }
    }

    /// Looks at the connections, and at the device's own news.
    fn poll_connections(&mut self) {
        let news = self.tcp.poll_control(&mut self.told);
        // What came over a queue pair before its session ended comes first.
        if self.told.iter().any(|told| matches!(told, Told::Event(Event::PeerDown { .. }))) {
            self.poll_completions();
        }
        for _ in 0..self.told.len() {
            if let Some(told) = self.told.pop_front() {
                self.heed(told);
            }
        }
        let device = &self.hardware.domain.endpoint().device;
        while news && let Some(what) = device.event() {
            tracing::warn!(device = device.name(), what, "RDMA device");
        }
    }

    /// Follows what the sessions told; what is about a peer whose last link is still ending waits.
    fn heed(&mut self, told: Told) {
        let node = match &told {
            Told::Said(node, _) | Told::Event(Event::PeerUp(node, _) | Event::PeerDown { node, .. }) => *node,
            Told::Event(_) => {
                if let Told::Event(event) = told {
                    self.tell(event);
                }
                return;
            }
        };
        let place = usize::from(node.get());
        if self.links[place].as_ref().is_some_and(|link| link.is_ending()) {
            self.told.push_back(told);
            return;
        }
        let down =
            |told: &Told| matches!(told, Told::Event(Event::PeerDown { node: lost, .. }) if *lost == node);
        if self.told.iter().any(down) && !down(&told) {
            // That session is over: an answer would be heard in the next one.
            return;
        }
        match told {
            Told::Event(Event::PeerUp(node, incarnation)) => {
                match Link::begin(node, incarnation, &mut self.hardware, &mut self.tcp) {
                    Ok(link) => self.links[place] = Some(link),
                    Err(error) => self.tcp.fault(node, error.to_string()),
                }
            }
            Told::Event(Event::PeerDown { certain, reason, .. }) => self.ended(node, certain, reason),
            Told::Said(node, word) => self.said(node, &word),
            Told::Event(_) => {}
        }
        self.flush_later(node);
    }

    fn said(&mut self, node: NodeId, word: &[u8]) {
        let Some(link) = &mut self.links[usize::from(node.get())] else { return };
        let heard = match decode_word::<Word>(word) {
            Some(word) => link.hear(word, &mut self.hardware, &mut self.tcp),
            None => Err("it says something that no fabric of this version says".to_owned()),
        };
        if let Err(reason) = heard {
            self.tcp.fault(node, reason);
        }
    }

    fn ended(&mut self, node: NodeId, certain: bool, reason: String) {
        let place = usize::from(node.get());
        let Some(link) = &mut self.links[place] else { return };
        if !link.is_up() {
            self.tcp.never_was(node);
        }
        link.end(certain, reason, &mut self.hardware, &mut self.tcp);
        if link.is_over() {
            self.links[place] = None;
        }
    }

    fn is_through(&self) -> bool {
        self.links.iter().flatten().filter(|link| link.is_up()).all(|link| link.is_through())
    }

    /// The device itself is of no use any more: every session ends.
    fn break_down(&mut self, why: &str) {
        if !std::mem::replace(&mut self.broken, true) {
            tracing::error!(reason = why, "the RDMA device does not work any more: restart the server");
            self.tcp.disconnect();
        }
    }
}
