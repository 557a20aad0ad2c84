//! One session with a peer: queue pairs, made, connected, replaced when they fail, and ended.
//!
//! Both ends count *epochs*. An end whose queue pairs fail breaks both of them, waits until everything posted has completed, makes new ones
//! of the next epoch and says CONNECT; the other end, which may not have noticed, does the same when it hears of an epoch that is later than
//! its own. Each connects to the CONNECT of its own epoch, and says CONNECTED; an end that has said and heard that (or a message, which
//! says it too) sends.

use super::{
    exchange::{Connect, SLABS_AT_A_TIME, Word, told},
    hardware::Hardware,
    outbox::{Outbox, Posting},
    queues::{Queues, Stage},
    reads::Reads,
    slabs::PeerSlabs,
    work::{Kind, Work},
};
use crate::{
    Event,
    tcp::{Tcp, encode_word},
};
use kddm_coherence::{Message, ReadToken};
use kddm_object::{Incarnation, Location, NodeId, SlotId};
use kddm_verbs::{Outcome, VerbsError};

/// Queue pairs may fail so often, with nothing done in between, until the session ends.
const PATIENCE: u32 = 4;

/// A session.
pub(super) struct Link {
    pub(super) node: NodeId,
    incarnation: Incarnation,
    epoch: u32,
    pub(super) queues: Option<Queues>,
    /// The peer's, which may be of an epoch to come.
    theirs: Option<Connect>,
    /// The peer has said that it is connected, in this epoch.
    pub(super) heard: bool,
    /// The session was told of above.
    up: bool,
    outbox: Outbox,
    reads: Reads,
    slabs: PeerSlabs,
    /// Slabs that the peer was told of.
    told_slabs: u16,
    /// Parcels of the peer that were taken, and what it was told of that.
    taken: u32,
    told_taken: u32,
    /// The next flush ends with something that completes visibly.
    wants_through: bool,
    /// The session is over: how.
    ending: Option<(bool, String)>,
    /// Failures since something was last done.
    failures: u32,
    /// It is in the list of those to flush.
    pub(super) unflushed: bool,
}

impl Link {
    /// A session with this life of `node` has begun.
    pub(super) fn begin(
        node: NodeId,
        incarnation: Incarnation,
        hardware: &mut Hardware,
        tcp: &mut Tcp,
    ) -> Result<Box<Link>, VerbsError> {
        let outbox = Outbox::new(&hardware.domain, hardware.bounds.credits.next_power_of_two())?;
        let mut link = Box::new(Link {
            node,
            incarnation,
            epoch: 1,
            queues: None,
            theirs: None,
            heard: false,
            up: false,
            outbox,
            reads: Reads::default(),
            slabs: PeerSlabs::default(),
            told_slabs: 0,
            taken: 0,
            told_taken: 0,
            wants_through: false,
            ending: None,
            failures: 0,
            unflushed: false,
        });
        link.tell_slabs(hardware, tcp);
        link.make_queues(hardware, tcp)?;
        Ok(link)
    }

    /// Whether the session was told of above, and is not over.
    pub(super) fn is_up(&self) -> bool {
        self.up && self.ending.is_none()
    }

    pub(super) fn is_ending(&self) -> bool {
        self.ending.is_some()
    }

    pub(super) fn send(&mut self, message: &Message) -> Result<(), String> {
        self.outbox.add(message)
    }

    pub(super) fn has_full_parcel(&self) -> bool {
        self.is_connected() && self.outbox.has_full_parcel()
    }

    pub(super) fn read(&mut self, token: ReadToken, source: Location, landing: SlotId, length: u32) {
        self.reads.add(token, source, landing, length);
    }

    /// Has the device tell when everything that was sent has arrived.
    pub(super) fn want_through(&mut self) {
        self.wants_through = true;
    }

    /// Whether every message has arrived.
    pub(super) fn is_through(&self) -> bool {
        self.outbox.is_through()
    }

    /// Makes queue pairs of this epoch, and says so.
    fn make_queues(&mut self, hardware: &mut Hardware, tcp: &mut Tcp) -> Result<(), VerbsError> {
        let queues = Queues::new(self.node, self.epoch, hardware)?;
        let arena = hardware.slabs.arena().config();
        let connect = Connect {
            epoch: self.epoch,
            messages: queues.messages.address(),
            reads: queues.reads.address(),
            credits: hardware.bounds.credits,
            taken: self.taken,
            slab_bytes: arena.slab_bytes as u32,
            slab_limit: (arena.bytes / arena.slab_bytes) as u16,
        };
        self.told_taken = self.taken;
        tcp.say(self.node, &encode_word(&Word::Connect(connect)));
        self.queues = Some(queues);
        Ok(())
    }

    /// Tells the peer of slabs that it does not know.
    pub(super) fn tell_slabs(&mut self, hardware: &Hardware, tcp: &mut Tcp) {
        while self.told_slabs < hardware.slabs.count() {
            let first = self.told_slabs;
            let end = hardware.slabs.count().min(first + SLABS_AT_A_TIME as u16);
            let slabs = (first..end).map(|slab| told(hardware.slabs.source(slab))).collect();
            tcp.say(self.node, &encode_word(&Word::Slabs(first, slabs)));
            self.told_slabs = end;
        }
    }

    /// The peer says something.
    ///
    /// # Errors
    /// What it must not say, or what cannot be done.
    pub(super) fn hear(&mut self, word: Word, hardware: &mut Hardware, tcp: &mut Tcp) -> Result<(), String> {
        match word {
            Word::Connect(connect) if connect.epoch < self.epoch => {}
            Word::Connect(Connect { epoch, .. }) if epoch - self.epoch > 1 => {
                return Err(format!(
                    "it tells of queue pairs of epoch {epoch}, after those of {}",
                    self.epoch
                ));
            }
            Word::Connect(connect) => {
                let epoch = connect.epoch;
                self.theirs = Some(connect);
                if epoch > self.epoch {
                    self.replace(epoch, hardware, tcp)?;
                }
                self.connect(hardware, tcp)?;
            }
            Word::Connected(epoch) if epoch == self.epoch => {
                self.heard = true;
                self.rise(hardware);
            }
            Word::Connected(_) => {}
            Word::Slabs(first, slabs) => {
                self.slabs.add(first, &slabs)?;
                self.reads.keys_have_come();
            }
        }
        Ok(())
    }

    /// Connects, if both ends' queue pairs of this epoch are there.
    fn connect(&mut self, hardware: &mut Hardware, tcp: &mut Tcp) -> Result<(), String> {
        let Some(theirs) = self.theirs.take_if(|theirs| theirs.epoch == self.epoch) else { return Ok(()) };
        let Some(queues) = self.queues.as_mut().filter(|queues| queues.stage == Stage::Made) else {
            self.theirs = Some(theirs);
            return Ok(());
        };
        let connected =
            queues.messages.connect(&theirs.messages).and_then(|()| queues.reads.connect(&theirs.reads));
        connected.map_err(|error| format!("its queue pairs cannot be connected to: {error}"))?;
        queues.stage = Stage::Connected;
        self.slabs.set_geometry(theirs.slab_bytes, theirs.slab_limit);
        self.outbox.begin_epoch(theirs.taken, theirs.credits)?;
        tcp.say(self.node, &encode_word(&Word::Connected(self.epoch)));
        self.rise(hardware);
        Ok(())
    }

    /// Tells of the session, once both ends are connected.
    fn rise(&mut self, hardware: &mut Hardware) {
        if !self.up && self.is_connected() {
            self.up = true;
            hardware.events.push(Event::PeerUp(self.node, self.incarnation));
        }
    }

    fn is_connected(&self) -> bool {
        self.has_connected_queues() && self.heard && self.ending.is_none()
    }

    fn has_connected_queues(&self) -> bool {
        self.queues.as_ref().is_some_and(|queues| queues.stage == Stage::Connected)
    }

    /// A parcel of `bytes` has come, or, without any, only the number of ours that were taken.
    ///
    /// # Errors
    /// What the peer must not say.
    pub(super) fn take(&mut self, bytes: &[u8], taken: u32, hardware: &mut Hardware) -> Result<(), String> {
        // What comes while queue pairs end was sent in the last epoch, and says nothing about the next.
        self.heard |= self.has_connected_queues();
        self.failures = 0;
        self.rise(hardware);
        self.outbox.set_taken(taken)?;
        if bytes.is_empty() {
            return Ok(());
        }
        self.taken = self.taken.wrapping_add(1);
        hardware.counters.bytes_received += bytes.len() as u64;
        let mut rest = bytes;
        while let Some(message) = crate::wire::take(&mut rest).map_err(|error| error.to_string())? {
            hardware.counters.messages_received += 1;
            hardware.events.push(Event::Message(self.node, message));
        }
        Ok(())
    }

    /// Posts what may go.
    ///
    /// # Errors
    /// The device refused: the queue pairs are of no use any more.
    pub(super) fn flush(&mut self, hardware: &mut Hardware) -> Result<(), VerbsError> {
        if !self.is_connected() {
            return Ok(());
        }
        let Some(queues) = &self.queues else { return Ok(()) };
        let Hardware { chain, slabs, bounds, events, counters, read_requests, .. } = hardware;
        let mut to = Posting {
            node: self.node,
            epoch: self.epoch,
            taken: self.taken,
            inline: queues.messages.inline(),
            signal: bounds.signal(),
            sends: bounds.sends,
            chain,
        };
        let half = self.taken.wrapping_sub(self.told_taken) >= bounds.credits / 2;
        let mut told = self.outbox.post(&mut to);
        if (half && !told || self.wants_through) && self.outbox.post_taken(&mut to) {
            (told, self.wants_through) = (true, false);
        }
        if told {
            self.told_taken = self.taken;
        }
        counters.bytes_sent += chain.bytes();
        chain.post(&queues.messages)?;
        let failed = |token| {
            counters.reads_failed += 1;
            events.push(Event::ReadDone(token, false));
        };
        self.reads.post(chain, (self.node, self.epoch), (slabs, &self.slabs), bounds.reads, failed);
        *read_requests += chain.len() as u64;
        chain.post(&queues.reads)
    }

    /// A work request of this session is over.
    pub(super) fn complete(&mut self, work: Work, outcome: Outcome, hardware: &mut Hardware, tcp: &mut Tcp) {
        if work.epoch != self.epoch_of_queues() {
            return;
        }
        match work.kind {
            Kind::Send if outcome == Outcome::Done => {
                self.outbox.set_done(work.number);
                self.failures = 0;
            }
            Kind::Send => {}
            Kind::Read => {
                self.reads.complete(work.number, outcome, |token, length, good| {
                    hardware.counters.bytes_received += if good { u64::from(length) } else { 0 };
                    hardware.read_done(token, good);
                });
                // A READ that the peer refuses is its own failure, not the link's.
                if outcome == Outcome::Done || outcome.is_refused() {
                    self.failures = 0;
                }
            }
            Kind::LastSend | Kind::LastRead => self.drained(),
        }
        // Flushed, and nothing failed before: the device broke them, over something that the peer sent or asked for.
        if let Outcome::Failed(_) | Outcome::Flushed = outcome {
            self.fail(&outcome.text(), hardware, tcp);
        }
    }

    /// One of the last work requests has completed.
    fn drained(&mut self) {
        if let Some(Queues { stage: stage @ Stage::Draining(1..), .. }) = &mut self.queues
            && let Stage::Draining(left) = *stage
        {
            *stage = Stage::Draining(left - 1);
        }
    }

    /// Whether everything that was posted has completed: when nothing more is to be polled, the queue pairs can go.
    pub(super) fn is_drained(&self) -> bool {
        self.queues.as_ref().is_some_and(|queues| queues.stage == Stage::Draining(0))
    }

    fn epoch_of_queues(&self) -> u16 {
        self.queues.as_ref().map_or(0, |queues| queues.epoch as u16)
    }

    /// The queue pairs have failed: new ones, of the next epoch.
    pub(super) fn fail(&mut self, why: &str, hardware: &mut Hardware, tcp: &mut Tcp) {
        if !self.has_connected_queues() || self.ending.is_some() {
            return;
        }
        self.failures += 1;
        tracing::warn!(peer = %self.node, epoch = self.epoch, reason = why, "queue pairs failed; replacing them");
        let replaced = match self.failures {
            0..PATIENCE => self.replace(self.epoch + 1, hardware, tcp),
            times => Err(format!(
                "its queue pairs failed {times} times in a row ({why}), while its control connection works: check the \
                 path of RDMA between the two nodes (MTU, UDP port 4791 on RoCE, `kddm doctor` on both)"
            )),
        };
        if let Err(reason) = replaced {
            tcp.fault(self.node, reason);
        }
    }

    /// Ends the epoch, in favour of a later one.
    fn replace(&mut self, epoch: u32, hardware: &mut Hardware, tcp: &mut Tcp) -> Result<(), String> {
        self.epoch = epoch;
        self.heard = false;
        self.end_queues(hardware, tcp)
    }

    /// Ends the queue pairs: at once if nothing was ever posted to them.
    fn end_queues(&mut self, hardware: &mut Hardware, tcp: &mut Tcp) -> Result<(), String> {
        let node = self.node;
        let Some(queues) = &mut self.queues else { return self.go_on(hardware, tcp) };
        match queues.stage {
            Stage::Draining(_) => Ok(()),
            Stage::Made => self.gone(hardware, tcp),
            Stage::Connected => match queues.drain(node, hardware) {
                Ok(()) => Ok(()),
                Err(error) => {
                    tracing::error!(peer = %node, reason = %error, "queue pairs do not end as they should");
                    self.gone(hardware, tcp)
                }
            },
        }
    }

    /// Nothing is posted any more, and nothing of it to be polled.
    ///
    /// # Errors
    /// There are no new queue pairs to be had.
    pub(super) fn gone(&mut self, hardware: &mut Hardware, tcp: &mut Tcp) -> Result<(), String> {
        if let Some(queues) = self.queues.take() {
            hardware.numbers.remove(&queues.messages.number());
        }
        self.reads.end_epoch();
        self.go_on(hardware, tcp)
    }

    fn go_on(&mut self, hardware: &mut Hardware, tcp: &mut Tcp) -> Result<(), String> {
        match self.ending {
            Some(_) => {
                self.finish(hardware);
                Ok(())
            }
            None => {
                self.make_queues(hardware, tcp).map_err(|error| format!("no new queue pairs: {error}"))?;
                self.connect(hardware, tcp)
            }
        }
    }

    /// The session is over. Its queue pairs break at once; the news come when their last READ has completed.
    pub(super) fn end(&mut self, certain: bool, reason: String, hardware: &mut Hardware, tcp: &mut Tcp) {
        self.ending = Some((certain, reason));
        if let Err(reason) = self.end_queues(hardware, tcp) {
            tracing::error!(peer = %self.node, reason, "BUG: a session that is over goes on");
        }
    }

    fn finish(&mut self, hardware: &mut Hardware) {
        for token in self.reads.drain() {
            hardware.counters.reads_failed += 1;
            hardware.events.push(Event::ReadDone(token, false));
        }
        if let (true, Some((certain, reason))) = (self.up, self.ending.clone()) {
            hardware.events.push(Event::PeerDown { node: self.node, certain, reason });
        }
        self.up = false;
    }

    /// Whether nothing of it is left.
    pub(super) fn is_over(&self) -> bool {
        self.ending.is_some() && self.queues.is_none()
    }
}
