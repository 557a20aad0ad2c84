//! A member of the cluster that does what it must not: over its queue pairs, and in what it says of them.

use super::{
    Verbs, VerbsConfig,
    exchange::{Connect, Word},
    outbox::PLACE_BYTES,
    queues::Queues,
};
use crate::{
    Event, Transport,
    tcp::encode_word,
    tests::meeting::{Meeting, end_of, message, node},
};
use kddm_coherence::ReadToken;
use kddm_object::{Generation, Location, ObjectKey, SetId, SlotId};
use kddm_verbs::{Buffer, Chain, Source};
use std::{
    sync::Arc,
    time::{Duration, Instant},
};

const LENGTH: u32 = 4096;

impl Meeting<Verbs> {
    fn new(network: u8) -> Meeting<Verbs> {
        let start = |control, arena| Verbs::start(VerbsConfig { control, choice: Default::default() }, arena);
        Meeting::start(network, 15338, |control, arena| start(control, arena).unwrap())
    }

    /// Node 2's queue pairs to node 1.
    fn queues(&self) -> &Queues {
        self.nodes[1].links[1].as_ref().unwrap().queues.as_ref().unwrap()
    }

    /// Node 2 sends node 1 `bytes`, and says that it has taken so many, past all that counts what goes and comes. What it
    /// sends from is to stay until it is sent.
    #[must_use]
    fn post(&mut self, bytes: &[u8], taken: u32) -> Arc<Buffer> {
        let buffer = self.nodes[1].hardware.domain.buffer(bytes.len()).unwrap();
        buffer.write(0, bytes);
        let mut chain = Chain::default();
        chain.send(0, &buffer, 0..bytes.len(), taken, true, false);
        chain.post(&self.queues().messages).unwrap();
        buffer
    }

    /// Until the device has acknowledged what was posted: it is in node 1's queue then, and node 1 has not polled.
    fn arrive(&mut self) {
        let (start, mut completed) = (Instant::now(), Vec::new());
        while completed.is_empty() {
            assert!(start.elapsed() < Duration::from_secs(5), "it does not arrive");
            self.nodes[1].hardware.completions.poll(&mut completed).unwrap();
        }
    }

    /// Node 2 says something to node 1.
    fn say(&mut self, word: &Word) {
        assert!(self.nodes[1].tcp.say(node(1), &encode_word(word)), "there is a session");
        self.nodes[1].tcp.flush();
    }

    /// What node 2 would say if its queue pairs were of another epoch.
    fn connect(&self, epoch: u32) -> Connect {
        let queues = self.queues();
        let (messages, reads) = (queues.messages.address(), queues.reads.address());
        Connect { epoch, messages, reads, credits: 8, taken: 0, slab_bytes: 1 << 19, slab_limit: 16 }
    }

    /// An object of node `id`, of bytes that are all `fill`.
    fn object(&self, id: u8, object: u32, fill: u8) -> Location {
        let arena = &self.arenas[usize::from(id) - 1];
        let slot = arena.allocate(ObjectKey::new(SetId(1), object), LENGTH, true).expect("room");
        assert!(arena.copy_in(slot, 0, &[fill; LENGTH as usize]));
        Location { node: node(id), slot, generation: arena.generation(slot) }
    }

    /// Node 1 READs from `source`; whether that was good.
    fn read(&mut self, source: Location, landing: SlotId) -> bool {
        self.told[0].clear();
        self.nodes[0].read(ReadToken(1), source, landing, LENGTH);
        self.nodes[0].flush();
        let over = |event: &Event| match event {
            Event::ReadDone(ReadToken(1), good) => Some(*good),
            _ => None,
        };
        self.until("the READ", |told| told[0].iter().any(|event| over(event).is_some()));
        self.told[0].iter().find_map(over).unwrap()
    }

    /// Both ends end the session, for this reason; the third goes on, and the two meet again.
    fn ends_for(mut self, part: &str) {
        self.until("the end", |told| end_of(&told[0], 2).is_some() && end_of(&told[1], 1).is_some());
        for (told, id) in self.told.iter().zip([2, 1]) {
            let reason = end_of(told, id).unwrap();
            assert!(reason.contains(part), "{reason:?} does not say {part:?}");
        }
        self.until("a new session", |told| {
            let up = |told: &[Event]| told.iter().any(|event| matches!(event, Event::PeerUp(..)));
            up(&told[0]) && up(&told[1])
        });
        assert_eq!(self.told[2], [], "node 3 has seen nothing of it");
        self.goes_on();
    }

    /// Messages and READs work between all.
    fn goes_on(mut self) {
        let landing = self.object(1, 1000, 0).slot;
        for (from, source) in [(2, self.object(2, 1001, 2)), (3, self.object(3, 1002, 3))] {
            assert!(self.read(source, landing), "a READ from node {from}");
            let mut bytes = [0; LENGTH as usize];
            assert!(self.arenas[0].copy_out(landing, self.arenas[0].generation(landing), &mut bytes));
            assert_eq!(bytes, [from; LENGTH as usize]);
        }
        self.told.iter_mut().for_each(Vec::clear);
        for (from, to) in [(1, 2), (2, 1), (1, 3), (3, 1), (2, 3), (3, 2)] {
            self.nodes[from - 1].send(node(to), &message(u32::from(to)));
            self.nodes[from - 1].flush();
        }
        self.until("six messages", |told| told.iter().all(|told| told.len() >= 2));
        for (told, id) in self.told.iter().zip(1..) {
            let good =
                |event: &Event| matches!(event, Event::Message(_, message) if message.key.object == id);
            assert!(told.len() == 2 && told.iter().all(good), "{told:?}");
        }
    }
}

#[test]
#[ignore = "needs an RDMA device"]
fn messages_that_are_none_end_the_session() {
    let mut good = Vec::new();
    crate::wire::encode(&message(1), &mut good);
    let kind = |kind| [&[kind], &good[1..]].concat();
    let behind = |bytes: &[u8]| [&good[..], bytes].concat();
    let cases = [
        (vec![77; 60], "wrong length"),
        (kind(77), "kind 77 is not known"),
        (behind(&good[..good.len() - 1]), "wrong length"),
        (behind(&[0]), "wrong length"),
    ];
    for (network, (bytes, part)) in (230..).zip(cases) {
        let mut meeting = Meeting::new(network);
        let _sent = meeting.post(&bytes, 0);
        meeting.ends_for(part);
    }
}

#[test]
#[ignore = "needs an RDMA device"]
fn a_message_too_long_for_its_place_breaks_the_queue_pairs_and_they_are_replaced() {
    let mut meeting = Meeting::new(212);
    let _sent = meeting.post(&[77; PLACE_BYTES + 64], 0);
    meeting.goes_on();
}

#[test]
#[ignore = "needs an RDMA device"]
fn taking_messages_that_were_never_sent_ends_the_session() {
    let mut meeting = Meeting::new(213);
    let _sent = meeting.post(&[], 5);
    meeting.ends_for("took parcel 5, of 0");
}

#[test]
#[ignore = "needs an RDMA device"]
fn taking_a_message_that_waits_to_be_sent_ends_the_session() {
    let mut meeting = Meeting::new(214);
    meeting.nodes[0].send(node(2), &message(1));
    let _sent = meeting.post(&[], 1);
    meeting.arrive();
    meeting.ends_for("took parcel 1, of 0");
}

#[test]
#[ignore = "needs an RDMA device"]
fn slabs_that_cannot_be_end_the_session() {
    let mut meeting = Meeting::new(215);
    meeting.say(&Word::Slabs(9, vec![(4096, 1); 3]));
    meeting.ends_for("3 slabs from 9 on, where 1 are known");
}

/// Node 2 has told of a second slab; what is in it.
fn in_slab(slab: u16) -> Location {
    Location { node: node(2), slot: SlotId::new(slab, 0), generation: Generation(1) }
}

#[test]
#[ignore = "needs an RDMA device"]
fn a_read_that_the_peers_device_refuses_fails_alone() {
    let mut meeting = Meeting::new(216);
    let Source { address, key } = meeting.nodes[1].hardware.slabs.source(0).unwrap();
    meeting.say(&Word::Slabs(1, vec![(address, key ^ 0x5555)]));
    let landing = meeting.object(1, 1, 0).slot;
    assert!(!meeting.read(in_slab(1), landing), "the key is none");
    meeting.goes_on();
}

#[test]
#[ignore = "needs an RDMA device"]
fn a_slab_at_the_end_of_all_addresses_cannot_be_read() {
    let mut meeting = Meeting::new(217);
    meeting.say(&Word::Slabs(1, vec![(u64::MAX - 100, 1)]));
    let landing = meeting.object(1, 1, 0).slot;
    let next = Location { slot: SlotId::new(1, 1), ..in_slab(1) };
    assert!(!meeting.read(next, landing), "there is nothing");
    meeting.goes_on();
}

#[test]
#[ignore = "needs an RDMA device"]
fn a_read_of_what_nobody_gave_is_refused_and_harms_only_who_asked() {
    let meeting = Meeting::new(218);
    let buffer = meeting.nodes[1].hardware.domain.buffer(4096).unwrap();
    let mut chain = Chain::default();
    chain.read(0, Source { address: 4096, key: 77 }, buffer.landing(0..4096));
    chain.post(&meeting.queues().reads).unwrap();
    meeting.goes_on();
    assert!((0..4096).all(|place| {
        let mut byte = [1];
        buffer.read(place, &mut byte);
        byte == [0]
    }));
}

#[test]
#[ignore = "needs an RDMA device"]
fn an_epoch_out_of_turn_ends_the_session() {
    for (network, epoch) in [(219, 3), (220, u32::MAX)] {
        let mut meeting = Meeting::new(network);
        meeting.say(&Word::Connect(meeting.connect(epoch)));
        meeting.ends_for("epoch");
    }
}

#[test]
#[ignore = "needs an RDMA device"]
fn queue_pairs_that_are_not_there_are_given_up_for_others() {
    let mut meeting = Meeting::new(221);
    // Of the next epoch, as after a failure; but the numbers are those of the last, which will have gone.
    meeting.say(&Word::Connect(meeting.connect(2)));
    meeting.goes_on();
}

#[test]
#[ignore = "needs an RDMA device"]
fn queue_pairs_that_broke_without_a_word_are_given_up_when_nothing_is_answered() {
    let mut meeting = Meeting::new(223);
    // Nothing of node 2's is posted to it: node 2 does not see it.
    meeting.queues().messages.fail().unwrap();
    meeting.nodes[0].send(node(2), &message(1));
    meeting.nodes[0].flush();
    meeting.until("the message", |told| told[1].iter().any(|event| matches!(event, Event::Message(..))));
    meeting.goes_on();
}

#[test]
#[ignore = "needs an RDMA device"]
fn a_message_of_the_last_epoch_does_not_say_that_the_peer_is_connected_in_this_one() {
    let mut meeting = Meeting::new(224);
    let mut good = Vec::new();
    crate::wire::encode(&message(1), &mut good);
    let _sent = meeting.post(&good, 0);
    meeting.arrive();
    meeting.nodes[0].break_queue_pairs(node(2));
    let start = Instant::now();
    while meeting.told[0].is_empty() {
        assert!(start.elapsed() < Duration::from_secs(5), "it is not taken");
        meeting.nodes[0].poll(&mut meeting.told[0]);
    }
    assert!(matches!(meeting.told[0][..], [Event::Message(..)]), "{:?}", meeting.told[0]);
    assert!(!meeting.nodes[0].links[2].as_ref().unwrap().heard, "node 2 has not been polled");
}

#[test]
#[ignore = "needs an RDMA device"]
fn a_word_that_is_none_ends_the_session() {
    let mut meeting = Meeting::new(222);
    assert!(meeting.nodes[1].tcp.say(node(1), &[0xff; 40]));
    meeting.nodes[1].tcp.flush();
    meeting.ends_for("no fabric of this version says");
}
