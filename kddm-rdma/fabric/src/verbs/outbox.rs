//! Messages on their way to a peer, packed into parcels: numbered, kept until the peer has taken them, and never more at a time than it
//! has room for. What is queued together goes together, so that many small messages cost little more than one.

use super::work::{Kind, Work};
use crate::wire;
use kddm_coherence::Message;
use kddm_object::NodeId;
use kddm_verbs::{Buffer, Chain, Domain, VerbsError};
use std::{collections::VecDeque, ops::Range, sync::Arc};

/// Bytes of a parcel's place, here and in the receiver's buffers: some thirty requests.
pub(super) const PLACE_BYTES: usize = 2048;
const _: () = assert!(wire::MAX_BYTES <= PLACE_BYTES && PLACE_BYTES.is_multiple_of(64));

/// Messages that may wait for a peer that does not take them.
const BACKLOG_BYTES: usize = 16 << 20;

/// Parcels to one peer. Numbers wrap; those of one session are compared by their distance.
pub(super) struct Outbox {
    /// Place `n % places` has parcel `n`.
    ring: Arc<Buffer>,
    lengths: Box<[u16]>,
    /// The next parcel gets this number.
    next: u32,
    /// Bytes of it that are there.
    open: usize,
    /// Those before are posted in this epoch, or taken.
    posted: u32,
    /// Those before were taken by the peer.
    taken: u32,
    /// Those before are no longer looked at by the device.
    complete: u32,
    /// How many may be posted and not taken.
    credits: u32,
    /// Work requests of this epoch, and those before which are complete.
    requests: u32,
    done: u32,
    /// Of each that will complete visibly: its number, and the parcel that was the next to be posted then.
    signalled: VecDeque<(u32, u32)>,
    /// What finds no place in the ring.
    overflow: VecDeque<Vec<u8>>,
    overflow_bytes: usize,
    scratch: Vec<u8>,
}

/// How a queue pair takes parcels.
pub(super) struct Posting<'a> {
    pub(super) node: NodeId,
    pub(super) epoch: u32,
    /// Parcels of the peer that were taken here.
    pub(super) taken: u32,
    /// Bytes of the longest message that can go inline.
    pub(super) inline: u32,
    /// Every so many work requests complete visibly.
    pub(super) signal: u32,
    /// Work requests at a time.
    pub(super) sends: u32,
    pub(super) chain: &'a mut Chain,
}

impl Outbox {
    /// `places` parcels, a power of two.
    pub(super) fn new(domain: &Domain, places: u32) -> Result<Outbox, VerbsError> {
        debug_assert!(places.is_power_of_two());
        Ok(Outbox {
            ring: domain.buffer(places as usize * PLACE_BYTES)?,
            lengths: vec![0; places as usize].into(),
            next: 0,
            open: 0,
            posted: 0,
            taken: 0,
            complete: 0,
            credits: 0,
            requests: 0,
            done: 0,
            signalled: VecDeque::new(),
            overflow: VecDeque::new(),
            overflow_bytes: 0,
            scratch: Vec::with_capacity(PLACE_BYTES),
        })
    }

    /// Queues a message.
    ///
    /// # Errors
    /// The peer does not take what it is sent.
    pub(super) fn add(&mut self, message: &Message) -> Result<(), String> {
        self.scratch.clear();
        wire::encode(message, &mut self.scratch);
        if self.overflow.is_empty() && self.pack() {
            return Ok(());
        }
        self.overflow_bytes += self.scratch.len();
        self.overflow.push_back(self.scratch.clone());
        match self.overflow_bytes {
            0..BACKLOG_BYTES => Ok(()),
            waiting => Err(format!("it does not take what it is sent: {waiting} bytes wait")),
        }
    }

    /// Adds the message in `scratch` to the parcel that is open, or opens another. False: the ring is full.
    fn pack(&mut self) -> bool {
        if self.open + self.scratch.len() > PLACE_BYTES {
            self.close();
        }
        if self.open == 0 && !self.has_place() {
            return false;
        }
        self.ring.write(self.place(self.next) * PLACE_BYTES + self.open, &self.scratch);
        self.open += self.scratch.len();
        true
    }

    /// Whether there is a parcel to which nothing will be added, and that may go.
    pub(super) fn has_full_parcel(&self) -> bool {
        self.posted != self.next && self.unanswered() < self.credits
    }

    /// A place is free when the peer has taken its parcel and the device has done with it.
    fn has_place(&self) -> bool {
        let places = self.lengths.len() as u32;
        self.next.wrapping_sub(self.taken) < places && self.next.wrapping_sub(self.complete) < places
    }

    fn place(&self, number: u32) -> usize {
        number as usize & (self.lengths.len() - 1)
    }

    /// Nothing is added to the open parcel any more.
    fn close(&mut self) {
        if self.open > 0 {
            let place = self.place(self.next);
            self.lengths[place] = self.open as u16;
            self.next = self.next.wrapping_add(1);
            self.open = 0;
        }
    }

    fn pack_overflow(&mut self) {
        while let Some(bytes) = self.overflow.front() {
            self.scratch.clear();
            self.scratch.extend_from_slice(bytes);
            if !self.pack() {
                return;
            }
            self.overflow_bytes -= self.scratch.len();
            self.overflow.pop_front();
        }
    }

    /// Appends the parcels that may go now; true if there are any.
    pub(super) fn post(&mut self, to: &mut Posting<'_>) -> bool {
        let before = self.posted;
        loop {
            self.pack_overflow();
            if !self.has_room(to.sends) || self.unanswered() >= self.credits {
                return self.posted != before;
            }
            if self.posted == self.next {
                self.close();
            }
            if self.posted == self.next {
                return self.posted != before;
            }
            let place = self.place(self.posted);
            let length = usize::from(self.lengths[place]);
            let start = place * PLACE_BYTES;
            self.posted = self.posted.wrapping_add(1);
            let inline = length <= to.inline as usize;
            self.request(start..start + length, false, inline, to);
        }
    }

    /// Appends an empty parcel, which tells what was taken here. False: there is no room now.
    pub(super) fn post_taken(&mut self, to: &mut Posting<'_>) -> bool {
        let room = self.has_room(to.sends);
        if room {
            self.request(0..0, true, false, to);
        }
        room
    }

    fn request(&mut self, part: Range<usize>, signalled: bool, inline: bool, to: &mut Posting<'_>) {
        let signalled = signalled || self.requests.is_multiple_of(to.signal);
        if signalled {
            self.signalled.push_back((self.requests, self.posted));
        }
        let work = Work::new(Kind::Send, to.node, to.epoch, self.requests);
        to.chain.send(work.to_u64(), &self.ring, part, to.taken, signalled, inline);
        self.requests = self.requests.wrapping_add(1);
    }

    fn has_room(&self, sends: u32) -> bool {
        self.requests.wrapping_sub(self.done) < sends
    }

    fn unanswered(&self) -> u32 {
        self.posted.wrapping_sub(self.taken)
    }

    /// The peer has taken all before `taken`.
    ///
    /// # Errors
    /// That cannot be.
    pub(super) fn set_taken(&mut self, taken: u32) -> Result<(), String> {
        if taken.wrapping_sub(self.taken) > self.unanswered() {
            return Err(format!("it says that it took parcel {taken}, of {} that were sent", self.posted));
        }
        self.taken = taken;
        Ok(())
    }

    /// The device has done with work request `number`, and those before.
    pub(super) fn set_done(&mut self, number: u32) {
        if let Some((request, message)) = self.signalled.pop_front() {
            debug_assert_eq!(request, number, "BUG: a queue pair completed its requests out of order");
            (self.done, self.complete) = (request.wrapping_add(1), message);
        }
    }

    /// New queue pairs, to a peer that has taken all before `taken` and lets `credits` parcels come.
    ///
    /// # Errors
    /// That cannot be.
    pub(super) fn begin_epoch(&mut self, taken: u32, credits: u32) -> Result<(), String> {
        self.set_taken(taken)?;
        // What was posted in the last epoch is over: its queue pair has gone.
        (self.posted, self.complete, self.credits) = (taken, taken, credits);
        (self.requests, self.done) = (0, 0);
        self.signalled.clear();
        Ok(())
    }

    /// Whether everything has gone, and the device knows that it arrived.
    pub(super) fn is_through(&self) -> bool {
        self.overflow.is_empty() && self.open == 0 && self.posted == self.next && self.complete == self.posted
    }
}
