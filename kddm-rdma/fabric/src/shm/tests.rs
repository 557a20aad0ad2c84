//! A member of the cluster that does what it must not, strangers at the door, and wake-ups.

use super::{
    Shm,
    bell::Bell,
    door::come_to,
    offer::{self, Offer},
    ring::{Inbox, MEMORY_BYTES, Outlet, RING_BYTES},
};
use crate::{
    Event, Transport,
    tcp::{Greeting, TcpConfig},
};
use kddm_cluster::{ClusterId, Key};
use kddm_coherence::{Body, Message};
use kddm_memory::{Arena, ArenaConfig, SharedBytes};
use kddm_object::{Incarnation, NodeId, ObjectKey, SetId, ViewId};
use mio::{Events, Interest, Poll, Token, unix::SourceFd};
use std::{
    net::SocketAddr,
    os::fd::{AsFd, AsRawFd, OwnedFd, RawFd},
    sync::{
        Arc, Barrier,
        atomic::{
            AtomicU32, AtomicU64,
            Ordering::{Acquire, Relaxed, Release},
        },
    },
    thread,
    time::{Duration, Instant},
};

const TAKEN: usize = 0;
const PUT: usize = 128;
const BYTES: usize = 4096;

fn node(id: u8) -> NodeId {
    NodeId::new(id).unwrap()
}

fn config(me: u8, network: u8) -> TcpConfig {
    let address = |id: u8| SocketAddr::from(([127, network, std::process::id() as u8, id], 15339));
    TcpConfig {
        me: node(me),
        incarnation: Incarnation(1),
        listen: address(me),
        peers: (1..=3).filter(|&id| id != me).map(|id| (node(id), address(id))).collect(),
        cluster: ClusterId([1; 16]),
        key: Key::from_bytes([5; 32]),
        greeting: Greeting { protocol_version: 1, format_version: 1, root: None },
    }
}

fn message(number: u32) -> Message {
    let key = ObjectKey::new(SetId(1), number);
    Message { view: ViewId(1), incarnation: Incarnation(1), clock: 0, key, body: Body::Evict }
}

/// Node 1, which is done wrong; node 2, which does it; and node 3, which goes on.
struct Meeting {
    nodes: [Shm; 3],
    told: [Vec<Event>; 3],
}

impl Meeting {
    fn new(network: u8) -> Meeting {
        let nodes = [1, 2, 3].map(|id| {
            let arena = Arc::new(Arena::new(ArenaConfig::new(8 << 20)).unwrap());
            Shm::start(config(id, network), arena).unwrap()
        });
        let mut meeting = Meeting { nodes, told: Default::default() };
        meeting.until("all to meet", |told| {
            told.iter()
                .all(|told| told.iter().filter(|event| matches!(event, Event::PeerUp(..))).count() == 2)
        });
        meeting.told.iter_mut().for_each(Vec::clear);
        meeting
    }

    fn until(&mut self, what: &str, done: impl Fn(&[Vec<Event>; 3]) -> bool) {
        let start = Instant::now();
        loop {
            for (node, told) in self.nodes.iter_mut().zip(&mut self.told) {
                node.poll(told);
            }
            if done(&self.told) {
                return;
            }
            assert!(
                start.elapsed() < Duration::from_secs(30),
                "waited too long for {what}; told {:?}",
                self.told
            );
        }
    }

    /// Waits until nodes 1 and 2 share memory.
    fn until_met_again(&mut self) {
        let begin = Instant::now();
        let up = |shm: &Shm, peer: usize| shm.links[peer].as_ref().is_some_and(|link| link.is_up());
        while !(up(&self.nodes[0], 2) && up(&self.nodes[1], 1)) {
            self.nodes.iter_mut().zip(&mut self.told).for_each(|(node, told)| node.poll(told));
            assert!(begin.elapsed() < Duration::from_secs(30), "nodes 1 and 2 do not meet again");
        }
    }

    /// Node 1 ends its session with node 2 for this reason, and goes on with node 3.
    fn ends_for(&mut self, why: &str) {
        self.until("the end", |told| told[0].iter().any(|event| matches!(event, Event::PeerDown { .. })));
        let reason = self.told[0].iter().find_map(|event| match event {
            Event::PeerDown { node: lost, reason, .. } if *lost == node(2) => Some(reason.clone()),
            _ => None,
        });
        assert!(reason.as_ref().is_some_and(|reason| reason.contains(why)), "{reason:?}");
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
    let seed = std::env::var("SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(std::process::id().into());
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
        assert!(!meeting.told[2].iter().any(|event| matches!(event, Event::PeerDown { node: lost, .. } if *lost == node(1))));
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
        _ => memory.write(BYTES + random.number() as usize % (RING_BYTES - 64), &value.to_le_bytes().repeat(8)),
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
    let arena = Arc::new(Arena::new(ArenaConfig::new(8 << 20)).unwrap());
    meeting.nodes[1].disconnect();
    meeting.nodes[1] =
        Shm::start(TcpConfig { incarnation: Incarnation(2), ..config(2, 241) }, arena).unwrap();
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

#[test]
fn what_is_written_is_taken_whole_wherever_the_ring_ends() {
    let (mut inbox, descriptor) = Inbox::new().unwrap();
    let mut outlet = Outlet::map(&descriptor).unwrap();
    let (mut sent, mut came) = (Vec::new(), Vec::new());
    for number in 0..10_000usize {
        let bytes: Vec<u8> = (0..number * 37 % 350).map(|at| (number ^ at) as u8).collect();
        if !outlet.write(&bytes).unwrap() {
            outlet.publish();
            assert!(inbox.take(&mut came).unwrap(), "the sender waits for room");
            assert!(outlet.write(&bytes).unwrap());
        }
        sent.extend(bytes);
    }
    outlet.publish();
    inbox.take(&mut came).unwrap();
    assert!(sent == came);
}

/// A processor lets a load overtake a store before it: of a sender that puts and looks, and a receiver that says that it sleeps and looks,
/// then neither would see the other. Without one of the two fences this fails within some ten thousand rounds on two x86 cores.
#[test]
fn of_two_who_look_at_the_same_time_one_sees_the_other() {
    const ROUNDS: u64 = 1_000_000;
    const TIME: Duration = Duration::from_secs(3);
    let (mut inbox, of_inbox) = Inbox::new().unwrap();
    let mut outlet = Outlet::map(&of_inbox).unwrap();
    let (begun, ended, last) = (AtomicU64::new(0), AtomicU64::new(0), AtomicU64::new(ROUNDS));
    let wait = |counter: &AtomicU64, round: u64| {
        while counter.load(Acquire) >> 1 < round && last.load(Acquire) >= round {
            (0..64).for_each(|_| std::hint::spin_loop());
        }
    };
    let begin = Instant::now();
    thread::scope(|scope| {
        scope.spawn(|| {
            for round in 1..=ROUNDS {
                wait(&begun, round);
                if last.load(Acquire) < round {
                    return;
                }
                assert!(outlet.write(&round.to_le_bytes()).unwrap());
                let rings = outlet.publish();
                ended.store(round << 1 | u64::from(rings), Release);
            }
        });
        let (mut bytes, mut random) = (Vec::new(), Random(7));
        for round in 1..=ROUNDS {
            begun.store(round << 1, Release);
            random.dawdle(16);
            bytes.clear();
            inbox.sleep();
            inbox.take(&mut bytes).unwrap();
            let seen = !bytes.is_empty();
            wait(&ended, round);
            let rung = ended.load(Acquire) & 1 == 1;
            inbox.take(&mut bytes).unwrap();
            inbox.wake();
            if !(seen || rung) || begin.elapsed() > TIME {
                last.store(round, Release);
            }
            assert!(seen || rung, "round {round}: neither saw the other");
            assert_eq!(bytes, round.to_le_bytes());
            if last.load(Relaxed) == round {
                break;
            }
        }
    });
}

/// Two threads that send each other one number after the other, and sleep in between: a wake-up that is lost stops both.
#[test]
fn no_wake_up_is_lost() {
    const ROUNDS: u64 = 100_000;
    let (one, of_one) = Inbox::new().unwrap();
    let (two, of_two) = Inbox::new().unwrap();
    let (to_one, to_two) = (Outlet::map(&of_one).unwrap(), Outlet::map(&of_two).unwrap());
    let bells = [Bell::new().unwrap(), Bell::new().unwrap()];
    let start = Barrier::new(2);
    let play = |me: u64, mut inbox: Inbox, mut outlet: Outlet, rings: &Bell, hears: &Bell| {
        let mut poll = Poll::new().unwrap();
        let mut events = Events::with_capacity(4);
        poll.registry()
            .register(&mut SourceFd(&hears.as_fd().as_raw_fd()), Token(0), Interest::READABLE)
            .unwrap();
        start.wait();
        let (mut bytes, mut slept, mut random) = (Vec::new(), 0, Random(me + 1));
        for round in 0..ROUNDS {
            if round % 2 == me {
                assert!(outlet.write(&round.to_le_bytes()).unwrap());
                if outlet.publish() {
                    rings.ring();
                }
                continue;
            }
            bytes.clear();
            random.dawdle(64);
            while bytes.is_empty() {
                inbox.take(&mut bytes).unwrap();
                if bytes.is_empty() {
                    inbox.sleep();
                    inbox.take(&mut bytes).unwrap();
                    if bytes.is_empty() {
                        poll.poll(&mut events, Some(Duration::from_secs(10))).unwrap();
                        assert!(!events.is_empty(), "round {round}: nobody rang");
                        slept += 1;
                    }
                }
            }
            inbox.wake();
            assert_eq!(bytes, round.to_le_bytes());
        }
        slept
    };
    let slept = thread::scope(|scope| {
        let first = scope.spawn(|| play(0, one, to_two, &bells[0], &bells[1]));
        let second = scope.spawn(|| play(1, two, to_one, &bells[1], &bells[0]));
        first.join().unwrap() + second.join().unwrap()
    });
    assert!(slept > 0, "nobody ever slept: nothing was tried");
}

/// Two nodes that send each other one message after the other, and sleep on their descriptors in between as event loops do.
#[test]
fn nothing_that_comes_is_slept_over() {
    const ROUNDS: u32 = 20_000;
    let Meeting { nodes: [mut one, mut two, _three], .. } = Meeting::new(242);
    let sent = AtomicU32::new(0);
    let play = |me: u32, fabric: &mut Shm, to: NodeId| {
        let mut bed = Bed::beside(fabric);
        let (mut told, mut slept, mut random) = (Vec::new(), 0, Random(u64::from(me) + 1));
        for round in (1..=ROUNDS).filter(|round| round % 2 == me) {
            while round > 1 && !told.contains(&Event::Message(to, message(round - 1))) {
                told.clear();
                fabric.poll(&mut told);
                random.dawdle(1024);
                if told.is_empty() && fabric.arm() {
                    fabric.poll(&mut told);
                }
                if told.is_empty() {
                    slept += 1;
                    // Peers say that they live every second: that would wake, too, and hide what was lost.
                    let woken = bed.sleep(Duration::from_millis(250));
                    let there = sent.load(Acquire) == round - 1;
                    assert!(woken || !there || bed.sleep(Duration::ZERO), "round {round} was slept over");
                }
            }
            told.clear();
            fabric.send(to, &message(round));
            fabric.flush();
            sent.store(round, Release);
        }
        slept
    };
    let slept = thread::scope(|scope| {
        let first = scope.spawn(|| play(1, &mut one, node(2)));
        let second = scope.spawn(|| play(0, &mut two, node(1)));
        first.join().unwrap() + second.join().unwrap()
    });
    assert!(slept > 0, "nobody ever slept: nothing was tried");
}

/// xorshift64 (Marsaglia, 2003).
struct Random(u64);

impl Random {
    fn number(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    /// So that one sleeps now and then at once, and now and then just when something comes.
    fn dawdle(&mut self, most: u64) {
        let turns = self.number() % most;
        (0..turns).for_each(|_| std::hint::spin_loop());
    }
}

/// A bell that is taken note of before what it rings for is looked for may be slept over: nobody rings twice.
#[test]
fn the_last_look_before_sleeping_takes_no_note_of_bells() {
    let mut meeting = Meeting::new(243);
    let mut bed = Bed::beside(&meeting.nodes[0]);
    for round in 0..100 {
        // Until nothing is there, as after sleeping.
        while bed.sleep(Duration::ZERO) {
            meeting.nodes[0].poll(&mut meeting.told[0]);
        }
        meeting.told[0].clear();
        assert!(meeting.nodes[0].arm());
        meeting.nodes[1].send(node(1), &message(round));
        meeting.nodes[1].flush();
        meeting.nodes[0].poll(&mut meeting.told[0]);
        assert_eq!(meeting.told[0], [Event::Message(node(2), message(round))]);
        assert!(bed.sleep(Duration::ZERO), "round {round}: the bell is not heard any more");
    }
}

/// Where a node sleeps.
struct Bed {
    descriptor: RawFd,
    poll: Poll,
    events: Events,
}

impl Bed {
    fn beside(fabric: &Shm) -> Bed {
        let (descriptor, poll) = (fabric.descriptor().unwrap(), Poll::new().unwrap());
        poll.registry().register(&mut SourceFd(&descriptor), Token(0), Interest::READABLE).unwrap();
        Bed { descriptor, poll, events: Events::with_capacity(1) }
    }

    /// Whether the descriptor is readable, or becomes so within this time.
    fn sleep(&mut self, time: Duration) -> bool {
        let mut source = SourceFd(&self.descriptor);
        self.poll.registry().reregister(&mut source, Token(0), Interest::READABLE).unwrap();
        self.poll.poll(&mut self.events, Some(time)).unwrap();
        !self.events.is_empty()
    }
}
