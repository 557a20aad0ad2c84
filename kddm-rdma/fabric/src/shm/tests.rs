//! A member of the cluster that does what it must not, and strangers at the door.

use super::{
    Shm,
    door::come_to,
    offer::{self, Offer},
    ring::{Inbox, MEMORY_BYTES, Outlet, RING_BYTES},
};
use crate::{
    Event, Transport,
    tcp::TcpConfig,
    tests::meeting::{Meeting, arena, config, end_of, message, node},
};
use kddm_memory::SharedBytes;
use kddm_object::Incarnation;
use std::{
    os::fd::{AsFd, OwnedFd},
    sync::atomic::Ordering::Relaxed,
    time::{Duration, Instant},
};

const TAKEN: usize = 0;
const PUT: usize = 128;
const BYTES: usize = 4096;

const PORT: u16 = 15339;

impl Meeting<Shm> {
    pub(super) fn new(network: u8) -> Meeting<Shm> {
        Meeting::start(network, PORT, |config, arena| Shm::start(config, arena).unwrap())
    }

    /// Waits until nodes 1 and 2 share memory.
    fn until_met_again(&mut self) {
        let begin = Instant::now();
        let up = |shm: &Shm, peer: usize| shm.links[peer].as_ref().is_some_and(|link| link.is_up());
        while !(up(&self.nodes[0], 2) && up(&self.nodes[1], 1)) {
            self.poll();
            assert!(begin.elapsed() < Duration::from_secs(30), "nodes 1 and 2 do not meet again");
        }
    }

    /// Node 1 ends its session with node 2 for this reason, and goes on with node 3.
    fn ends_for(&mut self, why: &str) {
        self.until("the end", |told| end_of(&told[0], 2).is_some());
        let reason = end_of(&self.told[0], 2);
        assert!(reason.is_some_and(|reason| reason.contains(why)), "{reason:?}");
        self.nodes[2].send(node(1), &message(7));
        self.nodes[2].flush();
        self.until("the others", |told| told[0].contains(&Event::Message(node(3), message(7))));
    }

    /// The ring in which node 1 takes what node 2 writes, as node 2 has mapped it.
    fn ring(&self) -> &SharedBytes {
        self.nodes[1].links[1].as_ref().unwrap().peer_memory()
    }

    /// Node 2 offers something to node 1, past all that it would offer.
    fn offer(&mut self, offer: Offer, descriptors: &[&OwnedFd]) {
        let connection = self.nodes[1].links[1].as_ref().unwrap().connection().unwrap();
        let descriptors: Vec<_> = descriptors.iter().map(|descriptor| descriptor.as_fd()).collect();
        assert!(offer::send(connection, offer, &descriptors).unwrap());
    }
}

#[test]
fn a_sender_that_counts_more_than_the_ring_has_is_lost() {
    for (network, put) in [(231, RING_BYTES as u64 + 1), (232, u64::MAX), (233, 1 << 63)] {
        let mut meeting = Meeting::new(network);
        meeting.ring().word(PUT).store(put, std::sync::atomic::Ordering::SeqCst);
        meeting.ends_for("its ring cannot be");
    }
}

#[test]
fn a_sender_of_what_is_no_message_is_lost() {
    let mut meeting = Meeting::new(234);
    meeting.ring().write(BYTES, &[0xff; 512]);
    meeting.ring().word(PUT).store(512, std::sync::atomic::Ordering::SeqCst);
    meeting.ends_for("a message of kind");
}

#[test]
fn a_receiver_that_counts_wrong_is_lost() {
    let mut meeting = Meeting::new(235);
    // Node 1 writes into node 2's ring; node 2 says that it has taken what was never put.
    let ring = meeting.nodes[0].links[2].as_ref().unwrap().peer_memory();
    ring.word(TAKEN).store(1 << 40, std::sync::atomic::Ordering::SeqCst);
    for number in 0..10_000 {
        meeting.nodes[0].send(node(2), &message(number));
    }
    meeting.nodes[0].flush();
    meeting.ends_for("bytes taken, where");
}

#[test]
fn a_member_that_offers_what_it_must_not_is_lost() {
    let (_, ring) = SharedBytes::new(MEMORY_BYTES).unwrap();
    let (_, small) = SharedBytes::new(4096).unwrap();
    let unsealed = nix::sys::memfd::memfd_create(c"test", nix::sys::memfd::MFdFlags::empty()).unwrap();
    let cases: [(u8, Offer, &[&OwnedFd], &str); 5] = [
        (236, Offer::Slabs(1), &[&unsealed], "not sealed"),
        (237, Offer::Slabs(1), &[&small], "it has 4096 bytes"),
        (238, Offer::Slabs(9), &[&small], "1 of 16 are known"),
        (239, Offer::Slabs(1), &[&small; 20], "1 of 16 are known"),
        (
            240,
            Offer::Ring { ticket: [0; 16], slab_bytes: 1 << 19, slab_limit: 16 },
            &[&ring, &ring],
            "that nobody asked for",
        ),
    ];
    for (network, offer, descriptors, why) in cases {
        let mut meeting = Meeting::new(network);
        meeting.offer(offer, descriptors);
        meeting.ends_for(why);
    }
}

/// Whatever a member writes, at any time, into the memory that it shares: its session ends with a reason or goes on, and the others go on.
#[test]
fn garbage_in_shared_memory_harms_nobody_else() {
    let given: Option<u64> = std::env::var("SEED").ok().and_then(|seed| seed.parse().ok());
    let seed = given.unwrap_or(std::process::id().into());
    println!("SEED={seed} repeats it");
    let mut random = Random(seed + 1);
    let mut meeting = Meeting::new(244);
    let mut ended = 0;
    for round in 0..400 {
        for (from, to) in [(0, 2), (1, 1)] {
            meeting.nodes[from].send(node(to), &message(round));
            meeting.nodes[from].flush();
        }
        // The ring in which node 1 takes what node 2 writes, and the one of node 2, into which node 1 writes.
        let [one, two, _] = &meeting.nodes;
        for (writer, peer) in [(two, 1), (one, 2)] {
            if let Some(link) = writer.links[peer].as_ref().filter(|link| link.is_up()) {
                scribble(link.peer_memory(), &mut random);
            }
        }
        meeting.nodes[2].send(node(1), &message(round));
        meeting.nodes[2].flush();
        meeting.until("the others", |told| told[0].contains(&Event::Message(node(3), message(round))));
        for event in meeting.told[0].drain(..) {
            if let Event::PeerDown { node: lost, reason, .. } = event {
                assert_eq!(lost, node(2), "{reason}");
                assert!(!reason.is_empty());
                ended += 1;
            }
        }
        assert!(
            !meeting.told[2]
                .iter()
                .any(|event| matches!(event, Event::PeerDown { node: lost, .. } if *lost == node(1)))
        );
        meeting.told.iter_mut().for_each(Vec::clear);
        if round % 20 == 0 {
            // So that there is something to harm.
            meeting.until_met_again();
        }
    }
    println!("node 2's sessions with node 1 ended {ended} times");
    assert!(ended > 0, "nothing was harmed: nothing was tried");
}

/// Writes something somewhere.
fn scribble(memory: &SharedBytes, random: &mut Random) {
    let word = random.number() as usize % 24 * 8;
    let value = match random.number() % 3 {
        0 => random.number(),
        1 => random.number() % 1024,
        _ => memory.word(word).load(Relaxed).wrapping_add(random.number() % 64),
    };
    match random.number() % 3 {
        0 => memory.word(word).store(value, Relaxed),
        _ => {
            memory.write(BYTES + random.number() as usize % (RING_BYTES - 64), &value.to_le_bytes().repeat(8))
        }
    }
}

#[test]
fn strangers_at_the_door_are_nobody() {
    let mut meeting = Meeting::new(241);
    let name = meeting.nodes[0].door.name();
    let (_, ring) = SharedBytes::new(MEMORY_BYTES).unwrap();
    let mut strangers: Vec<_> = (0..300)
        .map(|number| {
            let stranger = come_to(&name).unwrap();
            match number % 3 {
                0 => {}
                1 => {
                    assert!(rustix::net::send(&stranger, b"hello", rustix::net::SendFlags::NOSIGNAL).is_ok())
                }
                _ => {
                    let offer = Offer::Ring { ticket: [9; 16], slab_bytes: 1 << 19, slab_limit: 16 };
                    assert!(offer::send(&stranger, offer, &[ring.as_fd(), ring.as_fd()]).unwrap());
                }
            }
            meeting.nodes[0].arm();
            meeting.nodes[0].poll(&mut meeting.told[0]); // as before sleeping
            meeting.nodes[0].poll(&mut meeting.told[0]); // and as after it
            stranger
        })
        .collect();
    assert!(meeting.told[0].is_empty(), "{:?}", meeting.told[0]);
    // A node that comes now is let in all the same.
    strangers.truncate(200);
    meeting.nodes[1].disconnect();
    meeting.nodes[1] =
        Shm::start(TcpConfig { incarnation: Incarnation(2), ..config(2, 3, 241, PORT) }, arena()).unwrap();
    meeting.until("the new life", |told| {
        told[0].iter().any(|event| matches!(event, Event::PeerUp(up, _) if *up == node(2)))
    });
}

/// A READ that is over after the owner has ended the session has failed, whatever was copied.
#[test]
fn who_was_given_up_reads_nothing() {
    let (inbox, descriptor) = Inbox::new().unwrap();
    let outlet = Outlet::map(&descriptor).unwrap();
    assert!(!outlet.is_over());
    inbox.end();
    assert!(outlet.is_over());
}

/// xorshift64 (Marsaglia, 2003).
pub(super) struct Random(pub(super) u64);

impl Random {
    pub(super) fn number(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    /// So that one sleeps now and then at once, and now and then just when something comes.
    pub(super) fn dawdle(&mut self, most: u64) {
        let turns = self.number() % most;
        (0..turns).for_each(|_| std::hint::spin_loop());
    }
}
