//! A member of the cluster that does what it must not. It has the key: what it sends is opened and parsed.

use super::{
    Tcp,
    channel::{Channel, Filled},
    codec::{Control, Standing},
    dial::dial,
    frame::{Data, Kind, Read},
    opening::{Opening, Step},
    shared::{Shared, TCP},
};
use crate::{
    Event, Transport,
    tests::meeting::{arena, config, node},
};
use std::time::{Duration, Instant};
use zerocopy::IntoBytes;

const PORT: u16 = 15337;

/// Node 1, and a node 2 whose every byte the test chooses, in a session.
struct Meeting {
    victim: Tcp,
    told: Vec<Event>,
    channel: Channel,
    shared: Shared,
}

impl Meeting {
    fn new(network: u8) -> Meeting {
        let victim = Tcp::start(config(1, 2, network, PORT), arena()).unwrap();
        let config = config(2, 2, network, PORT);
        let now = Instant::now();
        let stream = dial(config.listen.ip(), config.peers[0].1).unwrap();
        let shared = Shared::new(config, arena(), TCP);
        let mut meeting = Meeting { victim, told: Vec::new(), channel: Channel::new(stream, now), shared };
        meeting.open();
        meeting
    }

    fn open(&mut self) {
        let mut opening = Opening::dialled(node(1), self.shared.config.peers[0].1.ip(), self.shared.now);
        let start = Instant::now();
        while !matches!(opening.step(&mut self.channel, &mut self.shared), Ok(Step::Open(..))) {
            assert!(start.elapsed() < Duration::from_secs(5), "no session");
            self.victim.poll(&mut self.told);
            if !opening.is_connecting() {
                self.channel.fill(false, self.shared.now, &mut self.shared.counters).unwrap();
            }
        }
        self.until("the session", |told| matches!(told, [Event::PeerUp(..)]));
        self.told.clear();
    }

    fn send(&mut self, kind: Kind, body: &[u8]) {
        self.channel.frame(kind, |out| out.extend_from_slice(body)).unwrap();
        self.shared.flush(&mut self.channel).unwrap();
    }

    fn until(&mut self, what: &str, done: impl Fn(&[Event]) -> bool) {
        let start = Instant::now();
        while !done(&self.told) {
            assert!(
                start.elapsed() < Duration::from_secs(5),
                "waited too long for {what}; told {:?}",
                self.told
            );
            self.victim.poll(&mut self.told);
        }
    }

    /// The victim ends the session, says why, and tells the other side.
    fn ends_for(mut self, part: &str) {
        self.until("the end", |told| !told.is_empty());
        match &self.told[..] {
            [Event::PeerDown { node: lost, certain: false, reason }] if *lost == node(2) => {
                assert!(reason.contains(part), "{reason}");
            }
            told => panic!("told {told:?} where {part:?} was expected"),
        }
        assert!(self.victim.peers()[0].reason.contains(part));
        let mut plain = vec![0; 65535];
        let start = Instant::now();
        let goodbye = loop {
            assert!(start.elapsed() < Duration::from_secs(5), "no goodbye");
            let filled = self.channel.fill(true, self.shared.now, &mut self.shared.counters);
            if let Some(length) = self.channel.record(&mut plain).unwrap() {
                break plain[..length].to_vec();
            }
            assert_ne!(filled.ok(), Some(Filled::Closed), "closed without a goodbye");
        };
        let (kind, body) = super::frame::take(&mut &goodbye[..]).unwrap().unwrap();
        assert_eq!(kind, Kind::Control);
        assert!(matches!(self.shared.control(body), Ok(Control::Goodbye { leaving: false, .. })));
    }
}

#[test]
fn a_message_that_is_none_ends_the_session() {
    let mut meeting = Meeting::new(201);
    meeting.send(Kind::Message, &[77; 60]);
    meeting.ends_for("of kind 77");
}

#[test]
fn a_cut_frame_ends_the_session() {
    let mut meeting = Meeting::new(202);
    meeting.channel.anything(&[5, 0, 0, 0, 5, 0, 0]);
    meeting.shared.flush(&mut meeting.channel).unwrap();
    meeting.ends_for("cut off");
}

#[test]
fn a_read_of_more_than_an_object_ends_the_session() {
    let mut meeting = Meeting::new(203);
    let read = Read { number: 0.into(), slot: 0.into(), generation: 0.into(), length: (1 << 21).into() };
    meeting.send(Kind::Read, read.as_bytes());
    meeting.ends_for("no object is longer");
}

#[test]
fn an_answer_to_nothing_ends_the_session() {
    let mut meeting = Meeting::new(204);
    meeting.send(Kind::Data, Data { number: 0.into(), offset: 0.into() }.as_bytes());
    meeting.ends_for("an answer to READ 0");
}

#[test]
fn a_control_message_out_of_turn_ends_the_session() {
    let mut meeting = Meeting::new(205);
    meeting.channel.control(1, &Control::Ready(Standing { lost: false, peers: 0 })).unwrap();
    meeting.shared.flush(&mut meeting.channel).unwrap();
    meeting.ends_for("in the middle of a session");
}

#[test]
fn an_altered_record_ends_the_session() {
    let mut meeting = Meeting::new(206);
    meeting.channel.clear(&[32, 0]);
    meeting.channel.clear(&[9; 32]);
    meeting.shared.flush(&mut meeting.channel).unwrap();
    meeting.ends_for("altered");
}

#[test]
fn a_flood_of_reads_ends_the_session() {
    let mut meeting = Meeting::new(207);
    let read = Read { number: 0.into(), slot: 0.into(), generation: 0.into(), length: (1 << 20).into() };
    for _ in 0..300 {
        meeting.channel.frame(Kind::Read, |out| out.extend_from_slice(read.as_bytes())).unwrap();
    }
    meeting.shared.flush(&mut meeting.channel).unwrap();
    meeting.ends_for("READs at a time");
}
