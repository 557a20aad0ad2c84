//! What an open connection carries: messages, READs that this node issued, READs that it answers.

use super::{
    channel::Channel,
    frame::{self, CHUNK_BYTES, Kind},
    shared::{End, Shared, Told},
};
use crate::{Event, wire};
use kddm_coherence::{Message, ReadToken};
use kddm_object::{Generation, Location, NodeId, SlotId, limits::MAX_OBJECT_SIZE};
use std::collections::VecDeque;
use zerocopy::{FromBytes, IntoBytes, little_endian::U64};

/// READs of one node that a peer is asked for at a time; the others wait here.
const READS_IN_FLIGHT: usize = 256;

/// READs are answered while less than this waits for the network.
const ANSWER_BACKLOG: usize = 256 << 10;

/// Bytes of answers in one turn, so that one greedy peer does not stop the others.
const ANSWER_TURN: usize = 4 << 20;

/// Messages may wait for a network that does not take them up to this; then the session ends.
const MESSAGE_BACKLOG: usize = 16 << 20;

/// A session with a peer.
pub(super) struct Session {
    node: NodeId,
    /// Number of the first in `asked`.
    first: u64,
    /// READs that the peer has been asked for, in order.
    asked: VecDeque<Reading>,
    /// READs that it will be asked for.
    waiting: VecDeque<Reading>,
    /// READs that it asked for, in order.
    answering: VecDeque<frame::Read>,
    /// The object of the first of them, if it takes several frames, and how much of it has gone.
    staged: Vec<u8>,
    gone: usize,
}

/// A READ that this node issued.
struct Reading {
    token: ReadToken,
    source: Location,
    landing: SlotId,
    length: u32,
    landed: u32,
    good: bool,
}

/// Whether a session has more to do at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Turn {
    /// It waits for the network or the peer.
    Over,
    /// It gave way to others.
    Again,
}

impl Session {
    pub(super) fn new(node: NodeId) -> Session {
        Session {
            node,
            first: 0,
            asked: VecDeque::new(),
            waiting: VecDeque::new(),
            answering: VecDeque::new(),
            staged: Vec::new(),
            gone: 0,
        }
    }

    pub(super) fn node(&self) -> NodeId {
        self.node
    }

    pub(super) fn send(&mut self, message: &Message, channel: &mut Channel) -> Result<(), String> {
        channel.frame(Kind::Message, |out| wire::encode(message, out))?;
        match channel.backlog() {
            0..MESSAGE_BACKLOG => Ok(()),
            waiting => Err(format!("node {} does not take what it is sent: {waiting} bytes wait", self.node)),
        }
    }

    pub(super) fn say(&mut self, word: &[u8], channel: &mut Channel) -> Result<(), String> {
        channel.frame(Kind::Fabric, |out| out.extend_from_slice(word))
    }

    pub(super) fn read(
        &mut self,
        token: ReadToken,
        source: Location,
        landing: SlotId,
        length: u32,
        channel: &mut Channel,
    ) -> Result<(), String> {
        self.waiting.push_back(Reading { token, source, landing, length, landed: 0, good: true });
        self.ask(channel)
    }

    /// Everything that a record holds.
    pub(super) fn receive(
        &mut self,
        mut record: &[u8],
        channel: &mut Channel,
        shared: &mut Shared,
    ) -> Result<(), End> {
        while let Some((kind, body)) = frame::take(&mut record).map_err(End::Fault)? {
            match kind {
                Kind::Message | Kind::Read | Kind::Data | Kind::NoData if shared.is_control() => {
                    return Err(End::Fault(format!("a {kind:?} frame, which the fabric does not use")));
                }
                Kind::Message => {
                    let message = wire::decode(body).map_err(|error| End::Fault(error.to_string()))?;
                    shared.counters.messages_received += 1;
                    shared.tell(Event::Message(self.node, message));
                }
                Kind::Read => self.asked_for(body).map_err(End::Fault)?,
                Kind::Data => self.landed(body, channel, shared).map_err(End::Fault)?,
                Kind::NoData => self.refused(body, channel, shared).map_err(End::Fault)?,
                Kind::Heartbeat => {}
                Kind::Control => return Err(shared.goodbye(body)),
                Kind::Fabric if shared.is_control() => shared.told.push(Told::Said(self.node, body.to_vec())),
                Kind::Fabric => return Err(End::Fault("a word to another fabric than tcp".to_owned())),
            }
        }
        Ok(())
    }

    /// Answers the peer's READs, as far as the network takes it.
    pub(super) fn answer(&mut self, channel: &mut Channel, shared: &mut Shared) -> Result<Turn, End> {
        let mut turn = 0;
        while let Some(&read) = self.answering.front() {
            if channel.backlog() >= ANSWER_BACKLOG {
                shared.flush(channel)?;
                if channel.backlog() >= ANSWER_BACKLOG {
                    return Ok(Turn::Over);
                }
            }
            if turn >= ANSWER_TURN {
                return Ok(Turn::Again);
            }
            turn += self.answer_first(&read, channel, shared).map_err(End::Fault)?;
        }
        Ok(Turn::Over)
    }

    /// The next frame of the answer to `read`, the first; says how many bytes it has.
    fn answer_first(
        &mut self,
        read: &frame::Read,
        channel: &mut Channel,
        shared: &mut Shared,
    ) -> Result<usize, String> {
        let length = read.length.get() as usize; // checked when it came
        if self.staged.is_empty() {
            self.staged.resize(length, 0);
            let slot = SlotId(read.slot.get());
            if !shared.arena.copy_out(slot, Generation(read.generation.get()), &mut self.staged) {
                self.answered(shared);
                channel.frame(Kind::NoData, |out| out.extend_from_slice(read.number.as_bytes()))?;
                return Ok(CHUNK_BYTES); // so that refusals end a turn, too
            }
        }
        let chunk = &self.staged[self.gone..length.min(self.gone + CHUNK_BYTES)];
        let head = frame::Data { number: read.number, offset: (self.gone as u32).into() };
        channel.frame(Kind::Data, |out| {
            out.extend_from_slice(head.as_bytes());
            out.extend_from_slice(chunk);
        })?;
        let sent = chunk.len();
        self.gone += sent;
        if self.gone == length {
            self.answered(shared);
        }
        Ok(sent.max(64))
    }

    fn answered(&mut self, shared: &mut Shared) {
        shared.counters.reads_served += 1;
        self.answering.pop_front();
        self.staged.clear();
        self.gone = 0;
    }

    /// All READs under way fail: nothing of this session lands any more.
    pub(super) fn fail_reads(&mut self, shared: &mut Shared) {
        for reading in self.asked.drain(..).chain(self.waiting.drain(..)) {
            shared.read_done(reading.token, false);
        }
    }

    fn ask(&mut self, channel: &mut Channel) -> Result<(), String> {
        while self.asked.len() < READS_IN_FLIGHT {
            let Some(reading) = self.waiting.pop_front() else { return Ok(()) };
            let read = frame::Read {
                number: (self.first + self.asked.len() as u64).into(),
                slot: reading.source.slot.0.into(),
                generation: reading.source.generation.0.into(),
                length: reading.length.into(),
            };
            self.asked.push_back(reading);
            channel.frame(Kind::Read, |out| out.extend_from_slice(read.as_bytes()))?;
        }
        Ok(())
    }

    fn asked_for(&mut self, body: &[u8]) -> Result<(), String> {
        let read = frame::Read::read_from_bytes(body).map_err(|_| wrong_length(Kind::Read, body))?;
        if read.length.get() > MAX_OBJECT_SIZE {
            return Err(format!(
                "a READ of {} bytes: no object is longer than {MAX_OBJECT_SIZE}",
                read.length
            ));
        }
        if self.answering.len() >= READS_IN_FLIGHT {
            return Err(format!("more than {READS_IN_FLIGHT} READs at a time"));
        }
        self.answering.push_back(read);
        Ok(())
    }

    fn landed(&mut self, body: &[u8], channel: &mut Channel, shared: &mut Shared) -> Result<(), String> {
        let (head, bytes) =
            frame::Data::read_from_prefix(body).map_err(|_| wrong_length(Kind::Data, body))?;
        let reading = self.expected(head.number)?;
        let left = reading.length - reading.landed;
        if head.offset.get() != reading.landed
            || bytes.len() > left as usize
            || (bytes.is_empty() && left > 0)
        {
            return Err(format!(
                "{} bytes at {} of a READ that has {} of {}",
                bytes.len(),
                head.offset,
                reading.landed,
                reading.length
            ));
        }
        reading.good &= shared.arena.copy_in(reading.landing, reading.landed as usize, bytes);
        reading.landed += bytes.len() as u32;
        if reading.landed == reading.length {
            let good = reading.good;
            self.complete(good, channel, shared)?;
        }
        Ok(())
    }

    fn refused(&mut self, body: &[u8], channel: &mut Channel, shared: &mut Shared) -> Result<(), String> {
        let number = U64::read_from_bytes(body).map_err(|_| wrong_length(Kind::NoData, body))?;
        self.expected(number)?;
        self.complete(false, channel, shared)
    }

    fn expected(&mut self, number: U64) -> Result<&mut Reading, String> {
        let first = self.first;
        match self.asked.front_mut() {
            Some(reading) if number.get() == first => Ok(reading),
            _ => Err(format!("an answer to READ {number}, where {first} is the next")),
        }
    }

    fn complete(&mut self, good: bool, channel: &mut Channel, shared: &mut Shared) -> Result<(), String> {
        if let Some(reading) = self.asked.pop_front() {
            self.first += 1;
            shared.read_done(reading.token, good);
        }
        self.ask(channel)
    }
}

fn wrong_length(kind: Kind, body: &[u8]) -> String {
    format!("a {kind:?} frame with {} bytes", body.len())
}
